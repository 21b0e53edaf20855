//! Keeps the pixels held by all threads under a cap. Results never depend on it.

use std::ops::Range;

use crate::fsx;

/// Cuts items that need these bytes, in order, into waves that fit under the cap together; one that needs more is a wave of its own
/// (callers refuse it before).
///
/// Waves and not a gate that threads wait at: work on a stack is spread too, and a thread that waits for its parts may take up another
/// stack meanwhile. At a gate it would then wait for memory that it holds itself.
pub fn waves(bytes: impl Iterator<Item = u64>, cap_bytes: u64) -> Vec<Range<usize>> {
    let mut waves: Vec<Range<usize>> = Vec::new();
    let mut held = 0_u64;
    for (index, bytes) in bytes.enumerate() {
        held = held.saturating_add(bytes);
        match waves.last_mut() {
            Some(wave) if held <= cap_bytes => wave.end = index + 1,
            _ => {
                waves.push(index..index + 1);
                held = bytes;
            }
        }
    }
    waves
}

/// A quarter of the memory that this process may use.
pub fn default_cap_bytes() -> u64 {
    fsx::memory_bytes() / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand.
    #[test]
    fn waves_are_as_large_as_the_cap_allows_and_leave_nothing_out() {
        let cut = |bytes: &[u64], cap| waves(bytes.iter().copied(), cap);
        assert_eq!(cut(&[40, 60, 1, 99, 5], 100), [0..2, 2..4, 4..5]);
        assert_eq!(cut(&[1000, 5, 1000], 10), [0..1, 1..2, 2..3]);
        assert_eq!(cut(&[u64::MAX, u64::MAX], u64::MAX).len(), 1, "sums saturate");
        assert!(cut(&[], 10).is_empty());
    }

    #[test]
    fn the_default_is_a_quarter_of_what_there_is() {
        assert!((1 << 20..1 << 50).contains(&default_cap_bytes()));
    }
}
