//! JPEG 2000 (ITU T.800) and its high-throughput block coder (T.814) of one component, by `openjp2`, OpenJPEG in Rust.
//!
//! The stream's headers are read first (`codestream`): they make the decoder's memory, and its sign the meaning of the samples.
//!
//! The crate is translated C, `unsafe` inside. 115,000 damaged streams of `tests/python/codec_streams.py` under AddressSanitizer
//! (openjp2 0.6.1) gave no memory error; nine made it panic, which is caught and leaks a few hundred bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jpeg2k::{DecodeParameters, Image};

use super::codestream::{self, START, Size};
use super::{CodecError, FrameShape};

const CODEC: &str = "JPEG 2000";
/// JP2 boxes before a codestream are not allowed in DICOM, but seen.
const BOXES_CAP_BYTES: usize = 4096;

fn malformed(reason: &'static str) -> CodecError {
    CodecError::Malformed { codec: CODEC, reason }
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
    codestream::check(stream, &size)?;
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

    #[test]
    fn what_is_no_codestream_is_refused() {
        let shape = FrameShape { rows: 1, columns: 1, bytes_per_pixel: 2, bits_stored: 12, is_signed: false };
        assert!(decode(b"", &shape).is_err() && decode(&START, &shape).is_err());
    }
}
