//! Random changes of training images, on the device and a batch at a time. What is drawn for a sample depends on the seed, the
//! epoch and the sample alone, not on its batch.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::TrainError;
use super::data::size;
use super::streams::{stream, unit};
use crate::settings::augment::Augmentation;

/// `grid_sampler`'s numbers for bilinear interpolation and for repeating the border.
const BILINEAR: i64 = 0;
const BORDER: i64 = 1;

/// Draws and applies the changes of a run.
#[derive(Debug, Clone)]
pub struct Augmenter {
    ranges: Augmentation,
    seed: u64,
    /// Standard deviation per channel of the training split.
    std: Vec<f64>,
}

/// What is drawn for one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Draw {
    /// Row by row, output coordinates in -1..1 to input coordinates.
    affine: [f32; 6],
    /// Exponent of the grey values.
    gamma: f32,
}

/// Uniform in -1..1.
fn signed(rng: &mut ChaCha8Rng) -> f64 {
    2.0 * unit(rng) - 1.0
}

impl Augmenter {
    /// The changes of a run with this seed; `std` is the deviation per channel of the training split.
    pub fn new(ranges: Augmentation, seed: u64, std: &[f64]) -> Self {
        Self { ranges, seed, std: std.to_vec() }
    }

    /// What sample `row` gets in epoch `epoch`; its noise, c x h x w, goes into `noise`, which is empty when it is off.
    #[expect(clippy::cast_possible_truncation, reason = "images are float32")]
    fn draw(&self, epoch: u64, row: usize, (height, width): (usize, usize), noise: &mut [f32]) -> Draw {
        let Augmentation { shift, rotation_degrees, scale, gamma, noise: most } = self.ranges;
        let mut rng = stream(self.seed, "augment", &[epoch, row as u64]);
        let angle = rotation_degrees.to_radians() * signed(&mut rng);
        let factor = libm::exp(libm::log(1.0 + scale) * signed(&mut rng));
        let (right, down) = (2.0 * shift * signed(&mut rng), 2.0 * shift * signed(&mut rng));
        let gamma = libm::exp(gamma * signed(&mut rng));
        let deviation = most * unit(&mut rng);
        // Coordinates run over -1..1 along each side, so a rotation of an oblong image needs the ratio of the sides.
        let (cosine, sine, ratio) =
            (libm::cos(angle) * factor, libm::sin(angle) * factor, height as f64 / width as f64);
        let affine = [cosine, -sine * ratio, right, sine / ratio, cosine, down].map(|value| value as f32);
        for (channel, std) in noise.chunks_exact_mut((height * width).max(1)).zip(&self.std) {
            let deviation = (deviation * std) as f32;
            channel.fill_with(|| deviation * Distribution::<f32>::sample(&StandardNormal, &mut rng));
        }
        Draw { affine, gamma: gamma as f32 }
    }

    /// Changed copies of the images `x` `[n, c, h, w]` of samples `rows` in epoch `epoch`. Draws run on the current rayon pool.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn apply(
        &self,
        x: &Tensor,
        rows: &[usize],
        epoch: u64,
        pool: &rayon::ThreadPool,
    ) -> Result<Tensor, TrainError> {
        let Augmentation { shift, rotation_degrees, scale, gamma, noise } = self.ranges;
        let (n, _, height, width) = x.size4()?;
        let shape = (usize::try_from(height).unwrap_or(0), usize::try_from(width).unwrap_or(0));
        let per_image = if noise > 0.0 { self.std.len() * shape.0 * shape.1 } else { 0 };
        let mut noises = vec![0.0; rows.len() * per_image];
        let mut parts: Vec<&mut [f32]> = match per_image {
            0 => rows.iter().map(|_| <&mut [f32]>::default()).collect(),
            _ => noises.chunks_exact_mut(per_image).collect(),
        };
        let draw = |(part, &row): (&mut &mut [f32], &usize)| self.draw(epoch, row, shape, part);
        let draws: Vec<Draw> = pool.install(|| parts.par_iter_mut().zip(rows).map(draw).collect());
        let mut x = x.shallow_clone();
        if shift > 0.0 || rotation_degrees > 0.0 || scale > 0.0 {
            let affine: Vec<f32> = draws.iter().flat_map(|draw| draw.affine).collect();
            let affine = Tensor::f_from_slice(&affine)?.f_view([n, 2, 3])?.f_to_device(x.device())?;
            let grid = Tensor::f_affine_grid_generator(&affine, x.size(), false)?;
            x = x.f_grid_sampler(&grid, BILINEAR, BORDER, false)?;
        }
        if gamma > 0.0 {
            let exponents: Vec<f32> = draws.iter().map(|draw| draw.gamma).collect();
            let exponents = Tensor::f_from_slice(&exponents)?.f_view([n, 1, 1, 1])?.f_to_device(x.device())?;
            let low = x.f_amin(&[1i64, 2, 3][..], true)?;
            let range = x.f_amax(&[1i64, 2, 3][..], true)?.f_sub(&low)?.f_clamp_min(1e-6)?;
            let unit = x.f_sub(&low)?.f_div(&range)?.f_clamp(0.0, 1.0)?;
            x = unit.f_pow(&exponents)?.f_mul(&range)?.f_add(&low)?;
        }
        if noise > 0.0 {
            let noise = Tensor::f_from_slice(&noises)?.f_view([n, size(self.std.len()), height, width])?;
            x = x.f_add(&noise.f_to_device(x.device())?)?;
        }
        Ok(x.f_to_kind(Kind::Float)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    const OFF: Augmentation = Augmentation { shift: 0.0, rotation_degrees: 0.0, scale: 0.0, gamma: 0.0, noise: 0.0 };

    fn pool() -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
    }

    fn images() -> Tensor {
        (Tensor::arange(4 * 2 * 12 * 9, (Kind::Float, Device::Cpu)) * 0.37).sin().view([4, 2, 12, 9])
    }

    fn apply(ranges: Augmentation, rows: &[usize], epoch: u64) -> Tensor {
        Augmenter::new(ranges, 1, &[1.0, 2.0]).apply(&images(), rows, epoch, &pool()).unwrap()
    }

    #[test]
    fn ranges_of_zero_change_nothing() {
        assert_eq!(apply(OFF, &[0, 1, 2, 3], 0), images());
    }

    #[test]
    fn what_is_drawn_depends_on_epoch_and_sample_alone() {
        let ranges = Augmentation::default();
        let first = apply(ranges, &[5, 6, 7, 8], 2);
        assert_eq!(first, apply(ranges, &[5, 6, 7, 8], 2));
        assert_ne!(first, apply(ranges, &[5, 6, 7, 8], 3));
        let other = apply(ranges, &[5, 9, 9, 9], 2);
        assert_eq!(first.get(0), other.get(0));
        assert_ne!(first.get(1), other.get(1));
    }

    #[test]
    fn a_shift_moves_the_image_by_no_more_than_its_range() {
        let image = Tensor::zeros([1, 1, 41, 41], (Kind::Float, Device::Cpu));
        let _ = image.get(0).get(0).get(20).get(20).fill_(1.0);
        let augmenter = Augmenter::new(Augmentation { shift: 0.1, ..OFF }, 1, &[1.0]);
        let mut moved = 0;
        for row in 0..20 {
            let found = augmenter.apply(&image, &[row], 0, &pool()).unwrap();
            let at = found.view([-1]).argmax(0, false).int64_value(&[]);
            let (down, right) = ((at / 41 - 20).abs(), (at % 41 - 20).abs());
            assert!(down <= 5 && right <= 5, "{down} {right}");
            moved += i32::from(down + right > 0);
        }
        assert!(moved > 10, "{moved}");
    }

    #[test]
    fn gamma_keeps_the_darkest_and_the_brightest_value() {
        let found = apply(Augmentation { gamma: 0.5, ..OFF }, &[0, 1, 2, 3], 0);
        let low = |x: &Tensor| x.amin(&[1i64, 2, 3][..], false);
        let high = |x: &Tensor| x.amax(&[1i64, 2, 3][..], false);
        assert!(!found.allclose(&images(), 0.0, 1e-3, false));
        assert!(low(&found).allclose(&low(&images()), 1e-5, 1e-6, false));
        assert!(high(&found).allclose(&high(&images()), 1e-5, 1e-6, false));
    }

    #[test]
    fn noise_follows_each_channels_deviation() {
        let noise = apply(Augmentation { noise: 1.0, ..OFF }, &[0, 1, 2, 3], 0) - images();
        let deviation = |channel: i64| noise.select(1, channel).std(false).double_value(&[]);
        assert!((deviation(1) / deviation(0) - 2.0).abs() < 0.35, "{} {}", deviation(0), deviation(1));
    }
}
