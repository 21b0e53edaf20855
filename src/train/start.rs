//! The weights that a run starts from, and whether they have seen what is tested here.

use std::path::Path;

use super::TrainError;
use super::data::{Samples, Seen};
use crate::formats::model_metadata::ModelMetadata;
use crate::formats::run::{RUN_JSON, read_run_json};
use crate::model::Pretrained;
use crate::settings::train::TrainSettings;

/// Weights on disk.
#[derive(Debug)]
pub struct Start {
    /// The tensors.
    pub weights: Pretrained,
    /// What a reader of the run should know.
    pub warnings: Vec<String>,
}

/// What weights were trained on.
struct Origin {
    dataset_hash: String,
    fold: Option<usize>,
}

impl Start {
    /// Reads the weights of the settings; `None` where a run starts from random ones.
    ///
    /// # Errors
    /// [`TrainError::Init`]; [`TrainError::InitFold`] for weights that were trained on what is tested here.
    pub fn open(settings: &TrainSettings, samples: &Samples) -> Result<Option<Self>, TrainError> {
        let Some(path) = &settings.init else { return Ok(None) };
        let weights = Pretrained::read(path)?;
        let mut warnings = Vec::new();
        if let Some(origin) = origin(path, &weights)? {
            match samples.seen_by(&origin.dataset_hash, origin.fold, settings.fold) {
                Seen::Training => {}
                Seen::Unknown => {
                    let text = "the weights that the run started from were trained on another dataset; they may have seen subjects that are tested here";
                    warnings.push(text.to_owned());
                }
                Seen::Tested => {
                    let (found, expected) = (origin.fold, settings.fold);
                    return Err(TrainError::InitFold { path: path.clone(), found, expected });
                }
            }
        }
        Ok(Some(Self { weights, warnings }))
    }
}

/// Known for a RUN, its weights file and a model file of this program; nobody can know it for other files.
fn origin(path: &Path, weights: &Pretrained) -> Result<Option<Origin>, TrainError> {
    let folder = if path.is_dir() { Some(path) } else { path.parent() };
    if let Some(folder) = folder.filter(|folder| folder.join(RUN_JSON).is_file()) {
        let run = read_run_json(folder)?;
        return Ok(Some(Origin { dataset_hash: run.dataset_hash, fold: run.fold }));
    }
    let metadata = weights.metadata.as_ref().and_then(|bytes| serde_json::from_slice::<ModelMetadata>(bytes).ok());
    Ok(metadata.map(|known| Origin { dataset_hash: known.hashes.dataset, fold: known.fold }))
}
