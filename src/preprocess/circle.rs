//! The left ventricle's cavity as the roundest bright thing: a Hough transform of circles on the mean over phases.
//!
//! Every border votes for the places where the middle of a bright disc would lie if the border were its rim. Votes count the
//! share of the rim that is there, not its contrast. A short axis cuts the cavity nearly round at every moment and in every heart,
//! also in those that hardly beat; that the disc is the heart's is for motion to say.

use ndarray::Array2;
use rayon::prelude::*;

use super::blur::{gradient, local_mean, smooth};
use super::coarse::CoarseStack;
use super::motion::mean_frame;

/// Radii that are tried, mm: from an end-systolic cavity to a dilated one.
const RADII_MM: std::ops::RangeInclusive<u32> = 14..=42;
/// Step of the radii, mm.
const RADIUS_STEP_MM: usize = 2;
/// Sigma of the image whose borders vote, mm.
const BORDER_MM: f64 = 2.5;
/// Sigma of the brightness around a pixel, mm.
const BRIGHTNESS_MM: f64 = 20.0;
/// Share of the slice's mean that is added to it.
const BRIGHTNESS_FLOOR: f32 = 0.1;
/// Change of grey value per mm, in shares of the brightness around, that counts half; weaker borders do not vote.
const HALF_SLOPE: f32 = 0.02;
/// Sigma within which votes count as for one place, mm: cavities are not quite round.
const VOTE_MM: f64 = 5.0;

/// For every reduced pixel of the first slice: share of the rim that votes for it, at the best radius, and that radius.
pub struct Circles {
    /// About 1 for a whole rim in every slice.
    pub share: Array2<f32>,
    /// mm.
    pub radius_mm: Array2<f32>,
}

/// A border: where it is, the unit vector (down, right) to its bright side, and its weight.
struct Border {
    place: (f32, f32),
    bright: (f32, f32),
    weight: f32,
}

/// Borders of a slice that are strong enough to vote, in pixels of the first slice.
fn borders(stack: &CoarseStack, slice: usize) -> Vec<Border> {
    let pixels = |mm: f64| (mm / stack.pixel_mm.0, mm / stack.pixel_mm.1);
    let mean = mean_frame(&stack.frames[slice]);
    let around = local_mean(&mean, pixels(BRIGHTNESS_MM));
    let added = BRIGHTNESS_FLOOR * mean.mean().unwrap_or(0.0).abs();
    let (down, right) = gradient(&local_mean(&mean, pixels(BORDER_MM)));
    let (shift_down, shift_right) = stack.shift_pixels(slice);
    let border = |((row, column), &down): ((usize, usize), &f32)| {
        let brightness = (around[(row, column)].abs() + added).max(f32::MIN_POSITIVE);
        let down = down / stack.pixel_mm.0 as f32 / brightness;
        let right = right[(row, column)] / stack.pixel_mm.1 as f32 / brightness;
        let slope = (down * down + right * right).sqrt();
        (slope.is_finite() && slope > HALF_SLOPE).then(|| Border {
            place: (row as f32 + shift_down as f32, column as f32 + shift_right as f32),
            bright: (down / slope, right / slope),
            weight: slope / (slope + HALF_SLOPE),
        })
    };
    down.indexed_iter().filter_map(border).collect()
}

/// Share of a rim of `radius_mm` that votes for each pixel.
fn votes(stack: &CoarseStack, borders: &[Border], radius_mm: f64) -> Array2<f32> {
    let reach = ((radius_mm / stack.pixel_mm.0) as f32, (radius_mm / stack.pixel_mm.1) as f32);
    let mut votes = Array2::<f32>::zeros(stack.size);
    for border in borders {
        let row = (border.place.0 + border.bright.0 * reach.0).round();
        let column = (border.place.1 + border.bright.1 * reach.1).round();
        if row >= 0.0
            && column >= 0.0
            && let Some(sum) = votes.get_mut((row as usize, column as usize))
        {
            *sum += border.weight;
        }
    }
    // From votes per pixel to votes within reach of a place, over the pixels of the rim.
    let area = stack.pixel_mm.0 * stack.pixel_mm.1;
    let within = std::f64::consts::TAU * VOTE_MM * VOTE_MM / area;
    let rim = std::f64::consts::TAU * radius_mm / area.sqrt();
    smooth(&votes, (VOTE_MM / stack.pixel_mm.0, VOTE_MM / stack.pixel_mm.1)) * (within / rim) as f32
}

/// Circles in the middle slices together.
pub fn circles(stack: &CoarseStack) -> Circles {
    let slices = stack.middle_slices();
    let count = slices.len().max(1) as f32;
    let filled = slices.into_par_iter().filter(|&slice| !stack.frames[slice].is_empty());
    let borders: Vec<Vec<Border>> = filled.map(|slice| borders(stack, slice)).collect();
    let borders: Vec<Border> = borders.into_iter().flatten().collect();
    let radii: Vec<u32> = RADII_MM.step_by(RADIUS_STEP_MM).collect();
    let votes_of: Vec<Array2<f32>> =
        radii.par_iter().map(|&radius| votes(stack, &borders, f64::from(radius))).collect();
    let mut best = Circles { share: Array2::zeros(stack.size), radius_mm: Array2::zeros(stack.size) };
    for (radius, votes) in radii.into_iter().zip(votes_of) {
        for ((at, share), votes) in best.share.indexed_iter_mut().zip(votes) {
            if votes / count > *share {
                *share = votes / count;
                best.radius_mm[at] = radius as f32;
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(value: impl Fn(f64, f64) -> f32) -> CoarseStack {
        let frame = Array2::from_shape_fn((60, 60), |(row, column)| {
            value((row as f64 + 0.5) * 3.0, (column as f64 + 0.5) * 3.0)
        });
        CoarseStack {
            frames: vec![vec![frame]],
            size: (60, 60),
            blocks: (2, 2),
            pixel_mm: (3.0, 3.0),
            shifts_mm: vec![(0.0, 0.0)],
        }
    }

    #[test]
    fn a_bright_disc_is_found_with_its_radius_and_a_dark_one_is_not() {
        for radius in [18.0, 26.0, 36.0] {
            let disc = |inside: f32, outside: f32| {
                stack(move |down, right| if (down - 70.0).hypot(right - 100.0) < radius { inside } else { outside })
            };
            let found = circles(&disc(200.0, 80.0));
            let (at, share) = found.share.indexed_iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
            let off = ((at.0 as f64 + 0.5) * 3.0 - 70.0).hypot((at.1 as f64 + 0.5) * 3.0 - 100.0);
            assert!(off < 3.0 && *share > 0.5, "{radius}: {off} {share}");
            assert!((f64::from(found.radius_mm[at]) - radius).abs() <= 4.0, "{radius}: {}", found.radius_mm[at]);
            assert!(circles(&disc(80.0, 200.0)).share[(23, 33)] < 0.2 * share);
        }
    }

    #[test]
    fn an_even_image_has_no_circle() {
        assert_eq!(circles(&stack(|_, _| 50.0)).share.iter().copied().fold(0.0, f32::max), 0.0);
    }
}
