//! Grey levels for the eye: the range between robust percentiles of a stack, so that neither a bright artefact nor an empty border
//! decides.

use super::reduce::Frame;

/// Percentiles that become black and white.
const BLACK: f64 = 0.01;
const WHITE: f64 = 0.995;

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
        let (low, high) = (percentile(&mut values, BLACK), percentile(&mut values, WHITE));
        if low < high {
            return Self { low, high };
        }
        // Nearly all are equal: what is left must still be seen.
        let all = |start: f32, pick: fn(f32, f32) -> f32| values.iter().copied().fold(start, pick);
        Self { low: all(f32::INFINITY, f32::min), high: all(f32::NEG_INFINITY, f32::max) }
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

    /// By hand: of 0..=1000 the percentiles 1 and 99.5 are 10 and 995; 502.5 is the middle: 127.5 rounds to 128.
    #[test]
    fn grey_levels_run_between_robust_percentiles() {
        let ramp = Frame::Grey(Array2::from_shape_fn((7, 143), |(row, column)| (row * 143 + column) as f32));
        let window = Window::robust([ramp].iter());
        assert_eq!(window, Window { low: 10.0, high: 995.0 });
        assert_eq!(
            [-5.0, 10.0, 502.5, 995.0, 1e30, f32::NAN].map(|value| window.grey(value)),
            [0, 0, 128, 255, 255, 0]
        );
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
