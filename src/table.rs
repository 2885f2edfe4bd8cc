//! The table: index to slot, lowest free index first, without a lock and without moving a slot.
//!
//! ```text
//!  chunks   [ ● ─► 64 slots ][ ● ─► 64 slots ][ null ][ null ] …      get: two loads
//!
//!  bitmap   level 2          one bit per word of level 1: "that word is full"
//!           level 1          one bit per word of level 0: "that word is full"
//!           level 0          one bit per slot: "claimed"
//! ```
//!
//! A claim walks from the top through words that are not said to be full, so it finds the lowest
//! free index in as many steps as there are levels (four for 16,777,216 slots). All zero means all
//! free, and both arrays are memory that costs nothing until it is written: an unused slot weighs
//! one bit of bitmap and one bit's share of a chunk pointer, both only as address space.
//!
//! Invariants:
//! - A slot is made before its index is first given out, and neither moved nor dropped while the
//!   table lives. So a reference to a slot is good for as long as the table.
//! - Level 0 is the truth; the levels above are hints. A hint "not full" that is wrong costs a step.
//!   A hint "full" that is wrong would lose slots, so it never lasts: who sets it looks at the word
//!   again and takes it back, who frees a bit in a full word clears it, and both are
//!   read-modify-writes of the hint, so that the later of the two sees what the earlier one did.
//! - `used` is never more than the claimed bits: added after a claim, taken off before a release.
//!   So `used == limit` is a true "full"; short of it a claim that found nothing scans level 0.

#![allow(unsafe_code, reason = "slots are shared by reference out of chunks behind atomic pointers")]

use crate::sync::zeroed;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Slots in a chunk, and bits in a word of the bitmap. Small under loom, so that words fill up.
const CHUNK: u32 = if cfg!(efio_loom) { 2 } else { 64 };
/// A word of the bitmap with every bit set.
const FULL: u64 = !0 >> (u64::BITS - CHUNK);
/// The largest table: four levels of 64-bit words.
pub(crate) const LIMIT_MAX: u32 = 1 << 24;

/// Slots found by index; see the head of this file.
pub(crate) struct Table<T> {
    chunks: Box<[AtomicPtr<T>]>,
    /// The bitmap, from the slots' own bits up to a level of one word.
    levels: Vec<Box<[AtomicU64]>>,
    used: AtomicU32,
    limit: u32,
    make: fn(u32) -> T,
}

impl<T> std::fmt::Debug for Table<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Table")
            .field("limit", &self.limit)
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl<T: Send + Sync> Table<T> {
    /// An empty table for `limit` slots (1 to [`LIMIT_MAX`]; others are moved into that range), each
    /// made by `make` from its index. `None` if the memory for its two arrays is refused.
    pub(crate) fn new(limit: u32, make: fn(u32) -> T) -> Option<Self> {
        let limit = limit.clamp(1, LIMIT_MAX);
        let mut levels: Vec<Box<[AtomicU64]>> = Vec::new();
        let mut bits = limit;
        loop {
            let words = zeroed::array::<AtomicU64>(bits.div_ceil(CHUNK) as usize)?;
            if let (Some(last), used @ 1..) = (words.last(), bits % CHUNK) {
                // ORDER: Relaxed; the table is not shared yet. Bits beyond the limit are never free.
                last.store(FULL & (FULL << used), Ordering::Relaxed);
            }
            bits = bits.div_ceil(CHUNK);
            levels.push(words);
            if bits == 1 {
                break;
            }
        }
        let chunks = zeroed::array(limit.div_ceil(CHUNK) as usize)?;
        Some(Self { chunks, levels, used: AtomicU32::new(0), limit, make })
    }

    /// Claims the lowest free index, and makes its chunk of slots if it is the first there.
    ///
    /// `None`: all are claimed, or the memory for a chunk is refused. Exact for one claiming thread,
    /// best effort among several.
    pub(crate) fn claim(&self) -> Option<u32> {
        // ORDER: Acquire pairs with the Release fetch_sub in `release`: a slot is about to be free.
        if self.used.load(Ordering::Acquire) >= self.limit {
            return None;
        }
        let index = self.claim_lowest().or_else(|| self.claim_by_scan())?;
        // ORDER: Relaxed; after the claim of the bit in program order, see the invariant on `used`;
        // pairs with the load above, for which an older number is only a longer way to "full".
        self.used.fetch_add(1, Ordering::Relaxed);
        if self.chunk_made(index).is_none() {
            self.release(index);
            return None;
        }
        Some(index)
    }

    /// Walks from the top; every wrong turn corrects the hint that led there. `None`: said to be full.
    fn claim_lowest(&self) -> Option<u32> {
        'from_the_top: loop {
            let mut position = 0_usize;
            for level in (0..self.levels.len()).rev() {
                // ORDER: Acquire pairs with the AcqRel fetch_and in `release` and `clear_hint`.
                let word = self.levels[level][position].load(Ordering::Acquire);
                if word == FULL {
                    if level + 1 == self.levels.len() {
                        return None;
                    }
                    self.set_hint(level, position);
                    continue 'from_the_top;
                }
                position = position * CHUNK as usize + word.trailing_ones() as usize;
            }
            if self.claim_bit(position) {
                return Some(position as u32);
            }
        }
    }

    /// Looks at every word of slots: the hints may say full while a release is half way.
    fn claim_by_scan(&self) -> Option<u32> {
        for (place, bits) in self.levels[0].iter().enumerate() {
            loop {
                // ORDER: Acquire pairs with the AcqRel fetch_and in `release`.
                let word = bits.load(Ordering::Acquire);
                if word == FULL {
                    break;
                }
                let index = place * CHUNK as usize + word.trailing_ones() as usize;
                if self.claim_bit(index) {
                    return Some(index as u32);
                }
            }
        }
        None
    }

    /// Claims one slot's bit; false if another was faster.
    fn claim_bit(&self, index: usize) -> bool {
        let (place, bit) = (index / CHUNK as usize, 1_u64 << (index % CHUNK as usize));
        // ORDER: AcqRel; its Acquire half pairs with the AcqRel fetch_and in `release`: the claimer
        // sees all that the slot's last owner did.
        let old = self.levels[0][place].fetch_or(bit, Ordering::AcqRel);
        if old & bit != 0 {
            return false;
        }
        if old | bit == FULL {
            self.set_hint(0, place);
        }
        true
    }

    /// Says on the levels above that word `place` of `level` is full, and takes it back if it is not.
    fn set_hint(&self, level: usize, place: usize) {
        let (mut level, mut place) = (level, place);
        while level + 1 < self.levels.len() {
            let (above, bit) = (place / CHUNK as usize, 1_u64 << (place % CHUNK as usize));
            // ORDER: AcqRel pairs with the AcqRel fetch_and in `clear_hint`: if that one came first,
            // the load below sees the bit that was freed before it.
            let old = self.levels[level + 1][above].fetch_or(bit, Ordering::AcqRel);
            // ORDER: Acquire, ordered after the fetch_or above; pairs with the fetch_and of a release.
            if self.levels[level][place].load(Ordering::Acquire) != FULL {
                self.clear_hint(level, place);
                return;
            }
            if old | bit != FULL {
                return;
            }
            (level, place) = (level + 1, above);
        }
    }

    /// Says on the levels above that word `place` of `level` has a free bit.
    fn clear_hint(&self, level: usize, place: usize) {
        let (mut level, mut place) = (level, place);
        while level + 1 < self.levels.len() {
            let (above, bit) = (place / CHUNK as usize, 1_u64 << (place % CHUNK as usize));
            // ORDER: AcqRel pairs with the AcqRel fetch_or in `set_hint`, and the Acquire load in
            // `claim_lowest`.
            let old = self.levels[level + 1][above].fetch_and(!bit, Ordering::AcqRel);
            if old != FULL {
                return;
            }
            (level, place) = (level + 1, above);
        }
    }

    /// The chunk that holds `index`, made if there is none; `None` if memory is refused.
    fn chunk_made(&self, index: u32) -> Option<*mut T> {
        let chunk = &self.chunks[(index / CHUNK) as usize];
        // ORDER: Acquire pairs with the Release half of the compare-exchange below.
        let present = chunk.load(Ordering::Acquire);
        if !present.is_null() {
            return Some(present);
        }
        let first = index / CHUNK * CHUNK;
        let mut slots = Vec::new();
        slots.try_reserve_exact(CHUNK as usize).ok()?;
        slots.extend((first..first + CHUNK).map(self.make));
        let fresh = Box::into_raw(slots.into_boxed_slice()).cast::<T>();
        // ORDER: AcqRel; its Release half pairs with the Acquire loads of the chunk here and in
        // `get`; on failure Acquire pairs with the winner's Release.
        match chunk.compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(fresh),
            Err(present) => {
                // SAFETY: `fresh` came from `chunk_made` just above, was published nowhere, and is
                // dropped once, here.
                unsafe { drop_chunk(fresh) };
                Some(present)
            }
        }
    }

    /// Gives `index` back. The caller claimed it and is done with its slot.
    pub(crate) fn release(&self, index: u32) {
        let (place, bit) = ((index / CHUNK) as usize, 1_u64 << (index % CHUNK));
        // ORDER: Release pairs with the Acquire load in `claim`; before the bit is freed, see the
        // invariant on `used`.
        self.used.fetch_sub(1, Ordering::Release);
        // ORDER: AcqRel; its Release half pairs with the fetch_or in `claim_bit`.
        let old = self.levels[0][place].fetch_and(!bit, Ordering::AcqRel);
        debug_assert!(old & bit != 0, "slot {index} released twice");
        if old == FULL {
            self.clear_hint(0, place);
        }
    }
}

impl<T> Table<T> {
    /// The slot of `index`, claimed or not; `None` if its chunk was never made.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        if index >= self.limit {
            return None;
        }
        // ORDER: Acquire pairs with the Release half of the compare-exchange in `chunk_made`.
        let chunk = self.chunks.get((index / CHUNK) as usize)?.load(Ordering::Acquire);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: a chunk that is not null holds `CHUNK` slots, made before it was published and
        // neither moved nor dropped while the table lives (kept by `chunk_made` and `drop`); the
        // reference returned borrows the table.
        Some(unsafe { &*chunk.add((index % CHUNK) as usize) })
    }

    /// Every slot that was made, claimed or not, with its index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.iter_from(0)
    }

    /// Those from this index on; nothing before it is looked at.
    pub(crate) fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &T)> {
        let chunks = (from / CHUNK..self.limit.div_ceil(CHUNK)).map(|chunk| chunk * CHUNK);
        chunks.filter(|first| self.get(*first).is_some()).flat_map(move |first| {
            (first.max(from)..(first + CHUNK).min(self.limit))
                .filter_map(|index| self.get(index).map(|slot| (index, slot)))
        })
    }

    /// The next claim would find nothing.
    pub(crate) fn is_full(&self) -> bool {
        self.used() >= self.limit
    }

    /// How many indexes are claimed.
    pub(crate) fn used(&self) -> u32 {
        // ORDER: Acquire pairs with the fetch_add and fetch_sub in `claim` and `release`.
        self.used.load(Ordering::Acquire)
    }
}

/// Drops the slots of a chunk and frees its memory.
///
/// # Safety
///
/// `chunk` came from `Table::chunk_made`, is used by nobody else, and is dropped once.
unsafe fn drop_chunk<T>(chunk: *mut T) {
    let slots = std::ptr::slice_from_raw_parts_mut(chunk, CHUNK as usize);
    // SAFETY: the memory came from a boxed slice of `CHUNK` slots; the caller gives it up.
    drop(unsafe { Box::from_raw(slots) });
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        for chunk in &self.chunks {
            // ORDER: Acquire pairs with the Release half of the compare-exchange in `chunk_made`.
            let chunk = chunk.load(Ordering::Acquire);
            if !chunk.is_null() {
                // SAFETY: `&mut self`: no reference to a slot lives; each chunk is in one place.
                unsafe { drop_chunk(chunk) };
            }
        }
    }
}

// SAFETY: the table owns its slots; they may be dropped by another thread than made them.
unsafe impl<T: Send> Send for Table<T> {}
// SAFETY: shared use gives `&T` to several threads, and a slot made by one is dropped by another.
unsafe impl<T: Send + Sync> Sync for Table<T> {}

#[cfg(all(test, not(efio_loom)))]
mod tests;
