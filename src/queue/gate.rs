//! A door before a queue that many share: it can be closed, slept at, and watched by an event loop.
//!
//! A shared queue by itself ([`Mpmc`], [`Unbounded`], [`Stack`](super::Stack), [`Tickets`](super::Tickets),
//! [`Lanes`](super::Lanes), [`Levels`](super::Levels)) is as fast as it can be, and knows neither an end nor a sleeper.
//! [`Gate`] puts both before any of them, for two read-modify-writes a push on a word that few threads share.
//!
//! ```text
//!  push:   inside += 1 ── fence ── closed? ── push ── inside -= 1 ── ring
//!  pop:    nothing there ── closed? ── fence ── nobody inside? ── nothing there? ── Closed
//! ```
//!
//! Invariant: a push that was not refused is inside before it looks at `closed`. Of the two fences one comes first: either
//! the push sees the closing, or the pop sees the push inside, and says "empty" instead of "closed". So no value is
//! accepted after a pop has answered [`PopError::Closed`].

use super::refusal::{PopError, PushError};
use crate::sync::{AtomicBool, AtomicUsize, CachePadded, EventCount, Ordering, Signal, fence};
use std::fmt;
use std::time::Duration;

/// A queue that any thread pushes to and any pops from, without an end.
pub trait Shared {
    /// What is in it.
    type Item;

    /// Whether room for one value is room for any. If it is not, a pop wakes all who wait for room, not one of them.
    const ONE_ROOM: bool = true;

    /// Adds `value`.
    ///
    /// # Errors
    ///
    /// The queue is full; the value comes back.
    fn try_push(&self, value: Self::Item) -> Result<(), Self::Item>;

    /// Takes a value.
    fn try_pop(&self) -> Option<Self::Item>;
}

/// Words in which pushes count themselves in: few enough to look at all, enough for threads to have their own.
const STRIPES: usize = if cfg!(efio_loom) { 1 } else { 8 };

/// Which word is this thread's.
fn stripe() -> usize {
    #[cfg(efio_loom)]
    return 0;
    #[cfg(not(efio_loom))]
    {
        use std::cell::Cell;
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        // A thread that is ending has no word of its own any more, and takes the first.
        OWN.try_with(|own| {
            if own.get() == usize::MAX {
                // ORDER: Relaxed; only a number, pairs with nothing.
                own.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
            }
            own.get()
        })
        .unwrap_or(0)
    }
}

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
        self.values.notify_one();
        Ok(())
    }

    /// Adds values of `source` until it ends or a push is refused, and gives back what was refused, if any.
    ///
    /// # Errors
    ///
    /// The first refusal, with its value; those before it are in the queue.
    pub fn push_all(&self, source: &mut impl Iterator<Item = Q::Item>) -> Result<(), PushError<Q::Item>> {
        let inside = Inside::enter(self);
        let mut pushed = Ok(());
        for value in source {
            pushed = match self.is_closed() {
                true => Err(PushError::Closed(value)),
                false => self.queue.try_push(value).map_err(PushError::Full),
            };
            if pushed.is_err() {
                break;
            }
        }
        drop(inside);
        self.values.notify_all();
        pushed
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
        // ORDER: SeqCst pairs with the fence in `Inside::enter`.
        fence(Ordering::SeqCst);
        // ORDER: Acquire pairs with the Release subtraction in `Inside`'s drop: its push is seen below.
        let busy = self.inside.iter().any(|inside| inside.load(Ordering::Acquire) != 0);
        let answer = if busy { PopError::Empty } else { PopError::Closed };
        self.queue.try_pop().ok_or(answer)
    }
}

/// A push on its way through the door.
struct Inside<'a, Q: Shared> {
    gate: &'a Gate<Q>,
    stripe: usize,
}

impl<'a, Q: Shared> Inside<'a, Q> {
    fn enter(gate: &'a Gate<Q>) -> Self {
        let stripe = stripe();
        // ORDER: AcqRel; the fence below orders it before the look at `closed`. Pairs with the load in `settled`.
        gate.inside[stripe].fetch_add(1, Ordering::AcqRel);
        // ORDER: SeqCst pairs with the fence in `settled`.
        fence(Ordering::SeqCst);
        Self { gate, stripe }
    }
}

impl<Q: Shared> Drop for Inside<'_, Q> {
    fn drop(&mut self) {
        // ORDER: AcqRel; its Release half pairs with the Acquire load in `settled`.
        self.gate.inside[self.stripe].fetch_sub(1, Ordering::AcqRel);
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
