//! Seats: up to 64 threads that sleep for want of work, and a wake-up for one of them.
//!
//! A bit of one word says which seats sleep. The worker raises its bit and then looks for work once more; the one who
//! brings work publishes it and then looks for a bit. Each side has a full fence between the two, so one of them sees
//! the other: no work lies there while everybody sleeps.

use std::time::Duration;

use super::{AtomicU64, Ordering, Sleeper, fence};

/// The most seats.
pub(crate) const SEATS_MAX: usize = 64;

/// Who sleeps.
#[derive(Debug)]
pub(crate) struct Seats {
    idle: AtomicU64,
    sleepers: Vec<Sleeper>,
}

impl Seats {
    pub(crate) fn new(count: usize) -> Self {
        debug_assert!(count <= SEATS_MAX, "one bit a seat");
        Self { idle: AtomicU64::new(0), sleepers: (0..count).map(|_| Sleeper::new()).collect() }
    }

    /// Wakes one sleeping seat, the lowest; false when nobody sleeps.
    pub(crate) fn wake_one(&self) -> bool {
        // ORDER: SeqCst: the caller's work is published before the look; pairs with the fence in `Sleeper::prepare`.
        fence(Ordering::SeqCst);
        // ORDER: Relaxed behind the fence.
        let mut idle = self.idle.load(Ordering::Relaxed);
        while idle != 0 {
            let seat = idle.trailing_zeros();
            // ORDER: AcqRel: one waker takes the bit; ordered after the worker's raise of it.
            match self.idle.compare_exchange_weak(
                idle,
                idle & !(1 << seat),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    self.sleepers[seat as usize].wake();
                    return true;
                }
                Err(now) => idle = now,
            }
        }
        false
    }

    /// Whether somebody sleeps or is about to; a first look for who would wake them, behind a fence of the caller's own.
    pub(crate) fn is_any_asleep(&self) -> bool {
        // ORDER: Relaxed behind the caller's SeqCst fence, which pairs with the one in `Sleeper::prepare`.
        self.idle.load(Ordering::Relaxed) != 0
    }

    /// Wakes everybody.
    pub(crate) fn wake_all(&self) {
        while self.wake_one() {}
    }

    /// Sleeps in `seat` until woken, at most for `timeout`, unless `look` finds work after the sleep is announced.
    /// False: the time was up.
    pub(crate) fn sleep(&self, seat: usize, timeout: Option<Duration>, look: impl FnOnce() -> bool) -> bool {
        let bit = 1 << seat;
        // Before the bit: a waker that takes it finds a sleeper to wake. Else that wake would be lost on it while the
        // work goes to somebody else, and it would sleep without its bit, where nobody finds it.
        self.sleepers[seat].prepare();
        // ORDER: AcqRel: who takes the bit in `wake_one` sees the sleeper prepared.
        self.idle.fetch_or(bit, Ordering::AcqRel);
        // ORDER: SeqCst: the bit is up before the look; pairs with the fence in `wake_one`.
        fence(Ordering::SeqCst);
        let woken = if look() {
            self.sleepers[seat].cancel();
            true
        } else {
            self.sleepers[seat].sleep(timeout)
        };
        // ORDER: AcqRel: the bit is down whatever ended the sleep; a waker that had taken it has set the sleeper awake.
        self.idle.fetch_and(!bit, Ordering::AcqRel);
        woken
    }
}
