//! "Something happened": any number of threads sleep for a condition of any kind, and none misses it.
//!
//! ```text
//!  waiter:    prepare() ── look once more ── nothing? wait() : drop the ticket
//!  notifier:  change what they look at ── notify_one() or notify_all()
//! ```
//!
//! Two words: how many prepare or sleep, and the epoch, which changes with every notification that met
//! one of them. Invariant: a waiter counts itself, reads the epoch and then, past a SeqCst fence, looks;
//! a notifier changes the condition and then, past a SeqCst fence, reads the count. Of two such fences
//! one comes first: either the waiter sees the condition, or the notifier sees the waiter and changes
//! the epoch. The going to sleep is guarded by the futex, which compares the epoch again. (A waiter
//! would have to sit between its look and its sleep through exactly 2^32 notifications to be fooled.)
//!
//! Source: D. Vyukov's eventcount; folly's `EventCount`.

use super::{AtomicU32, Ordering, fence, futex};
use std::time::{Duration, Instant};

/// A place where threads sleep until a condition of another structure may have come true.
///
/// **Use it** to put a blocking `pop` beside a queue without locks, or a wait beside a counter: the
/// structure is not touched, and a notification while nobody sleeps is one fence and one load. **Do
/// not use it** where the condition is kept by a mutex (a condition variable is made for that), or for
/// one thread that is always the same ([`Sleeper`](super::Sleeper), [`Parker`](super::Parker) are
/// smaller). A wait may end for no reason: look again.
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
#[derive(Debug)]
pub struct EventCount {
    epoch: AtomicU32,
    waiters: AtomicU32,
}

impl EventCount {
    /// Nobody waits.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { epoch: AtomicU32::new(0), waiters: AtomicU32::new(0) }
    }

    /// Nobody waits.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { epoch: AtomicU32::new(0), waiters: AtomicU32::new(0) }
    }

    /// Announces a wait. The caller then looks at its condition once more, and waits or drops the ticket.
    pub fn prepare(&self) -> WaitTicket<'_> {
        // ORDER: Relaxed; the fence below orders it before the caller's look. It pairs with the load in
        // `is_awaited`.
        self.waiters.fetch_add(1, Ordering::Relaxed);
        // ORDER: Acquire pairs with the Release additions in `notify_one` and `notify_all`: the look sees
        // what was notified of by an epoch that this ticket already knows.
        let epoch = self.epoch.load(Ordering::Acquire);
        // ORDER: SeqCst pairs with the SeqCst fence in `is_awaited`.
        fence(Ordering::SeqCst);
        WaitTicket { events: self, epoch }
    }

    /// Wakes one of those who wait, after the condition changed for one.
    ///
    /// Those who have prepared and do not sleep yet all look again.
    pub fn notify_one(&self) {
        if self.is_awaited() {
            // ORDER: Release pairs with the Acquire loads of the epoch.
            self.epoch.fetch_add(1, Ordering::Release);
            futex::wake_one(&self.epoch);
        }
    }

    /// Wakes all who wait, after the condition changed.
    pub fn notify_all(&self) {
        if self.is_awaited() {
            // ORDER: Release pairs with the Acquire loads of the epoch.
            self.epoch.fetch_add(1, Ordering::Release);
            futex::wake_all(&self.epoch);
        }
    }

    /// Looks until `look` finds something, and sleeps between the looks.
    pub fn wait_until<R>(&self, mut look: impl FnMut() -> Option<R>) -> R {
        loop {
            if let Some(found) = look() {
                return found;
            }
            let ticket = self.prepare();
            if let Some(found) = look() {
                return found;
            }
            ticket.wait();
        }
    }

    /// As [`wait_until`](Self::wait_until), at most for `timeout`; looks a last time when that is over.
    pub fn wait_until_timeout<R>(&self, timeout: Duration, mut look: impl FnMut() -> Option<R>) -> Option<R> {
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            return Some(self.wait_until(look));
        };
        loop {
            let ticket = self.prepare();
            if let Some(found) = look() {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            if !ticket.wait_timeout(left) {
                return look();
            }
        }
    }

    /// Whether somebody prepares or sleeps, as seen after the caller's change of the condition.
    fn is_awaited(&self) -> bool {
        // ORDER: SeqCst pairs with the SeqCst fence in `prepare`.
        fence(Ordering::SeqCst);
        // ORDER: Relaxed; the fence above orders it after the caller's change. It pairs with the addition
        // in `prepare`.
        self.waiters.load(Ordering::Relaxed) != 0
    }
}

impl Default for EventCount {
    fn default() -> Self {
        Self::new()
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
        // ORDER: Acquire pairs with the Release additions in `notify_one` and `notify_all`.
        self.events.epoch.load(Ordering::Acquire) != self.epoch
    }
}

impl Drop for WaitTicket<'_> {
    fn drop(&mut self) {
        // ORDER: Relaxed; a count. Seen too late it costs a notification that wakes nobody.
        self.events.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_notification_after_the_ticket_ends_its_wait_at_once() {
        let events = EventCount::new();
        let early = events.prepare();
        events.notify_all();
        early.wait();
        let late = events.prepare();
        assert!(!late.is_called());
        assert!(!late.wait_timeout(Duration::from_millis(1)));
        assert_eq!(events.waiters.load(Ordering::Relaxed), 0);
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
        const ROUNDS: u32 = 2_000;
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
