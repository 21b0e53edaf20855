//! The end of a run: the selected epoch's weights, its predictions for every sample, and `run.json`.

use std::collections::BTreeMap;

use tch::Tensor;

use super::data::Samples;
use super::evaluate::{LineParts, Scores};
use super::session::{Session, Work};
use super::teacher::TeacherFile;
use super::{TrainError, settings_toml};
use crate::formats::dataset::Split;
use crate::formats::plan::PLAN_JSON;
use crate::formats::predictions::{PredictionRow, Predictions};
use crate::formats::run::{PREDICTIONS, RUN_SCHEMA, RunJson, WEIGHTS};
use crate::fsx;
use crate::model::ModelSpec;

/// Share of batches under which a group's weight is moved too rarely to be trusted.
const RARE: f64 = 0.5;
/// A plan is a few kilobytes.
const PLAN_CAP_BYTES: u64 = 16 << 20;

/// Writes everything but `run.json` and `provenance.json`, and gives what goes into `run.json`.
///
/// # Errors
/// [`TrainError`]; [`TrainError::Interrupted`] with the trained epochs kept.
pub fn finish(session: &mut Session<'_>, spec: &ModelSpec) -> Result<RunJson, TrainError> {
    let Work { settings, samples, teacher, root, context, .. } = session.work;
    let best = session.best().expect("every finished epoch leaves a best one, and there is at least one epoch");
    let record = best.record.clone();
    let tensors: BTreeMap<String, Tensor> =
        best.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    session.classifier.load_tensors(tensors, root)?;

    context.observer.begin("predict all samples", None);
    let rows: Vec<usize> = (0..samples.splits.len()).collect();
    let logits = session.pass().logits(&rows, |x| Ok(session.classifier.forward(x, false)))?;
    let Some(logits) = logits else { return Err(session.interrupted()) };
    let scores = session.scores(&rows, &logits, record.epoch)?;
    let mut final_metrics = BTreeMap::new();
    for split in Split::ALL {
        let rows = samples.rows(split);
        if rows.is_empty() {
            continue;
        }
        let scores = Scores {
            losses: rows.iter().map(|&row| scores.losses[row]).collect(),
            correct: rows.iter().map(|&row| scores.correct[row]).collect(),
        };
        let (epoch, step, q) = (record.epoch, record.step, record.q.as_deref());
        let parts = LineParts { split, epoch, step, rows: &rows, scores: &scores, q, present: None };
        final_metrics.insert(split, parts.line(samples));
    }
    predictions(samples, &logits)?.write(&root.join(PREDICTIONS))?;
    session.classifier.save(&root.join(WEIGHTS))?;
    fsx::write_atomic(&root.join("settings.toml"), settings_toml(settings).as_bytes())?;
    let plan = fsx::read(&samples.dataset.path().join(PLAN_JSON), PLAN_CAP_BYTES)?;
    fsx::write_atomic(&root.join(PLAN_JSON), &plan)?;
    context.observer.end();

    let json = samples.dataset.json();
    let (channels, height, width) = samples.dataset.image_shape();
    let names = samples.dataset.groups();
    let position = session.position();
    Ok(RunJson {
        schema: RUN_SCHEMA.to_owned(),
        objective: settings.objective.objective.as_str().to_owned(),
        architecture: spec.architecture.name().to_owned(),
        parameters: session.classifier.parameter_count() as u64,
        classes: samples.dataset.classes().to_vec(),
        groups: names.to_vec(),
        weighted_groups: if record.q.is_some() { samples.weighted_names() } else { Vec::new() },
        train_counts: names.iter().cloned().zip(samples.train_counts.iter().copied()).collect(),
        image_shape: [channels, height, width],
        mean: spec.mean.clone(),
        std: spec.std.clone(),
        seed: settings.seed,
        fold: settings.fold,
        teacher: teacher.map(|teacher| teacher.info.clone()),
        dataset_hash: json.content_hash.clone(),
        plan_hash: json.plan_hash.clone(),
        selection: settings.selection.as_str().to_owned(),
        best_epoch: record.epoch,
        epochs: position.epochs,
        steps: position.steps,
        final_metrics,
        warnings: warnings(session, teacher),
    })
}

fn predictions(samples: &Samples, logits: &Tensor) -> Result<Predictions, TrainError> {
    let classes = samples.dataset.classes().to_vec();
    let values = Vec::<f32>::try_from(&logits.f_contiguous()?.f_view([-1])?)?;
    let row =
        |(row, logits): (usize, &[f32])| PredictionRow::of(samples.sample(row), samples.splits[row], logits.to_vec());
    Ok(Predictions { rows: values.chunks_exact(classes.len()).enumerate().map(row).collect(), classes })
}

/// What a reader of the run should know.
fn warnings(session: &Session<'_>, teacher: Option<&TeacherFile>) -> Vec<String> {
    let Work { settings, samples, .. } = session.work;
    let mut warnings: Vec<String> = teacher.map_or_else(Vec::new, |teacher| teacher.warnings.clone());
    for class in samples.untrained_classes() {
        warnings.push(format!("no training sample is of the class `{class}`"));
    }
    if settings.objective.objective.has_weights() {
        for (group, share) in session.present_fractions().into_iter().enumerate() {
            if share < RARE && samples.train_counts[group] > 0 {
                warnings.push(format!(
                    "group `{}` was in {:.0} % of the batches only, so its weight moved rarely; a larger batch_size helps",
                    samples.dataset.groups()[group],
                    share * 100.0
                ));
            }
        }
    }
    let validated = samples.rows(Split::Val);
    for &group in &samples.weighted {
        if !validated.iter().any(|&row| samples.groups[row] == group) {
            warnings.push(format!(
                "group `{}` has no validation subject; it took no part in selection",
                samples.dataset.groups()[group]
            ));
        }
    }
    warnings
}
