//! Precision and memory format of a run: what was asked for, or what is faster for this network on this device.

use tch::Device;

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
        let fast = Self::fastest(device, has_bfloat16());
        Self {
            bfloat16: match settings.precision {
                Precision::Auto => fast.bfloat16,
                Precision::Float32 => false,
                Precision::Bfloat16 => true,
            },
            channels_last: settings.channels_last.unwrap_or(fast.channels_last),
        }
    }

    /// From measurements, not from a race at run time, whose outcome would change results from run to run.
    ///
    /// CPU seconds per training step of 64 images of 2 x 80 x 80 (Zen 4 with AVX512-BF16, one thread, mean of 2, `resnet18` in bfloat16 once):
    ///
    /// | | float32 | + channels-last | bfloat16 | + channels-last |
    /// |---|---|---|---|---|
    /// | `compact-resnet` | 0.084 | 0.055 | 0.061 | 0.043 |
    /// | `resnet18` | 0.598 | 0.573 | 0.408 | 0.370 |
    ///
    /// GPUs were not measured here; there, float32 in the usual order is what results are expected from, without TF32 (`shim.cpp`).
    fn fastest(device: Device, has_bfloat16: bool) -> Self {
        let cpu = device == Device::Cpu;
        Self { bfloat16: cpu && has_bfloat16, channels_last: cpu }
    }
}

/// Whether the CPU multiplies bfloat16 itself; emulation is slower than float32.
fn has_bfloat16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::train::TrainWire;

    #[test]
    fn what_was_asked_for_wins_over_what_is_faster() {
        let choose = |text: &str| {
            let wire: TrainWire = toml::from_str(text).unwrap();
            Arithmetic::choose(&TrainSettings::from_wire(&wire, 0, None, None).unwrap(), Device::Cpu)
        };
        assert_eq!(choose(""), Arithmetic { bfloat16: has_bfloat16(), channels_last: true });
        let asked = choose("precision = \"bfloat16\"\nchannels_last = false");
        assert_eq!(asked, Arithmetic { bfloat16: true, channels_last: false });
        assert!(!choose("precision = \"float32\"").bfloat16);
        assert!(!Arithmetic::fastest(Device::Cpu, false).bfloat16);
    }
}
