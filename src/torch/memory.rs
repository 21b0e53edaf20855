//! What becomes of memory that is freed while networks train on the CPU.
//!
//! A step frees and asks for the same gigabyte again. glibc gives blocks of megabytes back to the kernel, which zeroes each page
//! anew: without that, and with huge pages (`shim.cpp`), a step of a ResNet-18 takes a tenth less (`cargo xtask bench train`).
#![expect(unsafe_code, reason = "the FFI room")]

use std::sync::{Mutex, PoisonError};

use super::shim::gd_keep_memory;

/// Guards that live.
static HELD: Mutex<usize> = Mutex::new(0);

/// Freed memory stays with the process for as long as one of these lives; after the last it goes back.
#[derive(Debug)]
pub struct KeptMemory(());

impl KeptMemory {
    /// Starts keeping.
    pub fn begin() -> Self {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if *held == 0 {
            // SAFETY: takes a plain integer; glibc's settings may be changed at any time.
            unsafe { gd_keep_memory(1) };
        }
        *held += 1;
        Self(())
    }
}

impl Drop for KeptMemory {
    fn drop(&mut self) {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        *held -= 1;
        if *held == 0 {
            // SAFETY: as above.
            unsafe { gd_keep_memory(0) };
        }
    }
}
