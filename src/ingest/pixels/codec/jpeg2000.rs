//! JPEG 2000 (ITU T.800) and its high-throughput block coder (T.814) of one component, by `openjp2`, OpenJPEG in Rust.
//!
//! The stream's own header is read first: its sizes make the decoder's memory, and its sign the meaning of the samples.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jpeg2k::{DecodeParameters, Image};

use super::{CodecError, FrameShape};

const CODEC: &str = "JPEG 2000";
/// Start of codestream and of its size segment.
const START: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
/// JP2 boxes before a codestream are not allowed in DICOM, but seen.
const BOXES_CAP_BYTES: usize = 4096;
/// Tiles of scans are few; each costs memory and time.
const TILES_CAP: u64 = 1 << 14;

fn malformed(reason: &'static str) -> CodecError {
    CodecError::Malformed { codec: CODEC, reason }
}

/// The size segment (ITU T.800 A.5.1), of one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    rows: u32,
    columns: u32,
    precision: u32,
    is_signed: bool,
}

impl Size {
    /// Of a stream that begins with [`START`].
    fn of(stream: &[u8]) -> Result<Self, CodecError> {
        let truncated = || CodecError::Truncated { codec: CODEC };
        let narrow = |at: usize| stream.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]])).ok_or_else(truncated);
        let wide = |at: usize| {
            stream.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).ok_or_else(truncated)
        };
        if narrow(40)? != 1 {
            return Err(CodecError::Unsupported { codec: CODEC, feature: "more than one component" });
        }
        let &[depth, across, down] = stream.get(42..45).ok_or_else(truncated)? else { return Err(truncated()) };
        if (across, down) != (1, 1) {
            return Err(CodecError::Unsupported { codec: CODEC, feature: "subsampling" });
        }
        let (right, bottom, left, top) = (wide(8)?, wide(12)?, wide(16)?, wide(20)?);
        let extent = |end: u32, start: u32| end.checked_sub(start).ok_or_else(|| malformed("its image has no size"));
        let tiles = |end: u32, size: u32, start: u32| {
            let length = end.checked_sub(start).filter(|_| size > 0);
            length.map(|length| u64::from(length.div_ceil(size))).ok_or_else(|| malformed("its tiles have no size"))
        };
        let count = tiles(right, wide(24)?, wide(32)?)?.saturating_mul(tiles(bottom, wide(28)?, wide(36)?)?);
        if count > TILES_CAP {
            return Err(malformed("it is cut into more tiles than any scan"));
        }
        Ok(Self {
            rows: extent(bottom, top)?,
            columns: extent(right, left)?,
            precision: u32::from(depth & 0x7F) + 1,
            is_signed: depth & 0x80 != 0,
        })
    }
}

/// Decodes one frame.
///
/// # Errors
/// [`CodecError`].
pub(super) fn decode(stream: &[u8], shape: &FrameShape) -> Result<Vec<u8>, CodecError> {
    let boxes = &stream[..stream.len().min(BOXES_CAP_BYTES)];
    let start = boxes.windows(START.len()).position(|window| window == START);
    let stream = &stream[start.ok_or_else(|| malformed("it has no codestream"))?..];
    let size = Size::of(stream)?;
    shape.must_be(size.rows, size.columns)?;
    shape.must_hold(size.precision)?;
    let decoded = catch_unwind(AssertUnwindSafe(|| samples(stream)));
    let values = decoded.map_err(|_| CodecError::Panicked { codec: CODEC })??;
    if values.len() != shape.pixels()? {
        return Err(CodecError::Truncated { codec: CODEC });
    }
    // A signed stream comes as signed numbers; cut to 16 bits they are the two's complement that is wanted.
    let low = |value: &i32| {
        let [low, high, ..] = value.to_le_bytes();
        u16::from_le_bytes([low, high])
    };
    let mut samples: Vec<u16> = values.iter().map(low).collect();
    match (size.is_signed, shape.is_signed) {
        (false, _) => shape.sign_extend(&mut samples, size.precision),
        // The header's word counts: the same bits without a sign.
        (true, false) if size.precision < 16 => {
            samples.iter_mut().for_each(|sample| *sample &= (1 << size.precision) - 1);
        }
        (true, _) => {}
    }
    Ok(shape.pack(&samples))
}

fn samples(stream: &[u8]) -> Result<Vec<i32>, CodecError> {
    let image = Image::from_bytes_with(stream, DecodeParameters::new().strict(true));
    let image = image.map_err(|_| malformed("its packets cannot be decoded, or it is cut off"))?;
    image
        .components()
        .first()
        .map(|component| component.data().to_vec())
        .ok_or_else(|| malformed("it has no component"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand from ITU T.800 A.5.1.
    #[test]
    fn the_size_segment_is_read_before_anything_is_decoded() {
        let mut stream = START.to_vec();
        stream.extend([0, 41, 0, 0]);
        for value in [300_u32, 200, 10, 20, 300, 200, 0, 0] {
            stream.extend(value.to_be_bytes());
        }
        stream.extend([0, 1, 0x8B, 1, 1]);
        let size = Size { rows: 180, columns: 290, precision: 12, is_signed: true };
        assert_eq!(Size::of(&stream), Ok(size));
        for length in 4..stream.len() {
            assert!(Size::of(&stream[..length]).is_err());
        }
        stream[24..32].fill(0);
        assert!(Size::of(&stream).is_err(), "tiles without a size");
        let shape = FrameShape { rows: 1, columns: 1, bytes_per_pixel: 2, bits_stored: 12, is_signed: false };
        assert!(decode(b"", &shape).is_err() && decode(b"\xff\x4f\xff\x51", &shape).is_err());
    }
}
