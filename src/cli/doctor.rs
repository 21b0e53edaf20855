//! `groupdistil doctor`.

use clap::Args;

use super::Global;
use super::failure::CliError;

/// Arguments of `groupdistil doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {}

/// Runs `groupdistil doctor`.
pub fn doctor(_args: &DoctorArgs, _global: &Global) -> Result<(), CliError> {
    Err(CliError::new(crate::failure::FailureKind::Usage, "not built yet"))
}
