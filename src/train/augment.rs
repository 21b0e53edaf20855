//! Random changes of training images, on the device and a batch at a time. What is drawn for a sample depends on the seed, the
//! epoch and the sample alone, not on its batch.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use tch::{Device, Kind, TchError, Tensor};

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

/// Terms of a bias field: x, y, x^2, xy, y^2 with both coordinates in -1..1.
const FIELD_TERMS: usize = 5;

/// What is drawn for one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Draw {
    /// Row by row, output coordinates in -1..1 to input coordinates.
    affine: [f32; 6],
    /// Exponent of the grey values.
    gamma: f32,
    /// Whether it is mirrored.
    flip: bool,
    /// Deviation of the blur, pixels.
    blur: f64,
    /// Factors of the terms of the logarithm of the bias field.
    field: [f32; FIELD_TERMS],
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
        let Augmentation { shift, rotation_degrees, scale, gamma, noise: most, bias_field, blur, flip } = self.ranges;
        // A stream of its own: what is drawn of the one changes nothing of the other.
        let mut later = stream(self.seed, "augment-later", &[epoch, row as u64]);
        let (flip, blur) = (flip && unit(&mut later) < 0.5, blur * unit(&mut later));
        // Terms are at most 1, so that the field's logarithm stays within its range.
        let field = std::array::from_fn(|_| (bias_field * signed(&mut later) / FIELD_TERMS as f64) as f32);
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
        Draw { affine, gamma: gamma as f32, flip, blur, field }
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
        let Augmentation { shift, rotation_degrees, scale, gamma, noise, bias_field, blur, flip } = self.ranges;
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
        if flip {
            let mirrored: Vec<bool> = draws.iter().map(|draw| draw.flip).collect();
            let mirrored = Tensor::f_from_slice(&mirrored)?.f_view([n, 1, 1, 1])?.f_to_device(x.device())?;
            x = x.f_flip([3])?.f_where_self(&mirrored, &x)?;
        }
        if shift > 0.0 || rotation_degrees > 0.0 || scale > 0.0 {
            let affine: Vec<f32> = draws.iter().flat_map(|draw| draw.affine).collect();
            let affine = Tensor::f_from_slice(&affine)?.f_view([n, 2, 3])?.f_to_device(x.device())?;
            let grid = Tensor::f_affine_grid_generator(&affine, x.size(), false)?;
            x = x.f_grid_sampler(&grid, BILINEAR, BORDER, false)?;
        }
        if blur > 0.0 {
            x = blurred(&x, &draws.iter().map(|draw| draw.blur).collect::<Vec<_>>(), blur)?;
        }
        if bias_field > 0.0 {
            let factors: Vec<f32> = draws.iter().flat_map(|draw| draw.field).collect();
            let field = log_field(&factors, (height, width), x.device())?.f_exp()?;
            x = on_unit_range(&x, |unit| unit.f_mul(&field))?;
        }
        if gamma > 0.0 {
            let exponents: Vec<f32> = draws.iter().map(|draw| draw.gamma).collect();
            let exponents = Tensor::f_from_slice(&exponents)?.f_view([n, 1, 1, 1])?.f_to_device(x.device())?;
            x = on_unit_range(&x, |unit| unit.f_pow(&exponents))?;
        }
        if noise > 0.0 {
            let noise = Tensor::f_from_slice(&noises)?.f_view([n, size(self.std.len()), height, width])?;
            x = x.f_add(&noise.f_to_device(x.device())?)?;
        }
        Ok(x.f_to_kind(Kind::Float)?)
    }
}

/// Images changed while their grey values are brought to 0..1, each image by its own darkest and brightest value.
fn on_unit_range(x: &Tensor, change: impl FnOnce(&Tensor) -> Result<Tensor, TchError>) -> Result<Tensor, TchError> {
    let low = x.f_amin(&[1i64, 2, 3][..], true)?;
    let range = x.f_amax(&[1i64, 2, 3][..], true)?.f_sub(&low)?.f_clamp_min(1e-6)?;
    let unit = x.f_sub(&low)?.f_div(&range)?.f_clamp(0.0, 1.0)?;
    change(&unit)?.f_mul(&range)?.f_add(&low)
}

/// The logarithm of each sample's bias field, `[n, 1, h, w]`, from the factors of its terms.
#[expect(clippy::cast_possible_truncation, reason = "images are float32")]
fn log_field(factors: &[f32], (height, width): (i64, i64), device: Device) -> Result<Tensor, TchError> {
    let place = |index: i64, count: i64| (2.0 * (index as f64 + 0.5) / count as f64 - 1.0) as f32;
    let terms: Vec<f32> = (0..height)
        .flat_map(|row| (0..width).map(move |column| (place(row, height), place(column, width))))
        .flat_map(|(y, x)| [x, y, x * x, x * y, y * y])
        .collect();
    let terms = Tensor::f_from_slice(&terms)?.f_view([height * width, size(FIELD_TERMS)])?.f_to_device(device)?;
    let factors = Tensor::f_from_slice(factors)?.f_view([-1, size(FIELD_TERMS)])?.f_to_device(device)?;
    factors.f_matmul(&terms.f_tr()?)?.f_view([-1, 1, height, width])
}

/// Images blurred by a Gaussian of each one's deviation in pixels, none above `most`. Beyond the border its pixels are repeated.
#[expect(clippy::cast_possible_truncation, reason = "images are float32, and a kernel has some sixty places")]
fn blurred(x: &Tensor, deviations: &[f64], most: f64) -> Result<Tensor, TchError> {
    let (n, channels, height, width) = x.size4()?;
    let reach = (3.0 * most).ceil() as i64;
    let kernels: Vec<f32> = deviations
        .iter()
        .flat_map(|&deviation| {
            let weight = |place: i64| libm::exp(-0.5 * (place as f64 / deviation.max(1e-3)).powi(2));
            let sum: f64 = (-reach..=reach).map(weight).sum();
            (-reach..=reach).map(move |place| (weight(place) / sum) as f32).collect::<Vec<_>>()
        })
        .collect();
    // Every image and channel is a channel of one image, with a kernel of its own.
    let kernels = Tensor::f_from_slice(&kernels)?.f_view([n, 1, 2 * reach + 1])?.f_to_device(x.device())?;
    let kernels = kernels.f_repeat_interleave_self_int(channels, 0, n * channels)?;
    let groups = n * channels;
    let x = x.f_contiguous()?.f_view([1, groups, height, width])?;
    let x = x.f_replication_pad2d([0, 0, reach, reach])?;
    let x = x.f_conv2d(&kernels.f_unsqueeze(3)?, None::<Tensor>, [1, 1], [0, 0], [1, 1], groups)?;
    let x = x.f_replication_pad2d([reach, reach, 0, 0])?;
    let x = x.f_conv2d(&kernels.f_unsqueeze(2)?, None::<Tensor>, [1, 1], [0, 0], [1, 1], groups)?;
    x.f_view([n, channels, height, width])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Augmentation = Augmentation::OFF;

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

    #[test]
    fn a_flip_mirrors_some_images_whole_and_left_to_right() {
        let (plain, mirrored) = (images(), images().flip([3]));
        let mut flipped = 0;
        for epoch in 0..25 {
            let found = apply(Augmentation { flip: true, ..OFF }, &[0, 1, 2, 3], epoch);
            for row in 0..4 {
                let is_mirrored = found.get(row) == mirrored.get(row);
                assert!(is_mirrored || found.get(row) == plain.get(row));
                flipped += usize::from(is_mirrored);
            }
        }
        assert!((30..70).contains(&flipped), "{flipped} of 100");
    }

    /// Weights of a Gaussian with deviation 2 at distances 0 to 3, divided by their sum over -6..=6: by hand (scipy.stats.norm.pdf).
    #[test]
    fn a_blur_spreads_a_point_as_a_gaussian_of_its_deviation() {
        let point = Tensor::zeros([2, 1, 41, 41], (Kind::Float, Device::Cpu));
        let _ = point.select(2, 20).select(2, 20).fill_(1.0);
        let found = blurred(&point, &[2.0, 0.0], 2.0).unwrap();
        assert!(found.get(1).allclose(&point.get(1), 0.0, 1e-6, false), "no deviation, no blur");
        assert!((found.get(0).sum(Kind::Double).double_value(&[]) - 1.0).abs() < 1e-5);
        let densities = [0.199_471_1, 0.176_032_7, 0.120_985_4, 0.064_758_8];
        let sum = 0.998_830_0;
        for (distance, density) in (0_i64..).zip(densities) {
            let value = found.double_value(&[0, 0, 20, 20 + distance]);
            let expected = (density / sum) * (densities[0] / sum);
            assert!((value - expected).abs() < 2e-5, "{distance}: {value} {expected}");
        }
        let flat = Tensor::full([1, 2, 9, 7], 3.5, (Kind::Float, Device::Cpu));
        assert!(blurred(&flat, &[1.5], 1.5).unwrap().allclose(&flat, 1e-6, 1e-6, false), "the border is repeated");
    }

    #[test]
    fn a_bias_field_is_smooth_within_its_range_and_keeps_the_darkest_value() {
        let factors = [0.2_f32, -0.2, 0.2, 0.2, -0.2, 0.0, 0.0, 0.0, 0.0, 0.0];
        let log = log_field(&factors, (40, 30), Device::Cpu).unwrap();
        assert_eq!(log.size(), [2, 1, 40, 30]);
        assert!(log.abs().max().double_value(&[]) <= 1.0);
        assert_eq!(log.get(1).abs().max().double_value(&[]), 0.0);
        // x = 2 (29 + 0.5) / 30 - 1, y = 2 (0 + 0.5) / 40 - 1: 0.2 (x - y + x^2 + xy - y^2) by hand.
        assert!(
            (log.double_value(&[0, 0, 0, 29]) - 0.2 * (0.966_667 + 0.975 + 0.934_444 - 0.9425 - 0.950_625)).abs()
                < 1e-5
        );
        // A polynomial of second order has no third differences.
        let thirds = log.diff(3, 2, None::<Tensor>, None::<Tensor>).abs().max().double_value(&[]);
        assert!(thirds < 1e-5, "{thirds}");
        let found = apply(Augmentation { bias_field: 0.5, ..OFF }, &[0, 1, 2, 3], 0);
        let low = |x: &Tensor| x.amin(&[1i64, 2, 3][..], false);
        assert!(low(&found).allclose(&low(&images()), 1e-5, 1e-5, false));
        assert!(!found.allclose(&images(), 0.0, 1e-2, false));
    }

    #[test]
    fn what_came_later_leaves_the_other_draws_as_they_were() {
        let ranges = Augmentation { shift: 0.1, noise: 0.2, ..OFF };
        let both = Augmentation { flip: true, ..ranges };
        let (alone, with) = (apply(ranges, &[0, 1, 2, 3], 0), apply(both, &[0, 1, 2, 3], 0));
        let same = (0..4).filter(|&row| alone.get(row) == with.get(row)).count();
        assert!((1..4).contains(&same), "images that are not mirrored are the same: {same}");
    }
}
