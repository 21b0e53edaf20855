//! What a failure means to a script: the classes of failure and their exit codes (design, section 2).
//!
//! Each stage has its own error type; `Classify` sorts its variants into these classes. Only `cli` turns them into an exit.

/// Class of a failure; its number is the process exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// 1: the work failed or the data are unusable (empty folder, labels match nobody, one class, ...).
    Unusable,
    /// 2: command line, TOML, gate or column-mapping error, or an existing `--out` that differs.
    Usage,
    /// 3: done, but some inputs were rejected and `--strict` was given.
    RejectedInputs,
    /// 4: a gate did not pass.
    Gate,
    /// 130: interrupted; everything finished so far is kept.
    Interrupted,
}

impl FailureKind {
    /// The process exit code of this class.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Unusable => 1,
            Self::Usage => 2,
            Self::RejectedInputs => 3,
            Self::Gate => 4,
            Self::Interrupted => 130,
        }
    }
}

/// Sorts an error into its [`FailureKind`].
pub trait Classify: std::error::Error + Send + Sync + 'static {
    /// The class of this error; most are [`FailureKind::Unusable`].
    fn kind(&self) -> FailureKind {
        FailureKind::Unusable
    }
}
