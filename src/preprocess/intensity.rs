//! Grey values made comparable: a standard histogram, percentile clipping, z-score or scaling to [0, 1], per stack or per sample. NaN marks pixels outside
//! the source image: they count in no statistic and end as the darkest value.
//!
//! Sums run in pixel order in float64; percentiles are exact order statistics with linear interpolation (numpy's default).

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use crate::formats::plan::{IntensityPlan, Normalisation, StandardLandmarks};

/// Why grey values cannot be normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntensityFault {
    /// Not one pixel of the crop lies in the image.
    Empty,
    /// All pixels are equal.
    Constant,
}

/// Bins of [`bin`]: sign, exponent and five bits of the fraction.
const BINS: usize = 1 << 14;

/// Bins of rising values, in the order of [`f32::total_cmp`].
fn bin(value: f32) -> usize {
    let bits = value.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    (ordered >> 18) as usize
}

/// The `percentiles` (0 to 100) of `values`, which are gone through twice. Without values, an empty list.
///
/// Bins are counted, and only those that hold a wanted rank are copied and sorted.
pub fn percentiles(values: impl Iterator<Item = f32> + Clone, percentiles: &[f64]) -> Vec<f64> {
    let mut counts = vec![0_usize; BINS];
    values.clone().for_each(|value| counts[bin(value)] += 1);
    let Some(last) = counts.iter().sum::<usize>().checked_sub(1) else { return Vec::new() };
    let position = |percentile: &f64| percentile / 100.0 * last as f64;
    let below = |percentile: &f64| (position(percentile).floor() as usize).min(last);
    let ranks = percentiles.iter().flat_map(|percentile| [below(percentile), (below(percentile) + 1).min(last)]);
    let ranked = Ranked::new(&counts, ranks, values);
    let one = |percentile: &f64| {
        let index = below(percentile);
        let (low, high) = (f64::from(ranked.value(index)), f64::from(ranked.value((index + 1).min(last))));
        low + (position(percentile) - index as f64) * (high - low)
    };
    percentiles.iter().map(one).collect()
}

/// The sorted values of the bins that hold wanted ranks, by the rank of the first.
struct Ranked(BTreeMap<usize, Vec<f32>>);

impl Ranked {
    fn new(counts: &[usize], ranks: impl Iterator<Item = usize>, values: impl Iterator<Item = f32>) -> Self {
        let add = |end: &mut usize, count: &usize| {
            *end += count;
            Some(*end)
        };
        let ends: Vec<usize> = counts.iter().scan(0, add).collect();
        let wanted: BTreeSet<usize> = ranks.map(|rank| ends.partition_point(|&end| end <= rank)).collect();
        let mut held: Vec<Vec<f32>> = wanted.iter().map(|&bin| Vec::with_capacity(counts[bin])).collect();
        // Nearly all values are of no wanted bin: a small table tells so.
        let mut places = vec![u16::MAX; BINS];
        (0..).zip(&wanted).for_each(|(place, &bin)| places[bin] = place);
        values.for_each(|value| {
            if let Some(bin) = held.get_mut(usize::from(places[bin(value)])) {
                bin.push(value);
            }
        });
        held.iter_mut().for_each(|values| values.sort_unstable_by(f32::total_cmp));
        Self(wanted.iter().map(|&bin| ends[bin] - counts[bin]).zip(held).collect())
    }

    /// The value of a wanted rank.
    fn value(&self, rank: usize) -> f32 {
        let (first, held) = self.0.range(..=rank).next_back().expect("the bin of every wanted rank is held");
        held[rank - first]
    }
}

/// Pixels inside the source image.
fn known<'a>(images: &'a [&mut [f32]]) -> impl Iterator<Item = f32> + Clone + use<'a> {
    images.iter().flat_map(|image| image.iter().copied()).filter(|value| !value.is_nan())
}

/// Mean and standard deviation (division by n) in float64, NaN left out; `None` without values.
fn moments(images: &[&mut [f32]]) -> Option<(f64, f64)> {
    let (count, sum) = known(images).fold((0_usize, 0.0), |(count, sum), value| (count + 1, sum + f64::from(value)));
    if count == 0 {
        return None;
    }
    let mean = sum / count as f64;
    let square = |value: f32| (f64::from(value) - mean) * (f64::from(value) - mean);
    let variance = known(images).map(square).sum::<f64>() / count as f64;
    Some((mean, variance.sqrt()))
}

/// Maps through the landmarks, linearly between and with the end slopes beyond.
pub fn map_to_standard(value: f32, found: &[f64], standard: &[f64]) -> f32 {
    let value = f64::from(value);
    let last = found.len() - 1;
    let upper = found.iter().position(|&landmark| value < landmark).unwrap_or(last).clamp(1, last);
    let (low, high) = (found[upper - 1], found[upper]);
    let share = (value - low) / (high - low);
    (standard[upper - 1] + share * (standard[upper] - standard[upper - 1])) as f32
}

fn standardise(images: &mut [&mut [f32]], landmarks: &StandardLandmarks) -> Result<(), IntensityFault> {
    let mut found = percentiles(known(images), &landmarks.percentiles);
    if found.is_empty() {
        return Err(IntensityFault::Empty);
    }
    // Equal neighbouring landmarks (a large constant area) would divide by zero: they are drawn apart by a trifle.
    let range = found[found.len() - 1] - found[0];
    if range <= 0.0 {
        return Err(IntensityFault::Constant);
    }
    for index in 1..found.len() {
        found[index] = found[index].max(found[index - 1] + 1e-6 * range);
    }
    images.par_iter_mut().flat_map_iter(|image| image.iter_mut()).filter(|value| !value.is_nan()).for_each(|value| {
        *value = map_to_standard(*value, &found, &landmarks.values);
    });
    Ok(())
}

/// Normalises the images of one scope together, in place.
///
/// `is_colour`: 8-bit RGB, which is only scaled (`unit`) and never clipped.
///
/// # Errors
/// [`IntensityFault`] when no pixel is known or all are equal.
pub fn normalise(images: &mut [&mut [f32]], plan: &IntensityPlan, is_colour: bool) -> Result<(), IntensityFault> {
    if let (Some(landmarks), false) = (&plan.standard_landmarks, is_colour) {
        standardise(images, landmarks)?;
    }
    let mut limits = None;
    if let (Some(clip), false) = (plan.clip_percentiles, is_colour) {
        let found = percentiles(known(images), &clip);
        let [low, high] = found[..] else { return Err(IntensityFault::Empty) };
        if low >= high {
            return Err(IntensityFault::Constant);
        }
        let (low_value, high_value) = (low as f32, high as f32);
        images
            .par_iter_mut()
            .for_each(|image| image.iter_mut().for_each(|value| *value = value.clamp(low_value, high_value)));
        limits = Some((low, high));
    }
    let (mean, deviation) = moments(images).ok_or(IntensityFault::Empty)?;
    let (offset, scale) = match plan.normalisation {
        Normalisation::None => (0.0, 1.0),
        Normalisation::ZScore if deviation <= f64::EPSILON * mean.abs().max(1.0) => {
            return Err(IntensityFault::Constant);
        }
        Normalisation::ZScore => (mean, 1.0 / deviation),
        Normalisation::Unit => match limits {
            Some((low, high)) => (low, 1.0 / (high - low)),
            None => (0.0, 1.0 / 255.0),
        },
    };
    images.par_iter_mut().for_each(|image| rescale(image, offset, scale));
    Ok(())
}

/// `(value - offset) * scale`; NaN becomes the image's smallest value.
fn rescale(image: &mut [f32], offset: f64, scale: f64) {
    let mut darkest = f32::INFINITY;
    for value in image.iter_mut().filter(|value| !value.is_nan()) {
        *value = ((f64::from(*value) - offset) * scale) as f32;
        darkest = darkest.min(*value);
    }
    let darkest = if darkest.is_finite() { darkest } else { 0.0 };
    image.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = darkest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::plan::Scope;

    fn plan(normalisation: Normalisation, clip_percentiles: Option<[f64; 2]>) -> IntensityPlan {
        IntensityPlan {
            bias_correction: false,
            standard_landmarks: None,
            clip_percentiles,
            normalisation,
            scope: Scope::Stack,
        }
    }

    #[test]
    fn percentiles_equal_numpys() {
        // numpy.percentile([3, 1, 4, 1, 5, 9, 2, 6], [0, 10, 50, 99, 100])
        let values = [3.0_f32, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        let found = percentiles(values.into_iter(), &[0.0, 10.0, 50.0, 99.0, 100.0]);
        for (found, wanted) in found.iter().zip([1.0, 1.0, 3.5, 8.79, 9.0]) {
            assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        }
    }

    proptest! {
        /// The rule on sorted values, as numpy documents it for `linear`.
        #[test]
        fn percentiles_are_those_of_the_sorted_values(
            values in prop::collection::vec(prop_oneof![-2.0e3_f32..4.0e3, Just(0.0), Just(-0.0), Just(7.5)], 1..300),
            percentile in 0.0..=100.0_f64,
        ) {
            let mut sorted = values.clone();
            sorted.sort_unstable_by(f32::total_cmp);
            let position = percentile / 100.0 * (sorted.len() - 1) as f64;
            let low = f64::from(sorted[position.floor() as usize]);
            let high = f64::from(sorted[position.ceil() as usize]);
            let wanted = low + position.fract() * (high - low);
            prop_assert_eq!(percentiles(values.into_iter(), &[percentile, 50.0])[0], wanted);
        }
    }

    #[test]
    fn outside_pixels_count_nowhere_and_end_darkest() {
        let mut image = [f32::NAN, 1.0, 3.0, f32::NAN];
        normalise(&mut [&mut image], &plan(Normalisation::ZScore, None), false).unwrap();
        assert_eq!(image, [-1.0, -1.0, 1.0, -1.0]);
    }

    #[test]
    fn colour_is_divided_by_255_and_not_clipped() {
        let mut image = [0.0, 51.0, 255.0];
        normalise(&mut [&mut image], &plan(Normalisation::Unit, Some([10.0, 90.0])), true).unwrap();
        assert_eq!(image, [0.0, 0.2, 1.0]);
    }

    #[test]
    fn a_standard_histogram_maps_as_numpys_interp() {
        // x = [0, 10, 20, 30, 100]; numpy.interp(x, numpy.percentile(x, [0, 50, 100]), [0, 50, 100])
        let mut plan = plan(Normalisation::None, None);
        let standard = StandardLandmarks { percentiles: vec![0.0, 50.0, 100.0], values: vec![0.0, 50.0, 100.0] };
        plan.standard_landmarks = Some(standard);
        let mut image = [100.0, 0.0, f32::NAN, 30.0, 10.0, 20.0];
        normalise(&mut [&mut image], &plan, false).unwrap();
        assert_eq!(image, [100.0, 0.0, 0.0, 56.25, 25.0, 50.0]);
        assert_eq!(normalise(&mut [&mut [4.0; 5]], &plan, false), Err(IntensityFault::Constant));
        // Beyond the landmarks the end slopes go on: 50/20 a grey value below, 50/80 above.
        assert_eq!(map_to_standard(-2.0, &[0.0, 20.0, 100.0], &[0.0, 50.0, 100.0]), -5.0);
        assert_eq!(map_to_standard(116.0, &[0.0, 20.0, 100.0], &[0.0, 50.0, 100.0]), 110.0);
    }

    #[test]
    fn constant_and_empty_images_are_refused() {
        let z = plan(Normalisation::ZScore, Some([1.0, 99.0]));
        assert_eq!(normalise(&mut [&mut [5.0; 9]], &z, false), Err(IntensityFault::Constant));
        assert_eq!(normalise(&mut [&mut [f32::NAN; 9]], &z, false), Err(IntensityFault::Empty));
        let z = plan(Normalisation::ZScore, None);
        assert_eq!(normalise(&mut [&mut [5.0; 9]], &z, false), Err(IntensityFault::Constant));
    }

    proptest! {
        #[test]
        fn gain_and_offset_of_the_scanner_do_not_show(
            values in prop::collection::vec(0_u16..1000, 30..60),
            gain in 0.1_f32..50.0,
        ) {
            let z = plan(Normalisation::ZScore, Some([2.0, 98.0]));
            let mut a: Vec<f32> = values.iter().map(|&v| f32::from(v)).collect();
            let mut b: Vec<f32> = a.iter().map(|v| v * gain + 7.0).collect();
            prop_assume!(normalise(&mut [&mut a], &z, false).is_ok());
            normalise(&mut [&mut b], &z, false).unwrap();
            for (a, b) in a.iter().zip(&b) {
                prop_assert!((a - b).abs() < 2e-3, "{} {}", a, b);
            }
        }
    }
}
