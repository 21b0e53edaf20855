//! Names, shapes and starting distributions of a network's parameters and buffers, in torchvision's state-dict order.

use super::operations::{Activation, BatchNorm, Convolution, ConvolutionStart, LinearStart, Operations, Unit};

/// How a parameter's values start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// Normal with mean 0 and this deviation.
    Normal(f64),
    /// Uniform between minus and plus this bound.
    Uniform(f64),
    /// All this value.
    Constant(f64),
}

/// One tensor of the state dict.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// torchvision's name.
    pub name: String,
    /// Shape; empty for a scalar.
    pub shape: Vec<i64>,
    /// Starting values.
    pub start: Start,
    /// Buffers are saved but not trained.
    pub is_buffer: bool,
    /// `num_batches_tracked` is int64, all else float32.
    pub is_count: bool,
}

/// Collects the declarations in the order in which a network uses its layers.
#[derive(Debug, Default)]
pub struct Declare {
    /// What was declared so far.
    pub tensors: Vec<Declared>,
}

impl Declare {
    fn push(&mut self, name: String, shape: &[i64], start: Start, is_buffer: bool) {
        let is_count = name.ends_with("num_batches_tracked");
        self.tensors.push(Declared { name, shape: shape.to_vec(), start, is_buffer, is_count });
    }
}

/// Counts and sizes of layers are small: exact in f64.
#[expect(clippy::cast_precision_loss, reason = "layer sizes are far below 2^52")]
fn real(count: i64) -> f64 {
    count as f64
}

impl Operations for Declare {
    type Value = ();

    fn convolution(&mut self, (): &(), name: &str, shape: Convolution) {
        // torch.nn.init.kaiming_normal_(nonlinearity="relu") counts the fan of a grouped convolution from the weight's shape.
        let fan_in = shape.inputs / shape.groups * shape.kernel * shape.kernel;
        let fan = match shape.start {
            ConvolutionStart::FanOut => shape.outputs * shape.kernel * shape.kernel,
            ConvolutionStart::FanIn => fan_in,
        };
        let size = [shape.outputs, shape.inputs / shape.groups, shape.kernel, shape.kernel];
        self.push(format!("{name}.weight"), &size, Start::Normal((2.0 / real(fan)).sqrt()), false);
        if shape.has_bias {
            self.push(format!("{name}.bias"), &[shape.outputs], Start::Constant(0.0), false);
        }
    }

    fn batch_norm(&mut self, (): &(), name: &str, norm: BatchNorm) {
        let size = [norm.features];
        self.push(format!("{name}.weight"), &size, Start::Constant(1.0), false);
        self.push(format!("{name}.bias"), &size, Start::Constant(0.0), false);
        self.push(format!("{name}.running_mean"), &size, Start::Constant(0.0), true);
        self.push(format!("{name}.running_var"), &size, Start::Constant(1.0), true);
        self.push(format!("{name}.num_batches_tracked"), &[], Start::Constant(0.0), true);
    }

    fn activate(&mut self, (): (), _activation: Activation) {}

    fn max_pool(&mut self, (): &(), _kernel: i64, _stride: i64, _padding: i64) {}

    fn average_pool(&mut self, (): &(), _side: i64) {}

    fn global_average(&mut self, (): &()) {}

    fn flatten(&mut self, (): &()) {}

    fn add(&mut self, (): (), (): &()) {}

    fn multiply(&mut self, (): &(), (): &()) {}

    fn concatenate(&mut self, _values: &[()]) {}

    fn leave_out(&mut self, (): &(), _name: &str, _unit: Unit, _share: f64) {}

    fn linear(&mut self, (): &(), name: &str, inputs: i64, outputs: i64, start: LinearStart) {
        // torch.nn.Linear: kaiming_uniform_(a=sqrt(5)) is uniform within 1/sqrt(fan_in); its bias too.
        let bound = |fan: i64| Start::Uniform(1.0 / real(fan).sqrt());
        let zero = Start::Constant(0.0);
        let (weight, bias) = match start {
            LinearStart::Uniform => (bound(inputs), bound(inputs)),
            LinearStart::UniformBiasZero => (bound(inputs), zero),
            LinearStart::UniformByOutputs => (bound(outputs), zero),
            LinearStart::SmallNormal => (Start::Normal(0.01), zero),
        };
        self.push(format!("{name}.weight"), &[outputs, inputs], weight, false);
        self.push(format!("{name}.bias"), &[outputs], bias, false);
    }
}
