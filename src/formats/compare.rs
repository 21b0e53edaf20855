//! `compare.json` and `compare.csv`: methods over seeds on the test split.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::table::{Column, Table, TableError};

/// The comparison's JSON, written last.
pub const COMPARE_JSON: &str = "compare.json";
/// One row per run.
pub const COMPARE_CSV: &str = "compare.csv";
/// `schema` of `compare.json`.
pub const COMPARE_SCHEMA: &str = "groupdistil.compare/1";

/// Figures of one run on the test split. `None` is undefined: no test sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Samples or subjects.
    pub n: u64,
    /// Share that was right.
    pub accuracy: Option<f64>,
    /// Plain mean over the groups present.
    pub mean_group_accuracy: Option<f64>,
    /// Minimum over the groups present.
    pub worst_group_accuracy: Option<f64>,
    /// The group it belongs to.
    pub worst_group: Option<String>,
}

/// One training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparedRun {
    /// The method, or `teacher`.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// Its RUN, relative to the comparison.
    pub run: String,
    /// The network.
    pub architecture: String,
    /// Trained parameters.
    pub parameters: u64,
    /// The selected epoch.
    pub best_epoch: u64,
    /// Said of a run that was fitted to group-labelled validation data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<String>,
    /// Per sample.
    pub sample: Figures,
    /// Per subject: mean softmax over a stack's samples, then over stacks.
    pub subject: Figures,
}

/// One figure of a method over the seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverSeeds {
    /// Seeds where the figure is defined.
    pub seeds: usize,
    /// Their mean.
    pub mean: Option<f64>,
    /// Sample standard deviation; `None` for fewer than two seeds.
    pub sd: Option<f64>,
    /// Mean over the seeds of the difference to the baseline with the same seed; `None` for the baseline itself.
    pub difference: Option<f64>,
    /// Student's interval of that difference; `None` for fewer than two seeds.
    pub difference_interval: Option<[f64; 2]>,
    /// Seeds where the method is above the baseline.
    pub above_baseline: Option<usize>,
}

/// One method over the seeds, by figure: `sample_accuracy`, `sample_worst_group_accuracy`, `subject_accuracy`, ...
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSummary {
    /// The method, or `teacher`.
    pub method: String,
    /// As its runs say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<String>,
    /// By name of the figure.
    pub figures: BTreeMap<String, OverSeeds>,
}

/// `compare.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareJson {
    /// [`COMPARE_SCHEMA`].
    pub schema: String,
    /// `content_hash` of the dataset.
    pub dataset_hash: String,
    /// Fold that was tested.
    pub fold: Option<usize>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// What the differences are to.
    pub baseline: Option<String>,
    /// Confidence of the intervals.
    pub confidence: f64,
    /// Every run, by seed, then in the order of the methods.
    pub runs: Vec<ComparedRun>,
    /// In the order of the methods.
    pub summary: Vec<MethodSummary>,
}

/// Writes `compare.csv`.
///
/// # Errors
/// [`TableError`].
pub fn write_csv(runs: &[ComparedRun], path: &Path) -> Result<(), TableError> {
    let text =
        |value: fn(&ComparedRun) -> Option<&String>| Column::Text(runs.iter().map(|run| value(run).cloned()).collect());
    let float = |value: fn(&ComparedRun) -> Option<f64>| Column::Float64(runs.iter().map(value).collect());
    let whole =
        |value: fn(&ComparedRun) -> u64| Column::Int64(runs.iter().map(|run| i64::try_from(value(run)).ok()).collect());
    Table::new()
        .with("method", text(|run| Some(&run.method)))
        .with("seed", whole(|run| run.seed))
        .with("run", text(|run| Some(&run.run)))
        .with("architecture", text(|run| Some(&run.architecture)))
        .with("parameters", whole(|run| run.parameters))
        .with("best_epoch", whole(|run| run.best_epoch))
        .with("samples", whole(|run| run.sample.n))
        .with("sample_accuracy", float(|run| run.sample.accuracy))
        .with("sample_mean_group_accuracy", float(|run| run.sample.mean_group_accuracy))
        .with("sample_worst_group_accuracy", float(|run| run.sample.worst_group_accuracy))
        .with("sample_worst_group", text(|run| run.sample.worst_group.as_ref()))
        .with("subjects", whole(|run| run.subject.n))
        .with("subject_accuracy", float(|run| run.subject.accuracy))
        .with("subject_mean_group_accuracy", float(|run| run.subject.mean_group_accuracy))
        .with("subject_worst_group_accuracy", float(|run| run.subject.worst_group_accuracy))
        .with("subject_worst_group", text(|run| run.subject.worst_group.as_ref()))
        .with("held_out", text(|run| run.held_out.as_ref()))
        .write_csv(path)
}
