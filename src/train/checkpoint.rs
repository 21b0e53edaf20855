//! Checkpoints: everything a run needs to go on bit for bit, in `checkpoint/` of the RUN.
//!
//! Written as a whole to `checkpoint.new`, which then takes the place of the old one; between the two renames the old one is
//! `checkpoint.old`, which reading knows. `metrics.jsonl` and the event file are cut back to the lengths in the record.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::TrainError;
use super::selection::Standing;
use crate::fsx;

const FOLDER: &str = "checkpoint";
const RECORD: &str = "checkpoint.json";
const TENSORS: &str = "state.safetensors";
const SCHEMA: &str = "groupdistil.checkpoint/1";
/// The record holds a few numbers per group.
const RECORD_CAP_BYTES: u64 = 64 << 20;

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Epochs whose metrics are written.
    pub epochs: u64,
    /// Steps done in the epoch after them.
    pub steps_in_epoch: u64,
    /// Steps done in all.
    pub steps: u64,
}

/// The best epoch so far; its weights are the tensors `best.*`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestRecord {
    /// 1-based.
    pub epoch: u64,
    /// Steps done by its end.
    pub step: u64,
    /// How it stands.
    pub standing: Standing,
    /// q after its last step.
    pub q: Option<Vec<f64>>,
}

/// The numbers of a checkpoint. Batch order and augmentation need none: they follow from seed and position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    schema: String,
    /// How far the run is.
    pub position: Position,
    /// The group weights.
    pub log_q: Vec<f64>,
    /// Batches of the current epoch that held each group.
    pub present: Vec<u64>,
    /// Sum over the finished epochs of the share of batches that held each group.
    pub present_sums: Vec<f64>,
    /// The best epoch so far.
    pub best: Option<BestRecord>,
    /// Arithmetic of the run.
    pub bfloat16: bool,
    /// Memory order of the run.
    pub channels_last: bool,
    /// Length of `metrics.jsonl`.
    pub metrics_bytes: u64,
    /// Length of the event file.
    pub events_bytes: u64,
}

impl Record {
    /// A record at the start of a run.
    pub fn new(bfloat16: bool, channels_last: bool) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            position: Position::default(),
            log_q: Vec::new(),
            present: Vec::new(),
            present_sums: Vec::new(),
            best: None,
            bfloat16,
            channels_last,
            metrics_bytes: 0,
            events_bytes: 0,
        }
    }
}

/// Writes a checkpoint into the RUN at `root`.
///
/// # Errors
/// [`TrainError::Fs`], [`TrainError::CheckpointUnwritten`]; the one before is still there.
pub fn save(root: &Path, record: &Record, tensors: &[(String, Tensor)]) -> Result<(), TrainError> {
    let (new, current, old) = (root.join("checkpoint.new"), root.join(FOLDER), root.join("checkpoint.old"));
    fsx::remove_folder(&new)?;
    fsx::create_folder(&new)?;
    let wrong = |reason: String| TrainError::CheckpointUnwritten { path: current.clone(), reason };
    let state = new.join(TENSORS);
    Tensor::write_safetensors(tensors, &state).map_err(|error| wrong(error.to_string()))?;
    fsx::sync(&state)?;
    let json = serde_json::to_vec_pretty(record).map_err(|error| wrong(error.to_string()))?;
    fsx::write_atomic(&new.join(RECORD), &json)?;
    if current.exists() {
        // Without a current one the old one is the only one, until the new one has its name.
        fsx::remove_folder(&old)?;
        fsx::rename(&current, &old)?;
    }
    fsx::rename(&new, &current)?;
    Ok(fsx::remove_folder(&old)?)
}

/// A record with its tensors.
pub type Loaded = (Record, BTreeMap<String, Tensor>);

/// Reads the checkpoint of the RUN at `root`; `None` when there is none yet.
///
/// # Errors
/// [`TrainError::Checkpoint`] when there is one that cannot be used.
pub fn load(root: &Path) -> Result<Option<Loaded>, TrainError> {
    let folders = [root.join(FOLDER), root.join("checkpoint.old")];
    let Some(folder) = folders.into_iter().find(|folder| folder.join(RECORD).is_file()) else { return Ok(None) };
    let wrong = |reason: String| TrainError::Checkpoint { path: folder.clone(), reason };
    let bytes = fsx::read(&folder.join(RECORD), RECORD_CAP_BYTES)?;
    let record: Record = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if record.schema != SCHEMA {
        return Err(wrong(format!("schema is `{}`, expected `{SCHEMA}`", record.schema)));
    }
    let tensors = Tensor::read_safetensors(folder.join(TENSORS)).map_err(|error| wrong(error.to_string()))?;
    Ok(Some((record, tensors.into_iter().collect())))
}

/// Cuts an appended file back to `bytes`.
///
/// # Errors
/// [`TrainError::Checkpoint`] when it is shorter than that.
pub fn cut_back(path: &Path, bytes: u64) -> Result<(), TrainError> {
    let file = fsx::open_update(path)?;
    let found = fsx::size_bytes(path)?;
    if found < bytes {
        let reason = format!("it has {found} bytes, the checkpoint says {bytes}");
        return Err(TrainError::Checkpoint { path: path.to_path_buf(), reason });
    }
    Ok(file.set_len(bytes).map_err(fsx::io_error(path, "cut back"))?)
}

/// Removes what an unusable checkpoint left, so that the run starts anew.
///
/// # Errors
/// [`TrainError::Fs`].
pub fn discard(root: &Path, appended: &[&str]) -> Result<(), TrainError> {
    for folder in [FOLDER, "checkpoint.old", "checkpoint.new"] {
        fsx::remove_folder(&root.join(folder))?;
    }
    for file in appended {
        fsx::remove_file(&root.join(file))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_and_a_torn_replacement_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).unwrap().is_none());
        let mut record = Record::new(false, true);
        record.log_q = vec![-0.1, -2.3];
        let tensors = vec![("model.w".to_owned(), Tensor::from_slice(&[1.0f32, 2.0]))];
        save(folder.path(), &record, &tensors).unwrap();
        record.position.steps = 7;
        save(folder.path(), &record, &tensors).unwrap();
        let (found, state) = load(folder.path()).unwrap().unwrap();
        assert_eq!(found, record);
        assert_eq!(state["model.w"], tensors[0].1);
        // A crash between the two renames.
        fsx::rename(&folder.path().join("checkpoint"), &folder.path().join("checkpoint.old")).unwrap();
        assert_eq!(load(folder.path()).unwrap().unwrap().0, record);
    }

    #[test]
    fn a_damaged_checkpoint_is_an_error_and_a_shorter_file_too() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &Record::new(false, false), &[]).unwrap();
        fsx::write_atomic(&folder.path().join("checkpoint/state.safetensors"), b"xx").unwrap();
        assert!(matches!(load(folder.path()), Err(TrainError::Checkpoint { .. })));
        let log = folder.path().join("metrics.jsonl");
        fsx::write_atomic(&log, b"12345").unwrap();
        cut_back(&log, 3).unwrap();
        assert_eq!(fsx::read(&log, 9).unwrap(), b"123");
        assert!(cut_back(&log, 4).is_err());
    }
}
