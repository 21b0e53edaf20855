//! Scored cases and the metrics over them. A case is one sample or one subject; each belongs to a cluster (its subject), and
//! every metric takes one weight per cluster: all ones for the estimate itself, multiplicities for a bootstrap replicate.

use super::argmax;

/// One scored case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Index of the subject it belongs to.
    pub cluster: usize,
    /// True class.
    pub label: usize,
    /// Class of the highest probability, ties to the lower index.
    pub predicted: usize,
    /// Probability per class, summing to 1.
    pub probabilities: Vec<f64>,
}

impl Case {
    /// A case from its probabilities; `None` when these are empty or hold a NaN.
    pub fn new(cluster: usize, label: usize, probabilities: Vec<f64>) -> Option<Self> {
        Some(Self { cluster, label, predicted: argmax(&probabilities)?, probabilities })
    }

    /// Whether the predicted class is the true one.
    pub fn is_correct(&self) -> bool {
        self.predicted == self.label
    }
}

/// Softmax of logits, stable for any finite size; a set with `+inf` or NaN gives NaN.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - highest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// Mean of several probability vectors of equal length; `None` for none.
pub fn mean_probabilities<'a>(vectors: impl IntoIterator<Item = &'a [f64]>) -> Option<Vec<f64>> {
    let mut count = 0_u64;
    let mut sum: Vec<f64> = Vec::new();
    for vector in vectors {
        if count == 0 {
            sum = vec![0.0; vector.len()];
        }
        sum.iter_mut().zip(vector).for_each(|(total, value)| *total += value);
        count += 1;
    }
    (count > 0).then(|| sum.iter().map(|total| total / count as f64).collect())
}

/// Weight of a case.
fn weight(case: &Case, weights: &[u32]) -> f64 {
    f64::from(weights[case.cluster])
}

/// Weighted mean of `value` over the cases; `None` when no case has weight.
fn weighted_mean(cases: &[&Case], weights: &[u32], value: impl Fn(&Case) -> f64) -> Option<f64> {
    let total: f64 = cases.iter().map(|case| weight(case, weights)).sum();
    (total > 0.0).then(|| cases.iter().map(|case| weight(case, weights) * value(case)).sum::<f64>() / total)
}

/// Share of cases whose predicted class is the true one; `None` without a case.
pub fn accuracy(cases: &[&Case], weights: &[u32]) -> Option<f64> {
    weighted_mean(cases, weights, |case| f64::from(u8::from(case.is_correct())))
}

/// Share of the cases of `class` that were recognised (sensitivity); `None` without a case of the class.
pub fn recall(cases: &[&Case], weights: &[u32], class: usize) -> Option<f64> {
    let of_class: Vec<&Case> = cases.iter().filter(|case| case.label == class).copied().collect();
    accuracy(&of_class, weights)
}

/// Mean recall over the classes that have cases (scikit-learn's `balanced_accuracy_score`); `None` without a case.
pub fn balanced_accuracy(cases: &[&Case], weights: &[u32], classes: usize) -> Option<f64> {
    let recalls: Vec<f64> = (0..classes).filter_map(|class| recall(cases, weights, class)).collect();
    (!recalls.is_empty()).then(|| recalls.iter().sum::<f64>() / recalls.len() as f64)
}

/// Smallest probability that enters a logarithm: keeps one confident error from making the mean infinite.
pub const PROBABILITY_FLOOR: f64 = 1e-15;

/// Mean of -ln(probability of the true class), nats, probabilities floored at [`PROBABILITY_FLOOR`]; `None` without a case.
pub fn log_loss(cases: &[&Case], weights: &[u32]) -> Option<f64> {
    weighted_mean(cases, weights, |case| -case.probabilities[case.label].max(PROBABILITY_FLOOR).ln())
}

/// Brier's score (1950): mean over cases of the sum over classes of (probability - truth)^2, in [0, 2]; `None` without a case.
pub fn brier(cases: &[&Case], weights: &[u32]) -> Option<f64> {
    weighted_mean(cases, weights, |case| {
        let truth = |class: usize| f64::from(u8::from(class == case.label));
        case.probabilities.iter().enumerate().map(|(class, p)| (p - truth(class)).powi(2)).sum()
    })
}

/// Counts `[true class][predicted class]`.
pub fn confusion(cases: &[&Case], classes: usize) -> Vec<Vec<u64>> {
    let mut counts = vec![vec![0; classes]; classes];
    for case in cases {
        counts[case.label][case.predicted] += 1;
    }
    counts
}

/// Area under the ROC curve of one class against the rest, with the sorting done once for many weightings.
#[derive(Debug, Clone)]
pub struct RocOrder {
    /// Cluster and whether the case is positive, by ascending probability; a run of equal probabilities is one entry.
    ties: Vec<Vec<(usize, bool)>>,
}

impl RocOrder {
    /// Sorts the cases by the probability of `class`.
    pub fn new(cases: &[&Case], class: usize) -> Self {
        let mut order: Vec<&Case> = cases.to_vec();
        order.sort_by(|a, b| a.probabilities[class].total_cmp(&b.probabilities[class]));
        let runs = order.chunk_by(|a, b| a.probabilities[class] == b.probabilities[class]);
        Self { ties: runs.map(|run| run.iter().map(|case| (case.cluster, case.label == class)).collect()).collect() }
    }

    /// Probability that a random positive is scored above a random negative, ties counting a half (Mann-Whitney);
    /// `None` without a positive or without a negative.
    pub fn area(&self, weights: &[u32]) -> Option<f64> {
        let (mut positives, mut negatives, mut won) = (0.0, 0.0, 0.0);
        for run in &self.ties {
            let (mut here_positive, mut here_negative) = (0.0, 0.0);
            for &(cluster, is_positive) in run {
                let weight = f64::from(weights[cluster]);
                if is_positive { here_positive += weight } else { here_negative += weight }
            }
            won += here_positive * (negatives + here_negative / 2.0);
            positives += here_positive;
            negatives += here_negative;
        }
        (positives > 0.0 && negatives > 0.0).then(|| won / (positives * negatives))
    }
}

/// One-vs-rest areas of all classes, sorted once.
#[derive(Debug, Clone)]
pub struct MacroRoc(Vec<RocOrder>);

impl MacroRoc {
    /// Sorts the cases for each class.
    pub fn new(cases: &[&Case], classes: usize) -> Self {
        Self((0..classes).map(|class| RocOrder::new(cases, class)).collect())
    }

    /// Mean of the one-vs-rest areas; `None` unless every class has positives and negatives, so that values of different
    /// sites mean the same.
    pub fn area(&self, weights: &[u32]) -> Option<f64> {
        let areas: Option<Vec<f64>> = self.0.iter().map(|order| order.area(weights)).collect();
        areas.filter(|areas| !areas.is_empty()).map(|areas| areas.iter().sum::<f64>() / areas.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six cases of three classes; the expected values below are scikit-learn 1.9's for the same arrays
    /// (`tests/python/metrics_reference.py` recomputes them).
    fn cases() -> Vec<Case> {
        let rows = [
            (0, [0.7, 0.2, 0.1]),
            (0, [0.3, 0.4, 0.3]),
            (1, [0.2, 0.5, 0.3]),
            (1, [0.25, 0.5, 0.25]),
            (2, [0.1, 0.3, 0.6]),
            (2, [0.5, 0.2, 0.3]),
        ];
        let case = |(cluster, (label, p)): (usize, (usize, [f64; 3]))| Case::new(cluster, label, p.to_vec()).unwrap();
        rows.into_iter().enumerate().map(case).collect()
    }

    fn close(found: Option<f64>, expected: f64) {
        assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?} instead of {expected}");
    }

    #[test]
    fn metrics_equal_scikit_learn() {
        let cases = cases();
        let all: Vec<&Case> = cases.iter().collect();
        let ones = [1; 6];
        close(accuracy(&all, &ones), 4.0 / 6.0);
        close(balanced_accuracy(&all, &ones, 3), 4.0 / 6.0);
        close(recall(&all, &ones, 1), 1.0);
        // log_loss(y, p)
        close(log_loss(&all, &ones), 0.776_956_756_246_081);
        // ((p - eye[y]) ** 2).sum(1).mean()
        close(brier(&all, &ones), 0.445_833_333_333_333_3);
        // roc_auc_score(y, p, multi_class="ovr", average="macro")
        close(MacroRoc::new(&all, 3).area(&ones), 0.916_666_666_666_666_6);
    }

    #[test]
    fn a_weight_of_two_is_the_same_as_the_case_twice() {
        let cases = cases();
        let once: Vec<&Case> = cases.iter().collect();
        let weights = [2, 1, 0, 1, 3, 1];
        let copies = |case| std::iter::repeat_n(case, weights[Case::clone(case).cluster] as usize);
        let twice: Vec<&Case> = cases.iter().flat_map(copies).collect();
        let ones = [1; 6];
        close(accuracy(&once, &weights), accuracy(&twice, &ones).unwrap());
        close(log_loss(&once, &weights), log_loss(&twice, &ones).unwrap());
        close(balanced_accuracy(&once, &weights, 3), balanced_accuracy(&twice, &ones, 3).unwrap());
        close(MacroRoc::new(&once, 3).area(&weights), MacroRoc::new(&twice, 3).area(&ones).unwrap());
    }

    #[test]
    fn what_cannot_be_known_is_none() {
        let cases = cases();
        let none: [&Case; 0] = [];
        let one_class: Vec<&Case> = cases.iter().take(2).collect();
        assert_eq!(accuracy(&none, &[]), None);
        assert_eq!(RocOrder::new(&one_class, 0).area(&[1; 6]), None);
        assert_eq!(MacroRoc::new(&one_class, 3).area(&[1; 6]), None);
        assert_eq!(recall(&one_class, &[1; 6], 2), None);
        assert_eq!(accuracy(&one_class, &[0; 6]), None);
    }

    #[test]
    fn softmax_survives_logits_of_a_thousand() {
        assert_eq!(softmax(&[1000.0, -1000.0]), [1.0, 0.0]);
        assert_eq!(softmax(&[1000.0, 1000.0]), [0.5, 0.5]);
        assert!(softmax(&[f64::NAN, 0.0])[0].is_nan());
    }

    #[test]
    fn confusion_counts_by_truth_then_prediction() {
        let cases = cases();
        let all: Vec<&Case> = cases.iter().collect();
        assert_eq!(confusion(&all, 3), [[1, 1, 0], [0, 2, 0], [1, 0, 1]]);
    }
}
