//! How to wait for another thread: pauses first, then turns given away, then it is time to sleep.
//!
//! ```text
//!  snooze:  1, 2, 4 … 32 pauses ── ten yields ── spent: sleep on a word, or rest()
//! ```
//!
//! The pauses together last about as long as a system call. Who has waited that long waits for a
//! thread that is not running (on a machine with more threads than processors, most likely the one
//! that holds what is wanted), and every further pause takes that thread's time. On one processor
//! there are no pauses at all: nothing changes while this thread runs.

use super::{spin_loop, thread};
use std::time::Duration;

/// The step after which pauses are given up: 2^6 - 1 pauses in all.
const SPIN_STEPS: u32 = if cfg!(efio_loom) { 0 } else { 6 };
/// The step after which yields are given up.
const YIELD_STEPS: u32 = if cfg!(efio_loom) { 1 } else { SPIN_STEPS + 10 };
/// The shortest sleep of `rest`, doubled each time up to 32 times.
const REST: Duration = Duration::from_micros(50);
const REST_DOUBLINGS: u32 = 5;

/// The state of one wait: how long it has lasted, and so what to do next.
///
/// Make one where the wait begins; it is no more than a counter. Use it in loops that try something
/// again. Where the other thread can be asked to send a wake-up, snooze until
/// [`is_spent`](Self::is_spent) and then sleep: on a [`Parker`](super::Parker), an
/// [`EventCount`](super::EventCount) or a mutex with a condition variable.
///
/// ```
/// use efio::sync::{AtomicBool, Backoff, Ordering};
///
/// let ready = AtomicBool::new(false);
/// std::thread::scope(|scope| {
///     scope.spawn(|| ready.store(true, Ordering::Release));
///     let mut backoff = Backoff::new();
///     while !ready.load(Ordering::Acquire) {
///         backoff.rest();
///     }
/// });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    step: u32,
}

impl Backoff {
    /// A wait that has not begun.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { step: 0 }
    }

    /// Back to the beginning: something went on.
    pub fn reset(&mut self) {
        self.step = 0;
    }

    /// A few pauses of the processor, more each time, and never a system call: for the loser of a
    /// compare-exchange, whose winner has finished already.
    pub fn spin(&mut self) {
        for _ in 0..1_u32 << self.step.min(SPIN_STEPS) {
            spin_loop();
        }
        self.step = (self.step + 1).min(SPIN_STEPS);
    }

    /// Waits a little, for a step that another thread has to take: pauses, later a yield.
    ///
    /// Once the wait [`is_spent`](Self::is_spent) this goes on to yield; it is better to sleep then.
    pub fn snooze(&mut self) {
        if self.step < SPIN_STEPS && (self.step > 0 || can_spin()) {
            for _ in 0..1_u32 << self.step {
                spin_loop();
            }
            self.step += 1;
        } else {
            thread::yield_now();
            self.step = self.step.max(SPIN_STEPS).saturating_add(1);
        }
    }

    /// Whether snoozing has lasted so long that it is time to sleep.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.step >= YIELD_STEPS
    }

    /// Snoozes; once that is spent, sleeps instead, for 50 microseconds at first and 1.6 milliseconds
    /// at most.
    ///
    /// For waits where no one sends a wake-up. The sleep also helps where a yield does not: it lets a
    /// thread of a lower real-time priority run.
    pub fn rest(&mut self) {
        if self.is_spent() {
            thread::sleep(REST * (1 << (self.step - YIELD_STEPS).min(REST_DOUBLINGS)));
            self.step = self.step.saturating_add(1);
        } else {
            self.snooze();
        }
    }
}

/// Whether another thread can run beside this one.
#[cfg(not(efio_loom))]
pub(super) fn can_spin() -> bool {
    use std::sync::OnceLock;

    static SEVERAL_PROCESSORS: OnceLock<bool> = OnceLock::new();
    *SEVERAL_PROCESSORS.get_or_init(|| thread::available_parallelism().is_ok_and(|count| count.get() > 1))
}

#[cfg(efio_loom)]
pub(super) fn can_spin() -> bool {
    true
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn snoozing_ends_and_begins_anew_after_a_reset() {
        let mut backoff = Backoff::new();
        for _ in 0..YIELD_STEPS {
            backoff.snooze();
        }
        assert!(backoff.is_spent());
        backoff.reset();
        assert!(!backoff.is_spent());
    }

    #[test]
    fn spinning_alone_never_spends_it() {
        let mut backoff = Backoff::new();
        (0..100).for_each(|_| backoff.spin());
        assert!(!backoff.is_spent());
    }

    #[test]
    fn resting_has_no_end() {
        let mut backoff = Backoff { step: u32::MAX - 1 };
        backoff.snooze();
        backoff.snooze();
        assert!(backoff.is_spent());
        let mut backoff = Backoff { step: YIELD_STEPS };
        backoff.rest();
        assert_eq!(backoff.step, YIELD_STEPS + 1);
    }
}
