//! Residual networks of basic blocks (He et al. 2016), with torchvision's names: ResNet-18, and the compact ResNet.
//!
//! | | stem | stages | widths | parameters (2 channels, 3 classes) |
//! |---|---|---|---|---|
//! | `resnet18` | 7x7 / 2, max pool / 2 | 2, 2, 2, 2 blocks | 64, 128, 256, 512 | 11.2 M |
//! | `compact-resnet` | 3x3 / 2, max pool / 2 | 1, 1, 1, 1 blocks | 24, 48, 96, 144 | 0.65 M |

use super::operations::{Convolution, LinearStart, Operations};

/// torch.nn.BatchNorm2d's default.
const EPSILON: f64 = 1e-5;

/// What tells the residual networks of basic blocks apart.
#[derive(Debug, Clone, Copy)]
pub struct Residual {
    stem_kernel: i64,
    widths: [i64; 4],
    blocks: [usize; 4],
}

/// torchvision's `resnet18`.
pub const RESNET18: Residual = Residual { stem_kernel: 7, widths: [64, 128, 256, 512], blocks: [2, 2, 2, 2] };
/// Our student: one block a stage, narrow, under 1 M parameters; its Python twin is `tests/python/compact_resnet.py`.
pub const COMPACT: Residual = Residual { stem_kernel: 3, widths: [24, 48, 96, 144], blocks: [1, 1, 1, 1] };

impl Residual {
    /// Width of the features before the last layer.
    pub fn feature_count(self) -> i64 {
        self.widths[3]
    }

    /// `x` `[n, channels, h, w]` to features `[n, feature_count]`.
    pub fn features<O: Operations>(self, run: &mut O, x: &O::Value, channels: i64) -> O::Value {
        let stem = Convolution::same(channels, self.widths[0], self.stem_kernel, 2);
        let x = run.convolution(x, "conv1", stem);
        let x = run.batch_norm(&x, "bn1", self.widths[0], EPSILON);
        let x = run.relu(&x);
        let mut x = run.max_pool(&x, 3, 2, 1);
        let mut inputs = self.widths[0];
        for (stage, (&width, &blocks)) in self.widths.iter().zip(&self.blocks).enumerate() {
            for block in 0..blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                x = basic_block(run, &x, &format!("layer{}.{block}", stage + 1), [inputs, width, stride]);
                inputs = width;
            }
        }
        run.global_average(&x)
    }

    /// Features `[n, feature_count]` to logits `[n, classes]`.
    pub fn head<O: Operations>(self, run: &mut O, features: &O::Value, classes: i64) -> O::Value {
        run.linear(features, "fc", self.widths[3], classes, LinearStart::Uniform)
    }
}

fn basic_block<O: Operations>(run: &mut O, x: &O::Value, name: &str, [inputs, width, stride]: [i64; 3]) -> O::Value {
    let y = run.convolution(x, &format!("{name}.conv1"), Convolution::same(inputs, width, 3, stride));
    let y = run.batch_norm(&y, &format!("{name}.bn1"), width, EPSILON);
    let y = run.relu(&y);
    let y = run.convolution(&y, &format!("{name}.conv2"), Convolution::same(width, width, 3, 1));
    let y = run.batch_norm(&y, &format!("{name}.bn2"), width, EPSILON);
    let shortcut = if stride != 1 || inputs != width {
        let z = run.convolution(x, &format!("{name}.downsample.0"), Convolution::same(inputs, width, 1, stride));
        run.batch_norm(&z, &format!("{name}.downsample.1"), width, EPSILON)
    } else {
        x.clone()
    };
    let sum = run.add(&y, &shortcut);
    run.relu(&sum)
}
