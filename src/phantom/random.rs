//! Random streams of the phantom: ChaCha8 per (seed, subject, purpose), so that no thread or order changes a byte.
//!
//! Transcendental functions come from `libm`: the platform's own may differ in the last bit.

use std::sync::OnceLock;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// A random stream of one subject and purpose.
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of `(seed, subject, purpose)`; different parts give independent streams.
    pub fn new(seed: u64, subject: &str, purpose: &str) -> Self {
        Self(ChaCha8Rng::from_seed(digest(seed, &[subject, purpose])))
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// Uniform in [low, high).
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Normal by Box and Muller.
    pub fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        mean + deviation * radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// Normal, drawn again until it lies within `deviations` of the mean.
    pub fn truncated_normal(&mut self, mean: f64, deviation: f64, deviations: f64) -> f64 {
        loop {
            let value = self.normal(0.0, 1.0);
            if libm::fabs(value) <= deviations {
                return mean + deviation * value;
            }
        }
    }

    /// A whole number in 0..`count` (`count` > 0; the bias of the multiplication is under 2^-32).
    pub fn index(&mut self, count: usize) -> usize {
        ((u64::from(self.0.next_u32()) * count as u64) >> 32) as usize
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// Fills with standard normal noise, quantised to the midpoints of 65,536 equally likely intervals (|z| <= 4.17): fast,
    /// and fine enough for images of 12 bits.
    pub fn fill_noise(&mut self, target: &mut [f32]) {
        let table = quantiles();
        for four in target.chunks_mut(4) {
            let mut bits = self.0.next_u64();
            for value in four {
                *value = table[(bits & 0xffff) as usize];
                bits >>= 16;
            }
        }
    }
}

/// SHA-256 over seed and length-prefixed parts.
pub fn digest(seed: u64, parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"groupdistil.phantom/1");
    hasher.update(seed.to_le_bytes());
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

/// A DICOM UID under 2.25 (PS3.5 B.2): a UUID of version 8 (RFC 9562) made from the digest, in decimal.
pub fn uid(seed: u64, parts: &[&str]) -> String {
    let digest = digest(seed, parts);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    format!("2.25.{}", u128::from_be_bytes(bytes))
}

fn quantiles() -> &'static [f32] {
    static TABLE: OnceLock<Vec<f32>> = OnceLock::new();
    TABLE.get_or_init(|| (0..65_536).map(|index| normal_quantile((f64::from(index) + 0.5) / 65_536.0) as f32).collect())
}

/// Inverse of the standard normal distribution by bisection on `erfc`; used 65,536 times, once per process.
fn normal_quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (-6.0, 6.0);
    for _ in 0..48 {
        let middle = 0.5 * (low + high);
        if 0.5 * libm::erfc(-middle / std::f64::consts::SQRT_2) < probability { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_standard_normal() {
        let mut noise = vec![0.0; 400_000];
        Stream::new(1, "a", "b").fill_noise(&mut noise);
        let count = noise.len() as f64;
        let mean = noise.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let square = noise.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / count;
        let fourth = noise.iter().map(|v| f64::from(*v).powi(4)).sum::<f64>() / count;
        // Five standard errors: 5/sqrt(n), 5 sqrt(2/n), 5 sqrt(96/n).
        assert!(mean.abs() < 0.008 && (square - 1.0).abs() < 0.012 && (fourth - 3.0).abs() < 0.08);
    }

    #[test]
    fn quantiles_are_those_of_the_normal_table() {
        // R: qnorm(0.975) = 1.959964, qnorm(0.5) = 0.
        assert!((normal_quantile(0.975) - 1.959_964).abs() < 1e-6);
        assert!(normal_quantile(0.5).abs() < 1e-9);
    }

    #[test]
    fn uids_are_valid_and_differ_by_seed_and_part() {
        let uids = [uid(1, &["a", "b"]), uid(2, &["a", "b"]), uid(1, &["ab"]), uid(1, &["a", "c"])];
        for (index, uid) in uids.iter().enumerate() {
            assert!(uid.len() <= 64 && uid.starts_with("2.25.") && !uid[5..].starts_with('0'));
            assert!(!uids[..index].contains(uid));
        }
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Stream::new(3, "x", "y").shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
