//! The inverse DCT of 8 x 8 blocks: the scheme of Loeffler, Ligtenberg and Moschytz (ICASSP 1989) with 12 multiplications a line, in
//! fixed point of 13 bits.
//!
//! ITU T.81 leaves the arithmetic open; with these word lengths the samples are those of libjpeg's accurate integer transform, which
//! most viewers and toolkits use.

/// Fractional bits of the constants.
const BITS: u32 = 13;

/// `value` as a constant of [`BITS`] fractional bits, rounded.
const fn fixed(value: f64) -> i64 {
    // Constants below 4: exact.
    (value * (1_i64 << BITS) as f64 + 0.5) as i64
}

/// cos(k pi/16) sums of the scheme, in the notation of the paper's figure 1.
const C6: i64 = fixed(0.541_196_100);
const C2_MINUS_C6: i64 = fixed(0.765_366_865);
const C2_PLUS_C6: i64 = fixed(1.847_759_065);
const C3: i64 = fixed(1.175_875_602);

/// One line of eight coefficients, `step` apart from `start`, in place; the results are scaled by 2^[`BITS`] x sqrt(8) and rounded
/// to `drop` fewer bits.
fn line(block: &mut [i64; 64], start: usize, step: usize, drop: u32) {
    let at = |number: usize| block[start + number * step];
    // Even coefficients.
    let shared = (at(2) + at(6)) * C6;
    let (low, high) = (shared - at(6) * C2_PLUS_C6, shared + at(2) * C2_MINUS_C6);
    let (sum, gap) = ((at(0) + at(4)) << BITS, (at(0) - at(4)) << BITS);
    let even = [sum + high, gap + low, gap - low, sum - high];
    // Odd coefficients.
    let (x1, x3, x5, x7) = (at(1), at(3), at(5), at(7));
    let turn = (x1 + x3 + x5 + x7) * C3;
    let outer = -(x1 + x7) * fixed(0.899_976_223);
    let inner = -(x3 + x5) * fixed(2.562_915_447);
    let upper = turn - (x3 + x7) * fixed(1.961_570_560);
    let lower = turn - (x1 + x5) * fixed(0.390_180_644);
    let odd = [
        x1 * fixed(1.501_321_110) + outer + lower,
        x3 * fixed(3.072_711_026) + inner + upper,
        x5 * fixed(2.053_119_869) + inner + lower,
        x7 * fixed(0.298_631_336) + outer + upper,
    ];
    let round = 1_i64 << (drop - 1);
    for (number, (even, odd)) in even.into_iter().zip(odd).enumerate() {
        block[start + number * step] = (even + odd + round) >> drop;
        block[start + (7 - number) * step] = (even - odd + round) >> drop;
    }
}

/// Samples of a block of dequantised coefficients, both row by row, level-shifted and clamped to `precision` (8 or 12) bits.
pub(super) fn inverse(coefficients: &[i32; 64], precision: u32) -> [u16; 64] {
    // Bits kept between the passes.
    let kept = if precision == 8 { 2 } else { 1 };
    let mut block = coefficients.map(i64::from);
    for column in 0..8 {
        line(&mut block, column, 8, BITS - kept);
    }
    for row in 0..8 {
        line(&mut block, row * 8, 1, BITS + kept + 3);
    }
    let (middle, top) = (1_i64 << (precision - 1), (1_i64 << precision) - 1);
    // Clamped: at most 12 bits.
    block.map(|value| u16::try_from((value + middle).clamp(0, top)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The defining sum (ITU T.81 A.3.3), in float64.
    fn defined(coefficients: &[i32; 64], precision: u32) -> [f64; 64] {
        let scale = |number: usize| if number == 0 { 0.5_f64.sqrt() } else { 1.0 };
        let cosine = |x: usize, u: usize| ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0).cos();
        std::array::from_fn(|place| {
            let (y, x) = (place / 8, place % 8);
            let terms = (0..64).map(|number| {
                let (v, u) = (number / 8, number % 8);
                scale(u) * scale(v) * f64::from(coefficients[number]) * cosine(x, u) * cosine(y, v)
            });
            let value = terms.sum::<f64>() / 4.0 + f64::from(1 << (precision - 1));
            value.clamp(0.0, f64::from((1 << precision) - 1))
        })
    }

    proptest::proptest! {
        #[test]
        fn samples_are_those_of_the_defining_sum(values in proptest::collection::vec(-300_i32..300, 64), high in proptest::bool::ANY) {
            let mut coefficients = [0; 64];
            coefficients.copy_from_slice(&values);
            let precision = if high { 12 } else { 8 };
            for (ours, exact) in inverse(&coefficients, precision).into_iter().zip(defined(&coefficients, precision)) {
                // Half a grey level is rounding; the eight values of a line come to the second pass with half a unit of the bits
                // kept, and leave it divided by sqrt(8).
                let bound = 0.5 + 8.0 / 8_f64.sqrt() * if high { 0.25 } else { 0.125 };
                proptest::prop_assert!((f64::from(ours) - exact).abs() <= bound, "{ours} {exact}");
            }
        }
    }
}
