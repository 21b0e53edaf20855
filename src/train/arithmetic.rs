//! Precision and memory format of a run: what was asked for, or what is faster for this network on this device.

use tch::Device;

use crate::settings::architecture::Architecture;
use crate::settings::train::{Precision, TrainSettings};

/// What a run computes with. It does not change when a run is resumed elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arithmetic {
    /// Training passes in bfloat16 autocast; evaluation is always float32.
    pub bfloat16: bool,
    /// Images and weights in channels-last memory order.
    pub channels_last: bool,
}

impl Arithmetic {
    /// The choice for these settings on this device.
    pub fn choose(settings: &TrainSettings, device: Device) -> Self {
        let fast = Self::fastest(settings.arch, device, has_bfloat16());
        Self {
            bfloat16: match settings.precision {
                Precision::Auto => fast.bfloat16,
                Precision::Float32 => false,
                Precision::Bfloat16 => true,
            },
            channels_last: settings.channels_last.unwrap_or(fast.channels_last),
        }
    }

    fn fastest(_architecture: Architecture, _device: Device, _has_bfloat16: bool) -> Self {
        Self { bfloat16: false, channels_last: false }
    }
}

/// Whether the CPU multiplies bfloat16 itself; emulation is slower than float32.
fn has_bfloat16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}
