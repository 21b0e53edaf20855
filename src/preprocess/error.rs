//! Why no dataset can be made.

use std::path::PathBuf;

use crate::dataset::splits::SplitError;
use crate::failure::{Classify, FailureKind};
use crate::formats::dataset::DatasetError;
use crate::formats::table::TableError;
use crate::fsx::FsError;
use crate::outdir::OutDirError;

/// Why no dataset can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessError {
    /// The output folder cannot be used.
    #[error(transparent)]
    OutDir(#[from] OutDirError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A file of the dataset cannot be written or read back.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Subjects cannot be divided.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// A table of the dataset cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The cohort cannot be read.
    #[error("`{}` is no cohort that can be read; make one with `groupdistil ingest`", path.display())]
    Cohort {
        /// The folder.
        path: PathBuf,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No stack can be used.
    #[error(
        "none of the cohort's {stacks} stacks can be used ({reasons}); check views, kinds and classes in the settings and the labels given to ingest"
    )]
    NothingSelected {
        /// Stacks in the cohort.
        stacks: usize,
        /// Reasons with counts.
        reasons: String,
    },
    /// A class of the settings that nobody has.
    #[error("class `{class}` of preprocess.classes has no usable stack; the labels are {found}")]
    UnusedClass {
        /// The class.
        class: String,
        /// Labels that are there.
        found: String,
    },
    /// A group of the settings that nobody has.
    #[error("preprocess.{key} names `{found}`, which is no group of the usable stacks; groups are {known}")]
    UnknownGroup {
        /// The setting.
        key: &'static str,
        /// The name.
        found: String,
        /// Groups that are there.
        known: String,
    },
    /// A table of splits that cannot be used.
    #[error("`{}`: {problem}", path.display())]
    SplitFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the remedy.
        problem: String,
    },
    /// One stack alone is too large.
    #[error(
        "a stack needs {needed_mib} MiB, more than --max-memory leaves ({cap_mib} MiB); give at least {remedy_mib}MiB"
    )]
    MemoryCap {
        /// MiB of the largest stack.
        needed_mib: u64,
        /// MiB for pixels.
        cap_mib: u64,
        /// MiB to ask for.
        remedy_mib: u64,
    },
    /// The same pixels under two names, once trained and once tested on.
    #[error(
        "subjects {first} and {second} hold the same pixels (stacks {first_stack} and {second_stack}) in different splits, and {others} more pairs; give one patient one id, leave a copy out, or set allow_shared_pixels = true"
    )]
    Leakage {
        /// A subject.
        first: String,
        /// Another.
        second: String,
        /// A stack of the first.
        first_stack: String,
        /// A stack of the second.
        second_stack: String,
        /// Further pairs of subjects.
        others: usize,
    },
    /// Settings that cannot be written as TOML.
    #[error("the settings cannot be written as TOML")]
    Toml(#[from] toml::ser::Error),
    /// No stack to fit the standard histogram on.
    #[error(
        "standardise_histogram: no training stack can be prepared, so there is no standard histogram; run without it to see why in exclusions.csv"
    )]
    NoLandmarks,
    /// The user asked to stop.
    #[error("interrupted; everything finished so far is kept, run the same command to go on")]
    Interrupted,
}

impl Classify for PreprocessError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::OutDir(error) => error.kind(),
            Self::UnusedClass { .. } | Self::UnknownGroup { .. } | Self::SplitFile { .. } | Self::MemoryCap { .. } => {
                FailureKind::Usage
            }
            Self::Interrupted => FailureKind::Interrupted,
            _ => FailureKind::Unusable,
        }
    }
}
