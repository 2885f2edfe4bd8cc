//! Cells: handle to cell, by two loads and no lock; and the word of a cell, which is all that a read or a write needs.
//!
//! ```text
//!   chunks   [ ● ─► 64 cells ][ ● ─► 64 cells ][ null ] …
//!
//!   word     seat of the instance : 8 │ index of the file : 24 │ its generation : 32
//!            or VACANT: whoever wants the file goes by the cell's desk, which is behind a mutex
//! ```
//!
//! A cell is made with its chunk and neither moved nor dropped while the map lives. The word carries the generation of the
//! file, which efio checks: a call that has read the word of a file that is closed meanwhile is refused there.
#![allow(unsafe_code, reason = "cells are shared by reference out of chunks behind atomic pointers")]

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use efio::Fd;

use crate::desk::Desk;

/// Handles in use at a time, at most.
pub(crate) const HANDLES: u32 = 1 << 20;
/// Cells in a chunk.
const CHUNK: u32 = 64;
/// No file that a call may go to without asking the desk.
const VACANT: u64 = u64::MAX;
/// The bits of an index; efio's own largest table has as many slots.
const INDEX_BITS: u32 = 24;

/// A file of an instance, in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    /// `None`: the file's index does not fit.
    pub(crate) fn new(seat: u8, fd: Fd) -> Option<Self> {
        if fd.index() >= 1 << INDEX_BITS {
            return None;
        }
        let word = u64::from(seat) << 56 | fd.to_bits();
        (word != VACANT).then_some(Self(word))
    }

    /// The instance's place among the instances.
    #[inline]
    pub(crate) fn seat(self) -> usize {
        (self.0 >> 56) as usize
    }

    /// The file.
    #[inline]
    pub(crate) fn fd(self) -> Fd {
        Fd::from_bits(self.0 & ((1 << 56) - 1))
    }
}

/// What is known of one handle.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Cell {
    word: AtomicU64,
    desk: Mutex<Desk>,
}

impl Cell {
    fn new() -> Self {
        Self { word: AtomicU64::new(VACANT), desk: Mutex::new(Desk::default()) }
    }

    /// The file behind the handle, if calls may go to it at once.
    #[inline]
    pub(crate) fn word(&self) -> Option<Word> {
        // ORDER: SeqCst pairs with `vacate`: of a call that has counted itself in and one who ends the instance, at least
        // one sees the other. A plain load on the machines that matter.
        let word = self.word.load(Ordering::SeqCst);
        (word != VACANT).then_some(Word(word))
    }

    /// Calls may go to the file at once. By the holder of the desk.
    pub(crate) fn occupy(&self, word: Word) {
        // ORDER: Release pairs with `word`: the instance is in its seat.
        self.word.store(word.0, Ordering::Release);
    }

    /// Every call asks the desk from here on. By the holder of the desk.
    pub(crate) fn vacate(&self) {
        // ORDER: SeqCst pairs with `word`, see there.
        self.word.store(VACANT, Ordering::SeqCst);
    }

    /// Everything else about the handle.
    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cells found by handle; see the head of this file.
#[derive(Debug)]
pub(crate) struct Cells {
    chunks: Box<[AtomicPtr<Cell>]>,
}

impl Cells {
    /// An empty map. `None`: no memory.
    pub(crate) fn new() -> Option<Self> {
        let mut chunks = Vec::new();
        chunks.try_reserve_exact((HANDLES / CHUNK) as usize).ok()?;
        chunks.resize_with((HANDLES / CHUNK) as usize, || AtomicPtr::new(std::ptr::null_mut()));
        Some(Self { chunks: chunks.into_boxed_slice() })
    }

    /// The cell of a handle; `None` if the number, or one close to it, was never given out.
    #[inline]
    pub(crate) fn get(&self, handle: i32) -> Option<&Cell> {
        // A negative number is beyond the last chunk.
        let handle = handle as u32;
        // ORDER: Acquire pairs with the Release half of the compare-exchange in `make`.
        let chunk = self.chunks.get((handle / CHUNK) as usize)?.load(Ordering::Acquire);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: a chunk that is not null holds `CHUNK` cells, made before it was published and neither moved nor
        // dropped while the map lives; the reference borrows the map.
        Some(unsafe { &*chunk.add((handle % CHUNK) as usize) })
    }

    /// The cell of a handle that is about to be given out. `None`: no memory, or no such handle.
    pub(crate) fn make(&self, handle: u32) -> Option<&Cell> {
        let place = self.chunks.get((handle / CHUNK) as usize)?;
        // ORDER: Acquire pairs with the Release half of the compare-exchange below.
        if place.load(Ordering::Acquire).is_null() {
            let mut cells = Vec::new();
            cells.try_reserve_exact(CHUNK as usize).ok()?;
            cells.resize_with(CHUNK as usize, Cell::new);
            let fresh = Box::into_raw(cells.into_boxed_slice()).cast::<Cell>();
            // ORDER: AcqRel; its Release half pairs with the Acquire loads of the chunk; on failure Acquire pairs with the
            // winner's Release.
            let won =
                place.compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire);
            if won.is_err() {
                // SAFETY: `fresh` was made just above, was published nowhere, and is dropped once.
                unsafe { drop_chunk(fresh) };
            }
        }
        self.get(handle as i32)
    }

    /// Every cell that was made, with its handle.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Cell)> {
        (0..HANDLES)
            .step_by(CHUNK as usize)
            .filter(|first| self.get(*first as i32).is_some())
            .flat_map(|first| first..first + CHUNK)
            .filter_map(|handle| self.get(handle as i32).map(|cell| (handle, cell)))
    }
}

/// Drops the cells of a chunk and frees its memory.
///
/// # Safety
///
/// `chunk` came from `Cells::make`, is used by nobody else, and is dropped once.
unsafe fn drop_chunk(chunk: *mut Cell) {
    let cells = std::ptr::slice_from_raw_parts_mut(chunk, CHUNK as usize);
    // SAFETY: the memory came from a boxed slice of `CHUNK` cells; the caller gives it up.
    drop(unsafe { Box::from_raw(cells) });
}

impl Drop for Cells {
    fn drop(&mut self) {
        for chunk in &self.chunks {
            // ORDER: Acquire pairs with the Release half of the compare-exchange in `make`.
            let chunk = chunk.load(Ordering::Acquire);
            if !chunk.is_null() {
                // SAFETY: `&mut self`: no reference to a cell lives; each chunk is in one place.
                unsafe { drop_chunk(chunk) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_is_answered_and_only_made_ones_have_a_cell() {
        let cells = Cells::new().unwrap();
        for handle in [i32::MIN, -1, 0, 63, 64, HANDLES as i32 - 1, HANDLES as i32, i32::MAX] {
            assert!(cells.get(handle).is_none(), "{handle}");
        }
        assert!(cells.make(HANDLES).is_none());
        assert!(cells.make(64).is_some());
        assert!(cells.get(64).is_some() && cells.get(63).is_none() && cells.get(128).is_none());
        assert_eq!(cells.iter().map(|(handle, _)| handle).collect::<Vec<_>>(), (64..128).collect::<Vec<_>>());
    }

    #[test]
    fn a_word_holds_the_seat_and_the_file() {
        let fd = Fd::from_bits(0x00ab_cdef_1234_5678);
        let word = Word::new(9, fd).unwrap();
        assert_eq!((word.seat(), word.fd()), (9, fd));
        assert!(Word::new(0, Fd::from_bits(1 << 56)).is_none(), "an index of 25 bits");
        let cell = Cell::new();
        assert!(cell.word().is_none());
        cell.occupy(word);
        assert_eq!(cell.word(), Some(word));
        cell.vacate();
        assert!(cell.word().is_none());
    }

    #[test]
    fn threads_that_make_the_same_chunk_get_the_same_cells() {
        let cells = Cells::new().unwrap();
        std::thread::scope(|scope| {
            let make = || std::ptr::from_ref(cells.make(7).unwrap()).addr();
            let made: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            let made: Vec<_> = made.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert!(made.iter().all(|cell| *cell == made[0]));
        });
    }
}
