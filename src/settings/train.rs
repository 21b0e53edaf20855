//! Settings of `train`: the wire form (TOML) and its checked form.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::architecture::Architecture;
use super::augment::{Augment, Augmentation};
use super::methods::{DfrSettings, JttSettings, TeacherImages};
use super::objective::{AbsentRule, ObjectiveKind, ObjectiveSettings, Scope};
use crate::failure::{Classify, FailureKind};

/// A setting outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("train.{key} is {found}, expected {expected}")]
pub struct TrainSettingsError {
    /// TOML key.
    pub key: &'static str,
    /// What was given.
    pub found: String,
    /// What is accepted.
    pub expected: &'static str,
}

impl Classify for TrainSettingsError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

/// How gradients become steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimiserKind {
    /// AdamW (Loshchilov & Hutter 2019).
    Adamw,
    /// Stochastic gradient descent with momentum; the decay is an L2 penalty.
    Sgd,
}

/// Learning rate over the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Falls to 0 along half a cosine.
    Cosine,
    /// Stays.
    Constant,
    /// Is multiplied by `gamma` after each of the `milestones`.
    Step,
}

/// How an epoch draws its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Every sample once, shuffled.
    Shuffle,
    /// As many draws, the same number of each group; small groups repeat.
    GroupBalanced,
}

/// What the kept epoch is best at, on the validation split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// Accuracy of the worst group.
    WorstGroupAccuracy,
    /// Mean of the group accuracies.
    MeanGroupAccuracy,
    /// Accuracy over all samples.
    Accuracy,
    /// Mean loss, the lower the better.
    Loss,
    /// Nothing: the last epoch is kept.
    LastEpoch,
    /// Mean loss of the group where it is highest, the lower the better.
    WorstGroupLoss,
    /// Area under the ROC curve, mean over the classes.
    Auroc,
    /// Area under the ROC curve of the group where it is lowest; for groups that hold several classes.
    WorstGroupAuroc,
}

impl Selection {
    /// As written in settings and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WorstGroupAccuracy => "worst-group-accuracy",
            Self::MeanGroupAccuracy => "mean-group-accuracy",
            Self::Accuracy => "accuracy",
            Self::Loss => "loss",
            Self::LastEpoch => "last-epoch",
            Self::WorstGroupLoss => "worst-group-loss",
            Self::Auroc => "auroc",
            Self::WorstGroupAuroc => "worst-group-auroc",
        }
    }
}

/// Arithmetic of the networks during training; evaluation is always float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// What is faster for this network on this device.
    Auto,
    /// Single precision.
    Float32,
    /// Mixed: convolutions and products in bfloat16, sums and losses wider.
    Bfloat16,
}

/// `[train]` as TOML holds it. Every key may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainWire {
    /// What is minimised.
    pub objective: Option<ObjectiveKind>,
    /// The network.
    pub arch: Option<Architecture>,
    /// Weights to start from: safetensors, `.pth`, TorchScript, or a RUN. A path, so it is not written to `settings.toml`.
    pub init: Option<PathBuf>,
    /// Passes over the training split.
    pub epochs: Option<u32>,
    /// Samples per step.
    pub batch_size: Option<u32>,
    /// How gradients become steps.
    pub optimiser: Option<OptimiserKind>,
    /// Highest learning rate; its default depends on optimiser and network.
    pub learning_rate: Option<f64>,
    /// Weight decay.
    pub weight_decay: Option<f64>,
    /// Momentum of `sgd`.
    pub momentum: Option<f64>,
    /// Gradients whose norm over all parameters is larger are shortened to it; without it, none are.
    pub clip_norm: Option<f64>,
    /// Decay of the moving average of the weights, which is then what is evaluated, selected and kept; without it, no average.
    pub ema_decay: Option<f64>,
    /// Learning rate over the run.
    pub schedule: Option<Schedule>,
    /// Epochs after which `step` lowers the learning rate; without it, at half and at three quarters of the epochs.
    pub milestones: Option<Vec<u32>>,
    /// What `step` multiplies the learning rate by.
    pub gamma: Option<f64>,
    /// Epochs over which the learning rate rises to its highest.
    pub warm_up_epochs: Option<u32>,
    /// T of the distillation loss.
    pub temperature: Option<f64>,
    /// Share of the distillation loss.
    pub alpha: Option<f64>,
    /// Step size of the group weights.
    pub eta: Option<f64>,
    /// What the group weights of `group-distil` weight.
    pub scope: Option<Scope>,
    /// Rule for groups that are absent from a batch.
    pub absent: Option<AbsentRule>,
    /// C of C/sqrt(n_g).
    pub adjustment: Option<f64>,
    /// Least group weight in the loss.
    pub floor: Option<f64>,
    /// How an epoch draws its samples.
    pub sampler: Option<Sampler>,
    /// Random changes of the training images: `true`, `false` or a table.
    pub augment: Option<Augment>,
    /// What the kept epoch is best at.
    pub selection: Option<Selection>,
    /// Stop after so many epochs without a better one; without it, all epochs are trained.
    pub early_stop_epochs: Option<u32>,
    /// Arithmetic of the networks during training.
    pub precision: Option<Precision>,
    /// Memory format of images and weights; without it, what is faster.
    pub channels_last: Option<bool>,
    /// Class names of a TorchScript teacher that was not exported by groupdistil, in the order of its logits.
    pub teacher_classes: Option<Vec<String>>,
    /// Rows and columns of the images that such a teacher takes; without it, the dataset's.
    pub teacher_input: Option<[u32; 2]>,
    /// Mean per channel that such a teacher expects to be subtracted.
    pub teacher_mean: Option<Vec<f64>>,
    /// Standard deviation per channel that such a teacher expects to be divided by.
    pub teacher_std: Option<Vec<f64>>,
    /// `jtt`: epochs of the network that finds the errors.
    pub jtt_epochs: Option<u32>,
    /// `jtt`: times that an error is seen in an epoch.
    pub jtt_upweight: Option<u32>,
    /// `jtt`: learning rate of the network that finds the errors; without it, the run's own.
    pub jtt_learning_rate: Option<f64>,
    /// `jtt`: its weight decay; without it, the run's own.
    pub jtt_weight_decay: Option<f64>,
    /// `dfr-*`: inverse strengths of the penalty to choose from.
    pub dfr_c: Option<Vec<f64>>,
    /// `dfr-*`: group-balanced subsets whose last layers are averaged.
    pub dfr_subsets: Option<u32>,
}

/// Checked settings of a training run.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSettings {
    /// What is minimised, and how group weights move.
    pub objective: ObjectiveSettings,
    /// The network.
    pub arch: Architecture,
    /// Weights to start from. A path, so it is not written to any output; the file's hash is.
    pub init: Option<PathBuf>,
    /// Passes over the training split, 1 or more.
    pub epochs: u32,
    /// Samples per step, 2 or more.
    pub batch_size: u32,
    /// How gradients become steps.
    pub optimiser: OptimiserKind,
    /// Highest learning rate, > 0.
    pub learning_rate: f64,
    /// Weight decay, >= 0.
    pub weight_decay: f64,
    /// Momentum of `sgd`, 0..1.
    pub momentum: f64,
    /// Largest norm of the gradients, > 0.
    pub clip_norm: Option<f64>,
    /// Decay of the moving average of the weights, > 0 and < 1.
    pub ema_decay: Option<f64>,
    /// Learning rate over the run.
    pub schedule: Schedule,
    /// Epochs after which `step` lowers the learning rate, rising; empty for other schedules.
    pub milestones: Vec<u32>,
    /// What `step` multiplies the learning rate by, > 0 and < 1.
    pub gamma: f64,
    /// Epochs over which the learning rate rises.
    pub warm_up_epochs: u32,
    /// How an epoch draws its samples.
    pub sampler: Sampler,
    /// Random changes of the training images, `None` = none.
    pub augment: Option<Augmentation>,
    /// What the kept epoch is best at.
    pub selection: Selection,
    /// Stop after so many epochs without a better one.
    pub early_stop_epochs: Option<u32>,
    /// Arithmetic of the networks during training.
    pub precision: Precision,
    /// Memory format; `None` = what is faster.
    pub channels_last: Option<bool>,
    /// Class names of a foreign TorchScript teacher.
    pub teacher_classes: Option<Vec<String>>,
    /// Fixes initial weights, batch order and augmentation.
    pub seed: u64,
    /// Fold that is tested.
    pub fold: Option<usize>,
    /// RUN folder or TorchScript file to learn from. A path, so it is not written to any output but `provenance.json`.
    pub teacher: Option<PathBuf>,
    /// Further teachers beside `teacher`.
    pub more_teachers: Vec<PathBuf>,
    /// Biased network of `agre-kd`, RUN or TorchScript file.
    pub biased: Option<PathBuf>,
    /// What a foreign TorchScript teacher takes.
    pub teacher_images: TeacherImages,
    /// RUN whose last layer `dfr-*` refits. A path, as `teacher` is.
    pub from: Option<PathBuf>,
    /// What `dfr-*` chooses from; `None` for other objectives.
    pub dfr: Option<DfrSettings>,
    /// How `jtt` finds errors; `None` for other objectives.
    pub jtt: Option<JttSettings>,
}

impl TrainWire {
    /// What is absent here is taken from `base`: a pipeline's common settings under those of one stage.
    #[must_use]
    pub fn over(self, base: &Self) -> Self {
        let base = base.clone();
        Self {
            objective: self.objective.or(base.objective),
            arch: self.arch.or(base.arch),
            init: self.init.or(base.init),
            epochs: self.epochs.or(base.epochs),
            batch_size: self.batch_size.or(base.batch_size),
            optimiser: self.optimiser.or(base.optimiser),
            learning_rate: self.learning_rate.or(base.learning_rate),
            weight_decay: self.weight_decay.or(base.weight_decay),
            momentum: self.momentum.or(base.momentum),
            clip_norm: self.clip_norm.or(base.clip_norm),
            ema_decay: self.ema_decay.or(base.ema_decay),
            schedule: self.schedule.or(base.schedule),
            milestones: self.milestones.or(base.milestones),
            gamma: self.gamma.or(base.gamma),
            warm_up_epochs: self.warm_up_epochs.or(base.warm_up_epochs),
            temperature: self.temperature.or(base.temperature),
            alpha: self.alpha.or(base.alpha),
            eta: self.eta.or(base.eta),
            scope: self.scope.or(base.scope),
            absent: self.absent.or(base.absent),
            adjustment: self.adjustment.or(base.adjustment),
            floor: self.floor.or(base.floor),
            sampler: self.sampler.or(base.sampler),
            augment: self.augment.or(base.augment),
            selection: self.selection.or(base.selection),
            early_stop_epochs: self.early_stop_epochs.or(base.early_stop_epochs),
            precision: self.precision.or(base.precision),
            channels_last: self.channels_last.or(base.channels_last),
            teacher_classes: self.teacher_classes.or(base.teacher_classes),
            teacher_input: self.teacher_input.or(base.teacher_input),
            teacher_mean: self.teacher_mean.or(base.teacher_mean),
            teacher_std: self.teacher_std.or(base.teacher_std),
            jtt_epochs: self.jtt_epochs.or(base.jtt_epochs),
            jtt_upweight: self.jtt_upweight.or(base.jtt_upweight),
            jtt_learning_rate: self.jtt_learning_rate.or(base.jtt_learning_rate),
            jtt_weight_decay: self.jtt_weight_decay.or(base.jtt_weight_decay),
            dfr_c: self.dfr_c.or(base.dfr_c),
            dfr_subsets: self.dfr_subsets.or(base.dfr_subsets),
        }
    }

    fn objective(&self) -> Result<ObjectiveSettings, TrainSettingsError> {
        let settings = ObjectiveSettings {
            objective: self.objective.unwrap_or(ObjectiveKind::Erm),
            scope: self.scope.unwrap_or(Scope::Distillation),
            absent: self.absent.unwrap_or(AbsentRule::Keep),
            temperature: self.temperature.unwrap_or(4.0),
            alpha: self.alpha.unwrap_or(0.9),
            eta: self.eta.unwrap_or(0.1),
            adjustment: self.adjustment.unwrap_or(0.0),
            floor: self.floor.unwrap_or(0.0),
        };
        settings.check().map_err(|wrong| TrainSettingsError {
            key: wrong.key,
            found: wrong.found.to_string(),
            expected: wrong.expected,
        })?;
        Ok(settings)
    }
}

/// As used with torchvision's networks; for the small ones what validation chose in the studies (`docs/evidence.md`).
fn default_learning_rate(optimiser: OptimiserKind, arch: Architecture) -> f64 {
    match (optimiser, arch) {
        (OptimiserKind::Adamw, Architecture::CompactResnet | Architecture::TinyResnet) => 4e-3,
        (OptimiserKind::Adamw, _) => 1e-3,
        (OptimiserKind::Sgd, _) => 0.05,
    }
}

/// At half and at three quarters of the epochs.
fn default_milestones(epochs: u32) -> Vec<u32> {
    let mut milestones = vec![epochs.div_ceil(2), (u64::from(epochs) * 3).div_ceil(4) as u32];
    milestones.dedup();
    milestones
}

impl TrainSettings {
    /// Fills in defaults and checks ranges.
    ///
    /// # Errors
    /// [`TrainSettingsError`] with the key.
    pub fn from_wire(
        wire: &TrainWire,
        seed: u64,
        fold: Option<usize>,
        teacher: Option<PathBuf>,
    ) -> Result<Self, TrainSettingsError> {
        let optimiser = wire.optimiser.unwrap_or(OptimiserKind::Adamw);
        let epochs = wire.epochs.unwrap_or(30);
        let objective = wire.objective()?;
        let refits = objective.objective.refits();
        let dfr = refits.then(|| DfrSettings::from_wire(wire.dfr_c.as_ref(), wire.dfr_subsets)).transpose()?;
        let is_jtt = objective.objective == ObjectiveKind::Jtt;
        let jtt = is_jtt.then(|| JttSettings::from_wire(wire, epochs)).transpose()?;
        let schedule = wire.schedule.unwrap_or(Schedule::Cosine);
        let is_step = schedule == Schedule::Step;
        let milestones = wire.milestones.clone().unwrap_or_else(|| default_milestones(epochs));
        let arch = wire.arch.unwrap_or(Architecture::Resnet18);
        let settings = Self {
            objective,
            arch,
            init: wire.init.clone(),
            epochs,
            batch_size: wire.batch_size.unwrap_or(64),
            optimiser,
            learning_rate: wire.learning_rate.unwrap_or_else(|| default_learning_rate(optimiser, arch)),
            weight_decay: wire.weight_decay.unwrap_or(match optimiser {
                OptimiserKind::Adamw => 1e-2,
                OptimiserKind::Sgd => 1e-4,
            }),
            momentum: wire.momentum.unwrap_or(0.9),
            clip_norm: wire.clip_norm,
            ema_decay: wire.ema_decay,
            schedule,
            milestones: if is_step { milestones } else { Vec::new() },
            gamma: wire.gamma.unwrap_or(0.1),
            warm_up_epochs: wire.warm_up_epochs.unwrap_or(u32::from(epochs >= 10)),
            sampler: wire.sampler.unwrap_or(Sampler::Shuffle),
            augment: wire.augment.unwrap_or(Augment::Switch(true)).resolve(),
            selection: wire.selection.unwrap_or(Selection::WorstGroupAccuracy),
            early_stop_epochs: wire.early_stop_epochs,
            precision: wire.precision.unwrap_or(Precision::Auto),
            channels_last: wire.channels_last,
            teacher_classes: wire.teacher_classes.clone(),
            seed,
            fold,
            teacher,
            more_teachers: Vec::new(),
            biased: None,
            teacher_images: TeacherImages::from_wire(wire)?,
            from: None,
            dfr,
            jtt,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), TrainSettingsError> {
        let check = |right: bool, key, found: String, expected| {
            if right { Ok(()) } else { Err(TrainSettingsError { key, found, expected }) }
        };
        let Self { epochs, batch_size, learning_rate, weight_decay, momentum, warm_up_epochs, .. } = *self;
        check((1..=100_000).contains(&epochs), "epochs", epochs.to_string(), "1 to 100000")?;
        check((2..=65_536).contains(&batch_size), "batch_size", batch_size.to_string(), "2 to 65536")?;
        let rate = learning_rate > 0.0 && learning_rate <= 100.0;
        check(rate, "learning_rate", learning_rate.to_string(), "a number > 0, at most 100")?;
        let decay = (0.0..=100.0).contains(&weight_decay);
        check(decay, "weight_decay", weight_decay.to_string(), "a number from 0 to 100")?;
        check((0.0..1.0).contains(&momentum), "momentum", momentum.to_string(), "a number >= 0 and < 1")?;
        let clip = self.clip_norm.unwrap_or(1.0);
        check(clip > 0.0 && clip.is_finite(), "clip_norm", clip.to_string(), "a finite number > 0")?;
        let decay = self.ema_decay.unwrap_or(0.5);
        check(decay > 0.0 && decay < 1.0, "ema_decay", decay.to_string(), "a number > 0 and < 1")?;
        check(self.gamma > 0.0 && self.gamma < 1.0, "gamma", self.gamma.to_string(), "a number > 0 and < 1")?;
        let rising = self.milestones.windows(2).all(|pair| pair[0] < pair[1]) && !self.milestones.contains(&0);
        check(rising, "milestones", format!("{:?}", self.milestones), "epochs, 1 or more, each later than the last")?;
        check(warm_up_epochs <= epochs, "warm_up_epochs", warm_up_epochs.to_string(), "at most epochs")?;
        let patience = self.early_stop_epochs;
        check(patience != Some(0), "early_stop_epochs", "0".to_owned(), "1 or more; leave it out to train all epochs")?;
        if let Some(augment) = &self.augment {
            augment.check().map_err(|(key, found, expected)| TrainSettingsError {
                key,
                found: found.to_string(),
                expected,
            })?;
        }
        Ok(())
    }

    /// The wire form with every default filled in, as written to `settings.toml` and into the fingerprint.
    pub fn wire(&self) -> TrainWire {
        let ObjectiveSettings { objective, scope, absent, temperature, alpha, eta, adjustment, floor } = self.objective;
        TrainWire {
            objective: Some(objective),
            arch: Some(self.arch),
            init: None,
            epochs: Some(self.epochs),
            batch_size: Some(self.batch_size),
            optimiser: Some(self.optimiser),
            learning_rate: Some(self.learning_rate),
            weight_decay: Some(self.weight_decay),
            momentum: Some(self.momentum),
            clip_norm: self.clip_norm,
            ema_decay: self.ema_decay,
            schedule: Some(self.schedule),
            milestones: (self.schedule == Schedule::Step).then(|| self.milestones.clone()),
            gamma: (self.schedule == Schedule::Step).then_some(self.gamma),
            warm_up_epochs: Some(self.warm_up_epochs),
            temperature: Some(temperature),
            alpha: Some(alpha),
            eta: Some(eta),
            scope: Some(scope),
            absent: Some(absent),
            adjustment: Some(adjustment),
            floor: Some(floor),
            sampler: Some(self.sampler),
            augment: Some(self.augment.map_or(Augment::Switch(false), Augment::Table)),
            selection: Some(self.selection),
            early_stop_epochs: self.early_stop_epochs,
            precision: Some(self.precision),
            channels_last: self.channels_last,
            teacher_classes: self.teacher_classes.clone(),
            teacher_input: self.teacher_images.input,
            teacher_mean: self.teacher_images.mean.clone(),
            teacher_std: self.teacher_images.std.clone(),
            jtt_epochs: self.jtt.map(|jtt| jtt.epochs),
            jtt_upweight: self.jtt.map(|jtt| jtt.upweight),
            jtt_learning_rate: self.jtt.and_then(|jtt| jtt.learning_rate),
            jtt_weight_decay: self.jtt.and_then(|jtt| jtt.weight_decay),
            dfr_c: self.dfr.as_ref().map(|dfr| dfr.c.clone()),
            dfr_subsets: self.dfr.as_ref().map(|dfr| dfr.subsets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TrainSettings, String> {
        let wire: TrainWire = toml::from_str(text).map_err(|error| error.to_string())?;
        TrainSettings::from_wire(&wire, 3, None, None).map_err(|error| error.to_string())
    }

    #[test]
    fn the_resolved_settings_survive_toml() {
        for text in [
            "",
            "schedule = \"step\"\nclip_norm = 2.0\nema_decay = 0.99",
            "augment = false\nearly_stop_epochs = 4",
            "optimiser = \"sgd\"\naugment = { noise = 0.5 }",
            "augment = { flip = true, bias_field = 0.3, blur = 1.5 }",
            "objective = \"dfr-val\"\ndfr_c = [1.0]",
            "objective = \"jtt\"\njtt_epochs = 3\njtt_weight_decay = 0.5",
            "teacher_input = [64, 48]\nteacher_mean = [0.5]\nteacher_std = [0.25]\nselection = \"last-epoch\"",
        ] {
            let settings = parse(text).unwrap();
            let resolved = toml::to_string(&settings.wire()).unwrap();
            assert_eq!(parse(&resolved).unwrap(), settings, "{resolved}");
        }
    }

    #[test]
    fn a_wrong_value_is_named_with_what_is_accepted() {
        assert_eq!(parse("eta = 0").unwrap_err(), "train.eta is 0, expected a finite number > 0");
        assert_eq!(parse("batch_size = 1").unwrap_err(), "train.batch_size is 1, expected 2 to 65536");
        assert!(
            parse("augment = { rotation_degrees = 200.0 }").unwrap_err().contains("augment.rotation_degrees is 200")
        );
        assert!(parse("ema_decay = 1.0").unwrap_err().contains("train.ema_decay is 1"));
        assert!(parse("clip_norm = 0").unwrap_err().contains("train.clip_norm is 0"));
        let milestones = parse("schedule = \"step\"\nmilestones = [9, 4]").unwrap_err();
        assert!(milestones.contains("train.milestones is [9, 4]"), "{milestones}");
        assert!(parse("epoch = 3").unwrap_err().contains("unknown field `epoch`, expected one of"));
        assert!(parse("augment = { mirror = true }").unwrap_err().contains("unknown field `mirror`"));
        assert!(parse("augment = { blur = -1.0 }").unwrap_err().contains("augment.blur is -1"));
        assert!(parse("augment = 3").unwrap_err().contains("true, false or a table"));
        assert!(parse("objective = \"kdd\"").unwrap_err().contains("group-distil"));
    }

    #[test]
    fn settings_of_a_stage_win_over_the_common_ones() {
        let base = TrainWire { epochs: Some(3), arch: Some(Architecture::CompactResnet), ..TrainWire::default() };
        let wire = TrainWire { epochs: Some(5), ..TrainWire::default() }.over(&base);
        assert_eq!((wire.epochs, wire.arch), (Some(5), Some(Architecture::CompactResnet)));
    }
}
