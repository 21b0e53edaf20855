//! End-diastole and end-systole from the cavity's area curve: the amount of bright blood around the heart's centre, over the cycle.

use super::coarse::CoarseStack;
use super::localise::Heart;

/// Sigma of the weight around the heart's centre, mm: the left ventricle counts most.
const WEIGHT_SIGMA_MM: f64 = 28.0;
/// Beyond this distance nothing counts, mm.
const WEIGHT_RADIUS_MM: f64 = 60.0;
/// Bins of the histogram in which blood and muscle are told apart.
const BINS: usize = 128;

/// Otsu's threshold (1979) of weighted values, with the means below and above; `None` when all values are equal.
pub(super) fn otsu(values: &[(f32, f64)]) -> Option<(f64, f64)> {
    let low = values.iter().map(|value| value.0).fold(f32::INFINITY, f32::min);
    let high = values.iter().map(|value| value.0).fold(f32::NEG_INFINITY, f32::max);
    if !(low.is_finite() && high.is_finite() && high > low) {
        return None;
    }
    let width = f64::from(high - low) / BINS as f64;
    let (mut mass, mut sums) = ([0.0; BINS], [0.0; BINS]);
    for &(value, weight) in values {
        let bin = ((f64::from(value - low) / width) as usize).min(BINS - 1);
        mass[bin] += weight;
        sums[bin] += weight * f64::from(value);
    }
    let (total, sum): (f64, f64) = (mass.iter().sum(), sums.iter().sum());
    let (mut below, mut below_sum) = (0.0, 0.0);
    let mut best: Option<(f64, f64, f64)> = None;
    for bin in 0..BINS - 1 {
        below += mass[bin];
        below_sum += sums[bin];
        let above = total - below;
        if below <= 0.0 || above <= 0.0 {
            continue;
        }
        let (dark, bright) = (below_sum / below, (sum - below_sum) / above);
        let between = below * above * (bright - dark) * (bright - dark);
        if best.is_none_or(|(found, ..)| between > found) {
            best = Some((between, dark, bright));
        }
    }
    best.map(|(_, dark, bright)| (dark, bright))
}

/// Bright area over the cycle, arbitrary units, summed over the middle slices.
fn area_curve(stack: &CoarseStack, heart: &Heart, phases: usize) -> Vec<f64> {
    let mut curve = vec![0.0; phases];
    for slice in stack.middle_slices() {
        let frames = &stack.frames[slice];
        if frames.len() != phases {
            continue;
        }
        let mut places = Vec::new();
        for row in 0..stack.size.0 {
            for column in 0..stack.size.1 {
                let place = stack.place_mm(slice, row, column);
                let (down, right) = (place.0 - heart.centre_mm.0, place.1 - heart.centre_mm.1);
                let squared = down * down + right * right;
                if squared <= WEIGHT_RADIUS_MM * WEIGHT_RADIUS_MM {
                    let weight = libm::exp(-0.5 * squared / (WEIGHT_SIGMA_MM * WEIGHT_SIGMA_MM));
                    places.push(((row, column), weight));
                }
            }
        }
        let values: Vec<(f32, f64)> =
            frames.iter().flat_map(|frame| places.iter().map(|&(place, weight)| (frame[place], weight))).collect();
        let Some((dark, bright)) = otsu(&values) else { continue };
        for (phase, frame) in frames.iter().enumerate() {
            let blood = |&(place, weight): &((usize, usize), f64)| {
                weight * ((f64::from(frame[place]) - dark) / (bright - dark)).clamp(0.0, 1.0)
            };
            curve[phase] += places.iter().map(blood).sum::<f64>();
        }
    }
    curve
}

/// Each value averaged with its neighbours on the circle; curves of fewer than 8 phases are left alone.
fn smooth_circle(curve: &[f64]) -> Vec<f64> {
    let count = curve.len();
    if count < 8 {
        return curve.to_vec();
    }
    let at = |index: usize| curve[index % count];
    (0..count).map(|index| (at(index + count - 1) + 2.0 * at(index) + at(index + 1)) / 4.0).collect()
}

/// (end-diastole, end-systole), 0-based; both 0 for one phase. Ties: the earlier phase.
pub fn from_area_curve(stack: &CoarseStack, heart: &Heart) -> (usize, usize) {
    let phases = stack.frames.iter().map(Vec::len).max().unwrap_or(0);
    if phases < 2 {
        return (0, 0);
    }
    let curve = smooth_circle(&area_curve(stack, heart, phases));
    let mut found = (0, 0);
    for (phase, &area) in curve.iter().enumerate() {
        if area > curve[found.0] {
            found.0 = phase;
        }
        if area < curve[found.1] {
            found.1 = phase;
        }
    }
    if found.0 == found.1 {
        // A flat curve: the usual places, R wave and a third of the cycle later.
        return (0, (phases / 3).max(1));
    }
    found
}

/// `count` phases evenly spaced over a cycle of `phases`, the first at `start`, rounded to the nearest frame.
pub fn over_cycle(start: usize, phases: usize, count: usize) -> Vec<usize> {
    (0..count).map(|index| (start + (2 * index * phases + count) / (2 * count)) % phases).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn the_largest_and_smallest_cavity_are_found() {
        // A bright disc in dark muscle, largest at phase 2, smallest at phase 11 of 20.
        let frame = |phase: usize| {
            let angle = std::f64::consts::TAU * (phase as f64 - 2.0) / 18.0;
            let radius = 18.0 + 7.0 * libm::cos(angle.clamp(0.0, std::f64::consts::TAU));
            Array2::from_shape_fn((50, 50), |(row, column)| {
                let distance = ((row as f64 + 0.5) * 3.0 - 75.0).hypot((column as f64 + 0.5) * 3.0 - 75.0);
                if distance < radius { 200.0 } else { 50.0 }
            })
        };
        let stack = CoarseStack {
            frames: vec![(0..20).map(frame).collect()],
            size: (50, 50),
            blocks: (2, 2),
            pixel_mm: (3.0, 3.0),
            shifts_mm: vec![(0.0, 0.0)],
        };
        let heart = Heart {
            centre_mm: (75.0, 75.0),
            reach_mm: (45.0, 45.0),
            confidence: 1.0,
            lead: 1.0,
            motion_share: 0.5,
            by_motion: true,
        };
        let (diastole, systole) = from_area_curve(&stack, &heart);
        // Neighbouring phases differ by less than a reduced pixel: one phase of tolerance, on the circle.
        assert!([0, 1, 2, 3].contains(&diastole) && (10..=12).contains(&systole), "{diastole} {systole}");
    }

    #[test]
    fn phases_over_the_cycle_start_at_end_diastole_and_wrap() {
        assert_eq!(over_cycle(18, 20, 4), [18, 3, 8, 13]);
        assert_eq!(over_cycle(0, 25, 6), [0, 4, 8, 13, 17, 21]);
        assert_eq!(over_cycle(1, 2, 4), [1, 0, 0, 1]);
    }
}
