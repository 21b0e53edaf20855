//! Random streams of a run: ChaCha8 from (seed, purpose, position), so that batch order, augmentation and initial weights never
//! share numbers, and a resumed run draws what the uninterrupted one would have.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::settings::train::Sampler;

/// The stream of `(seed, purpose, position)`; different parts give independent streams.
pub fn stream(seed: u64, purpose: &str, position: &[u64]) -> ChaCha8Rng {
    let mut hasher = Sha256::new();
    hasher.update(b"groupdistil.train/1");
    hasher.update(seed.to_le_bytes());
    hasher.update((purpose.len() as u64).to_le_bytes());
    hasher.update(purpose);
    for part in position {
        hasher.update(part.to_le_bytes());
    }
    ChaCha8Rng::from_seed(hasher.finalize().into())
}

/// Uniform in [0, 1), 53 bits.
pub fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
}

/// A whole number in 0..`count` (`count` > 0; the bias of the multiplication is under 2^-32 for any data set).
fn below(rng: &mut impl Rng, count: usize) -> usize {
    ((u128::from(rng.next_u64()) * count as u128) >> 64) as usize
}

/// Shuffles in place (Fisher and Yates).
pub fn shuffle<T>(rng: &mut impl Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(rng, last + 1));
    }
}

/// The samples of epoch `epoch` (0-based) in the order in which they are seen. `rows` are the training samples and `groups[i]` the
/// group of `rows[i]`.
pub fn epoch_order(sampler: Sampler, rows: &[usize], groups: &[usize], seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = stream(seed, "order", &[epoch]);
    match sampler {
        Sampler::Shuffle => {
            let mut order = rows.to_vec();
            shuffle(&mut rng, &mut order);
            order
        }
        Sampler::GroupBalanced => balanced(&mut rng, rows, groups),
    }
}

/// As many draws as there are rows, going round the groups in a new order each time. Within a group every sample comes once
/// before one comes again.
fn balanced(rng: &mut ChaCha8Rng, rows: &[usize], groups: &[usize]) -> Vec<usize> {
    let count = groups.iter().max().map_or(0, |highest| highest + 1);
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (&row, &group) in rows.iter().zip(groups) {
        members[group].push(row);
    }
    members.retain(|group| !group.is_empty());
    let mut decks: Vec<Vec<usize>> = vec![Vec::new(); members.len()];
    let mut round: Vec<usize> = Vec::new();
    let mut order = Vec::with_capacity(rows.len());
    while order.len() < rows.len() {
        let group = round.pop().unwrap_or_else(|| {
            round = (0..members.len()).collect();
            shuffle(rng, &mut round);
            round.pop().expect("there is a group where there is a row")
        });
        if decks[group].is_empty() {
            decks[group].clone_from(&members[group]);
            shuffle(rng, &mut decks[group]);
        }
        order.extend(decks[group].pop());
    }
    order
}

/// Cuts an epoch into batches; the last, partial one is kept. A last batch of one sample joins the one before it: one sample has
/// no batch statistics.
pub fn batches(order: &[usize], batch_size: usize) -> Vec<&[usize]> {
    let mut batches: Vec<&[usize]> = order.chunks(batch_size).collect();
    if batches.len() > 1 && order.len() % batch_size == 1 {
        batches.truncate(batches.len() - 2);
        batches.push(&order[batches.len() * batch_size..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_epoch_visits_every_sample_once_in_a_new_order_each_time() {
        let rows: Vec<usize> = (10..110).collect();
        let groups = vec![0; 100];
        let epoch = |seed, epoch| epoch_order(Sampler::Shuffle, &rows, &groups, seed, epoch);
        let first = epoch(1, 0);
        assert_ne!(first, epoch(1, 1));
        assert_ne!(first, epoch(2, 0));
        assert_eq!(first, epoch(1, 0));
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, rows);
    }

    #[test]
    fn a_balanced_epoch_draws_every_group_alike_and_repeats_only_when_a_group_is_spent() {
        let rows: Vec<usize> = (0..100).collect();
        let groups: Vec<usize> = rows.iter().map(|&row| if row < 90 { 0 } else { 2 }).collect();
        let order = epoch_order(Sampler::GroupBalanced, &rows, &groups, 5, 3);
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        order.iter().for_each(|&row| *counts.entry(row).or_default() += 1);
        let rare: usize = counts.range(90..).map(|(_, count)| count).sum();
        assert_eq!((order.len(), rare), (100, 50));
        assert!(counts.range(..90).all(|(_, &count)| count == 1));
        assert!(counts.range(90..).all(|(_, &count)| count == 5));
    }

    #[test]
    fn the_last_partial_batch_is_kept_and_never_one_sample() {
        let order: Vec<usize> = (0..11).collect();
        let sizes = |size| batches(&order, size).iter().map(|batch| batch.len()).collect::<Vec<_>>();
        assert_eq!(sizes(4), [4, 4, 3]);
        assert_eq!(sizes(5), [5, 6]);
        assert_eq!(sizes(10), [11]);
        assert_eq!(sizes(64), [11]);
        assert_eq!(batches(&order[..1], 4).len(), 1);
        assert_eq!(batches(&order, 5).concat(), order);
    }
}
