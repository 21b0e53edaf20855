//! Grey levels for the eye: the range between robust percentiles of a stack, so that neither a bright artefact nor an empty border
//! decides.

use super::reduce::Frame;

/// Percentiles that become black and white.
const BLACK: f64 = 0.01;
const WHITE: f64 = 0.98;

/// A range of values that is shown from black to white.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    low: f32,
    high: f32,
}

impl Window {
    /// Of the grey frames of a stack, taken together; that of colours is theirs already.
    pub fn robust<'a>(frames: impl Iterator<Item = &'a Frame>) -> Self {
        let mut values: Vec<f32> = Vec::new();
        for frame in frames {
            if let Frame::Grey(channel) = frame {
                values.extend(channel.iter().filter(|value| value.is_finite()));
            }
        }
        if values.is_empty() {
            return Self { low: 0.0, high: 255.0 };
        }
        let all = |start: f32, pick: fn(f32, f32) -> f32| values.iter().copied().fold(start, pick);
        let range = Self { low: all(f32::INFINITY, f32::min), high: all(f32::NEG_INFINITY, f32::max) };
        // Padding around the image is the lowest value of all, however far below the tissue.
        values.retain(|value| *value > range.low);
        if values.is_empty() {
            return range;
        }
        let (low, high) = (percentile(&mut values, BLACK), percentile(&mut values, WHITE));
        // Nearly all are equal: what is left must still be seen.
        if low < high { Self { low, high } } else { range }
    }

    /// Whether all pixels are equal: nothing can be seen.
    pub fn is_flat(self) -> bool {
        self.low >= self.high
    }

    /// The grey level of a value; black for a flat window and for what is no number.
    pub fn grey(self, value: f32) -> u8 {
        if self.is_flat() {
            return 0;
        }
        // In f64: the range of f32 values may exceed f32. The cast saturates, and NaN is 0.
        let share = (f64::from(value) - f64::from(self.low)) / (f64::from(self.high) - f64::from(self.low));
        (share * 255.0).round() as u8
    }
}

/// The value at a share of the sorted ones (nearest rank below).
fn percentile(values: &mut [f32], share: f64) -> f32 {
    let rank = ((values.len() - 1) as f64 * share) as usize;
    *values.select_nth_unstable_by(rank, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// By hand: of 1..=1000 (0 is the lowest) the percentiles 1 and 98 are 10 and 980; 495 is the middle: 127.5 rounds to 128.
    #[test]
    fn grey_levels_run_between_robust_percentiles() {
        let ramp = Frame::Grey(Array2::from_shape_fn((7, 143), |(row, column)| (row * 143 + column) as f32));
        let window = Window::robust([ramp].iter());
        assert_eq!(window, Window { low: 10.0, high: 980.0 });
        assert_eq!(
            [-5.0, 10.0, 495.0, 980.0, 1e30, f32::NAN].map(|value| window.grey(value)),
            [0, 0, 128, 255, 255, 0]
        );
    }

    /// By hand: a border of zeros on a quarter of the image; tissue from 2000 on, its 1st percentile 2007 of 750 values.
    #[test]
    fn padding_far_below_the_tissue_does_not_decide() {
        let padded =
            |(row, column): (usize, usize)| if row < 5 { 0.0 } else { 2000.0 + ((row - 5) * 50 + column) as f32 };
        let window = Window::robust([Frame::Grey(Array2::from_shape_fn((20, 50), padded))].iter());
        assert_eq!(window, Window { low: 2007.0, high: 2734.0 });
        assert_eq!(window.grey(0.0), 0);
    }

    #[test]
    fn a_single_bright_pixel_is_seen_and_an_empty_image_is_said_to_be_flat() {
        let mut image = Array2::zeros((50, 50));
        assert!(Window::robust([Frame::Grey(image.clone())].iter()).is_flat());
        image[(3, 4)] = 9.0;
        let window = Window::robust([Frame::Grey(image)].iter());
        assert!(!window.is_flat() && window.grey(9.0) == 255 && window.grey(0.0) == 0);
    }
}
