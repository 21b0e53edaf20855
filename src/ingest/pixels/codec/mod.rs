//! The image compressions that DICOM encapsulates (PS3.5 8.2 and annex A.4): one frame's stream in, its samples out.
//!
//! Own decoders read RLE, JPEG (sequential and lossless) and JPEG-LS; [`jpeg2000`] guards and calls a crate. Nothing here knows of files,
//! frames in fragments, rescale or colour: one grey component a stream. Streams are hostile: their own size must be the header's before
//! memory is taken, every length is checked, work is bounded by pixels plus stream bytes, and a cut-off stream is an error, never a guess.

mod bits;
mod codestream;
mod error;
mod jpeg;
mod jpeg2000;
mod jpeg_ls;
mod markers;
mod rle;

use super::FRAME_PIXELS_CAP;
pub use error::CodecError;

/// A compression, whatever the exact transfer syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Run lengths of byte planes (PS3.5 annex G).
    Rle,
    /// Sequential DCT of 8 bits (ITU T.81 process 1).
    JpegBaseline,
    /// Sequential DCT of 8 or 12 bits (ITU T.81 processes 2 and 4).
    JpegExtended,
    /// Predictive Huffman coding of 2 to 16 bits (ITU T.81 process 14, any selection value).
    JpegLossless,
    /// ITU T.87, lossless and near-lossless.
    JpegLs,
    /// ITU T.800.
    Jpeg2000,
    /// ITU T.814: JPEG 2000 with faster code blocks.
    HighThroughputJpeg2000,
}

impl Codec {
    /// The codec of a transfer syntax; `None` when it is native, deflated, video or not of scans.
    pub fn of(transfer_syntax_uid: &str) -> Option<Self> {
        Some(match transfer_syntax_uid.strip_prefix("1.2.840.10008.1.2.")? {
            "5" => Self::Rle,
            "4.50" => Self::JpegBaseline,
            "4.51" => Self::JpegExtended,
            "4.57" | "4.70" => Self::JpegLossless,
            "4.80" | "4.81" => Self::JpegLs,
            "4.90" | "4.91" => Self::Jpeg2000,
            "4.201" | "4.202" | "4.203" => Self::HighThroughputJpeg2000,
            _ => return None,
        })
    }

    /// Whether a transfer syntax promises that the scanner's values come back unchanged. False for those that allow both.
    pub fn is_lossless(transfer_syntax_uid: &str) -> bool {
        let lossless = ["5", "4.57", "4.70", "4.80", "4.90", "4.201", "4.202"];
        transfer_syntax_uid.strip_prefix("1.2.840.10008.1.2.").is_some_and(|end| lossless.contains(&end))
    }

    /// The name that people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rle => "RLE",
            Self::JpegBaseline => "JPEG baseline",
            Self::JpegExtended => "JPEG extended",
            Self::JpegLossless => "JPEG lossless",
            Self::JpegLs => "JPEG-LS",
            Self::Jpeg2000 => "JPEG 2000",
            Self::HighThroughputJpeg2000 => "High-Throughput JPEG 2000",
        }
    }
}

/// What the DICOM header says of every frame. One sample a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameShape {
    /// Rows, at least 1.
    pub rows: u32,
    /// Columns, at least 1.
    pub columns: u32,
    /// Bytes that a pixel takes in the decoded frame: 1 or 2.
    pub bytes_per_pixel: usize,
    /// Bits of a pixel that hold its value (BitsStored).
    pub bits_stored: u32,
    /// Two's complement values (PixelRepresentation 1).
    pub is_signed: bool,
}

impl FrameShape {
    /// Pixels of a frame, when that many are believed.
    fn pixels(&self) -> Result<usize, CodecError> {
        let pixels = u64::from(self.rows) * u64::from(self.columns);
        let believed = pixels > 0 && pixels <= FRAME_PIXELS_CAP && matches!(self.bytes_per_pixel, 1 | 2);
        let pixels = usize::try_from(pixels).ok().filter(|_| believed);
        pixels.ok_or(CodecError::Shape {
            rows: self.rows,
            columns: self.columns,
            bytes_per_pixel: self.bytes_per_pixel,
        })
    }

    /// Refuses a stream whose own rows and columns are others, before anything is made of them.
    fn must_be(&self, rows: u32, columns: u32) -> Result<(), CodecError> {
        if (rows, columns) == (self.rows, self.columns) {
            return Ok(());
        }
        Err(CodecError::Size { found_rows: rows, found_columns: columns, rows: self.rows, columns: self.columns })
    }

    /// Refuses samples of more bits than a decoded pixel has.
    fn must_hold(&self, precision: u32) -> Result<(), CodecError> {
        let bits = if self.bytes_per_pixel == 1 { 8 } else { 16 };
        if precision <= bits { Ok(()) } else { Err(CodecError::Depth { precision, bits }) }
    }

    /// Samples as little-endian bytes, cut to the pixel's width.
    fn pack(&self, samples: &[u16]) -> Vec<u8> {
        match self.bytes_per_pixel {
            1 => samples.iter().map(|sample| sample.to_le_bytes()[0]).collect(),
            _ => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        }
    }

    /// The two's complement that a stream of `precision` bits without a sign of its own stands for. Unchanged for unsigned pixels.
    fn sign_extend(&self, samples: &mut [u16], precision: u32) {
        if !self.is_signed || !(1..16).contains(&precision) {
            return;
        }
        let (sign, high) = (1_u16 << (precision - 1), u16::MAX << precision);
        for sample in samples.iter_mut().filter(|sample| **sample & sign != 0) {
            *sample |= high;
        }
    }
}

/// Decodes one frame: all its fragments, put together.
///
/// Gives rows x columns x bytes per pixel bytes, little-endian, row by row. Bits above BitsStored are as the stream has them; a stream
/// of fewer bits than the pixel is sign-extended where its standard lets it hold signed values (JPEG-LS, JPEG 2000).
///
/// # Errors
/// [`CodecError`]: the stream contradicts the header or its standard, is cut off, or uses what no scanner does.
pub fn decode(codec: Codec, stream: &[u8], shape: &FrameShape) -> Result<Vec<u8>, CodecError> {
    shape.pixels()?;
    match codec {
        Codec::Rle => rle::decode(stream, shape),
        // The stream says which process made it; writers get the transfer syntax wrong among these.
        Codec::JpegBaseline | Codec::JpegExtended | Codec::JpegLossless | Codec::JpegLs => {
            if jpeg_ls::is_jpeg_ls(stream) { jpeg_ls::decode(stream, shape) } else { jpeg::decode(stream, shape) }
        }
        Codec::Jpeg2000 | Codec::HighThroughputJpeg2000 => jpeg2000::decode(stream, shape),
    }
}

#[cfg(test)]
mod tests;
