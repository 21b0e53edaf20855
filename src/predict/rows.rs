//! Rows of predictions.csv: the columns of the design, probabilities to 7 decimals, every doubt as a warning.

use crate::formats::cohort::StackRow;
use crate::formats::model_metadata::ModelMetadata;
use crate::formats::table::{Column, Table};
use crate::metrics::argmax;
use crate::metrics::cases::{mean_probabilities, softmax};
use crate::preprocess::StackRejected;

/// Probabilities are rounded to this: far below what an image decides, far above what thread counts change.
const DECIMALS: f64 = 1e7;

/// One stack, predicted or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Pseudonym.
    pub subject_id: String,
    study_id: Option<String>,
    stack_id: String,
    /// By the keys that the model was trained with.
    pub acquisition_group: String,
    /// Whether the model was trained on it.
    pub seen: bool,
    site: Option<String>,
    vendor: Option<String>,
    model: Option<String>,
    field_strength_t: Option<f64>,
    sex: Option<String>,
    age_years: Option<f64>,
    /// One per class; `None` where there is no prediction.
    pub probabilities: Option<Vec<f64>>,
    /// Why there is none.
    pub left_out: Option<&'static str>,
    warnings: Vec<String>,
}

/// The class of the mean of probability vectors, ties to the lower.
pub fn best<'a>(vectors: impl IntoIterator<Item = &'a [f64]>) -> Option<usize> {
    argmax(&mean_probabilities(vectors)?)
}

impl Row {
    fn of(stack: &StackRow, metadata: &ModelMetadata) -> Self {
        Self {
            subject_id: stack.subject_id.clone(),
            study_id: stack.study_id.clone(),
            stack_id: stack.stack_id.clone(),
            acquisition_group: stack.acquisition_group.clone(),
            seen: metadata.was_trained_on(&stack.acquisition_group),
            site: stack.site.clone(),
            vendor: stack.vendor.clone(),
            model: stack.model.clone(),
            field_strength_t: stack.field_strength_t,
            sex: stack.sex.clone(),
            age_years: stack.age_years,
            probabilities: None,
            left_out: None,
            warnings: Vec::new(),
        }
    }

    /// A stack with the logits of its samples.
    pub fn predicted(stack: &StackRow, metadata: &ModelMetadata, logits: &[Vec<f64>]) -> Self {
        let mut row = Self::of(stack, metadata);
        let samples: Vec<Vec<f64>> = logits.iter().map(|logits| softmax(logits)).collect();
        let mean = mean_probabilities(samples.iter().map(Vec::as_slice));
        row.probabilities = mean.filter(|mean| mean.iter().all(|value| value.is_finite()));
        if row.probabilities.is_none() {
            row.left_out = Some("not-finite");
            row.warnings.push("the network gave no finite number".to_owned());
        }
        if !row.seen {
            let group = &row.acquisition_group;
            row.warnings.push(match metadata.acquisition_groups.contains_key(group) {
                true => format!("the scanner group {group} was not trained on, only tested"),
                false => format!("the scanner group {group} was never seen in training"),
            });
        }
        if stack.positions_incomplete > 0 {
            row.warnings.push(format!("incomplete slice positions left out: {}", stack.positions_incomplete));
        } else if !stack.complete {
            row.warnings.push(format!("{} of {} cardiac phases", stack.phases, stack.phases_expected));
        }
        row
    }

    /// A stack that gives no prediction.
    pub fn left_out(stack: &StackRow, metadata: &ModelMetadata, rejected: &StackRejected) -> Self {
        let mut row = Self::of(stack, metadata);
        row.left_out = Some(rejected.reason());
        row.warnings.push(format!("no prediction: {rejected}"));
        row
    }

    /// Whether the plan did not ask for such a stack.
    fn is_other_view(&self) -> bool {
        matches!(self.left_out, Some("view" | "kind"))
    }
}

/// The table: by subject and stack. Stacks of other views are listed only for subjects that have nothing else.
pub fn table(rows: &[Row], classes: &[String]) -> Table {
    let with_more: std::collections::BTreeSet<&str> =
        rows.iter().filter(|row| !row.is_other_view()).map(|row| row.subject_id.as_str()).collect();
    let listed = |row: &&Row| !row.is_other_view() || !with_more.contains(row.subject_id.as_str());
    let mut rows: Vec<&Row> = rows.iter().filter(listed).collect();
    rows.sort_by(|a, b| (&a.subject_id, &a.stack_id).cmp(&(&b.subject_id, &b.stack_id)));
    let text = |value: fn(&Row) -> Option<&String>| Column::Text(rows.iter().map(|row| value(row).cloned()).collect());
    let float = |value: fn(&Row) -> Option<f64>| Column::Float64(rows.iter().map(|row| value(row)).collect());
    let table = Table::new()
        .with("subject_id", text(|row| Some(&row.subject_id)))
        .with("study_id", text(|row| row.study_id.as_ref()))
        .with("stack_id", text(|row| Some(&row.stack_id)))
        .with("acquisition_group", text(|row| Some(&row.acquisition_group)))
        .with("acquisition_group_seen", Column::Bool(rows.iter().map(|row| Some(row.seen)).collect()))
        .with("site", text(|row| row.site.as_ref()))
        .with("vendor", text(|row| row.vendor.as_ref()))
        .with("model", text(|row| row.model.as_ref()))
        .with("field_strength_t", float(|row| row.field_strength_t))
        .with("sex", text(|row| row.sex.as_ref()))
        .with("age_years", float(|row| row.age_years));
    let table = classes.iter().enumerate().fold(table, |table, (index, class)| {
        let rounded = |row: &&Row| row.probabilities.as_ref().map(|all| (all[index] * DECIMALS).round() / DECIMALS);
        table.with(&format!("prob_{class}"), Column::Float64(rows.iter().map(rounded).collect()))
    });
    let predicted = |row: &&Row| row.probabilities.as_deref().and_then(argmax).map(|best| classes[best].clone());
    let warning = |row: &&Row| (!row.warnings.is_empty()).then(|| row.warnings.join("; "));
    table
        .with("predicted", Column::Text(rows.iter().map(predicted).collect()))
        .with("warning", Column::Text(rows.iter().map(warning).collect()))
}
