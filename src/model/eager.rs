//! Networks run by tch, in training or evaluation mode.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::left_out::LeftOut;
use super::operations::{Activation, BatchNorm, Convolution, LinearStart, Operations, Unit};

/// Runs the operations on tensors found by name.
pub struct Eager<'a> {
    tensors: &'a BTreeMap<String, Tensor>,
    training: bool,
    left_out: Option<LeftOut>,
}

impl<'a> Eager<'a> {
    /// With `training`, batch statistics are used and the running ones updated; with `left_out`, dropout and stochastic depth
    /// are at work.
    pub fn new(tensors: &'a BTreeMap<String, Tensor>, training: bool, left_out: Option<LeftOut>) -> Self {
        Self { tensors, training, left_out }
    }

    /// # Panics
    /// When a name was not declared: the network's functions are one for declaring and running, so it is there.
    fn tensor(&self, layer: &str, part: &str) -> &'a Tensor {
        self.tensors.get(&format!("{layer}.{part}")).expect("every tensor was declared by the same function")
    }
}

impl Operations for Eager<'_> {
    type Value = Shared;

    fn convolution(&mut self, x: &Shared, name: &str, shape: Convolution) -> Shared {
        let (stride, padding) = ([shape.stride; 2], [shape.padding; 2]);
        let weight = self.tensor(name, "weight");
        let bias = shape.has_bias.then(|| self.tensor(name, "bias"));
        x.0.conv2d(weight, bias, stride, padding, [1, 1], shape.groups).into()
    }

    fn batch_norm(&mut self, x: &Shared, name: &str, norm: BatchNorm) -> Shared {
        if self.training {
            let mut count = self.tensor(name, "num_batches_tracked").shallow_clone();
            tch::no_grad(|| {
                let _ = count.g_add_scalar_(1);
            });
        }
        let part = |part| Some(self.tensor(name, part));
        x.0.batch_norm(
            part("weight"),
            part("bias"),
            part("running_mean"),
            part("running_var"),
            self.training,
            norm.momentum,
            norm.epsilon,
            true,
        )
        .into()
    }

    fn activate(&mut self, mut x: Shared, activation: Activation) -> Shared {
        match activation {
            Activation::Identity => x,
            // In place, as torchvision's: a second copy of every layer's output costs a tenth of a step.
            Activation::Relu => x.0.relu_().into(),
            Activation::HardSwish => x.0.hardswish().into(),
            Activation::HardSigmoid => x.0.hardsigmoid().into(),
            Activation::Silu => x.0.silu().into(),
            Activation::Sigmoid => x.0.sigmoid().into(),
        }
    }

    fn max_pool(&mut self, x: &Shared, kernel: i64, stride: i64, padding: i64) -> Shared {
        x.0.max_pool2d([kernel; 2], [stride; 2], [padding; 2], [1, 1], false).into()
    }

    fn average_pool(&mut self, x: &Shared, side: i64) -> Shared {
        x.0.avg_pool2d([side; 2], [side; 2], [0, 0], false, true, None).into()
    }

    fn global_average(&mut self, x: &Shared) -> Shared {
        x.0.adaptive_avg_pool2d([1, 1]).into()
    }

    fn flatten(&mut self, x: &Shared) -> Shared {
        x.0.flatten(1, -1).into()
    }

    fn add(&mut self, mut x: Shared, y: &Shared) -> Shared {
        x.0.g_add_(&y.0).into()
    }

    fn multiply(&mut self, x: &Shared, y: &Shared) -> Shared {
        (&x.0 * &y.0).into()
    }

    fn concatenate(&mut self, values: &[Shared]) -> Shared {
        let values: Vec<&Tensor> = values.iter().map(|value| &value.0).collect();
        Tensor::cat(&values, 1).into()
    }

    fn leave_out(&mut self, x: &Shared, name: &str, unit: Unit, share: f64) -> Shared {
        match self.left_out.filter(|_| share > 0.0) {
            None => x.clone(),
            Some(left_out) => (&x.0 * left_out.factors(&x.0, name, unit, share)).into(),
        }
    }

    fn linear(&mut self, x: &Shared, name: &str, _inputs: i64, _outputs: i64, _start: LinearStart) -> Shared {
        x.0.linear(self.tensor(name, "weight"), Some(self.tensor(name, "bias"))).into()
    }
}

/// A tensor whose clone shares its storage (tch's `Tensor` has no `Clone`).
#[derive(Debug)]
pub struct Shared(pub Tensor);

impl Clone for Shared {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl From<Tensor> for Shared {
    fn from(tensor: Tensor) -> Self {
        Self(tensor)
    }
}

/// Normalises an input with the fixed per-channel mean and deviation of the training split: `(x - mean) / std`.
///
/// `x`: `[n, c, h, w]`; `mean` and `std`: `c` values each.
pub fn normalise(x: &Tensor, mean: &[f64], std: &[f64]) -> Tensor {
    let shape = [1, i64::try_from(mean.len()).unwrap_or(i64::MAX), 1, 1];
    let constant = |values: &[f64]| Tensor::from_slice(values).to_kind(x.kind()).to_device(x.device()).view(shape);
    debug_assert!(matches!(x.kind(), Kind::Float | Kind::Double | Kind::BFloat16 | Kind::Half));
    (x - constant(mean)) / constant(std)
}
