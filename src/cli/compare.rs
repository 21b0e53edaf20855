//! `groupdistil compare`.

use clap::Args;

use super::Global;
use super::failure::CliError;
use crate::context::Context;

/// Arguments of `groupdistil compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {}

/// Runs `groupdistil compare`.
pub fn compare(_args: &CompareArgs, _global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}
