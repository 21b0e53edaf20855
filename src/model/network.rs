//! The register of networks: one line each for name, features and head.

use serde::{Deserialize, Serialize};

use super::declare::{Declare, Declared};
use super::operations::Operations;
use super::resnet::{COMPACT, RESNET18, Residual};

/// A network by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// torchvision's ResNet-18.
    Resnet18,
    /// The compact student, under 1 M parameters.
    CompactResnet,
}

impl Architecture {
    /// All networks.
    pub const ALL: [Self; 2] = [Self::Resnet18, Self::CompactResnet];

    /// The name as TOML and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resnet18 => "resnet18",
            Self::CompactResnet => "compact-resnet",
        }
    }

    /// The network of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }

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

    #[test]
    fn names_go_both_ways_and_are_those_of_toml() {
        for architecture in Architecture::ALL {
            assert_eq!(Architecture::from_name(architecture.name()), Some(architecture));
            assert_eq!(serde_json::to_value(architecture).unwrap(), architecture.name());
        }
    }
}
