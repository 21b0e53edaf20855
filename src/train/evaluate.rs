//! Passes in eval mode, losses and hits per sample, and the lines of `metrics.jsonl`.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::TrainError;
use super::areas::Areas;
use super::data::{Samples, size};
use super::images::Images;
use crate::context::Context;
use crate::formats::dataset::Split;
use crate::formats::run::{GroupMetrics, MetricsLine};
use crate::metrics::groups::GroupTally;
use crate::objective::ObjectiveSettings;
use crate::objective::tensor::{cross_entropy, teacher_losses};
use crate::torch::shim::to_channels_last;

/// Images per pass; fixed, so that a sample's logits never depend on settings.
const BATCH: usize = 128;

/// How to go over images without training.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// Where they come from.
    pub images: &'a Images<'a>,
    /// Classes.
    pub classes: usize,
    /// Memory order.
    pub channels_last: bool,
    /// Who may stop it.
    pub context: Context<'a>,
}

impl Pass<'_> {
    /// Logits `[n, K]`, float32 on the CPU, of samples in this order; `None` when interrupted.
    ///
    /// # Errors
    /// [`TrainError`] from reading or from the network.
    pub fn logits(
        &self,
        rows: &[usize],
        forward: impl Fn(&Tensor) -> Result<Tensor, TrainError>,
    ) -> Result<Option<Tensor>, TrainError> {
        let _guard = tch::no_grad_guard();
        let mut parts = Vec::with_capacity(rows.len().div_ceil(BATCH));
        for batch in rows.chunks(BATCH) {
            if self.context.interrupt.is_set() {
                return Ok(None);
            }
            let mut x = self.images.images(batch)?;
            if self.channels_last {
                to_channels_last(&mut x)?;
            }
            parts.push(forward(&x)?.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?);
        }
        if parts.is_empty() {
            return Ok(Some(Tensor::f_zeros([0, size(self.classes)], (Kind::Float, Device::Cpu))?));
        }
        Ok(Some(Tensor::f_cat(&parts, 0)?))
    }
}

/// The objective's loss and whether the class was right, per sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// Nats.
    pub losses: Vec<f64>,
    /// Highest logit at the label, ties to the lower class.
    pub correct: Vec<bool>,
}

/// The objective's per-sample loss from its parts.
pub fn sample_loss(objective: &ObjectiveSettings, ce: &Tensor, kd: Option<&Tensor>) -> Result<Tensor, tch::TchError> {
    match kd {
        None => Ok(ce.shallow_clone()),
        Some(kd) => {
            ce.f_mul_scalar(1.0 - objective.alpha)?.f_add(&kd.f_to_device(ce.device())?.f_mul_scalar(objective.alpha)?)
        }
    }
}

impl Scores {
    /// From logits `[n, K]` and labels `[n]` on one device; `teacher` for objectives with one.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn of(
        objective: &ObjectiveSettings,
        logits: &Tensor,
        labels: &Tensor,
        teacher: Option<&Tensor>,
    ) -> Result<Self, TrainError> {
        let ce = cross_entropy(logits, labels)?;
        let kd = match teacher.filter(|_| objective.objective.needs_teacher()) {
            Some(teacher) => Some(teacher_losses(objective, logits, teacher)?),
            None => None,
        };
        let losses = sample_loss(objective, &ce, kd.as_ref())?;
        let correct = logits.f_argmax(1, false)?.f_eq_tensor(labels)?;
        Self::from_tensors(&losses, &correct)
    }

    /// From tensors `[n]` on any device.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn from_tensors(losses: &Tensor, correct: &Tensor) -> Result<Self, TrainError> {
        let losses = losses.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?.f_contiguous()?;
        let correct = correct.f_to_device(Device::Cpu)?.f_to_kind(Kind::Bool)?.f_contiguous()?;
        Ok(Self { losses: Vec::<f64>::try_from(&losses)?, correct: Vec::<bool>::try_from(&correct)? })
    }
}

/// What a metrics line is made of.
pub struct LineParts<'a> {
    /// Which data.
    pub split: Split,
    /// 1-based epoch.
    pub epoch: u64,
    /// Steps done by its end.
    pub step: u64,
    /// Samples that were scored.
    pub rows: &'a [usize],
    /// Their scores.
    pub scores: &'a Scores,
    /// q of [`Samples::weighted`], for objectives with group weights.
    pub q: Option<&'a [f64]>,
    /// Share of the epoch's batches that held each group of the dataset; on lines of training.
    pub present: Option<&'a [f64]>,
    /// Areas under the ROC curve, of evaluations.
    pub areas: Areas,
}

impl LineParts<'_> {
    /// The line.
    pub fn line(&self, samples: &Samples) -> MetricsLine {
        let names = samples.dataset.groups();
        let mut tally = GroupTally::new(names.len());
        for ((&row, &loss), &correct) in self.rows.iter().zip(&self.scores.losses).zip(&self.scores.correct) {
            tally.add(samples.groups[row], correct, loss);
        }
        let summary = tally.finish(&samples.train_counts);
        let weight = |group: usize| {
            let index = samples.weighted.iter().position(|&weighted| weighted == group)?;
            Some(self.q?[index])
        };
        let groups: BTreeMap<String, GroupMetrics> = names
            .iter()
            .enumerate()
            .map(|(group, name)| {
                let result = summary.groups[group];
                let metrics = GroupMetrics {
                    n: result.n,
                    loss: result.loss,
                    accuracy: result.accuracy,
                    weight: weight(group),
                    present_fraction: self.present.map(|present| present[group]),
                };
                (name.clone(), metrics)
            })
            .collect();
        MetricsLine {
            epoch: self.epoch,
            step: self.step,
            split: self.split,
            loss: summary.loss,
            accuracy: summary.accuracy,
            train_weighted_accuracy: summary.train_weighted_accuracy,
            mean_group_accuracy: summary.mean_group_accuracy,
            worst_group_accuracy: summary.worst.map(|worst| worst.accuracy),
            worst_group: summary.worst.map(|worst| names[worst.group].clone()),
            groups,
            auroc: self.areas.all,
            worst_group_auroc: self.areas.worst_group,
        }
    }
}
