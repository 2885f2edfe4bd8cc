//! A queue without a bound that many push and one pops: blocks of places, claimed by one step each.
//!
//! ```text
//!  head (the receiver's own)                tail.index, tail.block
//!    │                                        │
//!  ┌─▼─┬───┬───┐ next  ┌───┬───┬───┐ next  ┌──▼┬───┬───┐
//!  │ v │ v │ … ├──────►│ v │ … │ v ├──────►│ v │   │   │        … claimed, not written yet
//!  └───┴───┴───┘       └───┴───┴───┘       └───┴───┴───┘
//! ```
//!
//! Source: the list flavour of crossbeam-channel (itself after D. Vyukov's queues), cut down to one receiver. A sender
//! claims a place by a compare-exchange on the index, writes it, and says so in the place. The one that claims the last
//! place of a block installs the next block. The receiver needs no read-modify-write at all: it looks at its place.
//!
//! Invariants: an index is claimed once and never comes back, so a claim made with an old index fails and nobody writes to
//! a block he did not claim a place of; a sender's last touch of a block is the mark on its place, so the
//! receiver, past the last mark, has the block to itself. It hands the block back for the next one that is needed.
//!
//! Order: of one sender, and of senders ordered by other means, first in first out. While a sender stands between its claim
//! and its mark, the receiver finds nothing: also not what was pushed behind it, until the mark is there.
//!
//! Bound: none but memory. Where senders may be faster than the receiver for long, use [`Mpmc`](super::Mpmc).

#![allow(unsafe_code, reason = "values move through blocks that threads share")]

mod receiver;

pub use receiver::Receiver;

use super::refusal::PushError;
use crate::sync::{
    Arc, AtomicBool, AtomicPtr, AtomicUsize, CachePadded, EventCount, Ordering, Signal, UnsafeCell,
    spin_loop, thread,
};
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

/// Indexes of one block; the last of them is no place, but says "the next block is being installed".
const LAP: usize = if cfg!(efio_loom) { 4 } else { 64 };
const PLACES: usize = LAP - 1;
/// The receiver is gone, in `tail.index`; indexes are counted above it.
const CLOSED: usize = 1;
const SHIFT: u32 = 1;

struct Place<T> {
    value: UnsafeCell<MaybeUninit<T>>,
    written: AtomicBool,
}

struct Block<T> {
    next: AtomicPtr<Block<T>>,
    places: [Place<T>; PLACES],
}

impl<T> Block<T> {
    fn new() -> Box<Self> {
        Box::new(Self {
            next: AtomicPtr::new(ptr::null_mut()),
            places: std::array::from_fn(|_| Place {
                value: UnsafeCell::new(MaybeUninit::uninit()),
                written: AtomicBool::new(false),
            }),
        })
    }
}

struct Tail<T> {
    index: AtomicUsize,
    block: AtomicPtr<Block<T>>,
}

/// What both sides reach.
struct Shared<T> {
    tail: CachePadded<Tail<T>>,
    /// Values that the receiver is past; read by the senders only for the length.
    taken: CachePadded<AtomicUsize>,
    /// One block that the receiver is done with, or null.
    spare: AtomicPtr<Block<T>>,
    senders: AtomicUsize,
    values: EventCount,
}

// SAFETY: a value is pushed by one thread and used or dropped by another, hence `T: Send`; see the invariants above.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as for `Send`; shared access is atomic or to a place that this thread claimed.
unsafe impl<T: Send> Sync for Shared<T> {}

/// How many places were claimed when the index was `index`: the last index of each lap is none.
fn claimed(index: usize) -> usize {
    let index = index >> SHIFT;
    index / LAP * PLACES + (index % LAP).min(PLACES)
}

impl<T> Shared<T> {
    /// Claims up to `wanted` places next to each other: the block, the first, how many. `None`: closed.
    fn claim(&self, wanted: usize) -> Option<(NonNull<Block<T>>, usize, usize)> {
        let mut next = None;
        let mut turns = 0_u32;
        // ORDER: Acquire pairs with the Release addition below: the block belongs to this index or a later one.
        let mut index = self.tail.index.load(Ordering::Acquire);
        loop {
            let first = (index >> SHIFT) % LAP;
            if index & CLOSED != 0 {
                self.give_back(next);
                return None;
            }
            if first == PLACES {
                // Another sender installs the next block: a few steps away, unless it has lost its processor.
                turns += 1;
                if turns < 32 && !cfg!(efio_loom) {
                    spin_loop()
                } else {
                    thread::yield_now()
                }
                // ORDER: Acquire, as above.
                index = self.tail.index.load(Ordering::Acquire);
                continue;
            }
            // ORDER: Acquire pairs with the Release store below: the block is initialised.
            let block = self.tail.block.load(Ordering::Acquire);
            let count = wanted.min(PLACES - first);
            let last = first + count == PLACES;
            if last && next.is_none() {
                next = Some(self.fresh());
            }
            let after = index + (count << SHIFT);
            // ORDER: Acquire on success too: the claimed place is empty, as the receiver or the constructor left it.
            match self.tail.index.compare_exchange_weak(index, after, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => {
                    // SAFETY: the index was still `index`, so `block` is its block, which lives until its last mark.
                    let block = unsafe { NonNull::new_unchecked(block) };
                    if let (true, Some(next)) = (last, next.take()) {
                        self.install(block, next);
                    }
                    self.give_back(next);
                    return Some((block, first, count));
                }
                Err(now) => index = now,
            }
        }
    }

    /// Puts `next` behind `block`, whose last place the caller has claimed and not marked.
    fn install(&self, block: NonNull<Block<T>>, next: Box<Block<T>>) {
        let next = Box::into_raw(next);
        // ORDER: Release pairs with the Acquire load in `claim`.
        self.tail.block.store(next, Ordering::Release);
        // ORDER: Release pairs with the Acquire loads of the index in `claim`: who sees it sees the block.
        self.tail.index.fetch_add(1 << SHIFT, Ordering::Release);
        // SAFETY: the block lives until the caller has marked its place.
        let block = unsafe { block.as_ref() };
        // ORDER: Release pairs with the Acquire load in `Receiver::pop`.
        block.next.store(next, Ordering::Release);
    }

    /// An empty block: the one that the receiver left, or a new one.
    fn fresh(&self) -> Box<Block<T>> {
        // ORDER: Acquire pairs with the Release compare-exchange in `Receiver::leave`: the block is empty.
        let spare = self.spare.swap(ptr::null_mut(), Ordering::Acquire);
        if spare.is_null() {
            return Block::new();
        }
        // SAFETY: from `Box::into_raw`; the swap made it ours alone.
        unsafe { Box::from_raw(spare) }
    }

    /// Keeps a block that was not needed after all.
    fn give_back(&self, block: Option<Box<Block<T>>>) {
        let Some(block) = block else { return };
        let block = Box::into_raw(block);
        // ORDER: Release pairs with the Acquire swap in `fresh`.
        let kept = self.spare.compare_exchange(ptr::null_mut(), block, Ordering::Release, Ordering::Relaxed);
        if kept.is_err() {
            // SAFETY: the pointer is from `into_raw` above and went nowhere.
            drop(unsafe { Box::from_raw(block) });
        }
    }

    /// Writes `value` to a place that the caller claimed, and marks it.
    #[inline]
    fn fill(&self, block: NonNull<Block<T>>, place: usize, value: T) {
        // SAFETY: the caller claimed the place and has not marked it, so the block lives.
        let place = unsafe { &block.as_ref().places[place] };
        // SAFETY: the place is the caller's alone until the mark.
        place.value.with_mut(|cell| unsafe { (*cell).write(value) });
        // ORDER: Release pairs with the Acquire load in `Receiver::pop`: the value is written.
        place.written.store(true, Ordering::Release);
    }

    fn len(&self) -> usize {
        // ORDER: Acquire pairs with the Release store in `Receiver::pop`. First, so that the other is never behind it.
        let taken = self.taken.load(Ordering::Acquire);
        // ORDER: Relaxed; a number that is old when it is read.
        claimed(self.tail.index.load(Ordering::Relaxed)).wrapping_sub(taken)
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // ORDER: Relaxed; the count of the `Arc` orders this after every use. The receiver freed its blocks when it went.
        let spare = self.spare.load(Ordering::Relaxed);
        if !spare.is_null() {
            // SAFETY: from `Box::into_raw`, and nobody else is left.
            drop(unsafe { Box::from_raw(spare) });
        }
    }
}

/// A queue without a bound, for many senders and one receiver.
///
/// ```
/// use efio::queue::{PopError, mpsc};
///
/// let (sender, mut receiver) = mpsc::channel();
/// std::thread::scope(|scope| {
///     for name in ["log", "upload"] {
///         let sender = sender.clone();
///         scope.spawn(move || sender.push(name));
///     }
/// });
/// drop(sender);
/// assert_eq!(receiver.len(), 2);
/// assert!(receiver.pop().is_ok() && receiver.pop().is_ok());
/// assert_eq!(receiver.pop(), Err(PopError::Closed));
/// ```
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    new(None)
}

/// As [`channel`], for a receiver that an event loop watches: `signal` is told once for each [`Receiver::arm`].
#[must_use]
pub fn channel_with_signal<T>(signal: impl Signal + 'static) -> (Sender<T>, Receiver<T>) {
    new(Some(Box::new(signal)))
}

fn new<T>(signal: Option<Box<dyn Signal>>) -> (Sender<T>, Receiver<T>) {
    let block = Box::into_raw(Block::new());
    let shared = Arc::new(Shared {
        tail: CachePadded::new(Tail { index: AtomicUsize::new(0), block: AtomicPtr::new(block) }),
        taken: CachePadded::new(AtomicUsize::new(0)),
        spare: AtomicPtr::new(ptr::null_mut()),
        senders: AtomicUsize::new(1),
        values: EventCount::beside(signal),
    });
    // SAFETY: `into_raw` gives no null pointer.
    let block = unsafe { NonNull::new_unchecked(block) };
    let receiver = Receiver::new(shared.clone(), block);
    (Sender { shared }, receiver)
}

/// An end of a [`channel`] that pushes; a clone is one more. The last drop closes the channel.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Adds `value` at the end. Never waits for the receiver; allocates at most once in 63 pushes.
    ///
    /// # Errors
    ///
    /// [`PushError::Closed`] if the receiver closed or is gone; the value comes back. Never [`PushError::Full`].
    #[inline]
    pub fn push(&self, value: T) -> Result<(), PushError<T>> {
        let Some((block, place, _)) = self.shared.claim(1) else { return Err(PushError::Closed(value)) };
        self.shared.fill(block, place, value);
        self.shared.values.notify_one();
        Ok(())
    }

    /// Adds all of `values`, next to each other up to the end of each block, and gives back those that were refused:
    /// none, or the rest from the moment when the receiver closed.
    pub fn push_all(&self, values: Vec<T>) -> Vec<T> {
        let mut values = values.into_iter();
        while values.len() != 0 {
            let Some((block, first, count)) = self.shared.claim(values.len()) else { break };
            for (place, value) in (first..first + count).zip(&mut values) {
                self.shared.fill(block, place, value);
            }
        }
        self.shared.values.notify_one();
        values.collect()
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

    /// Whether the receiver closed or is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // ORDER: Acquire pairs with the Release half of the read-modify-write in `Receiver::close`.
        self.shared.tail.index.load(Ordering::Acquire) & CLOSED != 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        // ORDER: Relaxed; this sender is counted already, so the count is not on its way to zero.
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Self { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // ORDER: AcqRel; its Release half pairs with the Acquire load in `Receiver::settled`: every push is seen.
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.values.notify_all();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sender").field("len", &self.len()).finish_non_exhaustive()
    }
}
