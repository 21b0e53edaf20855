//! `groupdistil ingest`.

use clap::Args;

use super::Global;
use super::failure::CliError;
use crate::context::Context;

/// Arguments of `groupdistil ingest`.
#[derive(Debug, Args)]
pub struct IngestArgs {}

/// Runs `groupdistil ingest`.
pub fn ingest(_args: &IngestArgs, _global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}
