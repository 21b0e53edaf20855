//! Why a compressed frame cannot be decoded. No message holds anything but numbers and words of the compression's standard.

/// Why a compressed frame cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A frame that no caller should ask for.
    #[error("a frame of {rows} x {columns} pixels of {bytes_per_pixel} bytes cannot be decoded")]
    Shape {
        /// Rows asked for.
        rows: u32,
        /// Columns asked for.
        columns: u32,
        /// Bytes per pixel asked for.
        bytes_per_pixel: usize,
    },
    /// The stream is of another size than the header.
    #[error("the compressed stream is {found_rows} x {found_columns} pixels, the header says {rows} x {columns}")]
    Size {
        /// Rows of the stream.
        found_rows: u32,
        /// Columns of the stream.
        found_columns: u32,
        /// Rows of the header.
        rows: u32,
        /// Columns of the header.
        columns: u32,
    },
    /// The stream's samples do not fit.
    #[error("the compressed stream has samples of {precision} bits, the header allows {bits}")]
    Depth {
        /// Bits of the stream's samples.
        precision: u32,
        /// Bits of a pixel.
        bits: u32,
    },
    /// The stream ends before the last pixel.
    #[error("the {codec} stream is cut off")]
    Truncated {
        /// The compression.
        codec: &'static str,
    },
    /// The stream breaks its standard.
    #[error("the {codec} stream is malformed: {reason}")]
    Malformed {
        /// The compression.
        codec: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// The stream uses what this program does not decode.
    #[error(
        "the {codec} stream uses {feature}, which cannot be decoded here; decompress it first, for example with `gdcmconv --raw`"
    )]
    Unsupported {
        /// The compression.
        codec: &'static str,
        /// The feature.
        feature: &'static str,
    },
    /// The decoder gave up in an unexpected way.
    #[error("the decoder failed on a malformed {codec} stream")]
    Panicked {
        /// The compression.
        codec: &'static str,
    },
}
