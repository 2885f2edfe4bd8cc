//! A counter in several cache lines, so that threads that count do not meet.
//!
//! Each thread adds in the shard it was given at its first count; the sum is taken by who asks.
//! Invariant: a shard only grows (modulo 2^64), so a sum lies between the true count when it was begun
//! and the true count when it was done.

use super::{AtomicU64, CachePadded, Ordering};
use std::fmt::{self, Debug, Formatter};

const SHARDS: usize = if cfg!(efio_loom) { 2 } else { 16 };

/// A count that many threads raise and few read.
///
/// **Use it** for statistics on a hot path: bytes written, calls refused. An addition is one atomic
/// addition to a line that no other processor uses just now. **Do not use it** where each addition
/// needs the total (a ticket, a limit), or for hundreds of counters: it takes 2 KiB.
///
/// ```
/// use efio::sync::Counter;
///
/// static BYTES: Counter = Counter::new();
/// BYTES.add(120);
/// BYTES.add(80);
/// assert_eq!(BYTES.sum(), 200);
/// ```
pub struct Counter {
    shards: [CachePadded<AtomicU64>; SHARDS],
}

impl Counter {
    /// A count of zero.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { shards: [const { CachePadded::new(AtomicU64::new(0)) }; SHARDS] }
    }

    /// A count of zero.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { shards: std::array::from_fn(|_| CachePadded::new(AtomicU64::new(0))) }
    }

    /// Adds `amount`; beyond 2^64 it begins again at zero.
    #[inline]
    pub fn add(&self, amount: u64) {
        // ORDER: Relaxed; a count orders nothing else.
        self.shards[shard()].fetch_add(amount, Ordering::Relaxed);
    }

    /// The count: all that was added before this call, and perhaps some of what is added during it.
    ///
    /// "Before" as the threads know it: what a thread that was joined, or sent a message, had added.
    #[must_use]
    pub fn sum(&self) -> u64 {
        // ORDER: Relaxed; coherence shows what was added before the caller heard of it.
        self.shards.iter().fold(0, |sum, shard| sum.wrapping_add(shard.load(Ordering::Relaxed)))
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl Debug for Counter {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Counter").field(&self.sum()).finish()
    }
}

/// The shard of this thread: threads take turns, in the order of their first count.
#[cfg(not(efio_loom))]
#[inline]
fn shard() -> usize {
    use super::AtomicUsize;

    static NEXT: AtomicUsize = AtomicUsize::new(0);
    std::thread_local! {
        // ORDER: Relaxed; any number will do.
        static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    // A thread that ends counts on in the first shard.
    SHARD.try_with(|shard| *shard).unwrap_or(0)
}

/// All threads of a model meet in one shard.
#[cfg(efio_loom)]
fn shard() -> usize {
    0
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::sync::rounds;

    #[test]
    fn nothing_is_lost_between_more_threads_than_shards() {
        let counter = Counter::new();
        std::thread::scope(|scope| {
            for _ in 0..SHARDS + 4 {
                scope.spawn(|| (0..1_000).for_each(|_| counter.add(3)));
            }
        });
        assert_eq!(counter.sum(), 3_000 * (SHARDS as u64 + 4));
        assert_eq!(format!("{counter:?}"), "Counter(60000)");
    }

    #[test]
    fn a_sum_never_goes_back_while_others_count() {
        let counter = Counter::new();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..rounds(20_000)).for_each(|_| counter.add(1)));
            }
            let mut last = 0;
            while last < 2 * u64::from(rounds(20_000)) {
                let sum = counter.sum();
                assert!(sum >= last);
                last = sum;
            }
        });
    }
}
