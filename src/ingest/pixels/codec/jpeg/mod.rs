//! JPEG of one component (ITU T.81): sequential DCT of 8 and 12 bits and the lossless process, Huffman-coded.
//!
//! The frame header says which; progressive, hierarchical and arithmetic-coded streams, retired from DICOM, are refused by name.

mod dct;
mod huffman;
mod idct;
mod lossless;

use super::markers::{DRI, Frame, SOS, Scan, Segments};
use super::{CodecError, FrameShape};
use huffman::Table;

const CODEC: &str = "JPEG";
const DHT: u8 = 0xC4;
const DQT: u8 = 0xDB;

fn malformed(reason: &'static str) -> CodecError {
    CodecError::Malformed { codec: CODEC, reason }
}

/// How the samples were coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    Sequential,
    Lossless,
}

/// The process of a start-of-frame marker.
fn process(marker: u8) -> Result<Process, CodecError> {
    let feature = match marker {
        0xC0 | 0xC1 => return Ok(Process::Sequential),
        0xC3 => return Ok(Process::Lossless),
        0xC2 => "the progressive process",
        0xC5..=0xC7 => "a hierarchical process",
        _ => "arithmetic coding",
    };
    Err(CodecError::Unsupported { codec: CODEC, feature })
}

/// What the segments in front of the scan say.
#[derive(Default)]
struct Tables {
    /// In zigzag order.
    quantisation: [Option<[u16; 64]>; 4],
    /// DC or lossless.
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    /// Units (blocks or samples) between restart markers; 0: none.
    restart_interval: u32,
}

/// Decodes one frame.
///
/// # Errors
/// [`CodecError`].
pub(super) fn decode(stream: &[u8], shape: &FrameShape) -> Result<Vec<u8>, CodecError> {
    let mut segments = Segments::new(CODEC, stream)?;
    let mut tables = Tables::default();
    let mut frame = None;
    loop {
        let (marker, payload) = segments.next()?;
        match marker {
            DHT => tables.huffman(payload)?,
            DQT => tables.quantisation(payload)?,
            DRI => tables.restart_interval = restart_interval(payload)?,
            0xC8 | 0xCC => return Err(CodecError::Unsupported { codec: CODEC, feature: "arithmetic coding" }),
            0xC0..=0xCF => {
                if frame.is_some() {
                    return Err(malformed("it has two frame headers"));
                }
                frame = Some((process(marker)?, Frame::parse(CODEC, payload)?));
            }
            SOS => {
                let (process, frame) = frame.ok_or_else(|| malformed("its scan comes before its frame header"))?;
                let scan = Scan::parse(CODEC, payload, &frame)?;
                shape.must_be(frame.rows, frame.columns)?;
                shape.must_hold(frame.precision)?;
                let samples = match process {
                    Process::Sequential => dct::decode(&frame, &scan, &tables, segments.rest())?,
                    Process::Lossless => lossless::decode(&frame, &scan, &tables, segments.rest())?,
                };
                return Ok(shape.pack(&samples));
            }
            // Application data, comments and what else is of no meaning for one grey component.
            _ => {}
        }
    }
}

fn restart_interval(payload: &[u8]) -> Result<u32, CodecError> {
    match payload {
        [high, low] => Ok(u32::from(u16::from_be_bytes([*high, *low]))),
        _ => Err(malformed("its restart interval has a wrong length")),
    }
}

impl Tables {
    /// Reads a DHT segment (ITU T.81 B.2.4.2).
    fn huffman(&mut self, mut payload: &[u8]) -> Result<(), CodecError> {
        while let Some((&place, rest)) = payload.split_first() {
            let too_short = || malformed("a Huffman table is too short");
            let counts = rest.get(..16).ok_or_else(too_short)?;
            let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let symbols = rest.get(16..16 + total).ok_or_else(too_short)?;
            let tables = match place >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(malformed("a Huffman table of an unknown class")),
            };
            let slot = tables.get_mut(usize::from(place & 15)).ok_or_else(|| malformed("a fifth Huffman table"))?;
            *slot = Some(Table::new(counts, symbols)?);
            payload = rest.get(16 + total..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads a DQT segment (ITU T.81 B.2.4.1).
    fn quantisation(&mut self, mut payload: &[u8]) -> Result<(), CodecError> {
        while let Some((&place, rest)) = payload.split_first() {
            let width = if place >> 4 == 0 { 1 } else { 2 };
            let values = rest.get(..64 * width).ok_or_else(|| malformed("a quantisation table is too short"))?;
            let slot = self.quantisation.get_mut(usize::from(place & 15));
            let slot = slot.ok_or_else(|| malformed("a fifth quantisation table"))?;
            let mut table = [0; 64];
            for (entry, bytes) in table.iter_mut().zip(values.chunks_exact(width)) {
                *entry = bytes.iter().fold(0, |value, byte| value << 8 | u16::from(*byte));
            }
            *slot = Some(table);
            payload = rest.get(64 * width..).unwrap_or_default();
        }
        Ok(())
    }
}

/// A table that the scan asks for.
fn chosen<T>(tables: &[Option<T>; 4], number: u8) -> Result<&T, CodecError> {
    let table = tables.get(usize::from(number)).and_then(Option::as_ref);
    table.ok_or_else(|| malformed("a table that the scan needs is missing"))
}
