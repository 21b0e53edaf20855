//! `groupdistil audit`.

use clap::Args;

use super::Global;
use super::failure::CliError;
use crate::context::Context;

/// Arguments of `groupdistil audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {}

/// Runs `groupdistil audit`.
pub fn audit(_args: &AuditArgs, _global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}
