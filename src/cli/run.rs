//! `groupdistil run` and `groupdistil demo`.

use clap::Args;

use super::Global;
use super::failure::CliError;
use crate::context::Context;

/// Arguments of `groupdistil run`.
#[derive(Debug, Args)]
pub struct RunArgs {}

/// Arguments of `groupdistil demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {}

/// Runs a pipeline file.
pub fn run(_args: &RunArgs, _global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}

/// Runs the embedded demo pipeline.
pub fn demo(_args: &DemoArgs, _global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}
