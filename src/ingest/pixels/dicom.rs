//! Stored values of DICOM frames and their modality transformation (PS3.3 C.7.6.3, C.7.6.16.2.9, C.11.1).
//!
//! Only the wanted frames are read. A missing rescale is 1 and 0, a malformed one is an error; a modality table is applied. Philips'
//! stored values are brought to the scanner's scale, which is one for all images of a study; the display's differs from image to image
//! (Chenevert et al. 2014, doi:10.1593/tlo.13811). MONOCHROME1 is inverted within its stored range, so that bright stays bright.
//!
//! 8-bit pixels in the retired big-endian syntax are refused: whether their pairs are swapped depends on a VR that writers disagree on.

use std::path::Path;

use dicom::core::Tag;
use dicom::dictionary_std::tags;
use ndarray::Array2;

use super::super::content::{Content, ContentError};
use super::super::dicom::coding::EXPLICIT_VR_BIG_ENDIAN;
use super::super::dicom::header::{self, Header, WINDOW_BYTES, is_native};
use super::super::dicom::{DicomError, Item, malformed};
use super::codec::{self, Codec, FrameShape};
use super::fragments::Fragments;
use super::{Channels, FRAME_PIXELS_CAP, PixelsError, frame_index, guarded, unreadable};

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
    fn of(object: &Item) -> Result<Self, DicomError> {
        let number = |tag: Tag, default: Option<i64>, accepted: std::ops::RangeInclusive<i64>, expected| {
            let found = object.integer(tag)?.or(default);
            match found.filter(|value| accepted.contains(value)) {
                Some(value) => Ok(value),
                None => {
                    Err(malformed(tag, found.map_or_else(|| "missing".to_owned(), |value| value.to_string()), expected))
                }
            }
        };
        let photometric = object.text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
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

/// What turns stored values into the scanner's.
#[derive(Debug, Clone, PartialEq)]
enum Modality {
    /// slope x stored + intercept.
    Rescale { slope: f64, intercept: f64 },
    /// Values of the stored numbers from `first` on; below and above, the first and last one (PS3.3 C.11.1.1).
    Table { first: i32, values: Vec<u16> },
}

/// Creator of Philips' block of private elements that holds the scale slope.
pub const PHILIPS: &str = "Philips MR Imaging DD 001";
/// Of enhanced objects: the sequence of one frame, whose item has a block of [`PHILIPS`].
pub const PHILIPS_FRAMES: &str = "Philips MR Imaging DD 005";

/// The rescale that an item holds; `None` when it has neither slope nor intercept.
fn rescale_of(item: &Item) -> Result<Option<(f64, f64)>, DicomError> {
    let (slope, intercept) = (item.float(tags::RESCALE_SLOPE)?, item.float(tags::RESCALE_INTERCEPT)?);
    if slope == Some(0.0) {
        return Err(malformed(tags::RESCALE_SLOPE, "0", "a number other than 0"));
    }
    if slope.is_none() && intercept.is_none() {
        return Ok(None);
    }
    Ok(Some((slope.unwrap_or(1.0), intercept.unwrap_or(0.0))))
}

/// Philips' scale slope of an item, if it has one that can be divided by.
fn scale_slope(item: &Item) -> Result<Option<f64>, DicomError> {
    let slope = item.private(0x2005, PHILIPS, 0x0E).map_or(Ok(None), |tag| item.float(tag))?;
    Ok(slope.filter(|slope| *slope > 0.0))
}

/// The transformation of a frame: its own functional group's, else the shared one's, else the object's.
fn modality(object: &Item, frame: usize) -> Result<Modality, DicomError> {
    let own = object.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).and_then(|items| items.get(frame));
    let shared = object.first(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let groups = [own, shared];
    let mut rescale = None;
    for group in groups.into_iter().flatten() {
        let transformation = group.first(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        rescale = match rescale {
            None => transformation.map_or(Ok(None), rescale_of)?,
            known => known,
        };
    }
    if rescale.is_none()
        && let Some(table) = object.first(tags::MODALITY_LUT_SEQUENCE)
    {
        return table_of(table, object);
    }
    let (slope, intercept) = rescale.map_or_else(|| rescale_of(object), |found| Ok(Some(found)))?.unwrap_or((1.0, 0.0));
    let private = |group: &Item| {
        let sequence = group.private(0x2005, PHILIPS_FRAMES, 0x0F);
        sequence.and_then(|tag| group.first(tag)).map_or(Ok(None), scale_slope)
    };
    let mut scale = None;
    for group in groups.into_iter().flatten() {
        scale = if scale.is_none() { private(group)? } else { scale };
    }
    let scale = scale.map_or_else(|| scale_slope(object), |found| Ok(Some(found)))?.unwrap_or(1.0);
    // Real value = (stored x slope + intercept) / (slope x scale slope), for Philips alone.
    let divisor = if scale == 1.0 { 1.0 } else { slope * scale };
    Ok(Modality::Rescale { slope: slope / divisor, intercept: intercept / divisor })
}

/// A modality table (PS3.3 C.11.1.1.1): number of entries, first stored value, bits of an entry.
fn table_of(table: &Item, object: &Item) -> Result<Modality, DicomError> {
    let expected = "entries, first value and 8 or 16 bits";
    let wrong = |found: &str| malformed(tags::MODALITY_LUT_SEQUENCE, found, expected);
    let descriptor = table.floats(tags::LUT_DESCRIPTOR)?.unwrap_or_default();
    let &[entries, first, bits] = descriptor.as_slice() else { return Err(wrong("without a descriptor")) };
    // 16-bit numbers: exact.
    let entries = if entries == 0.0 { 1 << 16 } else { entries as usize };
    let is_signed = object.integer(tags::PIXEL_REPRESENTATION)? == Some(1);
    let first = if is_signed && first > 32_767.0 { first - 65_536.0 } else { first } as i32;
    let data = table.bytes(tags::LUT_DATA).unwrap_or_default();
    let word = |pair: &[u8]| {
        let pair = [pair[0], pair[1]];
        if table.is_big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    };
    let values: Vec<u16> = if bits == 8.0 && data.len() < 2 * entries {
        data.iter().map(|byte| u16::from(*byte)).collect()
    } else {
        data.chunks_exact(2).map(word).collect()
    };
    if values.len() < entries || !(8.0..=16.0).contains(&bits) {
        return Err(wrong("fewer entries than announced"));
    }
    Ok(Modality::Table { first, values: values[..entries].to_vec() })
}

impl Modality {
    fn apply(&self, stored: i32) -> f32 {
        match self {
            Self::Rescale { slope, intercept } => (f64::from(stored) * slope + intercept) as f32,
            Self::Table { first, values } => {
                let index = usize::try_from(stored.saturating_sub(*first)).unwrap_or(0);
                f32::from(values[index.min(values.len() - 1)])
            }
        }
    }
}

/// Names the file in an error of its header.
fn named(path: &Path) -> impl Fn(DicomError) -> PixelsError + '_ {
    |source| PixelsError::Dicom { path: path.to_path_buf(), source }
}

/// The header of a DICOM file, whose unpacked bytes are `content`.
///
/// # Errors
/// [`PixelsError`] naming the file.
pub fn header_of(path: &Path, content: &Content) -> Result<Header, PixelsError> {
    let start = content.start(WINDOW_BYTES).map_err(|error| unreadable(path)(error.into()))?;
    guarded(path, || header::parse(content, start))?.map_err(named(path))
}

/// Whether compression has changed the pixels of a file, by its own word or its transfer syntax.
pub fn is_lossy(header: &Header) -> bool {
    let says = header.item.text(tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01");
    says || !(is_native(&header.transfer_syntax) || Codec::is_lossless(&header.transfer_syntax))
}

/// A DICOM file that was opened once, for any of its frames.
pub struct Frames<'a> {
    path: &'a Path,
    header: Header,
    layout: Layout,
    pixels: Pixels,
}

impl<'a> Frames<'a> {
    /// The frames of the file whose unpacked bytes are `content`.
    ///
    /// # Errors
    /// [`PixelsError`] naming the file and the attribute.
    pub fn open(path: &'a Path, content: &Content) -> Result<Self, PixelsError> {
        let header = header_of(path, content)?;
        let layout = Layout::of(&header.item).map_err(named(path))?;
        let pixels = Pixels::of(&header, &layout).map_err(named(path))?;
        Ok(Self { path, header, layout, pixels })
    }

    /// How many there are.
    pub fn count(&self) -> i32 {
        // At most 100000, checked in the layout.
        i32::try_from(self.layout.frames).unwrap_or(i32::MAX)
    }

    /// The rescaled grey values of a frame, `[rows, columns]`.
    ///
    /// # Errors
    /// [`PixelsError`] naming the file and the attribute.
    pub fn frame(&self, wanted: i32) -> Result<Array2<f32>, PixelsError> {
        let Self { path, header, layout, pixels } = self;
        let frame = frame_index(path, wanted, layout.frames)?;
        // At most 100000, checked in the layout.
        let frame = usize::try_from(frame).unwrap_or(usize::MAX);
        let modality = modality(&header.item, frame).map_err(named(path))?;
        let bytes = guarded(path, || pixels.frame(layout, frame))?.map_err(named(path))?;
        grey(&bytes, layout, &modality).map_err(named(path))
    }
}

/// Reads frames of a DICOM file, whose unpacked bytes are `content`.
///
/// # Errors
/// [`PixelsError`] naming the file and the attribute.
pub fn read(path: &Path, content: &Content, frames: &[i32]) -> Result<Vec<Channels>, PixelsError> {
    let opened = Frames::open(path, content)?;
    frames.iter().map(|wanted| Ok(vec![opened.frame(*wanted)?])).collect()
}

/// The pixel data as they lie in the file.
enum Pixels {
    /// From byte `start` on.
    Native { content: Content, start: u64, is_big: bool },
    /// Fragments for a codec.
    Encapsulated { codec: Codec, fragments: Fragments },
}

impl Pixels {
    fn of(header: &Header, layout: &Layout) -> Result<Self, DicomError> {
        let missing = || malformed(tags::PIXEL_DATA, "missing", "pixels of an image");
        let pixel_data = header.pixel_data.ok_or_else(missing)?;
        if !is_native(&header.transfer_syntax) {
            let unknown = || DicomError::TransferSyntax { name: header.transfer_syntax.clone() };
            let codec = Codec::of(&header.transfer_syntax).ok_or_else(unknown)?;
            if pixel_data.length.is_some() {
                return Err(malformed(tags::PIXEL_DATA, "in one piece", "fragments of a compressed image"));
            }
            let frames = usize::try_from(layout.frames).unwrap_or(usize::MAX);
            let fragments = Fragments::of(&header.content, pixel_data.start, &header.item, frames)?;
            return Ok(Self::Encapsulated { codec, fragments });
        }
        let there = header.content.bytes().saturating_sub(pixel_data.start).min(pixel_data.length.unwrap_or(0));
        let needed = layout.frames.checked_mul(layout.frame_bytes() as u64);
        if needed.is_none_or(|needed| needed > there) {
            let found = format!("cut off after {there} bytes");
            return Err(malformed(tags::PIXEL_DATA, found, "rows x columns x frames x bytes per pixel"));
        }
        let is_big = header.transfer_syntax == EXPLICIT_VR_BIG_ENDIAN || header.item.is_big;
        if is_big && layout.bytes_per_pixel == 1 {
            let expected = "16, or a little-endian transfer syntax";
            return Err(malformed(tags::BITS_ALLOCATED, "8 in big-endian order", expected));
        }
        Ok(Self::Native { content: header.content.clone(), start: pixel_data.start, is_big })
    }

    /// The bytes of one frame, little-endian.
    fn frame(&self, layout: &Layout, frame: usize) -> Result<Vec<u8>, DicomError> {
        let size = layout.frame_bytes();
        match self {
            Self::Native { content, start, is_big } => {
                let mut bytes = vec![0; size];
                let offset = start.saturating_add((frame as u64).saturating_mul(size as u64));
                content.read_exact_at(&mut bytes, offset).map_err(ContentError::from)?;
                if *is_big && layout.bytes_per_pixel == 2 {
                    bytes.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
                }
                Ok(bytes)
            }
            Self::Encapsulated { codec, fragments } => {
                let shape = FrameShape {
                    rows: layout.rows,
                    columns: layout.columns,
                    bytes_per_pixel: layout.bytes_per_pixel,
                    bits_stored: layout.bits_stored,
                    is_signed: layout.is_signed,
                };
                let decoded = codec::decode(*codec, &fragments.stream(frame)?, &shape);
                let found = |error| {
                    malformed(
                        tags::PIXEL_DATA,
                        format!("no valid {} stream: {error}", codec.name()),
                        "a compressed image of Rows x Columns",
                    )
                };
                decoded.map_err(found)
            }
        }
    }
}

/// One frame's bytes as rescaled grey values.
fn grey(bytes: &[u8], layout: &Layout, modality: &Modality) -> Result<Array2<f32>, DicomError> {
    let value = |raw: u16| modality.apply(layout.stored(raw));
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
