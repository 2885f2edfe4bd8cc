//! One token: who has none sleeps until another thread brings it.
//!
//! ```text
//!  EMPTY ── unpark ──► TOKEN ── park takes it ──► EMPTY
//!    └── park ──► PARKED ── unpark ──► TOKEN (and a wake)
//! ```
//!
//! Invariant: an `unpark` leaves the token, whatever it finds; a `park` returns only after it took one
//! (or at the end of its time). Both are exchanges of one word, so the token is never overlooked.

use super::{AtomicU32, Ordering, futex};
use std::fmt::{self, Debug, Formatter};
use std::time::{Duration, Instant};

const EMPTY: u32 = 0;
const TOKEN: u32 = 1;
const PARKED: u32 = 2;

/// A thread's place to sleep, and the one token that ends the sleep.
///
/// **Use it** to build waits of your own: a list of parkers, one per waiting thread. Unlike
/// `std::thread::park` no one else's wake-up comes in between: who parks here is woken by those who
/// know this parker. A token brought before the sleep ends it at once; two are as good as one. **Do
/// not use it** to wait for a condition that several threads wait for: see
/// [`EventCount`](super::EventCount).
///
/// One thread at a time parks. A second one is safe, but a token wakes only one of them, and the other
/// may sleep on.
///
/// ```
/// use efio::sync::Parker;
///
/// let parker = Parker::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| parker.unpark());
///     parker.park();
/// });
/// ```
pub struct Parker {
    state: AtomicU32,
}

impl Parker {
    /// A parker without a token.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { state: AtomicU32::new(EMPTY) }
    }

    /// A parker without a token.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { state: AtomicU32::new(EMPTY) }
    }

    /// Sleeps until there is a token, and takes it.
    pub fn park(&self) {
        self.sleep(None);
    }

    /// Sleeps until there is a token, at most for `timeout`. True: took one; false: the time is up.
    pub fn park_timeout(&self, timeout: Duration) -> bool {
        self.sleep(Some(timeout))
    }

    /// Takes the token, if there is one.
    pub fn try_park(&self) -> bool {
        // ORDER: Acquire pairs with the Release half of the swap in `unpark`.
        self.state.compare_exchange(TOKEN, EMPTY, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Brings the token, and wakes who sleeps. True: this call woke a thread that slept or was about to.
    ///
    /// What this thread wrote before is seen by the thread that takes the token.
    pub fn unpark(&self) -> bool {
        // ORDER: AcqRel; Release pairs with the Acquire exchanges in `try_park` and `sleep`. A swap also
        // over a token that lies there: the taker then sees what both bringers wrote.
        let woken = self.state.swap(TOKEN, Ordering::AcqRel) == PARKED;
        if woken {
            futex::wake_one(&self.state);
        }
        woken
    }

    fn sleep(&self, timeout: Option<Duration>) -> bool {
        // A deadline too far for the clock is none.
        let deadline = timeout.and_then(|limit| Instant::now().checked_add(limit));
        let mut remaining = timeout;
        loop {
            if self.try_park() {
                return true;
            }
            // ORDER: Relaxed, both ways: it carries no data. PARKED stays if a stray wake-up ended a sleep.
            let marked = self.state.compare_exchange(EMPTY, PARKED, Ordering::Relaxed, Ordering::Relaxed);
            if marked == Err(TOKEN) {
                continue;
            }
            futex::wait(&self.state, PARKED, remaining);
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() || cfg!(efio_loom) {
                    // ORDER: Acquire pairs with the Release half of the swap in `unpark`.
                    return self.state.swap(EMPTY, Ordering::Acquire) == TOKEN;
                }
                remaining = Some(left);
            }
        }
    }
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}

impl Debug for Parker {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        // ORDER: Relaxed; old news by the time it is read.
        let state = match self.state.load(Ordering::Relaxed) {
            TOKEN => "token",
            PARKED => "parked",
            _ => "empty",
        };
        formatter.debug_tuple("Parker").field(&format_args!("{state}")).finish()
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::sync::rounds;

    #[test]
    fn a_token_brought_before_ends_one_park_at_once() {
        let parker = Parker::new();
        assert!(!parker.unpark() && !parker.unpark(), "nobody slept");
        assert_eq!(format!("{parker:?}"), "Parker(token)");
        parker.park();
        assert!(!parker.try_park(), "two tokens are as good as one");
        assert!(!parker.park_timeout(Duration::from_millis(1)));
        assert_eq!(format!("{parker:?}"), "Parker(empty)");
    }

    #[test]
    fn no_token_is_lost_between_two_threads() {
        const ROUNDS: u32 = rounds(5_000);
        let (ping, pong) = (Parker::new(), Parker::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    ping.park();
                    pong.unpark();
                }
            });
            for _ in 0..ROUNDS {
                ping.unpark();
                pong.park();
            }
        });
    }

    #[test]
    fn a_limit_beyond_the_clock_is_no_limit() {
        let parker = Parker::new();
        std::thread::scope(|scope| {
            scope.spawn(|| parker.unpark());
            assert!(parker.park_timeout(Duration::MAX));
        });
    }
}
