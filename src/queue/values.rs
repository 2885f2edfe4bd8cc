//! A stack of values: last in, first out, for any thread on both sides, in memory that is never given back.
//!
//! ```text
//!  free:  3 ► 1 ► 0            numbers of empty cells          push:  pop a free number, fill its cell, push it on `full`
//!  full:  2 ► 4                numbers of cells with a value   pop:   the other way round
//!  cells: in segments of 32, 64, 128 …, made when the numbers run out
//! ```
//!
//! A lock-free stack of boxed nodes must not free a node that another pop still looks at, which takes hazard pointers or
//! epochs, and each push an allocation. Here the nodes are cells that live as long as the stack, so a late look at a
//! link is harmless, and ABA is kept off by the tag of [`IndexStack`], which both lists are. The price: memory stays at the
//! largest number of values ever held.

#![allow(unsafe_code, reason = "values move through cells that threads share")]

use super::{IndexStack, Links, Shared};
use crate::sync::{AtomicPtr, AtomicU32, Ordering, UnsafeCell};
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr;

/// Cells in the first segment; each one after it has twice as many as the one before.
const FIRST: u32 = if cfg!(efio_loom) { 1 } else { 32 };
const SEGMENTS: usize = if cfg!(efio_loom) { 3 } else { 26 };

struct Cell<T> {
    link: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// A stack of values, with a bound or without.
///
/// ```
/// use efio::queue::Stack;
///
/// let stack = Stack::bounded(2);
/// assert_eq!((stack.push('a'), stack.push('b'), stack.push('c')), (Ok(()), Ok(()), Err('c')));
/// assert_eq!((stack.pop(), stack.pop(), stack.pop()), (Some('b'), Some('a'), None));
/// ```
pub struct Stack<T> {
    free: IndexStack,
    full: IndexStack,
    /// Numbers handed out so far.
    numbers: AtomicU32,
    capacity: u32,
    segments: [AtomicPtr<Cell<T>>; SEGMENTS],
}

// SAFETY: a value is pushed by one thread and used or dropped by another, hence `T: Send`; the cell of a number belongs to
// whoever popped the number.
unsafe impl<T: Send> Send for Stack<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: Send> Sync for Stack<T> {}

/// The segment of a number, and its place in it.
fn location(number: u32) -> (usize, usize) {
    let rank = number / FIRST + 1;
    let segment = rank.ilog2();
    ((segment as usize), (number - first_of(segment)) as usize)
}

/// The first number of a segment.
fn first_of(segment: u32) -> u32 {
    FIRST * ((1 << segment) - 1)
}

fn cells_of(segment: usize) -> usize {
    (FIRST as usize) << segment
}

impl<T> Stack<T> {
    /// The most values of any stack.
    pub const CAPACITY_MAX: usize = FIRST as usize * ((1 << SEGMENTS) - 1);

    /// A stack that grows as it must, up to [`Stack::CAPACITY_MAX`] values.
    #[must_use]
    pub fn new() -> Self {
        Self::bounded(Self::CAPACITY_MAX)
    }

    /// A stack for `capacity` values, at least one and at most [`Stack::CAPACITY_MAX`].
    #[must_use]
    pub fn bounded(capacity: usize) -> Self {
        Self {
            free: IndexStack::new(),
            full: IndexStack::new(),
            numbers: AtomicU32::new(0),
            capacity: u32::try_from(capacity.clamp(1, Self::CAPACITY_MAX)).unwrap_or(u32::MAX),
            segments: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// Puts `value` on top.
    ///
    /// # Errors
    ///
    /// The stack is full; the value comes back.
    pub fn push(&self, value: T) -> Result<(), T> {
        let Some(number) = self.free.pop(self).or_else(|| self.grow()) else { return Err(value) };
        // SAFETY: the number was popped or is new, so its cell is empty and this thread's alone until the push below.
        self.cell(number).value.with_mut(|cell| unsafe { (*cell).write(value) });
        self.full.push(self, number);
        Ok(())
    }

    /// Takes the value that was pushed last.
    pub fn pop(&self) -> Option<T> {
        let number = self.full.pop(self)?;
        Some(self.empty(number))
    }

    /// Takes every value, the last one first; those not taken when the iterator is dropped go back.
    pub fn take_all(&self) -> impl Iterator<Item = T> + '_ {
        self.full.take_all(self).map(|number| self.empty(number))
    }

    /// Whether nothing is there now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// How many values it takes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Takes the value out of the cell of a number that this thread popped, and frees the number.
    fn empty(&self, number: u32) -> T {
        // SAFETY: the number was popped from `full`, so its cell holds a value and is this thread's alone until the push.
        let value = self.cell(number).value.with(|cell| unsafe { (*cell).assume_init_read() });
        self.free.push(self, number);
        value
    }

    /// A number that was never used; `None`: there is none.
    #[cold]
    fn grow(&self) -> Option<u32> {
        // ORDER: Relaxed, both; numbers are only counted, their cells are published by the segment.
        let number = self.numbers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |numbers| {
            (numbers < self.capacity).then_some(numbers + 1)
        });
        let number = number.ok()?;
        let (segment, _) = location(number);
        // ORDER: Acquire pairs with the Release compare-exchange below.
        if self.segments[segment].load(Ordering::Acquire).is_null() {
            self.install(segment);
        }
        Some(number)
    }

    fn install(&self, segment: usize) {
        let cells: Box<[Cell<T>]> = (0..cells_of(segment))
            .map(|_| Cell { link: AtomicU32::new(0), value: UnsafeCell::new(MaybeUninit::uninit()) })
            .collect();
        let cells = Box::into_raw(cells);
        // ORDER: Release pairs with the Acquire loads in `grow` and `cell`: the cells are initialised.
        let installed = self.segments[segment].compare_exchange(
            ptr::null_mut(),
            cells.cast::<Cell<T>>(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        if installed.is_err() {
            // SAFETY: the pointer is from `into_raw` above and went nowhere.
            drop(unsafe { Box::from_raw(cells) });
        }
    }

    fn cell(&self, number: u32) -> &Cell<T> {
        let (segment, place) = location(number);
        // ORDER: Acquire pairs with the Release compare-exchange in `install`.
        let cells = self.segments[segment].load(Ordering::Acquire);
        // SAFETY: a number is handed out after its segment was installed, which has that many cells and lives as long as
        // the stack.
        unsafe { &*cells.add(place) }
    }
}

impl<T> Links for Stack<T> {
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.cell(index).link
    }
}

impl<T> Shared for Stack<T> {
    type Item = T;

    fn try_push(&self, value: T) -> Result<(), T> {
        self.push(value)
    }

    fn try_pop(&self) -> Option<T> {
        self.pop()
    }
}

impl<T> Default for Stack<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Frees the cells of a stack, whose values are gone.
struct Cells<'a, T>(&'a Stack<T>);

impl<T> Drop for Cells<'_, T> {
    fn drop(&mut self) {
        for (segment, cells) in self.0.segments.iter().enumerate() {
            // ORDER: Relaxed; only the drop of the stack makes this, and is ordered after every use.
            let cells = cells.load(Ordering::Relaxed);
            if !cells.is_null() {
                // SAFETY: the pointer comes from `into_raw` of a slice of that many cells, and nobody else is left.
                drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(cells, cells_of(segment))) });
            }
        }
    }
}

impl<T> Drop for Stack<T> {
    fn drop(&mut self) {
        let cells = Cells(self);
        super::drop_all(|| cells.0.pop().is_some());
    }
}

impl<T> fmt::Debug for Stack<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stack").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_cell_of_its_own() {
        let places: Vec<_> = (0..2_000).map(location).collect();
        assert_eq!((places[0], places[31], places[32], places[96]), ((0, 0), (0, 31), (1, 0), (2, 0)));
        assert!(places.iter().all(|(segment, place)| *place < cells_of(*segment)));
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
        let last = u32::try_from(Stack::<u8>::CAPACITY_MAX - 1).unwrap();
        assert_eq!(location(last), (SEGMENTS - 1, cells_of(SEGMENTS - 1) - 1));
    }

    #[test]
    fn a_take_cut_short_gives_back_the_rest() {
        let stack = Stack::new();
        for number in 0..100 {
            assert_eq!(stack.push(number), Ok(()));
        }
        assert_eq!(stack.take_all().next(), Some(99));
        assert_eq!(stack.take_all().count(), 99);
        assert!(stack.is_empty());
    }
}
