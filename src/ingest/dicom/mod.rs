//! DICOM headers, single- and multi-frame, read up to the pixel data. A missing optional attribute is unknown, a malformed one is
//! an error that names it.
//!
//! ```text
//! header (walk the elements, keep the `wanted`) -> item (typed values) -> frames (plane, position, time of each) -> images
//! ```

pub mod charset;
pub mod coding;
mod frames;
pub mod header;
pub mod item;
mod origin;
mod wanted;

use std::collections::BTreeMap;
use std::sync::Arc;

use dicom::core::{DataDictionary, Tag};
use dicom::dictionary_std::{StandardDataDictionary, tags, uids};
use dicom::encoding::TransferSyntaxIndex;
use dicom::transfer_syntax::TransferSyntaxRegistry;

pub use self::header::Header;
pub use self::item::Item;

use self::header::is_native;
use super::content::ContentError;
use super::image::{Format, Image, Series, contrast};
use super::ledger::Verdict;
use super::pixels::codec::Codec;

/// No scanner makes more frames in one file.
const FRAMES_CAP: i64 = 100_000;

/// Why a header cannot be used; becomes the ledger's row.
#[derive(Debug, thiserror::Error)]
pub enum DicomError {
    /// Not readable as DICOM.
    #[error("not readable as DICOM: {0}")]
    Read(String),
    /// The bytes cannot be had.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// An element that does not fit into the file.
    #[error("element {tag} {problem}; export or copy the file again")]
    Structure {
        /// Which.
        tag: Tag,
        /// What is wrong.
        problem: &'static str,
    },
    /// Pixels in a coding that no decoder here knows.
    #[error("transfer syntax {name} cannot be decoded here; export uncompressed, or convert with `gdcmconv --raw`")]
    TransferSyntax {
        /// Name of the syntax.
        name: String,
    },
    /// An attribute that is needed is missing or malformed.
    #[error("{name} {tag} is {found}, expected {expected}")]
    Attribute {
        /// Keyword.
        name: String,
        /// Tag.
        tag: Tag,
        /// What is there; never an identifying value.
        found: String,
        /// What the standard says.
        expected: &'static str,
    },
}

impl DicomError {
    /// The ledger's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read(_) => "not-dicom",
            Self::Content(error) => error.reason(),
            Self::TransferSyntax { .. } => "unsupported-transfer-syntax",
            Self::Attribute { tag, .. } if *tag == tags::PIXEL_DATA => "truncated-pixels",
            Self::Attribute { .. } | Self::Structure { .. } => "malformed",
        }
    }
}

fn keyword(tag: Tag) -> String {
    StandardDataDictionary.by_tag(tag).map_or_else(|| "attribute".to_owned(), |entry| entry.alias.to_owned())
}

/// An attribute that cannot be used.
pub fn malformed(tag: Tag, found: impl Into<String>, expected: &'static str) -> DicomError {
    DicomError::Attribute { name: keyword(tag), tag, found: found.into(), expected }
}

/// The images of a DICOM file, or why there are none. `relative` is its path below the source: the instance of one without a UID.
///
/// # Errors
/// [`DicomError`], which becomes a `rejected` row.
pub fn read(header: &Header, relative: &str) -> Result<Result<Vec<Image>, Verdict>, DicomError> {
    let object = &header.item;
    if let Some(verdict) = unwanted(header) {
        return Ok(Err(verdict));
    }
    let need = |tag| {
        let value = object.integer(tag)?.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0);
        value.ok_or_else(|| malformed(tag, "missing or 0", "a whole number above 0"))
    };
    let (rows, columns) = (need(tags::ROWS)?, need(tags::COLUMNS)?);
    let frames = object.integer(tags::NUMBER_OF_FRAMES)?.unwrap_or(1);
    if !(1..=FRAMES_CAP).contains(&frames) {
        return Err(malformed(tags::NUMBER_OF_FRAMES, frames.to_string(), "1 to 100000"));
    }
    check_pixels(header, [u64::from(rows), u64::from(columns), frames.unsigned_abs()])?;
    let series = series(object)?;
    let instance = object.text(tags::SOP_INSTANCE_UID).unwrap_or_else(|| relative.to_owned());
    let mut by_contrast: BTreeMap<String, Arc<Series>> = BTreeMap::new();
    let frames = frames::frames(object, frames)?;
    // Most files have one: a vector that grows would take room for four of them.
    let mut images = Vec::with_capacity(frames.len());
    for (index, frame) in (0_i32..).zip(frames) {
        let contrast = frame.contrast.unwrap_or_else(|| series.contrast.clone());
        let shared = by_contrast
            .entry(contrast)
            .or_insert_with_key(|contrast| Arc::new(Series { contrast: contrast.clone(), ..series.clone() }));
        images.push(Image {
            // Set when all files are known.
            file: 0,
            frame: index,
            instance: instance.clone(),
            rows,
            columns,
            plane: frame.plane,
            position: frame.position,
            timing: frame.timing,
            series: Arc::clone(shared),
        });
    }
    Ok(Ok(images))
}

/// Objects that are understood and not wanted.
fn unwanted(header: &Header) -> Option<Verdict> {
    let object = &header.item;
    let class = match header.sop_class.as_str() {
        "" => object.text(tags::SOP_CLASS_UID).unwrap_or_default(),
        class => class.to_owned(),
    };
    if class == uids::MEDIA_STORAGE_DIRECTORY_STORAGE {
        return Some(Verdict::used("dicomdir", "a DICOMDIR: read as a hint, the files themselves were looked at"));
    }
    if let Some(modality) = object.text(tags::MODALITY).filter(|modality| modality != "MR") {
        let known = modality.len() <= 4 && modality.chars().all(|letter| letter.is_ascii_uppercase());
        let shown = if known { modality.as_str() } else { "another modality" };
        return Some(Verdict::skipped("not-mr", &format!("modality {shown}, not MR")));
    }
    if !object.has(tags::ROWS) || class == uids::MR_SPECTROSCOPY_STORAGE {
        return Some(Verdict::skipped(
            "not-an-image",
            "a DICOM object without pixels (report, presentation state, spectroscopy, ...)",
        ));
    }
    if object.text(tags::BURNED_IN_ANNOTATION).as_deref() == Some("YES") {
        let message = "text is burned into the pixels (BurnedInAnnotation YES): it may name the patient";
        return Some(Verdict::skipped("burned-in", message));
    }
    if object.text(tags::PHOTOMETRIC_INTERPRETATION).is_some_and(|found| !found.starts_with("MONOCHROME")) {
        let message = "colour or palette image: a derived map or screenshot, not a scan";
        return Some(Verdict::skipped("not-monochrome", message));
    }
    tiled(object).map(|kind| {
        let message = format!("{kind}: many slices as tiles of one picture; export it again as single slices");
        Verdict::rejected("tiled-grid", &message)
    })
}

/// Whether the slices of a volume lie side by side in one picture, and whose way that is.
fn tiled(object: &Item) -> Option<&'static str> {
    let count = |group, creator, element| {
        let tag = object.private(group, creator, element)?;
        object.float(tag).ok().flatten()
    };
    let kinds = object.text(tags::IMAGE_TYPE).unwrap_or_default();
    let says = |word: &str| kinds.split('\\').any(|kind| kind.trim() == word);
    let several = |count: Option<f64>| count.is_some_and(|count| count > 1.0);
    if says("MOSAIC") || several(count(0x0019, "SIEMENS MR HEADER", 0x0A)) {
        Some("a Siemens mosaic")
    } else if several(count(0x0065, "Image Private Header", 0x50)) && says("VFRAME") {
        Some("a United Imaging grid")
    } else {
        None
    }
}

/// There must be a decoder for the pixels; native ones must all be in the file.
fn check_pixels(header: &Header, [rows, columns, frames]: [u64; 3]) -> Result<(), DicomError> {
    let object = &header.item;
    let Some(pixel_data) = header.pixel_data else {
        let floating = [tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA];
        let found = if floating.iter().any(|tag| object.has(*tag)) { "floating point" } else { "missing" };
        return Err(malformed(tags::PIXEL_DATA, found, "the pixels of the image, as whole numbers"));
    };
    let bits = object.integer(tags::BITS_ALLOCATED)?;
    let bytes_per_pixel = match bits {
        Some(8) => 1,
        Some(16) => 2,
        other => {
            let found = other.map_or_else(|| "missing".to_owned(), |bits| bits.to_string());
            return Err(malformed(tags::BITS_ALLOCATED, found, "8 or 16"));
        }
    };
    let syntax = header.transfer_syntax.as_str();
    if !is_native(syntax) {
        let named = || TransferSyntaxRegistry.get(syntax).map_or("unknown", |known| known.name()).to_owned();
        return match Codec::of(syntax) {
            Some(_) if pixel_data.length.is_none() => Ok(()),
            Some(_) => Err(malformed(tags::PIXEL_DATA, "in one piece", "fragments of a compressed image")),
            None => Err(DicomError::TransferSyntax { name: named() }),
        };
    }
    let Some(length) = pixel_data.length else {
        // Compressed, and no meta group says how.
        return Err(DicomError::TransferSyntax { name: "unknown (no file meta information)".to_owned() });
    };
    let needed = [columns, frames, bytes_per_pixel].iter().try_fold(rows, |all, one| all.checked_mul(*one));
    let there = length.min(header.content.bytes().saturating_sub(pixel_data.start));
    match needed {
        Some(needed) if needed <= there => Ok(()),
        _ => Err(malformed(tags::PIXEL_DATA, format!("{there} bytes"), "rows x columns x frames x bytes per pixel")),
    }
}

fn series(object: &Item) -> Result<Series, DicomError> {
    let thickness = match object.float(tags::SLICE_THICKNESS)? {
        Some(thickness) => Some(thickness),
        None => {
            let shared = object.first(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
            let measures = shared.and_then(|shared| shared.first(tags::PIXEL_MEASURES_SEQUENCE));
            measures.map_or(Ok(None), |measures| measures.float(tags::SLICE_THICKNESS))?
        }
    };
    let expected = match object.integer(tags::CARDIAC_NUMBER_OF_IMAGES)? {
        Some(count) => Some(count),
        None => object.integer(tags::NUMBER_OF_TEMPORAL_POSITIONS)?,
    };
    let words = [tags::SERIES_DESCRIPTION, tags::PROTOCOL_NAME].map(|tag| object.text(tag).unwrap_or_default());
    let kinds = object.text(tags::IMAGE_TYPE).unwrap_or_default();
    let sequence = object.text(tags::SCANNING_SEQUENCE).unwrap_or_default();
    Ok(Series {
        format: Format::Dicom,
        series_uid: object.text(tags::SERIES_INSTANCE_UID).unwrap_or_default(),
        series_number: object.integer(tags::SERIES_NUMBER)?.unwrap_or(0),
        frame_of_reference: object.text(tags::FRAME_OF_REFERENCE_UID).unwrap_or_default(),
        description: words.join(" ").to_lowercase(),
        contrast: contrast(&kinds, &sequence),
        phases_expected: expected.and_then(|count| i32::try_from(count).ok()).filter(|count| *count > 0),
        slice_thickness_mm: thickness.filter(|thickness| *thickness > 0.0),
        person: origin::person(object),
        scanner: origin::scanner(object)?,
        ..Series::default()
    })
}
