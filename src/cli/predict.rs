//! `groupdistil predict`.

use clap::Args;

use super::Global;
use super::failure::CliError;
use crate::context::Context;

/// Arguments of `groupdistil predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {}

/// Runs `groupdistil predict`.
pub fn predict(_args: &PredictArgs, _global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}
