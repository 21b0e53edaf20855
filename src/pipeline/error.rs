//! Why a pipeline stopped, with the stage's name.

use crate::audit::AuditError;
use crate::export::ExportError;
use crate::failure::{Classify, FailureKind};
use crate::formats::dataset::DatasetError;
use crate::fsx::FsError;
use crate::ingest::IngestError;
use crate::outdir::OutDirError;
use crate::phantom::PhantomError;
use crate::preprocess::PreprocessError;
use crate::settings::train::TrainSettingsError;
use crate::train::TrainError;

/// Why a pipeline stopped. What is finished stays, and the same command goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The output folder cannot be used.
    #[error(transparent)]
    OutDir(#[from] OutDirError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Stage `phantom`.
    #[error("stage phantom")]
    Phantom(#[from] PhantomError),
    /// Stage `ingest`.
    #[error("stage ingest")]
    Ingest(#[from] IngestError),
    /// Stage `preprocess`.
    #[error("stage preprocess")]
    Preprocess(#[from] PreprocessError),
    /// The dataset cannot be read back.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Settings of a training.
    #[error("training {name}")]
    TrainSettings {
        /// `teacher` or the student.
        name: String,
        /// The reason.
        source: Box<TrainSettingsError>,
    },
    /// A training failed.
    #[error("training {name}")]
    Train {
        /// `teacher` or the student.
        name: String,
        /// The reason.
        source: Box<TrainError>,
    },
    /// Stage `export`.
    #[error("stage export")]
    Export(#[from] ExportError),
    /// Stage `audit`.
    #[error("stage audit")]
    Audit(#[from] AuditError),
    /// `cross_validate` without folds in the dataset.
    #[error("cross_validate = true needs folds; set split = \"k-fold\" in [preprocess]")]
    NoFolds,
    /// A result that cannot be written as JSON.
    #[error("the summary cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl Classify for PipelineError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::OutDir(error) => error.kind(),
            Self::Fs(_) | Self::Json(_) => FailureKind::Unusable,
            Self::Phantom(error) => error.kind(),
            Self::Ingest(error) => error.kind(),
            Self::Preprocess(error) => error.kind(),
            Self::Dataset(error) => error.kind(),
            Self::TrainSettings { source, .. } => source.kind(),
            Self::Train { source, .. } => source.kind(),
            Self::Export(error) => error.kind(),
            Self::Audit(error) => error.kind(),
            Self::NoFolds => FailureKind::Usage,
        }
    }
}
