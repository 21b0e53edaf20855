//! A gate that keeps the pixels held by all threads under a cap. It orders nothing: results never depend on it.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::fsx;

/// Bytes in use against a cap.
#[derive(Debug)]
pub struct MemoryGate {
    cap_bytes: u64,
    in_use_bytes: Mutex<u64>,
    freed: Condvar,
}

/// Bytes that were granted; dropping gives them back.
#[derive(Debug)]
pub struct Permit<'a> {
    gate: &'a MemoryGate,
    bytes: u64,
}

impl MemoryGate {
    /// A gate that lets `cap_bytes` through at a time.
    pub fn new(cap_bytes: u64) -> Self {
        Self { cap_bytes, in_use_bytes: Mutex::new(0), freed: Condvar::new() }
    }

    /// The cap.
    pub fn cap_bytes(&self) -> u64 {
        self.cap_bytes
    }

    /// Waits until `bytes` fit under the cap. More than the cap is granted when nothing else is held: callers refuse such work before.
    pub fn acquire(&self, bytes: u64) -> Permit<'_> {
        let mut in_use = self.in_use_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        while *in_use > 0 && in_use.saturating_add(bytes) > self.cap_bytes {
            in_use = self.freed.wait(in_use).unwrap_or_else(PoisonError::into_inner);
        }
        *in_use = in_use.saturating_add(bytes);
        Permit { gate: self, bytes }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut in_use = self.gate.in_use_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *in_use = in_use.saturating_sub(self.bytes);
        self.gate.freed.notify_all();
    }
}

/// A quarter of the memory that this process may use.
pub fn default_cap_bytes() -> u64 {
    fsx::memory_bytes() / 4
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_cap_holds_under_many_threads() {
        let gate = MemoryGate::new(100);
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (gate, now, most) = (&gate, &now, &most);
                scope.spawn(move || {
                    for round in 0..200 {
                        let bytes = 10 + (thread * 7 + round) % 60;
                        let _permit = gate.acquire(bytes);
                        most.fetch_max(now.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                        now.fetch_sub(bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        let most = most.load(Ordering::SeqCst);
        assert!((10..=100).contains(&most), "{most}");
    }

    #[test]
    fn work_over_the_cap_runs_alone() {
        let gate = MemoryGate::new(10);
        drop(gate.acquire(1000));
        drop(gate.acquire(5));
    }

    #[test]
    fn the_default_is_a_quarter_of_what_there_is() {
        assert!((1 << 20..1 << 50).contains(&default_cap_bytes()));
    }
}
