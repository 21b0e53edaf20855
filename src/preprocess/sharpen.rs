//! Sharpening of a histogram that a smooth field has blurred: the heart of N3 and N4 (Sled, Zijdenbos, Evans 1998, section II;
//! Tustison et al. 2010). Logarithms of grey values in, their expected values without the blur out; no pixels, no geometry.
//!
//! The constants are those of ITK's `N4BiasFieldCorrectionImageFilter`.

/// Bins of the histogram.
const BINS: usize = 200;
/// Length of the transform: the next power of two above the bins, doubled against wrapping.
const PADDED: usize = 512;
/// Full width at half maximum of the blur, in natural logarithms.
const WIDTH: f64 = 0.15;
/// Wiener filter's noise term.
const NOISE: f64 = 0.01;

/// A complex number.
type Complex = (f64, f64);

/// Discrete Fourier transform of a power of two of values, in place; the inverse is divided by the length.
fn transform(values: &mut [Complex], inverse: bool) {
    let length = values.len();
    debug_assert!(length.is_power_of_two());
    let bits = length.trailing_zeros();
    for index in 0..length {
        let swapped = index.reverse_bits() >> (usize::BITS - bits);
        if swapped > index {
            values.swap(index, swapped);
        }
    }
    let sign = if inverse { 1.0 } else { -1.0 };
    let mut half = 1;
    while half < length {
        for offset in 0..half {
            let angle = sign * std::f64::consts::PI * offset as f64 / half as f64;
            let (sine, cosine) = (libm::sin(angle), libm::cos(angle));
            for start in (offset..length).step_by(2 * half) {
                let (a, b) = (values[start], values[start + half]);
                let turned = (b.0 * cosine - b.1 * sine, b.0 * sine + b.1 * cosine);
                values[start] = (a.0 + turned.0, a.1 + turned.1);
                values[start + half] = (a.0 - turned.0, a.1 - turned.1);
            }
        }
        half *= 2;
    }
    if inverse {
        let share = 1.0 / length as f64;
        values.iter_mut().for_each(|value| *value = (value.0 * share, value.1 * share));
    }
}

fn transformed(values: impl IntoIterator<Item = f64>) -> Vec<Complex> {
    let mut values: Vec<Complex> = values.into_iter().map(|value| (value, 0.0)).collect();
    transform(&mut values, false);
    values
}

/// Real part of the inverse transform of `values` times the real `filter`.
fn filtered(values: &[Complex], filter: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut product: Vec<Complex> = values.iter().zip(filter).map(|(v, f)| (v.0 * f, v.1 * f)).collect();
    transform(&mut product, true);
    product.into_iter().map(|value| value.0).collect()
}

/// For each blurred value, the value expected without the blur.
#[derive(Debug, Clone)]
pub struct Sharpened {
    low: f64,
    bin: f64,
    expected: Vec<f64>,
}

impl Sharpened {
    /// From all values; `None` when they are all equal.
    pub fn of(values: &[f64]) -> Option<Self> {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let bin = (high - low) / (BINS - 1) as f64;
        if !(bin.is_finite() && bin > 1e-12) {
            return None;
        }
        let start = (PADDED - BINS) / 2;
        let mut histogram = vec![0.0; PADDED];
        for value in values {
            let place = (value - low) / bin;
            let index = (place.floor() as usize).min(BINS - 1);
            let share = place - index as f64;
            histogram[start + index] += 1.0 - share;
            histogram[start + index + 1] += share;
        }
        let blur = transformed((0..PADDED).map(|index| blur(index.min(PADDED - index) as f64 * bin, bin)));
        let wiener = blur.iter().map(|b| b.0 / (b.0 * b.0 + b.1 * b.1 + NOISE));
        let sharp: Vec<f64> =
            filtered(&transformed(histogram), wiener).into_iter().map(|value| value.max(0.0)).collect();
        let centre = |index: usize| low + (index as f64 - start as f64) * bin;
        let again = |values: Vec<Complex>| filtered(&values, blur.iter().map(|b| b.0));
        let weighted = again(transformed(sharp.iter().enumerate().map(|(index, value)| value * centre(index))));
        let total = again(transformed(sharp.iter().copied()));
        // Where no sharpened value can have come from, rounding would be divided by rounding.
        let tiny = 1e-9 * total.iter().copied().fold(0.0, f64::max);
        let expected = (start..start + BINS)
            .map(|index| if total[index] > tiny { weighted[index] / total[index] } else { centre(index) })
            .collect();
        Some(Self { low, bin, expected })
    }

    /// The value expected where `value` was found, linear between bins.
    pub fn at(&self, value: f64) -> f64 {
        let place = ((value - self.low) / self.bin).clamp(0.0, (BINS - 1) as f64);
        let index = (place.floor() as usize).min(BINS - 2);
        let share = place - index as f64;
        self.expected[index] + share * (self.expected[index + 1] - self.expected[index])
    }
}

/// Density of the blur at `distance`, per bin.
fn blur(distance: f64, bin: f64) -> f64 {
    let factor = 4.0 * std::f64::consts::LN_2 / (WIDTH * WIDTH);
    let scale = 2.0 * (std::f64::consts::LN_2 / std::f64::consts::PI).sqrt() / WIDTH;
    scale * bin * libm::exp(-distance * distance * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_equals_numpys() {
        // numpy.fft.fft([1, 2, 0, -1])
        let mut values = vec![(1.0, 0.0), (2.0, 0.0), (0.0, 0.0), (-1.0, 0.0)];
        let original = values.clone();
        transform(&mut values, false);
        let wanted = [(2.0, 0.0), (1.0, -3.0), (0.0, 0.0), (1.0, 3.0)];
        let close = |a: &[Complex], b: &[Complex]| {
            a.iter().zip(b).all(|(a, b)| (a.0 - b.0).abs() < 1e-12 && (a.1 - b.1).abs() < 1e-12)
        };
        assert!(close(&values, &wanted), "{values:?}");
        transform(&mut values, true);
        assert!(close(&values, &original), "{values:?}");
    }

    #[test]
    fn blurred_values_are_drawn_towards_their_tissue() {
        // Two tissues at 0 and 1, spread by 0.06: a value off the peak is expected nearer to it, the middle between both stays.
        let spread = |centre: f64| (-50..=50).map(move |step| (centre, f64::from(step) * 0.004));
        let values: Vec<f64> = [0.0, 1.0]
            .into_iter()
            .flat_map(spread)
            .flat_map(|(centre, offset)| {
                let count = (40.0 * libm::exp(-0.5 * (offset / 0.06) * (offset / 0.06))) as usize;
                std::iter::repeat_n(centre + offset, count)
            })
            .collect();
        let sharpened = Sharpened::of(&values).unwrap();
        for centre in [0.0, 1.0] {
            for offset in [-0.1, 0.1] {
                let found = sharpened.at(centre + offset) - centre;
                assert!(found.abs() < 0.05 && found * offset > -1e-3, "{centre} {offset}: {found}");
            }
        }
        assert!(Sharpened::of(&[2.0; 9]).is_none());
    }
}
