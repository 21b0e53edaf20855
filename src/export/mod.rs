//! `export`: a RUN becomes MODEL.pt, TorchScript with real parameters under torchvision's names and all that `predict` needs inside.
//!
//! The file counts only after a fresh process has loaded it and given the same logits (`verify`). The golden input is noise from
//! a fixed stream: no patient's pixels travel with a model.

mod evidence;
mod golden;
pub mod verify;

use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};
use tch::Device;

use crate::context::Context;
use crate::failure::{Classify, FailureKind};
use crate::formats::dataset::{DatasetError, read_json};
use crate::formats::model_metadata::{
    GOLDEN_INPUT_FILE, GOLDEN_OUTPUT_FILE, METADATA_FILE, MODEL_SCHEMA, ModelHashes, ModelMetadata, ModelVersions,
};
use crate::formats::plan::{PLAN_JSON, Plan};
use crate::formats::predictions::{Predictions, PredictionsError};
use crate::formats::run::{PREDICTIONS, RunError, RunJson, WEIGHTS, read_run_json};
use crate::fsx::{self, FsError};
use crate::model::{Architecture, Classifier, ModelSpec, WeightsError};
use crate::torch::script::{ScriptParts, save};
use crate::torch::{TorchError, script};
use golden::Golden;

/// The libtorch that tch 0.24 binds.
const LIBTORCH: &str = "2.11.0";
/// Weights of the largest network here are far below this.
const WEIGHTS_CAP_BYTES: u64 = 4 << 30;

/// Why a model cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The RUN cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its predictions cannot be read.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
    /// Its plan cannot be read.
    #[error(transparent)]
    Plan(#[from] DatasetError),
    /// Its weights cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// libtorch refused.
    #[error(transparent)]
    Torch(#[from] TorchError),
    /// The RUN names a network that this version does not have.
    #[error("`{}`: architecture is `{found}`, which this version does not have", path.display())]
    Architecture {
        /// The RUN.
        path: PathBuf,
        /// Its architecture.
        found: String,
    },
    /// Another model is there.
    #[error("`{}` holds another model; give another --out, or --force to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The metadata cannot be written as JSON.
    #[error("the model's metadata cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The reloaded model is not the trained one.
    #[error("`{}` was not written: reloaded in a fresh process it is not the trained network: {reason}", path.display())]
    Parity {
        /// The file.
        path: PathBuf,
        /// What the check said.
        reason: String,
    },
}

impl Classify for ExportError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Exists { .. } => FailureKind::Usage,
            _ => FailureKind::Unusable,
        }
    }
}

/// What was exported.
#[derive(Debug, Clone, Serialize)]
pub struct ExportSummary {
    /// The network.
    pub architecture: String,
    /// Trained parameters.
    pub parameters: u64,
    /// Size of MODEL.pt.
    pub bytes: u64,
    /// Largest difference of a logit between the trained network and the reloaded file, over the batch sizes tried.
    pub largest_difference: f64,
    /// Whether the file was there already.
    pub up_to_date: bool,
}

/// Where and how to export.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions<'a> {
    /// MODEL.pt.
    pub out: &'a Path,
    /// Replace another model.
    pub force: bool,
    /// The program that checks the file in a fresh process, this one: it must know `doctor --model FILE --json`.
    pub checker: &'a Path,
}

/// Exports the selected weights of `run`.
///
/// # Errors
/// [`ExportError`]; on [`ExportError::Parity`] nothing is left behind.
pub fn export(run: &Path, options: &ExportOptions<'_>, context: Context<'_>) -> Result<ExportSummary, ExportError> {
    context.observer.begin("export", None);
    let json = read_run_json(run)?;
    let classifier = trained(run, &json)?;
    let golden = Golden::of(&classifier, json.image_shape);
    let metadata = metadata(run, &json)?;
    let bytes = serde_json::to_vec_pretty(&metadata).map_err(ExportError::Json)?;
    let ExportOptions { out, force, checker } = *options;
    let exists = out.exists();
    if exists && is_same(out, &bytes) {
        let verified = verify::in_fresh_process(checker, out)?;
        return Ok(summary(&json, fsx::size_bytes(out)?, verified.largest_difference, true));
    }
    if exists && !force {
        return Err(ExportError::Exists { path: out.to_path_buf() });
    }
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fsx::create_folder(folder)?;
    }
    // TorchScript's archive root is the file's name, so the temporary keeps it: equal models give equal bytes.
    let staging = fsx::temporary_sibling(out);
    fsx::create_folder(&staging)?;
    let temporary = staging.join(out.file_name().unwrap_or_default());
    let written = write(&classifier, &golden, &bytes, &temporary)
        .and_then(|()| verify::in_fresh_process(checker, &temporary).map_err(|error| error.named(out)))
        .and_then(|verified| {
            fsx::rename_synced(&temporary, out)?;
            Ok(verified)
        });
    fsx::remove_folder(&staging)?;
    let verified = written?;
    context.observer.end();
    Ok(summary(&json, fsx::size_bytes(out)?, verified.largest_difference, false))
}

fn summary(json: &RunJson, bytes: u64, largest_difference: f64, up_to_date: bool) -> ExportSummary {
    ExportSummary {
        architecture: json.architecture.clone(),
        parameters: json.parameters,
        bytes,
        largest_difference,
        up_to_date,
    }
}

/// The network of the run with its selected weights, on the CPU.
fn trained(run: &Path, json: &RunJson) -> Result<Classifier, ExportError> {
    let architecture = Architecture::from_name(&json.architecture)
        .ok_or_else(|| ExportError::Architecture { path: run.to_path_buf(), found: json.architecture.clone() })?;
    let spec = ModelSpec {
        architecture,
        channels: json.image_shape[0],
        classes: json.classes.len(),
        mean: json.mean.clone(),
        std: json.std.clone(),
    };
    let mut classifier = Classifier::new(&spec, 0, Device::Cpu);
    classifier.load(&run.join(WEIGHTS))?;
    Ok(classifier)
}

fn metadata(run: &Path, json: &RunJson) -> Result<ModelMetadata, ExportError> {
    let plan: Plan = read_json(&run.join(PLAN_JSON))?;
    let predictions = Predictions::read(&run.join(PREDICTIONS))?;
    let weights = fsx::read(&run.join(WEIGHTS), WEIGHTS_CAP_BYTES)?;
    Ok(ModelMetadata {
        schema: MODEL_SCHEMA.to_owned(),
        architecture: json.architecture.clone(),
        parameters: json.parameters,
        classes: json.classes.clone(),
        image_shape: json.image_shape,
        mean: json.mean.clone(),
        std: json.std.clone(),
        plan,
        objective: json.objective.clone(),
        teacher_objective: json.teacher.as_ref().and_then(|teacher| teacher.objective.clone()),
        seed: json.seed,
        fold: json.fold,
        acquisition_groups: evidence::by(&predictions, |row| &row.acquisition_group),
        groups: evidence::by(&predictions, |row| &row.group),
        hashes: ModelHashes {
            dataset: json.dataset_hash.clone(),
            plan: json.plan_hash.clone(),
            weights: data_encoding::HEXLOWER.encode(&Sha256::digest(&weights)),
            golden_stack: json.golden_stack_hash.clone(),
        },
        versions: ModelVersions { groupdistil: env!("CARGO_PKG_VERSION").to_owned(), libtorch: LIBTORCH.to_owned() },
    })
}

/// Whether the file there was exported from the same run by the same version.
fn is_same(out: &Path, metadata: &[u8]) -> bool {
    script::extra_file(out, METADATA_FILE).is_ok_and(|found| found.as_deref() == Some(metadata))
}

fn write(classifier: &Classifier, golden: &Golden, metadata: &[u8], path: &Path) -> Result<(), ExportError> {
    let (input, output) = (golden.input_npy(), golden.output_npy());
    let extra: [(&str, &[u8]); 3] =
        [(METADATA_FILE, metadata), (GOLDEN_INPUT_FILE, &input), (GOLDEN_OUTPUT_FILE, &output)];
    let state = classifier.state();
    let parts = ScriptParts { tensors: &state, source: &classifier.torchscript_source(), extra: &extra };
    Ok(save(&parts, path)?)
}
