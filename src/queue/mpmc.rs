//! A bounded queue that any thread pushes to and any pops from: a ring whose cells say whose turn it is.
//!
//! ```text
//!          head                tail
//!  ┌─────┬──▼──┬─────┬─────┬──▼──┬─────┐     a ticket is a round and a place in it
//!  │ 8+0 │ 0+1 │ 0+2 │ 0+3 │ 0+4 │ 0+5 │     a cell's turn: the ticket of the push it waits for,
//!  │     │  +1 │  +1 │  +1 │     │     │       plus one while the value of that push is in it
//!  └─────┴─────┴─────┴─────┴─────┴─────┘     (6 places, 8 tickets to a round)
//! ```
//!
//! Source: D. Vyukov, "Bounded MPMC queue", 2010; the capacity that need not be a power of two, and the two looks that
//! tell full from "a pop is under way", as in crossbeam-queue's `ArrayQueue`. Invariants: a ticket is claimed once, by a
//! compare-exchange, and only after the cell was seen to wait for it; from the claim to the mark (the store of the next
//! turn) the cell belongs to who claimed it. "Full" and "empty" are said only of both ends seen together; where the cell is
//! not ready and the ends do not meet, somebody stands between claim and mark, and is waited for.
//!
//! What is ours is how it waits. A consumer as fast as its producer follows it from cell to cell, and then every value
//! moves a cache line forth and back: on two processors such a ring is twice as slow as on one. So who finds a cell not
//! ready, for the first time since his end last moved, pauses for a fraction of a microsecond without a look at memory;
//! meanwhile the other side gets ahead, whole cache lines pass between the two, and each end asks for its next lines early.
//! An end that was refused where it stands is refused again at once, so that polling an idle queue costs no pause.

#![allow(unsafe_code, reason = "values move through cells that threads share")]

use super::Shared;
use crate::sync::{
    AtomicU64, CachePadded, Ordering, UnsafeCell, fence, prefetch_for_write, spin_loop, thread,
};
use std::fmt;
use std::mem::MaybeUninit;

/// Pauses of the processor before an end is refused: time for the other side to get some cache lines ahead.
pub(super) const PAUSES: u32 = if cfg!(efio_loom) || cfg!(miri) { 0 } else { 32 };
/// Looks at a cell that another thread has claimed and not marked, before that thread is given the processor.
const LOOKS: u32 = if cfg!(efio_loom) { 0 } else { 64 };
/// Cells claimed by one step of a batch: few enough that who waits for the batch does not wait long.
const RUN: usize = if cfg!(efio_loom) { 2 } else { 32 };
/// How far ahead each end asks for the memory of its cells, in bytes.
const AHEAD: usize = 128;

struct Cell<T> {
    turn: AtomicU64,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// One end of the ring.
struct End {
    ticket: AtomicU64,
    /// The ticket at which this end was last refused; a hint.
    refused: AtomicU64,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Push,
    Pop,
}

/// A bounded queue of values: any thread pushes, any thread pops, first in first out.
///
/// Full is an answer, not a wait: the push gives the value back. A push or pop that is the first to be refused since its
/// end last moved takes a fraction of a microsecond longer (see the module's notes).
///
/// ```
/// let queue = efio::queue::Mpmc::new(1);
/// assert_eq!(queue.push('a'), Ok(()));
/// assert_eq!(queue.push('b'), Err('b'), "full: the value comes back");
/// assert_eq!(queue.pop(), Some('a'));
/// assert_eq!(queue.pop(), None);
/// ```
pub struct Mpmc<T> {
    tail: CachePadded<End>,
    head: CachePadded<End>,
    cells: Box<[Cell<T>]>,
    /// Tickets of one round: the power of two above the number of cells, so that each cell has one turn to spare.
    lap: u64,
}

// SAFETY: a value is pushed by one thread and used or dropped by another, hence `T: Send`; a cell belongs to the thread
// that claimed its ticket.
unsafe impl<T: Send> Send for Mpmc<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: Send> Sync for Mpmc<T> {}

impl<T> Mpmc<T> {
    /// A queue for `capacity` values, at least one. All its memory is taken here.
    ///
    /// # Panics
    ///
    /// If that is more than memory can hold.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let end = || CachePadded::new(End { ticket: AtomicU64::new(0), refused: AtomicU64::new(0) });
        let cells: Box<[_]> = (0..capacity.max(1) as u64)
            .map(|place| Cell { turn: AtomicU64::new(place), value: UnsafeCell::new(MaybeUninit::uninit()) })
            .collect();
        let lap = (cells.len() as u64 + 1).next_power_of_two();
        Self { tail: end(), head: end(), cells, lap }
    }

    /// Adds `value` at the end.
    ///
    /// # Errors
    ///
    /// The queue is full; the value comes back.
    #[inline]
    pub fn push(&self, value: T) -> Result<(), T> {
        self.add(value, true)
    }

    /// Takes the oldest value.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        self.take(true)
    }

    /// As [`push`](Self::push), never with a pause before the answer: for one that looks at several queues.
    #[inline]
    pub(super) fn push_at_once(&self, value: T) -> Result<(), T> {
        self.add(value, false)
    }

    /// As [`pop`](Self::pop), never with a pause before the answer: for one that looks at several queues.
    #[inline]
    pub(super) fn pop_at_once(&self) -> Option<T> {
        self.take(false)
    }

    #[inline(always)]
    fn add(&self, value: T, patient: bool) -> Result<(), T> {
        match self.claim(Side::Push, 1, patient) {
            Some((ticket, _)) => {
                self.fill(ticket, value);
                Ok(())
            }
            None => Err(value),
        }
    }

    #[inline(always)]
    fn take(&self, patient: bool) -> Option<T> {
        let (ticket, _) = self.claim(Side::Pop, 1, patient)?;
        Some(self.empty(ticket))
    }

    /// Adds values of `source` until it ends or the queue is full.
    ///
    /// # Errors
    ///
    /// The queue is full; the value that was refused comes back, those before it are in the queue.
    pub fn push_all(&self, source: &mut impl Iterator<Item = T>) -> Result<(), T> {
        source.try_for_each(|value| self.push(value))
    }

    /// Adds `values` while there is room, up to 32 next to each other by one step, and gives back those that found none.
    ///
    /// ```
    /// let queue = efio::queue::Mpmc::new(3);
    /// assert_eq!(queue.push_batch(vec![1, 2, 3, 4]), [4]);
    /// assert_eq!(queue.pop(), Some(1));
    /// ```
    pub fn push_batch(&self, values: Vec<T>) -> Vec<T> {
        let mut values = values.into_iter();
        while values.len() != 0 {
            let Some((first, count)) = self.claim(Side::Push, RUN.min(values.len()), true) else { break };
            for (ticket, value) in (first..first + count as u64).zip(&mut values) {
                self.fill(ticket, value);
            }
        }
        values.collect()
    }

    /// Moves up to `most` of the oldest values to the end of `target`, up to 32 by one step, and says how many.
    pub fn pop_all(&self, target: &mut Vec<T>, most: usize) -> usize {
        let before = target.len();
        loop {
            let wanted = RUN.min(most - (target.len() - before));
            // Here, as nothing may fail between the claim and the marks.
            target.reserve(wanted);
            if wanted == 0 {
                break;
            }
            // What is there now is all that was asked for: no pause for more.
            let Some((first, count)) = self.claim(Side::Pop, wanted, target.len() == before) else { break };
            target.extend((first..first + count as u64).map(|ticket| self.empty(ticket)));
        }
        target.len() - before
    }

    /// How many values are in the queue now, with those whose push is under way.
    #[must_use]
    pub fn len(&self) -> usize {
        loop {
            // ORDER: SeqCst, all three: the steps of both ends are SeqCst, so that an end that has not moved between two
            // loads stood where it stood when the other was read.
            let tail = self.tail.ticket.load(Ordering::SeqCst);
            let head = self.head.ticket.load(Ordering::SeqCst);
            if self.tail.ticket.load(Ordering::SeqCst) == tail {
                let rounds = (tail / self.lap).wrapping_sub(head / self.lap) as usize;
                return (rounds * self.cells.len()).wrapping_add(self.place(tail)) - self.place(head);
            }
            if cfg!(efio_loom) {
                thread::yield_now();
            }
        }
    }

    /// Whether nothing is in the queue now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values it takes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.cells.len()
    }

    #[inline]
    fn place(&self, ticket: u64) -> usize {
        (ticket & (self.lap - 1)) as usize
    }

    #[inline]
    fn cell(&self, ticket: u64) -> &Cell<T> {
        // SAFETY: tickets are made by `after`, which skips those whose place is beyond the last cell; a batch stays within
        // its round.
        unsafe { self.cells.get_unchecked(self.place(ticket)) }
    }

    /// The ticket that follows `count` others, of which the last is in the same round as the first.
    #[inline]
    fn after(&self, ticket: u64, count: usize) -> u64 {
        match self.place(ticket) + count < self.cells.len() {
            true => ticket + count as u64,
            false => (ticket & !(self.lap - 1)).wrapping_add(self.lap),
        }
    }

    /// Claims up to `most` cells next to each other: the first ticket, and how many. `None`: full, or empty.
    #[inline(always)]
    fn claim(&self, side: Side, most: usize, patient: bool) -> Option<(u64, usize)> {
        let (end, ready) = match side {
            Side::Push => (&self.tail, 0),
            Side::Pop => (&self.head, 1),
        };
        let mut wait = Wait { patient, pauses: 0, looks: 0 };
        // ORDER: Relaxed; a guess, which the turn and the compare-exchange below settle.
        let mut ticket = end.ticket.load(Ordering::Relaxed);
        loop {
            let cell = self.cell(ticket);
            // ORDER: Acquire pairs with the Release stores in `fill` and `empty`: the cell is as its turn says.
            let turn = cell.turn.load(Ordering::Acquire);
            if turn != ticket + ready {
                ticket = self.look_again(side, ticket, turn, &mut wait)?;
                continue;
            }
            prefetch_for_write(std::ptr::from_ref(cell).cast::<u8>().cast_mut().wrapping_add(AHEAD), 1);
            let mut count = 1;
            // ORDER: Acquire, as above.
            while count < most
                && self.place(ticket) + count < self.cells.len()
                && self.cell(ticket + count as u64).turn.load(Ordering::Acquire)
                    == ticket + count as u64 + ready
            {
                count += 1;
            }
            // ORDER: SeqCst on success, the step of this end that `len` and the fence in `look_again` pair with; on failure
            // Relaxed, a guess again. Who wins has seen the turns above, and nobody else changes them before the mark.
            let (step, guess) = (Ordering::SeqCst, Ordering::Relaxed);
            match end.ticket.compare_exchange_weak(ticket, self.after(ticket, count), step, guess) {
                Ok(_) => return Some((ticket, count)),
                Err(now) => ticket = now,
            }
        }
    }

    /// The cell is not ready: the ticket to try now, or none, as the ends meet.
    #[cold]
    fn look_again(&self, side: Side, ticket: u64, turn: u64, wait: &mut Wait) -> Option<u64> {
        let (end, other, unmoved, met) = match side {
            // The value of the round before is there, and was not claimed.
            Side::Push => {
                let before = ticket.wrapping_sub(self.lap);
                (&self.tail, &self.head, before.wrapping_add(1), before)
            }
            // No value of this round is there, and no place was claimed for one.
            Side::Pop => (&self.head, &self.tail, ticket, ticket),
        };
        // ORDER: Relaxed; a hint, pairs with the store below.
        if wait.patient && end.refused.load(Ordering::Relaxed) != ticket {
            wait.pauses = PAUSES;
            (0..PAUSES).for_each(|_| spin_loop());
        } else if turn == unmoved {
            // ORDER: SeqCst pairs with the steps of both ends and with the same fence in another thread: of two threads
            // that each push here and are refused there, one sees the other.
            fence(Ordering::SeqCst);
            // ORDER: Relaxed; ordered by the fence.
            if other.ticket.load(Ordering::Relaxed) == met {
                if wait.pauses != 0 {
                    // ORDER: Relaxed; a hint.
                    end.refused.store(ticket, Ordering::Relaxed);
                }
                return None;
            }
            wait.look();
        } else {
            wait.look();
        }
        wait.patient = false;
        // ORDER: Relaxed; a guess, as in `claim`.
        Some(end.ticket.load(Ordering::Relaxed))
    }

    /// Puts `value` into the cell of a push that the caller claimed, and marks it.
    #[inline]
    fn fill(&self, ticket: u64, value: T) {
        let cell = self.cell(ticket);
        // SAFETY: the ticket is the caller's, whose cell is empty.
        cell.value.with_mut(|cell| unsafe { (*cell).write(value) });
        // ORDER: Release pairs with the Acquire load in `claim`: the value is written.
        cell.turn.store(ticket + 1, Ordering::Release);
    }

    /// Takes the value out of the cell of a pop that the caller claimed, and marks it.
    #[inline]
    fn empty(&self, ticket: u64) -> T {
        let cell = self.cell(ticket);
        // SAFETY: the ticket is the caller's, whose cell holds a value; the mark below makes it empty.
        let value = cell.value.with(|cell| unsafe { (*cell).assume_init_read() });
        // ORDER: Release pairs with the Acquire load in `claim`: the cell is empty.
        cell.turn.store(ticket.wrapping_add(self.lap), Ordering::Release);
        value
    }
}

/// How long one call has waited.
struct Wait {
    /// It may pause before it is refused.
    patient: bool,
    pauses: u32,
    looks: u32,
}

impl Wait {
    /// Another thread stands between claim and mark, a few steps away unless it has lost its processor; or the guess was old.
    fn look(&mut self) {
        self.looks += 1;
        if self.looks <= LOOKS {
            spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

impl<T> Drop for Mpmc<T> {
    fn drop(&mut self) {
        if std::mem::needs_drop::<T>() {
            super::drop_all(|| self.pop_at_once().is_some());
        }
    }
}

impl<T> Shared for Mpmc<T> {
    type Item = T;

    #[inline]
    fn try_push(&self, value: T) -> Result<(), T> {
        self.push(value)
    }

    #[inline]
    fn try_pop(&self) -> Option<T> {
        self.pop()
    }
}

impl<T> fmt::Debug for Mpmc<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, capacity) = (self.len(), self.capacity());
        formatter.debug_struct("Mpmc").field("len", &len).field("capacity", &capacity).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_queue_asked_for_no_place_has_one() {
        let queue = Mpmc::new(0);
        assert_eq!((queue.capacity(), queue.is_empty()), (1, true));
        assert_eq!(queue.push(1), Ok(()));
        assert_eq!(queue.push(2), Err(2));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn rounds_follow_one_another_without_a_seam() {
        for capacity in 1..10 {
            let queue = Mpmc::new(capacity);
            for number in 0..5 * capacity {
                let full: Vec<_> = (number..number + capacity).collect();
                assert!(queue.push_batch(full.clone()).is_empty());
                assert_eq!((queue.len(), queue.push(0)), (capacity, Err(0)));
                let mut seen = Vec::new();
                assert_eq!(queue.pop_all(&mut seen, usize::MAX), capacity);
                assert_eq!((seen, queue.pop(), queue.len()), (full, None, 0));
                assert_eq!((queue.push(number), queue.pop()), (Ok(()), Some(number)));
            }
        }
    }

    #[test]
    fn a_batch_takes_no_more_than_it_was_asked_for_and_gives_back_what_found_no_room() {
        let queue = Mpmc::new(70);
        assert_eq!(queue.push_batch((0..100).collect()), (70..100).collect::<Vec<_>>());
        let mut seen = Vec::new();
        assert_eq!((queue.pop_all(&mut seen, 0), queue.pop_all(&mut seen, 40)), (0, 40));
        assert_eq!(queue.push_batch((100..200).collect()), (140..200).collect::<Vec<_>>());
        assert_eq!(queue.pop_all(&mut seen, usize::MAX), 70);
        assert_eq!(seen, (0..70).chain(100..140).collect::<Vec<_>>());
    }
}
