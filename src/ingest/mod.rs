//! `ingest`: sources (DICOM, NIfTI, images) become a COHORT: every file explained, stacks, labels, groups (design, section 3).
//!
//! ```text
//! discover -> look (headers, in parallel; `content` opens archives) -> duplicates -> labels -> people (pseudonyms) -> stacks -> rows -> COHORT
//! ```
//!
//! Identifiers live in [`image::Person`] and stay inside this room; what leaves it is rows of `formats::cohort`. Pixels are read by
//! `pixels` alone, later.

mod content;
mod deidentify;
mod dicom;
mod discover;
mod duplicates;
mod error;
mod groups;
mod image;
mod image_csv;
mod join;
mod key;
mod labels;
mod ledger;
mod look;
mod nifti;
mod people;
mod phases;
pub mod pixels;
mod privacy;
mod rows;
mod scan;
mod sidecars;
mod stack_label;
mod stacks;
mod view;
mod write;

pub use content::Opener;
pub use deidentify::DeidentifySummary;
pub use error::IngestError;
pub use groups::{GROUP_KEYS, acquisition_group};
pub use key::{read_or_create as read_or_create_key, throw_away as throw_away_key};
pub use scan::{LabelProblem, Scan, scan};
pub use write::{GENERATION, IngestSummary, ingest};
