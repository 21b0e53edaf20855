//! Where grey values change with the heart beat, for each reduced pixel from 0 (still) to the number of slices.
//!
//! Frames are first brought to one brightness: the first frames of a cine are brighter than its steady state, and pictures may each
//! have a window of their own. Then the first harmonic over the cycle (Lin et al. 2006; Tan et al. 2018) is taken and blurred before
//! its amplitude is: borders that beat together add up, noise does not. What exceeds the slice's noise is counted in shares of the
//! brightness around it, so that the side next to the coil does not count more, and saturates: blood that flows counts like a wall.

use ndarray::{Array2, Zip};
use rayon::prelude::*;

use super::blur::{local_mean, smooth};
use super::coarse::CoarseStack;

/// Sigma that averages noise but no neighbouring walls, mm.
const COHERENT_MM: f64 = 3.0;
/// Amplitudes under this many times the slice's median amplitude are noise: of Rayleigh's distribution, 1.3 % lie above.
const NOISE_FACTOR: f32 = 2.5;
/// Amplitudes under this share of the slice's own contrast (standard deviation) are no heart either.
const CONTRAST_SHARE: f32 = 0.02;
/// Sigma of the brightness around a pixel, mm.
const BRIGHTNESS_MM: f64 = 15.0;
/// Share of the slice's mean that is added to it, so that noise in air and lung is not blown up.
const BRIGHTNESS_FLOOR: f32 = 0.25;
/// Relative amplitude that counts half.
const HALF_AMPLITUDE: f32 = 0.02;

/// Each phase's brightness against the mean over phases.
fn gains(phases: &[Array2<f32>], mean: &Array2<f32>) -> Vec<f32> {
    let product =
        |a: &Array2<f32>, b: &Array2<f32>| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    let own = product(mean, mean);
    let gain = |phase: &Array2<f32>| if own > 0.0 { (product(phase, mean) / own) as f32 } else { 1.0 };
    // A frame that is nothing like the others is left as it is.
    phases.iter().map(gain).map(|gain| if (0.2..5.0).contains(&gain) { gain } else { 1.0 }).collect()
}

/// The mean over phases.
pub fn mean_frame(phases: &[Array2<f32>]) -> Array2<f32> {
    let mut mean = Array2::<f32>::zeros(phases[0].dim());
    phases.iter().for_each(|phase| mean += phase);
    mean / phases.len() as f32
}

/// Amplitude of the first harmonic over phases at every pixel of a slice, blurred by `sigma` pixels before it is taken.
fn first_harmonic(phases: &[Array2<f32>], gains: &[f32], sigma: (f64, f64)) -> Array2<f32> {
    let count = phases.len();
    let mut cosine = Array2::<f32>::zeros(phases[0].dim());
    let mut sine = cosine.clone();
    for (phase, frame) in phases.iter().enumerate() {
        let angle = std::f64::consts::TAU * phase as f64 / count as f64;
        let (c, s) = (libm::cos(angle) as f32 / gains[phase], libm::sin(angle) as f32 / gains[phase]);
        cosine.zip_mut_with(frame, |sum, &value| *sum += c * value);
        sine.zip_mut_with(frame, |sum, &value| *sum += s * value);
    }
    let scale = 2.0 / count as f32;
    let mut amplitude = smooth(&cosine, sigma);
    amplitude.zip_mut_with(&smooth(&sine, sigma), |c, &s| *c = scale * (*c * *c + s * s).sqrt());
    amplitude
}

/// The median; the order of equal values does not matter.
pub fn median(values: &Array2<f32>) -> f32 {
    let mut sorted: Vec<f32> = values.iter().copied().collect();
    let middle = sorted.len() / 2;
    *sorted.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// The motion of one slice, 0 to 1 per pixel.
fn slice_motion(phases: &[Array2<f32>], pixel_mm: (f64, f64)) -> Array2<f32> {
    let pixels = |mm: f64| (mm / pixel_mm.0, mm / pixel_mm.1);
    let mean = mean_frame(phases);
    let mut motion = first_harmonic(phases, &gains(phases, &mean), pixels(COHERENT_MM));
    let floor = (NOISE_FACTOR * median(&motion)).max(CONTRAST_SHARE * mean.std(0.0));
    let added = BRIGHTNESS_FLOOR * mean.mean().unwrap_or(0.0).abs();
    Zip::from(&mut motion).and(&local_mean(&mean, pixels(BRIGHTNESS_MM))).for_each(|amplitude, around| {
        let above = (*amplitude - floor).max(0.0);
        let share = above / (around.abs() + added).max(f32::MIN_POSITIVE);
        *amplitude = if share.is_finite() { share / (share + HALF_AMPLITUDE) } else { 0.0 };
    });
    motion
}

/// Sum of the middle slices' motion in the pixels of the first slice; zero for a stack without phases.
pub fn motion_map(stack: &CoarseStack) -> Array2<f32> {
    let mut map = Array2::<f32>::zeros(stack.size);
    let moving = stack.middle_slices().into_par_iter().filter(|&slice| stack.frames[slice].len() > 1);
    let motions: Vec<(usize, Array2<f32>)> =
        moving.map(|slice| (slice, slice_motion(&stack.frames[slice], stack.pixel_mm))).collect();
    for (slice, motion) in motions {
        let (down, right) = stack.shift_pixels(slice);
        for ((row, column), &value) in motion.indexed_iter() {
            let place = (row.checked_add_signed(down), column.checked_add_signed(right));
            if let (Some(row), Some(column)) = place
                && let Some(sum) = map.get_mut((row, column))
            {
                *sum += value;
            }
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wall that moves within 30 to 36 mm of the middle, in light that falls to a fifth from left to right.
    fn lit(brighten: f32) -> Vec<Array2<f32>> {
        let frame = |phase: usize| {
            let beat = 30.0 + 6.0 * libm::sin(std::f64::consts::TAU * phase as f64 / 12.0);
            Array2::from_shape_fn((50, 50), |(row, column)| {
                let distance = (row as f64 * 3.0 - 75.0).hypot(column as f64 * 3.0 - 75.0);
                let light = 1.0 - 0.8 * column as f64 / 49.0;
                let value = light * (50.0 + 100.0 / (1.0 + libm::exp((distance - beat) / 2.0)));
                value as f32 * if phase == 0 { brighten } else { 1.0 }
            })
        };
        (0..12).map(frame).collect()
    }

    #[test]
    fn the_dark_side_counts_as_much_as_the_bright_one() {
        let motion = slice_motion(&lit(1.0), (3.0, 3.0));
        let half = |columns: std::ops::Range<usize>| motion.slice(ndarray::s![.., columns]).sum();
        let (bright, dark) = (half(0..25), half(25..50));
        assert!(dark > 0.7 * bright && bright > 0.7 * dark, "{bright} {dark}");
    }

    #[test]
    fn a_brighter_first_frame_is_no_motion() {
        let (steady, transient) = (slice_motion(&lit(1.0), (3.0, 3.0)), slice_motion(&lit(1.3), (3.0, 3.0)));
        let still = ndarray::s![0..6, ..];
        assert_eq!(transient.slice(still).sum(), 0.0);
        assert!((transient.sum() / steady.sum() - 1.0).abs() < 0.05, "{} {}", transient.sum(), steady.sum());
    }
}
