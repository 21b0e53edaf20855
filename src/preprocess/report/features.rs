//! What the report keeps of a stack's grey values: the percentiles of all its pixels and an image of 8 x 8 means. A few hundred numbers,
//! so that part records and memory stay small; histograms on any common scale come from the percentiles.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Percentiles 0 to 100.
const PERCENTILES: usize = 101;
/// Sides of the image of means.
pub const POOLED_SIDE: usize = 8;
/// Fields of that image.
const FIELDS: usize = POOLED_SIDE * POOLED_SIDE;
/// Percentiles are taken of so many pixels, evenly over the stack: sorting all of a whole cine took more time than preparing it.
const SORTED_PIXELS: usize = 1 << 16;
/// Bins of a histogram.
pub const BINS: usize = 32;

/// Grey values of one stack's samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GreyValues {
    /// Percentiles 0 to 100 of the known pixels, by linear interpolation.
    pub percentiles: Vec<f32>,
    /// Means of 8 x 8 fields over all frames, in row order.
    pub pooled: Vec<f32>,
}

/// Of the same pixels before and after the intensity steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GreyFeatures {
    /// Cropped and resampled.
    pub before: GreyValues,
    /// As the network gets them.
    pub after: GreyValues,
}

/// Sums over the fields of one frame, and over how many pixels.
struct Fields {
    sums: [f64; FIELDS],
    counts: [u32; FIELDS],
}

impl Fields {
    /// `places`: the field of each pixel. NaN is left out.
    fn of(frame: &[f32], places: &[usize]) -> Self {
        let mut fields = Self { sums: [0.0; FIELDS], counts: [0; FIELDS] };
        for (&value, &place) in frame.iter().zip(places).filter(|(value, _)| !value.is_nan()) {
            fields.sums[place] += f64::from(value.clamp(f32::MIN, f32::MAX));
            fields.counts[place] += 1;
        }
        fields
    }

    fn add(mut self, other: &Self) -> Self {
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, value)| *sum += value);
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, value)| *sum += value);
        self
    }
}

/// The field of each pixel of a frame.
fn places((rows, columns): (usize, usize)) -> Vec<usize> {
    let field = |index: usize, length: usize| index * POOLED_SIDE / length;
    (0..rows * columns)
        .map(|pixel| field(pixel / columns, rows) * POOLED_SIDE + field(pixel % columns, columns))
        .collect()
}

impl GreyValues {
    /// Of images that hold frames of `size` (rows, columns) one after the other; NaN is outside the image and left out.
    pub fn of(images: &[&[f32]], size: (usize, usize)) -> Self {
        let places = places(size);
        let frames: Vec<&[f32]> = images.iter().flat_map(|image| image.chunks_exact(places.len().max(1))).collect();
        // Added up in the order of frames, so that threads do not show.
        let fields: Vec<Fields> = frames.par_iter().map(|frame| Fields::of(frame, &places)).collect();
        let none = Fields { sums: [0.0; FIELDS], counts: [0; FIELDS] };
        let Fields { sums, counts } = fields.iter().fold(none, Fields::add);
        // The step is odd, so that it does not keep to a column of an image of even width.
        let step = counts.iter().map(|&count| count as usize).sum::<usize>().div_ceil(SORTED_PIXELS) | 1;
        let values = frames.iter().copied().flatten().copied().filter(|value| !value.is_nan());
        let mut known: Vec<f32> = values.step_by(step).map(|value| value.clamp(f32::MIN, f32::MAX)).collect();
        known.sort_unstable_by(f32::total_cmp);
        let darkest = known.first().copied().unwrap_or(0.0);
        let mean = |(sum, &count): (&f64, &u32)| {
            if count == 0 { darkest } else { (sum / f64::from(count)) as f32 }
        };
        Self { percentiles: percentiles(&known), pooled: sums.iter().zip(&counts).map(mean).collect() }
    }

    /// Share of pixels below `value`, linearly between percentiles.
    fn share_below(&self, value: f64) -> f64 {
        let at = |index: usize| f64::from(self.percentiles[index]);
        let upper = self.percentiles.partition_point(|&percentile| f64::from(percentile) < value);
        match upper {
            0 => 0.0,
            upper if upper >= self.percentiles.len() => 1.0,
            upper => {
                let within = (value - at(upper - 1)) / (at(upper) - at(upper - 1));
                (upper as f64 - 1.0 + within) / (PERCENTILES - 1) as f64
            }
        }
    }

    /// Shares of pixels in [`BINS`] bins from `low` to `high`; what lies beyond counts in the outer ones.
    pub fn histogram(&self, (low, high): (f64, f64)) -> Vec<f64> {
        let edge = |bin: usize| match bin {
            0 => 0.0,
            BINS => 1.0,
            bin => self.share_below(low + (high - low) * bin as f64 / BINS as f64),
        };
        (0..BINS).map(|bin| edge(bin + 1) - edge(bin)).collect()
    }
}

fn percentiles(sorted: &[f32]) -> Vec<f32> {
    let Some(last) = sorted.len().checked_sub(1) else { return vec![0.0; PERCENTILES] };
    let one = |percentile: usize| {
        let position = percentile as f64 / (PERCENTILES - 1) as f64 * last as f64;
        let index = (position as usize).min(last);
        let (low, high) = (f64::from(sorted[index]), f64::from(sorted[(index + 1).min(last)]));
        (low + (position - index as f64) * (high - low)) as f32
    };
    (0..PERCENTILES).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_means_and_what_is_unknown_is_left_out() {
        // By hand: 16 x 16 pixels of their field's number, in two frames, one pixel unknown.
        let pixel = |index: usize| ((index / 16 % 16) / 2 * 8 + (index % 16) / 2) as f32;
        let pixels: Vec<f32> = (0..512).map(|index| if index == 3 { f32::NAN } else { pixel(index) }).collect();
        let values = GreyValues::of(&[&pixels], (16, 16));
        assert_eq!(values, GreyValues::of(&[&pixels[..256], &pixels[256..]], (16, 16)));
        assert_eq!(values.pooled, (0..64_u8).map(f32::from).collect::<Vec<_>>());
        assert_eq!((values.percentiles[0], values.percentiles[100]), (0.0, 63.0));
    }

    /// By hand: 0, 1, ..., 100 has the percentile p at p; of 32 bins from 0 to 32 the first 31 hold a hundredth each.
    #[test]
    fn a_histogram_comes_from_the_percentiles_and_holds_everything() {
        let values = GreyValues::of(&[&(0..=100_u8).map(f32::from).collect::<Vec<_>>()], (1, 101));
        assert_eq!(values.percentiles, (0..=100_u8).map(f32::from).collect::<Vec<_>>());
        let histogram = values.histogram((0.0, 32.0));
        assert!(histogram[..31].iter().all(|share| (share - 0.01).abs() < 1e-12));
        assert!((histogram[31] - 0.69).abs() < 1e-12);
        let constant = GreyValues::of(&[&[7.0; 9]], (3, 3)).histogram((0.0, 32.0));
        assert_eq!((constant.iter().sum::<f64>(), constant[6] + constant[7]), (1.0, 1.0));
    }

    /// Of a ramp of a million values the percentiles are known.
    #[test]
    fn percentiles_of_many_pixels_are_those_of_some() {
        let values = GreyValues::of(&[&(0..1_000_000_u32).map(|value| value as f32).collect::<Vec<_>>()], (1000, 1000));
        for (percentile, value) in values.percentiles.iter().enumerate() {
            assert!((value - percentile as f32 * 10_000.0).abs() < 20.0, "{percentile}: {value}");
        }
    }

    #[test]
    fn no_pixel_at_all_is_no_panic() {
        let values = GreyValues::of(&[], (0, 0));
        assert_eq!(values.histogram((0.0, 1.0)).len(), BINS);
    }
}
