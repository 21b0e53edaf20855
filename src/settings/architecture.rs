//! Names of the networks. Their shapes are in `model`.

use serde::{Deserialize, Serialize};

/// A network by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// torchvision's ResNet-18.
    Resnet18,
    /// torchvision's ResNet-34.
    Resnet34,
    /// torchvision's ResNet-50.
    Resnet50,
    /// The compact student, under 1 M parameters.
    CompactResnet,
    /// The smallest student, under 0.1 M parameters.
    TinyResnet,
    /// torchvision's MobileNetV3-small.
    MobilenetV3Small,
    /// torchvision's EfficientNet-B0.
    EfficientnetB0,
    /// torchvision's DenseNet-121.
    Densenet121,
}

impl Architecture {
    /// All networks.
    pub const ALL: [Self; 8] = [
        Self::Resnet18,
        Self::Resnet34,
        Self::Resnet50,
        Self::CompactResnet,
        Self::TinyResnet,
        Self::MobilenetV3Small,
        Self::EfficientnetB0,
        Self::Densenet121,
    ];

    /// The name as TOML and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resnet18 => "resnet18",
            Self::Resnet34 => "resnet34",
            Self::Resnet50 => "resnet50",
            Self::CompactResnet => "compact-resnet",
            Self::TinyResnet => "tiny-resnet",
            Self::MobilenetV3Small => "mobilenet-v3-small",
            Self::EfficientnetB0 => "efficientnet-b0",
            Self::Densenet121 => "densenet121",
        }
    }

    /// The network of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_are_those_of_toml() {
        for architecture in Architecture::ALL {
            assert_eq!(Architecture::from_name(architecture.name()), Some(architecture));
            assert_eq!(serde_json::to_value(architecture).unwrap(), architecture.name());
        }
    }
}
