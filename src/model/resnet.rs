//! Residual networks (He et al. 2016), with torchvision's names.
//!
//! | | stem | blocks per stage | widths | parameters (2 channels, 3 classes) |
//! |---|---|---|---|---|
//! | `resnet18` | 7x7 / 2, max pool / 2 | basic, 2, 2, 2, 2 | 64, 128, 256, 512 | 11.2 M |
//! | `resnet34` | 7x7 / 2, max pool / 2 | basic, 3, 4, 6, 3 | 64, 128, 256, 512 | 21.3 M |
//! | `resnet50` | 7x7 / 2, max pool / 2 | bottleneck, 3, 4, 6, 3 | 256, 512, 1024, 2048 | 23.5 M |
//! | `compact-resnet` | 3x3 / 2, max pool / 2 | basic, 1, 1, 1, 1 | 24, 48, 96, 144 | 0.50 M |
//! | `tiny-resnet` | 3x3 / 2, max pool / 2 | basic, 1, 1, 1, 1 | 8, 16, 32, 48 | 0.06 M |

use super::operations::{Activation, BatchNorm, Convolution, LinearStart, Operations};

/// Two 3x3 convolutions, or a 3x3 between two 1x1, of which the last has four times the width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Basic,
    Bottleneck,
}

impl Block {
    /// Output channels per unit of width.
    fn expansion(self) -> i64 {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// What tells the residual networks apart.
#[derive(Debug, Clone, Copy)]
pub struct Residual {
    stem_kernel: i64,
    block: Block,
    widths: [i64; 4],
    blocks: [usize; 4],
}

const WIDTHS: [i64; 4] = [64, 128, 256, 512];

/// torchvision's `resnet18`.
pub const RESNET18: Residual = Residual { stem_kernel: 7, block: Block::Basic, widths: WIDTHS, blocks: [2, 2, 2, 2] };
/// torchvision's `resnet34`.
pub const RESNET34: Residual = Residual { stem_kernel: 7, block: Block::Basic, widths: WIDTHS, blocks: [3, 4, 6, 3] };
/// torchvision's `resnet50`: the stride is in the 3x3 convolution ("V1.5").
pub const RESNET50: Residual =
    Residual { stem_kernel: 7, block: Block::Bottleneck, widths: WIDTHS, blocks: [3, 4, 6, 3] };
/// Our students: one block a stage, narrow, under 1 M parameters; their Python twin is `tests/python/small_resnets.py`.
pub const COMPACT: Residual =
    Residual { stem_kernel: 3, block: Block::Basic, widths: [24, 48, 96, 144], blocks: [1, 1, 1, 1] };
/// A third of the compact one's widths, for networks that must be very small and for studies of many runs.
pub const TINY: Residual = Residual { widths: [8, 16, 32, 48], ..COMPACT };

impl Residual {
    /// `x` `[n, channels, h, w]` to features `[n, f]`.
    pub fn features<O: Operations>(self, run: &mut O, x: &O::Value, channels: i64) -> O::Value {
        let stem = Convolution::same(channels, self.widths[0], self.stem_kernel, 2);
        let mut x = normed(run, x, ["conv1", "bn1"], stem, Activation::Relu);
        x = run.max_pool(&x, 3, 2, 1);
        let mut inputs = self.widths[0];
        for (stage, (&width, &blocks)) in self.widths.iter().zip(&self.blocks).enumerate() {
            for block in 0..blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let name = format!("layer{}.{block}", stage + 1);
                x = self.residual_block(run, &x, &name, [inputs, width, stride]);
                inputs = width * self.block.expansion();
            }
        }
        let x = run.global_average(&x);
        run.flatten(&x)
    }

    /// Features `[n, f]` to logits `[n, classes]`.
    pub fn head<O: Operations>(self, run: &mut O, features: &O::Value, classes: i64) -> O::Value {
        run.linear(features, "fc", self.widths[3] * self.block.expansion(), classes, LinearStart::Uniform)
    }

    fn residual_block<O: Operations>(self, run: &mut O, x: &O::Value, name: &str, sizes: [i64; 3]) -> O::Value {
        let [inputs, width, stride] = sizes;
        let layers = match self.block {
            Block::Basic => vec![Convolution::same(inputs, width, 3, stride), Convolution::same(width, width, 3, 1)],
            Block::Bottleneck => vec![
                Convolution::same(inputs, width, 1, 1),
                Convolution::same(width, width, 3, stride),
                Convolution::same(width, 4 * width, 1, 1),
            ],
        };
        let mut y = x.clone();
        for (index, &shape) in layers.iter().enumerate() {
            let number = index + 1;
            let names = [format!("{name}.conv{number}"), format!("{name}.bn{number}")];
            let activation = if number < layers.len() { Activation::Relu } else { Activation::Identity };
            y = normed(run, &y, [&names[0], &names[1]], shape, activation);
        }
        let outputs = width * self.block.expansion();
        let shortcut = if stride != 1 || inputs != outputs {
            let names = [format!("{name}.downsample.0"), format!("{name}.downsample.1")];
            let shape = Convolution::same(inputs, outputs, 1, stride);
            normed(run, x, [&names[0], &names[1]], shape, Activation::Identity)
        } else {
            x.clone()
        };
        let sum = run.add(y, &shortcut);
        run.activate(sum, Activation::Relu)
    }
}

/// A convolution, batch normalisation and an activation; `names` of the first two.
fn normed<O: Operations>(
    run: &mut O,
    x: &O::Value,
    names: [&str; 2],
    shape: Convolution,
    activation: Activation,
) -> O::Value {
    let x = run.convolution(x, names[0], shape);
    let x = run.batch_norm(&x, names[1], BatchNorm::standard(shape.outputs));
    run.activate(x, activation)
}
