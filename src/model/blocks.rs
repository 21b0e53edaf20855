//! What the mobile networks share: convolution blocks and squeeze-and-excitation, with torchvision's names.

use super::operations::{Activation, BatchNorm, Convolution, Operations};

/// torchvision's `Conv2dNormActivation`: a convolution `name.0`, batch normalisation `name.1`, an activation.
pub fn convolution_block<O: Operations>(
    run: &mut O,
    x: &O::Value,
    name: &str,
    (shape, norm): (Convolution, fn(i64) -> BatchNorm),
    activation: Activation,
) -> O::Value {
    let x = run.convolution(x, &format!("{name}.0"), shape);
    let x = run.batch_norm(&x, &format!("{name}.1"), norm(shape.outputs));
    run.activate(x, activation)
}

/// A depthwise convolution that keeps the size at stride 1.
pub fn depthwise(channels: i64, kernel: i64, stride: i64) -> Convolution {
    Convolution { groups: channels, ..Convolution::same(channels, channels, kernel, stride) }
}

/// Squeeze-and-excitation (Hu et al. 2018): every channel times a factor that follows from the means of all channels, by two
/// 1x1 convolutions with bias, `name.fc1` to `squeezed` channels and `name.fc2` back, each before its activation.
pub fn squeeze_excitation<O: Operations>(
    run: &mut O,
    x: &O::Value,
    name: &str,
    [channels, squeezed]: [i64; 2],
    [inner, outer]: [Activation; 2],
) -> O::Value {
    let with_bias = |inputs, outputs| Convolution { has_bias: true, ..Convolution::same(inputs, outputs, 1, 1) };
    let scale = run.global_average(x);
    let scale = run.convolution(&scale, &format!("{name}.fc1"), with_bias(channels, squeezed));
    let scale = run.activate(scale, inner);
    let scale = run.convolution(&scale, &format!("{name}.fc2"), with_bias(squeezed, channels));
    let scale = run.activate(scale, outer);
    run.multiply(x, &scale)
}

/// `name.0`, `name.1`, ...: the parts of a block, of which some blocks leave some out.
pub fn numbered(name: String) -> impl FnMut() -> String {
    let mut parts = (0_u32..).map(move |part| format!("{name}.{part}"));
    move || parts.next().expect("no block has so many parts")
}
