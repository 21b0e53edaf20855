//! What ingest knows of one 2-d image, whatever file it came from. Identifiers stay inside ingest.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::geometry::{Plane, Vector};

/// Where the image came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// DICOM.
    #[default]
    Dicom,
    /// NIfTI.
    Nifti,
    /// PNG or JPEG.
    Image,
}

impl Format {
    /// As written in `stacks.parquet`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dicom => "dicom",
            Self::Nifti => "nifti",
            Self::Image => "image",
        }
    }
}

/// Who was scanned, as the file says. Never leaves ingest.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Person {
    /// Trimmed PatientID, or what stands for it (a folder's or file's name).
    pub patient_id: Option<String>,
    /// IssuerOfPatientID.
    pub issuer: String,
    /// StudyInstanceUID.
    pub study_uid: Option<String>,
    /// PatientName, PatientID and AccessionNumber: no text that leaves ingest may hold a token of them.
    pub identifiers: Vec<String>,
    /// PatientBirthDate.
    pub birth_date: Option<String>,
    /// `M`, `F` or `O`.
    pub sex: Option<String>,
    /// Age at the scan in years, 90 for all above 89.
    pub age_years: Option<i32>,
}

/// The scanner, from allow-listed attributes only.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scanner {
    /// Manufacturer.
    pub manufacturer: Option<String>,
    /// ManufacturerModelName.
    pub model: Option<String>,
    /// MagneticFieldStrength as in the file.
    pub field_strength_raw: Option<f64>,
    /// SoftwareVersions.
    pub software: Option<String>,
    /// InstitutionName.
    pub institution: Option<String>,
    /// StationName.
    pub station: Option<String>,
    /// DeviceSerialNumber, which leaves ingest as a pseudonym alone.
    pub device_serial: Option<String>,
}

/// What the images of one acquisition share.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// Kind of file.
    pub format: Format,
    /// Who.
    pub person: Person,
    /// With what.
    pub scanner: Scanner,
    /// SeriesInstanceUID, or the file for formats without.
    pub series_uid: String,
    /// SeriesNumber.
    pub series_number: i64,
    /// FrameOfReferenceUID.
    pub frame_of_reference: String,
    /// Lower-case SeriesDescription and ProtocolName: evidence of the view, never written.
    pub description: String,
    /// What keeps images apart that share a plane ([`contrast`]).
    pub contrast: String,
    /// Announced phases.
    pub phases_expected: Option<i32>,
    /// SliceThickness, mm.
    pub slice_thickness_mm: Option<f64>,
    /// The class, where the file's name or folder says it.
    pub label: Option<String>,
    /// Split, where the file's folder or sidecar says it.
    pub split: Option<String>,
    /// What a sidecar says besides, by name without the `attr_` prefix.
    pub attributes: BTreeMap<String, String>,
}

/// What keeps images apart that share a plane: whether they are derived, ImageType beyond its first two values (magnitude, phase,
/// velocity, PSIR, map, ...; PS3.3 C.7.6.1.1.2) and ScanningSequence.
pub fn contrast(image_type: &str, scanning_sequence: &str) -> String {
    let values: Vec<String> = image_type.split('\\').map(|value| value.trim().to_uppercase()).collect();
    let derived = if values.first().is_some_and(|first| first == "DERIVED") { "DERIVED" } else { "" };
    let kinds = values.get(2..).unwrap_or_default().join("\\");
    format!("{derived}|{kinds}|{}", scanning_sequence.trim())
}

/// When in the cardiac cycle, and in which order it was acquired.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Timing {
    /// Time after the R wave, ms.
    pub trigger_time_ms: Option<f64>,
    /// TemporalPositionIndex or -Identifier, or the index along NIfTI's time axis.
    pub temporal_position: Option<i64>,
    /// AcquisitionNumber.
    pub acquisition_number: Option<i64>,
    /// InstanceNumber.
    pub instance_number: Option<i64>,
    /// Acquisition (or content) date and time as a number that grows with time.
    pub acquired: Option<f64>,
    /// EchoNumbers: several echoes of one moment are no cine.
    pub echo_number: Option<i64>,
    /// InversionTime, ms: the images of a T1 map differ in it, those of a cine do not.
    pub inversion_time_ms: Option<f64>,
}

/// One 2-d image.
#[derive(Debug, Clone)]
pub struct Image {
    /// Index of the file in the list of found files.
    pub file: usize,
    /// 0-based frame in the file.
    pub frame: i32,
    /// SOPInstanceUID, or what stands for it: makes the stack's id.
    pub instance: String,
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
    /// Orientation and spacing.
    pub plane: Option<Plane>,
    /// Centre of the first pixel, LPS mm.
    pub position: Option<Vector>,
    /// When.
    pub timing: Timing,
    /// What it shares with its series.
    pub series: Arc<Series>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Image types as Siemens and Philips write them.
    #[test]
    fn magnitude_phase_and_derived_images_are_contrasts_of_their_own() {
        let kinds = [
            r"ORIGINAL\PRIMARY\M\RETRO",
            r"ORIGINAL\PRIMARY\P\RETRO",
            r"ORIGINAL\PRIMARY\M_FFE\M\FFE",
            r"ORIGINAL\PRIMARY\PHASE CONTRAST M\P\PCA",
            r"DERIVED\PRIMARY\M\RETRO",
            r"DERIVED\PRIMARY\PSIR\M",
            "",
        ];
        let distinct: std::collections::BTreeSet<String> = kinds.iter().map(|kind| contrast(kind, "GR")).collect();
        assert_eq!(distinct.len(), kinds.len());
        assert_eq!(contrast(r"ORIGINAL\PRIMARY\M ", "GR"), contrast(r"ORIGINAL\SECONDARY\M", "GR"));
    }
}
