//! JPEG-LS of one component (ITU T.87), lossless and near-lossless, 2 to 16 bits, with preset parameters and restart intervals.

mod parameters;
mod scan;

use super::markers::{DRI, Frame, SOS, Scan, Segments};
use super::{CodecError, FrameShape};
use parameters::{Parameters, Presets};

const CODEC: &str = "JPEG-LS";
const SOF55: u8 = 0xF7;
const LSE: u8 = 0xF8;

fn malformed(reason: &'static str) -> CodecError {
    CodecError::Malformed { codec: CODEC, reason }
}

fn unsupported(feature: &'static str) -> CodecError {
    CodecError::Unsupported { codec: CODEC, feature }
}

/// Whether a stream of the JPEG family is JPEG-LS: its frame header is SOF55.
pub(super) fn is_jpeg_ls(stream: &[u8]) -> bool {
    let Ok(mut segments) = Segments::new(CODEC, stream) else { return false };
    loop {
        match segments.next() {
            Ok((SOF55, _)) => return true,
            // Huffman tables and arithmetic conditioning lie among the other frame headers.
            Ok((0xC0..=0xCF | SOS, _)) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// Decodes one frame.
///
/// # Errors
/// [`CodecError`].
pub(super) fn decode(stream: &[u8], shape: &FrameShape) -> Result<Vec<u8>, CodecError> {
    let mut segments = Segments::new(CODEC, stream)?;
    let (mut frame, mut presets, mut restart_lines) = (None, Presets::default(), 0);
    loop {
        let (marker, payload) = segments.next()?;
        match marker {
            SOF55 if frame.is_some() => return Err(malformed("it has two frame headers")),
            SOF55 => frame = Some(Frame::parse(CODEC, payload)?),
            LSE => presets.read(payload)?,
            DRI => restart_lines = restart_interval(payload)?,
            SOS => {
                let frame = frame.ok_or_else(|| malformed("its scan comes before its frame header"))?;
                let header = Scan::parse(CODEC, payload, &frame)?;
                shape.must_be(frame.rows, frame.columns)?;
                shape.must_hold(frame.precision)?;
                check(&header)?;
                let parameters = Parameters::new(frame.precision, u32::from(header.first), &presets)?;
                let mut samples = scan::decode(&frame, &parameters, restart_lines, segments.rest())?;
                // The standard has no sign of its own.
                shape.sign_extend(&mut samples, frame.precision);
                return Ok(shape.pack(&samples));
            }
            _ => {}
        }
    }
}

/// Refuses scans that no writer of grey images makes. The interleave mode of one component means nothing.
fn check(header: &Scan) -> Result<(), CodecError> {
    if header.tables != 0 {
        return Err(unsupported("a mapping table"));
    }
    if header.second > 2 {
        return Err(malformed("its interleave mode is unknown"));
    }
    if header.point_transform != 0 {
        return Err(unsupported("a point transform"));
    }
    Ok(())
}

/// Lines between restart markers; 0: none. The field has two to four bytes (ITU T.87 C.2.5).
fn restart_interval(payload: &[u8]) -> Result<u32, CodecError> {
    if !(2..=4).contains(&payload.len()) {
        return Err(malformed("its restart interval has a wrong length"));
    }
    Ok(payload.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}
