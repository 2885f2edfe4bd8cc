//! A small ring with one producer and one consumer, in which "nothing there" and "tell me later"
//! are one step.
//!
//! ```text
//!  state = tail:31 | WANT:1       the producer moves tail, the consumer raises WANT
//!  head                           the consumer's own word
//!
//!  empty ──push──► something                     owed: nothing
//!  empty ──want──► empty, WANT ──push──► something, WANT down: the consumer is owed one event
//! ```
//!
//! Head and tail count values (modulo 2^31); the ring is empty where they meet. Invariants: cells from
//! head to tail are full and the consumer's, the others empty and the producer's. Only the producer
//! changes tail, only the consumer head. WANT is raised by a compare-exchange on the very word that
//! says "empty", and taken down by whatever the producer does next, so a refused consumer is owed
//! exactly one event, and none is owed to one that was not refused.

#![allow(unsafe_code, reason = "values move through cells that two threads share")]

mod channel;

pub use channel::{Consumer, Producer, channel, channel_with_signals};
#[cfg(not(efio_loom))]
pub use channel::{ReadSlots, WriteSlots};

use crate::sync::{AtomicU32, Ordering, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// The consumer was refused and is owed an event, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a consumer that was refused is owed an event"]
pub struct Owed(pub bool);

const WANT: u32 = 1;
/// One value more, in the state word.
const ONE: u32 = 2;
const COUNT_MASK: u32 = u32::MAX >> 1;

/// A ring of `N` cells for one producer and one consumer. `N` is a power of two, of at most 2^16; any other is refused
/// where the ring is made:
///
/// ```compile_fail,E0080
/// let ring = efio::queue::Ring::<u32, 0>::new();
/// ```
///
/// ```
/// use efio::queue::{Owed, Ring};
///
/// let ring = Ring::<u32, 4>::new();
/// // SAFETY: this thread is the only producer and the only consumer.
/// unsafe {
///     assert!(ring.want(), "nothing there, and told later");
///     assert_eq!(ring.push(7), Ok(Owed(true)));
///     assert_eq!(ring.push(8), Ok(Owed(false)));
///     assert_eq!(ring.pop(), Some(7));
///     assert!(!ring.want(), "something there");
/// }
/// ```
#[derive(Debug)]
pub struct Ring<T, const N: usize> {
    state: AtomicU32,
    head: AtomicU32,
    cells: [UnsafeCell<MaybeUninit<T>>; N],
}

// SAFETY: a value is pushed by one thread and used or dropped by another, hence `T: Send`; the
// ring never gives two threads access to one value at a time (see the invariants above).
unsafe impl<T: Send, const N: usize> Send for Ring<T, N> {}
// SAFETY: as for `Send`; shared access to the counters is atomic.
unsafe impl<T: Send, const N: usize> Sync for Ring<T, N> {}

impl<T, const N: usize> Ring<T, N> {
    const SIZE_IS_VALID: () = assert!(N.is_power_of_two() && N <= 1 << 16);

    /// An empty ring.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new() -> Self {
        let () = Self::SIZE_IS_VALID;
        Self {
            state: AtomicU32::new(0),
            head: AtomicU32::new(0),
            cells: [const { UnsafeCell::new(MaybeUninit::uninit()) }; N],
        }
    }

    /// An empty ring.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new() -> Self {
        let () = Self::SIZE_IS_VALID;
        Self {
            state: AtomicU32::new(0),
            head: AtomicU32::new(0),
            cells: std::array::from_fn(|_| UnsafeCell::new(MaybeUninit::uninit())),
        }
    }

    /// Adds `value` at the end. [`Owed`]: whether the consumer was refused and waits for an event.
    ///
    /// # Errors
    ///
    /// The ring is full; the value comes back.
    ///
    /// # Safety
    ///
    /// The caller is the only producer: no other thread is in `push`.
    #[inline]
    pub unsafe fn push(&self, value: T) -> Result<Owed, T> {
        // ORDER: Relaxed; tail is this thread's own, only WANT may differ.
        let tail = self.state.load(Ordering::Relaxed) >> 1;
        // ORDER: Acquire pairs with the Release store of head in `pop`: the cell is empty.
        let head = self.head.load(Ordering::Acquire);
        if distance(head, tail) == N {
            return Err(value);
        }
        self.cell(tail).with_mut(|cell| {
            // SAFETY: the cell is not between head and tail, so it is the producer's, and the
            // caller is the only producer.
            unsafe { (*cell).write(value) };
        });
        // ORDER: AcqRel; its Release half pairs with the Acquire load of the state in `front`, its
        // Acquire half with the compare-exchange in `want`.
        let old = self.state.swap((tail << 1).wrapping_add(ONE), Ordering::AcqRel);
        Ok(Owed(old & WANT != 0))
    }

    /// The oldest value, which stays in its cell; the consumer has it to itself until `pop`.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer, and uses the pointer only until its next `pop`.
    #[inline]
    pub unsafe fn front(&self) -> Option<NonNull<T>> {
        // ORDER: Relaxed; head is this thread's own.
        let head = self.head.load(Ordering::Relaxed);
        // ORDER: Acquire pairs with the Release half of the swap in `push`: the value is written.
        let tail = self.state.load(Ordering::Acquire) >> 1;
        if head == tail {
            return None;
        }
        Some(self.cell(head).with_mut(|cell| {
            // SAFETY: `cell` comes from a reference, so it is not null.
            unsafe { NonNull::new_unchecked(cell).cast::<T>() }
        }))
    }

    /// The value `at` places behind the oldest, which stays in its cell as that of [`front`](Self::front) does.
    ///
    /// # Safety
    ///
    /// As for [`front`](Self::front): the pointer is used only until the value is popped.
    #[must_use]
    pub unsafe fn nth(&self, at: usize) -> Option<NonNull<T>> {
        // ORDER: Relaxed; head is this thread's own.
        let head = self.head.load(Ordering::Relaxed);
        // ORDER: Acquire pairs with the Release half of the swap in `push`: the value is written.
        let tail = self.state.load(Ordering::Acquire) >> 1;
        if at >= distance(head, tail) {
            return None;
        }
        Some(self.cell(head.wrapping_add(at as u32)).with_mut(|cell| {
            // SAFETY: `cell` comes from a reference, so it is not null.
            unsafe { NonNull::new_unchecked(cell).cast::<T>() }
        }))
    }

    /// Takes the oldest value out of its cell.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer, and no pointer from `front` is in use.
    #[inline]
    pub unsafe fn pop(&self) -> Option<T> {
        // ORDER: Relaxed; head is this thread's own.
        let head = self.head.load(Ordering::Relaxed);
        // ORDER: Acquire pairs with the Release half of the swap in `push`: the value is written.
        let tail = self.state.load(Ordering::Acquire) >> 1;
        if head == tail {
            return None;
        }
        // SAFETY: the cell is between head and tail, so it is full and the consumer's, and the
        // caller is the only consumer; the store below makes it empty.
        let value = self.cell(head).with(|cell| unsafe { (*cell).assume_init_read() });
        // ORDER: Release pairs with the Acquire load of head in `push`.
        self.head.store(head.wrapping_add(1) & COUNT_MASK, Ordering::Release);
        Some(value)
    }

    /// Asks for an event when something arrives. True: nothing is there, and the next `push` or
    /// `take_want` owes the event; false: something is there.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[must_use = "false: something has arrived, no event will come"]
    pub unsafe fn want(&self) -> bool {
        // ORDER: Relaxed; head is this thread's own.
        let head = self.head.load(Ordering::Relaxed);
        let empty = head << 1;
        // ORDER: AcqRel; its Release half pairs with the swap in `push` and the fetch_and in
        // `take_want`; its Acquire half lets the caller's look after it see what came before one of
        // these. On failure Acquire pairs with the swap in `push`.
        match self.state.compare_exchange(empty, empty | WANT, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(now) => now == empty | WANT,
        }
    }

    /// Takes the consumer's wish for an event down without a push, and says if there was one.
    ///
    /// The producer's side, for news that is no value: the end of the file, an error. It writes
    /// down the news first; the consumer calls `want` first and looks for such news after it.
    #[must_use = "if true, the consumer is owed an event"]
    pub fn take_want(&self) -> bool {
        // ORDER: AcqRel; its Release half pairs with the Acquire half of the compare-exchange in
        // `want`, and the other way round. Always a write, so that a later `want` reads it.
        self.state.fetch_and(!WANT, Ordering::AcqRel) & WANT != 0
    }

    /// How many values are in the ring; exact for the producer and the consumer, each for its end.
    #[must_use]
    pub fn len(&self) -> usize {
        // ORDER: Acquire pairs with the Release store in `pop`. Head first: tail is never behind it.
        let head = self.head.load(Ordering::Acquire);
        // ORDER: Acquire pairs with the Release half of the swap in `push`.
        let tail = self.state.load(Ordering::Acquire) >> 1;
        distance(head, tail).min(N)
    }

    /// Whether nothing is in the ring.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a push would be given back.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() == N
    }

    #[inline]
    fn cell(&self, count: u32) -> &UnsafeCell<MaybeUninit<T>> {
        &self.cells[count as usize & (N - 1)]
    }
}

#[inline]
fn distance(head: u32, tail: u32) -> usize {
    (tail.wrapping_sub(head) & COUNT_MASK) as usize
}

impl<T, const N: usize> Default for Ring<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Drop for Ring<T, N> {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: nobody else is producer or consumer, and no pointer is in use.
        super::drop_all(|| unsafe { self.pop() }.is_some());
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn counts_wrap_without_a_seam() {
        let ring = Ring::<u32, 2>::new();
        ring.head.store(COUNT_MASK, Ordering::Relaxed);
        ring.state.store(COUNT_MASK << 1, Ordering::Relaxed);
        // SAFETY: one thread.
        unsafe {
            assert!(ring.want() && ring.want());
            assert_eq!(ring.push(1), Ok(Owed(true)));
            assert_eq!(ring.push(2), Ok(Owed(false)));
            assert_eq!(ring.push(3), Err(3));
            assert!(ring.is_full() && !ring.want());
            assert_eq!(*ring.front().unwrap().as_ref(), 1);
            assert_eq!(
                (ring.nth(0).map(|value| *value.as_ref()), ring.nth(1).map(|value| *value.as_ref())),
                (Some(1), Some(2))
            );
            assert!(ring.nth(2).is_none());
            assert_eq!((ring.pop(), ring.pop(), ring.pop()), (Some(1), Some(2), None));
        }
        assert!(ring.is_empty());
    }

    #[test]
    fn news_without_a_value_is_owed_once() {
        let ring = Ring::<u32, 2>::new();
        assert!(!ring.take_want());
        // SAFETY: one thread.
        assert!(unsafe { ring.want() });
        assert!(ring.take_want());
        assert!(!ring.take_want());
    }

    #[test]
    fn a_dropped_ring_drops_what_is_in_it() {
        let (value, ring) = (Arc::new(()), Ring::<_, 4>::new());
        // SAFETY: one thread.
        let _ = unsafe { (ring.push(value.clone()), ring.push(value.clone()), ring.pop()) };
        drop(ring);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn values_arrive_once_and_in_order() {
        const COUNT: u32 = crate::sync::rounds(50_000);
        let ring = Ring::<u32, 8>::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for value in 0..COUNT {
                    // SAFETY: this thread is the only producer.
                    while unsafe { ring.push(value) }.is_err() {
                        std::thread::yield_now();
                    }
                }
            });
            for expected in 0..COUNT {
                loop {
                    // SAFETY: this thread is the only consumer.
                    match unsafe { ring.pop() } {
                        Some(value) => break assert_eq!(value, expected),
                        None => std::thread::yield_now(),
                    }
                }
            }
        });
    }
}
