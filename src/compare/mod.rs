//! `compare`: the same data and seeds through several methods. Per seed its teachers, then each method; RUN folders
//! `seed-<s>/<method>`; figures per sample and per subject on the test split; differences paired by seed.
//!
//! Each RUN is up to date or resumed by itself, so a comparison that was interrupted goes on where it was, and one that is given
//! more seeds or methods trains only those.

pub mod figures;

use std::path::Path;

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
use crate::train::several::{Job, Manner, SeveralError, train_several};

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
    #[error(transparent)]
    Train(#[from] SeveralError),
    /// Predictions of a run cannot be read.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
    /// The table cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl Classify for CompareError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Settings(error) => error.kind(),
            Self::OutDir(error) => error.kind(),
            Self::Train(error) => error.kind(),
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
    /// Trainings at once; `None`: as many as cores and memory allow.
    pub at_once: Option<usize>,
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
    let (of, jobs) = jobs(settings, options.dataset, &folder)?;
    let CompareOptions { force, device, at_once, .. } = *options;
    let done = train_several(&jobs, &Manner { at_once, force, device }, context)?;
    let up_to_date = done.iter().filter(|done| done.up_to_date).count();
    let mut runs = Vec::new();
    for ((of, job), done) in of.into_iter().zip(jobs).zip(&done) {
        let predictions = Predictions::read(&job.out.join(PREDICTIONS))?;
        runs.push(compared(of, job.name, &done.run, &predictions));
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
    folder.write_json(COMPARE_JSON, &compare)?;
    Ok(CompareSummary { compare, up_to_date })
}

/// What a training of the comparison is of.
type MethodAndSeed = (String, u64);

/// Per seed its teachers, then each method, as in the table.
fn jobs(
    settings: &CompareSettings,
    dataset: &Path,
    folder: &Collection,
) -> Result<(Vec<MethodAndSeed>, Vec<Job>), CompareError> {
    let (mut of, mut jobs) = (Vec::new(), Vec::new());
    let mut add = |method: &str, seed: u64, wave: usize, training: TrainSettings| {
        let name = format!("seed-{seed}/{method}");
        let out = folder.path(&name);
        of.push((method.to_owned(), seed));
        jobs.push(Job { name, wave, settings: training, dataset: dataset.to_path_buf(), out });
    };
    for &seed in &settings.seeds {
        for number in (0..settings.teachers).filter(|_| settings.needs_teacher()) {
            add(&teacher_name(number), seed, 0, settings.teacher_settings(seed, number)?);
        }
        for method in &settings.methods {
            let runs = folder.path(format!("seed-{seed}"));
            add(&method.name, seed, method.wave, settings.method_settings(method, seed, &runs)?);
        }
    }
    Ok((of, jobs))
}

fn compared((method, seed): MethodAndSeed, folder: String, run: &RunJson, predictions: &Predictions) -> ComparedRun {
    ComparedRun {
        method,
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
