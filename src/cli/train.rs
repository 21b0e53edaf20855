//! `groupdistil train`.

use clap::Args;

use super::Global;
use super::failure::CliError;
use crate::context::Context;

/// Arguments of `groupdistil train`.
#[derive(Debug, Args)]
pub struct TrainArgs {}

/// Runs `groupdistil train`.
pub fn train(_args: &TrainArgs, _global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}
