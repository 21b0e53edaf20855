//! What the run's predictions say of each group: subjects per split, and test subjects whose class was right.

use std::collections::{BTreeMap, BTreeSet};

use crate::formats::dataset::Split;
use crate::formats::model_metadata::GroupEvidence;
use crate::formats::predictions::{PredictionRow, Predictions};
use crate::metrics::argmax;
use crate::metrics::cases::{mean_probabilities, softmax};

/// Evidence per group, where `group` gives a row's group.
pub fn by(predictions: &Predictions, group: impl Fn(&PredictionRow) -> &String) -> BTreeMap<String, GroupEvidence> {
    let mut rows: BTreeMap<&String, Vec<&PredictionRow>> = BTreeMap::new();
    for row in &predictions.rows {
        rows.entry(group(row)).or_default().push(row);
    }
    rows.into_iter().map(|(name, rows)| (name.clone(), evidence(&rows, &predictions.classes))).collect()
}

fn evidence(rows: &[&PredictionRow], classes: &[String]) -> GroupEvidence {
    let mut subjects = BTreeMap::new();
    for split in Split::ALL {
        let ids: BTreeSet<&str> =
            rows.iter().filter(|row| row.split == split).map(|row| row.subject_id.as_str()).collect();
        subjects.insert(split.as_str().to_owned(), ids.len());
    }
    let mut test: BTreeMap<&str, Vec<&PredictionRow>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.split == Split::Test) {
        test.entry(&row.subject_id).or_default().push(row);
    }
    let correct = test.values().filter(|rows| subject_is_correct(rows, classes)).count();
    GroupEvidence { subjects, test_subjects_correct: (!test.is_empty()).then_some(correct) }
}

/// Mean softmax over each stack's samples, then over stacks; ties go to the lower class (design, section 3).
fn subject_is_correct(rows: &[&PredictionRow], classes: &[String]) -> bool {
    let mut stacks: BTreeMap<&str, Vec<Vec<f64>>> = BTreeMap::new();
    for row in rows {
        let logits: Vec<f64> = row.logits.iter().map(|logit| f64::from(*logit)).collect();
        stacks.entry(&row.stack_id).or_default().push(softmax(&logits));
    }
    let per_stack = stacks.values().filter_map(|samples| mean_probabilities(samples.iter().map(Vec::as_slice)));
    let per_stack: Vec<Vec<f64>> = per_stack.collect();
    let probability = mean_probabilities(per_stack.iter().map(Vec::as_slice)).unwrap_or_default();
    argmax(&probability).is_some_and(|best| rows.iter().all(|row| row.label == classes[best]))
}
