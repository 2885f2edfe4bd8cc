//! A ring on the heap with two halves: one thread owns the end that pushes, one the end that pops.
//!
//! ```text
//!        head ──────────► tail
//!  ┌───┬──────┬──────┬──────┬───┬───┐
//!  │   │  v   │  v   │  v   │   │   │     head..tail is the consumer's, the rest the producer's
//!  └───┴──────┴──────┴──────┴───┴───┘
//! ```
//!
//! Source: L. Lamport, "Specifying Concurrent Program Modules", 1983; each half remembers what it last saw of the
//! other's count, as in J. Giacomoni et al., "FastForward for Efficient Pipeline Parallelism", 2008, and looks again only
//! when that is not enough. What the producer remembers it keeps as a limit beside its count, in a word that a close puts
//! behind the count: so one load tells a push that there is room and that nobody has closed. Counts only grow (modulo the word) and are masked into places. Invariants: only the producer moves
//! tail, only the consumer head; a half is one value that cannot be cloned or shared, so that its `&mut self` is
//! the proof that there is one of it.

#![allow(unsafe_code, reason = "values move through cells that two threads share")]

use super::super::refusal::{PopError, PushError};
use crate::sync::{Arc, AtomicU32, AtomicUsize, CachePadded, EventCount, Ordering, Signal, UnsafeCell};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::time::Duration;

/// The producer is done: what is there is all there will be.
const ENDED: u32 = 1;
/// The consumer is done: nobody will take what is pushed.
const REFUSED: u32 = 2;

type Place<T> = UnsafeCell<MaybeUninit<T>>;

/// What both halves reach.
struct Shared<T> {
    tail: CachePadded<Tail>,
    /// Values popped so far; the consumer's.
    head: CachePadded<AtomicUsize>,
    calm: CachePadded<Calm>,
    /// A power of two of them, at least `capacity`.
    places: Box<[Place<T>]>,
    capacity: usize,
}

/// The producer's words.
struct Tail {
    /// Values pushed so far.
    count: AtomicUsize,
    /// How far the count may grow before the producer must look at the consumer's, or behind the tail: closed. The producer
    /// moves it by a compare-exchange from the value that it gave it last, so that a close is never overwritten.
    limit: AtomicUsize,
}

/// What both sides read now and then and hardly ever write.
struct Calm {
    closed: AtomicU32,
    /// The consumer waits for values.
    values: EventCount,
    /// The producer waits for room.
    room: EventCount,
}

// SAFETY: a value is pushed by one thread and used or dropped by another, hence `T: Send`; no value is reached by both
// halves at a time (see the invariants above).
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as for `Send`; shared access to the counts is atomic.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn closed(&self) -> u32 {
        // ORDER: Acquire pairs with the Release half of the read-modify-write in `close`.
        self.calm.closed.load(Ordering::Acquire)
    }

    /// True: nobody had closed this side yet. `own` is the closer's own count, which is never ahead of the limit.
    fn close(&self, side: u32, own: usize) -> bool {
        // First, so that who knows that it is closed is refused; a push sent the long way meanwhile finds no room.
        // ORDER: AcqRel; pairs with the load in `push`. A swap: the compare-exchange in `room_for` is before or after it.
        self.tail.limit.swap(own.wrapping_sub(1), Ordering::AcqRel);
        // ORDER: AcqRel; pairs with the load in `closed`: what was pushed before is seen, and the limit above.
        let first = self.calm.closed.fetch_or(side, Ordering::AcqRel) & side == 0;
        self.calm.values.notify_all();
        self.calm.room.notify_all();
        first
    }

    #[inline]
    fn place(&self, count: usize) -> &Place<T> {
        // SAFETY: there is a power of two of places, so the masked count is below their number.
        unsafe { self.places.get_unchecked(count & (self.places.len() - 1)) }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // ORDER: Relaxed, both; whoever drops this last is ordered after both halves by the count of their `Arc`.
        let (head, tail) = (self.head.load(Ordering::Relaxed), self.tail.count.load(Ordering::Relaxed));
        let mut full = (0..tail.wrapping_sub(head)).map(|at| self.place(head.wrapping_add(at)));
        // SAFETY: a place from head to tail holds a value, and nobody else is left to take it.
        let drop_one = |place: &Place<T>| place.with_mut(|place| unsafe { (*place).assume_init_drop() });
        super::super::drop_all(|| full.next().map(drop_one).is_some());
    }
}

/// A ring for `capacity` values, at least one, and its two ends.
///
/// # Panics
///
/// If that is more than memory can hold.
///
/// ```
/// use efio::queue::{PopError, spsc};
///
/// let (mut producer, mut consumer) = spsc::channel(64);
/// std::thread::scope(|scope| {
///     scope.spawn(move || {
///         assert_eq!(producer.push_all(&mut (1..=10)), 10);
///         // Dropped here: the consumer sees the end.
///     });
///     let mut sum = 0;
///     while let Ok(value) = consumer.pop_wait(None) {
///         sum += value;
///     }
///     assert_eq!(sum, 55);
///     assert_eq!(consumer.pop(), Err(PopError::Closed));
/// });
/// ```
#[must_use]
pub fn channel<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    new(capacity, None, None)
}

/// As [`channel`], for halves that an event loop watches: `values` is told when the consumer may look again, `room` when
/// the producer may, each once for each [`Consumer::arm`] or [`Producer::arm`].
#[must_use]
pub fn channel_with_signals<T>(
    capacity: usize,
    values: impl Signal + 'static,
    room: impl Signal + 'static,
) -> (Producer<T>, Consumer<T>) {
    new(capacity, Some(Box::new(values)), Some(Box::new(room)))
}

fn new<T>(
    capacity: usize,
    values: Option<Box<dyn Signal>>,
    room: Option<Box<dyn Signal>>,
) -> (Producer<T>, Consumer<T>) {
    let capacity = capacity.max(1);
    let Some(places) = capacity.checked_next_power_of_two() else { panic!("beyond what memory can hold") };
    let places = (0..places).map(|_| UnsafeCell::new(MaybeUninit::uninit()));
    let calm = Calm {
        closed: AtomicU32::new(0),
        values: EventCount::beside(values),
        room: EventCount::beside(room),
    };
    let shared = Arc::new(Shared {
        tail: CachePadded::new(Tail { count: AtomicUsize::new(0), limit: AtomicUsize::new(capacity) }),
        head: CachePadded::new(AtomicUsize::new(0)),
        calm: CachePadded::new(calm),
        places: places.collect(),
        capacity,
    });
    let consumer = Consumer { shared: shared.clone(), head: 0, tail_seen: 0, one_thread: PhantomData };
    (Producer { shared, tail: 0, head_seen: 0, one_thread: PhantomData }, consumer)
}

/// The end of a [`channel`] that pushes. It may move to another thread, and belongs to one at a time:
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>(_: T) {}
/// shared(efio::queue::spsc::channel::<u32>(1).0);
/// ```
/// ```compile_fail,E0599
/// let (producer, _consumer) = efio::queue::spsc::channel::<u32>(1);
/// let second = producer.clone();
/// ```
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    /// The consumer's count when last looked at: never ahead of the true one.
    head_seen: usize,
    one_thread: PhantomData<Cell<()>>,
}

impl<T> Producer<T> {
    /// Adds `value` at the end.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`], or [`PushError::Closed`] after either side closed; the value comes back.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        // ORDER: Acquire pairs with the Release half of the swap in `Shared::close`.
        let limit = self.shared.tail.limit.load(Ordering::Acquire);
        if limit.wrapping_sub(self.tail) as isize <= 0 {
            if self.is_closed() {
                return Err(PushError::Closed(value));
            }
            if self.room_for(1) == 0 {
                return Err(PushError::Full(value));
            }
        }
        self.write(0, value);
        self.publish(1);
        Ok(())
    }

    /// Adds values of `source` while there is room, and says how many. All appear to the consumer at once.
    ///
    /// Takes no value from `source` that it cannot push. After a close it is 0.
    pub fn push_all(&mut self, source: &mut impl Iterator<Item = T>) -> usize {
        let room = if self.is_closed() { 0 } else { self.room_for(usize::MAX) };
        let mut batch = Batch { producer: self, written: 0 };
        while batch.written < room {
            let Some(value) = source.next() else { break };
            batch.producer.write(batch.written, value);
            batch.written += 1;
        }
        batch.written
    }

    /// Waits for room, at most for `timeout`, and adds `value`.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] if the time is up, [`PushError::Closed`] as soon as either side closed.
    pub fn push_wait(&mut self, value: T, timeout: Option<Duration>) -> Result<(), PushError<T>> {
        let shared = self.shared.clone();
        let ready =
            shared.calm.room.wait_for(timeout, || (self.is_closed() || self.room() != 0).then_some(()));
        match ready {
            Some(()) => self.push(value),
            None => Err(PushError::Full(value)),
        }
    }

    /// Asks for one signal when there is room again. False: there is room now, or never again.
    #[must_use = "false: no signal will come"]
    pub fn arm(&mut self) -> bool {
        self.shared.calm.room.arm();
        !self.is_closed() && self.room() == 0
    }

    /// How many values it takes now.
    #[must_use]
    pub fn room(&mut self) -> usize {
        self.room_for(usize::MAX)
    }

    /// How many values the ring holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// Whether either side has closed: no push succeeds any more.
    #[must_use]
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.shared.closed() != 0
    }

    /// Says that nothing more comes: the consumer gets what is there, then [`PopError::Closed`]. So does a drop.
    ///
    /// False: it had been said before; nothing changes.
    pub fn close(&mut self) -> bool {
        self.shared.close(ENDED, self.tail)
    }

    /// How many places are free, looked up again only if fewer than `wanted` are known of.
    #[inline]
    fn room_for(&mut self, wanted: usize) -> usize {
        let capacity = self.shared.capacity;
        let known = capacity - self.tail.wrapping_sub(self.head_seen);
        if known >= wanted {
            return known;
        }
        // ORDER: Acquire pairs with the Release store in `Consumer::release`: the places are empty.
        let head = self.shared.head.load(Ordering::Acquire);
        if head != self.head_seen {
            let (from, to) = (self.head_seen.wrapping_add(capacity), head.wrapping_add(capacity));
            // ORDER: Relaxed; only this thread reads what it wrote, and a close has its own order. Fails once a side has closed.
            let (moved, closed) = (Ordering::Relaxed, Ordering::Relaxed);
            let _moved = self.shared.tail.limit.compare_exchange(from, to, moved, closed).is_ok();
            self.head_seen = head;
        }
        capacity - self.tail.wrapping_sub(self.head_seen)
    }

    /// Fills the place `ahead` of the tail, which must be free.
    #[inline]
    fn write(&mut self, ahead: usize, value: T) {
        self.shared.place(self.tail.wrapping_add(ahead)).with_mut(|place| {
            // SAFETY: the place is not between head and tail, so it is the producer's, and there is one.
            unsafe { (*place).write(value) };
        });
    }

    #[inline]
    fn publish(&mut self, count: usize) {
        self.tail = self.tail.wrapping_add(count);
        // ORDER: Release pairs with the Acquire load in `Consumer::known`: the values are written.
        self.shared.tail.count.store(self.tail, Ordering::Release);
        self.shared.calm.values.notify_one();
    }
}

/// Publishes what was written, also if the source panics.
struct Batch<'a, T> {
    producer: &'a mut Producer<T>,
    written: usize,
}

impl<T> Drop for Batch<'_, T> {
    fn drop(&mut self) {
        if self.written != 0 {
            self.producer.publish(self.written);
        }
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The end of a [`channel`] that pops. It may move to another thread, and belongs to one at a time:
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>(_: T) {}
/// shared(efio::queue::spsc::channel::<u32>(1).1);
/// ```
/// ```compile_fail,E0599
/// let (_producer, consumer) = efio::queue::spsc::channel::<u32>(1);
/// let second = consumer.clone();
/// ```
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    /// The producer's count when last looked at: never ahead of the true one.
    tail_seen: usize,
    one_thread: PhantomData<Cell<()>>,
}

impl<T> Consumer<T> {
    /// Takes the oldest value.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`]; [`PopError::Closed`] once the producer has closed and everything was taken.
    #[inline]
    pub fn pop(&mut self) -> Result<T, PopError> {
        if self.known(1) == 0 {
            self.look_behind_the_end()?;
        }
        let value = self.read(0);
        self.release(1);
        Ok(value)
    }

    /// Moves up to `most` of the oldest values to the end of `target`, and says how many.
    pub fn pop_all(&mut self, target: &mut Vec<T>, most: usize) -> usize {
        let count = self.known(most).min(most);
        target.reserve(count);
        for ahead in 0..count {
            target.push(self.read(ahead));
        }
        if count != 0 {
            self.release(count);
        }
        count
    }

    /// Waits for a value, at most for `timeout`, and takes it.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] if the time is up; [`PopError::Closed`] as for [`Consumer::pop`].
    pub fn pop_wait(&mut self, timeout: Option<Duration>) -> Result<T, PopError> {
        let shared = self.shared.clone();
        let settled = shared.calm.values.wait_for(timeout, || match self.pop() {
            Err(PopError::Empty) => None,
            answer => Some(answer),
        });
        settled.unwrap_or(Err(PopError::Empty))
    }

    /// Asks for one signal when something arrives, or the producer closes. False: a pop has an answer now.
    #[must_use = "false: no signal will come"]
    pub fn arm(&mut self) -> bool {
        self.shared.calm.values.arm();
        self.known(1) == 0 && self.shared.closed() & ENDED == 0
    }

    /// The oldest value, which stays.
    #[must_use]
    pub fn front(&mut self) -> Option<&T> {
        if self.known(1) == 0 {
            return None;
        }
        // SAFETY: the place at the head is full and the consumer's; `&mut self` is lent with the reference, so that
        // nothing is popped while it lives.
        Some(self.shared.place(self.head).with(|place| unsafe { (*place).assume_init_ref() }))
    }

    /// How many values are there now.
    #[must_use]
    pub fn len(&mut self) -> usize {
        self.known(usize::MAX)
    }

    /// Whether nothing is there now.
    #[must_use]
    pub fn is_empty(&mut self) -> bool {
        self.known(1) == 0
    }

    /// Whether either side has closed. What is there can still be popped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed() != 0
    }

    /// Takes no more: pushes answer [`PushError::Closed`] from now on. So does a drop.
    ///
    /// A push under way may still arrive; pops answer what is there, then [`PopError::Empty`] while the
    /// producer has not closed. False: it had been said before; nothing changes.
    pub fn close(&mut self) -> bool {
        self.shared.close(REFUSED, self.head)
    }

    /// Nothing is there. If the producer has closed, one more look decides: it may have pushed before.
    #[cold]
    fn look_behind_the_end(&mut self) -> Result<(), PopError> {
        if self.shared.closed() & ENDED == 0 {
            Err(PopError::Empty)
        } else if self.known(1) == 0 {
            Err(PopError::Closed)
        } else {
            Ok(())
        }
    }

    /// How many values are there, looked up again only if fewer than `wanted` are known of.
    #[inline]
    fn known(&mut self, wanted: usize) -> usize {
        let known = self.tail_seen.wrapping_sub(self.head);
        if known >= wanted {
            return known;
        }
        // ORDER: Acquire pairs with the Release store in `Producer::publish`: the values are written.
        self.tail_seen = self.shared.tail.count.load(Ordering::Acquire);
        self.tail_seen.wrapping_sub(self.head)
    }

    /// Moves the value `ahead` of the head out of its place, which the caller releases before anything else.
    #[inline]
    fn read(&mut self, ahead: usize) -> T {
        let place = self.shared.place(self.head.wrapping_add(ahead));
        // SAFETY: the place is between head and tail, so it is full and the consumer's, and there is one.
        place.with(|place| unsafe { (*place).assume_init_read() })
    }

    #[inline]
    fn release(&mut self, count: usize) {
        self.head = self.head.wrapping_add(count);
        // ORDER: Release pairs with the Acquire load in `Producer::room_for`: the places are empty.
        self.shared.head.store(self.head, Ordering::Release);
        self.shared.calm.room.notify_one();
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Producer").field("pushed", &self.tail).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Consumer").field("popped", &self.head).finish_non_exhaustive()
    }
}

#[cfg(not(efio_loom))]
#[path = "slots.rs"]
mod slots;
#[cfg(not(efio_loom))]
pub use slots::{ReadSlots, WriteSlots};
