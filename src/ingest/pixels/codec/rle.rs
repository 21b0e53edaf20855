//! DICOM RLE (PS3.5 annex G): a header of 16 offsets, then one PackBits segment per byte of a pixel, the most significant first.

use super::{CodecError, FrameShape};

const HEADER_BYTES: usize = 64;
const CODEC: &str = "RLE";

fn malformed(reason: &'static str) -> CodecError {
    CodecError::Malformed { codec: CODEC, reason }
}

/// Decodes one frame.
///
/// # Errors
/// [`CodecError`].
pub(super) fn decode(stream: &[u8], shape: &FrameShape) -> Result<Vec<u8>, CodecError> {
    let pixels = shape.pixels()?;
    let header = stream.get(..HEADER_BYTES).ok_or(CodecError::Truncated { codec: CODEC })?;
    let mut words = header.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let segments = words.next().and_then(|count| usize::try_from(count).ok());
    if segments != Some(shape.bytes_per_pixel) {
        return Err(malformed("it has not one segment for each byte of a pixel"));
    }
    let mut offsets: Vec<usize> =
        words.take(shape.bytes_per_pixel).map(|offset| usize::try_from(offset).unwrap_or(usize::MAX)).collect();
    offsets.push(stream.len());
    let is_ascending = offsets.is_sorted() && offsets.first().is_some_and(|first| *first >= HEADER_BYTES);
    if !is_ascending {
        return Err(malformed("its segments do not follow each other within the stream"));
    }
    let mut bytes = vec![0; pixels * shape.bytes_per_pixel];
    for (number, bounds) in offsets.windows(2).enumerate() {
        let segment = stream.get(bounds[0]..bounds[1]).ok_or(CodecError::Truncated { codec: CODEC })?;
        // The first segment holds the most significant byte, which comes last in little-endian order.
        let place = shape.bytes_per_pixel - 1 - number;
        unpack(segment, bytes.iter_mut().skip(place).step_by(shape.bytes_per_pixel))?;
    }
    Ok(bytes)
}

/// Fills `pixels` from one segment. Bytes behind the last pixel are padding.
fn unpack<'a>(segment: &[u8], mut pixels: impl Iterator<Item = &'a mut u8>) -> Result<(), CodecError> {
    let truncated = CodecError::Truncated { codec: CODEC };
    let mut rest = segment;
    let mut pixel = pixels.next();
    while pixel.is_some() {
        let (control, tail) = rest.split_first().ok_or(truncated.clone())?;
        let control = usize::from(*control);
        let (run, repeats) = match control {
            // A last run may promise more than there is, when no pixel needs it.
            0..128 => (tail.get(..=control).unwrap_or(tail), 1),
            // Does nothing (PS3.5 G.3.1).
            128 => (&[][..], 0),
            _ => (tail.get(..1).ok_or(truncated.clone())?, 257 - control),
        };
        rest = &tail[run.len()..];
        for byte in run.iter().flat_map(|byte| std::iter::repeat_n(*byte, repeats)) {
            match pixel {
                Some(place) => *place = byte,
                // A run of zeros may cover the byte that makes a segment even.
                None => break,
            }
            pixel = pixels.next();
        }
    }
    Ok(())
}
