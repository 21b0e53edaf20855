//! Networks: which there are, their weights, and a classifier that holds both.
//!
//! A network is one function over [`operations::Operations`]; declaring its parameters, running it and writing it as TorchScript
//! are three carriers of that function. To add one: a file with the function, a name in `settings::architecture` and a line in `network.rs`.

mod blocks;
mod declare;
mod densenet;
pub mod eager;
mod efficientnet;
mod initialise;
mod last_layer;
mod left_out;
mod mobilenet;
mod network;
pub mod operations;
mod pretrained;
mod resnet;
mod script;
mod weights;

use std::collections::BTreeMap;

use tch::{Device, Tensor};

pub use declare::Declared;
pub use left_out::LeftOut;
pub use network::Architecture;
pub use pretrained::{Pretrained, PretrainedError};
pub use weights::WeightsError;

/// Everything that fixes a classifier's shape.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// Which network.
    pub architecture: Architecture,
    /// Input channels.
    pub channels: usize,
    /// Classes.
    pub classes: usize,
    /// Per-channel mean of the training split, `channels` values.
    pub mean: Vec<f64>,
    /// Per-channel standard deviation of the training split, `channels` positive values.
    pub std: Vec<f64>,
}

/// A network with its weights. Input `[n, channels, h, w]` as in `images-*.npy`, float32; output logits `[n, classes]`.
#[derive(Debug)]
pub struct Classifier {
    spec: ModelSpec,
    declared: Vec<Declared>,
    tensors: BTreeMap<String, Tensor>,
    device: Device,
}

/// Layer sizes as tch counts them.
fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Classifier {
    /// A classifier with torchvision's starting distributions, fixed by `seed`.
    pub fn new(spec: &ModelSpec, seed: u64, device: Device) -> Self {
        let declared = spec.architecture.declare(size(spec.channels), size(spec.classes));
        let place = |one: &Declared| {
            let tensor = initialise::start(one, seed).to_device(device);
            (one.name.clone(), if one.is_buffer { tensor } else { tensor.set_requires_grad(true) })
        };
        let tensors = declared.iter().map(place).collect();
        Self { spec: spec.clone(), declared, tensors, device }
    }

    /// What fixes its shape.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Where its tensors are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Logits `[n, classes]` of `x` `[n, channels, h, w]`. With `train`, batch statistics are used and the running ones updated;
    /// nothing is left out.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.logits(&self.features(x, train))
    }

    /// [`Classifier::forward`] of a training step, with dropout and stochastic depth where the network has them.
    pub fn forward_leaving_out(&self, x: &Tensor, left_out: LeftOut) -> Tensor {
        self.logits(&self.run(x, true, Some(left_out)))
    }

    /// Input of the last layer, `[n, f]`; `train` as in [`Classifier::forward`].
    pub fn features(&self, x: &Tensor, train: bool) -> Tensor {
        self.run(x, train, None)
    }

    fn run(&self, x: &Tensor, train: bool, left_out: Option<LeftOut>) -> Tensor {
        let x = eager::normalise(x, &self.spec.mean, &self.spec.std);
        let mut run = eager::Eager::new(&self.tensors, train, left_out);
        self.spec.architecture.features(&mut run, &x.into(), size(self.spec.channels)).0
    }

    /// The last layer: features `[n, f]` to logits.
    pub fn logits(&self, features: &Tensor) -> Tensor {
        let mut run = eager::Eager::new(&self.tensors, false, None);
        self.spec.architecture.head(&mut run, &features.shallow_clone().into(), size(self.spec.classes)).0
    }

    /// Trained tensors with torchvision's names, in state-dict order. The tensors share storage with the classifier's.
    pub fn parameters(&self) -> Vec<(&str, &Tensor)> {
        let trained = self.declared.iter().filter(|one| !one.is_buffer);
        trained.filter_map(|one| Some((one.name.as_str(), self.tensors.get(&one.name)?))).collect()
    }

    /// All tensors of the state dict in order, and whether each is a buffer.
    pub fn state(&self) -> Vec<(&str, &Tensor, bool)> {
        let all = self.declared.iter();
        all.filter_map(|one| Some((one.name.as_str(), self.tensors.get(&one.name)?, one.is_buffer))).collect()
    }

    /// Number of trained values.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, tensor)| tensor.numel()).sum()
    }

    /// Rearranges the convolutions' weights to channels-last, which CPUs and GPUs with bf16 or tensor cores prefer.
    ///
    /// # Errors
    /// [`crate::torch::TorchError`] when libtorch refuses.
    pub fn to_channels_last(&mut self) -> Result<(), crate::torch::TorchError> {
        self.tensors.values_mut().try_for_each(crate::torch::shim::to_channels_last)
    }

    /// A network of its own with the same weights, which are not trained.
    ///
    /// # Errors
    /// [`crate::torch::TorchError`] when memory is short.
    pub fn copy(&self) -> Result<Self, crate::torch::TorchError> {
        let copy = |(name, tensor): (&String, &Tensor)| Ok((name.clone(), tensor.f_detach_copy()?));
        let tensors = self.tensors.iter().map(copy).collect::<Result<_, tch::TchError>>()?;
        Ok(Self { spec: self.spec.clone(), declared: self.declared.clone(), tensors, device: self.device })
    }

    /// TorchScript source of `forward(self, x)` for evaluation, normalisation included.
    pub fn torchscript_source(&self) -> String {
        let ModelSpec { architecture, channels, classes, mean, std } = &self.spec;
        let (mut script, x) = script::Script::begin(mean, std);
        let features = architecture.features(&mut script, &x, size(*channels));
        let logits = architecture.head(&mut script, &features, size(*classes));
        script.finish(&logits)
    }
}
