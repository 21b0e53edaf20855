//! The operations that networks are made of, abstract over what carries them out: declared (names and shapes of parameters),
//! run eagerly by tch, or written as TorchScript. A network is defined once, as a function of these; the three cannot differ.
//!
//! Values are images `[n, c, h, w]` until the global average, then features `[n, f]`.

/// A 2-d convolution without bias, square kernel.
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
}

impl Convolution {
    /// A convolution of one group that keeps the size at stride 1.
    pub fn same(inputs: i64, outputs: i64, kernel: i64, stride: i64) -> Self {
        Self { inputs, outputs, kernel, stride, padding: (kernel - 1) / 2, groups: 1 }
    }
}

/// How a linear layer starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinearStart {
    /// PyTorch's own: uniform within 1/sqrt(inputs), weight and bias.
    Uniform,
    /// torchvision's MobileNetV3: normal with deviation 0.01, bias 0.
    SmallNormal,
}

/// Carries out, declares or writes the operations of a network. Names are torchvision's, dotted.
pub trait Operations {
    /// What flows between operations; cloning one is cheap.
    type Value: Clone;

    /// Convolution without bias, started kaiming-normal by fan-out as torchvision's networks.
    fn convolution(&mut self, x: &Self::Value, name: &str, shape: Convolution) -> Self::Value;
    /// Batch normalisation over `features` channels, momentum 0.1.
    fn batch_norm(&mut self, x: &Self::Value, name: &str, features: i64, epsilon: f64) -> Self::Value;
    /// max(x, 0).
    fn relu(&mut self, x: &Self::Value) -> Self::Value;
    /// Largest value in a square window.
    fn max_pool(&mut self, x: &Self::Value, kernel: i64, stride: i64, padding: i64) -> Self::Value;
    /// Mean over rows and columns: `[n, c, h, w]` to `[n, c]`.
    fn global_average(&mut self, x: &Self::Value) -> Self::Value;
    /// Sum of two values of one shape.
    fn add(&mut self, x: &Self::Value, y: &Self::Value) -> Self::Value;
    /// A linear layer with bias.
    fn linear(&mut self, x: &Self::Value, name: &str, inputs: i64, outputs: i64, start: LinearStart) -> Self::Value;
}
