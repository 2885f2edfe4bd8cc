//! A lock in strict order: who comes first is served first.
//!
//! ```text
//!  next     the ticket for who comes next
//!  serving  the ticket that holds the lock : 48 | how many sleep : 16
//!  beds[4]  a word to sleep on, by the ticket's low bits; changes when one of its tickets is called
//! ```
//!
//! The next in line looks every few pauses, then yields, then sleeps. Those behind it yield, the more often the farther
//! they are from the front, and sleep. The unlock is one read-modify-write of `serving`, which tells it whether anybody
//! sleeps.
//!
//! Invariant (no call is lost): a sleeper reads its bed's word, then counts itself in `serving` and
//! reads there whether it was called. A call that came before the count is seen by it; one that comes
//! after it sees the count, changes the bed's word after the sleeper had read it, and wakes the bed.
//!
//! What a strict order costs. With eight threads on two processors each step goes to a thread that is not running: a
//! profile shows two changes of threads a step, and three fifths of the time in the kernel's scheduler. So there are some
//! 0.9 million steps a second, whereas a lock that may be passed by stays with the thread that runs. Both ways to wait were
//! tried. To sleep at once unless one is next, each ticket woken by its own call, makes 0.2 million. To yield in proportion
//! to the distance makes 0.6 to 1.2 million, and is what is done here. With a thread on each processor a step is a cache
//! line that comes over; looks at an even pace, not ever more rarely, made that four times as fast. The words lie in one
//! line: with `next` in a line of its own two threads make half as many steps.
//!
//! Source: L. Lamport's bakery by way of D. Reed, R. Kanodia, "Synchronization with Eventcounts and
//! Sequencers", CACM 22(2), 1979; beds: D. Dice, "TWA: Ticket Locks Augmented with a Waiting Array",
//! 2019. (Tickets come round after 2^48 of them; a try would have to sleep through exactly that many.)

#![allow(unsafe_code, reason = "the promise of a lock is an unsafe trait")]

use super::backoff::can_spin;
use super::{AtomicU32, AtomicU64, Lock, LockGuard, Ordering, RawLock, futex, spin_loop, thread};

/// A value behind a lock that is granted in the order of asking.
///
/// **Use it** where no thread may be passed over and the guarded part is short: the wait is bounded
/// by the number of threads before. **Do not use it** for speed where more threads want it than
/// there are processors: order means that the lock goes to a thread that does not run just now, and
/// every such step costs two changes of threads. Those in line yield and then sleep, so that it does not
/// collapse as spinning ticket locks do (there each step costs a time slice), but a lock that may be
/// passed by, as [`McsLock`](super::McsLock) may, is many times faster then. Never hold it over a
/// system call that waits.
///
/// Panics and locking twice: see [`Lock`].
///
/// ```
/// use efio::sync::TicketLock;
///
/// let line = TicketLock::new(Vec::new());
/// line.lock().push("first");
/// line.lock().push("second");
/// assert_eq!(*line.lock(), ["first", "second"]);
/// ```
pub type TicketLock<T> = Lock<RawTicket, T>;

/// The guard of a [`TicketLock`]. It stays on the thread that took it:
///
/// ```compile_fail,E0277
/// let lock = efio::sync::TicketLock::new(1);
/// let guard = lock.lock();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
pub type TicketGuard<'a, T> = LockGuard<'a, RawTicket, T>;

const BEDS: usize = 4;
/// One ticket further, in `serving`.
const CALL: u64 = 1 << 16;
/// The part of `serving` that counts who sleeps.
const SLEEPERS: u64 = CALL - 1;
/// Beyond this many sleepers others yield, so that the count never runs over.
const SLEEPERS_MAX: u64 = SLEEPERS / 2;

/// The words of a [`TicketLock`], without a value.
#[derive(Debug)]
pub struct RawTicket {
    next: AtomicU64,
    serving: AtomicU64,
    beds: [AtomicU32; BEDS],
}

/// How often the next in line looks before it yields, and how many pauses it makes between two looks: in all longer than
/// a holder takes that runs, and shorter than one that does not.
const LOOKS_NEXT: u32 = if cfg!(efio_loom) || cfg!(miri) { 0 } else { 256 };
const PAUSES: u32 = 3;
/// How often the next in line yields before it sleeps.
const YIELDS_NEXT: u32 = if cfg!(efio_loom) { 1 } else { 10 };
/// How often others yield before they sleep, for each place they are from the front, and for how many places.
const YIELDS_A_PLACE: u64 = if cfg!(efio_loom) { 0 } else { 4 };
const PLACES_MAX: u64 = 16;

/// How many come before `ticket`, with the holder; both words count modulo 2^48.
#[inline]
fn before(serving: u64, ticket: u64) -> u64 {
    ticket.wrapping_sub(serving / CALL) & (u64::MAX / CALL)
}

/// Whether `serving` calls `ticket`; both count modulo 2^48.
#[inline]
fn calls(serving: u64, ticket: u64) -> bool {
    serving / CALL == ticket & (u64::MAX / CALL)
}

impl RawTicket {
    fn bed(&self, ticket: u64) -> &AtomicU32 {
        // Below 4: fits in any usize.
        &self.beds[(ticket % BEDS as u64) as usize]
    }

    #[cold]
    fn wait(&self, ticket: u64) {
        let looks_next = if can_spin() { LOOKS_NEXT } else { 0 };
        let (mut looks, mut yields_next, mut yields) = (0, 0, 0);
        loop {
            // ORDER: Acquire pairs with the Release half of the addition in `unlock`.
            let before = before(self.serving.load(Ordering::Acquire), ticket);
            match before {
                0 => return,
                1 if looks < looks_next => {
                    (0..PAUSES).for_each(|_| spin_loop());
                    looks += 1;
                }
                1 if yields_next < YIELDS_NEXT => {
                    thread::yield_now();
                    yields_next += 1;
                }
                2.. if yields < YIELDS_A_PLACE * before.min(PLACES_MAX) => {
                    thread::yield_now();
                    yields += 1;
                }
                _ => return self.sleep(ticket),
            }
        }
    }

    fn sleep(&self, ticket: u64) {
        let bed = self.bed(ticket);
        // ORDER: Relaxed; ordered before the addition below by its Release half.
        let mut seen = bed.load(Ordering::Relaxed);
        // ORDER: AcqRel; Acquire pairs with the addition in `unlock`, Release keeps the load of the bed
        // before it.
        let mut serving = self.serving.fetch_add(1, Ordering::AcqRel);
        while !calls(serving, ticket) {
            if serving & SLEEPERS < SLEEPERS_MAX {
                futex::wait(bed, seen, None);
            } else {
                thread::yield_now();
            }
            // ORDER: Acquire pairs with the Release addition to the bed in `call`: who sees the bed
            // changed sees the ticket that was called.
            seen = bed.load(Ordering::Acquire);
            // ORDER: Acquire pairs with the Release half of the addition in `unlock`.
            serving = self.serving.load(Ordering::Acquire);
        }
        // ORDER: Relaxed; a count, and part of the release sequence that `unlock` began.
        self.serving.fetch_sub(1, Ordering::Relaxed);
    }

    /// Wakes the bed of the ticket that was just called.
    #[cold]
    fn call(&self, ticket: u64) {
        let bed = self.bed(ticket);
        // ORDER: Release pairs with the Acquire load in `sleep`.
        bed.fetch_add(1, Ordering::Release);
        futex::wake_all(bed);
    }
}

// SAFETY: tickets are given out once each, and `serving` names one at a time: it moves on by `unlock`
// only, whose Release is seen by the Acquire of whoever finds its ticket called.
unsafe impl RawLock for RawTicket {
    #[cfg(not(efio_loom))]
    #[allow(clippy::declare_interior_mutable_const, reason = "a start value, copied into each lock")]
    const NEW: Self = Self {
        next: AtomicU64::new(0),
        serving: AtomicU64::new(0),
        beds: [const { AtomicU32::new(0) }; BEDS],
    };

    #[cfg(efio_loom)]
    fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
            serving: AtomicU64::new(0),
            beds: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    #[inline]
    fn lock(&self) {
        // ORDER: Relaxed; the order of tickets is that of this word alone.
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        // ORDER: Acquire pairs with the Release half of the addition in `unlock`.
        if !calls(self.serving.load(Ordering::Acquire), ticket) {
            self.wait(ticket);
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        // ORDER: Acquire pairs with the Release half of the addition in `unlock`.
        let serving = self.serving.load(Ordering::Acquire);
        // ORDER: Relaxed; compared below.
        let next = self.next.load(Ordering::Relaxed);
        // ORDER: Relaxed; that ticket was called already, as the Acquire above saw.
        let take = |next| self.next.compare_exchange(next, next + 1, Ordering::Relaxed, Ordering::Relaxed);
        calls(serving, next) && take(next).is_ok()
    }

    #[inline]
    unsafe fn unlock(&self) {
        // ORDER: AcqRel; Release pairs with the Acquire loads of `serving` in `lock`, `try_lock` and
        // `wait`; Acquire pairs with the addition in `sleep`: the bed was read before it changes.
        let before = self.serving.fetch_add(CALL, Ordering::AcqRel);
        if before & SLEEPERS != 0 {
            self.call((before / CALL).wrapping_add(1));
        }
    }

    fn is_locked(&self) -> bool {
        // ORDER: Relaxed, both; the answer proves nothing.
        let serving = self.serving.load(Ordering::Relaxed);
        // ORDER: as above.
        !calls(serving, self.next.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_thread_at_a_time_is_inside() {
        let lock = TicketLock::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..2_000).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(lock.into_inner(), 8_000);
    }

    #[test]
    fn the_order_of_asking_is_the_order_of_entering() {
        const THREADS: u64 = 6;
        let lock = TicketLock::new(Vec::new());
        let raw = RawTicket::NEW;
        std::thread::scope(|scope| {
            raw.lock();
            for number in 0..THREADS {
                let (lock, raw) = (&lock, &raw);
                scope.spawn(move || {
                    raw.lock();
                    lock.lock().push(number);
                    // SAFETY: locked two lines above.
                    unsafe { raw.unlock() };
                });
                // Ticket 0 is ours; the next thread starts when this one has its ticket.
                while raw.next.load(Ordering::Relaxed) != number + 2 {
                    std::thread::yield_now();
                }
            }
            // SAFETY: locked at the beginning.
            unsafe { raw.unlock() };
        });
        assert_eq!(lock.into_inner(), (0..THREADS).collect::<Vec<_>>());
    }

    #[test]
    fn an_unlock_wakes_the_sleeper_whose_ticket_it_calls() {
        for _ in 0..3 {
            let raw = std::sync::Arc::new(RawTicket::NEW);
            raw.lock();
            let (sender, entered) = std::sync::mpsc::channel();
            for _ in 0..2 {
                let (raw, sender) = (raw.clone(), sender.clone());
                // Not joined: asleep for ever, it would hold the test up, which is to fail.
                std::thread::spawn(move || {
                    raw.lock();
                    // SAFETY: locked in the line above.
                    unsafe { raw.unlock() };
                    let _ = sender.send(());
                });
            }
            while raw.serving.load(Ordering::Relaxed) & SLEEPERS != 2 {
                std::thread::yield_now();
            }
            // Most likely they sleep by then, and are not only about to.
            std::thread::sleep(std::time::Duration::from_millis(5));
            // SAFETY: locked at the beginning.
            unsafe { raw.unlock() };
            for _ in 0..2 {
                let entered = entered.recv_timeout(std::time::Duration::from_secs(20));
                assert!(entered.is_ok(), "asleep though called");
            }
        }
    }

    #[test]
    fn tickets_go_on_where_their_number_ends() {
        let raw = RawTicket::NEW;
        raw.next.store(u64::MAX / CALL, Ordering::Relaxed);
        raw.serving.store(u64::MAX - SLEEPERS, Ordering::Relaxed);
        for _ in 0..3 {
            assert!(!raw.is_locked());
            raw.lock();
            assert!(raw.is_locked() && !raw.try_lock());
            // SAFETY: locked above.
            unsafe { raw.unlock() };
            assert!(raw.try_lock());
            // SAFETY: locked above.
            unsafe { raw.unlock() };
        }
    }
}
