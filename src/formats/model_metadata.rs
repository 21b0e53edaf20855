//! `groupdistil.json` inside MODEL.pt: everything that `predict` needs and a board may ask. No path, no id of a person.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::Plan;

/// The extra file that holds [`ModelMetadata`].
pub const METADATA_FILE: &str = "groupdistil.json";
/// The extra file with the golden input, NPY float32 `[n, c, h, w]`.
pub const GOLDEN_INPUT_FILE: &str = "golden_input.npy";
/// The extra file with the golden output, NPY float32 `[n, K]`.
pub const GOLDEN_OUTPUT_FILE: &str = "golden_output.npy";
/// `schema` of `groupdistil.json`.
pub const MODEL_SCHEMA: &str = "groupdistil.model/1";

/// What is known of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupEvidence {
    /// Subjects per split.
    pub subjects: BTreeMap<String, usize>,
    /// Test subjects whose predicted class was right; `None` without test subjects.
    pub test_subjects_correct: Option<usize>,
}

/// What the model was made from, as lower-case hex SHA-256.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelHashes {
    /// `content_hash` of the dataset.
    pub dataset: String,
    /// Of `plan.json`.
    pub plan: String,
    /// Of `weights.safetensors`.
    pub weights: String,
    /// SHA-256 of what the plan makes of the golden raw stack (`preprocess::golden`); absent where the plan cannot be used on it, and
    /// in models of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden_stack: Option<String>,
}

/// Versions that made the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelVersions {
    /// This program.
    pub groupdistil: String,
    /// The libtorch that it is built for.
    pub libtorch: String,
}

/// `groupdistil.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelMetadata {
    /// [`MODEL_SCHEMA`].
    pub schema: String,
    /// The network.
    pub architecture: String,
    /// Trained parameters.
    pub parameters: u64,
    /// Class names; the position is the index of the logit.
    pub classes: Vec<String>,
    /// Channels, rows, columns of the input.
    pub image_shape: [usize; 3],
    /// Per-channel mean that `forward` subtracts.
    pub mean: Vec<f64>,
    /// Per-channel standard deviation that `forward` divides by.
    pub std: Vec<f64>,
    /// The preprocessing that turns a stack into the input.
    pub plan: Plan,
    /// Objective of the training.
    pub objective: String,
    /// Objective of the teacher, if there was one.
    pub teacher_objective: Option<String>,
    /// Seed of the training.
    pub seed: u64,
    /// With folds: the fold this model did not see. Its other folds' models made the report too.
    pub fold: Option<usize>,
    /// Acquisition groups (scanner, site) that training or testing saw, with the evidence for each.
    pub acquisition_groups: BTreeMap<String, GroupEvidence>,
    /// Groups that drove q, with the evidence for each.
    pub groups: BTreeMap<String, GroupEvidence>,
    /// What it was made from.
    pub hashes: ModelHashes,
    /// What made it.
    pub versions: ModelVersions,
}

impl ModelMetadata {
    /// Whether subjects of this acquisition group were in the training split.
    pub fn was_trained_on(&self, acquisition_group: &str) -> bool {
        let evidence = self.acquisition_groups.get(acquisition_group);
        evidence.is_some_and(|evidence| evidence.subjects.get("train").copied().unwrap_or(0) > 0)
    }

    /// The `--group-by` keys that acquisition groups were made with, read from their names (`vendor=ge;site=a`).
    pub fn group_by(&self) -> Vec<String> {
        let first = self.acquisition_groups.keys().next().map_or("", String::as_str);
        first.split(';').filter_map(|pair| pair.split_once('=')).map(|(key, _)| key.to_owned()).collect()
    }
}
