//! Why an audit cannot be made, or did not pass.

use std::path::PathBuf;

use crate::failure::{Classify, FailureKind};
use crate::formats::predictions::PredictionsError;
use crate::formats::run::RunError;
use crate::formats::table::TableError;
use crate::fsx::FsError;
use crate::outdir::OutDirError;

/// Why an audit cannot be made, or did not pass. No message holds a subject id: in a CSV from elsewhere it may be a patient's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The output folder cannot be used.
    #[error(transparent)]
    OutDir(#[from] OutDirError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A RUN cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its predictions cannot be read.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
    /// `audit.csv` cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Nothing to audit.
    #[error("nothing to audit; give a RUN folder, a folder of folds or a CSV of predictions")]
    NoModel,
    /// Two models of one name.
    #[error("two models are named `{name}`; give them names: NAME=PATH")]
    SameName {
        /// The name.
        name: String,
    },
    /// Neither of the three kinds of sources.
    #[error("`{}` is no RUN (run.json), no folder of folds (fold-0, fold-1, ...) and no CSV file", path.display())]
    NotASource {
        /// What was given.
        path: PathBuf,
    },
    /// Folds that do not belong together.
    #[error("`{}`: {problem}; the folds of one audit come from one dataset and one set of settings", path.display())]
    Folds {
        /// The folder of folds.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The split that is reported on is empty.
    #[error("`{}` has no sample in split `{split}`{}; choose another with --split", path.display(), there(found))]
    EmptySplit {
        /// The run or file.
        path: PathBuf,
        /// The split asked for.
        split: &'static str,
        /// Splits that have samples.
        found: Vec<&'static str>,
    },
    /// A column that is needed is not there.
    #[error("`{}` has no column {expected}; its columns are {}; {remedy}", path.display(), found.join(", "))]
    Column {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
        /// The columns that are there.
        found: Vec<String>,
        /// What to do.
        remedy: &'static str,
    },
    /// A cell that cannot be used.
    #[error("`{}`, line {line}, column `{column}`: {problem}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// 1-based line.
        line: u64,
        /// The column.
        column: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// Not a CSV table.
    #[error("`{}` cannot be read as CSV", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        source: csv::Error,
    },
    /// No row has a label.
    #[error("`{}`: {problem}", path.display())]
    Labels {
        /// The predictions.
        path: PathBuf,
        /// What was tried, and the remedy.
        problem: String,
    },
    /// Models of different classes.
    #[error("`{other}` has the classes {}, `{first}` has {}; models of one audit have the same classes", found.join(", "), expected.join(", "))]
    Classes {
        /// Model under audit.
        first: String,
        /// Its classes.
        expected: Vec<String>,
        /// The model compared with it.
        other: String,
        /// Its classes.
        found: Vec<String>,
    },
    /// The same subject has another label in another model's predictions.
    #[error(
        "{subjects} subjects have another label in `{other}` than in `{first}`; their predictions are of different data"
    )]
    LabelsDiffer {
        /// Model under audit.
        first: String,
        /// The model compared with it.
        other: String,
        /// How many.
        subjects: usize,
    },
    /// Nothing in common.
    #[error("`{other}` and `{first}` have no subject in common; compare models that were tested on the same data")]
    NothingInCommon {
        /// Model under audit.
        first: String,
        /// The model compared with it.
        other: String,
    },
    /// A gate that cannot be read.
    #[error(
        "--gate `{text}`, position {position}: {problem}; for example `worst_group_accuracy >= 0.7` or `lower(accuracy[site=A]) >= 0.6`"
    )]
    GateSyntax {
        /// The expression.
        text: String,
        /// 1-based character.
        position: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A gate on something that is not in the data.
    #[error("--gate `{text}`: {problem}")]
    GateTarget {
        /// The expression.
        text: String,
        /// What is not there, and what is.
        problem: String,
    },
    /// The report is written, and a gate did not pass.
    #[error("{} of {gates} gates did not pass ({failed} failed, {insufficient} insufficient evidence); see the report", .failed + .insufficient)]
    GatesNotPassed {
        /// All gates.
        gates: usize,
        /// Failed.
        failed: usize,
        /// Not decided for lack of subjects.
        insufficient: usize,
    },
    /// `audit.json` of a complete REPORT cannot be read.
    #[error("`{}`: not the JSON of a report; make it anew with --force", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// serde's reason.
        source: serde_json::Error,
    },
    /// Ctrl-C.
    #[error("interrupted; no report was written")]
    Interrupted,
}

fn there(found: &[&str]) -> String {
    if found.is_empty() { String::new() } else { format!(" (only in {})", found.join(", ")) }
}

impl Classify for AuditError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::OutDir(error) => error.kind(),
            Self::NoModel
            | Self::SameName { .. }
            | Self::Column { .. }
            | Self::GateSyntax { .. }
            | Self::GateTarget { .. } => FailureKind::Usage,
            Self::GatesNotPassed { .. } => FailureKind::Gate,
            Self::Interrupted => FailureKind::Interrupted,
            _ => FailureKind::Unusable,
        }
    }
}
