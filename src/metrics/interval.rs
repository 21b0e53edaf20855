//! Confidence intervals. Proportions of independent subjects: Wilson's score interval (Wilson 1927); differences of two paired
//! proportions: Newcombe's hybrid score interval (Newcombe 1998, method 10); everything else: percentiles of a bootstrap.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF, Normal};

/// A two-sided confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Lower limit.
    pub low: f64,
    /// Upper limit.
    pub high: f64,
}

/// Standard normal quantile that leaves `tail` above it; `tail` in (0, 0.5].
fn upper_quantile(tail: f64) -> f64 {
    Normal::standard().inverse_cdf(1.0 - tail)
}

/// Wilson's score interval of `correct` among `n` with `tail` outside on each side; `None` for `n` = 0.
pub fn wilson(correct: u64, n: u64, tail: f64) -> Option<Interval> {
    wilson_of_share(correct as f64 / n as f64, n as f64, tail)
}

/// Wilson's score interval of a share seen in `n` cases, which need be no whole number: an effective size.
pub fn wilson_of_share(share: f64, n: f64, tail: f64) -> Option<Interval> {
    if n <= 0.0 || !share.is_finite() {
        return None;
    }
    let (z, p) = (upper_quantile(tail), share);
    let centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    // At 0 and n the limits are exactly 0 and 1, which rounding would miss.
    let low = if p <= 0.0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if p >= 1.0 { 1.0 } else { (centre + half).min(1.0) };
    Some(Interval { low, high })
}

/// Exact interval of `correct` among `n` (Clopper and Pearson 1934): each limit misses with probability `tail` at most, whatever
/// the true value; `None` for `n` = 0. Wider than [`wilson`], whose single limits can miss several times too often.
pub fn clopper_pearson(correct: u64, n: u64, tail: f64) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let quantile = |a: f64, b: f64, probability: f64| Some(Beta::new(a, b).ok()?.inverse_cdf(probability));
    let (right, wrong) = (correct as f64, (n - correct) as f64);
    let low = if correct == 0 { 0.0 } else { quantile(right, wrong + 1.0, tail)? };
    let high = if correct == n { 1.0 } else { quantile(right + 1.0, wrong, 1.0 - tail)? };
    Some(Interval { low, high })
}

/// How two classifiers did on the same subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PairedCounts {
    /// Both right.
    pub both: u64,
    /// Only the first right.
    pub first_only: u64,
    /// Only the second right.
    pub second_only: u64,
    /// Neither right.
    pub neither: u64,
}

/// Newcombe's interval (1998, method 10) of the difference first - second of two paired proportions, `tail` on each side;
/// `None` without a subject.
pub fn newcombe_paired(counts: PairedCounts, tail: f64) -> Option<Interval> {
    let PairedCounts { both, first_only, second_only, neither } = counts;
    let n = both + first_only + second_only + neither;
    let (first, second) = (wilson(both + first_only, n, tail)?, wilson(both + second_only, n, tail)?);
    let (a, b, c, d, total) = (both as f64, first_only as f64, second_only as f64, neither as f64, n as f64);
    let (p1, p2) = ((a + b) / total, (a + c) / total);
    let margins = (a + b) * (c + d) * (a + c) * (b + d);
    let cross = a * d - b * c;
    // Continuity-corrected correlation: only a positive one is shrunk.
    let corrected = if cross > total / 2.0 { cross - total / 2.0 } else { cross.min(0.0) };
    let phi = if margins > 0.0 { corrected / margins.sqrt() } else { 0.0 };
    let width = |x: f64, y: f64| (x * x - 2.0 * phi * x * y + y * y).max(0.0).sqrt();
    let below = width(p1 - first.low, second.high - p2);
    let above = width(first.high - p1, p2 - second.low);
    Some(Interval { low: p1 - p2 - below, high: p1 - p2 + above })
}

/// Linear-interpolation quantile (type 7 of Hyndman and Fan 1996, numpy's default) of ascending values.
fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let position = probability * (sorted.len() - 1) as f64;
    let (below, above) = (position.floor() as usize, position.ceil() as usize);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

/// Of the replicates, this share may be undefined before the interval is.
const UNDEFINED_SHARE: f64 = 0.05;

/// Percentile interval of bootstrap replicates with `tail` outside on each side.
///
/// `None` with fewer than 100 replicates, or when more than 5 % of them are undefined.
pub fn percentile(replicates: &[Option<f64>], tail: f64) -> Option<Interval> {
    let mut known: Vec<f64> = replicates.iter().flatten().copied().filter(|value| !value.is_nan()).collect();
    let undefined = (replicates.len() - known.len()) as f64;
    if replicates.len() < 100 || undefined > UNDEFINED_SHARE * replicates.len() as f64 {
        return None;
    }
    known.sort_by(f64::total_cmp);
    Some(Interval { low: quantile(&known, tail), high: quantile(&known, 1.0 - tail) })
}

/// Interval of the minimum of several true values from intervals of each: the lower limit is the lowest of the lower limits at
/// `tail`, the upper limit the lowest of the upper limits at `tail / number of groups`.
///
/// The lowest lower limit is at most that of the truly worst group, so it misses with probability `tail` at most; the minimum lies
/// below every group's value, and the Bonferroni share keeps the chance that any upper limit misses at `tail`
/// (intersection-union argument, Berger 1982). Unlike the percentiles of a bootstrapped minimum it is not drawn downwards
/// by noise. `interval(group, tail)` gives a group's interval; `None` when a group has none, or there is no group.
pub fn of_minimum(groups: usize, tail: f64, interval: impl Fn(usize, f64) -> Option<Interval>) -> Option<Interval> {
    let mut limits: Option<Interval> = None;
    for group in 0..groups {
        let low = interval(group, tail)?.low;
        let high = interval(group, tail / groups as f64)?.high;
        let (lowest, highest) = limits.map_or((low, high), |limits| (limits.low.min(low), limits.high.min(high)));
        limits = Some(Interval { low: lowest, high: highest });
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<Interval>, low: f64, high: f64, tolerance: f64) {
        let found = found.unwrap();
        assert!((found.low - low).abs() < tolerance && (found.high - high).abs() < tolerance, "{found:?}");
    }

    #[test]
    fn wilson_equals_scipy() {
        // scipy.stats.binomtest(k, n).proportion_ci(0.95, method="wilson"), scipy 1.18
        close(wilson(8, 10, 0.025), 0.490_162_471_536_641_8, 0.943_317_848_545_624_8, 1e-9);
        close(wilson(0, 12, 0.025), 0.0, 0.242_494_006_655_240_85, 1e-9);
        close(wilson(12, 12, 0.025), 0.757_505_993_344_759_2, 1.0, 1e-9);
        assert_eq!(wilson(0, 0, 0.025), None);
    }

    /// `tests/python/probe_reference.py`.
    #[test]
    fn an_effective_size_may_be_no_whole_number() {
        close(wilson_of_share(0.75, 12.8, 0.025), 0.476_392_195_8, 0.908_189_472_8, 1e-9);
        assert_eq!(wilson_of_share(0.5, 0.0, 0.025), None);
    }

    #[test]
    fn the_exact_interval_equals_scipy() {
        // scipy.stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        close(clopper_pearson(8, 10, 0.025), 0.443_904_537_692_358_5, 0.974_789_273_673_166_5, 1e-9);
        close(clopper_pearson(0, 12, 0.025), 0.0, 0.264_648_469_397_051_17, 1e-9);
        assert_eq!(clopper_pearson(0, 0, 0.025), None);
    }

    #[test]
    fn newcombe_equals_the_paper() {
        // Newcombe, Stat Med 1998;17:2635-2650, Table III, method 10 (e = both, f, g = discordant, h = neither).
        let counts = |both, first_only, second_only, neither| PairedCounts { both, first_only, second_only, neither };
        close(newcombe_paired(counts(36, 12, 2, 0), 0.025), 0.0569, 0.3404, 5e-5);
        close(newcombe_paired(counts(36, 14, 0, 0), 0.025), 0.1528, 0.4167, 5e-5);
        assert_eq!(newcombe_paired(PairedCounts::default(), 0.025), None);
    }

    #[test]
    fn equal_perfect_classifiers_on_few_subjects_keep_a_wide_difference() {
        let interval = newcombe_paired(PairedCounts { both: 12, ..Default::default() }, 0.025).unwrap();
        assert!(interval.low < -0.2 && interval.high > 0.2, "{interval:?}");
    }

    #[test]
    fn percentiles_equal_numpy() {
        let values: Vec<Option<f64>> = (0..1000).map(|index| Some(f64::from((index * 37) % 1000))).collect();
        // numpy.percentile(values, [2.5, 97.5])
        close(percentile(&values, 0.025), 24.975, 974.025, 1e-9);
        let holes: Vec<Option<f64>> = values.iter().map(|value| value.filter(|value| *value > 60.0)).collect();
        assert_eq!(percentile(&holes, 0.025), None);
    }

    #[test]
    fn the_minimum_needs_every_group_to_have_an_interval() {
        let unit = |group: usize, _tail: f64| (group != 1).then_some(Interval { low: 0.1, high: 0.9 });
        assert_eq!(of_minimum(2, 0.025, unit), None);
        assert_eq!(of_minimum(0, 0.025, unit), None);
        assert_eq!(of_minimum(1, 0.025, unit), Some(Interval { low: 0.1, high: 0.9 }));
    }
}
