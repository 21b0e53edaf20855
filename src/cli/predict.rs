//! `groupdistil predict`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::failure::CliError;
use super::ingest::{SourceArgs, source_settings};
use super::{Global, print_result};
use crate::context::Context;
use crate::failure::FailureKind;
use crate::predict::{self, PredictOptions, PredictSummary};
use crate::torch::choose_device;

const EXAMPLES: &str = "\
Examples:
  groupdistil predict student.pt /export/new --out predictions.csv
  groupdistil predict student.pt OpenDataset --out predictions.csv --key hospital.key
  groupdistil predict student.pt slices --config sunnybrook-ingest.toml --out predictions.csv
  groupdistil audit predictions.csv --labels truth.csv --out report

One row per stack that the model can use; `warning` says what to doubt: a scanner group that the model was never trained on,
missing phases, a stack that could not be prepared. Subjects are pseudonyms under the same key as in ingest.";

/// Arguments of `groupdistil predict`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PredictArgs {
    /// Model made by `groupdistil export`.
    #[arg(value_name = "MODEL.pt")]
    model: PathBuf,
    /// Folders or files with DICOM, NIfTI or pictures.
    #[arg(value_name = "SRC", required = true)]
    sources: Vec<PathBuf>,
    /// The table of predictions.
    #[arg(long, value_name = "CSV")]
    out: PathBuf,
    #[command(flatten)]
    about: SourceArgs,
    /// Key of the pseudonyms (default: one in your configuration folder, made at first use).
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Replace predictions of another model or of other sources.
    #[arg(long)]
    force: bool,
}

/// Runs `groupdistil predict`.
pub fn predict(args: &PredictArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let PredictArgs { model, sources, out, about, key, force } = args;
    // The model names its own group keys; those of a configuration file are not asked.
    let settings = source_settings(about, &["vendor".to_owned()], key.as_deref())?;
    let device = choose_device(&global.device)?;
    let options = PredictOptions { model, sources, settings: &settings, out, force: *force, device };
    let summary = predict::predict(&options, context)?;
    if global.json {
        let json = serde_json::to_string(&summary).map_err(|error| CliError::new(FailureKind::Unusable, error))?;
        return print_result(&format!("{json}\n"));
    }
    print_result(&readable(&summary))
}

fn readable(summary: &PredictSummary) -> String {
    if summary.up_to_date {
        return "up to date\n".to_owned();
    }
    let mut text = format!("{} subjects, {} stacks predicted\n", summary.subjects, summary.stacks);
    let _ = writeln!(text, "\n{:<24}{:>9}", "class", "subjects");
    for (class, subjects) in &summary.predicted {
        let _ = writeln!(text, "{class:<24}{subjects:>9}");
    }
    let width =
        summary.groups.iter().map(|group| group.acquisition_group.chars().count()).max().unwrap_or(0).max(13) + 2;
    let _ = writeln!(text, "\n{:<width$}{:>9}{:>8}   trained on", "scanner group", "subjects", "stacks");
    for group in &summary.groups {
        let seen = if group.seen { "yes" } else { "NO: its predictions are unproven" };
        let _ = writeln!(text, "{:<width$}{:>9}{:>8}   {seen}", group.acquisition_group, group.subjects, group.stacks);
    }
    if summary.groups.iter().any(|group| !group.seen) {
        let hint =
            "where sites came from a label table or a site map at ingest, give the same --labels or --config here";
        let _ = writeln!(text, "\n{hint}");
    }
    if !summary.left_out.is_empty() {
        let reasons = summary.left_out.iter().map(|(reason, count)| format!("{reason} {count}"));
        let _ = writeln!(text, "\nstacks without a prediction: {}", reasons.collect::<Vec<_>>().join(", "));
    }
    if summary.subjects_without > 0 {
        let _ =
            writeln!(text, "{} subjects have no prediction; the column `warning` says why", summary.subjects_without);
    }
    text
}
