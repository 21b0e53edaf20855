//! The register of networks: a line each for features and head.

use super::declare::{Declare, Declared};
use super::operations::Operations;
use super::resnet::{COMPACT, RESNET18, RESNET34, RESNET50, TINY};
use super::{densenet, efficientnet, mobilenet};
pub use crate::settings::architecture::Architecture;

impl Architecture {
    /// `x` `[n, channels, h, w]` to features `[n, f]`.
    pub fn features<O: Operations>(self, run: &mut O, x: &O::Value, channels: i64) -> O::Value {
        match self {
            Self::Resnet18 => RESNET18.features(run, x, channels),
            Self::Resnet34 => RESNET34.features(run, x, channels),
            Self::Resnet50 => RESNET50.features(run, x, channels),
            Self::CompactResnet => COMPACT.features(run, x, channels),
            Self::TinyResnet => TINY.features(run, x, channels),
            Self::MobilenetV3Small => mobilenet::features(run, x, channels),
            Self::EfficientnetB0 => efficientnet::features(run, x, channels),
            Self::Densenet121 => densenet::features(run, x, channels),
        }
    }

    /// Features `[n, f]` to logits `[n, classes]`: the last layer.
    pub fn head<O: Operations>(self, run: &mut O, features: &O::Value, classes: i64) -> O::Value {
        match self {
            Self::Resnet18 => RESNET18.head(run, features, classes),
            Self::Resnet34 => RESNET34.head(run, features, classes),
            Self::Resnet50 => RESNET50.head(run, features, classes),
            Self::CompactResnet => COMPACT.head(run, features, classes),
            Self::TinyResnet => TINY.head(run, features, classes),
            Self::MobilenetV3Small => mobilenet::head(run, features, classes),
            Self::EfficientnetB0 => efficientnet::head(run, features, classes),
            Self::Densenet121 => densenet::head(run, features, classes),
        }
    }

    /// Least rows and columns of an image: smaller ones have nothing left to pool.
    pub fn least_side_px(self) -> usize {
        match self {
            // A quarter, rounded up, is halved three times, rounded down.
            Self::Densenet121 => 29,
            _ => 1,
        }
    }

    /// Parameters of the last layer: weight `[classes, f]` and bias.
    pub fn declare_head(self, classes: i64) -> Vec<Declared> {
        let mut declare = Declare::default();
        self.head(&mut declare, &(), classes);
        declare.tensors
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

    /// torchvision 0.26: sum of parameter sizes with num_classes=1000, and entries of the state dict.
    #[test]
    fn networks_have_torchvisions_sizes() {
        let known = [
            (Architecture::Resnet18, 11_689_512, 122),
            (Architecture::Resnet34, 21_797_672, 218),
            (Architecture::Resnet50, 25_557_032, 320),
            (Architecture::MobilenetV3Small, 2_542_856, 244),
            (Architecture::EfficientnetB0, 5_288_548, 360),
            (Architecture::Densenet121, 7_978_856, 727),
        ];
        for (architecture, parameters, entries) in known {
            assert_eq!(trained(architecture, 3, 1000), parameters, "{}", architecture.name());
            assert_eq!(architecture.declare(3, 1000).len(), entries, "{}", architecture.name());
        }
    }

    #[test]
    fn the_students_stay_under_their_sizes() {
        assert!(trained(Architecture::CompactResnet, 3, 10) < 1_000_000);
        assert!(trained(Architecture::TinyResnet, 3, 10) < 100_000);
    }
}
