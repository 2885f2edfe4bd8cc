//! Queues in parts, so that threads that push and pop at once are seldom at the same memory.
//!
//! ```text
//!  Tickets   ticket 0 1 2 3 4 5 …   part 0: 0 4 8 …      one order for all: tickets are taken in turn, and
//!                                   part 1: 1 5 9 …      neighbours in that order lie in different parts
//!                                   part 2: 2 6 …
//!                                   part 3: 3 7 …
//!
//!  Lanes     one queue for each producer; consumers go round. First in first out for each producer, no more.
//! ```
//!
//! Source of `Tickets`: D. Vyukov, "Bounded MPMC queue", 2010: each cell has a turn; a ticket is taken by a
//! compare-exchange, and only when its cell is ready for it, so that nobody holds a ticket whose turn has not come, and
//! nobody waits for a turn. What is ours is where the cells lie: neighbours are a part apart, on cache lines of their own.

#![allow(unsafe_code, reason = "values move through cells that threads share")]

use super::{Mpmc, Shared};
use crate::sync::{AtomicUsize, CachePadded, Ordering, UnsafeCell};
use std::fmt;
use std::mem::MaybeUninit;

struct Cell<T> {
    /// Twice the round, plus one while a value is in the cell.
    turn: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// A bounded queue in parts with one order: first in, first out, for any thread on both sides.
///
/// ```
/// use efio::queue::Tickets;
///
/// let queue = Tickets::new(4, 16);
/// assert_eq!((queue.push(1), queue.push(2)), (Ok(()), Ok(())));
/// assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(1), Some(2), None));
/// ```
pub struct Tickets<T> {
    tail: CachePadded<AtomicUsize>,
    head: CachePadded<AtomicUsize>,
    /// Part after part.
    cells: Box<[Cell<T>]>,
    /// The number of parts is two to the power of this, the number of cells in each two to that of the other.
    parts: u32,
    depth: u32,
}

// SAFETY: a value is pushed by one thread and used or dropped by another, hence `T: Send`; a cell belongs to the thread
// whose ticket's turn it is.
unsafe impl<T: Send> Send for Tickets<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: Send> Sync for Tickets<T> {}

impl<T> Tickets<T> {
    /// A queue of `parts` parts with `depth` places each, both at least one and rounded up to a power of two. All its
    /// memory is taken here.
    ///
    /// # Panics
    ///
    /// If the number of places, so rounded, is beyond what memory can hold.
    #[must_use]
    pub fn new(parts: usize, depth: usize) -> Self {
        let rounded = parts.max(1).checked_next_power_of_two().zip(depth.max(1).checked_next_power_of_two());
        let places = rounded.and_then(|(parts, depth)| parts.checked_mul(depth));
        let (Some((parts, depth)), Some(places)) = (rounded, places) else {
            panic!("{parts} parts of {depth} places are beyond what memory can hold")
        };
        let cells = (0..places)
            .map(|_| Cell { turn: AtomicUsize::new(0), value: UnsafeCell::new(MaybeUninit::uninit()) });
        Self {
            tail: CachePadded::new(AtomicUsize::new(0)),
            head: CachePadded::new(AtomicUsize::new(0)),
            cells: cells.collect(),
            parts: parts.ilog2(),
            depth: depth.ilog2(),
        }
    }

    /// The cell of a ticket, and its round.
    #[inline]
    fn cell(&self, ticket: usize) -> (&Cell<T>, usize) {
        let part = ticket & ((1 << self.parts) - 1);
        let place = (ticket >> self.parts) & ((1 << self.depth) - 1);
        let round = ticket >> (self.parts + self.depth);
        // The number is below that of the cells, whose compiler cannot see it.
        (&self.cells[(part << self.depth) | place], round << 1)
    }

    /// Adds `value` at the end.
    ///
    /// # Errors
    ///
    /// The queue is full; the value comes back.
    pub fn push(&self, value: T) -> Result<(), T> {
        // ORDER: Relaxed; a guess, which the turn and the compare-exchange below settle.
        let mut ticket = self.tail.load(Ordering::Relaxed);
        loop {
            let (cell, round) = self.cell(ticket);
            // ORDER: Acquire pairs with the Release store in `pop`: the cell is empty.
            let turn = cell.turn.load(Ordering::Acquire);
            if turn == round {
                // ORDER: Relaxed; the ticket only counts. Who wins has seen the turn above.
                match self.tail.compare_exchange_weak(
                    ticket,
                    ticket.wrapping_add(1),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        // SAFETY: the ticket is this thread's, and its cell is empty.
                        cell.value.with_mut(|cell| unsafe { (*cell).write(value) });
                        // ORDER: Release pairs with the Acquire load in `pop`: the value is written.
                        cell.turn.store(round + 1, Ordering::Release);
                        return Ok(());
                    }
                    Err(now) => ticket = now,
                }
            } else {
                // ORDER: Relaxed, as above.
                let now = self.tail.load(Ordering::Relaxed);
                // The turn is behind and the ticket is still to be had: the value of the round before is there.
                if now == ticket && (turn.wrapping_sub(round) as isize) < 0 {
                    return Err(value);
                }
                ticket = now;
            }
        }
    }

    /// Takes the oldest value. `None` also while the push of the oldest is under way.
    pub fn pop(&self) -> Option<T> {
        // ORDER: Relaxed; a guess, as in `push`.
        let mut ticket = self.head.load(Ordering::Relaxed);
        loop {
            let (cell, round) = self.cell(ticket);
            // ORDER: Acquire pairs with the Release store in `push`: the value is written.
            let turn = cell.turn.load(Ordering::Acquire);
            if turn == round + 1 {
                // ORDER: Relaxed, as in `push`.
                match self.head.compare_exchange_weak(
                    ticket,
                    ticket.wrapping_add(1),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        // SAFETY: the ticket is this thread's, and its cell holds a value.
                        let value = cell.value.with(|cell| unsafe { (*cell).assume_init_read() });
                        // ORDER: Release pairs with the Acquire load in `push`: the cell is empty.
                        cell.turn.store(round + 2, Ordering::Release);
                        return Some(value);
                    }
                    Err(now) => ticket = now,
                }
            } else {
                // ORDER: Relaxed, as above.
                let now = self.head.load(Ordering::Relaxed);
                if now == ticket && (turn.wrapping_sub(round + 1) as isize) < 0 {
                    return None;
                }
                ticket = now;
            }
        }
    }

    /// How many values are there now, with those under way.
    #[must_use]
    pub fn len(&self) -> usize {
        // ORDER: Relaxed, both; numbers that are old when they are read.
        let head = self.head.load(Ordering::Relaxed);
        self.tail.load(Ordering::Relaxed).wrapping_sub(head).min(self.capacity())
    }

    /// Whether nothing is there now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values it takes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.cells.len()
    }
}

impl<T> Drop for Tickets<T> {
    fn drop(&mut self) {
        super::drop_all(|| self.pop().is_some());
    }
}

impl<T> Shared for Tickets<T> {
    type Item = T;

    // A pop may find nothing while the push of the oldest value is under way, with others behind it; and a push no room.
    const ONE_ROOM: bool = false;
    const ONE_VALUE: bool = false;

    fn try_push(&self, value: T) -> Result<(), T> {
        self.push(value)
    }

    fn try_pop(&self) -> Option<T> {
        self.pop()
    }
}

impl<T> fmt::Debug for Tickets<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tickets").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A bounded queue with a lane for each producer: what one [`Lane`] pushes keeps its order, and that is all.
///
/// Producers never meet one another; a consumer meets the producer of the lane it looks at. Consumers go round the lanes,
/// each pop from the lane after the last.
///
/// ```
/// use efio::queue::Lanes;
///
/// let queue = Lanes::new(2, 16);
/// let (log, upload) = (queue.lane(), queue.lane());
/// assert!(log.push("l1").is_ok() && log.push("l2").is_ok() && upload.push("u1").is_ok());
/// let mut seen: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
/// assert!(seen.iter().position(|name| *name == "l1") < seen.iter().position(|name| *name == "l2"));
/// ```
#[derive(Debug)]
pub struct Lanes<T> {
    lanes: Box<[CachePadded<Mpmc<T>>]>,
    /// The lane of the next producer.
    producers: AtomicUsize,
    /// The lane of the next pop; a hint, shared by all.
    next: CachePadded<AtomicUsize>,
}

impl<T> Lanes<T> {
    /// A queue of `lanes` lanes with `depth` places each, both at least one. All its memory is taken here.
    #[must_use]
    pub fn new(lanes: usize, depth: usize) -> Self {
        Self {
            lanes: (0..lanes.max(1)).map(|_| CachePadded::new(Mpmc::new(depth))).collect(),
            producers: AtomicUsize::new(0),
            next: CachePadded::new(AtomicUsize::new(0)),
        }
    }

    /// A lane for one more producer. If there are more producers than lanes, some share one, and its order.
    pub fn lane(&self) -> Lane<'_, T> {
        // ORDER: Relaxed; only a number.
        let number = self.producers.fetch_add(1, Ordering::Relaxed) % self.lanes.len();
        Lane { queue: self, number }
    }

    /// Takes the oldest value of some lane.
    pub fn pop(&self) -> Option<T> {
        let count = self.lanes.len();
        // ORDER: Relaxed, both; a hint where to begin.
        let first = self.next.load(Ordering::Relaxed);
        (0..count).find_map(|step| {
            let lane = (first + step) % count;
            let value = self.lanes[lane].pop_at_once()?;
            self.next.store((lane + 1) % count, Ordering::Relaxed);
            Some(value)
        })
    }

    /// How many values are there now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.len()).sum()
    }

    /// Whether nothing is there now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.is_empty())
    }
}

/// The producing side of one lane of a [`Lanes`].
#[derive(Clone, Copy, Debug)]
pub struct Lane<'a, T> {
    queue: &'a Lanes<T>,
    number: usize,
}

impl<T> Lane<'_, T> {
    /// Adds `value` at the end of the lane.
    ///
    /// # Errors
    ///
    /// The lane is full, whatever room the others have; the value comes back.
    pub fn push(&self, value: T) -> Result<(), T> {
        self.queue.lanes[self.number].push(value)
    }
}

/// A push that names no lane goes to the next one in turn that has room: no order at all.
impl<T> Shared for Lanes<T> {
    type Item = T;

    fn try_push(&self, value: T) -> Result<(), T> {
        let Lane { number: first, .. } = self.lane();
        let count = self.lanes.len();
        let mut left = value;
        for step in 0..count {
            match self.lanes[(first + step) % count].push_at_once(left) {
                Ok(()) => return Ok(()),
                Err(back) => left = back,
            }
        }
        Err(left)
    }

    fn try_pop(&self) -> Option<T> {
        self.pop()
    }
}
