//! A lock of one byte, for a few instructions at a time.
//!
//! Taken by one compare-exchange, given back by one store. Who finds it held only reads until it looks free
//! (so that the holder keeps its cache line), waits as [`Backoff`] says, and in the end naps: a
//! holder that lost its processor comes back sooner if nobody burns it.

#![allow(unsafe_code, reason = "the promise of a lock is an unsafe trait")]

use super::{AtomicBool, Backoff, Lock, LockGuard, Ordering, RawLock};

/// A value behind a lock of one byte: the cheapest where hardly ever two threads meet.
///
/// **Use it** around a few instructions without a system call: a counter and its sum, a swap of two
/// pointers. **Do not use it** around anything that can wait (a system call, an allocation, another
/// lock): whoever comes meanwhile burns a processor, and after some 100 microseconds naps for up to
/// 1.6 milliseconds, without being called when the lock is free. There is no order among those who
/// wait, and one of them may wait long; where that matters take a [`TicketLock`](super::TicketLock)
/// or an [`McsLock`](super::McsLock), and a `std::sync::Mutex` where holders sleep.
///
/// Panics and locking twice: see [`Lock`].
///
/// ```
/// use efio::sync::SpinLock;
///
/// static TOTALS: SpinLock<(u64, u64)> = SpinLock::new((0, 0));
///
/// {
///     let mut totals = TOTALS.lock();
///     totals.0 += 1;
///     totals.1 += 120;
///     assert!(TOTALS.try_lock().is_none());
/// }
/// assert_eq!(*TOTALS.lock(), (1, 120));
/// ```
pub type SpinLock<T> = Lock<RawSpin, T>;

/// The guard of a [`SpinLock`].
pub type SpinGuard<'a, T> = LockGuard<'a, RawSpin, T>;

/// The byte of a [`SpinLock`], without a value.
#[derive(Debug)]
pub struct RawSpin {
    held: AtomicBool,
}

impl RawSpin {
    #[cold]
    fn wait(&self) {
        let mut backoff = Backoff::new();
        loop {
            backoff.rest();
            // ORDER: Relaxed; only a reason to try. (A model may read an old value for ever.)
            if (cfg!(efio_loom) || !self.held.load(Ordering::Relaxed)) && self.try_lock() {
                return;
            }
        }
    }
}

// SAFETY: `held` goes from false to true by one compare-exchange, so one thread sees it succeed until
// `unlock` stores false; that store and the next exchange order the two.
unsafe impl RawLock for RawSpin {
    #[cfg(not(efio_loom))]
    #[allow(clippy::declare_interior_mutable_const, reason = "a start value, copied into each lock")]
    const NEW: Self = Self { held: AtomicBool::new(false) };

    #[cfg(efio_loom)]
    fn new() -> Self {
        Self { held: AtomicBool::new(false) }
    }

    #[inline]
    fn lock(&self) {
        // ORDER: Acquire pairs with the Release store in `unlock`.
        let taken = self.held.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_err() {
            self.wait();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        // ORDER: Acquire pairs with the Release store in `unlock`.
        self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline]
    unsafe fn unlock(&self) {
        // ORDER: Release pairs with the Acquire exchanges in `lock` and `try_lock`.
        self.held.store(false, Ordering::Release);
    }

    fn is_locked(&self) -> bool {
        // ORDER: Relaxed; the answer proves nothing.
        self.held.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::sync::rounds;

    #[test]
    fn one_thread_at_a_time_is_inside() {
        let lock = SpinLock::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..rounds(5_000)).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(lock.into_inner(), 4 * u64::from(rounds(5_000)));
    }

    #[test]
    fn a_try_fails_while_it_is_held_and_only_then() {
        let lock = SpinLock::new(());
        let guard = lock.try_lock();
        assert!(guard.is_some() && lock.try_lock().is_none() && lock.is_locked());
        drop(guard);
        assert!(!lock.is_locked() && lock.try_lock().is_some());
    }
}
