//! `compare`: the same data and seeds through several methods. Per seed its teachers, then each method; RUN folders
//! `seed-<s>/<method>`; figures per sample and per subject on the test split; differences paired by seed.
//!
//! Each RUN is up to date or resumed by itself, so a comparison that was interrupted goes on where it was, and one that is given
//! more seeds or methods trains only those.

mod figures;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::context::Context;
use crate::failure::{Classify, FailureKind};
use crate::formats::compare::{COMPARE_CSV, COMPARE_JSON, COMPARE_SCHEMA, CompareJson, ComparedRun, write_csv};
use crate::formats::dataset::{DatasetError, read_dataset_json};
use crate::formats::predictions::{Predictions, PredictionsError};
use crate::formats::run::{PREDICTIONS, RunJson};
use crate::formats::table::TableError;
use crate::fsx::{self, FsError};
use crate::outdir::{Collection, OutDirError};
use crate::settings::compare::{CompareSettings, CompareSettingsError, teacher_name};
use crate::settings::train::TrainSettings;
use crate::train::{TrainError, train};

/// Why a comparison cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A setting out of range.
    #[error(transparent)]
    Settings(#[from] CompareSettingsError),
    /// The dataset cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The output folder cannot be used.
    #[error(transparent)]
    OutDir(#[from] OutDirError),
    /// A training run failed.
    #[error("`{run}`")]
    Train {
        /// The RUN, relative to the comparison.
        run: String,
        /// Why.
        source: Box<TrainError>,
    },
    /// Predictions of a run cannot be read.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
    /// The table cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The result cannot be written as JSON.
    #[error("`{}`: cannot be written as JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// serde's reason.
        source: serde_json::Error,
    },
}

impl Classify for CompareError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Settings(error) => error.kind(),
            Self::OutDir(error) => error.kind(),
            Self::Train { source, .. } => source.kind(),
            _ => FailureKind::Unusable,
        }
    }
}

/// What a comparison gave.
#[derive(Debug, Clone, Serialize)]
pub struct CompareSummary {
    /// `compare.json`.
    pub compare: CompareJson,
    /// RUNs that were there already.
    pub up_to_date: usize,
}

/// Where and how to compare.
#[derive(Debug, Clone, Copy)]
pub struct CompareOptions<'a> {
    /// The DATASET.
    pub dataset: &'a Path,
    /// Folder for the RUNs and the result.
    pub out: &'a Path,
    /// Make RUNs anew that were made from other settings or inputs.
    pub force: bool,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: &'a str,
}

/// Trains what is missing and compares.
///
/// # Errors
/// [`CompareError`]; an interrupted comparison keeps every RUN that is finished, and the one in progress to its last step.
pub fn compare(
    settings: &CompareSettings,
    options: &CompareOptions<'_>,
    context: Context<'_>,
) -> Result<CompareSummary, CompareError> {
    let dataset = read_dataset_json(options.dataset)?;
    let folder = Collection::open(options.out)?;
    // A result that no longer fits its runs must not be taken for one that does.
    fsx::remove_file(&folder.path(COMPARE_JSON))?;
    let mut runs = Vec::new();
    let mut up_to_date = 0;
    let mut one = |method: &str, seed: u64, training: &TrainSettings| -> Result<(), CompareError> {
        let run = format!("seed-{seed}/{method}");
        let out = folder.path(&run);
        let CompareOptions { dataset, force, device, .. } = *options;
        let done = train(training, dataset, &out, force, device, context)
            .map_err(|source| CompareError::Train { run: run.clone(), source: Box::new(source) })?;
        up_to_date += usize::from(done.up_to_date);
        runs.push(compared((method, seed), run, &done.run, &Predictions::read(&out.join(PREDICTIONS))?));
        Ok(())
    };
    for &seed in &settings.seeds {
        for number in (0..settings.teachers).filter(|_| settings.needs_teacher()) {
            one(&teacher_name(number), seed, &settings.teacher_settings(seed, number)?)?;
        }
        for method in &settings.methods {
            let runs = folder.path(format!("seed-{seed}"));
            one(&method.name, seed, &settings.method_settings(method, seed, &runs)?)?;
        }
    }
    let teachers = settings.teacher_names();
    let methods: Vec<&str> =
        teachers.iter().map(String::as_str).chain(settings.methods.iter().map(|one| one.name.as_str())).collect();
    let compare = CompareJson {
        schema: COMPARE_SCHEMA.to_owned(),
        dataset_hash: dataset.content_hash,
        fold: settings.fold,
        seeds: settings.seeds.clone(),
        baseline: settings.baseline.clone(),
        confidence: settings.confidence,
        summary: figures::summary(&runs, &methods, settings.baseline.as_deref(), settings.confidence),
        runs,
    };
    write_csv(&compare.runs, &folder.path(COMPARE_CSV))?;
    let path = folder.path(COMPARE_JSON);
    let mut bytes =
        serde_json::to_vec_pretty(&compare).map_err(|source| CompareError::Json { path: path.clone(), source })?;
    bytes.push(b'\n');
    fsx::write_atomic(&path, &bytes)?;
    Ok(CompareSummary { compare, up_to_date })
}

fn compared((method, seed): (&str, u64), folder: String, run: &RunJson, predictions: &Predictions) -> ComparedRun {
    ComparedRun {
        method: method.to_owned(),
        seed,
        run: folder,
        architecture: run.architecture.clone(),
        parameters: run.parameters,
        best_epoch: run.best_epoch,
        held_out: run.held_out.clone(),
        sample: figures::per_sample(run),
        subject: figures::per_subject(run, predictions),
    }
}
