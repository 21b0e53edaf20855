//! Why a cohort cannot be made at all. A single bad file is a row of the ledger, never an error.

use std::path::PathBuf;

use crate::failure::{Classify, FailureKind};
use crate::formats::table::TableError;
use crate::fsx::FsError;
use crate::outdir::OutDirError;

/// Why a cohort cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// A source does not exist.
    #[error("`{}` does not exist; give a folder or file with scans", path.display())]
    Source {
        /// The source.
        path: PathBuf,
    },
    /// No file at all.
    #[error("no file in {}; give a folder with DICOM, NIfTI or images", shown(paths))]
    Empty {
        /// The sources.
        paths: Vec<PathBuf>,
    },
    /// Files, but no image among them.
    #[error(
        "none of {files} files in {} is an image that can be used: {reasons}; docs/ledger.md says what each reason means",
        shown(paths)
    )]
    NoImages {
        /// The sources.
        paths: Vec<PathBuf>,
        /// Files found.
        files: usize,
        /// Reasons with counts.
        reasons: String,
    },
    /// A label table that cannot be used.
    #[error("`{}` line {line}: {problem}", path.display())]
    Labels {
        /// The table.
        path: PathBuf,
        /// 1-based line.
        line: usize,
        /// What is wrong, with the remedy.
        problem: String,
    },
    /// The tables were read, but no row speaks of any scan.
    #[error(
        "labels match nobody: none of {rows} label rows fits one of {subjects} subjects; compare the ids (leading zeros count) or give rewrite rules in [[ingest.labels]]"
    )]
    NoMatch {
        /// Label rows.
        rows: usize,
        /// Subjects.
        subjects: usize,
    },
    /// A `group_by` key that no stack has.
    #[error("group-by `{key}` is neither {known} nor a column of the label tables")]
    GroupKey {
        /// The key.
        key: String,
        /// The known ones.
        known: String,
    },
    /// The key file is unusable.
    #[error("`{}`: {problem}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The crosswalk would replace another file.
    #[error("`{}` is there and is no crosswalk of groupdistil, or cannot be written; give another --crosswalk", path.display())]
    Crosswalk {
        /// The file.
        path: PathBuf,
    },
    /// The settings cannot be written down.
    #[error("the settings cannot be written as TOML")]
    Settings(#[from] toml::ser::Error),
    /// The user asked to stop.
    #[error("interrupted before the cohort was written; run the same command again")]
    Interrupted,
    /// The output folder cannot be used.
    #[error(transparent)]
    OutDir(#[from] OutDirError),
    /// A table cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

impl Classify for IngestError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Labels { .. } | Self::GroupKey { .. } | Self::Key { .. } | Self::Crosswalk { .. } => {
                FailureKind::Usage
            }
            Self::Interrupted => FailureKind::Interrupted,
            Self::OutDir(error) => error.kind(),
            _ => FailureKind::Unusable,
        }
    }
}
