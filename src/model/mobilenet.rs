//! MobileNetV3-small (Howard et al. 2019), with torchvision's names: `features.0` the stem, `features.1` to `features.11` inverted
//! residuals, `features.12` the last convolution, then a hidden layer of 1024 with dropout. 1.5 M parameters with 3 classes.

use super::blocks::{convolution_block, depthwise, numbered, squeeze_excitation};
use super::operations::{Activation, BatchNorm, Convolution, LinearStart, Operations, Unit};

/// Share of the hidden layer that training leaves out.
const DROPOUT: f64 = 0.2;
/// Width of the last convolution.
const LAST: i64 = 576;
/// Width of the hidden layer.
const HIDDEN: i64 = 1024;

/// One inverted residual.
struct Inverted {
    kernel: i64,
    expanded: i64,
    outputs: i64,
    squeezes: bool,
    activation: Activation,
    stride: i64,
}

const fn row([kernel, expanded, outputs]: [i64; 3], squeezes: bool, activation: Activation, stride: i64) -> Inverted {
    Inverted { kernel, expanded, outputs, squeezes, activation, stride }
}

/// Table 2 of the paper.
const BLOCKS: [Inverted; 11] = [
    row([3, 16, 16], true, Activation::Relu, 2),
    row([3, 72, 24], false, Activation::Relu, 2),
    row([3, 88, 24], false, Activation::Relu, 1),
    row([5, 96, 40], true, Activation::HardSwish, 2),
    row([5, 240, 40], true, Activation::HardSwish, 1),
    row([5, 240, 40], true, Activation::HardSwish, 1),
    row([5, 120, 48], true, Activation::HardSwish, 1),
    row([5, 144, 48], true, Activation::HardSwish, 1),
    row([5, 288, 96], true, Activation::HardSwish, 2),
    row([5, 576, 96], true, Activation::HardSwish, 1),
    row([5, 576, 96], true, Activation::HardSwish, 1),
];

fn norm(features: i64) -> BatchNorm {
    BatchNorm { features, epsilon: 1e-3, momentum: 0.01 }
}

/// The nearest multiple of 8 that is not below nine tenths (torchvision's `_make_divisible`).
fn divisible(channels: i64) -> i64 {
    let rounded = ((channels + 4) / 8 * 8).max(8);
    if 10 * rounded < 9 * channels { rounded + 8 } else { rounded }
}

/// `x` `[n, channels, h, w]` to features `[n, 1024]`.
pub fn features<O: Operations>(run: &mut O, x: &O::Value, channels: i64) -> O::Value {
    let stem = (Convolution::same(channels, 16, 3, 2), norm as fn(i64) -> BatchNorm);
    let mut x = convolution_block(run, x, "features.0", stem, Activation::HardSwish);
    let mut inputs = 16;
    for (index, block) in BLOCKS.iter().enumerate() {
        x = inverted(run, &x, &format!("features.{}", index + 1), inputs, block);
        inputs = block.outputs;
    }
    let last = (Convolution::same(inputs, LAST, 1, 1), norm as fn(i64) -> BatchNorm);
    let x = convolution_block(run, &x, "features.12", last, Activation::HardSwish);
    let x = run.global_average(&x);
    let x = run.flatten(&x);
    let x = run.linear(&x, "classifier.0", LAST, HIDDEN, LinearStart::SmallNormal);
    let x = run.activate(x, Activation::HardSwish);
    run.leave_out(&x, "classifier.2", Unit::Value, DROPOUT)
}

/// Features `[n, 1024]` to logits `[n, classes]`.
pub fn head<O: Operations>(run: &mut O, features: &O::Value, classes: i64) -> O::Value {
    run.linear(features, "classifier.3", HIDDEN, classes, LinearStart::SmallNormal)
}

fn inverted<O: Operations>(run: &mut O, x: &O::Value, name: &str, inputs: i64, block: &Inverted) -> O::Value {
    let &Inverted { kernel, expanded, outputs, squeezes, activation, stride } = block;
    let mut next = numbered(format!("{name}.block"));
    let mut y = x.clone();
    if expanded != inputs {
        let shape = Convolution::same(inputs, expanded, 1, 1);
        y = convolution_block(run, &y, &next(), (shape, norm), activation);
    }
    y = convolution_block(run, &y, &next(), (depthwise(expanded, kernel, stride), norm), activation);
    if squeezes {
        let sizes = [expanded, divisible(expanded / 4)];
        y = squeeze_excitation(run, &y, &next(), sizes, [Activation::Relu, Activation::HardSigmoid]);
    }
    let shape = Convolution::same(expanded, outputs, 1, 1);
    y = convolution_block(run, &y, &next(), (shape, norm), Activation::Identity);
    if stride == 1 && inputs == outputs { run.add(y, x) } else { y }
}
