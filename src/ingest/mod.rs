//! `ingest`: being built.

pub mod dicom;
pub mod discover;
pub mod error;
pub mod groups;
pub mod image;
pub mod key;
pub mod labels;
pub mod ledger;
pub mod nifti;
pub mod pixels;
pub mod privacy;
pub mod stacks;
pub mod view;

pub use error::IngestError;
