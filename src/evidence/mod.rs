//! A study: which method serves the worst group best, on cohorts made anew for each seed.
//!
//! ```text
//! seed-<s>/dataset   per seed a cohort of its own                                                 [`cohorts`]
//! seed-<t>/tuning    every trial of every method on the tuning seeds; validation chooses          [`tuning`]
//! seed-<s>/final     what was chosen, once, on the other seeds
//! evidence.json, evidence.csv, evidence.md, evidence.svg    test figures, paired differences      [`figures`], [`page`], [`picture`]
//! ```
//!
//! Test figures of the tuning seeds are looked at by nobody here. Every RUN is up to date or resumed by itself, so a study that was
//! interrupted goes on where it was.

mod cohorts;
mod figures;
mod page;
mod picture;
mod tuning;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::context::Context;
use crate::failure::{Classify, FailureKind};
use crate::formats::dataset::DatasetError;
use crate::formats::evidence::{
    EVIDENCE_CSV, EVIDENCE_JSON, EVIDENCE_PAGE, EVIDENCE_PICTURE, EVIDENCE_SCHEMA, EvidenceJson, write_csv,
};
use crate::formats::predictions::PredictionsError;
use crate::formats::table::TableError;
use crate::fsx::{self, FsError};
use crate::ingest::IngestError;
use crate::outdir::{Collection, OutDirError, Provenance};
use crate::phantom::PhantomError;
use crate::preprocess::PreprocessError;
use crate::settings::evidence::{Arm, EvidenceSettings, EvidenceSettingsError};
use crate::train::several::{Job, Manner, SeveralError, train_several};
use cohorts::Cohort;

/// Why a study stopped. What is finished stays, and the same command goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// A setting out of range.
    #[error(transparent)]
    Settings(#[from] EvidenceSettingsError),
    /// The output folder cannot be used.
    #[error(transparent)]
    OutDir(#[from] OutDirError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A seed's phantom.
    #[error("stage phantom")]
    Phantom(#[from] PhantomError),
    /// A seed's cohort.
    #[error("stage ingest")]
    Ingest(#[from] IngestError),
    /// A seed's dataset.
    #[error("stage preprocess")]
    Preprocess(#[from] PreprocessError),
    /// A dataset cannot be read back.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A training failed.
    #[error(transparent)]
    Train(#[from] SeveralError),
    /// Predictions of a run cannot be read.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
    /// The table cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Datasets of different folds.
    #[error("the dataset of seed {seed} has {} and that of seed {first} {}", show_folds(*found), show_folds(*expected))]
    Folds {
        /// The seed that differs.
        seed: u64,
        /// The first seed.
        first: u64,
        /// Its folds.
        found: Option<usize>,
        /// The first one's.
        expected: Option<usize>,
    },
    /// A group or an accuracy that a figure needs is not there.
    #[error("`{run}`: no {what}; every cohort needs validation and test samples")]
    NoFigure {
        /// The RUN, relative to the study.
        run: String,
        /// What is missing.
        what: &'static str,
    },
}

fn show_folds(folds: Option<usize>) -> String {
    folds.map_or_else(|| "no folds".to_owned(), |folds| format!("{folds} folds"))
}

impl Classify for EvidenceError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Settings(error) => error.kind(),
            Self::OutDir(error) => error.kind(),
            Self::Phantom(error) => error.kind(),
            Self::Ingest(error) => error.kind(),
            Self::Preprocess(error) => error.kind(),
            Self::Dataset(error) => error.kind(),
            Self::Train(error) => error.kind(),
            _ => FailureKind::Unusable,
        }
    }
}

/// Where and how a study runs.
#[derive(Debug, Clone, Copy)]
pub struct EvidenceOptions<'a> {
    /// Folder of everything.
    pub out: &'a Path,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: &'a str,
    /// Trainings at once; `None`: as many as cores and memory allow.
    pub at_once: Option<usize>,
}

/// What a study gave.
#[derive(Debug, Clone, Serialize)]
pub struct EvidenceSummary {
    /// `evidence.json`.
    pub evidence: EvidenceJson,
    /// `evidence.md`.
    #[serde(skip)]
    pub page: String,
    /// Trainings of the whole study.
    pub trainings: usize,
    /// Of these, how many were there already.
    pub up_to_date: usize,
}

/// Runs what is missing of the study.
///
/// # Errors
/// [`EvidenceError`]; an interrupted study keeps every RUN that is finished.
pub fn run(
    settings: &EvidenceSettings,
    options: &EvidenceOptions<'_>,
    context: Context<'_>,
) -> Result<EvidenceSummary, EvidenceError> {
    let mut provenance = Provenance::begin(context.pool.current_num_threads(), options.device);
    let folder = Collection::open(options.out)?;
    // A result that no longer fits its runs must not be taken for one that does.
    fsx::remove_file(&folder.path(EVIDENCE_JSON))?;
    let cohorts = cohorts(settings, &folder, context)?;
    let mut study = Study { settings, folder: &folder, options, context, trainings: 0, up_to_date: 0 };
    let (tuning, last) = cohorts.split_at(settings.tuning_seeds.len());
    let choices = study.choose(tuning)?;
    context.observer.stage("the chosen settings, on seeds that chose nothing");
    study.train_chosen(last, &choices)?;
    let arms = figures::arms(settings, last, &choices, &folder, context)?;
    let evidence = EvidenceJson {
        schema: EVIDENCE_SCHEMA.to_owned(),
        title: settings.title.clone(),
        settings: settings.resolved.clone(),
        tuning_seeds: settings.tuning_seeds.clone(),
        seeds: settings.seeds.clone(),
        datasets: cohorts.iter().map(|cohort| (cohort.seed, cohort.json.content_hash.clone())).collect(),
        folds: cohorts[0].json.folds,
        confidence: settings.confidence,
        replicates: settings.replicates,
        test_subjects_per_group: arms.test_subjects_per_group,
        arms: arms.arms,
    };
    let page = page::write(&evidence);
    write_csv(&evidence.arms, &folder.path(EVIDENCE_CSV))?;
    fsx::write_atomic(&folder.path(EVIDENCE_PAGE), page.as_bytes())?;
    fsx::write_atomic(&folder.path(EVIDENCE_PICTURE), picture::draw(&evidence).as_bytes())?;
    provenance.note("trainings", study.trainings);
    provenance.note("trainings_up_to_date", study.up_to_date);
    folder.write_json("provenance.json", &provenance.end())?;
    folder.write_json(EVIDENCE_JSON, &evidence)?;
    Ok(EvidenceSummary { evidence, page, trainings: study.trainings, up_to_date: study.up_to_date })
}

/// The tuning seeds' cohorts, then the others'.
fn cohorts(
    settings: &EvidenceSettings,
    folder: &Collection,
    context: Context<'_>,
) -> Result<Vec<Cohort>, EvidenceError> {
    let seeds: Vec<u64> = settings.tuning_seeds.iter().chain(&settings.seeds).copied().collect();
    let mut cohorts: Vec<Cohort> = Vec::new();
    for (at, &seed) in seeds.iter().enumerate() {
        context.observer.stage(&format!("cohort {} of {}, seed {seed}", at + 1, seeds.len()));
        let cohort = cohorts::make(settings, seed, folder, context)?;
        let (found, expected) = (cohort.json.folds, cohorts.first().map_or(cohort.json.folds, |one| one.json.folds));
        if found != expected {
            return Err(EvidenceError::Folds { seed, first: seeds[0], found, expected });
        }
        cohorts.push(cohort);
    }
    Ok(cohorts)
}

/// A study that is running.
struct Study<'a> {
    settings: &'a EvidenceSettings,
    folder: &'a Collection,
    options: &'a EvidenceOptions<'a>,
    context: Context<'a>,
    trainings: usize,
    up_to_date: usize,
}

/// Folder of a RUN below its arm's: with folds one each.
fn of_fold(folder: PathBuf, fold: Option<usize>) -> PathBuf {
    fold.map_or_else(|| folder.clone(), |fold| folder.join(format!("fold-{fold}")))
}

/// The folds of a cohort: `None` alone where it has one split.
fn folds(cohort: &Cohort) -> Vec<Option<usize>> {
    cohort.json.folds.map_or_else(|| vec![None], |folds| (0..folds).map(Some).collect())
}

/// Where the chosen settings of an arm are trained, relative to the study.
fn final_run(seed: u64, arm: &str, fold: Option<usize>) -> PathBuf {
    of_fold(PathBuf::from(format!("seed-{seed}/final/{arm}")), fold)
}

impl Study<'_> {
    fn train_chosen(&mut self, cohorts: &[Cohort], choices: &tuning::Choices) -> Result<(), EvidenceError> {
        let mut jobs = Vec::new();
        for cohort in cohorts {
            for arm in &self.settings.arms {
                let trial = choices.chosen(arm);
                for fold in folds(cohort) {
                    let run = |name: &str| final_run(cohort.seed, name, fold);
                    jobs.push(self.job(arm, trial, (cohort, fold), arm.wave, &run)?);
                }
            }
        }
        self.train(&jobs)
    }

    /// A training whose RUNs lie where `run` says.
    fn job(
        &self,
        arm: &Arm,
        trial: usize,
        (cohort, fold): (&Cohort, Option<usize>),
        wave: usize,
        run: &dyn Fn(&str) -> PathBuf,
    ) -> Result<Job, EvidenceError> {
        let inside = |name: &str| self.folder.path(run(name));
        let settings = self.settings.training(arm, trial, cohort.seed, fold, &inside)?;
        let out = run(&arm.name);
        let dataset = cohort.dataset.clone();
        Ok(Job { name: out.display().to_string(), wave, settings, dataset, out: self.folder.path(out) })
    }

    fn train(&mut self, jobs: &[Job]) -> Result<(), EvidenceError> {
        let EvidenceOptions { device, at_once, .. } = *self.options;
        // The folder is the study's own: what was made from other settings is made anew.
        let done = train_several(jobs, &Manner { at_once, force: true, device }, self.context)?;
        self.trainings += done.len();
        self.up_to_date += done.iter().filter(|done| done.up_to_date).count();
        Ok(())
    }
}
