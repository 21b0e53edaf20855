//! What a stage borrows from whoever runs it: a progress observer, an interrupt flag and a thread pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Hears how far a long step has come. Implementations must be cheap: `advance` is called from worker threads.
pub trait Observer: Send + Sync {
    /// A stage of a pipeline begins: a heading over the steps that follow.
    fn stage(&self, _title: &str) {}
    /// A step named `step` begins; `total` items if known.
    fn begin(&self, step: &str, total: Option<u64>);
    /// `items` more are done.
    fn advance(&self, items: u64);
    /// A short remark on the current step, for example the running loss.
    fn remark(&self, text: &str);
    /// A line that stays, above the progress: a row of a table that grows.
    fn line(&self, _text: &str) {}
    /// The current step has ended.
    fn end(&self);
}

/// An observer that hears nothing, for tests and library use.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn begin(&self, _step: &str, _total: Option<u64>) {}
    fn advance(&self, _items: u64) {}
    fn remark(&self, _text: &str) {}
    fn end(&self) {}
}

/// Set once by Ctrl-C or SIGTERM; stages look at it between items and stop with what is finished kept.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// A flag that a signal handler may set.
    pub fn from_flag(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Whether the user asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Borrowed by every stage for the length of its run.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where progress goes.
    pub observer: &'a dyn Observer,
    /// Whether to stop early.
    pub interrupt: &'a Interrupt,
    /// The one rayon pool, sized by `--threads`. No tch call may run on it.
    pub pool: &'a rayon::ThreadPool,
}
