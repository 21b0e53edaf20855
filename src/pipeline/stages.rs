//! The stages in order: where each reads and writes, and what it hands on.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{PipelineError, PipelineSummary, RunOptions, Stage};
use crate::audit::{self, ModelSource};
use crate::context::Context;
use crate::export::{self, ExportOptions, ExportSummary};
use crate::formats::dataset::read_dataset_json;
use crate::outdir::Collection;
use crate::settings::ingest::IngestSettings;
use crate::settings::pipeline::{PipelineSettings, TEACHER};
use crate::settings::train::{TrainSettings, TrainWire};
use crate::train::several::{Job, Manner, SeveralError, train_several};
use crate::{ingest, phantom, preprocess};

/// File name of the exported student.
pub const MODEL: &str = "model.pt";

/// Seconds each stage took, in order.
pub type Seconds = Vec<(Stage, f64)>;

/// What every stage needs.
pub struct Stages<'a> {
    /// The pipeline.
    pub settings: &'a PipelineSettings,
    /// Where and how.
    pub options: &'a RunOptions<'a>,
    /// The output folder.
    pub collection: &'a Collection,
    /// Observer, interrupt, pool.
    pub context: Context<'a>,
}

impl Stages<'_> {
    /// Runs all of them.
    pub fn run(&self) -> Result<(PipelineSummary, Seconds), PipelineError> {
        let mut seconds = Vec::new();
        let mut timed = |stage: Stage, started: Instant| seconds.push((stage, started.elapsed().as_secs_f64()));
        let (settings, context) = (self.settings, self.context);

        let started = self.begin(Stage::Phantom);
        let (sources, ingest_settings) = self.sources()?;
        timed(Stage::Phantom, started);

        let started = self.begin(Stage::Ingest);
        let cohort = self.collection.path("cohort");
        ingest::ingest(&ingest_settings, &sources, &cohort, true, context)?;
        timed(Stage::Ingest, started);

        let started = self.begin(Stage::Preprocess);
        let dataset = self.collection.path("dataset");
        preprocess::preprocess(&settings.preprocess, &cohort, &dataset, true, context)?;
        let folds = self.folds(&dataset)?;
        timed(Stage::Preprocess, started);

        let started = self.begin(Stage::Teacher);
        if let Some(wire) = &settings.teacher {
            self.train(&[(TEACHER, wire)], &dataset, &folds)?;
        }
        timed(Stage::Teacher, started);

        let started = self.begin(Stage::Students);
        let students: Vec<_> =
            settings.students.iter().map(|student| (student.name.as_str(), &student.train)).collect();
        self.train(&students, &dataset, &folds)?;
        timed(Stage::Students, started);

        let started = self.begin(Stage::Export);
        let exported = self.export(&folds)?;
        timed(Stage::Export, started);

        let started = self.begin(Stage::Audit);
        let report = self.collection.path("report");
        let audited = audit::audit(&self.models(), &settings.audit, &report, true, context)?;
        timed(Stage::Audit, started);
        Ok((PipelineSummary::new(settings, folds[0], exported, audited), seconds))
    }

    /// Announces a stage, counted among those that this pipeline has.
    fn begin(&self, stage: Stage) -> Instant {
        let has = |stage: &Stage| match stage {
            Stage::Phantom => self.settings.phantom.is_some(),
            Stage::Teacher => self.settings.teacher.is_some(),
            _ => true,
        };
        let stages: Vec<Stage> = Stage::ALL.into_iter().filter(has).collect();
        if let Some(index) = stages.iter().position(|one| *one == stage) {
            self.context.observer.stage(&format!("{}/{} {}", index + 1, stages.len(), stage.name()));
        }
        Instant::now()
    }

    /// What is ingested: the user's scans, or the phantom with its labels and its public key.
    fn sources(&self) -> Result<(Vec<PathBuf>, IngestSettings), PipelineError> {
        let given = &self.settings.ingest;
        let Some(wanted) = &self.settings.phantom else { return Ok((self.settings.sources.clone(), given.clone())) };
        let folder = self.collection.path("phantom");
        phantom::write(wanted, &folder, true, self.context)?;
        let ingest = phantom::ingest_settings(given, &folder, self.collection.path("phantom-key"))?;
        Ok((vec![folder.join(phantom::SCANS)], ingest))
    }

    /// The folds to train, `None` alone where there is one split.
    fn folds(&self, dataset: &Path) -> Result<Vec<Option<usize>>, PipelineError> {
        if !self.settings.cross_validate {
            return Ok(vec![None]);
        }
        let count = read_dataset_json(dataset)?.folds.ok_or(PipelineError::NoFolds)?;
        Ok((0..count).map(Some).collect())
    }

    /// The RUN of a training.
    fn run_folder(&self, name: &str, fold: Option<usize>) -> PathBuf {
        let folder = self.collection.path("runs").join(name);
        fold.map_or_else(|| folder.clone(), |fold| folder.join(format!("fold-{fold}")))
    }

    /// Trains networks that do not wait for each other, each on every fold.
    fn train(
        &self,
        networks: &[(&str, &TrainWire)],
        dataset: &Path,
        folds: &[Option<usize>],
    ) -> Result<(), PipelineError> {
        let mut jobs = Vec::new();
        for &(name, wire) in networks {
            for &fold in folds {
                jobs.push(self.job(name, wire, dataset, fold)?);
            }
        }
        // Weights depend on the threads of their run: unless asked for, each run has all of them.
        let manner = Manner { at_once: Some(self.options.jobs.unwrap_or(1)), force: true, device: self.options.device };
        train_several(&jobs, &manner, self.context)
            .map_err(|SeveralError { name, source }| PipelineError::Train { name, source })?;
        Ok(())
    }

    fn job(&self, name: &str, wire: &TrainWire, dataset: &Path, fold: Option<usize>) -> Result<Job, PipelineError> {
        let part = fold.map_or_else(|| name.to_owned(), |fold| format!("{name}, fold {fold}"));
        let teacher = (name != TEACHER).then(|| self.run_folder(TEACHER, fold));
        let mut settings = TrainSettings::from_wire(wire, self.settings.seed, fold, teacher)
            .map_err(|error| PipelineError::TrainSettings { name: part.clone(), source: Box::new(error) })?;
        if !settings.objective.objective.needs_teacher() {
            settings.teacher = None;
        }
        Ok(Job { name: part, wave: 0, settings, dataset: dataset.to_path_buf(), out: self.run_folder(name, fold) })
    }

    /// The first student; with folds, fold 0's.
    fn export(&self, folds: &[Option<usize>]) -> Result<ExportSummary, PipelineError> {
        let run = self.run_folder(&self.settings.students[0].name, folds[0]);
        let out = self.collection.path(MODEL);
        let options = ExportOptions { out: &out, force: true, checker: self.options.checker };
        Ok(export::export(&run, &options, self.context)?)
    }

    /// The model under audit first, then the other students, then the teacher.
    fn models(&self) -> Vec<ModelSource> {
        let names = self.settings.students.iter().map(|student| student.name.clone());
        let teacher = self.settings.teacher.as_ref().map(|_| TEACHER.to_owned());
        names.chain(teacher).map(|name| ModelSource { path: self.run_folder(&name, None), name: Some(name) }).collect()
    }
}
