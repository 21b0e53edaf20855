//! What a stack's pixels say about its quality, in numbers. Nothing is judged here: the limits are [`super::flags`]'s.

use ndarray::{Array2, ArrayView2, s};

use super::coarse::CoarseStack;
use super::localise::Heart;
use super::motion::median;

/// The motion of a heart lies within this distance of its centre, mm.
const HEART_RADIUS_MM: f64 = 55.0;
/// The same, and hardly a vessel beside it.
const NARROW_RADIUS_MM: f64 = 45.0;
/// Where the left ventricle's cavity is, mm from the heart's centre.
const CAVITY_RADIUS_MM: f64 = 35.0;
/// Half the side of the square in which contrast and noise are taken, mm.
const CONTRAST_HALF_MM: f64 = 60.0;
/// Changes under this many times the slice's median change are noise.
const NOISE_FACTOR: f32 = 2.5;
/// A slice in which less changes than this share of the median slice is beyond the heart.
const LEAST_CHANGE_SHARE: f64 = 0.3;
/// Fewer phases do not show whether the last runs into the first.
const FEWEST_PHASES: usize = 8;
/// The sum of squares of the Laplacian's coefficients is 36, and a normal distribution's median absolute deviation 0.6745 sigma.
const LAPLACIAN_TO_SIGMA: f64 = 1.0 / (0.6745 * 6.0);
/// Noise below this share of the range is taken for this share: rounding, no measurement.
const LEAST_NOISE_SHARE: f64 = 1e-3;

/// Numbers about a stack; `None` where they cannot be told.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Checks {
    /// How far the motion's centre in a middle slice lies from the middle of its neighbours', at most, mm.
    pub slice_jump_mm: Option<f64>,
    /// Change from the last phase to the first over the largest change between other phases that follow each other.
    pub phase_jump: Option<f64>,
    /// Share of the bright cavity at end-diastole that is gone at end-systole, up to 1.
    pub cavity_change: Option<f64>,
    /// Range of the grey values (percentiles 5 to 95) around the heart over the noise's standard deviation.
    pub contrast_to_noise: Option<f64>,
}

/// All but the contrast, from the reduced cine. `found`: end-diastole and end-systole.
pub fn of_cine(stack: &CoarseStack, heart: &Heart, found: (usize, usize)) -> Checks {
    Checks {
        slice_jump_mm: slice_jump_mm(stack, heart),
        phase_jump: phase_jump(stack, heart),
        cavity_change: cavity_change(stack, heart, found),
        contrast_to_noise: None,
    }
}

/// Pixels of a slice whose centres lie within `radius_mm` of a place.
fn places(stack: &CoarseStack, slice: usize, centre_mm: (f64, f64), radius_mm: f64) -> Vec<(usize, usize)> {
    let mut inside = Vec::new();
    for row in 0..stack.size.0 {
        for column in 0..stack.size.1 {
            let place = stack.place_mm(slice, row, column);
            if libm::hypot(place.0 - centre_mm.0, place.1 - centre_mm.1) <= radius_mm {
                inside.push((row, column));
            }
        }
    }
    inside
}

/// Standard deviation over the phases at every pixel.
fn change_map(frames: &[Array2<f32>]) -> Array2<f32> {
    let share = 1.0 / frames.len() as f32;
    let mut mean = Array2::<f32>::zeros(frames[0].dim());
    frames.iter().for_each(|frame| mean.scaled_add(share, frame));
    let mut variance = Array2::<f32>::zeros(mean.dim());
    for frame in frames {
        ndarray::Zip::from(&mut variance)
            .and(frame)
            .and(&mean)
            .for_each(|sum, &value, &mean| *sum += share * (value - mean) * (value - mean));
    }
    variance.mapv_into(f32::sqrt)
}

/// Centre of what changes within `radius_mm` of the heart in a slice, in the common plane, mm, with how much that is.
fn centre_of_change(
    stack: &CoarseStack,
    (slice, map): (usize, &Array2<f32>),
    heart: &Heart,
    radius_mm: f64,
) -> Option<((f64, f64), f64)> {
    let floor = NOISE_FACTOR * median(map);
    let (mut down, mut right, mut total) = (0.0, 0.0, 0.0);
    for (row, column) in places(stack, slice, heart.centre_mm, radius_mm) {
        // Squared: the walls of the ventricles count, not the trembling around them.
        let weight = f64::from((map[(row, column)] - floor).max(0.0)).powi(2);
        let place = stack.place_mm(slice, row, column);
        down += weight * place.0;
        right += weight * place.1;
        total += weight;
    }
    (total > 0.0).then(|| ((down / total, right / total), total))
}

/// How far each middle slice but the first and last lies from the middle of its neighbours, mm; `None` where little changes.
fn jumps_mm(stack: &CoarseStack, maps: &[(usize, Array2<f32>)], heart: &Heart, radius_mm: f64) -> Vec<Option<f64>> {
    let centre = |(slice, map): &(usize, Array2<f32>)| centre_of_change(stack, (*slice, map), heart, radius_mm);
    let centres: Vec<_> = maps.iter().map(centre).collect();
    let mut amounts: Vec<f64> = centres.iter().flatten().map(|centre| centre.1).collect();
    amounts.sort_unstable_by(f64::total_cmp);
    let least = LEAST_CHANGE_SHARE * amounts.get(amounts.len() / 2).copied().unwrap_or(0.0);
    let sure = |centre: &Option<((f64, f64), f64)>| centre.filter(|centre| centre.1 >= least).map(|centre| centre.0);
    let jump = |three: &[Option<((f64, f64), f64)>]| {
        let (before, here, after) = (sure(&three[0])?, sure(&three[1])?, sure(&three[2])?);
        Some(libm::hypot(here.0 - (before.0 + after.0) / 2.0, here.1 - (before.1 + after.1) / 2.0))
    };
    centres.windows(3).map(jump).collect()
}

/// The largest jump of a slice. A slice that moved jumps whatever is looked at; where a vessel at the edge draws the centre away in
/// one slice, the smaller circle has none, so that of both the lower one counts.
fn slice_jump_mm(stack: &CoarseStack, heart: &Heart) -> Option<f64> {
    let middle = stack.middle_slices();
    if !heart.by_motion || middle.len() < 3 {
        return None;
    }
    let maps: Vec<(usize, Array2<f32>)> = middle.map(|slice| (slice, change_map(&stack.frames[slice]))).collect();
    let wide = jumps_mm(stack, &maps, heart, HEART_RADIUS_MM);
    let narrow = jumps_mm(stack, &maps, heart, NARROW_RADIUS_MM);
    let both = wide.into_iter().zip(narrow);
    both.filter_map(|(wide, narrow)| Some(wide?.min(narrow?))).reduce(f64::max)
}

fn phase_jump(stack: &CoarseStack, heart: &Heart) -> Option<f64> {
    let phases = stack.frames.iter().map(Vec::len).min()?;
    if phases < FEWEST_PHASES {
        return None;
    }
    let mut changes = vec![0.0; phases];
    for slice in stack.middle_slices() {
        let places = places(stack, slice, heart.centre_mm, HEART_RADIUS_MM);
        for (phase, change) in changes.iter_mut().enumerate() {
            let (here, next) = (&stack.frames[slice][phase], &stack.frames[slice][(phase + 1) % phases]);
            *change += places.iter().map(|&place| f64::from((next[place] - here[place]).abs())).sum::<f64>();
        }
    }
    let (last, others) = changes.split_last()?;
    let largest = others.iter().copied().fold(0.0, f64::max);
    (largest > 0.0).then(|| last / largest)
}

fn cavity_change(stack: &CoarseStack, heart: &Heart, (diastole, systole): (usize, usize)) -> Option<f64> {
    if diastole == systole {
        return None;
    }
    let (mut large, mut small) = (0_usize, 0_usize);
    for slice in stack.middle_slices() {
        let (Some(full), Some(empty)) = (stack.frames[slice].get(diastole), stack.frames[slice].get(systole)) else {
            continue;
        };
        let places = places(stack, slice, heart.centre_mm, CAVITY_RADIUS_MM);
        let values: Vec<f32> = places.iter().flat_map(|&place| [full[place], empty[place]]).collect();
        let [dark, bright] = super::intensity::percentiles(values.into_iter(), &[10.0, 90.0])[..] else { continue };
        let is_blood = |value: f32| f64::from(value) > (dark + bright) / 2.0;
        large += places.iter().filter(|&&place| is_blood(full[place])).count();
        small += places.iter().filter(|&&place| is_blood(empty[place])).count();
    }
    (large > 0).then(|| 1.0 - small as f64 / large as f64)
}

/// Range over noise of a frame in a square around `centre_mm` (down, right from the image's corner); `None` for a square of one value.
///
/// The noise is what a Laplacian leaves that no straight edge passes (Immerkaer 1996), by its median, which edges do not move.
pub fn contrast_to_noise(frame: ArrayView2<'_, f32>, spacing_mm: (f64, f64), centre_mm: (f64, f64)) -> Option<f64> {
    let range = |centre: f64, spacing: f64, length: usize| {
        // Saturates for a centre outside the image.
        let low = ((centre - CONTRAST_HALF_MM) / spacing).floor().max(0.0) as usize;
        let high = ((centre + CONTRAST_HALF_MM) / spacing).ceil().max(0.0) as usize;
        low.min(length)..high.min(length)
    };
    let rows = range(centre_mm.0, spacing_mm.0, frame.nrows());
    let columns = range(centre_mm.1, spacing_mm.1, frame.ncols());
    if rows.len() < 3 || columns.len() < 3 {
        return None;
    }
    let square = frame.slice(s![rows, columns]);
    let [low, high] = super::intensity::percentiles(square.iter().copied(), &[5.0, 95.0])[..] else { return None };
    let edges: Vec<f32> = square.windows((3, 3)).into_iter().map(laplacian).collect();
    let median = super::intensity::percentiles(edges.into_iter(), &[50.0])[0];
    let contrast = high - low;
    (contrast > 0.0).then(|| contrast / (median * LAPLACIAN_TO_SIGMA).max(LEAST_NOISE_SHARE * contrast))
}

fn laplacian(window: ArrayView2<'_, f32>) -> f32 {
    let corners = window[(0, 0)] + window[(0, 2)] + window[(2, 0)] + window[(2, 2)];
    let sides = window[(0, 1)] + window[(1, 0)] + window[(1, 2)] + window[(2, 1)];
    (corners - 2.0 * sides + 4.0 * window[(1, 1)]).abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A heart of blood (200) in muscle (60) and lung (20), 3 mm pixels, centred at (75 + down, 75) mm in every slice; its radius
    /// beats between 18 and 24 mm over `phases`, by `beat(phase)` from 0 to 1.
    fn stack(down_mm: &[f64], phases: usize, beat: impl Fn(usize) -> f64) -> CoarseStack {
        let frame = |down: f64, phase: usize| {
            let radius = 24.0 - 6.0 * beat(phase);
            Array2::from_shape_fn((50, 50), |(row, column)| {
                let distance = ((row as f64 + 0.5) * 3.0 - 75.0 - down).hypot((column as f64 + 0.5) * 3.0 - 75.0);
                let edge = |radius: f64| 1.0 / (1.0 + libm::exp((distance - radius) / 1.5));
                (20.0 + 140.0 * edge(radius) + 40.0 * edge(radius + 9.0)) as f32
            })
        };
        CoarseStack {
            frames: down_mm.iter().map(|&down| (0..phases).map(|phase| frame(down, phase)).collect()).collect(),
            size: (50, 50),
            blocks: (2, 2),
            pixel_mm: (3.0, 3.0),
            shifts_mm: vec![(0.0, 0.0); down_mm.len()],
        }
    }

    fn cosine(phases: usize) -> impl Fn(usize) -> f64 {
        move |phase| 0.5 - 0.5 * libm::cos(std::f64::consts::TAU * phase as f64 / phases as f64)
    }

    const HEART: Heart = Heart {
        centre_mm: (75.0, 75.0),
        reach_mm: (45.0, 45.0),
        confidence: 1.0,
        lead: 1.0,
        motion_share: 0.5,
        by_motion: true,
    };

    /// By construction: a slice 12 mm below its neighbours.
    #[test]
    fn a_slice_of_another_breath_is_measured_in_millimetres() {
        let straight = of_cine(&stack(&[0.0, 1.0, 2.0, 3.0, 4.0], 10, cosine(10)), &HEART, (0, 5));
        assert!(straight.slice_jump_mm.unwrap() < 0.5, "{straight:?}");
        let jumped = of_cine(&stack(&[0.0, 0.0, 12.0, 0.0, 0.0], 10, cosine(10)), &HEART, (0, 5));
        assert!((jumped.slice_jump_mm.unwrap() - 12.0).abs() < 1.0, "{jumped:?}");
        let two = of_cine(&stack(&[0.0, 12.0], 10, cosine(10)), &HEART, (0, 5));
        assert_eq!(two.slice_jump_mm, None);
    }

    #[test]
    fn a_cycle_that_does_not_close_jumps_from_the_last_phase_to_the_first() {
        let closed = of_cine(&stack(&[0.0; 3], 20, cosine(20)), &HEART, (0, 10));
        assert!(closed.phase_jump.unwrap() < 1.05, "{closed:?}");
        // Triggered too early: the recording ends at end-systole.
        let cut = of_cine(&stack(&[0.0; 3], 10, cosine(20)), &HEART, (0, 9));
        assert!(cut.phase_jump.unwrap() > 3.0, "{cut:?}");
        assert_eq!(of_cine(&stack(&[0.0; 3], 2, cosine(2)), &HEART, (0, 1)).phase_jump, None);
    }

    /// By hand: a disc's area falls with the square of its radius, (18 / 24)^2 = 0.56.
    #[test]
    fn a_beating_cavity_changes_and_a_still_one_does_not() {
        let beating = of_cine(&stack(&[0.0; 3], 10, cosine(10)), &HEART, (0, 5));
        assert!((beating.cavity_change.unwrap() - 0.44).abs() < 0.06, "{beating:?}");
        let still = of_cine(&stack(&[0.0; 3], 10, |_| 0.0), &HEART, (0, 5));
        assert_eq!(still.cavity_change, Some(0.0));
        assert_eq!(of_cine(&stack(&[0.0; 3], 1, |_| 0.0), &HEART, (0, 0)).cavity_change, None);
    }

    /// Noise of a known standard deviation on blobs: the estimate is within a tenth, and 100 / 5 is 20.
    #[test]
    fn contrast_is_told_in_units_of_the_noise() {
        let mut state = 1_u32;
        let mut uniform = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 24)
        };
        // The sum of twelve uniforms has the variance 1 (Irwin-Hall).
        let image = Array2::from_shape_fn((100, 100), |(row, column)| {
            let noise: f64 = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
            let blob = if (row / 25 + column / 25) % 2 == 0 { 100.0 } else { 0.0 };
            (200.0 + blob + 5.0 * noise) as f32
        });
        let ratio = contrast_to_noise(image.view(), (1.4, 1.4), (70.0, 70.0)).unwrap();
        // Percentiles 5 and 95 of both levels lie 1.28 sigma beyond them: 100 + 2 x 6.4.
        assert!((ratio / (112.8 / 5.0) - 1.0).abs() < 0.1, "{ratio}");
        assert_eq!(contrast_to_noise(Array2::zeros((50, 50)).view(), (1.4, 1.4), (35.0, 35.0)), None);
        assert_eq!(contrast_to_noise(image.view(), (1.4, 1.4), (1e9, -1e9)), None);
    }
}
