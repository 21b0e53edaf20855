//! Starting values of a network, torchvision's distributions, from a stream of their own: each tensor's values depend on the
//! seed and its name alone, so neither libtorch's generator nor the order of layers matters.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use super::declare::{Declared, Start};

/// The starting tensor of a declaration, float32 (int64 for counts), on the CPU.
pub fn start(declared: &Declared, seed: u64) -> Tensor {
    let shape = declared.shape.as_slice();
    let tensor = match declared.start {
        Start::Constant(value) => Tensor::full(shape, value, (Kind::Float, tch::Device::Cpu)),
        Start::Normal(deviation) => {
            random(declared, seed, |rng| Distribution::<f64>::sample(&StandardNormal, rng) * deviation)
        }
        Start::Uniform(bound) => {
            random(declared, seed, |rng| (2.0 * Distribution::<f64>::sample(&StandardUniform, rng) - 1.0) * bound)
        }
    };
    if declared.is_count { tensor.to_kind(Kind::Int64) } else { tensor }
}

#[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
fn random(declared: &Declared, seed: u64, mut value: impl FnMut(&mut ChaCha8Rng) -> f64) -> Tensor {
    let digest = Sha256::new().chain_update(b"weights").chain_update(seed.to_le_bytes()).chain_update(&declared.name);
    let mut rng = ChaCha8Rng::from_seed(digest.finalize().into());
    let count = usize::try_from(declared.shape.iter().product::<i64>()).unwrap_or(0);
    let values: Vec<f32> = (0..count).map(|_| value(&mut rng) as f32).collect();
    Tensor::from_slice(&values).view(declared.shape.as_slice())
}
