//! What dropout and stochastic depth leave out of a training pass. It follows from seed, step and layer alone, by a stream of its
//! own each: libtorch's generators are not asked, so a resumed run leaves out what the uninterrupted one would have, and so does
//! a run on another device.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use tch::Tensor;

use super::operations::Unit;

/// The choices of one training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// Seed of the run.
    pub seed: u64,
    /// Step of the run.
    pub step: u64,
}

impl LeftOut {
    fn stream(self, layer: &str) -> ChaCha8Rng {
        let hasher = Sha256::new().chain_update(b"left out").chain_update(self.seed.to_le_bytes());
        ChaCha8Rng::from_seed(hasher.chain_update(self.step.to_le_bytes()).chain_update(layer).finalize().into())
    }

    /// What the values of `x` `[n, ...]` are multiplied by at `layer`: 0 for a `share` (0..1) of the units, 1/(1 - share) for the
    /// others. Of `x`'s shape, or `[n, 1, ...]` for whole samples; of its dtype and on its device.
    pub fn factors(self, x: &Tensor, layer: &str, unit: Unit, share: f64) -> Tensor {
        let mut shape = x.size();
        if unit == Unit::Sample {
            shape.iter_mut().skip(1).for_each(|length| *length = 1);
        }
        let count = usize::try_from(shape.iter().product::<i64>()).unwrap_or(0);
        let mut rng = self.stream(layer);
        let limit = share * 2f64.powi(32);
        // Made in float64, so that a float64 network is scaled without float32's rounding.
        let factor = |_| if f64::from(rng.next_u32()) < limit { 0.0 } else { 1.0 / (1.0 - share) };
        let factors: Vec<f64> = (0..count).map(factor).collect();
        Tensor::from_slice(&factors).view(shape.as_slice()).to_kind(x.kind()).to_device(x.device())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    /// A share of 0.25 of 40,000: standard deviation 87, here within 4 of them.
    #[test]
    fn a_share_is_left_out_and_the_rest_is_scaled() {
        let x = Tensor::ones([200, 200], (Kind::Float, Device::Cpu));
        let factors = LeftOut { seed: 3, step: 9 }.factors(&x, "a", Unit::Value, 0.25);
        let zero = factors.eq(0.0).sum(Kind::Int64).int64_value(&[]);
        let scaled = factors.eq_tensor(&(x / 0.75)).sum(Kind::Int64).int64_value(&[]);
        assert!((zero - 10_000).abs() < 350, "{zero}");
        assert_eq!(zero + scaled, 40_000);
    }

    #[test]
    fn samples_are_left_out_whole_and_seed_step_and_layer_each_make_another_choice() {
        let x = Tensor::ones([64, 2, 3, 3], (Kind::Double, Device::Cpu));
        let of = |seed, step, layer| LeftOut { seed, step }.factors(&x, layer, Unit::Sample, 0.5);
        assert_eq!(of(1, 2, "a").size(), [64, 1, 1, 1]);
        assert_eq!(of(1, 2, "a"), of(1, 2, "a"));
        assert!(of(1, 2, "a") != of(2, 2, "a") && of(1, 2, "a") != of(1, 3, "a") && of(1, 2, "a") != of(1, 2, "b"));
    }
}
