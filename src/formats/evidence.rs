//! `evidence.json` and `evidence.csv`: a study of methods over seeds.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::compare::Figures;
use super::table::{Column, Table, TableError};

/// The study's JSON, written last.
pub const EVIDENCE_JSON: &str = "evidence.json";
/// One row per arm and seed.
pub const EVIDENCE_CSV: &str = "evidence.csv";
/// The tables, for people.
pub const EVIDENCE_PAGE: &str = "evidence.md";
/// The same as a picture.
pub const EVIDENCE_PICTURE: &str = "evidence.svg";
/// `schema` of `evidence.json`.
pub const EVIDENCE_SCHEMA: &str = "groupdistil.evidence/1";

/// One setting that was tried on the tuning seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// As the file has it, in one line of TOML; empty: nothing besides the common settings.
    pub settings: String,
    /// Validation worst-group accuracy of each tuning seed (with folds: their mean). Of a refit: on the samples that chose its penalty.
    pub worst_group_accuracy: Vec<f64>,
    /// Their mean, by which is chosen.
    pub mean_worst_group_accuracy: f64,
    /// Mean over the seeds of the mean over the groups, which decides ties.
    pub mean_group_accuracy: f64,
    /// Epochs that were selected.
    pub best_epochs: Vec<u64>,
}

/// Test figures of an arm with one seed; with folds over the test samples of all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedFigures {
    /// The seed.
    pub seed: u64,
    /// Per sample.
    pub sample: Figures,
    /// Per subject.
    pub subject: Figures,
    /// Share of correct samples, by group.
    pub groups: BTreeMap<String, f64>,
}

/// A figure over the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation; `None` with one seed.
    pub sd: Option<f64>,
}

/// A difference to another arm, paired by seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The other arm.
    pub to: String,
    /// Mean over the seeds.
    pub mean: f64,
    /// Student's interval over the seeds; `None` with one seed.
    pub interval: Option<[f64; 2]>,
    /// Percentile interval of the same mean when the subjects within each seed are drawn anew; the trained networks stay.
    pub subject_interval: Option<[f64; 2]>,
    /// Seeds above, equal, below.
    pub signs: [usize; 3],
}

impl Difference {
    /// The method of the other arm, whatever its teacher.
    pub fn method(&self) -> &str {
        self.to.split("-from-").next().unwrap_or(&self.to)
    }
}

/// One level of an arm's figures: per sample or per subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Share of all that was right: the plain test mean.
    pub accuracy: Spread,
    /// Mean over the groups.
    pub mean_group_accuracy: Spread,
    /// Worst group.
    pub worst_group_accuracy: Spread,
    /// Of the worst group, to each reference.
    pub worst_group_differences: Vec<Difference>,
    /// Of the plain test mean, to each reference.
    pub accuracy_differences: Vec<Difference>,
}

/// One arm: a method, from one teacher where it learns from one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmJson {
    /// `erm`, `kd-from-group-dro`, `teacher-erm`.
    pub name: String,
    /// The network.
    pub architecture: String,
    /// Its trained parameters.
    pub parameters: u64,
    /// As its runs say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<String>,
    /// What was tried.
    pub trials: Vec<Trial>,
    /// 0-based: the one that the tables are of.
    pub chosen: usize,
    /// Per seed.
    pub seeds: Vec<SeedFigures>,
    /// Over the seeds, per sample.
    pub sample: Level,
    /// Over the seeds, per subject.
    pub subject: Level,
}

/// `evidence.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceJson {
    /// [`EVIDENCE_SCHEMA`].
    pub schema: String,
    /// What was asked.
    pub title: String,
    /// The file, without paths.
    pub settings: toml::Table,
    /// Seeds on which validation chose.
    pub tuning_seeds: Vec<u64>,
    /// Seeds of the figures.
    pub seeds: Vec<u64>,
    /// `content_hash` of each seed's dataset.
    pub datasets: BTreeMap<u64, String>,
    /// Folds of each dataset; `None` = one split.
    pub folds: Option<usize>,
    /// Confidence of the intervals.
    pub confidence: f64,
    /// Replicates of the bootstrap.
    pub replicates: u32,
    /// Least and most test subjects of a group in a seed.
    pub test_subjects_per_group: [u64; 2],
    /// In the order of the table.
    pub arms: Vec<ArmJson>,
}

/// Writes `evidence.csv`.
///
/// # Errors
/// [`TableError`].
pub fn write_csv(arms: &[ArmJson], path: &Path) -> Result<(), TableError> {
    let rows: Vec<(&ArmJson, &SeedFigures)> =
        arms.iter().flat_map(|arm| arm.seeds.iter().map(move |seed| (arm, seed))).collect();
    let text = |value: fn(&(&ArmJson, &SeedFigures)) -> Option<String>| Column::Text(rows.iter().map(value).collect());
    let float = |value: fn(&SeedFigures) -> Option<f64>| Column::Float64(rows.iter().map(|row| value(row.1)).collect());
    Table::new()
        .with("method", text(|row| Some(row.0.name.clone())))
        .with("seed", Column::Int64(rows.iter().map(|row| i64::try_from(row.1.seed).ok()).collect()))
        .with("sample_accuracy", float(|seed| seed.sample.accuracy))
        .with("sample_mean_group_accuracy", float(|seed| seed.sample.mean_group_accuracy))
        .with("sample_worst_group_accuracy", float(|seed| seed.sample.worst_group_accuracy))
        .with("sample_worst_group", text(|row| row.1.sample.worst_group.clone()))
        .with("subject_accuracy", float(|seed| seed.subject.accuracy))
        .with("subject_mean_group_accuracy", float(|seed| seed.subject.mean_group_accuracy))
        .with("subject_worst_group_accuracy", float(|seed| seed.subject.worst_group_accuracy))
        .with("subject_worst_group", text(|row| row.1.subject.worst_group.clone()))
        .write_csv(path)
}
