//! The lossless process of JPEG (ITU T.81 annex H): each sample is predicted from its neighbours, the difference is Huffman-coded.

use super::super::CodecError;
use super::super::markers::{Frame, Scan};
use super::huffman::{Bits, Table, signed};
use super::{CODEC, Tables, chosen, malformed};

/// Decodes the samples of a scan, row by row.
pub(super) fn decode(frame: &Frame, scan: &Scan, tables: &Tables, data: &[u8]) -> Result<Vec<u16>, CodecError> {
    let (precision, shift) = (frame.precision, u32::from(scan.point_transform));
    if !(2..=16).contains(&precision) || shift >= precision {
        return Err(malformed("its precision or point transform is impossible"));
    }
    if !(1..=7).contains(&scan.first) {
        return Err(malformed("its predictor is none of 1 to 7"));
    }
    if !tables.restart_interval.is_multiple_of(frame.columns) {
        return Err(CodecError::Unsupported { codec: CODEC, feature: "restart intervals of parts of a line" });
    }
    let table = chosen(&tables.dc, scan.tables >> 4)?;
    let restart_rows = (tables.restart_interval / frame.columns) as usize;
    let (rows, columns) = (frame.rows as usize, frame.columns as usize);
    let mut bits = Bits::new(data);
    let mut samples = vec![0_u16; rows * columns];
    let mut restarts = 0_u8;
    for row in 0..rows {
        let (before, rest) = samples.split_at_mut(row * columns);
        let mut above = before.get((row.max(1) - 1) * columns..).filter(|_| row > 0);
        if restart_rows > 0 && row > 0 && row % restart_rows == 0 {
            bits.restart(restarts)?;
            restarts = (restarts + 1) % 8;
            above = None;
        }
        let line = &mut rest[..columns];
        match above {
            None => first_line(line, 1 << (precision - shift - 1), table, &mut bits)?,
            Some(above) => next_line(line, above, scan.first, table, &mut bits)?,
        }
    }
    if shift > 0 {
        samples.iter_mut().for_each(|sample| *sample <<= shift);
    }
    Ok(samples)
}

/// The next difference, modulo 2^16.
fn difference(table: &Table, bits: &mut Bits<'_>) -> Result<u16, CodecError> {
    let size = u32::from(table.symbol(bits)?);
    match size {
        0..16 => Ok(wrapped(signed(bits, size)?)),
        // No bits follow (ITU T.81 H.1.2.2).
        16 => Ok(1 << 15),
        _ => Err(malformed("a difference of more than 16 bits")),
    }
}

/// `value` modulo 2^16.
fn wrapped(value: i32) -> u16 {
    let [low, high, ..] = value.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// The first line of the image and of each restart interval is predicted from the left alone.
fn first_line(line: &mut [u16], start: u16, table: &Table, bits: &mut Bits<'_>) -> Result<(), CodecError> {
    let mut left = start;
    for sample in line {
        left = left.wrapping_add(difference(table, bits)?);
        *sample = left;
    }
    Ok(())
}

/// The other lines: the first sample from above, the next ones by `predictor` (ITU T.81 table H.1).
fn next_line(
    line: &mut [u16],
    above: &[u16],
    predictor: u8,
    table: &Table,
    bits: &mut Bits<'_>,
) -> Result<(), CodecError> {
    let Some((&first_above, _)) = above.split_first() else { return Ok(()) };
    let mut left = first_above;
    for (column, sample) in line.iter_mut().enumerate() {
        let predicted = if column == 0 {
            first_above
        } else {
            let (a, b, c) = (i32::from(left), i32::from(above[column]), i32::from(above[column - 1]));
            wrapped(match predictor {
                1 => a,
                2 => b,
                3 => c,
                4 => a + b - c,
                5 => a + ((b - c) >> 1),
                6 => b + ((a - c) >> 1),
                _ => (a + b) >> 1,
            })
        };
        left = predicted.wrapping_add(difference(table, bits)?);
        *sample = left;
    }
    Ok(())
}
