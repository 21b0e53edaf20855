//! EfficientNet-B0 (Tan and Le 2019), with torchvision's names: `features.0` the stem, `features.1` to `features.7` stages of mobile
//! inverted bottlenecks with stochastic depth, `features.8` the last convolution, then dropout. 4.0 M parameters with 3 classes.

use super::blocks::{convolution_block, depthwise, numbered, squeeze_excitation};
use super::operations::{Activation, BatchNorm, Convolution, LinearStart, Operations, Unit};

/// Share of the features that training leaves out.
const DROPOUT: f64 = 0.2;
/// Share of the samples for which training would leave out a block after the last; it rises with depth from 0.
const STOCHASTIC_DEPTH: f64 = 0.2;
/// Width of the last convolution.
const LAST: i64 = 1280;

/// A stage of equal blocks; the stride is the first block's.
struct Stage {
    expansion: i64,
    kernel: i64,
    stride: i64,
    outputs: i64,
    blocks: u32,
}

const fn stage(expansion: i64, kernel: i64, stride: i64, outputs: i64, blocks: u32) -> Stage {
    Stage { expansion, kernel, stride, outputs, blocks }
}

/// Table 1 of the paper.
const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 16, 1),
    stage(6, 3, 2, 24, 2),
    stage(6, 5, 2, 40, 2),
    stage(6, 3, 2, 80, 3),
    stage(6, 5, 1, 112, 3),
    stage(6, 5, 2, 192, 4),
    stage(6, 3, 1, 320, 1),
];

/// Blocks of all stages.
const BLOCKS: u32 = 16;

/// `x` `[n, channels, h, w]` to features `[n, 1280]`.
pub fn features<O: Operations>(run: &mut O, x: &O::Value, channels: i64) -> O::Value {
    let stem = (Convolution::same(channels, 32, 3, 2), BatchNorm::standard as fn(i64) -> BatchNorm);
    let mut x = convolution_block(run, x, "features.0", stem, Activation::Silu);
    let (mut inputs, mut before) = (32, 0);
    for (index, stage) in STAGES.iter().enumerate() {
        for block in 0..stage.blocks {
            let name = format!("features.{}.{block}", index + 1);
            let stride = if block == 0 { stage.stride } else { 1 };
            let share = STOCHASTIC_DEPTH * f64::from(before) / f64::from(BLOCKS);
            x = bottleneck(run, &x, &name, [inputs, stage.expansion, stage.kernel, stride, stage.outputs], share);
            inputs = stage.outputs;
            before += 1;
        }
    }
    let last = (Convolution::same(inputs, LAST, 1, 1), BatchNorm::standard as fn(i64) -> BatchNorm);
    let x = convolution_block(run, &x, "features.8", last, Activation::Silu);
    let x = run.global_average(&x);
    let x = run.flatten(&x);
    run.leave_out(&x, "classifier.0", Unit::Value, DROPOUT)
}

/// Features `[n, 1280]` to logits `[n, classes]`.
pub fn head<O: Operations>(run: &mut O, features: &O::Value, classes: i64) -> O::Value {
    run.linear(features, "classifier.1", LAST, classes, LinearStart::UniformByOutputs)
}

/// torchvision's `MBConv`.
fn bottleneck<O: Operations>(run: &mut O, x: &O::Value, name: &str, sizes: [i64; 5], share: f64) -> O::Value {
    let [inputs, expansion, kernel, stride, outputs] = sizes;
    let expanded = inputs * expansion;
    let mut next = numbered(format!("{name}.block"));
    let mut y = x.clone();
    if expanded != inputs {
        let shape = Convolution::same(inputs, expanded, 1, 1);
        y = convolution_block(run, &y, &next(), (shape, BatchNorm::standard), Activation::Silu);
    }
    let shape = depthwise(expanded, kernel, stride);
    y = convolution_block(run, &y, &next(), (shape, BatchNorm::standard), Activation::Silu);
    y = squeeze_excitation(run, &y, &next(), [expanded, (inputs / 4).max(1)], [Activation::Silu, Activation::Sigmoid]);
    let shape = Convolution::same(expanded, outputs, 1, 1);
    y = convolution_block(run, &y, &next(), (shape, BatchNorm::standard), Activation::Identity);
    if stride != 1 || inputs != outputs {
        return y;
    }
    y = run.leave_out(&y, &format!("{name}.stochastic_depth"), Unit::Sample, share);
    run.add(y, x)
}
