//! A linear probe: multinomial logistic regression that guesses the scanner from histogram and coarse image of a stack,
//! cross-validated by subject. What it still guesses right, a network can use as a shortcut.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::logistic::{Data, Logistic};
use crate::metrics::argmax;
use crate::metrics::interval::{Interval, wilson_of_share};
use crate::sheet;

/// Folds of the cross-validation, by subject.
pub const FOLDS: usize = 5;
/// A class needs as many subjects as there are folds, so that every fold tests and trains it.
pub const FEWEST_SUBJECTS: usize = FOLDS;
/// Most stacks that are probed: more would take long and tell no more.
pub const MOST_STACKS: usize = 1000;
/// Inverse strength of the penalty, scikit-learn's default.
pub const C: f64 = 1.0;
/// Gradient at which a fit has ended.
const TOLERANCE: f64 = 1e-5;
/// Outside the 95 % interval on each side.
const TAIL: f64 = 0.025;

/// One stack to be probed.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// Its subject: all its stacks are in one fold.
    pub subject: &'a str,
    /// Vendor or site.
    pub class: &'a str,
    /// Features, as many in every case.
    pub features: Vec<f64>,
}

/// How well classes are told from features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guessed {
    /// Mean over classes of the share of their subjects that are guessed right.
    pub balanced_accuracy: f64,
    /// 95 % interval by subject: Wilson's, at the size that the mean over classes amounts to.
    pub interval: Option<Interval>,
    /// What guessing without looking reaches: 1 / classes.
    pub chance: f64,
    /// Classes, byte-sorted, with subjects and the share guessed right.
    pub classes: Vec<GuessedClass>,
    /// Stacks that were used.
    pub stacks: usize,
    /// Stacks of known class that were not, since there were more than [`MOST_STACKS`].
    pub stacks_unused: usize,
    /// Classes with fewer than [`FEWEST_SUBJECTS`] subjects, which are left out.
    pub classes_too_small: Vec<String>,
}

/// One class of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuessedClass {
    /// Vendor or site.
    pub name: String,
    /// Subjects.
    pub subjects: usize,
    /// Share of them guessed right.
    pub recall: f64,
}

/// Classes that are large enough, and the others; byte-sorted.
fn sizes<'a>(cases: &[Case<'a>]) -> (Vec<&'a str>, Vec<String>) {
    let mut subjects: BTreeMap<&str, std::collections::BTreeSet<&str>> = BTreeMap::new();
    for case in cases {
        subjects.entry(case.class).or_default().insert(case.subject);
    }
    let (large, small): (Vec<_>, Vec<_>) = subjects.into_iter().partition(|(_, found)| found.len() >= FEWEST_SUBJECTS);
    (large.into_iter().map(|(name, _)| name).collect(), small.into_iter().map(|(name, _)| name.to_owned()).collect())
}

/// Fold of each subject: those of a class in turn, so that every fold holds every class.
fn folds<'a>(cases: &[&Case<'a>]) -> BTreeMap<&'a str, usize> {
    let mut first_class: BTreeMap<&str, &str> = BTreeMap::new();
    for case in cases {
        first_class.entry(case.subject).or_insert(case.class);
    }
    let mut order: Vec<(&str, &str)> = first_class.into_iter().map(|(subject, class)| (class, subject)).collect();
    order.sort_unstable();
    order.into_iter().enumerate().map(|(index, (_, subject))| (subject, index % FOLDS)).collect()
}

/// Offset and scale of every feature over the rows; a feature that does not vary becomes 0.
fn standard(rows: &[&Vec<f64>]) -> Vec<(f64, f64)> {
    let count = rows.len().max(1) as f64;
    let one = |feature: usize| {
        let mean = rows.iter().map(|row| row[feature]).sum::<f64>() / count;
        let variance = rows.iter().map(|row| (row[feature] - mean) * (row[feature] - mean)).sum::<f64>() / count;
        let deviation = variance.sqrt();
        (mean, if deviation > 1e-9 * mean.abs().max(1e-9) { 1.0 / deviation } else { 0.0 })
    };
    (0..rows.first().map_or(0, |row| row.len())).map(one).collect()
}

fn standardised(row: &[f64], standard: &[(f64, f64)]) -> Vec<f64> {
    row.iter().zip(standard).map(|(value, (mean, scale))| (value - mean) * scale).collect()
}

/// Probabilities of the test cases of a fold, with their indices.
fn fold(
    cases: &[&Case<'_>],
    classes: &[usize],
    count: usize,
    folds: &[usize],
    tested: usize,
) -> Vec<(usize, Vec<f64>)> {
    let training: Vec<usize> = (0..cases.len()).filter(|&index| folds[index] != tested).collect();
    let standard = standard(&training.iter().map(|&index| &cases[index].features).collect::<Vec<_>>());
    let rows: Vec<Vec<f64>> = training.iter().map(|&index| standardised(&cases[index].features, &standard)).collect();
    let classes_of_rows: Vec<usize> = training.iter().map(|&index| classes[index]).collect();
    let model = Logistic::fit(Data { rows: &rows, classes_of_rows: &classes_of_rows, classes: count }, C, TOLERANCE);
    let test = (0..cases.len()).filter(|&index| folds[index] == tested);
    test.map(|index| (index, model.probabilities(&standardised(&cases[index].features, &standard)))).collect()
}

/// Guesses the class of every subject by models that have not seen it.
///
/// # Errors
/// Why nothing can be guessed.
pub fn probe(cases: &[Case<'_>], pool: &rayon::ThreadPool) -> Result<Guessed, String> {
    let (names, classes_too_small) = sizes(cases);
    if names.len() < 2 {
        return Err(format!("fewer than two of them have {FEWEST_SUBJECTS} subjects"));
    }
    let known: Vec<&Case<'_>> = cases.iter().filter(|case| names.contains(&case.class)).collect();
    let chosen = sheet::spread(&known.iter().map(|case| case.class).collect::<Vec<_>>(), MOST_STACKS);
    let used: Vec<&Case<'_>> = known.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(case, _)| *case).collect();
    let classes: Vec<usize> = used.iter().filter_map(|case| names.binary_search(&case.class).ok()).collect();
    let by_subject = folds(&used);
    let fold_of: Vec<usize> = used.iter().map(|case| by_subject[case.subject]).collect();
    let outcomes: Vec<Vec<(usize, Vec<f64>)>> = pool.install(|| {
        (0..FOLDS).into_par_iter().map(|tested| fold(&used, &classes, names.len(), &fold_of, tested)).collect()
    });
    // A subject's stacks of one class vote together; the fold of each index is one, so that order does not count.
    let mut votes: BTreeMap<(usize, &str), Vec<f64>> = BTreeMap::new();
    for (index, probabilities) in outcomes.into_iter().flatten() {
        let sum = votes.entry((classes[index], used[index].subject)).or_insert_with(|| vec![0.0; names.len()]);
        sum.iter_mut().zip(&probabilities).for_each(|(sum, value)| *sum += value);
    }
    let mut counts = vec![(0_usize, 0_usize); names.len()];
    for ((class, _), sum) in &votes {
        counts[*class].0 += 1;
        counts[*class].1 += usize::from(argmax(sum) == Some(*class));
    }
    let one = |(name, &(subjects, right)): (&&str, &(usize, usize))| GuessedClass {
        name: (*name).to_owned(),
        subjects,
        recall: right as f64 / subjects.max(1) as f64,
    };
    let classes: Vec<GuessedClass> = names.iter().zip(&counts).map(one).collect();
    let balanced_accuracy = classes.iter().map(|class| class.recall).sum::<f64>() / names.len() as f64;
    // The variance of a mean of K shares of n_k cases is that of one share of K^2 / sum(1 / n_k) cases.
    let inverse: f64 = counts.iter().map(|&(subjects, _)| 1.0 / subjects.max(1) as f64).sum();
    let size = (names.len() * names.len()) as f64 / inverse;
    Ok(Guessed {
        balanced_accuracy,
        interval: wilson_of_share(balanced_accuracy, size, TAIL),
        chance: 1.0 / names.len() as f64,
        classes,
        stacks: used.len(),
        stacks_unused: known.len() - used.len(),
        classes_too_small,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
    }

    /// Subjects 0 to n - 1 of three classes in turn, each with two stacks of four features.
    fn guessed(count: usize, features: impl Fn(usize, usize) -> Vec<f64>) -> Guessed {
        let names: Vec<String> = (0..count).map(|subject| format!("s{subject:03}")).collect();
        let case = |index: usize| {
            let subject = index / 2;
            let class = ["a", "b", "c"][subject % 3];
            Case { subject: &names[subject], class, features: features(subject, index) }
        };
        probe(&(0..2 * count).map(case).collect::<Vec<_>>(), &pool()).unwrap()
    }

    fn hash(index: usize, salt: usize) -> f64 {
        let bits = (index * 31 + salt + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (bits >> 40) as f64 / (1_u64 << 24) as f64
    }

    #[test]
    fn features_that_tell_the_class_are_found_out() {
        let found = guessed(30, |subject, index| {
            (0..4).map(|place| hash(index, place) + if place == subject % 3 { 3.0 } else { 0.0 }).collect()
        });
        assert_eq!(found.balanced_accuracy, 1.0);
        let interval = found.interval.unwrap();
        // Wilson, 30 of 30: 1 / (1 + 1.96^2 / 30).
        assert!((interval.low - 0.886_48).abs() < 1e-4 && interval.high == 1.0, "{interval:?}");
        assert_eq!((found.chance, found.stacks, found.classes[0].subjects), (1.0 / 3.0, 60, 10));
    }

    #[test]
    fn features_that_tell_the_subject_alone_are_worth_no_more_than_chance() {
        let found = guessed(90, |subject, _| (0..4).map(|place| hash(subject, 100 * place)).collect());
        let interval = found.interval.unwrap();
        assert!(interval.low < 1.0 / 3.0 && found.balanced_accuracy < 0.5, "{found:?}");
    }

    #[test]
    fn a_class_of_few_subjects_is_named_and_left_out() {
        let names: Vec<String> = (0..13).map(|subject| format!("s{subject:02}")).collect();
        let class = |subject: usize| if subject < 3 { "few" } else { ["a", "b"][subject % 2] };
        let case = |subject: usize| Case {
            subject: &names[subject],
            class: class(subject),
            features: vec![hash(subject, 0), 7.0],
        };
        let found = probe(&(0..13).map(case).collect::<Vec<_>>(), &pool()).unwrap();
        assert_eq!((found.classes_too_small, found.classes.len()), (vec!["few".to_owned()], 2));
        let refused = probe(&(0..3).map(case).collect::<Vec<_>>(), &pool()).unwrap_err();
        assert!(refused.contains("fewer than two"), "{refused}");
    }
}
