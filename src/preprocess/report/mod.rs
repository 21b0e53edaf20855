//! How much of the scanner shows in the grey values, before and after they are made comparable: histograms per acquisition group and a
//! linear probe that guesses vendor and site. Written into every dataset; `--report` prints it.
//!
//! ```text
//! features (per stack, in the part records) -> numbers (report.json) -> render (report.html)
//!                                  probe, logistic ^
//! ```

pub mod features;
pub mod logistic;
pub mod numbers;
pub mod probe;
mod render;

use super::error::PreprocessError;
use crate::outdir::OutDir;
use numbers::Report;

/// The page in a DATASET.
pub const REPORT_HTML: &str = "report.html";
/// The numbers in a DATASET.
pub const REPORT_JSON: &str = "report.json";

/// Writes numbers and page into the dataset.
///
/// # Errors
/// A file operation that failed.
pub fn write(report: &Report, folder: &OutDir) -> Result<(), PreprocessError> {
    folder.write_json(REPORT_JSON, report)?;
    Ok(folder.write(REPORT_HTML, render::html(report).as_bytes())?)
}
