//! One training step: images, augmentation, teacher, forward, objective, optimiser.

use tch::Tensor;

use super::TrainError;
use super::clock::Part;
use super::data::indices;
use super::evaluate::sample_loss;
use super::session::Session;
use crate::model::LeftOut;
use crate::objective::tensor::TensorBatch;
use crate::torch::shim::{Autocast, to_channels_last};

/// On a GPU, looking at every step's losses would make each step wait for the device. A step that is not finite leaves q alone by
/// itself, and so do all that follow it, so nothing is lost by looking later.
const STEPS_BETWEEN_LOOKS: usize = 16;

/// A step whose losses have not been looked at.
pub struct Unchecked {
    /// 1-based step of the run.
    step: u64,
    /// Samples.
    rows: Vec<usize>,
    /// `[n]` bool.
    finite: Tensor,
}

impl Session<'_> {
    /// One step on the samples `rows`.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] before q or a weight moves (on a GPU, up to 16 steps later, with q unmoved).
    pub(super) fn step(&mut self, rows: &[usize]) -> Result<(), TrainError> {
        let (images, device) = (self.work.images, self.work.images.device());
        let mut x = images.images(rows)?;
        self.clock.lap(Part::Images);
        if let Some(augmenter) = &self.augmenter {
            x = augmenter.apply(&x, rows, self.position.epochs, self.work.context.pool)?;
        }
        self.clock.lap(Part::Augmentation);
        if self.arithmetic.channels_last {
            to_channels_last(&mut x)?;
        }
        let autocast = if self.arithmetic.bfloat16 { Some(Autocast::begin(device)?) } else { None };
        let teacher = match (&self.cached, &self.teacher) {
            (Some(cached), _) => Some(cached.f_index_select(0, &indices(rows, device)?)?),
            (None, Some(teacher)) => Some(teacher.logits(&x)?),
            (None, None) => None,
        };
        let left_out = LeftOut { seed: self.work.settings.seed, step: self.position.steps };
        let logits = self.classifier.forward_leaving_out(&x, left_out);
        drop(autocast);
        let (labels, groups) = (images.labels(rows)?, images.weights(rows)?);
        let batch = TensorBatch { logits: &logits, teacher: teacher.as_ref(), labels: &labels, groups: &groups };
        let done = self.objective.step(&batch)?;
        let step = self.position.steps + 1;
        self.unchecked.push(Unchecked { step, rows: rows.to_vec(), finite: done.finite });
        if !device.is_cuda() || self.unchecked.len() >= STEPS_BETWEEN_LOOKS {
            self.check_losses()?;
        }
        self.optimiser.step(&self.classifier, &done.loss, self.rate.at(step - 1))?;
        if let Some(average) = &mut self.average {
            average.update(&self.classifier, step)?;
        }
        self.losses.push(sample_loss(self.objective.settings(), &done.ce, done.kd.as_ref())?);
        self.correct.push(logits.detach().f_argmax(1, false)?.f_eq_tensor(&labels)?);
        for (group, held) in self.present.iter_mut().enumerate() {
            *held += u64::from(rows.iter().any(|&row| self.work.samples.groups[row] == group));
        }
        self.position.steps = step;
        self.position.steps_in_epoch += 1;
        self.clock.lap(Part::Step);
        Ok(())
    }

    /// Looks at the losses of the steps since the last look.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] with the first step and sample.
    pub(super) fn check_losses(&mut self) -> Result<(), TrainError> {
        for Unchecked { step, rows, finite } in self.unchecked.drain(..) {
            let finite = Vec::<bool>::try_from(&finite.f_to_device(tch::Device::Cpu)?)?;
            if let Some(bad) = finite.iter().position(|finite| !finite) {
                let sample = self.work.samples.sample(rows[bad]);
                return Err(TrainError::NotFinite {
                    epoch: self.position.epochs + 1,
                    step,
                    sample_id: sample.sample_id.clone(),
                    group: sample.group.clone(),
                });
            }
        }
        Ok(())
    }
}
