//! `dfr-train` and `dfr-val`: the last layer of a RUN, refit on group-balanced subsets with an L1 penalty (Kirichenko et al. 2023).
//!
//! Features are those of the frozen network in eval mode, standardised by the training split as in the public code. For every
//! penalty the last layers of the subsets are averaged, and the average is what is judged and kept. What is random follows from the
//! seed; nothing is chosen by the test split.

mod features;
mod subsets;

use std::collections::BTreeMap;

use rayon::prelude::*;
use tch::Tensor;

use self::features::{Features, LastLayer, score};
use self::subsets::{Balanced, Parts};
use super::areas::Areas;
use super::arithmetic::Arithmetic;
use super::evaluate::{LineParts, Pass, Scores};
use super::record::Outcome;
use super::selection::Standing;
use super::session::Work;
use super::teacher::TeacherFile;
use super::{TrainError, data};
use crate::formats::dataset::Split;
use crate::formats::run::{DfrInfo, DfrTrial, HELD_OUT, METRICS_JSONL, RunJson};
use crate::fsx;
use crate::model::Classifier;
use crate::objective::ObjectiveKind;
use crate::objective::logistic::{self, Fit, Problem, TOLERANCE};
use crate::settings::methods::DfrSettings;

/// Subsets with fewer samples of each group are warned of.
const FEW_PER_GROUP: usize = 10;

/// Refits the last layer of `from` and writes everything but `run.json` and `provenance.json`.
///
/// # Errors
/// [`TrainError`].
pub fn refit(work: Work<'_>, dfr: &DfrSettings, from: &TeacherFile) -> Result<RunJson, TrainError> {
    let Work { settings, samples, images, root, context, .. } = work;
    let channels_last = Arithmetic::choose(settings, images.device()).channels_last;
    let mut classifier = from.network(images.device(), channels_last)?;
    let [weight, bias] = classifier.last_layer().ok_or_else(|| from.no_last_layer())?;
    let pass = Pass { images, classes: samples.dataset.classes().len(), channels_last, context };
    let is_val = settings.objective.objective == ObjectiveKind::DfrVal;
    let parts = if is_val { Parts::of_validation(samples, settings.seed)? } else { Parts::of_training(samples) };

    context.observer.begin("compute features", None);
    let rows: Vec<usize> = (0..samples.splits.len()).collect();
    let features = pass.logits(&rows, |x| Ok(classifier.features(x, false)))?.ok_or(TrainError::InterruptedEarly)?;
    let features = Features::standardised(&features, &samples.rows(Split::Train))?;
    context.observer.end();
    let balanced = Balanced::new(&parts.fit, &samples.groups, settings.seed);
    let layers = average_layers(&work, dfr, &features, &balanced)?;
    let judged: Vec<(Standing, DfrTrial)> =
        layers.iter().zip(&dfr.c).map(|(layer, &c)| judge(&work, &features, layer, &parts.choose, c)).collect();
    // The stronger penalty comes first and wins ties.
    let mut best = 0;
    for later in 1..judged.len() {
        if judged[later].0.beats(&judged[best].0) {
            best = later;
        }
    }

    let layer = features.unstandardised(&layers[best]);
    let shape = [data::size(layer.classes()), -1];
    let replaced = [
        (weight, Tensor::f_from_slice(&layer.weights)?.f_view(shape)?),
        (bias, Tensor::f_from_slice(&layer.intercepts)?),
    ];
    replace(&mut classifier, replaced, work)?;
    let logits = pass.logits(&rows, |x| Ok(classifier.forward(x, false)))?.ok_or(TrainError::InterruptedEarly)?;
    let labels: Vec<i64> = samples.labels.iter().map(|&label| data::size(label)).collect();
    let scores = Scores::of(&settings.objective, &logits, &Tensor::f_from_slice(&labels)?, None)?;
    let (best_epoch, epochs, steps) = from.trained();
    let outcome = Outcome {
        settings,
        samples,
        root,
        classifier: &classifier,
        logits: &logits,
        scores: &scores,
        best_epoch,
        best_step: steps,
        q: None,
        trained: (epochs, steps),
        teacher: None,
        warnings: warnings(from, &balanced, &layers[best]),
    };
    write_metrics(&outcome)?;
    let mut run = outcome.write()?;
    run.held_out = if is_val { Some(HELD_OUT.to_owned()) } else { from.held_out() };
    run.dfr = Some(DfrInfo {
        from: from.info.clone(),
        penalty: "l1".to_owned(),
        c: dfr.c[best],
        subsets: dfr.subsets,
        samples_per_group: balanced.per_group as u64,
        chosen_on: parts.choose.len() as u64,
        tried: judged.into_iter().map(|(_, trial)| trial).collect(),
    });
    Ok(run)
}

/// Per penalty the average over the subsets.
fn average_layers(
    work: &Work<'_>,
    dfr: &DfrSettings,
    features: &Features,
    balanced: &Balanced,
) -> Result<Vec<LastLayer>, TrainError> {
    let Work { samples, context, .. } = *work;
    let classes = samples.dataset.classes().len();
    let tasks: Vec<(f64, u64)> =
        dfr.c.iter().flat_map(|&c| (0..u64::from(dfr.subsets)).map(move |subset| (c, subset))).collect();
    context.observer.begin("refit the last layer", Some(tasks.len() as u64));
    let one = |&(c, subset): &(f64, u64)| -> Option<Fit> {
        if context.interrupt.is_set() {
            return None;
        }
        let rows = balanced.subset(subset);
        let labels: Vec<usize> = rows.iter().map(|&row| samples.labels[row]).collect();
        let fit = logistic::fit(&Problem { features: &features.rows(&rows), labels: &labels, classes, c });
        context.observer.advance(1);
        Some(fit)
    };
    let fits: Option<Vec<Fit>> = context.pool.install(|| tasks.par_iter().map(one).collect());
    context.observer.end();
    let fits = fits.ok_or(TrainError::InterruptedEarly)?;
    Ok(fits.chunks(dfr.subsets as usize).map(LastLayer::average).collect())
}

/// How a last layer stands on the samples that choose.
fn judge(work: &Work<'_>, features: &Features, layer: &LastLayer, rows: &[usize], c: f64) -> (Standing, DfrTrial) {
    let Work { settings, samples, .. } = *work;
    let (mut scores, mut logits) = (Scores::default(), Vec::new());
    for &row in rows {
        let of_row = layer.logits(features.row(row));
        let (loss, correct) = score(&of_row, samples.labels[row]);
        scores.losses.push(loss);
        scores.correct.push(correct);
        logits.extend(of_row);
    }
    let areas = Areas::of_logits(samples, rows, &logits);
    let parts =
        LineParts { split: Split::Val, epoch: 0, step: 0, rows, scores: &scores, q: None, present: None, areas };
    let line = parts.line(samples);
    let trial = DfrTrial {
        c,
        accuracy: line.accuracy,
        mean_group_accuracy: line.mean_group_accuracy,
        worst_group_accuracy: line.worst_group_accuracy,
    };
    (Standing::of(settings.selection, &line), trial)
}

/// Puts tensors in the place of a classifier's, by name.
fn replace(classifier: &mut Classifier, new: [(String, Tensor); 2], work: Work<'_>) -> Result<(), TrainError> {
    let copy = |tensor: &Tensor| tensor.f_detach_copy();
    let old = classifier.state().into_iter().map(|(name, tensor, _)| Ok((name.to_owned(), copy(tensor)?)));
    let mut tensors = old.collect::<Result<BTreeMap<String, Tensor>, tch::TchError>>()?;
    tensors.extend(new);
    Ok(classifier.load_tensors(tensors, work.root)?)
}

/// One line per split, as a run of one epoch would leave.
fn write_metrics(outcome: &Outcome<'_>) -> Result<(), TrainError> {
    let metrics = outcome.metrics()?;
    let lines = [Split::Train, Split::Val].iter().filter_map(|split| metrics.get(split));
    let text: String =
        lines.map(|line| serde_json::to_string(line).expect("names and finite numbers are JSON") + "\n").collect();
    Ok(fsx::write_atomic(&outcome.root.join(METRICS_JSONL), text.as_bytes())?)
}

fn warnings(from: &TeacherFile, balanced: &Balanced, layer: &LastLayer) -> Vec<String> {
    let mut warnings = from.warnings.clone();
    if balanced.per_group < FEW_PER_GROUP {
        warnings.push(format!(
            "the smallest group has {} samples to refit with, so every balanced subset has no more of each group",
            balanced.per_group
        ));
    }
    if layer.violation > TOLERANCE {
        warnings.push(format!(
            "the refit had not converged: its optimality conditions are violated by {:.1e}; a smaller dfr_c converges sooner",
            layer.violation
        ));
    }
    warnings
}
