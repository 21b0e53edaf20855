//! Figures of a run on the test split, per sample and per subject, and their spread and paired differences over seeds.

use std::collections::BTreeMap;

use crate::formats::compare::{ComparedRun, Figures, MethodSummary, OverSeeds};
use crate::formats::dataset::Split;
use crate::formats::predictions::{PredictionRow, Predictions};
use crate::formats::run::RunJson;
use crate::metrics::argmax;
use crate::metrics::cases::{mean_probabilities, softmax};
use crate::metrics::groups::{mean_group_accuracy, worst};
use crate::metrics::seeds::{mean, standard_deviation, t_interval};

/// A figure's name and how to find it in a run.
type Figure = (&'static str, fn(&ComparedRun) -> Option<f64>);

/// The figures that are summarised over seeds.
const FIGURES: [Figure; 6] = [
    ("sample_accuracy", |run| run.sample.accuracy),
    ("sample_mean_group_accuracy", |run| run.sample.mean_group_accuracy),
    ("sample_worst_group_accuracy", |run| run.sample.worst_group_accuracy),
    ("subject_accuracy", |run| run.subject.accuracy),
    ("subject_mean_group_accuracy", |run| run.subject.mean_group_accuracy),
    ("subject_worst_group_accuracy", |run| run.subject.worst_group_accuracy),
];

/// Figures over the test samples, as in `run.json`.
pub fn per_sample(run: &RunJson) -> Figures {
    let line = run.final_metrics.get(&Split::Test);
    Figures {
        n: line.map_or(0, |line| line.groups.values().map(|group| group.n).sum()),
        accuracy: line.and_then(|line| line.accuracy),
        mean_group_accuracy: line.and_then(|line| line.mean_group_accuracy),
        worst_group_accuracy: line.and_then(|line| line.worst_group_accuracy),
        worst_group: line.and_then(|line| line.worst_group.clone()),
    }
}

/// Figures over the test subjects. A subject with stacks of several groups counts once in each of them, by those stacks.
pub fn per_subject(run: &RunJson, predictions: &Predictions) -> Figures {
    let mut subjects: BTreeMap<&str, Vec<&PredictionRow>> = BTreeMap::new();
    let mut in_groups: BTreeMap<(&str, &str), Vec<&PredictionRow>> = BTreeMap::new();
    for row in predictions.rows.iter().filter(|row| row.split == Split::Test) {
        subjects.entry(&row.subject_id).or_default().push(row);
        in_groups.entry((&row.group, &row.subject_id)).or_default().push(row);
    }
    let share =
        |hits: &[bool]| (!hits.is_empty()).then(|| hits.iter().filter(|hit| **hit).count() as f64 / hits.len() as f64);
    let right = |rows: &Vec<&PredictionRow>| subject_is_correct(rows, &predictions.classes);
    let hits: Vec<bool> = subjects.values().map(right).collect();
    let of_group = |name: &String| {
        let hits = in_groups.iter().filter(|((group, _), _)| group == name).map(|(_, rows)| right(rows));
        share(&hits.collect::<Vec<_>>())
    };
    let accuracies: Vec<Option<f64>> = run.groups.iter().map(of_group).collect();
    let worst = worst(&accuracies);
    Figures {
        n: hits.len() as u64,
        accuracy: share(&hits),
        mean_group_accuracy: mean_group_accuracy(&accuracies),
        worst_group_accuracy: worst.map(|worst| worst.accuracy),
        worst_group: worst.map(|worst| run.groups[worst.group].clone()),
    }
}

/// Mean softmax over each stack's samples, then over stacks; ties go to the lower class (design, section 3).
pub(crate) fn subject_is_correct(rows: &[&PredictionRow], classes: &[String]) -> bool {
    let mut stacks: BTreeMap<&str, Vec<Vec<f64>>> = BTreeMap::new();
    for row in rows {
        let logits: Vec<f64> = row.logits.iter().map(|logit| f64::from(*logit)).collect();
        stacks.entry(&row.stack_id).or_default().push(softmax(&logits));
    }
    let mean = |samples: &Vec<Vec<f64>>| mean_probabilities(samples.iter().map(Vec::as_slice));
    let per_stack: Vec<Vec<f64>> = stacks.values().filter_map(mean).collect();
    let predicted = mean(&per_stack).and_then(|probabilities| argmax(&probabilities));
    predicted.is_some_and(|best| rows.iter().all(|row| row.label == classes[best]))
}

/// Every method's figures over the seeds, with differences to the baseline.
pub fn summary(runs: &[ComparedRun], methods: &[&str], baseline: Option<&str>, confidence: f64) -> Vec<MethodSummary> {
    let values = |method: &str, figure: &Figure| -> BTreeMap<u64, f64> {
        let of_method = runs.iter().filter(|run| run.method == method);
        of_method.filter_map(|run| Some((run.seed, figure.1(run)?))).collect()
    };
    let one = |method: &&str| {
        let figures = FIGURES.iter().map(|figure| {
            let own = values(method, figure);
            let against = baseline.filter(|baseline| baseline != method).map(|baseline| values(baseline, figure));
            (figure.0.to_owned(), over_seeds(&own, against.as_ref(), confidence))
        });
        let held_out = runs.iter().filter(|run| run.method == *method).find_map(|run| run.held_out.clone());
        MethodSummary { method: (*method).to_owned(), held_out, figures: figures.collect() }
    };
    methods.iter().map(one).collect()
}

fn over_seeds(own: &BTreeMap<u64, f64>, baseline: Option<&BTreeMap<u64, f64>>, confidence: f64) -> OverSeeds {
    let values: Vec<f64> = own.values().copied().collect();
    let differences: Option<Vec<f64>> =
        baseline.map(|baseline| own.iter().filter_map(|(seed, value)| Some(value - baseline.get(seed)?)).collect());
    let interval = differences.as_ref().and_then(|values| t_interval(values, (1.0 - confidence) / 2.0));
    OverSeeds {
        seeds: values.len(),
        mean: mean(&values),
        sd: standard_deviation(&values),
        difference: differences.as_ref().and_then(|values| mean(values)),
        difference_interval: interval.map(|interval| [interval.low, interval.high]),
        above_baseline: differences.map(|values| values.iter().filter(|value| **value > 0.0).count()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A test sample of two classes, `none` and `one`, with the logits 0 and `logit`.
    pub(crate) fn row(subject: &str, stack: &str, group: &str, label: &str, logit: f32) -> PredictionRow {
        PredictionRow {
            sample_id: "s".into(),
            subject_id: subject.into(),
            stack_id: stack.into(),
            split: Split::Test,
            label: label.into(),
            acquisition_group: group.into(),
            group: group.into(),
            site: None,
            vendor: None,
            model: None,
            field_strength_t: None,
            sex: None,
            age_years: None,
            logits: vec![0.0, logit],
        }
    }

    #[test]
    fn a_subject_is_the_mean_over_stacks_of_the_mean_over_samples() {
        // Stack a: three samples at p(1) ~ 0.27; stack b: one at ~ 0.95. Over samples 0.44, over stacks 0.61.
        let rows = [
            row("x", "a", "g", "one", -1.0),
            row("x", "a", "g", "one", -1.0),
            row("x", "a", "g", "one", -1.0),
            row("x", "b", "g", "one", 3.0),
        ];
        let classes = ["none".to_owned(), "one".to_owned()];
        assert!(subject_is_correct(&rows.iter().collect::<Vec<_>>(), &classes));
        assert!(!subject_is_correct(&rows[..3].iter().collect::<Vec<_>>(), &classes));
    }

    #[test]
    fn differences_are_paired_by_seed() {
        let own = BTreeMap::from([(1, 0.5), (2, 0.7), (3, 0.9)]);
        let other = BTreeMap::from([(1, 0.4), (2, 0.6), (4, 0.1)]);
        let found = over_seeds(&own, Some(&other), 0.95);
        assert_eq!((found.seeds, found.above_baseline), (3, Some(2)));
        assert!((found.difference.unwrap() - 0.1).abs() < 1e-12);
        let [low, high] = found.difference_interval.unwrap();
        assert!(high - low < 1e-9, "equal differences have no spread");
        assert_eq!(over_seeds(&own, None, 0.95).difference, None);
    }
}
