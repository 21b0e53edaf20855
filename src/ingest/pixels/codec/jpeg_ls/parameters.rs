//! The parameters of a JPEG-LS scan: what the stream sets, the standard's defaults, and what follows from both (ITU T.87 C.2.4.1, A.2.1).

use super::super::CodecError;
use super::{malformed, unsupported};

/// What LSE segments set; 0: the default.
#[derive(Default)]
pub(super) struct Presets {
    max_value: u32,
    thresholds: [u32; 3],
    reset: u32,
}

impl Presets {
    /// Reads an LSE segment.
    pub(super) fn read(&mut self, payload: &[u8]) -> Result<(), CodecError> {
        match payload {
            [1, values @ ..] => {
                if values.len() != 10 {
                    return Err(malformed("its preset parameters have a wrong length"));
                }
                let mut values = values.chunks_exact(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
                let mut next = || values.next().unwrap_or(0);
                self.max_value = next();
                self.thresholds = [next(), next(), next()];
                self.reset = next();
                Ok(())
            }
            [2 | 3, ..] => Err(unsupported("a mapping table")),
            [4, ..] => Err(unsupported("sizes above 65535")),
            _ => Err(malformed("preset parameters of an unknown kind")),
        }
    }
}

/// Parameters of one scan. Sample values are 0 to `max_value`, at most 65535.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameters {
    /// Largest sample.
    pub(super) max_value: i32,
    /// Largest difference of a sample from the original; 0: lossless.
    pub(super) near: i32,
    /// Distance of two reconstructed errors: 2 near + 1.
    pub(super) step: i32,
    /// Number of distinct errors.
    pub(super) range: i32,
    /// Bits of an error that is written plainly.
    pub(super) plain_bits: u32,
    /// Longest code of an error.
    pub(super) limit: u32,
    /// Bounds of the gradients' classes.
    pub(super) thresholds: [i32; 3],
    /// Count at which a context's statistics are halved.
    pub(super) reset: u32,
}

impl Parameters {
    pub(super) fn new(precision: u32, near: u32, presets: &Presets) -> Result<Self, CodecError> {
        if !(2..=16).contains(&precision) {
            return Err(malformed("its precision is not 2 to 16 bits"));
        }
        let largest = (1_u32 << precision) - 1;
        let max_value = if presets.max_value == 0 { largest } else { presets.max_value };
        if max_value > largest || near > (max_value / 2).min(255) {
            return Err(malformed("its largest value or near-lossless error is impossible"));
        }
        let thresholds = thresholds(max_value, near, presets.thresholds)?;
        let reset = if presets.reset == 0 { 64 } else { presets.reset };
        if reset < 3 || reset > max_value.max(255) {
            return Err(malformed("its reset count is impossible"));
        }
        let step = 2 * near + 1;
        let range = (max_value + 2 * near) / step + 1;
        let value_bits = bits(max_value + 1).max(2);
        // All are at most 2^17.
        let small = |value: u32| i32::try_from(value).unwrap_or(0);
        Ok(Self {
            max_value: small(max_value),
            near: small(near),
            step: small(step),
            range: small(range),
            plain_bits: bits(range),
            limit: 2 * (value_bits + value_bits.max(8)),
            thresholds: thresholds.map(small),
            reset,
        })
    }
}

/// Bits that tell `count` values apart: the logarithm of base 2, rounded up.
fn bits(count: u32) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

/// The three thresholds: those of the stream, else the defaults (ITU T.87 C.2.4.1.1.1).
fn thresholds(max_value: u32, near: u32, preset: [u32; 3]) -> Result<[u32; 3], CodecError> {
    const BASE: [u32; 3] = [3, 7, 21];
    let mut least = near + 1;
    let mut all = [0; 3];
    for (number, threshold) in all.iter_mut().enumerate() {
        let place = u32::try_from(number).unwrap_or(0);
        let widened = near * (2 * place + 3);
        let default = if max_value >= 128 {
            let factor = (max_value.min(4095) + 128) / 256;
            factor * (BASE[number] - (place + 2)) + place + 2 + widened
        } else {
            let factor = 256 / (max_value + 1);
            (BASE[number] / factor + widened).max(place + 2)
        };
        let clamped = if default > max_value || default < least { least } else { default };
        *threshold = if preset[number] == 0 { clamped } else { preset[number] };
        if *threshold < least || *threshold > max_value {
            return Err(malformed("its thresholds are impossible"));
        }
        least = *threshold;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of ITU T.87 table C.3 and its formulas, worked by hand.
    #[test]
    fn default_thresholds_are_those_of_the_standard() {
        let of = |precision, near| Parameters::new(precision, near, &Presets::default()).unwrap().thresholds;
        assert_eq!(of(8, 0), [3, 7, 21]);
        assert_eq!(of(12, 0), [18, 67, 276]);
        assert_eq!(of(16, 0), [18, 67, 276]);
        assert_eq!(of(8, 3), [12, 22, 42]);
        // 256 / 16 = 16: 3/16, 7/16 and 21/16 are below the least values 2, 3, 4.
        assert_eq!(of(4, 0), [2, 3, 4]);
    }

    #[test]
    fn code_lengths_follow_from_the_range() {
        let of = |precision, near| Parameters::new(precision, near, &Presets::default()).unwrap();
        assert_eq!((of(8, 0).range, of(8, 0).plain_bits, of(8, 0).limit), (256, 8, 32));
        assert_eq!((of(16, 0).range, of(16, 0).plain_bits, of(16, 0).limit), (65_536, 16, 64));
        // (255 + 6) / 7 + 1.
        assert_eq!((of(8, 3).range, of(8, 3).plain_bits), (38, 6));
        assert_eq!((of(2, 0).range, of(2, 0).limit), (4, 20));
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let refused = |precision, near, presets| Parameters::new(precision, near, &presets).is_err();
        assert!(refused(1, 0, Presets::default()) && refused(17, 0, Presets::default()));
        assert!(refused(4, 8, Presets::default()));
        assert!(refused(8, 0, Presets { max_value: 256, ..Presets::default() }));
        assert!(refused(8, 0, Presets { thresholds: [9, 8, 9], ..Presets::default() }));
        assert!(refused(8, 0, Presets { reset: 2, ..Presets::default() }));
    }
}
