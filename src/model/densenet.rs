//! DenseNet-121 (Huang et al. 2017), with torchvision's names: each layer of a block sees the outputs of all before it, and a
//! transition halves channels and sides between blocks. 7.0 M parameters with 3 classes.

use super::operations::{Activation, BatchNorm, Convolution, ConvolutionStart, LinearStart, Operations};

/// Channels that a layer adds.
const GROWTH: i64 = 32;
/// Width of a layer's 1x1 convolution.
const BOTTLENECK: i64 = 4 * GROWTH;
/// Channels of the stem.
const STEM: i64 = 64;
/// Layers per block.
const LAYERS: [i64; 4] = [6, 12, 24, 16];
/// Channels after the last block.
const LAST: i64 = 1024;

fn shape(inputs: i64, outputs: i64, kernel: i64, stride: i64) -> Convolution {
    Convolution { start: ConvolutionStart::FanIn, ..Convolution::same(inputs, outputs, kernel, stride) }
}

/// Batch normalisation, then ReLU.
fn normed<O: Operations>(run: &mut O, x: &O::Value, name: &str, features: i64) -> O::Value {
    let x = run.batch_norm(x, name, BatchNorm::standard(features));
    run.activate(x, Activation::Relu)
}

/// `x` `[n, channels, h, w]` to features `[n, 1024]`.
pub fn features<O: Operations>(run: &mut O, x: &O::Value, channels: i64) -> O::Value {
    let x = run.convolution(x, "features.conv0", shape(channels, STEM, 7, 2));
    let mut x = normed(run, &x, "features.norm0", STEM);
    x = run.max_pool(&x, 3, 2, 1);
    let mut width = STEM;
    for (index, &layers) in LAYERS.iter().enumerate() {
        let number = index + 1;
        x = block(run, &x, &format!("features.denseblock{number}"), [width, layers]);
        width += layers * GROWTH;
        if number < LAYERS.len() {
            let name = format!("features.transition{number}");
            x = normed(run, &x, &format!("{name}.norm"), width);
            x = run.convolution(&x, &format!("{name}.conv"), shape(width, width / 2, 1, 1));
            x = run.average_pool(&x, 2);
            width /= 2;
        }
    }
    let x = normed(run, &x, "features.norm5", LAST);
    let x = run.global_average(&x);
    run.flatten(&x)
}

/// Features `[n, 1024]` to logits `[n, classes]`.
pub fn head<O: Operations>(run: &mut O, features: &O::Value, classes: i64) -> O::Value {
    run.linear(features, "classifier", LAST, classes, LinearStart::UniformBiasZero)
}

fn block<O: Operations>(run: &mut O, x: &O::Value, name: &str, [width, layers]: [i64; 2]) -> O::Value {
    let mut outputs = vec![x.clone()];
    for layer in 0..layers {
        let name = format!("{name}.denselayer{}", layer + 1);
        let inputs = width + layer * GROWTH;
        let y = run.concatenate(&outputs);
        let y = normed(run, &y, &format!("{name}.norm1"), inputs);
        let y = run.convolution(&y, &format!("{name}.conv1"), shape(inputs, BOTTLENECK, 1, 1));
        let y = normed(run, &y, &format!("{name}.norm2"), BOTTLENECK);
        outputs.push(run.convolution(&y, &format!("{name}.conv2"), shape(BOTTLENECK, GROWTH, 3, 1)));
    }
    run.concatenate(&outputs)
}
