//! The JSON files of a RUN (design, section 3): `run.json` and `metrics.jsonl`. `predictions.parquet` is [`super::predictions`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::dataset::Split;
use crate::failure::Classify;
use crate::fsx::{self, FsError};

/// The folder's JSON, written last.
pub const RUN_JSON: &str = "run.json";
/// One [`MetricsLine`] per epoch and split.
pub const METRICS_JSONL: &str = "metrics.jsonl";
/// Parameters and buffers of the selected epoch.
pub const WEIGHTS: &str = "weights.safetensors";
/// Logits of the selected epoch.
pub const PREDICTIONS: &str = "predictions.parquet";
/// Learning curves and group weights, as a picture.
pub const CURVES: &str = "curves.svg";
/// `schema` of `run.json`.
pub const RUN_SCHEMA: &str = "groupdistil.run/1";

/// No JSON of a run is larger than this.
const JSON_CAP_BYTES: u64 = 256 << 20;

/// Why a RUN cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A JSON that cannot be read.
    #[error("`{}`: not the JSON of a run (line {line} of the file)", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// 1-based line.
        line: usize,
        /// serde's reason.
        source: serde_json::Error,
    },
    /// Another schema.
    #[error("`{}`: schema is `{found}`, expected `{RUN_SCHEMA}`", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// The folder has no `run.json`.
    #[error("`{}` is no complete run (no run.json); run `groupdistil train` to its end", path.display())]
    Incomplete {
        /// The folder.
        path: PathBuf,
    },
}

impl Classify for RunError {}

/// One group in a [`MetricsLine`]. `None` is undefined: a group without a sample, an objective without weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupMetrics {
    /// Samples of the group in the split.
    pub n: u64,
    /// Mean of the objective's per-sample loss.
    pub loss: Option<f64>,
    /// Share of correct samples.
    pub accuracy: Option<f64>,
    /// q after the epoch's last step; 0..1.
    pub weight: Option<f64>,
    /// Share of the epoch's batches that held the group; on lines of `train` only.
    pub present_fraction: Option<f64>,
}

/// One line of `metrics.jsonl`, and the value per split under `final` of `run.json`.
///
/// On lines of `train` the figures are those seen during the epoch, with augmentation and batch statistics; on lines of `val`
/// (and under `final`) those of a pass in eval mode after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsLine {
    /// 1-based epoch.
    pub epoch: u64,
    /// Optimiser steps done by its end.
    pub step: u64,
    /// Which data.
    pub split: Split,
    /// Mean over the samples.
    pub loss: Option<f64>,
    /// Share of correct samples.
    pub accuracy: Option<f64>,
    /// Group accuracies weighted by training shares, renormalised over the groups present.
    pub train_weighted_accuracy: Option<f64>,
    /// Plain mean over the groups present.
    pub mean_group_accuracy: Option<f64>,
    /// Minimum over the groups present.
    pub worst_group_accuracy: Option<f64>,
    /// The group it belongs to; ties to the first.
    pub worst_group: Option<String>,
    /// Every group of the dataset.
    pub groups: BTreeMap<String, GroupMetrics>,
    /// Area under the ROC curve, mean over the classes against all others; on lines of `val` and `test` with samples of every class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
    /// Least of the groups' areas; groups that are no two classes have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_group_auroc: Option<f64>,
}

/// The teacher of a run, without path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherInfo {
    /// `run` or `torchscript`.
    pub kind: String,
    /// Objective it was trained with, where known.
    pub objective: Option<String>,
    /// Architecture, where known.
    pub architecture: Option<String>,
    /// Its seed, where known.
    pub seed: Option<u64>,
    /// Lower-case hex SHA-256 of its weights file.
    pub weights_sha256: String,
}

/// What a run started from, where that was no random weights; without path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitInfo {
    /// Lower-case hex SHA-256 of the file.
    pub weights_sha256: String,
    /// Input channels of its first layer, which was adapted where the images have others.
    pub channels: u64,
    /// Whether the last layer is none of the file's, because it has other classes.
    pub new_last_layer: bool,
}

/// `run.json`. Times are in `provenance.json`, so that equal runs give equal bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunJson {
    /// [`RUN_SCHEMA`].
    pub schema: String,
    /// `erm`, `kd`, `group-dro`, `group-distil`, ...: docs/objectives.md has all.
    pub objective: String,
    /// The network.
    pub architecture: String,
    /// Trained parameters of the network.
    pub parameters: u64,
    /// Class names; the position is the index of the logit.
    pub classes: Vec<String>,
    /// Groups of the dataset, byte-sorted.
    pub groups: Vec<String>,
    /// Groups of q in the order of q: those with a training sample. Empty for objectives without q.
    pub weighted_groups: Vec<String>,
    /// Training samples per group of the dataset.
    pub train_counts: BTreeMap<String, u64>,
    /// Image channels, rows, columns.
    pub image_shape: [usize; 3],
    /// Mean per channel of the training split, subtracted inside the network.
    pub mean: Vec<f64>,
    /// Standard deviation per channel of the training split, divided by inside the network.
    pub std: Vec<f64>,
    /// Fixes initial weights, batch order and augmentation.
    pub seed: u64,
    /// Fold that was tested, with k-fold.
    pub fold: Option<usize>,
    /// The teacher, for `kd` and `group-distil`.
    pub teacher: Option<TeacherInfo>,
    /// The weights that the run started from; absent where they were random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InitInfo>,
    /// `content_hash` of the dataset.
    pub dataset_hash: String,
    /// `plan_hash` of the dataset.
    pub plan_hash: String,
    /// SHA-256 of what the plan makes of the golden raw stack (`preprocess::golden`); absent where the plan cannot be used on it, and
    /// in runs of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden_stack_hash: Option<String>,
    /// Rule by which the epoch was selected.
    pub selection: String,
    /// The selected epoch, 1-based; its weights are in `weights.safetensors`.
    pub best_epoch: u64,
    /// Epochs trained, fewer than asked for after an early stop.
    pub epochs: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// Per split with a sample: eval mode at the selected epoch.
    #[serde(rename = "final")]
    pub final_metrics: BTreeMap<Split, MetricsLine>,
    /// What a reader should know, for example groups missing from most batches.
    pub warnings: Vec<String>,
    /// All teachers, where there are several; `teacher` is the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teachers: Vec<TeacherInfo>,
    /// The biased network of `agre-kd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub biased: Option<TeacherInfo>,
    /// How the last layer was refit, for `dfr-train` and `dfr-val`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dfr: Option<DfrInfo>,
    /// What was repeated, for `jtt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jtt: Option<JttInfo>,
    /// [`HELD_OUT`] for a run whose weights were fitted to group-labelled validation data; its validation figures are no test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<String>,
}

/// What a run that was fitted to validation data says of itself, wherever it is shown.
pub const HELD_OUT: &str = "uses group-balanced held-out data";

/// How a last layer was refit (DFR, Kirichenko et al. 2023).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DfrInfo {
    /// The run whose features it takes.
    pub from: TeacherInfo,
    /// `l1`.
    pub penalty: String,
    /// Its inverse strength, as scikit-learn counts it.
    pub c: f64,
    /// Group-balanced subsets whose last layers were averaged.
    pub subsets: u32,
    /// Samples of each group in a subset.
    pub samples_per_group: u64,
    /// Samples by which the penalty was chosen; none of them was fitted to.
    pub chosen_on: u64,
    /// Every penalty that was tried.
    pub tried: Vec<DfrTrial>,
}

/// What a run that trained twice repeated (JTT, Liu et al. 2021).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JttInfo {
    /// Epochs of the first run.
    pub epochs: u32,
    /// Times that each of its errors came in an epoch.
    pub upweight: u32,
    /// Its errors among the training samples, per group of the dataset.
    pub errors: BTreeMap<String, u64>,
}

/// One penalty that was tried, by the samples it was chosen on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DfrTrial {
    /// Inverse strength.
    pub c: f64,
    /// Share of correct samples.
    pub accuracy: Option<f64>,
    /// Plain mean over the groups.
    pub mean_group_accuracy: Option<f64>,
    /// Minimum over the groups.
    pub worst_group_accuracy: Option<f64>,
}

/// Reads and checks `run.json` of the folder.
///
/// # Errors
/// [`RunError::Incomplete`] where it is absent, [`RunError::Json`], [`RunError::Schema`].
pub fn read_run_json(folder: &Path) -> Result<RunJson, RunError> {
    let path = folder.join(RUN_JSON);
    if !path.is_file() {
        return Err(RunError::Incomplete { path: folder.to_path_buf() });
    }
    let bytes = fsx::read(&path, JSON_CAP_BYTES)?;
    let json: RunJson = serde_json::from_slice(&bytes).map_err(|source| RunError::Json {
        path: path.clone(),
        line: source.line(),
        source,
    })?;
    if json.schema != RUN_SCHEMA {
        return Err(RunError::Schema { path, found: json.schema });
    }
    Ok(json)
}

/// Reads `metrics.jsonl` of the folder; a last line without its newline (an interrupted append) is left out.
///
/// # Errors
/// [`RunError::Fs`], or [`RunError::Json`] with the line.
pub fn read_metrics(folder: &Path) -> Result<Vec<MetricsLine>, RunError> {
    let path = folder.join(METRICS_JSONL);
    let text = fsx::read_text(&path, JSON_CAP_BYTES)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |(index, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|source| RunError::Json { path: path.clone(), line: index + 1, source })
    };
    whole.lines().enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example line of the design, with numbers in place of its dots.
    const DESIGN_LINE: &str = r#"{"epoch":3,"step":120,"split":"val","loss":0.5,"accuracy":0.75,"train_weighted_accuracy":0.7,"mean_group_accuracy":0.7,"worst_group_accuracy":0.5,"worst_group":"site=a","groups":{"site=a":{"n":4,"loss":0.5,"accuracy":0.5,"weight":0.25,"present_fraction":0.5}}}"#;

    #[test]
    fn a_metrics_line_is_written_exactly_as_in_the_design() {
        let line: MetricsLine = serde_json::from_str(DESIGN_LINE).unwrap();
        assert_eq!(serde_json::to_string(&line).unwrap(), DESIGN_LINE);
    }

    #[test]
    fn a_half_written_last_line_is_left_out_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(METRICS_JSONL);
        fsx::write_atomic(&path, format!("{DESIGN_LINE}\n{{\"epo").as_bytes()).unwrap();
        assert_eq!(read_metrics(folder.path()).unwrap().len(), 1);
        fsx::write_atomic(&path, format!("{DESIGN_LINE}\n{{}}\n").as_bytes()).unwrap();
        assert!(matches!(read_metrics(folder.path()), Err(RunError::Json { line: 2, .. })));
    }

    #[test]
    fn a_folder_without_run_json_is_incomplete() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_run_json(folder.path()), Err(RunError::Incomplete { .. })));
    }
}
