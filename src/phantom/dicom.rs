//! Classic MR objects (PS3.3 A.4) as the series-per-slice and the one-series vendor write them, and what both DICOM styles share.

use dicom::core::value::DataSetSequence;
use dicom::core::{DataElement, PrimitiveValue, Tag, VR};
use dicom::dictionary_std::{tags, uids};
use dicom::object::{FileMetaTableBuilder, InMemDicomObject};

use super::cohort::Subject;
use super::random::uid;
use super::render::Plane;
use super::scanner::{Site, Style};
use super::study::{Acquisition, Position, Role};

/// A data set under construction.
pub struct Set(InMemDicomObject);

impl Default for Set {
    fn default() -> Self {
        Self(InMemDicomObject::new_empty())
    }
}

impl Set {
    /// Adds a text value; several are separated by backslashes.
    pub fn text(&mut self, tag: Tag, vr: VR, value: impl Into<String>) -> &mut Self {
        let value: String = value.into();
        let value = if value.is_empty() { PrimitiveValue::Empty } else { PrimitiveValue::from(value) };
        self.0.put(DataElement::new(tag, vr, value));
        self
    }

    /// Adds decimal strings.
    pub fn decimals(&mut self, tag: Tag, values: &[f64]) -> &mut Self {
        let texts: Vec<String> = values.iter().map(|value| decimal(*value)).collect();
        self.text(tag, VR::DS, texts.join("\\"))
    }

    /// Adds an integer string.
    pub fn integer(&mut self, tag: Tag, value: usize) -> &mut Self {
        self.text(tag, VR::IS, value.to_string())
    }

    /// Adds a binary value.
    pub fn binary(&mut self, tag: Tag, vr: VR, value: PrimitiveValue) -> &mut Self {
        self.0.put(DataElement::new(tag, vr, value));
        self
    }

    /// Adds 16-bit numbers.
    pub fn short(&mut self, tag: Tag, value: u16) -> &mut Self {
        self.binary(tag, VR::US, PrimitiveValue::from(value))
    }

    /// Adds doubles.
    pub fn double(&mut self, tag: Tag, values: &[f64]) -> &mut Self {
        self.binary(tag, VR::FD, PrimitiveValue::F64(values.iter().copied().collect()))
    }

    /// Adds a sequence.
    pub fn sequence(&mut self, tag: Tag, items: Vec<Self>) -> &mut Self {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|item| item.0).collect();
        self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        self
    }

    /// The file's bytes: preamble, meta group, data set in explicit little endian.
    pub fn into_file(self, sop_class: &str, sop_instance: &str) -> Result<Vec<u8>, DicomWriteError> {
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(sop_class)
            .media_storage_sop_instance_uid(sop_instance)
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .implementation_class_uid(uid(0, &["implementation"]))
            .implementation_version_name("GROUPDISTIL_1")
            .build()
            .map_err(|source| DicomWriteError(Box::new(source)))?;
        let mut bytes = Vec::new();
        self.0.with_exact_meta(meta).write_all(&mut bytes).map_err(|source| DicomWriteError(Box::new(source)))?;
        Ok(bytes)
    }
}

/// A data set that the DICOM writer refused: a bug of the phantom.
#[derive(Debug, thiserror::Error)]
#[error("the DICOM writer refused a phantom data set")]
pub struct DicomWriteError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// A decimal string of at most 16 characters (PS3.5 6.2), without exponent.
pub fn decimal(value: f64) -> String {
    let mut text = format!("{value:.9}");
    text.truncate(16);
    if text.contains('.') {
        let kept = text.trim_end_matches('0').trim_end_matches('.').len();
        text.truncate(kept);
    }
    if text == "-0" { "0".to_owned() } else { text }
}

/// What all objects of one study share.
pub struct StudyHeader<'a> {
    /// The cohort's seed: UIDs come from it.
    pub seed: u64,
    /// Who.
    pub subject: &'a Subject,
    /// Where.
    pub site: &'a Site,
    /// `YYYYMMDD`.
    pub date: String,
}

impl StudyHeader<'_> {
    /// A UID of this study.
    pub fn uid(&self, parts: &[&str]) -> String {
        let mut all = vec![self.subject.id.as_str()];
        all.extend(parts);
        uid(self.seed, &all)
    }

    /// Patient, study, series, frame of reference and equipment (PS3.3 C.7.1 to C.7.5).
    pub fn put(&self, set: &mut Set, series: &SeriesHeader<'_>) {
        let (subject, site) = (self.subject, self.site);
        let year: u32 = self.date.get(..4).and_then(|year| year.parse().ok()).unwrap_or(2021);
        set.text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100")
            .text(tags::STUDY_DATE, VR::DA, self.date.as_str())
            .text(tags::STUDY_TIME, VR::TM, "090000")
            .text(tags::SERIES_DATE, VR::DA, self.date.as_str())
            .text(tags::SERIES_TIME, VR::TM, clock(series.number * 40))
            .text(tags::ACCESSION_NUMBER, VR::SH, "")
            .text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "")
            .text(tags::STUDY_DESCRIPTION, VR::LO, "SYNTHETIC CARDIAC MR (PHANTOM, NO PATIENT)")
            .text(tags::STUDY_ID, VR::SH, "1")
            .text(tags::STUDY_INSTANCE_UID, VR::UI, self.uid(&["study"]))
            .text(tags::PATIENT_NAME, VR::PN, format!("Synthetic^{}", subject.id))
            .text(tags::PATIENT_ID, VR::LO, subject.id.as_str())
            .text(tags::PATIENT_BIRTH_DATE, VR::DA, format!("{}0101", year - subject.age_years))
            .text(tags::PATIENT_SEX, VR::CS, if subject.female { "F" } else { "M" })
            .text(tags::PATIENT_AGE, VR::AS, format!("{:03}Y", subject.age_years))
            .text(tags::MODALITY, VR::CS, "MR")
            .text(tags::SERIES_INSTANCE_UID, VR::UI, self.uid(&["series", &series.number.to_string()]))
            .text(tags::SERIES_NUMBER, VR::IS, series.number.to_string())
            .text(tags::SERIES_DESCRIPTION, VR::LO, series.description)
            .text(tags::PROTOCOL_NAME, VR::LO, series.description)
            .text(tags::BODY_PART_EXAMINED, VR::CS, "HEART")
            .text(tags::PATIENT_POSITION, VR::CS, "HFS")
            .text(tags::FRAME_OF_REFERENCE_UID, VR::UI, self.uid(&["frame of reference"]))
            .text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "")
            .text(tags::MANUFACTURER, VR::LO, site.manufacturer)
            .text(tags::MANUFACTURER_MODEL_NAME, VR::LO, site.model)
            .text(tags::SOFTWARE_VERSIONS, VR::LO, site.software)
            .text(tags::INSTITUTION_NAME, VR::LO, site.name)
            .text(tags::STATION_NAME, VR::SH, site.station)
            .text(tags::DEVICE_SERIAL_NUMBER, VR::LO, format!("SYNTHETIC-{}", site.code));
    }
}

/// What distinguishes a series.
pub struct SeriesHeader<'a> {
    /// Series number.
    pub number: u32,
    /// Series and protocol name.
    pub description: &'a str,
}

/// Seconds after nine in the morning as TM.
pub fn clock(seconds: u32) -> String {
    let total = 9 * 3600 + seconds % 36_000;
    format!("{:02}{:02}{:02}", total / 3600, total / 60 % 60, total % 60)
}

/// One image of a classic series.
pub struct Instance<'a> {
    /// What it belongs to.
    pub acquisition: &'a Acquisition,
    /// Its position.
    pub position: &'a Position,
    /// Index of the position in the acquisition.
    pub slice: usize,
    /// Phase.
    pub phase: usize,
    /// Number within the series, from 1.
    pub number: usize,
    /// Series number.
    pub series_number: u32,
}

/// The SOP instance UID and the bytes of one classic MR image.
pub fn classic(study: &StudyHeader<'_>, instance: &Instance<'_>, pixels: &[u16]) -> Result<Vec<u8>, DicomWriteError> {
    let acquisition = instance.acquisition;
    let site = study.site;
    let description = description(site, acquisition.role, instance.slice);
    let mut set = Set::default();
    study.put(&mut set, &SeriesHeader { number: instance.series_number, description: &description });
    let sop_instance = study.uid(&["image", &instance.series_number.to_string(), &instance.number.to_string()]);
    let seconds = instance.series_number * 40 + instance.slice as u32 * 9;
    set.text(tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE)
        .text(tags::SOP_INSTANCE_UID, VR::UI, sop_instance.as_str())
        .text(tags::IMAGE_TYPE, VR::CS, image_type(site))
        .text(tags::ACQUISITION_DATE, VR::DA, study.date.as_str())
        .text(tags::CONTENT_DATE, VR::DA, study.date.as_str())
        .text(tags::ACQUISITION_TIME, VR::TM, clock(seconds))
        .text(tags::CONTENT_TIME, VR::TM, clock(seconds + 8))
        .integer(tags::ACQUISITION_NUMBER, instance.slice + 1)
        .integer(tags::INSTANCE_NUMBER, instance.number)
        .text(tags::SCANNING_SEQUENCE, VR::CS, "GR")
        .text(tags::SEQUENCE_VARIANT, VR::CS, "SS")
        .text(tags::SCAN_OPTIONS, VR::CS, if acquisition.is_cine() { "CG" } else { "" })
        .text(tags::MR_ACQUISITION_TYPE, VR::CS, "2D")
        .decimals(tags::REPETITION_TIME, &[if site.style == Style::OneSeries { 3.6 } else { 41.3 }])
        .decimals(tags::ECHO_TIME, &[1.6])
        .integer(tags::ECHO_TRAIN_LENGTH, 1)
        .decimals(tags::FLIP_ANGLE, &[50.0])
        .text(tags::MAGNETIC_FIELD_STRENGTH, VR::DS, site.field_strength);
    put_timing(&mut set, instance);
    put_plane(&mut set, &instance.position.plane, site);
    put_pixels(&mut set, &instance.position.plane, site, pixels);
    set.into_file(uids::MR_IMAGE_STORAGE, &sop_instance)
}

fn put_timing(set: &mut Set, instance: &Instance<'_>) {
    let acquisition = instance.acquisition;
    if acquisition.is_cine() {
        let trigger = libm::round(acquisition.trigger_time_ms(instance.position, instance.phase) * 10.0) / 10.0;
        set.decimals(tags::TRIGGER_TIME, &[trigger])
            .integer(tags::NOMINAL_INTERVAL, instance.position.rr_ms as usize)
            .integer(tags::HEART_RATE, (60_000.0 / instance.position.rr_ms) as usize)
            .integer(tags::CARDIAC_NUMBER_OF_IMAGES, acquisition.phases_expected);
    }
}

fn put_plane(set: &mut Set, plane: &Plane, site: &Site) {
    let [a, b, c] = plane.row;
    let [d, e, f] = plane.column;
    set.decimals(tags::IMAGE_POSITION_PATIENT, &plane.origin_mm)
        .decimals(tags::IMAGE_ORIENTATION_PATIENT, &[a, b, c, d, e, f])
        .decimals(tags::PIXEL_SPACING, &[plane.spacing_row_mm, plane.spacing_column_mm])
        .decimals(tags::SLICE_THICKNESS, &[plane.thickness_mm]);
    if site.style == Style::OneSeries {
        // This vendor writes the distance of the slices, whatever the slice.
        set.decimals(tags::SPACING_BETWEEN_SLICES, &[site.protocol.slice_spacing_mm]);
    }
}

fn put_pixels(set: &mut Set, plane: &Plane, site: &Site, pixels: &[u16]) {
    let full = site.look.full_scale;
    set.short(tags::SAMPLES_PER_PIXEL, 1)
        .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2")
        .short(tags::ROWS, plane.rows as u16)
        .short(tags::COLUMNS, plane.columns as u16)
        .short(tags::BITS_ALLOCATED, 16)
        .short(tags::BITS_STORED, 12)
        .short(tags::HIGH_BIT, 11)
        .short(tags::PIXEL_REPRESENTATION, 0)
        .decimals(tags::WINDOW_CENTER, &[0.5 * full])
        .decimals(tags::WINDOW_WIDTH, &[full])
        .binary(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.iter().copied().collect()));
}

fn image_type(site: &Site) -> &'static str {
    match site.style {
        Style::SeriesPerSlice => "ORIGINAL\\PRIMARY\\M\\RETRO\\NORM\\DIS2D",
        _ => "ORIGINAL\\PRIMARY\\OTHER",
    }
}

/// Series names as these vendors' technicians type them.
pub fn description(site: &Site, role: Role, slice: usize) -> String {
    let per_slice = site.style == Style::SeriesPerSlice;
    match (role, per_slice) {
        (Role::ShortAxis, true) => format!("cine_retro_sa_{}", slice + 1),
        (Role::ShortAxis, false) => "SAX FIESTA".to_owned(),
        (Role::ReacquiredPosition, true) => "cine_retro_sa_repeat".to_owned(),
        (Role::ReacquiredPosition, false) => "SAX FIESTA repeat".to_owned(),
        (Role::InterruptedCine, true) => "cine_retro_sa_stopped".to_owned(),
        (Role::InterruptedCine, false) => "SAX FIESTA".to_owned(),
        (Role::TwoChamber, true) => "cine_retro_2ch".to_owned(),
        (Role::TwoChamber, false) => "2CH FIESTA".to_owned(),
        (Role::FourChamber, true) => "cine_retro_4ch".to_owned(),
        (Role::FourChamber, false) => "4CH FIESTA".to_owned(),
        (Role::Scout, true) => "localizer".to_owned(),
        (Role::Scout, false) => "3-PL LOC".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn decimal_strings_fit_in_sixteen_characters() {
        for (value, text) in [(0.0, "0"), (-0.0, "0"), (1.5, "1.5"), (-0.123_456_789, "-0.123456789"), (100.0, "100")] {
            assert_eq!(decimal(value), text);
        }
        assert!(decimal(-123_456.123_456_789).len() <= 16);
    }
}
