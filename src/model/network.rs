//! The register of networks: one line each for name, features and head.

use super::declare::{Declare, Declared};
use super::operations::Operations;
use super::resnet::{COMPACT, RESNET18, Residual};
pub use crate::settings::architecture::Architecture;

impl Architecture {
    fn residual(self) -> Residual {
        match self {
            Self::Resnet18 => RESNET18,
            Self::CompactResnet => COMPACT,
        }
    }

    /// Width of the features before the last layer.
    pub fn feature_count(self) -> i64 {
        self.residual().feature_count()
    }

    /// `x` `[n, channels, h, w]` to features `[n, f]`.
    pub fn features<O: Operations>(self, run: &mut O, x: &O::Value, channels: i64) -> O::Value {
        self.residual().features(run, x, channels)
    }

    /// Features `[n, f]` to logits `[n, classes]`.
    pub fn head<O: Operations>(self, run: &mut O, features: &O::Value, classes: i64) -> O::Value {
        self.residual().head(run, features, classes)
    }

    /// Parameters and buffers in torchvision's state-dict order.
    pub fn declare(self, channels: i64, classes: i64) -> Vec<Declared> {
        let mut declare = Declare::default();
        self.features(&mut declare, &(), channels);
        self.head(&mut declare, &(), classes);
        declare.tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained(architecture: Architecture, channels: i64, classes: i64) -> i64 {
        let declared = architecture.declare(channels, classes);
        declared.iter().filter(|one| !one.is_buffer).map(|one| one.shape.iter().product::<i64>()).sum()
    }

    /// torchvision 0.26: sum of parameter sizes of resnet18(num_classes=1000) is 11,689,512; its state dict has 122 entries.
    #[test]
    fn resnet18_has_torchvisions_size() {
        assert_eq!(trained(Architecture::Resnet18, 3, 1000), 11_689_512);
        assert_eq!(Architecture::Resnet18.declare(3, 1000).len(), 122);
    }

    #[test]
    fn the_compact_student_stays_under_a_million_parameters() {
        assert!(trained(Architecture::CompactResnet, 3, 10) < 1_000_000);
    }
}
