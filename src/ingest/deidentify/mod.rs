//! De-identified copies of the images of a cohort (`ingest --export-deidentified`): PS3.15 Annex E, Basic Application Level
//! Confidentiality Profile, by the standard's own table (`profile`), with the options that grouping needs (`keep`).
//!
//! ```text
//! rows of the cohort -> which files, under which names (write)
//!   -> part10: meta group, data set, pixel data of a file's bytes -> dataset: the profile -> written again
//!   -> nifti: header texts and extensions cleared
//! ```
//!
//! Geometry, timing, groups and pixels stay, so that ingest makes the same stacks of the copies. What is done to each attribute, and
//! where this deviates from the profile: `docs/deidentification.md`.

mod comments;
mod dataset;
mod keep;
mod nifti;
mod part10;
mod profile;
mod safe;
mod uid;
mod words;
mod write;

pub use write::DeidentifySummary;
pub(super) use write::Export;

/// The largest file that is copied: it is held in memory.
const FILE_BYTES_CAP: u64 = 1 << 32;

/// DeidentificationMethod: one value a line, 64 characters at most (LO).
const METHOD: [&str; 3] = [
    "groupdistil: DICOM PS3.15 2024e table E.1-1, Basic Profile",
    "kept of patient, device, institution: what groups are made of",
    "UIDs and ids keyed; unlisted attributes removed",
];

/// DeidentificationMethodCodeSequence: the profile and its options (PS3.16 CID 7050).
const METHOD_CODES: [(&str, &str); 6] = [
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113108", "Retain Patient Characteristics Option"),
    ("113109", "Retain Device Identity Option"),
    ("113111", "Retain Safe Private Option"),
    ("113112", "Retain Institution Identity Option"),
];

/// Why a file has no de-identified copy. Names no file and no value.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeidentifyError {
    /// It cannot be read any more.
    #[error("the file cannot be read; check its permissions and run ingest again")]
    Unreadable,
    /// Cut off, damaged or changed since it was looked at.
    #[error("the file's structure is damaged or has changed; copy it again and run ingest again")]
    Damaged,
    /// A compressed file whose pixel values carry an overlay in their unused bits.
    #[error("an overlay is hidden in the bits of compressed pixels; export the image uncompressed")]
    HiddenOverlay,
    /// A coding of the data set that is not known here.
    #[error("its transfer syntax cannot be written here; export it uncompressed")]
    TransferSyntax,
}

impl DeidentifyError {
    /// Kebab-case, for `deidentified.json`.
    fn reason(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Damaged => "damaged",
            Self::HiddenOverlay => "hidden-overlay",
            Self::TransferSyntax => "unsupported-transfer-syntax",
        }
    }
}
