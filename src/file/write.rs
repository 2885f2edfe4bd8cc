//! The write side of a file: copy into the open page and return; open the next page when it is full.
//!
//! ```text
//!   current = s          cell[s & 1]      OPEN      ◄── writers reserve, copy, commit
//!                        cell[s+1 & 1]    EMPTY     ◄── the next page, once s is sealed
//! ```
//!
//! At most one cell is open and unsealed at a time, so the order of reservations is the order of bytes. A writer that
//! is held up in page `s` does not stop page `s + 1`; only page `s + 2` has to wait for its cell.
//!
//! What a writer does on its way is all there is: one compare-exchange, a copy, one subtraction, one look at whether the
//! timer knows. Pages come from the pool's ready stack; none there means a refusal, never a wait.
#![allow(
    unsafe_code,
    reason = "copies the caller's bytes into a page that writers share; stripes pass through a pointer"
)]

use crate::config::Order;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::page::{Class, Page};
use crate::queue::IndexList;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence, light_fence, prefetch_for_write};

use super::Slot;
use super::cell::{Cell, Completer, Placement, Reserve};
use super::commons::Commons;
use super::note::{GRANULE, Sealed};
use super::opener::Patience;
use super::state::{Phase, Snapshot, flag, mail, want};
use super::stripe::Stripes;

/// The bits of `held` that count granules: more than the largest pool has.
const HELD_BITS: u32 = 30;
const HELD: u32 = (1 << HELD_BITS) - 1;

/// See the head of this file. In the order of who touches what: the slot sees to it that the last two, which engine threads
/// change with each write, are not on a cache line of what writers change with each call.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct WriteSide {
    pub(crate) cells: [Cell; 2],
    pub(crate) current: AtomicU32,
    /// The most granules that accepted bytes may hold.
    pub(crate) held_limit: AtomicU32,
    pub(crate) interval_ns: AtomicU64,
    /// Accepted bytes up to and with the last step to another place: once they are written, what is not is one run.
    scattered: AtomicU64,
    /// Made when the slot first has a file whose threads have an order each, and kept for the slot's life.
    stripes: AtomicPtr<Stripes>,
    /// Complete pages on their way to the actor.
    pub(crate) sealed: IndexList,
    /// Granules that accepted bytes hold; above them, in two bits, the class of the next page.
    held: AtomicU32,
}

/// Where the part that engine threads change begins.
#[cfg(all(not(efio_loom), target_os = "linux", target_pointer_width = "64"))]
pub(super) const ENGINE_PART: usize = std::mem::offset_of!(WriteSide, sealed);

/// Whether a call comes from the owning `File`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Owner,
    Descriptor,
}

impl WriteSide {
    pub(crate) fn new() -> Self {
        Self {
            cells: [Cell::new(), Cell::new()],
            current: AtomicU32::new(0),
            held_limit: AtomicU32::new(0),
            interval_ns: AtomicU64::new(0),
            scattered: AtomicU64::new(0),
            stripes: AtomicPtr::new(std::ptr::null_mut()),
            sealed: IndexList::new(),
            held: AtomicU32::new(0),
        }
    }

    /// A new life of the slot, before its handle exists: no page, at file offset `base`.
    pub(crate) fn reset(&self, generation: u32, limit_bytes: usize, interval_ns: u64, order: Order) {
        let placement = Placement::default();
        self.cells[0].reset(generation, placement);
        self.cells[1].reset(generation, placement);
        // ORDER: Relaxed: all of these are published by the transition to OPENING's `put_request` and `post`.
        self.current.store(0, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        self.held_limit.store((limit_bytes / GRANULE).max(1) as u32, Ordering::Relaxed);
        self.set_class(Class::Small);
        // ORDER: Relaxed: as above.
        self.interval_ns.store(interval_ns, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        self.scattered.store(0, Ordering::Relaxed);
        self.reset_stripes(generation, order == Order::PerThread);
        debug_assert!(self.sealed.is_empty(), "the last life wrote or dropped all its pages");
    }

    fn reset_stripes(&self, generation: u32, in_use: bool) {
        // ORDER: Relaxed: as in `reset`.
        if in_use && self.stripes.load(Ordering::Relaxed).is_null() {
            // ORDER: Release publishes the empty stripes to a late caller of an earlier life, too; pairs with `stripes`.
            self.stripes.store(Box::into_raw(Box::new(Stripes::new())), Ordering::Release);
        }
        // ORDER: Acquire: as in `stripes`.
        let stripes = self.stripes.load(Ordering::Acquire);
        // SAFETY: the box is freed with the slot only.
        if let Some(stripes) = unsafe { stripes.as_ref() } {
            stripes.reset(generation, in_use);
        }
    }

    /// The stripes of a file whose threads have an order each; `None` for every other file.
    #[inline]
    pub(crate) fn stripes(&self) -> Option<&Stripes> {
        // ORDER: Acquire pairs with `reset_stripes`.
        let stripes = self.stripes.load(Ordering::Acquire);
        // SAFETY: the box is freed with the slot only.
        unsafe { stripes.as_ref() }.filter(|stripes| stripes.is_in_use())
    }

    /// What is accepted now, as the place of a request in the file's order. By the one who makes the request.
    pub(crate) fn mark_place(&self) -> u64 {
        self.stripes().map_or_else(|| self.accepted(), Stripes::set_marks)
    }

    /// The most bytes of pages that the file may hold.
    pub(crate) fn limit_bytes(&self) -> usize {
        // ORDER: Relaxed: set before the handle existed.
        self.held_limit.load(Ordering::Relaxed) as usize * GRANULE
    }

    #[inline]
    pub(crate) fn interval_ns(&self) -> u64 {
        // ORDER: Relaxed: set before the file could be dirty.
        self.interval_ns.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn current(&self) -> u32 {
        // ORDER: Acquire pairs with the Release store in `advance`: the cell of `current` says where its bytes begin.
        self.current.load(Ordering::Acquire)
    }

    /// The opener of the cell after `current`: where the bytes of that cell begin, and then its number. While the cell is
    /// claimed the slot stays this file's. An opener that let the cell go first might be held up, and store the number
    /// into the file that has the slot next.
    pub(crate) fn advance(&self, current: u32, placement: Placement) {
        let next = current.wrapping_add(1);
        self.cell(next).prepare(placement);
        // ORDER: Release publishes the prepared cell; pairs with `current`.
        self.current.store(next, Ordering::Release);
    }

    #[inline]
    pub(crate) fn cell(&self, number: u32) -> &Cell {
        &self.cells[number as usize & 1]
    }

    /// Bytes accepted since the open, and the offset in the file at which the next one goes.
    pub(crate) fn end(&self) -> (u64, u64) {
        if let Some(stripes) = self.stripes() {
            // Such a file begins at 0 and has nothing to seek with.
            let accepted = stripes.accepted();
            return (accepted, accepted);
        }
        loop {
            let current = self.current();
            let cell = self.cell(current);
            let (word, placement) = (cell.load(), cell.placement());
            // ORDER: Acquire: the reads above are done before the look below, so if `current` stands, the cell was not
            // set up anew meanwhile (that is for `current + 2`, after `current + 1`).
            fence(Ordering::Acquire);
            if self.current() == current {
                let position = u64::from(word.position());
                return (placement.start + position, placement.base + position);
            }
        }
    }

    /// The opener: bytes go on elsewhere than behind the `accepted` ones.
    pub(super) fn scatter(&self, accepted: u64) {
        // ORDER: Release: the opener's field; published by the cell or by `current`, which follow. Pairs with `scattered`.
        self.scattered.store(accepted, Ordering::Release);
    }

    /// Accepted bytes after which what is accepted lies in one run.
    pub(super) fn scattered(&self) -> u64 {
        // ORDER: Acquire pairs with `scatter`; the caller has looked at `end` before.
        self.scattered.load(Ordering::Acquire)
    }

    /// The append end is lent to a caller by descriptor.
    pub(crate) fn is_lent(&self) -> bool {
        self.cells.iter().any(|cell| cell.load().is_lent())
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.end().0
    }

    pub(crate) fn held(&self) -> u32 {
        // ORDER: Relaxed: a count; refusals look again under `Want`.
        self.held.load(Ordering::Relaxed) & HELD
    }

    /// Counts a page in; gives the granules that were held before.
    pub(super) fn hold(&self, page: &Page) -> u32 {
        // ORDER: Relaxed: a count, taken down by the actor when the page goes back.
        self.held.fetch_add((page.capacity() / GRANULE) as u32, Ordering::Relaxed) & HELD
    }

    /// Counts a page out.
    pub(super) fn let_go(&self, page: &Page) {
        // ORDER: Relaxed: a count; a refused writer looks again under `Want`, whose `take` follows.
        self.held.fetch_sub((page.capacity() / GRANULE) as u32, Ordering::Relaxed);
    }

    /// The class that the next page is to have.
    pub(super) fn class(&self) -> Class {
        // ORDER: Relaxed: a hint; `cool` may come between two looks.
        let class = self.held.load(Ordering::Relaxed) >> HELD_BITS;
        Class::ALL[(class as usize).min(Class::ALL.len() - 1)]
    }

    pub(super) fn set_class(&self, class: Class) {
        let with = |held: u32| Some(held & HELD | (class as u32) << HELD_BITS);
        // ORDER: Relaxed: a count and a hint, neither of which publishes anything.
        let _ = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with);
    }

    /// The next page is small again: the timer came before the last one was full.
    pub(crate) fn cool(&self) {
        self.set_class(Class::Small);
    }
}

impl Drop for WriteSide {
    fn drop(&mut self) {
        // ORDER: AcqRel: nobody else is left.
        let stripes = self.stripes.swap(std::ptr::null_mut(), Ordering::AcqRel);
        if !stripes.is_null() {
            // SAFETY: it came from `Box::into_raw` in `reset_stripes`, and the swap makes this the only taker.
            drop(unsafe { Box::from_raw(stripes) });
        }
    }
}

/// Why a file takes no writes, or `None` while it does.
pub(crate) fn refusal(slot: &Slot, seen: Snapshot, fd: Fd, caller: Caller) -> Option<Error> {
    let plain = |kind| Some(Error::plain(kind, Operation::Write, Some(fd)));
    if !seen.is(fd) || matches!(seen.phase(), Phase::Closing | Phase::Closed | Phase::Op | Phase::Free) {
        return plain(ErrorKind::Stale);
    }
    if seen.has(flag::ENDING) {
        return plain(ErrorKind::Shutdown);
    }
    if seen.has(flag::POISONED) {
        return Some(
            slot.first_error()
                .unwrap_or_else(|| Error::plain(ErrorKind::Panicked, Operation::Write, Some(fd))),
        );
    }
    if seen.phase() == Phase::Opening {
        let failed = if seen.has(flag::FAILED) { slot.first_error() } else { None };
        return failed.or_else(|| plain(ErrorKind::WouldBlock));
    }
    if !seen.has(flag::WRITE) {
        return plain(ErrorKind::NotPermitted);
    }
    if seen.has(flag::OWNED) && caller == Caller::Descriptor {
        return plain(ErrorKind::Busy);
    }
    None
}

impl Commons {
    /// `ef_write`: see the head of this file.
    #[inline]
    pub(crate) fn write(&self, fd: Fd, bytes: &[u8]) -> Result<usize> {
        let Some(slot) = self.slot(fd) else { return Err(Error::stale(Operation::Write, fd)) };
        let cell = slot.write.cell(slot.write.current());
        if let Reserve::Granted { position, bytes: taken } =
            cell.reserve(fd.generation(), bytes.len(), self.limits.whole_write)
        {
            // Where a caller's length is known as it is compiled, so is that of the copy.
            let part = if taken as usize == bytes.len() { bytes } else { &bytes[..taken as usize] };
            self.append(slot, cell, position, part);
            return Ok(part.len());
        }
        match slot.write.stripes() {
            Some(stripes) => self.write_striped(slot, stripes, fd, bytes),
            None => self.write_slowly(slot, fd, bytes),
        }
    }

    /// Copies into reserved room and commits.
    #[inline]
    fn append(&self, slot: &Slot, cell: &Cell, position: u32, bytes: &[u8]) {
        let start = page_start(cell.page()).wrapping_add(position as usize);
        // SAFETY: the reservation made `[position, position + len)` of the page this writer's alone, and its count in the
        // cell keeps the page from being handed over before `commit`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
        prefetch_next(start, bytes.len());
        if cell.commit() == Completer::Yes {
            self.hand_over(slot, cell);
        }
        self.note_dirty(slot);
    }

    /// Lets the timer know of accepted bytes, unless it knows.
    #[inline]
    pub(crate) fn note_dirty(&self, slot: &Slot) {
        light_fence();
        if !slot.armed.is_set() {
            self.tell_timer(slot);
        }
    }

    #[cold]
    fn tell_timer(&self, slot: &Slot) {
        if slot.state.load().has(flag::EAGER) {
            // Such a file is never armed, so each of its writes comes here.
            self.post(slot, mail::FLUSH);
        } else {
            self.arm(slot);
        }
    }

    #[cold]
    fn write_slowly(&self, slot: &Slot, fd: Fd, bytes: &[u8]) -> Result<usize> {
        let mut patience = Patience::new();
        loop {
            if let Some(error) = refusal(slot, slot.state.load(), fd, Caller::Descriptor) {
                return Err(self.refuse_unless_open(slot, error));
            }
            if bytes.is_empty() {
                return Ok(0);
            }
            let current = slot.write.current();
            let cell = slot.write.cell(current);
            match cell.reserve(fd.generation(), bytes.len(), self.limits.whole_write) {
                Reserve::Granted { position, bytes: taken } => {
                    self.append(slot, cell, position, &bytes[..taken as usize]);
                    return Ok(taken as usize);
                }
                Reserve::Stale => return Err(Error::stale(Operation::Write, fd)),
                Reserve::Full => self.seal(slot, cell, fd.generation()),
                Reserve::NotOpen | Reserve::Crowded => {}
            }
            let room = self.open_next(slot, fd, current, bytes.len(), Caller::Descriptor);
            if !patience.try_again(self, slot, room) {
                return Err(Error::would_block(Operation::Write, fd));
            }
        }
    }

    /// A refusal for want of the open is owed an event; if the open is done by now, the caller may try again.
    pub(crate) fn refuse_unless_open(&self, slot: &Slot, error: Error) -> Error {
        if error.is_would_block() {
            slot.want.set(want::WRITE);
            if slot.state.load().phase() != Phase::Opening && slot.want.take(want::WRITE) != 0 {
                self.raise(slot, Readiness::WRITABLE.bits());
            }
        }
        error
    }

    /// Seals a cell; hands its page over if that falls to this caller.
    pub(crate) fn seal(&self, slot: &Slot, cell: &Cell, generation: u32) {
        if cell.seal(generation) == Some(Completer::Yes) {
            self.hand_over(slot, cell);
        }
    }

    /// The completer gives the page to the actor and the cell to the next opener.
    pub(crate) fn hand_over(&self, slot: &Slot, cell: &Cell) {
        let (page, _, len) = cell.complete();
        let index = self.notes.write(Sealed { page, len, placement: cell.placement() });
        let _ = slot.write.sealed.push(&self.notes, index);
        cell.empty();
        self.turn_over(slot);
        self.post(slot, mail::PAGE);
    }
}

/// A writer of such calls or smaller ones is spared the wait for the lines that it will write next.
const PREFETCHED: usize = 512;
/// How far ahead of the position lines are asked for, in bytes: a dozen calls, the time that lines take which another
/// processor has just read.
const PREFETCH_AHEAD: usize = 1536;

/// Asks for the lines of the calls to come, behind a small one of `len` bytes at `start`.
#[inline(always)]
pub(crate) fn prefetch_next(start: *mut u8, len: usize) {
    if len <= PREFETCHED {
        prefetch_for_write(start.wrapping_add(PREFETCH_AHEAD), len);
    }
}

/// Asks for the first lines of a page that is about to take calls of `len` bytes: the calls that ask ahead for these were
/// made in the page before.
#[inline]
pub(crate) fn prefetch_first(page: &Page, len: usize) {
    if len <= PREFETCHED {
        prefetch_for_write(page.as_ptr().as_ptr(), PREFETCH_AHEAD + len);
    }
}

/// The first byte of a cell's page, from its word.
#[inline]
pub(crate) fn page_start(raw: *mut u8) -> *mut u8 {
    raw.map_addr(|address| address & !7)
}
