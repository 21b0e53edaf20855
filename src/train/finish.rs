//! The end of a run: the selected epoch's weights, its predictions for every sample, and what a reader should know.

use std::collections::BTreeMap;

use tch::Tensor;

use super::TrainError;
use super::curves;
use super::record::Outcome;
use super::session::{Session, Work};
use super::teachers::TeacherFiles;
use crate::formats::dataset::Split;
use crate::formats::run::{CURVES, RunJson, read_metrics};
use crate::fsx;

/// Share of batches under which a group's weight is moved too rarely to be trusted.
const RARE: f64 = 0.5;

/// Writes everything but `run.json` and `provenance.json`, and gives what goes into `run.json`.
///
/// # Errors
/// [`TrainError`]; [`TrainError::Interrupted`] with the trained epochs kept.
pub fn finish(session: &mut Session<'_>) -> Result<RunJson, TrainError> {
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
    let position = session.position();
    let outcome = Outcome {
        settings,
        samples,
        root,
        classifier: &session.classifier,
        logits: &logits,
        scores: &scores,
        best_epoch: record.epoch,
        best_step: record.step,
        q: record.q.as_deref(),
        trained: (position.epochs, position.steps),
        teacher: teacher.and_then(TeacherFiles::first),
        warnings: warnings(session, teacher),
    };
    let mut run = outcome.write()?;
    run.init = session.init.clone();
    let title = format!("{} by {}, seed {}", run.architecture, run.objective, run.seed);
    let curves = curves::draw(&title, &read_metrics(root)?, record.epoch);
    fsx::write_atomic(&root.join(CURVES), curves.as_bytes())?;
    run.held_out = teacher.and_then(TeacherFiles::held_out);
    run.teachers = teacher.map(TeacherFiles::several).unwrap_or_default();
    run.biased = teacher.and_then(TeacherFiles::biased);
    context.observer.end();
    Ok(run)
}

/// What a reader of the run should know.
fn warnings(session: &Session<'_>, teacher: Option<&TeacherFiles>) -> Vec<String> {
    let Work { settings, samples, .. } = session.work;
    let mut warnings: Vec<String> = teacher.map_or_else(Vec::new, TeacherFiles::warnings);
    warnings.extend(session.work.start.iter().flat_map(|start| start.warnings.clone()));
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
