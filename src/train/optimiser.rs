//! AdamW and SGD over a classifier's parameters, with state that can be saved by name, and the learning rate of each step.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::TrainError;
use crate::model::Classifier;
use crate::settings::train::{OptimiserKind, Schedule, TrainSettings};
use crate::torch::optimise::{AdamW, AdamWState, Sgd, adamw_step, sgd_step};
use crate::torch::shim::to_channels_last;

/// Learning rate over a run, rising over the warm-up, then by the schedule.
#[derive(Debug, Clone)]
pub struct Rate {
    highest: f64,
    schedule: Schedule,
    warm_up_steps: u64,
    steps: u64,
    /// Steps from which on the rate is `gamma` times lower, once more each.
    milestone_steps: Vec<u64>,
    gamma: f64,
}

impl Rate {
    /// The learning rate of a run of `steps_per_epoch` steps each epoch.
    pub fn new(settings: &TrainSettings, steps_per_epoch: u64) -> Self {
        Self {
            highest: settings.learning_rate,
            schedule: settings.schedule,
            warm_up_steps: u64::from(settings.warm_up_epochs) * steps_per_epoch,
            steps: u64::from(settings.epochs) * steps_per_epoch,
            milestone_steps: settings.milestones.iter().map(|&epoch| u64::from(epoch) * steps_per_epoch).collect(),
            gamma: settings.gamma,
        }
    }

    /// The learning rate of step `step` (0-based).
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warm_up_steps {
            return self.highest * (step + 1) as f64 / self.warm_up_steps as f64;
        }
        match self.schedule {
            Schedule::Constant => self.highest,
            Schedule::Step => {
                let passed = self.milestone_steps.iter().filter(|&&milestone| step >= milestone);
                passed.fold(self.highest, |rate, _| rate * self.gamma)
            }
            Schedule::Cosine => {
                let done = (step - self.warm_up_steps) as f64 / (self.steps - self.warm_up_steps).max(1) as f64;
                self.highest * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done.min(1.0)))
            }
        }
    }
}

/// Shortens gradients whose norm over all parameters is more than `clip_norm` to it, as `torch.nn.utils.clip_grad_norm_` does. The
/// norm stays on the device, so that no step waits for it.
fn clip(gradients: &mut [Tensor], clip_norm: f64) -> Result<(), TrainError> {
    let _guard = tch::no_grad_guard();
    let norms = gradients.iter().map(Tensor::f_norm).collect::<Result<Vec<Tensor>, _>>()?;
    let norm = Tensor::f_stack(&norms, 0)?.f_norm()?;
    let factor = (norm.f_add_scalar(1e-6)?.f_reciprocal()? * clip_norm).f_clamp_max(1.0)?;
    for gradient in gradients {
        let _ = gradient.f_mul_(&factor)?;
    }
    Ok(())
}

/// An optimiser with its state.
#[derive(Debug)]
pub struct Optimiser {
    kind: OptimiserKind,
    weight_decay: f64,
    momentum: f64,
    clip_norm: Option<f64>,
    channels_last: bool,
    /// First moments (AdamW) or momenta (SGD), of the parameters' shapes and memory formats.
    first: Vec<Tensor>,
    /// Second moments; empty for SGD.
    second: Vec<Tensor>,
    /// Step counts as AdamW's kernel wants them: a float32 scalar per parameter. Empty for SGD.
    counts: Vec<Tensor>,
    steps: u64,
}

impl Optimiser {
    /// At its start, for the parameters of `classifier`.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn new(settings: &TrainSettings, classifier: &Classifier, channels_last: bool) -> Result<Self, TrainError> {
        let parameters = classifier.parameters();
        let zeros = || -> Result<Vec<Tensor>, TrainError> {
            parameters.iter().map(|(_, tensor)| Ok(tensor.detach().f_zeros_like()?)).collect()
        };
        let count = |device: Device| Tensor::f_zeros([0i64; 0], (Kind::Float, device));
        let adamw = settings.optimiser == OptimiserKind::Adamw;
        let counts = parameters.iter().map(|(_, tensor)| Ok(count(tensor.device())?));
        Ok(Self {
            kind: settings.optimiser,
            weight_decay: settings.weight_decay,
            momentum: settings.momentum,
            clip_norm: settings.clip_norm,
            channels_last,
            first: zeros()?,
            second: if adamw { zeros()? } else { Vec::new() },
            counts: if adamw { counts.collect::<Result<_, TrainError>>()? } else { Vec::new() },
            steps: 0,
        })
    }

    /// One step along the gradient of `loss`.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn step(&mut self, classifier: &Classifier, loss: &Tensor, learning_rate: f64) -> Result<(), TrainError> {
        let parameters: Vec<&Tensor> = classifier.parameters().into_iter().map(|(_, tensor)| tensor).collect();
        let mut gradients = Tensor::f_run_backward(&[loss], &parameters, false, false)?;
        // The kernels pair raw memory, so a gradient must lie in memory as its parameter does.
        for gradient in &mut gradients {
            if self.channels_last && gradient.dim() == 4 {
                to_channels_last(gradient)?;
            } else {
                *gradient = gradient.f_contiguous()?;
            }
        }
        if let Some(clip_norm) = self.clip_norm {
            clip(&mut gradients, clip_norm)?;
        }
        let gradients: Vec<&Tensor> = gradients.iter().collect();
        match self.kind {
            OptimiserKind::Adamw => {
                let state =
                    AdamWState { first_moments: &self.first, second_moments: &self.second, steps: &self.counts };
                let step =
                    AdamW { learning_rate, beta1: 0.9, beta2: 0.999, weight_decay: self.weight_decay, epsilon: 1e-8 };
                adamw_step(&parameters, &gradients, &state, step)?;
            }
            OptimiserKind::Sgd => {
                let step = Sgd {
                    learning_rate,
                    momentum: self.momentum,
                    weight_decay: self.weight_decay,
                    nesterov: false,
                    first_step: self.steps == 0,
                };
                sgd_step(&parameters, &gradients, &self.first, step)?;
            }
        }
        self.steps += 1;
        Ok(())
    }

    /// The state by name, for a checkpoint.
    pub fn state(&self, classifier: &Classifier) -> Vec<(String, &Tensor)> {
        let names: Vec<&str> = classifier.parameters().into_iter().map(|(name, _)| name).collect();
        let parts = [("first", &self.first), ("second", &self.second), ("count", &self.counts)];
        parts
            .into_iter()
            .flat_map(|(part, tensors)| {
                names.iter().zip(tensors).map(move |(name, tensor)| (format!("{part}.{name}"), tensor))
            })
            .collect()
    }

    /// Restores the state from a checkpoint after `steps` steps.
    ///
    /// # Errors
    /// The name of a tensor that is missing or of another shape.
    pub fn restore(
        &mut self,
        classifier: &Classifier,
        found: &BTreeMap<String, Tensor>,
        steps: u64,
    ) -> Result<(), String> {
        for (name, tensor) in self.state(classifier) {
            let saved = found.get(&name).filter(|saved| saved.size() == tensor.size()).ok_or(name.clone())?;
            tensor.shallow_clone().f_copy_(saved).map_err(|error| format!("{name}: {error}"))?;
        }
        self.steps = steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::train::TrainWire;

    fn rate(text: &str) -> Rate {
        let wire: TrainWire = toml::from_str(text).unwrap();
        Rate::new(&TrainSettings::from_wire(&wire, 0, None, None).unwrap(), 10)
    }

    #[test]
    fn the_rate_rises_then_falls_along_a_cosine() {
        let rate = rate("epochs = 3\nwarm_up_epochs = 1\nlearning_rate = 0.4");
        assert!((rate.at(0) - 0.04).abs() < 1e-12 && (rate.at(9) - 0.4).abs() < 1e-12);
        assert!((rate.at(10) - 0.4).abs() < 1e-12);
        assert!((rate.at(20) - 0.2).abs() < 1e-12, "half way down");
        assert!(rate.at(29) > 0.0 && rate.at(29) < 0.01);
    }

    /// As torch.optim.lr_scheduler.MultiStepLR counts: the epoch after a milestone is the first with the lower rate.
    #[test]
    fn the_rate_falls_at_each_milestone_after_the_warm_up() {
        let rate = rate(
            "epochs = 6\nwarm_up_epochs = 1\nlearning_rate = 0.4\nschedule = \"step\"\nmilestones = [2, 4]\ngamma = 0.5",
        );
        let expected = [(4, 0.2), (9, 0.4), (19, 0.4), (20, 0.2), (39, 0.2), (40, 0.1), (59, 0.1)];
        for (step, value) in expected {
            assert!((rate.at(step) - value).abs() < 1e-12, "{step}");
        }
    }

    /// torch.nn.utils.clip_grad_norm_ of (3, 4) and (12,), whose norm is 13, to 6.5 halves all; to 20 it changes nothing.
    #[test]
    fn long_gradients_are_shortened_together() {
        let gradients = || [Tensor::from_slice(&[3.0f32, 4.0]), Tensor::from_slice(&[12.0f32])];
        let (mut long, mut short) = (gradients(), gradients());
        clip(&mut long, 6.5).unwrap();
        assert!((&long[0] - Tensor::from_slice(&[1.5f32, 2.0])).abs().max().double_value(&[]) < 1e-6);
        assert!((long[1].double_value(&[0]) - 6.0).abs() < 1e-6);
        clip(&mut short, 20.0).unwrap();
        assert_eq!(short, gradients());
    }

    #[test]
    fn a_constant_rate_stays() {
        let rate = rate("epochs = 3\nwarm_up_epochs = 0\nlearning_rate = 0.4\nschedule = \"constant\"");
        assert!((0..30).all(|step| (rate.at(step) - 0.4).abs() < 1e-12));
    }
}
