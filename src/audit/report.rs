//! `audit.json`: every number of a report, computed before anything is drawn. Undefined numbers are null with a reason.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::facet::Facet;
use super::gate::GateResult;
use crate::formats::dataset::Split;
use crate::formats::run::TeacherInfo;
use crate::metrics::calibration::{Bin, NoRecalibration, Recalibration};
use crate::metrics::interval::Interval;

/// The folder's JSON, written last.
pub const AUDIT_JSON: &str = "audit.json";
/// The page.
pub const AUDIT_HTML: &str = "audit.html";
/// All numbers as rows.
pub const AUDIT_CSV: &str = "audit.csv";
/// `schema` of `audit.json`.
pub const AUDIT_SCHEMA: &str = "groupdistil.audit/1";

/// How an interval was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Wilson's score interval over subjects.
    Wilson,
    /// Percentiles of the stratified bootstrap over subjects.
    Bootstrap,
    /// Newcombe's paired interval (1998, method 10) over subjects.
    Newcombe,
    /// Simultaneous exact interval of a minimum over groups.
    Minimum,
}

/// Why a value or its interval is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// Nothing to compute it from.
    NoCase,
    /// Not every class has cases.
    ClassMissing,
    /// One subject tells nothing about others.
    OneSubject,
    /// All subjects agree: resampling them shows no variation, which is not certainty.
    NoVariation,
    /// Undefined in more than 5 % of the replicates.
    Unstable,
    /// Made per subject only.
    PerSubjectOnly,
    /// The training counts are not known.
    TrainingUnknown,
}

/// A number with its interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// The number; `None` where it is undefined.
    pub value: Option<f64>,
    /// Its interval at the confidence of the settings.
    pub interval: Option<Interval>,
    /// How the interval was made.
    pub method: Option<Method>,
    /// Why the value, or else the interval, is not there.
    pub missing: Option<Missing>,
}

impl Estimate {
    /// An undefined number.
    pub fn undefined(missing: Missing) -> Self {
        Self { value: None, interval: None, method: None, missing: Some(missing) }
    }

    /// A number, with its interval or the reason why there is none.
    pub fn new(value: f64, interval: Result<(Interval, Method), Missing>) -> Self {
        let (interval, method, missing) = match interval {
            Ok((interval, method)) => (Some(interval), Some(method), None),
            Err(missing) => (None, None, Some(missing)),
        };
        Self { value: Some(value), interval, method, missing }
    }
}

/// Whether a number rests on enough subjects (`min_subjects`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// At least `min_subjects` subjects.
    Sufficient,
    /// Fewer: shown, but no evidence.
    Insufficient,
}

/// Sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Subjects.
    pub subjects: u64,
    /// Stacks (scans).
    pub stacks: u64,
    /// Samples (images).
    pub samples: u64,
}

/// Recall (sensitivity) of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassRecall {
    /// Subjects of the class.
    pub n: u64,
    /// Of these, recognised.
    pub correct: u64,
    /// `correct / n`; undefined for an empty cell.
    pub recall: Estimate,
}

/// One case per subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectLevel {
    /// Cases: subjects (a subject with two labels is two cases).
    pub n: u64,
    /// Of these, classified correctly.
    pub correct: u64,
    /// `correct / n`.
    pub accuracy: Estimate,
    /// Mean recall over the classes present.
    pub balanced_accuracy: Estimate,
    /// Per class, in the order of `classes`.
    pub recall: Vec<ClassRecall>,
    /// Mean one-vs-rest area under the ROC curve; needs every class.
    pub auroc: Estimate,
    /// Brier's score, 0 (best) to 2.
    pub brier: Estimate,
    /// Mean -ln(probability of the true class), nats.
    pub log_loss: Estimate,
    /// Mean probability of the predicted class minus accuracy; above 0 = overconfident.
    pub confidence_gap: Estimate,
    /// Expected calibration error over the bins of the settings; biased upwards by few subjects, so without interval.
    pub calibration_error: Option<f64>,
    /// Counts `[true class][predicted class]`.
    pub confusion: Vec<Vec<u64>>,
}

/// One case per sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleLevel {
    /// Samples.
    pub n: u64,
    /// Of these, classified correctly.
    pub correct: u64,
    /// `correct / n`; its interval resamples subjects.
    pub accuracy: Estimate,
    /// Mean recall over the classes present.
    pub balanced_accuracy: Estimate,
}

/// What a model reaches on some subjects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Performance {
    /// Sizes.
    pub counts: Counts,
    /// Whether that is enough.
    pub evidence: Evidence,
    /// Per subject.
    pub subject: SubjectLevel,
    /// Per sample.
    pub sample: SampleLevel,
}

/// Training data of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainCounts {
    /// Training subjects; with folds the fewest over the folds that tested the cell.
    pub subjects: u64,
    /// Training samples, likewise.
    pub samples: u64,
}

/// One site, group, vendor, ...
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Its name; `None` = unknown.
    pub name: Option<String>,
    /// Training data; `None` where the source does not say (CSV).
    pub train: Option<TrainCounts>,
    /// Results; `None` for a cell that only occurs in training or validation.
    pub performance: Option<Performance>,
}

impl Cell {
    /// Tested, but never trained on.
    pub fn is_unseen(&self) -> bool {
        self.performance.is_some() && self.train.is_some_and(|train| train.samples == 0)
    }
}

/// Is the spread over the cells more than chance?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heterogeneity {
    /// Cells compared: those with sufficient evidence.
    pub cells: u64,
    /// Highest minus lowest accuracy per subject over these.
    pub gap: f64,
    /// Share of permutations of subjects over cells, within the true class, with a gap as large.
    pub p_value: f64,
}

/// All cells of one way of dividing the subjects, byte-sorted with unknown last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breakdown {
    /// By what.
    pub facet: Facet,
    /// An earlier breakdown with the very same subjects in its cells.
    pub same_as: Option<Facet>,
    /// The cells.
    pub cells: Vec<Cell>,
    /// Whether the spread is more than chance; `None` with fewer than two cells of sufficient evidence,
    /// and by group.
    pub heterogeneity: Option<Heterogeneity>,
}

/// The lowest group accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worst {
    /// The group; ties to the first in byte order.
    pub group: Option<String>,
    /// Others with the very same accuracy.
    pub tied: Vec<String>,
    /// Its accuracy, with the simultaneous interval of the minimum over all groups.
    pub accuracy: Estimate,
    /// Groups the minimum runs over.
    pub groups: u64,
}

/// Averages and worst group at one level, over the dataset's groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupNumbers {
    /// Group accuracies weighted by training shares, renormalised over the groups present.
    pub train_weighted_accuracy: Option<f64>,
    /// Plain mean over the groups present.
    pub mean_group_accuracy: Option<f64>,
    /// Minimum over all groups with a sample (the definition of the design).
    pub worst: Worst,
    /// Minimum over the groups with sufficient evidence; what gates look at.
    pub worst_with_evidence: Worst,
}

/// Calibration of the model under audit, per subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Reliability of the predicted class.
    pub bins: Vec<Bin>,
    /// Per class, in the order of `classes`: logistic recalibration, or why there is none.
    pub recalibration: Vec<ClassCalibration>,
}

/// Logistic recalibration of one class against the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassCalibration {
    /// Intercept and slope.
    pub fit: Option<Recalibration>,
    /// Why there is none.
    pub missing: Option<NoRecalibration>,
}

/// What a model is, and the hashes by which its numbers can be traced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// As given, or from objective and architecture.
    pub name: String,
    /// Kind of source.
    pub source: SourceKind,
    /// Objective it was trained with.
    pub objective: Option<String>,
    /// The network.
    pub architecture: Option<String>,
    /// Trained parameters.
    pub parameters: Option<u64>,
    /// Seed of its training.
    pub seed: Option<u64>,
    /// Rule by which the epoch was selected.
    pub selection: Option<String>,
    /// Its teacher.
    pub teacher: Option<TeacherInfo>,
    /// Said of a model that was fitted to group-labelled validation data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<String>,
    /// `content_hash` of the dataset.
    pub dataset_hash: Option<String>,
    /// `plan_hash` of the dataset.
    pub plan_hash: Option<String>,
    /// Training samples per group, summed over folds.
    pub train_counts: BTreeMap<String, u64>,
    /// The trained networks: one, or one per fold; none for a CSV.
    pub networks: Vec<Network>,
    /// SHA-256 of a CSV source.
    pub csv_sha256: Option<String>,
    /// Warnings of its training, each once.
    pub warnings: Vec<String>,
}

/// Kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// One RUN.
    Run,
    /// A folder of folds.
    Folds,
    /// A CSV of predictions.
    Csv,
}

/// One trained network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Fold it was tested on.
    pub fold: Option<usize>,
    /// Selected epoch, 1-based.
    pub best_epoch: u64,
    /// Epochs trained.
    pub epochs: u64,
    /// Lower-case hex SHA-256 of `weights.safetensors`; `None` when that file is not there.
    pub weights_sha256: Option<String>,
    /// Of `predictions.parquet`.
    pub predictions_sha256: String,
    /// Of `run.json`.
    pub run_sha256: String,
    /// Curves over the epochs.
    pub history: History,
}

/// Curves over the epochs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Epochs with a line of `train`.
    pub train_epochs: Vec<u64>,
    /// q per group at those epochs; empty for objectives without q.
    pub weights: BTreeMap<String, Vec<Option<f64>>>,
    /// Epochs with a line of `val`.
    pub val_epochs: Vec<u64>,
    /// Accuracy per validation sample at those epochs.
    pub val_accuracy: Vec<Option<f64>>,
    /// Worst-group accuracy per validation sample at those epochs.
    pub val_worst: Vec<Option<f64>>,
}

/// What a model is to the one under audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Under audit.
    Audited,
    /// Its teacher (equal hash of the weights).
    Teacher,
    /// Compared with it.
    Compared,
}

/// One model with its numbers. Models after the first: on the subjects they have in common with the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelReport {
    /// What it is to the first.
    pub role: Role,
    /// What it is.
    pub identity: Identity,
    /// Over all subjects.
    pub overall: Performance,
    /// Averages and worst group per subject.
    pub subject: GroupNumbers,
    /// Averages and worst group per sample.
    pub sample: GroupNumbers,
    /// Per site, group, ...; of models after the first by acquisition group, group and site only.
    pub breakdowns: Vec<Breakdown>,
    /// Calibration.
    pub calibration: Calibration,
}

impl ModelReport {
    /// The breakdown by `facet`.
    pub fn breakdown(&self, facet: Facet) -> Option<&Breakdown> {
        self.breakdowns.iter().find(|breakdown| breakdown.facet == facet)
    }
}

/// Both models on the same subjects: model under audit minus the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedCell {
    /// By what the cell is one; `None` = all subjects.
    pub facet: Option<Facet>,
    /// Its name; `None` = unknown, or all subjects.
    pub name: Option<String>,
    /// Cases per subject.
    pub n: u64,
    /// Correct: both, only the model under audit, only the other, neither.
    pub correct: [u64; 4],
    /// Whether that is enough.
    pub evidence: Evidence,
    /// Difference of accuracy per subject.
    pub accuracy: Estimate,
    /// Difference of accuracy per sample.
    pub sample_accuracy: Estimate,
}

/// The model under audit beside another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Name of the other model.
    pub other: String,
    /// All subjects first, then acquisition groups, then sites where these differ.
    pub cells: Vec<PairedCell>,
    /// Difference of worst-group accuracy per subject.
    pub worst_group_accuracy: Estimate,
    /// Difference of worst-group accuracy per sample.
    pub sample_worst_group_accuracy: Estimate,
    /// Difference of AUROC per subject.
    pub auroc: Estimate,
}

/// What was tested on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Split of the RUN.
    pub split: Split,
    /// Number of folds, when the predictions are out of fold.
    pub folds: Option<usize>,
    /// Class names.
    pub classes: Vec<String>,
    /// Sizes.
    pub counts: Counts,
    /// Subjects per class.
    pub class_subjects: Vec<u64>,
    /// Known sites.
    pub sites: u64,
    /// Acquisition groups tested.
    pub acquisition_groups: u64,
    /// Groups tested, over which the worst is taken.
    pub groups: u64,
    /// Subjects with more than one label.
    pub subjects_with_several_labels: u64,
}

/// Settings that shape the numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsRecord {
    /// Confidence of all intervals.
    pub confidence: f64,
    /// Bootstrap replicates and permutations.
    pub replicates: u32,
    /// Seed of both.
    pub seed: u64,
    /// Fewer subjects are insufficient evidence.
    pub min_subjects: u32,
    /// Bins of the reliability diagram.
    pub calibration_bins: u32,
    /// SHA-256 of the file of `--labels`.
    pub labels_sha256: Option<String>,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditReport {
    /// [`AUDIT_SCHEMA`].
    pub schema: String,
    /// Version of this program.
    pub groupdistil_version: String,
    /// Settings.
    pub settings: SettingsRecord,
    /// What was tested on.
    pub data: Data,
    /// The first is the one under audit.
    pub models: Vec<ModelReport>,
    /// One per model after the first.
    pub comparisons: Vec<Comparison>,
    /// In the order given.
    pub gates: Vec<GateResult>,
    /// What a reader must know.
    pub warnings: Vec<String>,
}

impl AuditReport {
    /// The model under audit.
    ///
    /// # Panics
    /// Never on a report of this program: it has at least one model.
    pub fn audited(&self) -> &ModelReport {
        self.models.first().expect("a report has a model under audit")
    }
}
