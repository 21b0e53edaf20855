//! The ledger: every file found has exactly one row. The reasons are a closed list, explained in `docs/ledger.md`.

use super::discover::Found;
use crate::formats::cohort::{LedgerRow, Outcome};

/// What became of one file, before or after stacks were built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Outcome.
    pub outcome: Outcome,
    /// Kebab-case reason.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Verdict {
    /// Gave a frame or was read for its content.
    pub fn used(reason: &'static str, message: &str) -> Self {
        Self { outcome: Outcome::Used, reason, message: message.to_owned() }
    }

    /// Understood, not wanted.
    pub fn skipped(reason: &'static str, message: &str) -> Self {
        Self { outcome: Outcome::Skipped, reason, message: message.to_owned() }
    }

    /// Not understood.
    pub fn rejected(reason: &'static str, message: &str) -> Self {
        Self { outcome: Outcome::Rejected, reason, message: message.to_owned() }
    }
}

/// Verdicts by file; the first one that uses a file wins over any that does not.
#[derive(Debug)]
pub struct Ledger {
    verdicts: Vec<Option<Verdict>>,
}

impl Ledger {
    /// A ledger for this many files.
    pub fn new(files: usize) -> Self {
        Self { verdicts: vec![None; files] }
    }

    /// Records what became of a file: used beats skipped beats rejected; among equals the first stays.
    pub fn record(&mut self, file: usize, verdict: Verdict) {
        let slot = &mut self.verdicts[file];
        if slot.as_ref().is_none_or(|known| verdict.outcome < known.outcome) {
            *slot = Some(verdict);
        }
    }

    /// The rows in the order of the files, which is that of their paths.
    pub fn rows(self, found: &[Found]) -> Vec<LedgerRow> {
        let unexplained = || Verdict::rejected("not-understood", "none of the readers knows this file");
        let row = |(verdict, file): (Option<Verdict>, &Found)| {
            let Verdict { outcome, reason, message } = verdict.unwrap_or_else(unexplained);
            LedgerRow {
                path: file.path.to_string_lossy().into_owned(),
                bytes: i64::try_from(file.bytes).unwrap_or(i64::MAX),
                outcome,
                reason: reason.to_owned(),
                message,
            }
        };
        self.verdicts.into_iter().zip(found).map(row).collect()
    }
}
