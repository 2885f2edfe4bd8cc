//! The one end of a channel that pops: it walks the blocks, and needs no read-modify-write for a value.

#![allow(unsafe_code, reason = "values move through blocks that threads share")]

use super::{Block, CLOSED, PLACES, Shared, claimed};
use crate::queue::mpmc::PAUSES;
use crate::queue::refusal::PopError;
use crate::sync::{Arc, Ordering, spin_loop, thread};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::time::Duration;

/// The end of a [`channel`](super::channel) that pops. It may move to another thread, and belongs to one at a time:
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>(_: T) {}
/// shared(efio::queue::mpsc::channel::<u32>().1);
/// ```
/// ```compile_fail,E0599
/// let (_sender, receiver) = efio::queue::mpsc::channel::<u32>();
/// let second = receiver.clone();
/// ```
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    block: NonNull<Block<T>>,
    place: usize,
    taken: usize,
    /// What `taken` was when a pop last found nothing.
    refused: usize,
    one_thread: PhantomData<Cell<()>>,
}

// SAFETY: the block belongs to the channel, whose values may be sent; one thread at a time is the receiver.
unsafe impl<T: Send> Send for Receiver<T> {}

impl<T> Receiver<T> {
    /// The receiver of a channel whose first block is `block`.
    pub(super) fn new(shared: Arc<Shared<T>>, block: NonNull<Block<T>>) -> Self {
        Self { shared, block, place: 0, taken: 0, refused: 0, one_thread: PhantomData }
    }

    /// Takes the oldest value.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`]; [`PopError::Closed`] once nothing is there and nothing can come: no sender is left, or
    /// [`Receiver::close`] was called and every push that came before it was taken.
    #[inline]
    pub fn pop(&mut self) -> Result<T, PopError> {
        match self.take() {
            Some(value) => Ok(value),
            None => self.settled(),
        }
    }

    /// Moves up to `most` of the oldest values to the end of `target`, and says how many.
    pub fn pop_all(&mut self, target: &mut Vec<T>, most: usize) -> usize {
        let before = target.len();
        target.extend(std::iter::from_fn(|| self.take()).take(most));
        target.len() - before
    }

    /// Waits for a value, at most for `timeout`, and takes it.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] if the time is up; [`PopError::Closed`] as for [`Receiver::pop`].
    pub fn pop_wait(&mut self, timeout: Option<Duration>) -> Result<T, PopError> {
        let shared = self.shared.clone();
        let settled = shared.values.wait_for(timeout, || match self.pop() {
            Err(PopError::Empty) => None,
            answer => Some(answer),
        });
        settled.unwrap_or(Err(PopError::Empty))
    }

    /// Asks for one signal when something arrives or the last sender goes. False: a pop has an answer now.
    #[must_use = "false: no signal will come"]
    pub fn arm(&mut self) -> bool {
        self.shared.values.arm();
        !self.is_written() && !self.is_over()
    }

    /// How many values are there now, with those whose push is under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether nothing is there now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes no more: pushes are refused from now on; what was pushed before can be popped.
    ///
    /// False: it had been said before; nothing changes.
    pub fn close(&mut self) -> bool {
        // ORDER: AcqRel; a step of the index like a claim: pushes are before or after it.
        self.shared.tail.index.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0
    }

    /// Whether [`Receiver::close`] was called or no sender is left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // ORDER: Acquire, both, as in `is_over`.
        self.shared.senders.load(Ordering::Acquire) == 0
            || self.shared.tail.index.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Whether every claim that there will ever be was taken. A load of the index that sees the closing is final.
    fn is_over(&self) -> bool {
        // ORDER: Acquire pairs with the AcqRel subtraction of the last sender: its claims are seen below.
        let alone = self.shared.senders.load(Ordering::Acquire) == 0;
        // ORDER: Acquire pairs with the claims: they are steps of this word.
        let index = self.shared.tail.index.load(Ordering::Acquire);
        (alone || index & CLOSED != 0) && claimed(index) == self.taken
    }

    /// Nothing is there: is it for ever?
    #[cold]
    fn settled(&mut self) -> Result<T, PopError> {
        // The first time since something was taken, the senders get some places ahead before the next look: a receiver that
        // follows them from place to place takes every cache line from their hands. See `mpmc`, which does the same.
        if self.refused != self.taken {
            self.refused = self.taken;
            (0..PAUSES).for_each(|_| spin_loop());
            if let Some(value) = self.take() {
                return Ok(value);
            }
        }
        if self.is_over() {
            return Err(PopError::Closed);
        }
        // What arrived since the first look is as good as what was there.
        self.take().ok_or(PopError::Empty)
    }

    /// Whether the next value is there; goes on to the next block where this one is done with.
    fn is_written(&mut self) -> bool {
        if self.place == PLACES && !self.leave() {
            return false;
        }
        // SAFETY: the block is the receiver's until it leaves it.
        let place = unsafe { &self.block.as_ref().places[self.place] };
        // ORDER: Acquire pairs with the Release store in `fill`: the value is written.
        place.written.load(Ordering::Acquire)
    }

    #[inline]
    fn take(&mut self) -> Option<T> {
        if !self.is_written() {
            return None;
        }
        // SAFETY: as in `is_written`. The mark is there, so the place holds a value, read once, as `place` moves on.
        let value =
            unsafe { self.block.as_ref().places[self.place].value.with(|cell| (*cell).assume_init_read()) };
        self.place += 1;
        self.taken = self.taken.wrapping_add(1);
        // ORDER: Release pairs with the Acquire load in `Shared::len`.
        self.shared.taken.store(self.taken, Ordering::Release);
        Some(value)
    }

    /// Goes from a block whose every value was taken to the next. False: there is none yet.
    #[cold]
    fn leave(&mut self) -> bool {
        // SAFETY: the block is the receiver's until it leaves it.
        let block = unsafe { self.block.as_ref() };
        // ORDER: Acquire pairs with the Release store in `install`: the block is initialised.
        let Some(next) = NonNull::new(block.next.load(Ordering::Acquire)) else { return false };
        // SAFETY: every place of the block was marked and read, so no sender touches it any more, and it came from
        // `Box::into_raw`.
        let block = unsafe { Box::from_raw(self.block.as_ptr()) };
        // ORDER: Relaxed, both; handed on by the Release in `give_back`.
        block.next.store(ptr::null_mut(), Ordering::Relaxed);
        for place in &block.places {
            // ORDER: Relaxed, as above.
            place.written.store(false, Ordering::Relaxed);
        }
        (self.block, self.place) = (next, 0);
        self.shared.give_back(Some(block));
        true
    }
}

/// Frees the last block of a receiver that has taken every value.
struct LastBlock<'a, T>(&'a mut Receiver<T>);

impl<T> Drop for LastBlock<'_, T> {
    fn drop(&mut self) {
        let Self(receiver) = self;
        if receiver.place == PLACES {
            // The sender that claimed the last place installs the next block before its mark, which was seen.
            receiver.leave();
        }
        // SAFETY: every claim was marked and read, and there will be no other: nobody touches the block any more. The
        // receiver makes this in its own drop, and does not look at the block again.
        drop(unsafe { Box::from_raw(receiver.block.as_ptr()) });
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        let last = LastBlock(self);
        // A push that was claimed before the close is marked soon; its value must be dropped here.
        crate::queue::drop_all(|| {
            let is_over = last.0.is_over();
            if !is_over && last.0.take().is_none() {
                thread::yield_now();
            }
            !is_over
        });
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Receiver").field("len", &self.len()).finish_non_exhaustive()
    }
}
