//! A door before a queue that many share: it can be closed, slept at, and watched by an event loop.
//!
//! A shared queue by itself ([`Mpmc`], [`Unbounded`], [`Stack`](super::Stack), [`Tickets`](super::Tickets),
//! [`Lanes`](super::Lanes), [`Levels`](super::Levels)) is as fast as it can be, and knows neither an end nor a sleeper.
//! [`Gate`] puts both before any of them. A push pays for it with two plain stores to a word of its thread's own.
//!
//! ```text
//!  push:   inside += 1 ── light fence ── closed? ── push ── inside -= 1 ── light fence ── closed? ring
//!  pop:    nothing there ── closed? ── heavy fence ── nobody inside? ── nothing there? ── Closed
//! ```
//!
//! Invariant: a push that was not refused is inside before it looks at `closed`. Of the two fences one comes first: either
//! the push sees the closing, or the pop sees the push inside, and says "empty" instead of "closed". So no value is
//! accepted after a pop has answered [`PopError::Closed`]. And a push on its way out sees the closing, or the pop sees it
//! gone: so a pop that sleeps for the sake of a push is woken when that has left.
//!
//! The fences are the pair of `sync::fence`: pushes, which are many, pay nothing, and the pops that look for the end, which
//! are few, pay for both. Fifteen threads have a word of their own; any others count themselves in one word together.

use super::refusal::{PopError, PushError};
use crate::sync::thread_number::thread_number;
use crate::sync::{
    AtomicBool, AtomicUsize, CachePadded, EventCount, Ordering, Signal, heavy_fence, light_fence,
};
use std::fmt;
use std::time::Duration;

/// A queue that any thread pushes to and any pops from, without an end.
pub trait Shared {
    /// What is in it.
    type Item;

    /// Whether room for one value is room for any. If it is not, a pop wakes all who wait for room, not one of them.
    const ONE_ROOM: bool = true;

    /// Whether a pop finds a value as soon as its push is done. If it may have to wait for the push of another value, each push
    /// wakes all who wait, not one of them.
    const ONE_VALUE: bool = true;

    /// Adds `value`.
    ///
    /// # Errors
    ///
    /// The queue is full; the value comes back.
    fn try_push(&self, value: Self::Item) -> Result<(), Self::Item>;

    /// Takes a value.
    fn try_pop(&self) -> Option<Self::Item>;
}

/// Words in which pushes count themselves in: one for each of so many threads alone, and a last one for all others.
const STRIPES: usize = if cfg!(efio_loom) { 1 } else { 16 };

/// A queue with a door: see the module's notes.
///
/// ```
/// use efio::queue::{Gate, Mpmc, PopError, PushError};
///
/// let gate = Gate::new(Mpmc::new(2));
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         for number in 0..10 {
///             assert!(gate.push_wait(number, None).is_ok());
///         }
///         assert!(gate.close());
///     });
///     let mut sum = 0;
///     while let Ok(number) = gate.pop_wait(None) {
///         sum += number;
///     }
///     assert_eq!(sum, 45);
/// });
/// assert!(!gate.close(), "closed once");
/// assert_eq!(gate.push(1), Err(PushError::Closed(1)));
/// assert_eq!(gate.pop(), Err(PopError::Closed));
/// ```
pub struct Gate<Q> {
    queue: Q,
    closed: AtomicBool,
    /// A pop has answered that it is closed; so does every pop after it.
    ended: AtomicBool,
    inside: [CachePadded<AtomicUsize>; STRIPES],
    values: EventCount,
    room: EventCount,
}

impl<Q: Shared> Gate<Q> {
    /// An open door before `queue`.
    pub fn new(queue: Q) -> Self {
        Self::make(queue, None, None)
    }

    /// As [`Gate::new`], watched by an event loop: `values` is told when a pop may find something, `room` when a push may
    /// find room, each once for each [`Gate::arm_pop`] or [`Gate::arm_push`].
    pub fn with_signals(queue: Q, values: impl Signal + 'static, room: impl Signal + 'static) -> Self {
        Self::make(queue, Some(Box::new(values)), Some(Box::new(room)))
    }

    fn make(queue: Q, values: Option<Box<dyn Signal>>, room: Option<Box<dyn Signal>>) -> Self {
        Self {
            queue,
            closed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            inside: std::array::from_fn(|_| CachePadded::new(AtomicUsize::new(0))),
            values: EventCount::beside(values),
            room: EventCount::beside(room),
        }
    }

    /// Adds `value`.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`], or [`PushError::Closed`] after [`Gate::close`]; the value comes back.
    pub fn push(&self, value: Q::Item) -> Result<(), PushError<Q::Item>> {
        let inside = Inside::enter(self);
        if self.is_closed() {
            return Err(PushError::Closed(value));
        }
        self.queue.try_push(value).map_err(PushError::Full)?;
        drop(inside);
        if Q::ONE_VALUE {
            self.values.notify_one();
        } else {
            self.values.notify_all();
        }
        Ok(())
    }

    /// Adds values of `source` until it ends or a push is refused, and gives back what was refused, if any.
    ///
    /// # Errors
    ///
    /// The first refusal, with its value; those before it are in the queue.
    pub fn push_all(&self, source: &mut impl Iterator<Item = Q::Item>) -> Result<(), PushError<Q::Item>> {
        // One by one: what `source` does in between, and however it ends, the values before it are known.
        source.try_for_each(|value| self.push(value))
    }

    /// Waits for room, at most for `timeout`, and adds `value`.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] if the time is up, [`PushError::Closed`] as soon as the door is closed.
    pub fn push_wait(&self, value: Q::Item, timeout: Option<Duration>) -> Result<(), PushError<Q::Item>> {
        let mut held = Some(value);
        let settled = self.room.wait_for(timeout, || match self.push(held.take()?) {
            Err(PushError::Full(value)) => {
                held = Some(value);
                None
            }
            answer => Some(answer),
        });
        match (settled, held) {
            (Some(answer), _) => answer,
            (None, Some(value)) => Err(PushError::Full(value)),
            (None, None) => Ok(()),
        }
    }

    /// Takes a value.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`]; [`PopError::Closed`] once the door is closed and everything was taken.
    pub fn pop(&self) -> Result<Q::Item, PopError> {
        let value = match self.queue.try_pop() {
            Some(value) => value,
            None => self.settled()?,
        };
        if Q::ONE_ROOM {
            self.room.notify_one();
        } else {
            self.room.notify_all();
        }
        Ok(value)
    }

    /// Takes up to `most` values to the end of `target`, and says how many.
    pub fn pop_all(&self, target: &mut Vec<Q::Item>, most: usize) -> usize {
        let before = target.len();
        target.extend(std::iter::from_fn(|| self.queue.try_pop()).take(most));
        self.room.notify_all();
        target.len() - before
    }

    /// Waits for a value, at most for `timeout`, and takes it.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] if the time is up; [`PopError::Closed`] as for [`Gate::pop`].
    pub fn pop_wait(&self, timeout: Option<Duration>) -> Result<Q::Item, PopError> {
        let settled = self.values.wait_for(timeout, || match self.pop() {
            Err(PopError::Empty) => None,
            answer => Some(answer),
        });
        settled.unwrap_or(Err(PopError::Empty))
    }

    /// Asks for one signal when something arrives or the door is closed. The caller then pops once more: what it finds
    /// came before the wish, and the signal is sent for what comes after.
    pub fn arm_pop(&self) {
        self.values.arm();
    }

    /// Asks for one signal when a value is taken or the door is closed. The caller then pushes once more.
    pub fn arm_push(&self) {
        self.room.arm();
    }

    /// Refuses every push from now on; what is there can be popped. False: it was closed already; nothing changes.
    #[allow(clippy::must_use_candidate, reason = "who closes once knows the answer")]
    pub fn close(&self) -> bool {
        // ORDER: AcqRel; its Release half pairs with the Acquire load in `is_closed`.
        let first = !self.closed.swap(true, Ordering::AcqRel);
        self.values.notify_all();
        self.room.notify_all();
        first
    }

    /// Whether the door is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // ORDER: Acquire pairs with the Release half of the swap in `close`.
        self.closed.load(Ordering::Acquire)
    }

    /// The queue behind the door, for its own calls. A push that goes around the door wakes nobody.
    pub const fn queue(&self) -> &Q {
        &self.queue
    }

    /// Nothing was there: is it for ever?
    #[cold]
    fn settled(&self) -> Result<Q::Item, PopError> {
        if !self.is_closed() {
            return Err(PopError::Empty);
        }
        // ORDER: Relaxed: nothing is read by it; once true it stays so.
        if self.ended.load(Ordering::Relaxed) {
            return Err(PopError::Closed);
        }
        // Pairs with the light fences of `Inside`.
        heavy_fence();
        // ORDER: Acquire pairs with the Release in `Inside`'s drop: its push is seen below.
        let busy = self.inside.iter().any(|inside| inside.load(Ordering::Acquire) != 0);
        if let Some(value) = self.queue.try_pop() {
            return Ok(value);
        }
        if busy {
            return Err(PopError::Empty);
        }
        // ORDER: Relaxed, as above.
        self.ended.store(true, Ordering::Relaxed);
        Err(PopError::Closed)
    }
}

/// A push on its way through the door.
struct Inside<'a, Q: Shared> {
    gate: &'a Gate<Q>,
    stripe: usize,
}

impl<'a, Q: Shared> Inside<'a, Q> {
    #[inline]
    fn enter(gate: &'a Gate<Q>) -> Self {
        let stripe = thread_number().min(STRIPES - 1);
        let this = Self { gate, stripe };
        this.count(1);
        // Pairs with the heavy fence in `settled`.
        light_fence();
        this
    }

    /// Adds to this thread's word.
    #[inline]
    fn count(&self, change: usize) {
        let inside = &self.gate.inside[self.stripe];
        if self.stripe < STRIPES - 1 {
            // ORDER: Relaxed; this thread alone changes it, and who had its number before came before it.
            let now = inside.load(Ordering::Relaxed).wrapping_add(change);
            // ORDER: Release pairs with the Acquire load in `settled`: who sees the push gone sees what it pushed.
            inside.store(now, Ordering::Release);
        } else {
            // ORDER: AcqRel; its Release half is that of the store above.
            inside.fetch_add(change, Ordering::AcqRel);
        }
    }
}

impl<Q: Shared> Drop for Inside<'_, Q> {
    #[inline]
    fn drop(&mut self) {
        self.count(usize::MAX);
        // Pairs with the heavy fence in `settled`: it sees this push gone, or this push sees the closing.
        light_fence();
        if self.gate.is_closed() {
            // A pop may have been told "empty" for the sake of this push, and sleep.
            self.gate.values.notify_all();
        }
    }
}

impl<Q: fmt::Debug> fmt::Debug for Gate<Q> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gate").field("queue", &self.queue).finish_non_exhaustive()
    }
}
