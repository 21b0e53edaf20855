//! Stored values of DICOM frames and their modality rescale (PS3.3 C.7.6.3, C.7.6.16.2.9, C.11.1).
//!
//! Native pixel data are read here, only the wanted frames; compressed ones by dicom-pixeldata, a frame at a time. A missing rescale
//! is 1 and 0, a malformed one is an error. MONOCHROME1 is inverted within its stored range, so that bright stays bright.
//!
//! 8-bit pixels in the retired big-endian syntax are refused: whether their pairs are swapped depends on a VR that writers disagree on.

use std::fs::File;
use std::path::Path;

use dicom::core::Tag;
use dicom::dictionary_std::tags;
use dicom::encoding::TransferSyntaxIndex;
use dicom::object::{FileDicomObject, OpenFileOptions};
use dicom::transfer_syntax::TransferSyntaxRegistry;
use dicom_pixeldata::PixelDecoder;
use ndarray::Array2;

use super::super::dicom::{DicomError, Item, deepest, first, float, integer, malformed, text};
use super::super::outline::{EXPLICIT_VR_BIG_ENDIAN, is_native, walk};
use super::{Channels, FILE_BYTES_CAP, FRAME_PIXELS_CAP, PixelsError, frame_index, guarded};
use crate::fsx::{self, FsError};

type Object = FileDicomObject<Item>;

/// How stored values lie in the pixel data (PS3.5 8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    rows: u32,
    columns: u32,
    frames: u64,
    /// 1 or 2.
    bytes_per_pixel: usize,
    bits_stored: u32,
    high_bit: u32,
    is_signed: bool,
    /// MONOCHROME1: the lowest value is the brightest.
    is_inverted: bool,
}

impl Layout {
    fn of(object: &Object) -> Result<Self, DicomError> {
        let number = |tag: Tag, default: Option<i64>, accepted: std::ops::RangeInclusive<i64>, expected| {
            let found = integer(object, tag)?.or(default);
            match found.filter(|value| accepted.contains(value)) {
                Some(value) => Ok(value),
                None => {
                    Err(malformed(tag, found.map_or_else(|| "missing".to_owned(), |value| value.to_string()), expected))
                }
            }
        };
        let photometric = text(object, tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
        if photometric != "MONOCHROME1" && photometric != "MONOCHROME2" {
            let expected = "MONOCHROME1 or MONOCHROME2: colour is no scan";
            return Err(malformed(tags::PHOTOMETRIC_INTERPRETATION, "another", expected));
        }
        number(tags::SAMPLES_PER_PIXEL, Some(1), 1..=1, "1")?;
        let side = |tag| number(tag, None, 1..=65_535, "1 to 65535").map(|value| value.unsigned_abs());
        let (rows, columns) = (side(tags::ROWS)?, side(tags::COLUMNS)?);
        if rows * columns > FRAME_PIXELS_CAP {
            return Err(malformed(tags::ROWS, format!("{rows} x {columns}"), "at most 2^26 pixels a frame"));
        }
        let frames = number(tags::NUMBER_OF_FRAMES, Some(1), 1..=100_000, "1 to 100000")?.unsigned_abs();
        let allocated = number(tags::BITS_ALLOCATED, None, 8..=16, "8 or 16")?;
        if allocated % 8 != 0 {
            return Err(malformed(tags::BITS_ALLOCATED, allocated.to_string(), "8 or 16"));
        }
        let stored = number(tags::BITS_STORED, Some(allocated), 1..=allocated, "1 to BitsAllocated")?;
        let expected = "BitsStored - 1 to BitsAllocated - 1";
        let high = number(tags::HIGH_BIT, Some(stored - 1), stored - 1..=allocated - 1, expected)?;
        let signed = number(tags::PIXEL_REPRESENTATION, Some(0), 0..=1, "0 or 1")?;
        // All were checked above: at most 65535.
        let small = |value: i64| u32::try_from(value).unwrap_or(0);
        Ok(Self {
            rows: u32::try_from(rows).unwrap_or(0),
            columns: u32::try_from(columns).unwrap_or(0),
            frames,
            bytes_per_pixel: if allocated == 8 { 1 } else { 2 },
            bits_stored: small(stored),
            high_bit: small(high),
            is_signed: signed == 1,
            is_inverted: photometric == "MONOCHROME1",
        })
    }

    fn pixels(&self) -> usize {
        self.rows as usize * self.columns as usize
    }

    fn frame_bytes(&self) -> usize {
        self.pixels() * self.bytes_per_pixel
    }

    /// The stored value in the low `bytes_per_pixel` bytes of `raw`: other bits (old overlays) are cut off, the sign is extended.
    fn stored(&self, raw: u16) -> i32 {
        let mask = (1_u32 << self.bits_stored) - 1;
        let bits = (u32::from(raw) >> (self.high_bit + 1 - self.bits_stored)) & mask;
        let value = i32::try_from(bits).unwrap_or(0);
        let is_negative = self.is_signed && bits >> (self.bits_stored - 1) == 1;
        let signed = if is_negative { value - (1 << self.bits_stored) } else { value };
        match (self.is_inverted, self.is_signed) {
            (false, _) => signed,
            (true, true) => -1 - signed,
            (true, false) => (1 << self.bits_stored) - 1 - signed,
        }
    }
}

/// A linear modality transformation.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rescale {
    slope: f64,
    intercept: f64,
}

/// The rescale that an item holds; `None` when it has neither slope nor intercept.
fn rescale_of(item: &Item) -> Result<Option<Rescale>, DicomError> {
    let (slope, intercept) = (float(item, tags::RESCALE_SLOPE)?, float(item, tags::RESCALE_INTERCEPT)?);
    if slope == Some(0.0) {
        return Err(malformed(tags::RESCALE_SLOPE, "0", "a number other than 0"));
    }
    if slope.is_none() && intercept.is_none() {
        return Ok(None);
    }
    Ok(Some(Rescale { slope: slope.unwrap_or(1.0), intercept: intercept.unwrap_or(0.0) }))
}

/// The rescale of a frame: its own functional group, else the shared one, else the object's.
fn rescale(object: &Object, frame: usize) -> Result<Rescale, DicomError> {
    let per_frame = object.element_opt(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).ok().flatten();
    let own = per_frame.and_then(|element| element.items()).and_then(|items| items.get(frame));
    let shared = first(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    for group in [own, shared].into_iter().flatten() {
        let transformation = first(group, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        if let Some(found) = transformation.map_or(Ok(None), rescale_of)? {
            return Ok(found);
        }
    }
    if first(object, tags::MODALITY_LUT_SEQUENCE).is_some() {
        return Err(malformed(tags::MODALITY_LUT_SEQUENCE, "a table", "RescaleSlope and RescaleIntercept"));
    }
    Ok(rescale_of(object)?.unwrap_or(Rescale { slope: 1.0, intercept: 0.0 }))
}

/// Reads frames of a DICOM file.
///
/// # Errors
/// [`PixelsError`] naming the file and the attribute.
pub fn read(path: &Path, frames: &[i32]) -> Result<Vec<Channels>, PixelsError> {
    let wrong = |source: DicomError| PixelsError::Dicom { path: path.to_path_buf(), source };
    let found_bytes = fsx::size_bytes(path)?;
    if found_bytes > FILE_BYTES_CAP {
        return Err(FsError::TooLarge { path: path.to_path_buf(), found_bytes, cap_bytes: FILE_BYTES_CAP }.into());
    }
    let outline = walk(path, found_bytes).map_err(wrong)?;
    let missing = || malformed(tags::PIXEL_DATA, "missing", "pixels of an image");
    let pixel_data = outline.pixel_data.ok_or_else(missing).map_err(wrong)?;
    let start = found_bytes.saturating_sub(pixel_data.available);
    let header = open(path, OpenFileOptions::new().read_until(tags::PIXEL_DATA))?;
    let layout = Layout::of(&header).map_err(wrong)?;
    let pixels = match pixel_data.length.filter(|_| is_native(&outline.transfer_syntax)) {
        Some(length) => {
            let needed = layout.frames.checked_mul(layout.frame_bytes() as u64);
            let there = length.min(pixel_data.available);
            if needed.is_none_or(|needed| needed > there) {
                let found = format!("cut off after {there} bytes");
                let expected = "rows x columns x frames x bytes per pixel";
                return Err(wrong(malformed(tags::PIXEL_DATA, found, expected)));
            }
            let is_big = outline.transfer_syntax == EXPLICIT_VR_BIG_ENDIAN;
            if is_big && layout.bytes_per_pixel == 1 {
                let expected = "16, or a little-endian transfer syntax";
                return Err(wrong(malformed(tags::BITS_ALLOCATED, "8 in big-endian order", expected)));
            }
            Pixels::Native { file: fsx::open(path)?, start, is_big }
        }
        None => encapsulated(path, &header, &layout, (start, found_bytes))?,
    };
    let one = |wanted: &i32| {
        let frame = frame_index(path, *wanted, layout.frames)?;
        // At most 100000, checked in the layout.
        let frame = u32::try_from(frame).unwrap_or(u32::MAX);
        let scale = rescale(&header, frame as usize).map_err(wrong)?;
        let bytes = pixels.frame(&layout, frame, path)?;
        Ok(vec![grey(&bytes, &layout, scale).map_err(wrong)?])
    };
    frames.iter().map(one).collect()
}

fn open(path: &Path, options: OpenFileOptions) -> Result<Object, PixelsError> {
    let opened = guarded(path, || options.open_file(path))?;
    opened.map_err(|error| {
        let source = DicomError::Read(deepest(&error));
        PixelsError::Dicom { path: path.to_path_buf(), source }
    })
}

/// The pixel data as they lie in the file.
enum Pixels {
    /// From byte `start` on.
    Native { file: File, start: u64, is_big: bool },
    /// Fragments for a codec.
    Encapsulated(Box<Object>),
}

/// Reads compressed pixel data, whose fragments and streams are first held against the file and the header: their lengths and
/// sizes make a decoder's memory.
fn encapsulated(
    path: &Path,
    header: &Object,
    layout: &Layout,
    (start, end): (u64, u64),
) -> Result<Pixels, PixelsError> {
    let wrong = |source: DicomError| PixelsError::Dicom { path: path.to_path_buf(), source };
    check_codec(header, path)?;
    check_fragments(path, start, end)?;
    let object = open(path, OpenFileOptions::new().read_to(tags::PIXEL_DATA))?;
    let element = object.element_opt(tags::PIXEL_DATA).ok().flatten();
    let Some(fragments) = element.and_then(|element| element.value().fragments()) else {
        return Err(wrong(malformed(tags::PIXEL_DATA, "in one piece", "fragments of a compressed image")));
    };
    for stream in fragments {
        if let Some((rows, columns)) = stream_size(stream).filter(|size| *size != (layout.rows, layout.columns)) {
            let found = format!("a compressed image of {rows} x {columns}");
            return Err(wrong(malformed(tags::PIXEL_DATA, found, "the size that Rows and Columns say")));
        }
    }
    Ok(Pixels::Encapsulated(Box::new(object)))
}

/// Fragments end within the file (PS3.5 A.4).
fn check_fragments(path: &Path, start: u64, end: u64) -> Result<(), PixelsError> {
    const ITEM: [u8; 4] = [0xfe, 0xff, 0x00, 0xe0];
    let file = fsx::open(path)?;
    let mut at = start;
    while at.saturating_add(8) <= end {
        let mut header = [0; 8];
        fsx::read_exact_at(&file, path, &mut header, at)?;
        let [a, b, c, d, length @ ..] = header;
        if [a, b, c, d] != ITEM {
            return Ok(());
        }
        at = at.saturating_add(8).saturating_add(u64::from(u32::from_le_bytes(length)));
        if at > end {
            let source = malformed(tags::PIXEL_DATA, "cut off within a fragment", "fragments that end within the file");
            return Err(PixelsError::Dicom { path: path.to_path_buf(), source });
        }
    }
    Ok(())
}

impl Pixels {
    /// The bytes of one frame, little-endian.
    fn frame(&self, layout: &Layout, frame: u32, path: &Path) -> Result<Vec<u8>, PixelsError> {
        let wrong = |source: DicomError| PixelsError::Dicom { path: path.to_path_buf(), source };
        let size = layout.frame_bytes();
        match self {
            Self::Native { file, start, is_big } => {
                let mut bytes = vec![0; size];
                let offset = start.saturating_add(u64::from(frame).saturating_mul(size as u64));
                fsx::read_exact_at(file, path, &mut bytes, offset)?;
                if *is_big && layout.bytes_per_pixel == 2 {
                    bytes.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
                }
                Ok(bytes)
            }
            Self::Encapsulated(object) => {
                let decoded = guarded(path, || object.decode_pixel_data_frame(frame).map(|found| found.into_data()))?;
                let bytes = decoded.map_err(|error| wrong(DicomError::Read(deepest(&error))))?;
                let found = || format!("{} bytes a frame after decoding", bytes.len());
                let expected = "rows x columns x bytes per pixel";
                if bytes.len() == size { Ok(bytes) } else { Err(wrong(malformed(tags::PIXEL_DATA, found(), expected))) }
            }
        }
    }
}

/// Refuses a compression without a decoder before it is tried.
fn check_codec(object: &Object, path: &Path) -> Result<(), PixelsError> {
    let uid = object.meta().transfer_syntax().trim_matches(['\0', ' ']);
    let syntax = TransferSyntaxRegistry.get(uid);
    if syntax.is_some_and(|syntax| syntax.can_decode_all()) {
        return Ok(());
    }
    let name = syntax.map_or("an unknown transfer syntax", |syntax| syntax.name());
    Err(PixelsError::Codec { path: path.to_path_buf(), name, uid: uid.to_owned() })
}

/// Rows and columns that a JPEG or JPEG 2000 stream announces: they size its decoder's memory, whatever the DICOM header says.
fn stream_size(stream: &[u8]) -> Option<(u32, u32)> {
    let wide = |at: usize| stream.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    let narrow = |at: usize| stream.get(at..at + 2).map(|b| u32::from(u16::from_be_bytes([b[0], b[1]])));
    if stream.starts_with(&[0xff, 0xd8]) {
        let mut at = 2;
        loop {
            if *stream.get(at)? != 0xff {
                return None;
            }
            match *stream.get(at + 1)? {
                0xff => at += 1,
                // Start of frame, all but the tables that share its numbers (ITU T.81 table B.1).
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    return Some((narrow(at + 5)?, narrow(at + 7)?));
                }
                _ => at = at.checked_add(2 + narrow(at + 2)? as usize)?,
            }
        }
    }
    // SIZ follows SOC at once (ITU T.800 A.5.1); a JP2 box before them is not allowed in DICOM, but seen.
    let soc = stream[..stream.len().min(256)].windows(4).position(|window| window == [0xff, 0x4f, 0xff, 0x51])?;
    let extent = |size: usize, origin: usize| Some(wide(soc + size)?.saturating_sub(wide(soc + origin)?));
    Some((extent(12, 20)?, extent(8, 16)?))
}

/// One frame's bytes as rescaled grey values.
fn grey(bytes: &[u8], layout: &Layout, scale: Rescale) -> Result<Array2<f32>, DicomError> {
    let value = |raw: u16| (f64::from(layout.stored(raw)) * scale.slope + scale.intercept) as f32;
    let values: Vec<f32> = if layout.bytes_per_pixel == 1 {
        bytes.iter().map(|byte| value(u16::from(*byte))).collect()
    } else {
        bytes.chunks_exact(2).map(|pair| value(u16::from_le_bytes([pair[0], pair[1]]))).collect()
    };
    let shape = (layout.rows as usize, layout.columns as usize);
    Array2::from_shape_vec(shape, values).map_err(|error| DicomError::Read(error.to_string()))
}

#[cfg(test)]
#[path = "dicom_tests.rs"]
mod tests;
