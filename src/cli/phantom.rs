//! `groupdistil phantom`.

use clap::Args;

use super::Global;
use super::failure::CliError;
use crate::context::Context;

/// Arguments of `groupdistil phantom`.
#[derive(Debug, Args)]
pub struct PhantomArgs {}

/// Runs `groupdistil phantom`.
pub fn phantom(_args: &PhantomArgs, _global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}
