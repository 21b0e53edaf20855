//! `groupdistil inspect`.

use clap::Args;

use super::Global;
use super::failure::CliError;
use crate::context::Context;

/// Arguments of `groupdistil inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {}

/// Runs `groupdistil inspect`.
pub fn inspect(_args: &InspectArgs, _global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}
