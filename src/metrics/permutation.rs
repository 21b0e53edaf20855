//! Permutation test of the spread between cells (sites): would subjects dealt to the cells at random differ as much?

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// One subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Index of its cell.
    pub cell: usize,
    /// Subjects are exchanged within a stratum only (the true class), so that another mix of classes is no difference.
    pub stratum: usize,
    /// Whether it was classified correctly.
    pub is_correct: bool,
}

/// The largest difference of accuracy between two cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gap {
    /// Highest minus lowest accuracy.
    pub gap: f64,
    /// (1 + permutations with a gap as large) / (1 + permutations).
    pub p_value: f64,
}

/// Tests whether all `cells` have the same accuracy given the stratum; `None` with fewer than two cells or an empty one.
///
/// Permutation `r` of a seed is the same at any thread count and for any order of equal outcomes.
pub fn largest_gap(outcomes: &[Outcome], cells: usize, seed: u64, permutations: u32) -> Option<Gap> {
    let mut sizes = vec![0_u32; cells];
    outcomes.iter().for_each(|outcome| sizes[outcome.cell] += 1);
    if cells < 2 || sizes.contains(&0) {
        return None;
    }
    let mut sorted = outcomes.to_vec();
    sorted.sort_by_key(|outcome| (outcome.stratum, outcome.cell, outcome.is_correct));
    let gap = |outcomes: &[Outcome]| {
        let mut correct = vec![0_u32; cells];
        outcomes.iter().for_each(|outcome| correct[outcome.cell] += u32::from(outcome.is_correct));
        let accuracies = correct.iter().zip(&sizes).map(|(correct, size)| f64::from(*correct) / f64::from(*size));
        accuracies.clone().fold(f64::MIN, f64::max) - accuracies.fold(f64::MAX, f64::min)
    };
    let observed = gap(&sorted);
    let as_large = |permutation: u32| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Streams below are those of the bootstrap.
        rng.set_stream((1 << 32) + u64::from(permutation));
        let mut shuffled = sorted.clone();
        for stratum in shuffled.chunk_by_mut(|a, b| a.stratum == b.stratum) {
            for last in (1..stratum.len()).rev() {
                let chosen = rng.random_range(0..=last);
                let cell = stratum[last].cell;
                stratum[last].cell = stratum[chosen].cell;
                stratum[chosen].cell = cell;
            }
        }
        gap(&shuffled) >= observed - 1e-12
    };
    let count = (0..permutations).into_par_iter().filter(|permutation| as_large(*permutation)).count();
    #[expect(clippy::cast_precision_loss, reason = "at most the number of permutations")]
    let p_value = (1.0 + count as f64) / (1.0 + f64::from(permutations));
    Some(Gap { gap: observed, p_value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(cells: &[(u32, u32)], stratum: usize) -> Vec<Outcome> {
        let of = |(cell, &(correct, n)): (usize, &(u32, u32))| {
            (0..n).map(move |index| Outcome { cell, stratum, is_correct: index < correct }).collect::<Vec<_>>()
        };
        cells.iter().enumerate().flat_map(of).collect()
    }

    #[test]
    fn two_cells_agree_with_fishers_exact_test() {
        // scipy.stats.fisher_exact([[9, 1], [4, 6]]).pvalue = 0.0573; equal sizes make the gap's test the same one.
        let found = largest_gap(&outcomes(&[(9, 10), (4, 10)], 0), 2, 1, 20_000).unwrap();
        assert_eq!(found.gap, 0.5);
        // Three standard errors of a share of 0.057 over 20,000 permutations.
        assert!((found.p_value - 0.057_28).abs() < 0.005, "{found:?}");
    }

    #[test]
    fn another_mix_of_classes_alone_is_no_difference() {
        // Class 0 is always right, class 1 always wrong, at both sites; only their shares differ.
        let mut all = outcomes(&[(18, 18), (2, 2)], 0);
        all.extend(outcomes(&[(0, 2), (0, 18)], 1));
        let found = largest_gap(&all, 2, 0, 500).unwrap();
        assert_eq!((found.gap, found.p_value), (0.8, 1.0));
    }

    #[test]
    fn the_order_of_outcomes_changes_nothing_and_empty_cells_have_no_test() {
        let mut all = outcomes(&[(5, 9), (7, 8), (3, 9)], 0);
        let found = largest_gap(&all, 3, 3, 300);
        all.reverse();
        assert_eq!(largest_gap(&all, 3, 3, 300), found);
        assert_eq!(largest_gap(&all, 4, 3, 300), None);
    }
}
