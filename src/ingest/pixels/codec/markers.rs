//! The marker segments that JPEG and JPEG-LS streams are made of (ITU T.81 B.1.1).

use super::CodecError;

pub(super) const SOI: u8 = 0xD8;
pub(super) const EOI: u8 = 0xD9;
pub(super) const SOS: u8 = 0xDA;
pub(super) const DRI: u8 = 0xDD;

/// Walks over the segments in front of the entropy-coded data.
pub(super) struct Segments<'a> {
    codec: &'static str,
    stream: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    /// Starts behind the start-of-image marker.
    pub(super) fn new(codec: &'static str, stream: &'a [u8]) -> Result<Self, CodecError> {
        if !stream.starts_with(&[0xFF, SOI]) {
            return Err(CodecError::Malformed { codec, reason: "it does not begin with the start-of-image marker" });
        }
        Ok(Self { codec, stream, at: 2 })
    }

    /// The next marker and what its segment holds; the end of the image and of the data are errors.
    pub(super) fn next(&mut self) -> Result<(u8, &'a [u8]), CodecError> {
        let truncated = CodecError::Truncated { codec: self.codec };
        let malformed = |reason| CodecError::Malformed { codec: self.codec, reason };
        if *self.stream.get(self.at).ok_or(truncated.clone())? != 0xFF {
            return Err(malformed("bytes between its segments"));
        }
        // Any number of 0xFF may fill the place in front of a marker.
        while self.stream.get(self.at) == Some(&0xFF) {
            self.at += 1;
        }
        let marker = *self.stream.get(self.at).ok_or(truncated.clone())?;
        if matches!(marker, 0x00 | 0x01 | 0xD0..=EOI) {
            return Err(malformed("it has no image"));
        }
        let start = self.at + 1;
        let length = self.stream.get(start..start + 2).ok_or(truncated.clone())?;
        let end = start + usize::from(u16::from_be_bytes([length[0], length[1]]));
        if end < start + 2 {
            return Err(malformed("a segment without a length"));
        }
        let payload = self.stream.get(start + 2..end).ok_or(truncated)?;
        self.at = end;
        Ok((marker, payload))
    }

    /// What follows the last segment.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.stream.get(self.at..).unwrap_or_default()
    }
}

/// Frame header of JPEG and JPEG-LS, of one component (ITU T.81 B.2.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) precision: u32,
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) component: u8,
    /// Selects the quantisation table.
    pub(super) quantisation: u8,
}

impl Frame {
    pub(super) fn parse(codec: &'static str, payload: &[u8]) -> Result<Self, CodecError> {
        let [precision, y1, y0, x1, x0, components, rest @ ..] = payload else {
            return Err(CodecError::Malformed { codec, reason: "its frame header is too short" });
        };
        if *components != 1 {
            return Err(CodecError::Unsupported { codec, feature: "more than one component" });
        }
        let [component, _sampling, quantisation, ..] = rest else {
            return Err(CodecError::Malformed { codec, reason: "its frame header is too short" });
        };
        let rows = u32::from(u16::from_be_bytes([*y1, *y0]));
        if rows == 0 {
            return Err(CodecError::Unsupported { codec, feature: "a height that comes behind the pixels" });
        }
        Ok(Self {
            precision: u32::from(*precision),
            rows,
            columns: u32::from(u16::from_be_bytes([*x1, *x0])),
            component: *component,
            quantisation: *quantisation,
        })
    }
}

/// Scan header of JPEG and JPEG-LS, of one component (ITU T.81 B.2.3).
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan {
    /// JPEG: entropy tables (DC, AC); JPEG-LS: the mapping table.
    pub(super) tables: u8,
    /// First of three parameters: start of spectral selection, predictor or NEAR.
    pub(super) first: u8,
    /// Second one: end of spectral selection or interleave mode.
    pub(super) second: u8,
    /// Third one, low half: point transform.
    pub(super) point_transform: u8,
}

impl Scan {
    pub(super) fn parse(codec: &'static str, payload: &[u8], frame: &Frame) -> Result<Self, CodecError> {
        let [1, component, tables, first, second, approximation, ..] = payload else {
            return Err(CodecError::Malformed { codec, reason: "its scan header is not of one component" });
        };
        if *component != frame.component {
            return Err(CodecError::Malformed { codec, reason: "its scan is of an unknown component" });
        }
        Ok(Self { tables: *tables, first: *first, second: *second, point_transform: approximation & 15 })
    }
}
