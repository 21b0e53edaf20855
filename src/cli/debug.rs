//! `groupdistil debug`.

use clap::Args;

use super::Global;
use super::failure::CliError;
use crate::context::Context;

/// Arguments of `groupdistil debug`.
#[derive(Debug, Args)]
pub struct DebugArgs {}

/// Runs `groupdistil debug`.
pub fn debug(_args: &DebugArgs, _global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}
