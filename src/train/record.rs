//! What every RUN ends with, however its weights came about: figures per split, predictions, weights, settings, plan, and `run.json`.

use std::collections::BTreeMap;
use std::path::Path;

use tch::{Device, Tensor};

use super::areas::Areas;
use super::data::{Samples, indices};
use super::evaluate::{LineParts, Scores};
use super::{TrainError, settings_toml};
use crate::formats::dataset::Split;
use crate::formats::plan::PLAN_JSON;
use crate::formats::predictions::{PredictionRow, Predictions};
use crate::formats::run::{MetricsLine, PREDICTIONS, RUN_SCHEMA, RunJson, TeacherInfo, WEIGHTS};
use crate::fsx;
use crate::model::Classifier;
use crate::settings::train::TrainSettings;

/// A plan is a few kilobytes.
const PLAN_CAP_BYTES: u64 = 16 << 20;

/// A network and what it gives for every sample of the dataset.
pub struct Outcome<'a> {
    /// The settings.
    pub settings: &'a TrainSettings,
    /// The samples.
    pub samples: &'a Samples,
    /// The RUN.
    pub root: &'a Path,
    /// With the weights that are kept.
    pub classifier: &'a Classifier,
    /// `[N, K]` float32 on the CPU, of all samples in file order.
    pub logits: &'a Tensor,
    /// Scores of all samples.
    pub scores: &'a Scores,
    /// The selected epoch, 1-based.
    pub best_epoch: u64,
    /// Steps done by its end.
    pub best_step: u64,
    /// q at its end, for objectives with group weights.
    pub q: Option<&'a [f64]>,
    /// Epochs and steps trained.
    pub trained: (u64, u64),
    /// The teacher.
    pub teacher: Option<TeacherInfo>,
    /// What a reader of the run should know.
    pub warnings: Vec<String>,
}

impl Outcome<'_> {
    /// Figures per split that has a sample.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn metrics(&self) -> Result<BTreeMap<Split, MetricsLine>, TrainError> {
        let mut metrics = BTreeMap::new();
        for split in Split::ALL {
            let rows = self.samples.rows(split);
            if rows.is_empty() {
                continue;
            }
            let logits = self.logits.f_index_select(0, &indices(&rows, Device::Cpu)?)?;
            let areas = Areas::of(self.samples, &rows, &logits)?;
            let scores = Scores {
                losses: rows.iter().map(|&row| self.scores.losses[row]).collect(),
                correct: rows.iter().map(|&row| self.scores.correct[row]).collect(),
            };
            let (epoch, step, q) = (self.best_epoch, self.best_step, self.q);
            let parts = LineParts { split, epoch, step, rows: &rows, scores: &scores, q, present: None, areas };
            metrics.insert(split, parts.line(self.samples));
        }
        Ok(metrics)
    }

    /// Writes everything but `run.json` and `provenance.json`, and gives what goes into `run.json`.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn write(self) -> Result<RunJson, TrainError> {
        let Self { settings, samples, root, classifier, .. } = self;
        let final_metrics = self.metrics()?;
        predictions(samples, self.logits)?.write(&root.join(PREDICTIONS))?;
        classifier.save(&root.join(WEIGHTS))?;
        fsx::write_atomic(&root.join("settings.toml"), settings_toml(settings).as_bytes())?;
        let plan = fsx::read(&samples.dataset.path().join(PLAN_JSON), PLAN_CAP_BYTES)?;
        fsx::write_atomic(&root.join(PLAN_JSON), &plan)?;
        let json = samples.dataset.json();
        let (channels, height, width) = samples.dataset.image_shape();
        let names = samples.dataset.groups();
        let spec = classifier.spec();
        Ok(RunJson {
            schema: RUN_SCHEMA.to_owned(),
            objective: settings.objective.objective.as_str().to_owned(),
            architecture: spec.architecture.name().to_owned(),
            parameters: classifier.parameter_count() as u64,
            classes: samples.dataset.classes().to_vec(),
            groups: names.to_vec(),
            weighted_groups: if self.q.is_some() { samples.weighted_names() } else { Vec::new() },
            train_counts: names.iter().cloned().zip(samples.train_counts.iter().copied()).collect(),
            image_shape: [channels, height, width],
            mean: spec.mean.clone(),
            std: spec.std.clone(),
            seed: settings.seed,
            fold: settings.fold,
            teacher: self.teacher,
            dataset_hash: json.content_hash.clone(),
            plan_hash: json.plan_hash.clone(),
            golden_stack_hash: json.golden_stack_hash.clone(),
            selection: settings.selection.as_str().to_owned(),
            best_epoch: self.best_epoch,
            epochs: self.trained.0,
            steps: self.trained.1,
            final_metrics,
            warnings: self.warnings,
            init: None,
            teachers: Vec::new(),
            biased: None,
            dfr: None,
            jtt: None,
            held_out: None,
        })
    }
}

fn predictions(samples: &Samples, logits: &Tensor) -> Result<Predictions, TrainError> {
    let classes = samples.dataset.classes().to_vec();
    let values = Vec::<f32>::try_from(&logits.f_contiguous()?.f_view([-1])?)?;
    let row =
        |(row, logits): (usize, &[f32])| PredictionRow::of(samples.sample(row), samples.splits[row], logits.to_vec());
    Ok(Predictions { rows: values.chunks_exact(classes.len()).enumerate().map(row).collect(), classes })
}
