//! `groupdistil export`.

use clap::Args;

use super::Global;
use super::failure::CliError;
use crate::context::Context;

/// Arguments of `groupdistil export`.
#[derive(Debug, Args)]
pub struct ExportArgs {}

/// Runs `groupdistil export`.
pub fn export(_args: &ExportArgs, _global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}
