//! Seats: up to 64 threads that sleep for want of work, and a wake-up for one of them.
//!
//! A bit of one word says which seats sleep. The worker raises its bit and then looks for work once more; the one who
//! brings work publishes it and then looks for a bit. Each side has a full fence between the two, so one of them sees
//! the other: no work lies there while everybody sleeps.
//!
//! A worker that expects more work at once may *watch* for it before it sleeps: it is announced like a sleeper, and a wake
//! costs neither side a system call nor the time in which a sleeping processor comes back. How long it watches, the last
//! waits say: as long as the longest watch when they ended within that, half as long each time that they did not, and soon
//! not at all.

use std::time::{Duration, Instant};

use super::{AtomicU64, Ordering, Sleeper, fence};

/// The most seats.
pub(crate) const SEATS_MAX: usize = 64;

/// The longest watch: what it takes to wake a loop on a sleeping processor and to hear of its next step.
const WATCH_LONGEST: Duration = Duration::from_micros(60);
/// A watch shorter than this is none.
const WATCH_SHORTEST: Duration = Duration::from_micros(5);

/// Who sleeps.
#[derive(Debug)]
pub(crate) struct Seats {
    idle: AtomicU64,
    seats: Vec<Seat>,
    /// While a thread watches on the only processor, nothing can come.
    alone: bool,
}

#[derive(Debug)]
struct Seat {
    sleeper: Sleeper,
    /// How long its thread watches before it sleeps, in nanoseconds; its thread's own.
    watch_ns: AtomicU64,
}

impl Seats {
    pub(crate) fn new(count: usize) -> Self {
        debug_assert!(count <= SEATS_MAX, "one bit a seat");
        let seat = || Seat { sleeper: Sleeper::new(), watch_ns: AtomicU64::new(0) };
        let alone = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) == 1;
        Self { idle: AtomicU64::new(0), seats: (0..count).map(|_| seat()).collect(), alone }
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
                    self.seats[seat as usize].sleeper.wake();
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
        self.rest(seat, look, |seat| seat.sleeper.sleep(timeout))
    }

    /// As `sleep`, after a watch if one has been worth while lately.
    pub(crate) fn watch(&self, seat: usize, timeout: Option<Duration>, look: impl FnOnce() -> bool) -> bool {
        self.rest(
            seat,
            look,
            |seat| if self.alone { seat.sleeper.sleep(timeout) } else { seat.watch(timeout) },
        )
    }

    fn rest(&self, seat: usize, look: impl FnOnce() -> bool, sleep: impl FnOnce(&Seat) -> bool) -> bool {
        let bit = 1 << seat;
        let seat = &self.seats[seat];
        // Before the bit: a waker that takes it finds a sleeper to wake. Else that wake would be lost on it while the
        // work goes to somebody else, and it would sleep without its bit, where nobody finds it.
        seat.sleeper.prepare();
        // ORDER: AcqRel: who takes the bit in `wake_one` sees the sleeper prepared.
        self.idle.fetch_or(bit, Ordering::AcqRel);
        // ORDER: SeqCst: the bit is up before the look; pairs with the fence in `wake_one`.
        fence(Ordering::SeqCst);
        let woken = if look() {
            seat.sleeper.cancel();
            true
        } else {
            sleep(seat)
        };
        // ORDER: AcqRel: the bit is down whatever ended the sleep; a waker that had taken it has set the sleeper awake.
        self.idle.fetch_and(!bit, Ordering::AcqRel);
        woken
    }
}

impl Seat {
    fn watch(&self, timeout: Option<Duration>) -> bool {
        // ORDER: Relaxed: only the seat's own thread uses it; the next one came by the crew's list of seats.
        let limit = Duration::from_nanos(self.watch_ns.load(Ordering::Relaxed));
        let begun = Instant::now();
        if !limit.is_zero() && self.sleeper.watch(limit) {
            return true;
        }
        let woken = self.sleeper.sleep(timeout);
        let next = next_watch(limit, begun.elapsed());
        // ORDER: Relaxed: as above.
        self.watch_ns.store(u64::try_from(next.as_nanos()).unwrap_or(0), Ordering::Relaxed);
        woken
    }
}

/// How long to watch, after a watch of `limit` was in vain and the wait took `waited` in all.
fn next_watch(limit: Duration, waited: Duration) -> Duration {
    match limit / 2 {
        _ if waited <= WATCH_LONGEST => WATCH_LONGEST,
        half if half < WATCH_SHORTEST => Duration::ZERO,
        half => half,
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_is_in_vain_a_few_times_is_given_up_until_a_wait_is_short_again() {
        let long = Duration::from_millis(5);
        let mut limit = next_watch(Duration::ZERO, Duration::from_micros(30));
        assert_eq!(limit, WATCH_LONGEST);
        let mut in_vain = 0;
        while !limit.is_zero() {
            limit = next_watch(limit, long);
            in_vain += 1;
        }
        assert!(in_vain <= 4, "{in_vain} watches of a thread that nobody has work for");
        assert_eq!(next_watch(limit, long), Duration::ZERO);
        assert_eq!(next_watch(limit, WATCH_LONGEST), WATCH_LONGEST);
    }
}
