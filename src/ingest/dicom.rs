//! DICOM headers, single- and multi-frame, read up to the pixel data. A missing optional attribute is unknown, a malformed one is
//! an error that names it.

use std::path::Path;
use std::sync::Arc;

use dicom::core::header::HasLength;
use dicom::core::{DataDictionary, Tag};
use dicom::dictionary_std::{StandardDataDictionary, tags, uids};
use dicom::encoding::TransferSyntaxIndex;
use dicom::object::{FileDicomObject, InMemDicomObject, OpenFileOptions};
use dicom::transfer_syntax::TransferSyntaxRegistry;

use super::image::{Format, Image, Person, Scanner, Series, Timing, contrast};
use super::ledger::Verdict;
use super::outline::{Outline, is_native, walk};
use super::privacy::allowed;
use crate::geometry::{Plane, Vector};

/// No scanner makes more frames in one file.
const FRAMES_CAP: i64 = 100_000;

pub(super) type Item = InMemDicomObject;

/// Why a header cannot be used; becomes the ledger's row.
#[derive(Debug, thiserror::Error)]
pub enum DicomError {
    /// Not readable as DICOM.
    #[error("not readable as DICOM: {0}")]
    Read(String),
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
            Self::TransferSyntax { .. } => "unsupported-transfer-syntax",
            Self::Attribute { tag, .. } if *tag == tags::PIXEL_DATA => "truncated-pixels",
            Self::Attribute { .. } | Self::Structure { .. } => "malformed",
        }
    }
}

fn keyword(tag: Tag) -> String {
    StandardDataDictionary.by_tag(tag).map_or_else(|| "attribute".to_owned(), |entry| entry.alias.to_owned())
}

pub(super) fn malformed(tag: Tag, found: impl Into<String>, expected: &'static str) -> DicomError {
    DicomError::Attribute { name: keyword(tag), tag, found: found.into(), expected }
}

/// Text without padding; empty is absent.
pub(super) fn text(item: &Item, tag: Tag) -> Option<String> {
    let value = item.element_opt(tag).ok().flatten()?.to_str().ok()?;
    let trimmed = value.trim_matches([' ', '\0']).to_owned();
    (!trimmed.is_empty()).then_some(trimmed)
}

pub(super) fn floats(item: &Item, tag: Tag) -> Result<Option<Vec<f64>>, DicomError> {
    let Some(element) = item.element_opt(tag).ok().flatten() else { return Ok(None) };
    if element.is_empty() || element.to_str().is_ok_and(|text| text.trim_matches([' ', '\0']).is_empty()) {
        return Ok(None);
    }
    let values = element.to_multi_float64().map_err(|_| malformed(tag, "malformed", "decimal numbers"))?;
    if values.iter().all(|value| value.is_finite()) {
        Ok(Some(values))
    } else {
        Err(malformed(tag, "not finite", "decimal numbers"))
    }
}

pub(super) fn float(item: &Item, tag: Tag) -> Result<Option<f64>, DicomError> {
    Ok(floats(item, tag)?.and_then(|values| values.first().copied()))
}

pub(super) fn integer(item: &Item, tag: Tag) -> Result<Option<i64>, DicomError> {
    let Some(element) = item.element_opt(tag).ok().flatten() else { return Ok(None) };
    if element.is_empty() || element.to_str().is_ok_and(|text| text.trim_matches([' ', '\0']).is_empty()) {
        return Ok(None);
    }
    element.to_int::<i64>().map(Some).map_err(|_| malformed(tag, "malformed", "a whole number"))
}

/// The first item of a sequence.
pub(super) fn first(item: &Item, sequence: Tag) -> Option<&Item> {
    item.element_opt(sequence).ok().flatten()?.items()?.first()
}

/// The images of a DICOM file, or why there are none.
///
/// # Errors
/// [`DicomError`], which becomes a `rejected` row.
pub fn read(path: &Path, file: usize, bytes: u64) -> Result<Result<Vec<Image>, Verdict>, DicomError> {
    let outline = walk(path, bytes)?;
    let object = open(path)?;
    if let Some(verdict) = unwanted(&object) {
        return Ok(Err(verdict));
    }
    let need = |tag, value: Option<i64>| {
        let value = value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0);
        value.ok_or_else(|| malformed(tag, "missing or 0", "a whole number above 0"))
    };
    let rows = need(tags::ROWS, integer(&object, tags::ROWS)?)?;
    let columns = need(tags::COLUMNS, integer(&object, tags::COLUMNS)?)?;
    let frames = integer(&object, tags::NUMBER_OF_FRAMES)?.unwrap_or(1);
    if !(1..=FRAMES_CAP).contains(&frames) {
        return Err(malformed(tags::NUMBER_OF_FRAMES, frames.to_string(), "1 to 100000"));
    }
    let size = [u64::from(rows), u64::from(columns), frames.unsigned_abs()];
    check_pixels(&outline, size, integer(&object, tags::BITS_ALLOCATED)?)?;
    let series = Arc::new(series(&object)?);
    let instance = text(&object, tags::SOP_INSTANCE_UID).unwrap_or_else(|| path.to_string_lossy().into_owned());
    let image = |frame: i64, plane, position, timing| Image {
        file,
        frame: i32::try_from(frame).unwrap_or(i32::MAX),
        instance: instance.clone(),
        rows,
        columns,
        plane,
        position,
        timing,
        series: Arc::clone(&series),
    };
    let per_frame = object.element_opt(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).ok().flatten();
    let Some(groups) = per_frame.and_then(|element| element.items()) else {
        let spacing = floats(&object, tags::PIXEL_SPACING)?;
        let plane = plane(floats(&object, tags::IMAGE_ORIENTATION_PATIENT)?, spacing)?;
        let position = position(floats(&object, tags::IMAGE_POSITION_PATIENT)?)?;
        let timing = classic_timing(&object)?;
        return Ok(Ok((0..frames).map(|frame| image(frame, plane, position, timing)).collect()));
    };
    if i64::try_from(groups.len()) != Ok(frames) {
        let found = format!("{} items for {frames} frames", groups.len());
        return Err(malformed(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, found, "one item per frame"));
    }
    let shared = first(&object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let mut images = Vec::with_capacity(groups.len());
    for (frame, own) in (0_i64..).zip(groups) {
        let macros = Macros { own, shared, top: &object };
        let spacing = macros.floats(tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING)?;
        let orientation = macros.floats(tags::PLANE_ORIENTATION_SEQUENCE, tags::IMAGE_ORIENTATION_PATIENT)?;
        let place = macros.floats(tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT)?;
        images.push(image(frame, plane(orientation, spacing)?, position(place)?, macros.timing(frame)?));
    }
    Ok(Ok(images))
}

fn open(path: &Path) -> Result<FileDicomObject<Item>, DicomError> {
    OpenFileOptions::new()
        .read_until(tags::PIXEL_DATA)
        .open_file(path)
        .map_err(|error| DicomError::Read(deepest(&error)))
}

/// The innermost cause: dicom-rs repeats the path in the outer ones.
pub(super) fn deepest(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Objects that are understood and not wanted.
fn unwanted(object: &FileDicomObject<Item>) -> Option<Verdict> {
    let class = object.meta().media_storage_sop_class_uid().trim_matches('\0');
    if class == uids::MEDIA_STORAGE_DIRECTORY_STORAGE {
        return Some(Verdict::used("dicomdir", "a DICOMDIR: read as a hint, the files themselves were looked at"));
    }
    if let Some(modality) = text(object, tags::MODALITY).filter(|modality| modality != "MR") {
        let known = modality.len() <= 4 && modality.chars().all(|letter| letter.is_ascii_uppercase());
        let shown = if known { modality.as_str() } else { "another modality" };
        return Some(Verdict::skipped("not-mr", &format!("modality {shown}, not MR")));
    }
    if object.element_opt(tags::ROWS).ok().flatten().is_none() {
        return Some(Verdict::skipped(
            "not-an-image",
            "a DICOM object without pixels (report, presentation state, ...)",
        ));
    }
    if text(object, tags::BURNED_IN_ANNOTATION).as_deref() == Some("YES") {
        let message = "text is burned into the pixels (BurnedInAnnotation YES): it may name the patient";
        return Some(Verdict::skipped("burned-in", message));
    }
    if text(object, tags::PHOTOMETRIC_INTERPRETATION).is_some_and(|found| !found.starts_with("MONOCHROME")) {
        let message = "colour or palette image: a derived map or screenshot, not a scan";
        return Some(Verdict::skipped("not-monochrome", message));
    }
    None
}

/// There must be a decoder for the pixels; native ones must all be in the file.
fn check_pixels(outline: &Outline, [rows, columns, frames]: [u64; 3], bits: Option<i64>) -> Result<(), DicomError> {
    let Some(pixel_data) = outline.pixel_data else {
        return Err(malformed(tags::PIXEL_DATA, "missing", "the pixels of the image"));
    };
    let bytes_per_pixel = match bits {
        Some(8) => 1,
        Some(16) => 2,
        other => {
            let found = other.map_or_else(|| "missing".to_owned(), |bits| bits.to_string());
            return Err(malformed(tags::BITS_ALLOCATED, found, "8 or 16"));
        }
    };
    let syntax = outline.transfer_syntax.as_str();
    if !is_native(syntax) {
        let known = TransferSyntaxRegistry.get(syntax);
        return match known {
            Some(known) if known.pixel_data_reader().is_some() && pixel_data.length.is_none() => Ok(()),
            known => Err(DicomError::TransferSyntax { name: known.map_or("unknown", |known| known.name()).to_owned() }),
        };
    }
    let needed = [columns, frames, bytes_per_pixel].iter().try_fold(rows, |all, one| all.checked_mul(*one));
    let there = pixel_data.length.unwrap_or(0).min(pixel_data.available);
    match needed {
        Some(needed) if needed <= there => Ok(()),
        _ => Err(malformed(tags::PIXEL_DATA, format!("{there} bytes"), "rows x columns x frames x bytes per pixel")),
    }
}

fn plane(orientation: Option<Vec<f64>>, spacing: Option<Vec<f64>>) -> Result<Option<Plane>, DicomError> {
    let (Some(orientation), Some(spacing)) = (orientation, spacing) else { return Ok(None) };
    let expected = "two perpendicular unit vectors and positive spacings";
    let wrong = || malformed(tags::IMAGE_ORIENTATION_PATIENT, "malformed", expected);
    let orientation: [f64; 6] = orientation.try_into().map_err(|_| wrong())?;
    let spacing: [f64; 2] =
        spacing.try_into().map_err(|_| malformed(tags::PIXEL_SPACING, "malformed", "two numbers, mm"))?;
    Plane::new(orientation, spacing).map(Some).ok_or_else(wrong)
}

fn position(values: Option<Vec<f64>>) -> Result<Option<Vector>, DicomError> {
    let wrong = |_| malformed(tags::IMAGE_POSITION_PATIENT, "malformed", "three numbers, mm");
    values.map(|values| values.try_into().map_err(wrong)).transpose()
}

/// Date and time as one number: only its order matters.
fn acquired(item: &Item) -> Option<f64> {
    let digits = |text: String| text.chars().filter(|one| one.is_ascii_digit() || *one == '.').collect::<String>();
    if let Some(moment) =
        text(item, tags::ACQUISITION_DATE_TIME).or_else(|| text(item, tags::FRAME_ACQUISITION_DATE_TIME))
    {
        return digits(moment.split(['+', '-']).next().unwrap_or_default().to_owned()).parse().ok();
    }
    let time = text(item, tags::ACQUISITION_TIME).or_else(|| text(item, tags::CONTENT_TIME))?;
    let date = text(item, tags::ACQUISITION_DATE).or_else(|| text(item, tags::CONTENT_DATE)).unwrap_or_default();
    format!("{}{}", digits(date), digits(time)).parse().ok()
}

fn classic_timing(object: &Item) -> Result<Timing, DicomError> {
    Ok(Timing {
        trigger_time_ms: float(object, tags::TRIGGER_TIME)?,
        temporal_position: integer(object, tags::TEMPORAL_POSITION_IDENTIFIER)?,
        acquisition_number: integer(object, tags::ACQUISITION_NUMBER)?,
        instance_number: integer(object, tags::INSTANCE_NUMBER)?,
        acquired: acquired(object),
        echo_number: integer(object, tags::ECHO_NUMBERS)?,
        inversion_time_ms: float(object, tags::INVERSION_TIME)?,
    })
}

/// The functional groups of one frame: its own, else the shared ones (PS3.3 C.7.6.16), else the attribute outside them: converters
/// add empty groups to classic images.
struct Macros<'a> {
    own: &'a Item,
    shared: Option<&'a Item>,
    top: &'a Item,
}

impl<'a> Macros<'a> {
    fn group(&self, sequence: Tag) -> Option<&'a Item> {
        first(self.own, sequence).or_else(|| self.shared.and_then(|shared| first(shared, sequence)))
    }

    fn floats(&self, sequence: Tag, tag: Tag) -> Result<Option<Vec<f64>>, DicomError> {
        let found = self.group(sequence).map_or(Ok(None), |group| floats(group, tag))?;
        found.map_or_else(|| floats(self.top, tag), |values| Ok(Some(values)))
    }

    fn timing(&self, frame: i64) -> Result<Timing, DicomError> {
        let content = self.group(tags::FRAME_CONTENT_SEQUENCE);
        let content_integer = |tag| content.map_or(Ok(None), |group| integer(group, tag));
        let synchronised = self.group(tags::CARDIAC_SYNCHRONIZATION_SEQUENCE);
        let delay = |tag| synchronised.map_or(Ok(None), |group| float(group, tag));
        let trigger_time_ms = match delay(tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME)? {
            Some(time) => Some(time),
            None => delay(tags::ACTUAL_CARDIAC_TRIGGER_DELAY_TIME)?,
        };
        let classic = classic_timing(self.top)?;
        let is_one = frame == 0 && content.is_none();
        Ok(Timing {
            trigger_time_ms: trigger_time_ms.or(classic.trigger_time_ms),
            temporal_position: content_integer(tags::TEMPORAL_POSITION_INDEX)?.or(classic.temporal_position),
            acquisition_number: content_integer(tags::FRAME_ACQUISITION_NUMBER)?.or(classic.acquisition_number),
            instance_number: if is_one { classic.instance_number } else { Some(frame) },
            ..classic
        })
    }
}

fn series(object: &FileDicomObject<Item>) -> Result<Series, DicomError> {
    let person = person(object)?;
    let scanner = scanner(object)?;
    let thickness = match float(object, tags::SLICE_THICKNESS)? {
        Some(thickness) => Some(thickness),
        None => {
            let shared = first(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
            let measures = shared.and_then(|shared| first(shared, tags::PIXEL_MEASURES_SEQUENCE));
            measures.map_or(Ok(None), |measures| float(measures, tags::SLICE_THICKNESS))?
        }
    };
    let expected = match integer(object, tags::CARDIAC_NUMBER_OF_IMAGES)? {
        Some(count) => Some(count),
        None => integer(object, tags::NUMBER_OF_TEMPORAL_POSITIONS)?,
    };
    let kinds = text(object, tags::IMAGE_TYPE).unwrap_or_default();
    let sequence = text(object, tags::SCANNING_SEQUENCE).unwrap_or_default();
    let words = [tags::SERIES_DESCRIPTION, tags::PROTOCOL_NAME].map(|tag| text(object, tag).unwrap_or_default());
    Ok(Series {
        format: Format::Dicom,
        series_uid: text(object, tags::SERIES_INSTANCE_UID).unwrap_or_default(),
        series_number: integer(object, tags::SERIES_NUMBER)?.unwrap_or(0),
        frame_of_reference: text(object, tags::FRAME_OF_REFERENCE_UID).unwrap_or_default(),
        description: words.join(" ").to_lowercase(),
        contrast: contrast(&kinds, &sequence),
        phases_expected: expected.and_then(|count| i32::try_from(count).ok()).filter(|count| *count > 0),
        slice_thickness_mm: thickness.filter(|thickness| *thickness > 0.0),
        person,
        scanner,
        ..Series::default()
    })
}

fn person(object: &Item) -> Result<Person, DicomError> {
    let sex = text(object, tags::PATIENT_SEX).filter(|sex| ["M", "F", "O"].contains(&sex.as_str()));
    Ok(Person {
        patient_id: text(object, tags::PATIENT_ID),
        issuer: text(object, tags::ISSUER_OF_PATIENT_ID).unwrap_or_default(),
        study_uid: text(object, tags::STUDY_INSTANCE_UID),
        birth_date: text(object, tags::PATIENT_BIRTH_DATE).filter(|date| date.trim_matches('0').len() > 3),
        sex,
        age_years: text(object, tags::PATIENT_AGE).and_then(|age| age_years(&age)).or_else(|| age_at_study(object)),
    })
}

/// An age string (PS3.5 6.2, `018M`) in whole years, 90 for all above 89 (design, Privacy); `None` when it is none.
fn age_years(age: &str) -> Option<i32> {
    let (number, unit) = age.split_at_checked(age.len().checked_sub(1)?)?;
    let number: i32 = number.parse().ok()?;
    let years = match unit {
        "Y" => number,
        "M" => number / 12,
        "W" => number / 52,
        "D" => number / 365,
        _ => return None,
    };
    (0..=150).contains(&years).then_some(years.min(90))
}

/// Completed years from PatientBirthDate to StudyDate, where both are whole dates.
fn age_at_study(object: &Item) -> Option<i32> {
    let date = |tag| {
        let text = text(object, tag).filter(|text| text.len() == 8)?;
        let number: i32 = text.parse().ok()?;
        let (month, day) = (number / 100 % 100, number % 100);
        ((1..=12).contains(&month) && (1..=31).contains(&day) && number > 18_500_000).then_some(number)
    };
    // YYYYMMDD numbers: their difference counts a year once the birthday is reached.
    let years = (date(tags::STUDY_DATE)? - date(tags::PATIENT_BIRTH_DATE)?) / 10_000;
    (0..=150).contains(&years).then_some(years.min(90))
}

fn scanner(object: &Item) -> Result<Scanner, DicomError> {
    let identifiers: Vec<String> = [tags::PATIENT_NAME, tags::PATIENT_ID, tags::ACCESSION_NUMBER]
        .into_iter()
        .filter_map(|tag| text(object, tag))
        .collect();
    let safe = |tag| text(object, tag).and_then(|value| allowed(&value, &identifiers));
    Ok(Scanner {
        manufacturer: safe(tags::MANUFACTURER),
        model: safe(tags::MANUFACTURER_MODEL_NAME),
        field_strength_raw: float(object, tags::MAGNETIC_FIELD_STRENGTH)?.filter(|field| *field > 0.0),
        software: safe(tags::SOFTWARE_VERSIONS),
        institution: safe(tags::INSTITUTION_NAME),
        station: safe(tags::STATION_NAME),
        device_serial: text(object, tags::DEVICE_SERIAL_NUMBER),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_whole_years_and_capped_at_90() {
        assert_eq!(age_years("057Y"), Some(57));
        assert_eq!(age_years("018M"), Some(1));
        assert_eq!(age_years("095Y"), Some(90));
        assert_eq!(age_years("abcY"), None);
        assert_eq!(age_years(""), None);
    }
}
