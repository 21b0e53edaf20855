//! Works on stacks in parallel with the pixels of all threads under a cap. Results never depend on either.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::fsx;

/// Items that a lane has at once: the one it works on and the next, so that it need not wait for it.
const PER_LANE: usize = 2;

/// Does `work` on items of these sizes and hands the results to `take` in the items' order, on the calling thread. As many items are
/// under way as the cap allows; one over the cap is alone (callers refuse it before).
///
/// An item has a thread to itself, its lane, which also does whatever the item spreads: in a common pool a thread that waits for parts of
/// one item takes up another meanwhile, so that both are held and neither ends. Only the last items are spread over `pool`.
///
/// # Errors
/// The first of `take`; items under way are finished, no more are begun.
pub fn in_order<R: Send, E>(
    pool: &ThreadPool,
    (bytes, cap_bytes): (&[u64], u64),
    work: impl Fn(usize) -> R + Sync,
    mut take: impl FnMut(usize, R) -> Result<(), E>,
) -> Result<(), E> {
    let threads = pool.current_num_threads();
    let lanes: Vec<ThreadPool> =
        (0..threads).filter_map(|_| ThreadPoolBuilder::new().num_threads(1).build().ok()).collect();
    // Where the system gives no more threads, `pool` does it all.
    let spread = if lanes.len() < threads { bytes.len() } else { bytes.len().min(threads - 1) };
    let (work, lanes) = (&work, &lanes);
    thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        let mut under_way = UnderWay { in_lanes: vec![0; lanes.len()], in_pool: 0, bytes: 0 };
        let (mut begun, mut early) = (0, BTreeMap::new());
        for next in 0..bytes.len() {
            let result = loop {
                while begun < bytes.len().min(next + PER_LANE * threads) && under_way.fits(bytes[begun], cap_bytes) {
                    let is_spread = begun + spread >= bytes.len();
                    let Some(place) = (if is_spread { under_way.pool(threads) } else { under_way.lane() }) else {
                        break;
                    };
                    under_way.begin(place, bytes[begun]);
                    let (index, sender) = (begun, sender.clone());
                    scope.spawn(move || {
                        let threads = match place {
                            Place::Lane(lane) => &lanes[lane],
                            Place::Pool => pool,
                        };
                        // A panic is a result too: nobody waits for one that never comes.
                        let result = panic::catch_unwind(AssertUnwindSafe(|| threads.install(|| work(index))));
                        let _ = sender.send((index, place, result));
                    });
                    begun += 1;
                }
                if let Some(result) = early.remove(&next) {
                    break result;
                }
                let (index, place, result) = results.recv().expect("a sender is left");
                under_way.end(place, bytes[index]);
                early.insert(index, result.unwrap_or_else(|panic| panic::resume_unwind(panic)));
            };
            take(next, result)?;
        }
        Ok(())
    })
}

/// Where an item is done.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// By the thread of a lane alone.
    Lane(usize),
    /// Spread over the pool.
    Pool,
}

/// Items that are begun and not ended, and their size.
struct UnderWay {
    in_lanes: Vec<usize>,
    in_pool: usize,
    bytes: u64,
}

impl UnderWay {
    fn items(&self) -> usize {
        self.in_lanes.iter().sum::<usize>() + self.in_pool
    }

    fn fits(&self, bytes: u64, cap_bytes: u64) -> bool {
        self.items() == 0 || self.bytes.saturating_add(bytes) <= cap_bytes
    }

    /// The emptiest lane, if it has room.
    fn lane(&self) -> Option<Place> {
        let emptiest = (0..self.in_lanes.len()).min_by_key(|&lane| self.in_lanes[lane])?;
        (self.in_lanes[emptiest] < PER_LANE).then_some(Place::Lane(emptiest))
    }

    /// The pool, if one of the threads has no item.
    fn pool(&self, threads: usize) -> Option<Place> {
        (self.items() < threads).then_some(Place::Pool)
    }

    fn begin(&mut self, place: Place, bytes: u64) {
        match place {
            Place::Lane(lane) => self.in_lanes[lane] += 1,
            Place::Pool => self.in_pool += 1,
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn end(&mut self, place: Place, bytes: u64) {
        match place {
            Place::Lane(lane) => self.in_lanes[lane] -= 1,
            Place::Pool => self.in_pool -= 1,
        }
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// A quarter of the memory that this process may use.
pub fn default_cap_bytes() -> u64 {
    fsx::memory_bytes() / 4
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;
    use rayon::prelude::*;

    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    /// Index and result of each item in the order they came, and the most bytes that were under way at once.
    fn run(threads: usize, bytes: &[u64], cap_bytes: u64) -> (Vec<(usize, usize)>, u64) {
        let (held, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = |index: usize| {
            most.fetch_max(held.fetch_add(bytes[index], Ordering::SeqCst) + bytes[index], Ordering::SeqCst);
            // Later items are done first, and items spread their work as stacks do.
            let turns = 2_000 * (bytes.len() - index);
            let spread = (0..turns).into_par_iter().map(|turn| std::hint::black_box(turn) % 2).sum::<usize>();
            held.fetch_sub(bytes[index], Ordering::SeqCst);
            spread
        };
        let mut taken = Vec::new();
        let take = |index, result| -> Result<(), ()> {
            taken.push((index, result));
            Ok(())
        };
        in_order(&pool(threads), (bytes, cap_bytes), work, take).unwrap();
        (taken, most.into_inner())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn all_results_come_in_order_under_the_cap(
            bytes in proptest::collection::vec(0_u64..100, 0..40),
            threads in 1_usize..5,
            cap_bytes in 0_u64..300,
        ) {
            let (taken, most) = run(threads, &bytes, cap_bytes);
            let expected: Vec<_> = (0..bytes.len()).map(|index| (index, 1_000 * (bytes.len() - index))).collect();
            prop_assert_eq!(taken, expected);
            prop_assert!(most <= cap_bytes.max(bytes.iter().copied().max().unwrap_or(0)), "{most} bytes");
        }
    }

    #[test]
    fn a_thread_of_the_pool_may_call_it_and_be_its_only_one() {
        let pool = pool(1);
        let mut taken = Vec::new();
        let take = |_, result| -> Result<(), ()> {
            taken.push(result);
            Ok(())
        };
        pool.install(|| in_order(&pool, (&[1; 9], 2), |index| index * 2, take)).unwrap();
        assert_eq!(taken, [0, 2, 4, 6, 8, 10, 12, 14, 16]);
    }

    #[test]
    fn what_take_refuses_ends_it_and_so_does_a_panic() {
        let begun = AtomicU64::new(0);
        let work = |index| {
            begun.fetch_add(1, Ordering::SeqCst);
            index
        };
        let stopped = in_order(&pool(2), (&[0; 1000], 1), work, |_, index| if index < 5 { Ok(()) } else { Err(index) });
        assert_eq!(stopped, Err(5));
        assert!(begun.into_inner() <= 5 + 4, "no more are begun");
        let panics = || in_order(&pool(2), (&[0; 9], 1), |index| assert!(index < 3), |_, ()| Ok::<(), ()>(()));
        assert!(panic::catch_unwind(panics).is_err());
    }

    #[test]
    fn sizes_that_cannot_be_added_count_as_too_much() {
        assert_eq!(run(2, &[u64::MAX / 2, u64::MAX / 2, 1], u64::MAX).0.len(), 3);
    }

    #[test]
    fn the_default_is_a_quarter_of_what_there_is() {
        assert!((1 << 20..1 << 50).contains(&default_cap_bytes()));
    }
}
