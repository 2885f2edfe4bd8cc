//! Wake-ups: at most one in flight, none lost.
//!
//! ```text
//!  WakeFlag   producer: publish ── raise() ── true? send the wake-up
//!             consumer: woken ── lower() ── drain
//!
//!  Sleeper    sleeper:  prepare() ── look again ── nothing? [ watch() ── ] sleep() : cancel()
//!             waker:    publish ── wake()
//! ```
//!
//! `WakeFlag` invariant: all its steps are read-modify-writes of one word, so they have one order.
//! A raise that found the flag up stands before the lower that takes it down, and that lower (an
//! Acquire of the same word) sees what the producer published: the drain after it finds it. Hence
//! the consumer lowers first and drains then; the other way round, what was published in between
//! would be neither drained nor announced.
//!
//! `Sleeper` invariant: `prepare` writes the state and then, past a SeqCst fence, the sleeper looks
//! for work; `wake` is called after work was published and, past a SeqCst fence, reads the state.
//! Of two such fences one comes first, so either the sleeper sees the work or the waker sees the
//! sleeper. The going to sleep itself is guarded by the futex, which compares the state again.

use super::{AtomicBool, AtomicU32, Ordering, fence, futex, spin_loop, thread};
use std::time::{Duration, Instant};

/// "A wake-up is on its way": lets many producers send one.
///
/// ```
/// use efio::sync::WakeFlag;
///
/// let flag = WakeFlag::new();
/// assert!(flag.raise(), "the first sends the wake-up");
/// assert!(!flag.raise(), "the second need not");
/// flag.lower(); // the consumer, before it drains
/// assert!(flag.raise());
/// ```
#[derive(Debug)]
pub struct WakeFlag {
    up: AtomicBool,
}

impl WakeFlag {
    /// A flag that is down.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { up: AtomicBool::new(false) }
    }

    /// A flag that is down.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { up: AtomicBool::new(false) }
    }

    /// Raises the flag, after something was published. True: this caller must send the wake-up.
    #[must_use = "if true, this caller must send the wake-up"]
    pub fn raise(&self) -> bool {
        // ORDER: AcqRel; its Release half pairs with the Acquire half of the swap in `lower`.
        !self.up.swap(true, Ordering::AcqRel)
    }

    /// Whether a wake-up is on its way. No: what is published by then needs no `lower` to be found.
    pub(crate) fn is_up(&self) -> bool {
        // ORDER: Acquire pairs with the swap in `raise`.
        self.up.load(Ordering::Acquire)
    }

    /// Lowers the flag; the consumer does so once it is awake, before it drains.
    pub fn lower(&self) {
        // ORDER: AcqRel; its Acquire half pairs with the Release half of the swap in `raise`. A swap
        // and not a store: it must read the last raise to see what that one published.
        self.up.swap(false, Ordering::AcqRel);
    }
}

impl Default for WakeFlag {
    fn default() -> Self {
        Self::new()
    }
}

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
/// Announced like a sleep, but the thread looks at the word: a wake needs no system call.
const WATCHING: u32 = 2;

/// Looks between two readings of the clock: about a microsecond.
const WATCH_PAUSES: u32 = if cfg!(efio_loom) { 1 } else { 32 };

/// One thread that sleeps until another has work for it.
///
/// One thread calls [`prepare`](Self::prepare), [`sleep`](Self::sleep) and
/// [`cancel`](Self::cancel); any thread calls [`wake`](Self::wake). Calls from a second sleeping
/// thread are memory-safe, but one of the two may miss a wake.
///
/// ```
/// use efio::sync::{AtomicBool, Ordering, Sleeper};
///
/// let sleeper = Sleeper::new();
/// let work = AtomicBool::new(false);
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         work.store(true, Ordering::Release);
///         sleeper.wake();
///     });
///     loop {
///         sleeper.prepare();
///         if work.load(Ordering::Acquire) {
///             sleeper.cancel();
///             break;
///         }
///         sleeper.sleep(None);
///     }
/// });
/// ```
#[derive(Debug)]
pub struct Sleeper {
    state: AtomicU32,
}

impl Sleeper {
    /// A sleeper that is awake.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { state: AtomicU32::new(AWAKE) }
    }

    /// A sleeper that is awake.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { state: AtomicU32::new(AWAKE) }
    }

    /// Announces the sleep. The caller then looks for work once more, and sleeps or cancels.
    pub fn prepare(&self) {
        // ORDER: Relaxed; the fence below orders it before the caller's look for work. It pairs with
        // the load and the swap in `wake`. A swap and not a store, so that it is ordered with the swap
        // of a waker who comes late for the sleep before by the word itself, and not by an argument.
        self.state.swap(ASLEEP, Ordering::Relaxed);
        // ORDER: SeqCst pairs with the SeqCst fence in `wake`.
        fence(Ordering::SeqCst);
    }

    /// Between [`prepare`](Self::prepare) and [`sleep`](Self::sleep): keeps looking for the wake, at most for `limit`.
    /// True: it came, and there is nothing to sleep for; false: the sleep is announced as before.
    pub(crate) fn watch(&self, limit: Duration) -> bool {
        // ORDER: AcqRel; its Acquire half pairs with the Release half of the swap in `wake`, also where it fails.
        if self.state.compare_exchange(ASLEEP, WATCHING, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return true;
        }
        let begun = Instant::now();
        loop {
            for _ in 0..WATCH_PAUSES {
                // ORDER: Acquire pairs with the Release half of the swap in `wake`.
                if self.state.load(Ordering::Acquire) == AWAKE {
                    return true;
                }
                spin_loop();
            }
            if begun.elapsed() >= limit || cfg!(efio_loom) {
                break;
            }
            // Whoever else wants this processor has it.
            thread::yield_now();
        }
        // An exchange and no store: a wake that comes now must not be painted over.
        // ORDER: AcqRel; as the exchange above.
        self.state.compare_exchange(WATCHING, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_err()
    }

    /// Sleeps until [`wake`](Self::wake), at most for `timeout`. True: woken; false: the time is up.
    ///
    /// A wake since `prepare` makes it return at once.
    pub fn sleep(&self, timeout: Option<Duration>) -> bool {
        let deadline = timeout.and_then(|limit| Instant::now().checked_add(limit));
        let mut remaining = timeout;
        loop {
            futex::wait(&self.state, ASLEEP, remaining);
            // ORDER: Acquire pairs with the Release half of the swap in `wake`.
            if self.state.load(Ordering::Acquire) == AWAKE {
                return true;
            }
            // A deadline too far for the clock is none: then `remaining` stays what it was.
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() || cfg!(efio_loom) {
                    return self.rise();
                }
                remaining = Some(left);
            }
        }
    }

    /// Ends the announcement without a sleep: the look for work found some.
    pub fn cancel(&self) {
        self.rise();
    }

    /// Wakes the sleeper, after work was published. True: it slept, or was about to.
    ///
    /// While nobody sleeps this is one fence and one load.
    pub fn wake(&self) -> bool {
        // ORDER: SeqCst pairs with the SeqCst fence in `prepare`.
        fence(Ordering::SeqCst);
        // ORDER: Relaxed; the fence above orders it after the caller's publishing. It pairs with the
        // store in `prepare`.
        if self.state.load(Ordering::Relaxed) == AWAKE {
            return false;
        }
        // ORDER: AcqRel; its Release half pairs with the Acquire load in `sleep`. A swap, so that
        // of several wakers one makes the system call.
        match self.state.swap(AWAKE, Ordering::AcqRel) {
            AWAKE => return false,
            WATCHING => {}
            _ => futex::wake_one(&self.state),
        }
        true
    }

    /// Back to awake; true if a waker had done it already.
    fn rise(&self) -> bool {
        // ORDER: AcqRel; its Acquire half pairs with the Release half of the swap in `wake`.
        self.state.swap(AWAKE, Ordering::AcqRel) == AWAKE
    }
}

impl Default for Sleeper {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::sync::rounds;

    #[test]
    fn a_wake_after_prepare_ends_the_sleep_at_once() {
        let sleeper = Sleeper::new();
        assert!(!sleeper.wake());
        sleeper.prepare();
        assert!(sleeper.wake());
        assert!(!sleeper.wake());
        assert!(sleeper.sleep(None));
    }

    #[test]
    fn a_sleep_ends_at_its_limit_and_not_before() {
        let sleeper = Sleeper::new();
        let started = Instant::now();
        sleeper.prepare();
        assert!(!sleeper.sleep(Some(Duration::from_millis(10))));
        assert!(started.elapsed() >= Duration::from_millis(10));
        assert!(!sleeper.wake(), "nobody sleeps any more");
    }

    #[test]
    fn a_wake_is_never_lost_between_two_threads() {
        const ROUNDS: u32 = rounds(20_000);
        let (sleeper, rounds) = (Sleeper::new(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    rounds.fetch_add(1, Ordering::Release);
                    sleeper.wake();
                }
            });
            let mut seen = 0;
            while seen < ROUNDS {
                sleeper.prepare();
                let now = rounds.load(Ordering::Acquire);
                if now == seen {
                    sleeper.sleep(None);
                } else {
                    sleeper.cancel();
                    seen = now;
                }
            }
        });
    }
}
