//! Writes by offset: a page of its own in the file's order, put where the caller said.
//!
//! ```text
//!   pages   [ 7: at 40960 | 8: at 0, by offset | 9: at 45056 ]   the order of acceptance is the order of writing
//! ```
//!
//! The bytes are copied into a page before anything is claimed. Under the opener's right, for some hundred nanoseconds,
//! the open page is sealed, the new one gets the next number, and the place where the next `ef_write` goes stays where it
//! was. From there on it is a page like any other: counted in `accepted`, written in its turn, covered by syncs,
//! truncates, stalls, poison and aborts, and bounded by the same limits.
#![allow(unsafe_code, reason = "copies the caller's bytes into a page that nobody else knows yet")]

use std::io::IoSlice;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::fd::Fd;
use crate::page::{Class, Page};
use crate::sync::Ordering;

use super::Slot;
use super::cell::{Completer, Placement, Reserve};
use super::commons::Commons;
use super::note::{GRANULE, Sealed};
use super::opener::{Patience, Room};
use super::state::{flag, mail};
use super::write::{Caller, page_start, refusal};

/// The last offset that a byte may have, and one more: what off_t holds.
pub(crate) const OFFSET_END: u64 = i64::MAX as u64;

/// Copies as much of `from` as `into` holds.
pub(super) fn copy_all(from: &[IoSlice<'_>], into: *mut u8, bytes: usize) {
    let mut done = 0;
    for slice in from {
        let step = slice.len().min(bytes - done);
        // SAFETY: the caller has `bytes` bytes from `into` on to itself, and `done + step` is at most that.
        unsafe { std::ptr::copy_nonoverlapping(slice.as_ptr(), into.add(done), step) };
        done += step;
    }
}

/// A page taken and filled, and not in the file's order yet.
struct Filled {
    page: Page,
    len: usize,
}

impl Commons {
    /// `ef_writev`: as `ef_write` of all slices one behind the other.
    pub(crate) fn write_vectored(&self, fd: Fd, from: &[IoSlice<'_>]) -> Result<usize> {
        let Some(slot) = self.slot(fd) else { return Err(Error::stale(Operation::Write, fd)) };
        let total: usize = from.iter().map(|slice| slice.len()).sum();
        let mut patience = Patience::new();
        loop {
            if let Some(error) = refusal(slot, slot.state.load(), fd, Caller::Descriptor) {
                return Err(self.refuse_unless_open(slot, error));
            }
            if total == 0 {
                return Ok(0);
            }
            if let Some(stripes) = slot.write.stripes() {
                return self.write_striped_slowly(slot, stripes, fd, from, Caller::Descriptor);
            }
            let current = slot.write.current();
            let cell = slot.write.cell(current);
            match cell.reserve(fd.generation(), total, self.limits.whole_write) {
                Reserve::Granted { position, bytes } => {
                    let start = page_start(cell.page()).wrapping_add(position as usize);
                    // The reservation made these bytes of the page this writer's alone until `commit`.
                    copy_all(from, start, bytes as usize);
                    if cell.commit() == Completer::Yes {
                        self.hand_over(slot, cell);
                    }
                    self.note_dirty(slot);
                    return Ok(bytes as usize);
                }
                Reserve::Stale => return Err(Error::stale(Operation::Write, fd)),
                Reserve::Full => self.seal(slot, cell, fd.generation()),
                Reserve::NotOpen | Reserve::Crowded => {}
            }
            let room = self.open_next(slot, fd, current, total, Caller::Descriptor);
            if !patience.try_again(self, slot, room) {
                return Err(Error::would_block(Operation::Write, fd));
            }
        }
    }

    /// `ef_write_at`: see the head of this file.
    pub(crate) fn write_at(
        &self,
        fd: Fd,
        from: &[IoSlice<'_>],
        offset: u64,
        caller: Caller,
    ) -> Result<usize> {
        let Some(slot) = self.slot(fd) else { return Err(Error::stale(Operation::Write, fd)) };
        let total: usize = from.iter().map(|slice| slice.len()).sum();
        let mut patience = Patience::new();
        let mut filled = None;
        let answer = loop {
            let seen = slot.state.load();
            if let Some(error) = refusal(slot, seen, fd, caller) {
                break Err(self.refuse_unless_open(slot, error));
            }
            if slot.write.stripes().is_some() {
                let note = "a file whose threads have an order each is written at its end only";
                break Err(Error::noted(ErrorKind::InvalidInput, Operation::Write, note).with_fd(fd));
            }
            if let Err(error) = check_place(fd, offset, total, seen.has(flag::APPEND)) {
                break Err(error);
            }
            if total == 0 {
                break Ok(0);
            }
            let room = match filled.take().map_or_else(|| self.fill_page(slot, from, total), Ok) {
                Ok(ready) => match self.put_page(slot, fd, offset, caller, ready) {
                    Ok(len) => break Ok(len),
                    Err((ready, room)) => {
                        filled = Some(ready);
                        room.or_contended()
                    }
                },
                Err(room) => {
                    // What the file holds goes out, its open page too, and makes room.
                    self.seal_current(slot, fd, caller);
                    room
                }
            };
            if !patience.try_again(self, slot, room) {
                break Err(Error::would_block(Operation::Write, fd));
            }
        };
        if let Some(filled) = filled {
            self.drop_filled(slot, filled);
        }
        answer
    }

    /// Takes a page for these bytes, within the file's limit, and copies them into it.
    fn fill_page(
        &self,
        slot: &Slot,
        from: &[IoSlice<'_>],
        total: usize,
    ) -> std::result::Result<Filled, Room> {
        let side = &slot.write;
        let whole = if total <= self.limits.whole_write { total } else { 1 };
        // ORDER: Relaxed: set before the handle existed.
        let limit = side.held_limit.load(Ordering::Relaxed) as usize * GRANULE;
        let held = side.held() as usize * GRANULE;
        // A file that holds nothing gets one page, whatever its limit.
        let most = if held == 0 { Class::Large.bytes() } else { limit.saturating_sub(held) };
        let mut classes =
            Class::ALL.into_iter().filter(|class| class.bytes() >= whole && class.bytes() <= most);
        let Some(class) =
            classes.clone().find(|class| class.bytes() >= total).or_else(|| classes.next_back())
        else {
            return Err(Room::FileFull);
        };
        let page = self.take_page(slot, class, whole, most, held == 0).ok_or(Room::PoolEmpty)?;
        let granules = (page.capacity() / GRANULE) as u32;
        self.keep_promise(slot);
        let before = side.hold(&page);
        let len = total.min(page.capacity());
        let filled = Filled { page, len };
        if before > 0 && (before + granules) as usize * GRANULE > limit {
            // Another thread was first.
            self.drop_filled(slot, filled);
            return Err(Room::FileFull);
        }
        // The page came out of the pool just now and is nobody else's; it holds `len` bytes or more.
        copy_all(from, filled.page.as_ptr().as_ptr(), len);
        Ok(filled)
    }

    /// Gives back a page that did not get into the file's order.
    fn drop_filled(&self, slot: &Slot, filled: Filled) {
        slot.write.let_go(&filled.page);
        self.page_back(filled.page);
        self.page_given_up(slot);
    }

    /// Seals the open page, the owner's too; gives the number of its cell.
    fn seal_current(&self, slot: &Slot, fd: Fd, caller: Caller) -> u32 {
        let current = slot.write.current();
        let cell = slot.write.cell(current);
        self.seal(slot, cell, fd.generation());
        if caller == Caller::Owner && cell.owner_seal() {
            self.hand_over(slot, cell);
        }
        current
    }

    /// Gives the page the next number of the file's order. It comes back when the right to that was not to be had.
    fn put_page(
        &self,
        slot: &Slot,
        fd: Fd,
        offset: u64,
        caller: Caller,
        filled: Filled,
    ) -> std::result::Result<usize, (Filled, Room)> {
        let current = self.seal_current(slot, fd, caller);
        let (next, before) = match self.claim_next(slot, fd, current, caller) {
            Ok(claimed) => claimed,
            Err(room) => return Err((filled, room)),
        };
        let last = slot.write.cell(current).placement();
        let position = u64::from(before.position());
        let start = last.start + position;
        let sequence = last.sequence.wrapping_add(1);
        let placement = Placement { sequence, base: offset, start };
        let end = start + filled.len as u64;
        let len = filled.len as u32;
        slot.write.scatter(end);
        // Accepted, then listed: the actor never writes more than is accepted.
        slot.write.advance(current, Placement { sequence, base: last.base + position, start: end });
        let index = self.notes.write(Sealed { page: filled.page.into_raw(), len, placement });
        let _ = slot.write.sealed.push(&self.notes, index);
        if slot.state.load().has(flag::READ) {
            // What was read ahead may be of before; and so may what was read for an offset.
            slot.state.set(flag::STALE_WINDOW);
            slot.overwritten(offset, u64::from(len));
        }
        // The cell goes last: a close that finds no cell in use finds the page in the list, and the slot is another
        // file's no sooner.
        next.leave_empty();
        self.turn_over(slot);
        self.post(slot, mail::PAGE);
        self.note_dirty(slot);
        Ok(len as usize)
    }
}

/// An append file is written at its end only: Linux appends whatever offset it is given, which nobody means.
fn check_place(fd: Fd, offset: u64, total: usize, append: bool) -> Result<()> {
    let note = if append {
        "an append file is written at its end only"
    } else if offset.checked_add(total as u64).is_none_or(|end| end > OFFSET_END) {
        "the offset is out of range"
    } else {
        return Ok(());
    };
    Err(Error::noted(ErrorKind::InvalidInput, Operation::Write, note).with_fd(fd))
}
