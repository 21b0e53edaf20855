//! The heart in a cine: where grey values change with the heart beat.
//!
//! The first harmonic of each pixel over the cycle (Lin et al. 2006; Tan et al. 2018) is large at the heart's borders in every slice
//! and small where only noise, breathing or a vessel moves in one slice. Its amplitude, less the noise floor of its slice, is summed
//! over slices in the common plane, smoothed to the size of a heart, and weighted by a broad prior around the image's centre; from
//! the highest place a mean shift finds the centre of the motion. Static stacks fall back to the image's centre.

use ndarray::Array2;

use super::coarse::CoarseStack;
use super::resample::gaussian;

/// Sigma that merges the borders of one heart into one hill, mm.
const MERGE_MM: f64 = 14.0;
/// Radius of the mean shift, mm: a dilated heart fits inside.
const SHIFT_RADIUS_MM: f64 = 55.0;
/// Share of the field of view that is the sigma of the prior: hearts are imaged near the centre.
const PRIOR_SHARE: f64 = 0.25;
/// Amplitudes under this many times the slice's median amplitude are noise.
const NOISE_FACTOR: f32 = 2.5;
/// Amplitudes under this share of the slice's own contrast (standard deviation) are no heart either.
const CONTRAST_SHARE: f32 = 0.02;
/// Below this confidence the heart counts as not found.
pub const LOW_CONFIDENCE: f64 = 0.3;

/// Where the heart is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heart {
    /// Centre in the common plane, (down, right) from the border of the first slice's first pixel, mm.
    pub centre_mm: (f64, f64),
    /// 0 to 1: the share of all motion that lies within a heart's radius, against what an even spread would give.
    pub confidence: f64,
    /// Whether it was found by motion; otherwise the image's centre.
    pub by_motion: bool,
}

/// Amplitude of the first harmonic over phases at every pixel of a slice.
fn first_harmonic(phases: &[Array2<f32>]) -> Array2<f32> {
    let count = phases.len();
    let mut cosine = Array2::<f32>::zeros(phases[0].dim());
    let mut sine = cosine.clone();
    for (phase, frame) in phases.iter().enumerate() {
        let angle = std::f64::consts::TAU * phase as f64 / count as f64;
        let (c, s) = (libm::cos(angle) as f32, libm::sin(angle) as f32);
        cosine.zip_mut_with(frame, |sum, &value| *sum += c * value);
        sine.zip_mut_with(frame, |sum, &value| *sum += s * value);
    }
    let scale = 2.0 / count as f32;
    cosine.zip_mut_with(&sine, |c, &s| *c = scale * (*c * *c + s * s).sqrt());
    cosine
}

/// The median; the order of equal values does not matter.
fn median(values: &Array2<f32>) -> f32 {
    let mut sorted: Vec<f32> = values.iter().copied().collect();
    let middle = sorted.len() / 2;
    *sorted.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// Sum over slices of the amplitudes above noise, in the pixels of the first slice.
fn motion_map(stack: &CoarseStack) -> Array2<f32> {
    let mut map = Array2::<f32>::zeros(stack.size);
    for slice in stack.middle_slices() {
        if stack.frames[slice].len() < 2 {
            continue;
        }
        let amplitude = first_harmonic(&stack.frames[slice]);
        let contrast = stack.frames[slice][0].std(0.0);
        let floor = (NOISE_FACTOR * median(&amplitude)).max(CONTRAST_SHARE * contrast);
        let shift = stack.shifts_mm[slice];
        let rows = (shift.0 / stack.pixel_mm.0).round() as i64;
        let columns = (shift.1 / stack.pixel_mm.1).round() as i64;
        for ((row, column), &value) in amplitude.indexed_iter() {
            let target = (usize::try_from(row as i64 + rows), usize::try_from(column as i64 + columns));
            if let (Ok(row), Ok(column)) = target
                && let Some(sum) = map.get_mut((row, column))
            {
                *sum += (value - floor).max(0.0);
            }
        }
    }
    map
}

/// Separable Gaussian with zero outside.
fn smooth(map: &Array2<f32>, sigma: (f64, f64)) -> Array2<f32> {
    let along = |map: &Array2<f32>, sigma: f64| {
        let weights: Vec<f32> = gaussian(sigma).into_iter().map(|weight| weight as f32).collect();
        let radius = weights.len() / 2;
        let (rows, columns) = map.dim();
        Array2::from_shape_fn((columns, rows), |(column, row)| {
            let low = column.saturating_sub(radius);
            let high = (column + radius + 1).min(columns);
            (low..high).map(|other| weights[other + radius - column] * map[(row, other)]).sum()
        })
    };
    along(&along(map, sigma.1), sigma.0)
}

/// Centre of the map's values within `radius` mm of `centre`.
fn centroid(stack: &CoarseStack, map: &Array2<f32>, centre: (f64, f64), radius: f64) -> Option<(f64, f64, f64)> {
    let (mut down, mut right, mut total) = (0.0, 0.0, 0.0);
    for ((row, column), &value) in map.indexed_iter() {
        let place = ((row as f64 + 0.5) * stack.pixel_mm.0, (column as f64 + 0.5) * stack.pixel_mm.1);
        let (from_down, from_right) = (place.0 - centre.0, place.1 - centre.1);
        let distance = from_down * from_down + from_right * from_right;
        if distance <= radius * radius {
            let weight = f64::from(value);
            down += weight * place.0;
            right += weight * place.1;
            total += weight;
        }
    }
    (total > 0.0).then(|| (down / total, right / total, total))
}

/// Finds the heart.
pub fn localise(stack: &CoarseStack) -> Heart {
    let extent = stack.extent_mm();
    let middle = (extent.0 / 2.0, extent.1 / 2.0);
    let fallback = Heart { centre_mm: middle, confidence: 0.0, by_motion: false };
    let map = motion_map(stack);
    let total: f64 = map.iter().map(|&value| f64::from(value)).sum();
    if !(total.is_finite() && total > 0.0) {
        return fallback;
    }
    let hill = smooth(&map, (MERGE_MM / stack.pixel_mm.0, MERGE_MM / stack.pixel_mm.1));
    let prior = |row: usize, column: usize| {
        let down = ((row as f64 + 0.5) * stack.pixel_mm.0 - middle.0) / (PRIOR_SHARE * extent.0);
        let right = ((column as f64 + 0.5) * stack.pixel_mm.1 - middle.1) / (PRIOR_SHARE * extent.1);
        libm::exp(-0.5 * (down * down + right * right))
    };
    let mut best = (f64::NEG_INFINITY, middle);
    for ((row, column), &value) in hill.indexed_iter() {
        let score = f64::from(value) * prior(row, column);
        if score > best.0 {
            best = (score, ((row as f64 + 0.5) * stack.pixel_mm.0, (column as f64 + 0.5) * stack.pixel_mm.1));
        }
    }
    let mut centre = best.1;
    let mut inside = 0.0;
    for _ in 0..8 {
        let Some((down, right, mass)) = centroid(stack, &map, centre, SHIFT_RADIUS_MM) else { return fallback };
        centre = (down, right);
        inside = mass;
    }
    let area = (std::f64::consts::PI * SHIFT_RADIUS_MM * SHIFT_RADIUS_MM / (extent.0 * extent.1)).min(1.0);
    let share = inside / total;
    // An even spread has the share of the area: confidence 0; all motion inside: 1.
    let confidence = if area < 1.0 { ((share - area) / (1.0 - area)).clamp(0.0, 1.0) } else { 0.0 };
    if confidence < LOW_CONFIDENCE / 3.0 {
        return Heart { confidence, ..fallback };
    }
    Heart { centre_mm: centre, confidence, by_motion: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring whose radius beats about (60, 70) mm in noise-free surroundings, 3 mm pixels.
    fn beating(slices: usize, phases: usize, amplitude: f64) -> CoarseStack {
        let frame = |phase: usize| {
            let beat = libm::cos(std::f64::consts::TAU * phase as f64 / phases as f64);
            Array2::from_shape_fn((60, 60), |(row, column)| {
                let down = (row as f64 + 0.5) * 3.0 - 60.0;
                let right = (column as f64 + 0.5) * 3.0 - 70.0;
                let radius = 24.0 + amplitude * beat;
                let texture = ((row * 31 + column * 17) % 7) as f32;
                100.0 / (1.0 + libm::exp((down.hypot(right) - radius) / 2.0)) as f32 + texture
            })
        };
        CoarseStack {
            frames: (0..slices).map(|_| (0..phases).map(frame).collect()).collect(),
            size: (60, 60),
            blocks: (2, 2),
            pixel_mm: (3.0, 3.0),
            shifts_mm: vec![(0.0, 0.0); slices],
        }
    }

    #[test]
    fn a_beating_ring_is_found_at_its_centre() {
        for phases in [2, 8, 25] {
            let heart = localise(&beating(5, phases, 8.0));
            let error = (heart.centre_mm.0 - 60.0).hypot(heart.centre_mm.1 - 70.0);
            assert!(heart.by_motion && error < 1.5 && heart.confidence > 0.9, "{phases}: {heart:?}");
        }
    }

    #[test]
    fn a_static_stack_falls_back_to_the_centre_without_confidence() {
        for stack in [beating(3, 1, 0.0), beating(3, 12, 0.0)] {
            let heart = localise(&stack);
            assert_eq!((heart.centre_mm, heart.by_motion), ((90.0, 90.0), false));
            assert!(heart.confidence < LOW_CONFIDENCE);
        }
    }

    #[test]
    fn slices_shifted_in_plane_are_brought_together() {
        let mut stack = beating(4, 10, 8.0);
        // The second pair of slices lies 12 mm further down: the same heart appears 4 pixels higher in them.
        for slice in [2, 3] {
            stack.shifts_mm[slice] = (12.0, 0.0);
            for frame in &mut stack.frames[slice] {
                let source = frame.clone();
                for ((row, column), value) in frame.indexed_iter_mut() {
                    *value = source.get((row + 4, column)).copied().unwrap_or(0.0);
                }
            }
        }
        let heart = localise(&stack);
        assert!((heart.centre_mm.0 - 60.0).hypot(heart.centre_mm.1 - 70.0) < 1.5, "{heart:?}");
    }
}
