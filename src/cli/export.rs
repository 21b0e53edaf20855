//! `groupdistil export`.

use std::path::PathBuf;

use clap::Args;

use super::failure::CliError;
use super::{Global, print_result};
use crate::context::Context;
use crate::export::{ExportOptions, ExportSummary};
use crate::failure::FailureKind;

/// Arguments of `groupdistil export`.
#[derive(Debug, Args)]
#[command(
    after_help = "The file is TorchScript: `torch.jit.load` in Python, C++ or Triton runs it. It holds the preprocessing, the classes, the
scanners it has seen and a golden input with its output; `groupdistil predict` needs nothing else, and
`groupdistil doctor --model` checks it on another machine.

Examples:
  groupdistil export out/run --out student.pt"
)]
pub struct ExportArgs {
    /// The trained RUN.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The model file.
    #[arg(long, value_name = "MODEL.pt")]
    pub out: PathBuf,
    /// Replace another model that is there.
    #[arg(long)]
    pub force: bool,
}

/// Runs `groupdistil export`.
pub fn export(args: &ExportArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let ExportArgs { run, out, force } = args;
    let checker = this_program()?;
    let summary = crate::export::export(run, &ExportOptions { out, force: *force, checker: &checker }, context)?;
    if global.json {
        let json = serde_json::to_string(&summary).map_err(|error| CliError::new(FailureKind::Unusable, error))?;
        return print_result(&format!("{json}\n"));
    }
    print_result(&readable(&summary))
}

/// The running binary, which checks the file in a fresh process.
pub fn this_program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(|error| {
        CliError::new(FailureKind::Unusable, format!("cannot find this program to check the model with: {error}"))
    })
}

#[expect(clippy::cast_precision_loss, reason = "shown in MB")]
fn readable(summary: &ExportSummary) -> String {
    format!(
        "{} with {} parameters, {:.1} MB{}\nreloaded in a fresh process: largest difference of a logit {:.1e}\n",
        summary.architecture,
        summary.parameters,
        summary.bytes as f64 / 1e6,
        if summary.up_to_date { ", up to date" } else { "" },
        summary.largest_difference
    )
}
