//! Errors of the command line: what is printed, and which exit code a script sees.

use crate::failure::{Classify, FailureKind};

/// A failed command.
#[derive(Debug)]
pub struct CliError {
    kind: FailureKind,
    source: anyhow::Error,
}

impl<E: Classify> From<E> for CliError {
    fn from(error: E) -> Self {
        Self { kind: error.kind(), source: error.into() }
    }
}

impl CliError {
    /// A failure of class `kind` with a message.
    pub fn new(kind: FailureKind, message: impl std::fmt::Display + std::fmt::Debug + Send + Sync + 'static) -> Self {
        Self { kind, source: anyhow::Error::msg(message) }
    }

    pub(super) fn signals(error: std::io::Error) -> Self {
        Self { kind: FailureKind::Unusable, source: anyhow::Error::new(error).context("cannot listen for Ctrl-C") }
    }

    pub(super) fn threads(error: rayon::ThreadPoolBuildError) -> Self {
        Self { kind: FailureKind::Unusable, source: anyhow::Error::new(error).context("cannot start worker threads") }
    }

    pub(super) fn stdout(error: std::io::Error) -> Self {
        Self { kind: FailureKind::Unusable, source: anyhow::Error::new(error).context("cannot write to stdout") }
    }

    /// Prints the error with its causes on stderr and gives the exit code.
    #[expect(clippy::print_stderr, reason = "the one place where errors are printed")]
    pub fn report(&self) -> i32 {
        eprintln!("error: {:#}", self.source);
        i32::from(self.kind.exit_code())
    }
}
