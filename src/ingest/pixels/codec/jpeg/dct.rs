//! The sequential DCT process of JPEG (ITU T.81 annex F): blocks of 8 x 8 coefficients, of samples of 8 or 12 bits.

use super::super::CodecError;
use super::super::markers::{Frame, Scan};
use super::huffman::{Bits, Table, signed};
use super::idct::inverse;
use super::{Tables, chosen, malformed};

/// Place in the block, row by row, of each coefficient in zigzag order (ITU T.81 figure A.6).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// No valid coefficient of a 12-bit image is larger; larger ones of hostile streams must not overflow the transform.
const COEFFICIENT_CAP: i32 = 1 << 20;

/// Tables of the scan's one component, and the DC value so far.
struct Coefficients<'t> {
    quantisation: &'t [u16; 64],
    dc: &'t Table,
    ac: &'t Table,
    last_dc: i32,
}

impl Coefficients<'_> {
    /// Takes one block, dequantised, row by row.
    fn block(&mut self, bits: &mut Bits<'_>) -> Result<[i32; 64], CodecError> {
        let mut block = [0; 64];
        let size = u32::from(self.dc.symbol(bits)?);
        if size > 15 {
            return Err(malformed("a DC difference of more than 15 bits"));
        }
        self.last_dc = (self.last_dc + signed(bits, size)?).clamp(-COEFFICIENT_CAP, COEFFICIENT_CAP);
        block[0] = self.dequantised(0, self.last_dc);
        let mut number = 1;
        while number < 64 {
            let symbol = self.ac.symbol(bits)?;
            let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            match (zeros, size) {
                (15, 0) => number += 16,
                // The other coefficients are zero.
                (_, 0) => break,
                _ => {
                    number += zeros;
                    let value = signed(bits, size)?;
                    let place = ZIGZAG.get(number).ok_or_else(|| malformed("a block of more than 64 coefficients"))?;
                    block[usize::from(*place)] = self.dequantised(number, value);
                    number += 1;
                }
            }
        }
        Ok(block)
    }

    fn dequantised(&self, number: usize, value: i32) -> i32 {
        value.saturating_mul(i32::from(self.quantisation[number])).clamp(-COEFFICIENT_CAP, COEFFICIENT_CAP)
    }
}

/// Decodes the samples of a scan, row by row.
pub(super) fn decode(frame: &Frame, scan: &Scan, tables: &Tables, data: &[u8]) -> Result<Vec<u16>, CodecError> {
    if frame.precision != 8 && frame.precision != 12 {
        return Err(malformed("its precision is neither 8 nor 12 bits"));
    }
    // A sequential scan holds whole blocks, whatever its spectral selection says: NEMA's own samples say 0 to 0 (libjpeg warns and goes on).
    if scan.point_transform != 0 {
        return Err(malformed("its scan does not hold whole values"));
    }
    let mut coefficients = Coefficients {
        quantisation: chosen(&tables.quantisation, frame.quantisation)?,
        dc: chosen(&tables.dc, scan.tables >> 4)?,
        ac: chosen(&tables.ac, scan.tables & 15)?,
        last_dc: 0,
    };
    let (rows, columns) = (frame.rows as usize, frame.columns as usize);
    let mut bits = Bits::new(data);
    let mut samples = vec![0; rows * columns];
    let (mut until_restart, mut restarts) = (tables.restart_interval, 0_u8);
    // A band is eight rows, the last one perhaps fewer.
    for band in samples.chunks_mut(8 * columns) {
        for left in (0..columns).step_by(8) {
            if tables.restart_interval > 0 {
                if until_restart == 0 {
                    bits.restart(restarts)?;
                    restarts = (restarts + 1) % 8;
                    coefficients.last_dc = 0;
                    until_restart = tables.restart_interval;
                }
                until_restart -= 1;
            }
            let block = inverse(&coefficients.block(&mut bits)?, frame.precision);
            let width = (columns - left).min(8);
            for (line, values) in band.chunks_mut(columns).zip(block.chunks_exact(8)) {
                line[left..left + width].copy_from_slice(&values[..width]);
            }
        }
    }
    Ok(samples)
}
