//! Bootstrap over subjects, stratified: each replicate draws, within every stratum (site), as many subjects as it has, with
//! replacement; all samples of a drawn subject come along. Replicate `r` of a seed is the same at any thread count.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Which stratum each subject belongs to.
#[derive(Debug, Clone)]
pub struct Strata {
    members: Vec<Vec<usize>>,
    subjects: usize,
}

impl Strata {
    /// `stratum[s]` is the stratum of subject `s`.
    pub fn new<K: Ord>(stratum: &[K]) -> Self {
        let mut members: BTreeMap<&K, Vec<usize>> = BTreeMap::new();
        for (subject, key) in stratum.iter().enumerate() {
            members.entry(key).or_default().push(subject);
        }
        Self { members: members.into_values().collect(), subjects: stratum.len() }
    }

    /// How often each subject is drawn in replicate `replicate` of `seed`.
    pub fn draw(&self, seed: u64, replicate: u64) -> Vec<u32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(replicate);
        let mut weights = vec![0; self.subjects];
        for members in &self.members {
            for _ in members {
                weights[members[rng.random_range(0..members.len())]] += 1;
            }
        }
        weights
    }

    /// `statistic` of replicates `0..replicates`, in order, computed on the current rayon pool.
    pub fn replicates<T: Send>(&self, seed: u64, replicates: u32, statistic: impl Fn(&[u32]) -> T + Sync) -> Vec<T> {
        (0..replicates).into_par_iter().map(|index| statistic(&self.draw(seed, u64::from(index)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::interval;

    #[test]
    fn every_stratum_keeps_its_size_in_every_replicate() {
        let strata = Strata::new(&["b", "a", "a", "b", "a"]);
        for weights in strata.replicates(7, 50, <[u32]>::to_vec) {
            assert_eq!((weights[0] + weights[3], weights[1] + weights[2] + weights[4]), (2, 3));
        }
    }

    #[test]
    fn a_replicate_depends_on_seed_and_number_alone() {
        let strata = Strata::new(&[0; 20]);
        assert_eq!(strata.draw(1, 5), strata.replicates(1, 6, <[u32]>::to_vec)[5]);
        assert_ne!(strata.draw(1, 5), strata.draw(2, 5));
        assert_ne!(strata.draw(1, 5), strata.draw(1, 6));
    }

    /// Share of 400 simulated data sets whose interval holds the true value: 40 subjects with 5 samples each, whose
    /// accuracies vary between subjects. The nominal 95 % is reached within what 400 trials and 40 subjects allow, while an
    /// interval that took the 200 samples as independent would be far below.
    #[test]
    fn the_subject_bootstrap_covers_where_samples_of_a_subject_agree() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let (trials, subjects, samples) = (400, 40, 5);
        let (mut covered, mut covered_naive) = (0, 0);
        for trial in 0..trials {
            let correct: Vec<u32> = (0..subjects)
                .map(|_| {
                    let skill = if rng.random_bool(0.5) { 0.95 } else { 0.45 };
                    (0..samples).map(|_| u32::from(rng.random_bool(skill))).sum()
                })
                .collect();
            let strata = Strata::new(&vec![0; subjects]);
            let values = strata.replicates(trial, 300, |weights| {
                let right: u32 = weights.iter().zip(&correct).map(|(weight, correct)| weight * correct).sum();
                Some(f64::from(right) / f64::from(subjects as u32 * samples))
            });
            let holds = |interval: interval::Interval| interval.low <= 0.7 && 0.7 <= interval.high;
            covered += u32::from(holds(interval::percentile(&values, 0.025).unwrap()));
            let right = u64::from(correct.iter().sum::<u32>());
            covered_naive += u32::from(holds(interval::wilson(right, subjects as u64 * 5, 0.025).unwrap()));
        }
        assert!((0.90..=0.98).contains(&(f64::from(covered) / 400.0)), "{covered} of 400");
        assert!(covered_naive < covered - 20, "naive {covered_naive}, by subject {covered}");
    }

    /// The interval of the minimum over 4 sites of 12 subjects each: at least nominal coverage (it is conservative), with all
    /// sites equal, where a bootstrapped minimum is far too low, and with one bad site. Wilson's limits reach only 91.5 % in
    /// the first case, hence the exact ones.
    #[test]
    fn the_interval_of_the_minimum_covers() {
        let mut rng = ChaCha8Rng::seed_from_u64(12);
        for truth in [[0.8; 4], [0.95, 0.95, 0.95, 0.6], [0.98; 4]] {
            let lowest = truth.iter().copied().fold(1.0, f64::min);
            let mut covered = 0;
            for _ in 0..1000 {
                let correct = truth.map(|p| (0..12).map(|_| u64::from(rng.random_bool(p))).sum::<u64>());
                let found =
                    interval::of_minimum(4, 0.025, |site, tail| interval::clopper_pearson(correct[site], 12, tail))
                        .unwrap();
                covered += u32::from(found.low <= lowest && lowest <= found.high);
            }
            assert!(covered >= 945, "{truth:?}: {covered} of 1000");
        }
    }
}
