//! Does a model file give its golden output on this machine? Asked by `doctor --model`, and by `export` in a fresh process.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::ExportError;
use crate::failure::Classify;
use crate::formats::model_metadata::{
    GOLDEN_INPUT_FILE, GOLDEN_OUTPUT_FILE, METADATA_FILE, MODEL_SCHEMA, ModelMetadata,
};
use crate::torch::{TorchError, script};

/// Largest accepted difference of a logit, absolute and relative to the largest logit (issue: 1e-5).
pub const TOLERANCE: f64 = 1e-5;

/// Why a file is no model that can be trusted here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// libtorch cannot read or run it.
    #[error("`{}`: not a TorchScript file that can be run; make one with `groupdistil export`", path.display())]
    Torch {
        /// The file.
        path: PathBuf,
        /// libtorch's reason.
        source: TorchError,
    },
    /// An extra file is missing or malformed.
    #[error("`{}`: no model of groupdistil: its `{name}` {problem}", path.display())]
    Extra {
        /// The file.
        path: PathBuf,
        /// The extra file.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Its output differs from the one it was exported with.
    #[error("`{}`: its golden output differs by {found:.3e} at batch size {batch}, more than {TOLERANCE:e}", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// Images in the batch.
        batch: usize,
        /// The difference.
        found: f64,
    },
}

impl Classify for VerifyError {}

impl ExportError {
    /// The same error for the path that the user gave.
    pub(super) fn named(self, out: &Path) -> Self {
        match self {
            Self::Parity { reason, .. } => Self::Parity { path: out.to_path_buf(), reason },
            other => other,
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verified {
    /// Largest difference of a logit.
    pub largest_difference: f64,
    /// Batch sizes that were tried.
    pub batch_sizes: Vec<usize>,
}

/// Reads `groupdistil.json` of a model file.
///
/// # Errors
/// [`VerifyError`] when it is no model of this program, or of another schema.
pub fn read_metadata(path: &Path) -> Result<ModelMetadata, VerifyError> {
    let bytes = extra(path, METADATA_FILE)?;
    let wrong = |problem: String| VerifyError::Extra { path: path.to_path_buf(), name: METADATA_FILE, problem };
    let metadata: ModelMetadata = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if metadata.schema == MODEL_SCHEMA {
        Ok(metadata)
    } else {
        Err(wrong(format!("has schema `{}`, expected `{MODEL_SCHEMA}`", metadata.schema)))
    }
}

/// Runs the golden input through the file at several batch sizes.
///
/// # Errors
/// [`VerifyError::Differs`] beyond [`TOLERANCE`], others when the file cannot be run.
pub fn verify(path: &Path, device: Device) -> Result<Verified, VerifyError> {
    let torch = |source: TorchError| VerifyError::Torch { path: path.to_path_buf(), source };
    read_metadata(path)?;
    let input = array(path, GOLDEN_INPUT_FILE)?;
    let expected = array(path, GOLDEN_OUTPUT_FILE)?;
    let images = usize::try_from(input.size()[0]).unwrap_or(0);
    let model = script::load(path, device).map_err(torch)?;
    let scale = expected.abs().max().double_value(&[]).max(1.0);
    let mut verified = Verified { largest_difference: 0.0, batch_sizes: vec![1, 2, images] };
    for batch in verified.batch_sizes.clone() {
        let rows = i64::try_from(batch).unwrap_or(i64::MAX);
        let part = input.f_narrow(0, 0, rows).map_err(|error| torch(error.into()))?.to_device(device);
        let found = model.forward_ts(&[&part]).map_err(|error| torch(error.into()))?.to_device(Device::Cpu);
        let same_shape = found.size() == [rows, expected.size()[1]];
        let difference = if same_shape {
            (found - expected.narrow(0, 0, rows)).abs().max().double_value(&[])
        } else {
            f64::INFINITY
        };
        if difference.is_nan() || difference > TOLERANCE * scale {
            return Err(VerifyError::Differs { path: path.to_path_buf(), batch, found: difference });
        }
        verified.largest_difference = verified.largest_difference.max(difference);
    }
    Ok(verified)
}

fn extra(path: &Path, name: &'static str) -> Result<Vec<u8>, VerifyError> {
    let found =
        script::extra_file(path, name).map_err(|source| VerifyError::Torch { path: path.to_path_buf(), source })?;
    let problem = "is missing".to_owned();
    found.ok_or_else(|| VerifyError::Extra { path: path.to_path_buf(), name, problem })
}

/// A float32 array of the archive.
fn array(path: &Path, name: &'static str) -> Result<Tensor, VerifyError> {
    let bytes = extra(path, name)?;
    let wrong = |problem: String| VerifyError::Extra { path: path.to_path_buf(), name, problem };
    let npy = npyz::NpyFile::new(bytes.as_slice()).map_err(|error| wrong(error.to_string()))?;
    let shape: Vec<i64> = npy.shape().iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
    let values: Vec<f32> = npy.into_vec().map_err(|error| wrong(error.to_string()))?;
    let tensor = Tensor::from_slice(&values);
    if shape.len() < 2 || shape.contains(&0) {
        return Err(wrong(format!("has shape {shape:?}")));
    }
    tensor.f_view(shape.as_slice()).map_err(|error| wrong(error.to_string()))
}

/// [`verify`] by another process, so that nothing of this one's state can help.
///
/// # Errors
/// [`ExportError::Parity`] with what the process said.
pub fn in_fresh_process(checker: &Path, model: &Path) -> Result<Verified, ExportError> {
    let parity = |reason: String| ExportError::Parity { path: model.to_path_buf(), reason };
    let output = Command::new(checker)
        .args(["doctor", "--json", "--quiet", "--device", "cpu", "--model"])
        .arg(model)
        .output()
        .map_err(|error| parity(format!("`{}` cannot be started: {error}", checker.display())))?;
    if !output.status.success() {
        return Err(parity(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    #[derive(Deserialize)]
    struct Doctor {
        model: Verified,
    }
    let doctor: Doctor = serde_json::from_slice(&output.stdout).map_err(|error| parity(error.to_string()))?;
    Ok(doctor.model)
}
