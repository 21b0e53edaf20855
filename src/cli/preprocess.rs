//! `groupdistil preprocess`.

use clap::Args;

use super::Global;
use super::failure::CliError;
use crate::context::Context;

/// Arguments of `groupdistil preprocess`.
#[derive(Debug, Args)]
pub struct PreprocessArgs {}

/// Runs `groupdistil preprocess`.
pub fn preprocess(_args: &PreprocessArgs, _global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}
