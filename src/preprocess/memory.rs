//! Works on stacks in parallel with the pixels of all threads under a cap. Results never depend on either.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;

use rayon::{Scope, ThreadPool, ThreadPoolBuilder};

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
    // One thread does one item and then what becomes of it: nothing else is at work.
    if threads == 1 {
        return (0..bytes.len()).try_for_each(|index| take(index, pool.install(|| work(index))));
    }
    let lanes: Vec<ThreadPool> =
        (0..threads).filter_map(|_| ThreadPoolBuilder::new().num_threads(1).build().ok()).collect();
    let pools: Vec<&ThreadPool> = lanes.iter().chain([pool]).collect();
    let mut window = Window::new(bytes, cap_bytes, threads, lanes.len());
    let work = &work;
    with_scopes(&pools, Vec::new(), |scopes| {
        let (sender, results) = mpsc::channel();
        let mut early = BTreeMap::new();
        for next in 0..bytes.len() {
            let result = loop {
                while let Some((index, place)) = window.begin(next) {
                    let sender = sender.clone();
                    scopes[place].spawn(move |_| {
                        // A panic is a result too: nobody waits for one that never comes.
                        let result = panic::catch_unwind(AssertUnwindSafe(|| work(index)));
                        let _ = sender.send((index, place, result));
                    });
                }
                if let Some(result) = early.remove(&next) {
                    break result;
                }
                let (index, place, result) = results.recv().expect("a sender is left");
                window.end(index, place);
                early.insert(index, result.unwrap_or_else(|panic| panic::resume_unwind(panic)));
            };
            take(next, result)?;
        }
        Ok(())
    })
}

/// Does `body` with a scope open in each pool, and waits for what it spawned in them.
fn with_scopes<'scope, R>(
    pools: &[&ThreadPool],
    open: Vec<&Scope<'scope>>,
    body: impl FnOnce(&[&Scope<'scope>]) -> R,
) -> R {
    match pools.split_first() {
        None => body(&open),
        Some((pool, rest)) => {
            pool.in_place_scope(|scope| with_scopes(rest, open.into_iter().chain([scope]).collect(), body))
        }
    }
}

/// Which items are under way, and where: a place is a lane or, behind them, the common pool.
struct Window<'a> {
    bytes: &'a [u64],
    cap_bytes: u64,
    threads: usize,
    /// The first item that is spread over the common pool.
    spread_from: usize,
    begun: usize,
    held_bytes: u64,
    /// Items under way at each place.
    at: Vec<usize>,
}

impl<'a> Window<'a> {
    fn new(bytes: &'a [u64], cap_bytes: u64, threads: usize, lanes: usize) -> Self {
        // Where the system gives no more threads, the common pool does it all.
        let spread = if lanes < threads { bytes.len() } else { bytes.len().min(threads - 1) };
        let at = vec![0; lanes + 1];
        Self { bytes, cap_bytes, threads, spread_from: bytes.len() - spread, begun: 0, held_bytes: 0, at }
    }

    /// The next item and its place, if there is room for it while the results before `next` are taken.
    fn begin(&mut self, next: usize) -> Option<(usize, usize)> {
        let index = self.begun;
        let held_bytes = self.held_bytes.saturating_add(*self.bytes.get(index)?);
        let under_way: usize = self.at.iter().sum();
        let pool = self.at.len() - 1;
        let (place, has_room) = if index < self.spread_from {
            let emptiest = (0..pool).min_by_key(|&lane| self.at[lane])?;
            (emptiest, self.at[emptiest] < PER_LANE)
        } else {
            (pool, under_way < self.threads)
        };
        let fits = under_way == 0 || held_bytes <= self.cap_bytes;
        if !fits || !has_room || index >= next + PER_LANE * self.threads {
            return None;
        }
        self.begun += 1;
        self.held_bytes = held_bytes;
        self.at[place] += 1;
        Some((index, place))
    }

    fn end(&mut self, index: usize, place: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(self.bytes[index]);
        self.at[place] -= 1;
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
