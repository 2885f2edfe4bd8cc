//! "Something happened": any number of threads sleep for a condition of any kind, and none misses it; nor does a loop.
//!
//! ```text
//!  waiter:    prepare() ── look once more ── nothing? wait() : drop the ticket
//!  loop:      arm() ────── look once more ── nothing? back to its other work
//!  notifier:  change what they look at ── notify_one() or notify_all()
//! ```
//!
//! Two words: who waits (ARMED:1 | threads:31), and the epoch, which changes with every notification that met a thread.
//! Invariant: a waiter announces itself and, past a heavy fence, reads the epoch and then looks; a notifier changes the
//! condition and, past a light fence, reads who waits. Of two such fences one comes first: either the waiter sees the
//! condition, or the notifier sees the waiter and changes the epoch. The going to sleep is guarded by the futex, which
//! compares the epoch again. (A waiter would have to sit between its look and its sleep through exactly 2^32
//! notifications to be fooled.) ARMED is a loop's wish for one signal; the notification that takes it down sends it.
//!
//! The fences are the pair of `fence`: a notification while nobody waits is one load, and a waiter, which is about to sleep
//! anyway, pays for both. It makes the choice of `fence` first, so that it sees it whenever a notifier has.
//!
//! Source: D. Vyukov's eventcount; folly's `EventCount`.

use super::{AtomicU32, Ordering, Signal, fence, futex, heavy_fence, light_fence, spin_loop};
use std::fmt;
use std::time::{Duration, Instant};

/// A loop wants one signal.
const ARMED: u32 = 1 << 31;
/// How often a thread looks before it goes to sleep: about as long as a wake-up takes to be sent.
const LOOKS: u32 = if cfg!(efio_loom) || cfg!(miri) { 0 } else { 64 };

/// A place where threads sleep, and a loop asks for a signal, until a condition of another structure may have come true.
///
/// **Use it** to put a blocking `pop` beside a queue without locks, or a wait beside a counter: the
/// structure is not touched, and a notification while nobody waits is one load. **Do
/// not use it** where the condition is kept by a mutex (a condition variable is made for that), or for
/// one thread that is always the same ([`Sleeper`](super::Sleeper), [`Parker`](super::Parker) are
/// smaller). A wait may end for no reason: look again. To begin a wait costs some microseconds, which a thread that goes
/// to sleep does not notice.
///
/// ```
/// use efio::sync::{AtomicU32, EventCount, Ordering};
///
/// let (room, free) = (EventCount::new(), AtomicU32::new(0));
/// let take = || {
///     let one_less = |free: u32| free.checked_sub(1);
///     free.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_less).ok()
/// };
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         free.fetch_add(1, Ordering::Release);
///         room.notify_one();
///     });
///     assert_eq!(room.wait_until(take), 1);
/// });
/// ```
pub struct EventCount {
    waiting: AtomicU32,
    epoch: AtomicU32,
    signal: Option<Box<dyn Signal>>,
}

impl EventCount {
    /// Nobody waits.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: AtomicU32::new(0), epoch: AtomicU32::new(0), signal: None }
    }

    /// Nobody waits.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { waiting: AtomicU32::new(0), epoch: AtomicU32::new(0), signal: None }
    }

    /// Nobody waits; `signal` is told once for each [`EventCount::arm`].
    ///
    /// ```
    /// use efio::sync::{Arc, AtomicU32, EventCount, Ordering};
    ///
    /// let signals = Arc::new(AtomicU32::new(0));
    /// let count = signals.clone();
    /// let events = EventCount::with_signal(move || _ = count.fetch_add(1, Ordering::Relaxed));
    /// events.notify_one();
    /// events.arm();
    /// events.notify_one();
    /// events.notify_all();
    /// assert_eq!(signals.load(Ordering::Relaxed), 1, "one for one wish");
    /// ```
    #[must_use]
    pub fn with_signal(signal: impl Signal + 'static) -> Self {
        Self::beside(Some(Box::new(signal)))
    }

    /// For a structure that notifies often: makes the choice of `fence` now, so that even the first notification is cheap.
    pub(crate) fn beside(signal: Option<Box<dyn Signal>>) -> Self {
        fence::register();
        Self { signal, ..Self::new() }
    }

    /// Announces a wait. The caller then looks at its condition once more, and waits or drops the ticket.
    pub fn prepare(&self) -> WaitTicket<'_> {
        fence::register();
        // ORDER: AcqRel; the fence below orders it before the caller's look. It pairs with the load in `notify_one`.
        self.waiting.fetch_add(1, Ordering::AcqRel);
        heavy_fence();
        WaitTicket { events: self, epoch: self.epoch() }
    }

    /// Asks for one signal, whoever asked before. The caller then looks at its condition once more.
    ///
    /// Without a signal this changes nothing.
    pub fn arm(&self) {
        if self.signal.is_some() {
            fence::register();
            // ORDER: AcqRel pairs with the read-modify-write in `tell`.
            self.waiting.fetch_or(ARMED, Ordering::AcqRel);
            heavy_fence();
        }
    }

    /// Wakes one of those who wait, and sends the signal that was asked for, after the condition changed for one.
    ///
    /// Those who have prepared and do not sleep yet all look again.
    #[inline]
    pub fn notify_one(&self) {
        light_fence();
        // ORDER: Relaxed; the fence orders it after the caller's change. Pairs with the read-modify-writes in `prepare` and
        // `arm`.
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.tell(futex::wake_one);
        }
    }

    /// Wakes all who wait, and sends the signal that was asked for, after the condition changed.
    #[inline]
    pub fn notify_all(&self) {
        light_fence();
        // ORDER: Relaxed, as in `notify_one`.
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.tell(futex::wake_all);
        }
    }

    #[cold]
    fn tell(&self, wake: fn(&AtomicU32)) {
        // ORDER: AcqRel pairs with the read-modify-write in `arm`: of several notifiers one takes the wish down.
        let waiting = self.waiting.fetch_and(!ARMED, Ordering::AcqRel);
        if waiting & !ARMED != 0 {
            // ORDER: AcqRel; its Release half pairs with the Acquire load in `epoch`.
            self.epoch.fetch_add(1, Ordering::AcqRel);
            wake(&self.epoch);
        }
        if let (true, Some(signal)) = (waiting & ARMED != 0, &self.signal) {
            signal.signal();
        }
    }

    /// Looks until `look` finds something, and sleeps between the looks.
    pub fn wait_until<R>(&self, mut look: impl FnMut() -> Option<R>) -> R {
        loop {
            if let Some(found) = self.wait_for(None, &mut look) {
                return found;
            }
        }
    }

    /// As [`wait_until`](Self::wait_until), at most for `timeout`; looks a last time when that is over.
    pub fn wait_until_timeout<R>(&self, timeout: Duration, look: impl FnMut() -> Option<R>) -> Option<R> {
        self.wait_for(Some(timeout), look)
    }

    /// Looks, and sleeps between the looks, until one finds something or the time, if there is a limit, is up.
    pub(crate) fn wait_for<R>(
        &self,
        timeout: Option<Duration>,
        mut look: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        for _ in 0..=LOOKS {
            if let Some(found) = look() {
                return Some(found);
            }
            spin_loop();
        }
        // A deadline too far for the clock is none.
        let deadline = timeout.and_then(|limit| Instant::now().checked_add(limit));
        let mut ticket = self.prepare();
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            futex::wait(&self.epoch, ticket.epoch, left);
            ticket.epoch = self.epoch();
        }
    }

    fn epoch(&self) -> u32 {
        // ORDER: Acquire pairs with the Release half of the addition in `tell`: a look after it sees what the epoch tells of.
        self.epoch.load(Ordering::Acquire)
    }
}

impl Default for EventCount {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EventCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ORDER: Relaxed; for the eye only.
        let waiting = self.waiting.load(Ordering::Relaxed);
        formatter
            .debug_struct("EventCount")
            .field("threads", &(waiting & !ARMED))
            .field("armed", &(waiting & ARMED != 0))
            .finish_non_exhaustive()
    }
}

/// A wait that was announced by [`EventCount::prepare`]; dropping it calls it off.
#[derive(Debug)]
#[must_use = "look at the condition, then wait; or drop it to call the wait off"]
pub struct WaitTicket<'a> {
    events: &'a EventCount,
    epoch: u32,
}

impl WaitTicket<'_> {
    /// Sleeps until a notification that came after the ticket.
    pub fn wait(self) {
        while !self.is_called() {
            futex::wait(&self.events.epoch, self.epoch, None);
        }
    }

    /// Sleeps until a notification that came after the ticket, at most for `timeout`. False: the time
    /// is up.
    pub fn wait_timeout(self, timeout: Duration) -> bool {
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            self.wait();
            return true;
        };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.is_called() {
                return true;
            }
            if left.is_zero() {
                return false;
            }
            futex::wait(&self.events.epoch, self.epoch, Some(left));
            if cfg!(efio_loom) {
                return self.is_called();
            }
        }
    }

    /// Whether a notification came after the ticket.
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.events.epoch() != self.epoch
    }
}

impl Drop for WaitTicket<'_> {
    fn drop(&mut self) {
        // ORDER: Relaxed; a count. Seen too late it costs a notification that wakes nobody.
        self.events.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::sync::rounds;

    #[test]
    fn a_notification_after_the_ticket_ends_its_wait_at_once() {
        let events = EventCount::new();
        let early = events.prepare();
        events.notify_all();
        early.wait();
        let late = events.prepare();
        assert!(!late.is_called());
        assert!(!late.wait_timeout(Duration::from_millis(1)));
        assert_eq!(events.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn without_waiters_a_notification_changes_nothing() {
        let events = EventCount::new();
        drop(events.prepare());
        events.notify_one();
        events.notify_all();
        assert_eq!(events.epoch.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn as_many_come_out_as_were_let_out() {
        const THREADS: u32 = 4;
        const ROUNDS: u32 = rounds(2_000);
        let (events, free) = (EventCount::new(), AtomicU32::new(0));
        let take =
            || free.fetch_update(Ordering::Acquire, Ordering::Relaxed, |free| free.checked_sub(1)).ok();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..ROUNDS).for_each(|_| _ = events.wait_until(take)));
            }
            for _ in 0..THREADS * ROUNDS {
                free.fetch_add(1, Ordering::Release);
                events.notify_one();
            }
        });
        assert!(events.wait_until_timeout(Duration::from_millis(1), take).is_none());
    }
}
