//! Frames at the size of a picture, with the true aspect of their pixels: averages where pixels become fewer, linear interpolation
//! where they become more.

use ndarray::{Array2, ArrayView2, s};

/// Rows and columns of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Height.
    pub rows: usize,
    /// Width.
    pub columns: usize,
}

impl Size {
    /// So many times as high and wide.
    #[must_use]
    pub fn times(self, factor: usize) -> Self {
        Self { rows: self.rows * factor, columns: self.columns * factor }
    }
}

/// No side of a picture is shorter, however long and thin the image.
const SHORTEST: usize = 8;

/// The largest size with the true aspect whose longer side has `longest` pixels. `spacing_mm` is (distance of rows, distance of
/// columns); square pixels where it is unknown.
pub fn fit(rows: usize, columns: usize, spacing_mm: Option<(f64, f64)>, longest: usize) -> Size {
    let usable = |spacing: &(f64, f64)| [spacing.0, spacing.1].iter().all(|side| side.is_finite() && *side > 0.0);
    let (row_mm, column_mm) = spacing_mm.filter(usable).unwrap_or((1.0, 1.0));
    let (height, width) = (rows.max(1) as f64 * row_mm, columns.max(1) as f64 * column_mm);
    let scale = longest as f64 / height.max(width);
    // Saturates for a scale that is none.
    let side = |length: f64| ((length * scale).round() as usize).clamp(SHORTEST.min(longest), longest);
    Size { rows: side(height), columns: side(width) }
}

/// A frame at the size of a picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// One channel, any scale.
    Grey(Array2<f32>),
    /// Red, green, blue, 0 to 255.
    Colour([Array2<f32>; 3]),
}

impl Frame {
    /// Its size.
    pub fn size(&self) -> Size {
        let (Self::Grey(channel) | Self::Colour([channel, ..])) = self;
        Size { rows: channel.nrows(), columns: channel.ncols() }
    }
}

/// A frame of one channel (or of three: colour) at `size`; `None` for a frame without pixels.
pub fn reduce(channels: &[Array2<f32>], size: Size) -> Option<Frame> {
    if channels.iter().any(|channel| channel.is_empty()) {
        return None;
    }
    match channels {
        [red, green, blue] => Some(Frame::Colour([red, green, blue].map(|channel| resize(channel.view(), size)))),
        [grey, ..] => Some(Frame::Grey(resize(grey.view(), size))),
        [] => None,
    }
}

fn resize(image: ArrayView2<'_, f32>, size: Size) -> Array2<f32> {
    let down = taps(image.nrows(), size.rows);
    let across = taps(image.ncols(), size.columns);
    let mut narrow = Array2::zeros((image.nrows(), size.columns));
    for (source, mut target) in image.outer_iter().zip(narrow.outer_iter_mut()) {
        for (value, (first, weights)) in target.iter_mut().zip(&across) {
            let covered = source.slice(s![*first..first + weights.len()]);
            *value = weights.iter().zip(covered).map(|(weight, value)| weight * finite(*value)).sum();
        }
    }
    let mut small = Array2::zeros((size.rows, size.columns));
    for (mut target, (first, weights)) in small.outer_iter_mut().zip(&down) {
        for (offset, weight) in weights.iter().enumerate() {
            target.scaled_add(*weight, &narrow.row(first + offset));
        }
    }
    small
}

/// NIfTI of floats may hold anything.
fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { 0.0 }
}

/// Per target pixel the first source pixel that counts and the weights from there on; they sum to 1.
fn taps(source: usize, target: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = source as f64 / target as f64;
    (0..target)
        .map(|index| if scale > 1.0 { average(source, index, scale) } else { between(source, index, scale) })
        .collect()
}

/// Source pixels by how much of them the target pixel covers.
fn average(source: usize, index: usize, scale: f64) -> (usize, Vec<f32>) {
    let (low, high) = (index as f64 * scale, (index + 1) as f64 * scale);
    let first = (low as usize).min(source - 1);
    let last = (high.ceil() as usize).clamp(first + 1, source);
    let covered = |pixel: usize| ((high.min(pixel as f64 + 1.0) - low.max(pixel as f64)) / scale) as f32;
    (first, (first..last).map(covered).collect())
}

/// The two source pixels whose centres enclose the target pixel's centre; the nearest alone at the border.
fn between(source: usize, index: usize, scale: f64) -> (usize, Vec<f32>) {
    let centre = ((index as f64 + 0.5) * scale - 0.5).clamp(0.0, source as f64 - 1.0);
    let first = (centre as usize).min(source - 1);
    let share = (centre - first as f64) as f32;
    if share == 0.0 || first + 1 == source { (first, vec![1.0]) } else { (first, vec![1.0 - share, share]) }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    fn grey(image: Array2<f32>, rows: usize, columns: usize) -> Array2<f32> {
        match reduce(&[image], Size { rows, columns }) {
            Some(Frame::Grey(small)) => small,
            other => panic!("{other:?}"),
        }
    }

    /// By hand: means of 2 x 2 blocks; thirds of a row of 3 on 2 pixels: (1 + 0.5 * 4) / 1.5 = 2 and (0.5 * 4 + 7) / 1.5 = 6.
    #[test]
    fn fewer_pixels_are_means_of_those_they_cover() {
        let image = array![[1.0, 3.0, 10.0, 10.0], [5.0, 7.0, 10.0, 30.0]];
        assert_eq!(grey(image, 1, 2), array![[4.0, 15.0]]);
        // Thirds are rounded.
        let thirds = grey(array![[1.0, 4.0, 7.0]], 1, 2);
        assert!((thirds[(0, 0)] - 2.0).abs() < 1e-5 && (thirds[(0, 1)] - 6.0).abs() < 1e-5, "{thirds}");
    }

    /// By hand: centres of 4 pixels on 2 are at -0.25, 0.25, 0.75 and 1.25 of the source; the outer ones keep the border's value.
    #[test]
    fn more_pixels_lie_between_those_there_are() {
        assert_eq!(grey(array![[0.0, 8.0]], 1, 4), array![[0.0, 2.0, 6.0, 8.0]]);
    }

    #[test]
    fn an_image_of_the_wanted_size_stays_as_it_is() {
        let image = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
        assert_eq!(grey(image.clone(), 3, 2), image);
    }

    /// By hand: 100 rows of 2 mm and 100 columns of 1 mm are twice as high as wide.
    #[test]
    fn pixels_that_are_not_square_keep_their_true_aspect() {
        assert_eq!(fit(100, 100, Some((2.0, 1.0)), 224), Size { rows: 224, columns: 112 });
        assert_eq!(fit(128, 256, None, 224), Size { rows: 112, columns: 224 });
        assert_eq!(fit(1, 100_000, None, 224), Size { rows: 8, columns: 224 });
        assert_eq!(fit(64, 64, Some((f64::NAN, 0.0)), 224), Size { rows: 224, columns: 224 });
    }

    #[test]
    fn three_channels_are_a_colour_and_none_is_no_frame() {
        let channel = array![[1.0_f32]];
        let size = Size { rows: 1, columns: 1 };
        assert!(matches!(reduce(&[channel.clone(), channel.clone(), channel], size), Some(Frame::Colour(_))));
        assert_eq!(reduce(&[], size), None);
        assert_eq!(reduce(&[Array2::zeros((0, 5))], size), None);
    }

    proptest! {
        #[test]
        fn a_flat_image_stays_flat_at_any_size(rows in 1..60_usize, columns in 1..60_usize, to in 1..60_usize) {
            let small = grey(Array2::from_elem((rows, columns), 7.0), to, 60 - to.min(59));
            prop_assert!(small.iter().all(|value| (value - 7.0).abs() < 1e-4));
        }
    }
}
