//! The operations that networks are made of, abstract over what carries them out: declared (names and shapes of parameters),
//! run eagerly by tch, or written as TorchScript. A network is defined once, as a function of these; the three cannot differ.
//!
//! Values are images `[n, c, h, w]` until they are flattened, then features `[n, f]`.

/// A 2-d convolution with a square kernel.
#[derive(Debug, Clone, Copy)]
pub struct Convolution {
    /// Input channels.
    pub inputs: i64,
    /// Output channels.
    pub outputs: i64,
    /// Side of the kernel.
    pub kernel: i64,
    /// Step in both directions.
    pub stride: i64,
    /// Zeros added on each side.
    pub padding: i64,
    /// Groups of channels (`inputs` = depthwise).
    pub groups: i64,
    /// Whether a constant per output channel is added; it starts at 0.
    pub has_bias: bool,
    /// How the kernels start.
    pub start: ConvolutionStart,
}

impl Convolution {
    /// A convolution of one group without bias that keeps the size at stride 1.
    pub fn same(inputs: i64, outputs: i64, kernel: i64, stride: i64) -> Self {
        let (padding, start) = ((kernel - 1) / 2, ConvolutionStart::FanOut);
        Self { inputs, outputs, kernel, stride, padding, groups: 1, has_bias: false, start }
    }
}

/// How a convolution's kernels start: kaiming-normal, deviation sqrt(2 / fan).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvolutionStart {
    /// fan = outputs x kernel area, also of grouped convolutions, as `torch.nn.init` counts it.
    FanOut,
    /// fan = inputs of a group x kernel area.
    FanIn,
}

/// Batch normalisation over channels.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm {
    /// Channels.
    pub features: i64,
    /// Added to the variance.
    pub epsilon: f64,
    /// Weight of a batch in the running statistics.
    pub momentum: f64,
}

impl BatchNorm {
    /// With torch.nn.BatchNorm2d's defaults.
    pub fn standard(features: i64) -> Self {
        Self { features, epsilon: 1e-5, momentum: 0.1 }
    }
}

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// None: x.
    Identity,
    /// max(x, 0).
    Relu,
    /// x min(max(x + 3, 0), 6) / 6.
    HardSwish,
    /// min(max(x + 3, 0), 6) / 6.
    HardSigmoid,
    /// x sigmoid(x).
    Silu,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
}

/// What is left out together in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Each value by itself (dropout).
    Value,
    /// All values of a sample (stochastic depth, torchvision's mode `row`).
    Sample,
}

/// How a linear layer starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinearStart {
    /// PyTorch's own: uniform within 1/sqrt(inputs), weight and bias.
    Uniform,
    /// torchvision's DenseNet: weight uniform within 1/sqrt(inputs), bias 0.
    UniformBiasZero,
    /// torchvision's EfficientNet: weight uniform within 1/sqrt(outputs), bias 0.
    UniformByOutputs,
    /// torchvision's MobileNetV3: normal with deviation 0.01, bias 0.
    SmallNormal,
}

/// Carries out, declares or writes the operations of a network. Names are torchvision's, dotted.
pub trait Operations {
    /// What flows between operations; cloning one is cheap.
    type Value: Clone;

    /// Convolution.
    fn convolution(&mut self, x: &Self::Value, name: &str, shape: Convolution) -> Self::Value;
    /// Batch normalisation.
    fn batch_norm(&mut self, x: &Self::Value, name: &str, norm: BatchNorm) -> Self::Value;
    /// An activation function, value by value. `x` may be overwritten: nothing else may hold it.
    fn activate(&mut self, x: Self::Value, activation: Activation) -> Self::Value;
    /// Largest value in a square window.
    fn max_pool(&mut self, x: &Self::Value, kernel: i64, stride: i64, padding: i64) -> Self::Value;
    /// Mean of each square of `side` x `side`; a rest at the right and bottom is left out.
    fn average_pool(&mut self, x: &Self::Value, side: i64) -> Self::Value;
    /// Mean over rows and columns: `[n, c, h, w]` to `[n, c, 1, 1]`.
    fn global_average(&mut self, x: &Self::Value) -> Self::Value;
    /// `[n, c, 1, 1]` to `[n, c]`.
    fn flatten(&mut self, x: &Self::Value) -> Self::Value;
    /// Sum of two values of one shape. `x` may be overwritten: nothing else may hold it.
    fn add(&mut self, x: Self::Value, y: &Self::Value) -> Self::Value;
    /// Product of two values; `y` `[n, c, 1, 1]` is spread over rows and columns.
    fn multiply(&mut self, x: &Self::Value, y: &Self::Value) -> Self::Value;
    /// Values one after another along the channels.
    fn concatenate(&mut self, values: &[Self::Value]) -> Self::Value;
    /// In training, leaves out a `share` of the units and scales the others by 1/(1 - share); elsewhere nothing.
    fn leave_out(&mut self, x: &Self::Value, name: &str, unit: Unit, share: f64) -> Self::Value;
    /// A linear layer with bias.
    fn linear(&mut self, x: &Self::Value, name: &str, inputs: i64, outputs: i64, start: LinearStart) -> Self::Value;
}
