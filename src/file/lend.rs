//! Lending: the room of the open page, or the bytes of the window, given to a caller as they lie in memory.
//!
//! ```text
//!   page    [ accepted, being written ............ | room, lent ............ ]
//!                                        position ─┘ stands still until the room is given back
//! ```
//!
//! A lend closes the append end: other writes and seeks are refused and told when it ends. Nothing else waits for it. The
//! timer and syncs write what lies below the position; a poisoned file takes nothing back. Only the end of the file comes
//! after it: a close that was begun meanwhile goes on when the room is back, and takes none of it.

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::fd::Fd;
use crate::sync::spin_loop;

use super::Slot;
use super::cell::Lend;
use super::commons::Commons;
use super::opener::{Patience, Room};
use super::read::NowaitRead;
use super::state::{flag, mail};
use super::window::{Reader, WINDOW_PAGES};
use super::write::{Caller, page_start, refusal};

/// How often a lend looks again while a writer is in the page, before it goes on with a page of its own.
const LOOKS: u32 = if cfg!(efio_loom) { 1 } else { 100 };

/// The room that was lent: where it begins, and its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lent {
    pub(crate) start: *mut u8,
    pub(crate) bytes: usize,
    /// The number of its cell.
    pub(crate) number: u32,
}

/// Pieces of the window, each in memory of its own.
pub(crate) type Pieces = [(*const u8, usize); WINDOW_PAGES];

/// No piece at all.
pub(crate) const NO_PIECES: Pieces = [(std::ptr::null(), 0); WINDOW_PAGES];

impl Commons {
    /// Lends the room behind the last accepted byte, `least` bytes of it or more.
    pub(crate) fn lend(&self, fd: Fd, least: usize) -> Result<(&Slot, Lent)> {
        let Some(slot) = self.slot(fd) else { return Err(Error::stale(Operation::Write, fd)) };
        let least = self.least_room(fd, least)?;
        let mut patience = Patience::new();
        let mut looks = LOOKS;
        loop {
            if let Some(error) = refusal(slot, slot.state.load(), fd, Caller::Descriptor) {
                return Err(self.refuse_unless_open(slot, error));
            }
            let current = slot.write.current();
            let cell = slot.write.cell(current);
            match cell.lend(fd.generation(), least) {
                Lend::Granted => return self.lent(slot, fd, current),
                Lend::Stale => return Err(Error::stale(Operation::Write, fd)),
                Lend::Busy if looks > 0 => {
                    looks -= 1;
                    spin_loop();
                    continue;
                }
                Lend::Busy | Lend::Full => self.seal(slot, cell, fd.generation()),
                Lend::NotOpen => {}
            }
            match self.open_to_lend(slot, fd, current, least) {
                Room::Yours => return self.lent(slot, fd, current.wrapping_add(1)),
                room if patience.try_again(self, slot, room) => {}
                _ => return Err(Error::would_block(Operation::Write, fd)),
            }
        }
    }

    /// The least room that a caller may ask for is what a write may be sure of.
    pub(crate) fn least_room(&self, fd: Fd, least: usize) -> Result<usize> {
        if self.slot(fd).is_some_and(|slot| slot.write.stripes().is_some()) {
            let note = "a file whose threads have an order each lends none of its pages";
            return Err(Error::noted(ErrorKind::InvalidInput, Operation::Write, note).with_fd(fd));
        }
        if least > self.limits.whole_write {
            let note = "more room in one piece than `whole_write`";
            return Err(Error::noted(ErrorKind::InvalidInput, Operation::Write, note).with_fd(fd));
        }
        Ok(least.max(1))
    }

    /// The room is the caller's, unless the file became a `File`'s or began to close meanwhile.
    fn lent<'a>(&self, slot: &'a Slot, fd: Fd, number: u32) -> Result<(&'a Slot, Lent)> {
        // A read-modify-write of the state: either the owner's or the closer's own comes later and meets the lent page,
        // or this sees it.
        let seen = slot.state.set(0);
        if let Some(error) = refusal(slot, seen, fd, Caller::Descriptor) {
            // Sealed, since the owner takes no page but its own.
            self.take_back(slot, number, 0, true);
            return Err(self.refuse_unless_open(slot, error));
        }
        let cell = slot.write.cell(number);
        let word = cell.load();
        let start = page_start(cell.page()).wrapping_add(word.position() as usize);
        let bytes = (word.capacity() - word.position()) as usize;
        Ok((slot, Lent { start, bytes, number }))
    }

    /// The room comes back with `bytes` of it filled. What the file refuses is dropped, and the error says why.
    pub(crate) fn end_lend(&self, slot: &Slot, fd: Fd, number: u32, bytes: u32) -> Result<()> {
        // No owner has the file: one that tries meanwhile finds the page lent.
        match refusal(slot, slot.state.load(), fd, Caller::Owner) {
            Some(error) => {
                self.take_back(slot, number, 0, true);
                Err(error)
            }
            None => {
                self.take_back(slot, number, bytes, false);
                Ok(())
            }
        }
    }

    /// With `seal` the page is handed over: a file that takes no more has no open page either.
    fn take_back(&self, slot: &Slot, number: u32, bytes: u32, seal: bool) {
        let cell = slot.write.cell(number);
        cell.give_back(bytes, seal);
        if seal {
            self.hand_over(slot, cell);
        } else if bytes == 0 && slot.state.load().has(flag::EAGER) {
            // No timer looks after such a file: its page goes back at once if nothing is in it.
            self.post(slot, mail::IDLE);
        } else {
            // Also when nothing was taken: the timer has the page given back.
            self.note_dirty(slot);
        }
        self.lend_over(slot);
    }

    /// Lends the front of the window: the right to read, and true when there are bytes; false at the end of the file.
    pub(crate) fn lend_front(&self, fd: Fd, nowait: NowaitRead<'_>) -> Result<(&Slot, Reader<'_>, bool)> {
        let Some(slot) = self.slot(fd) else { return Err(Error::stale(Operation::Read, fd)) };
        let Some(mut reader) = slot.read.claim() else {
            return Err(Error::plain(self.refused_claim(slot, fd), Operation::Read, Some(fd)));
        };
        match self.fill_front(slot, fd, &mut reader, Caller::Descriptor, nowait) {
            Ok(found) => Ok((slot, reader, found)),
            Err(error) => {
                self.release_reader(slot, reader.release());
                Err(error)
            }
        }
    }

    /// The bytes that lie ready from the reader's place on, page by page.
    pub(crate) fn window_pieces(&self, reader: &mut Reader<'_>) -> Pieces {
        let mut pieces = NO_PIECES;
        let (start, len) = self.window_front(reader);
        if len > 0 {
            pieces[0] = (start, len);
            for (at, piece) in pieces.iter_mut().enumerate().skip(1) {
                let Some(page) = reader.behind_front(at) else { break };
                *piece = (page_start(page.page).cast_const(), page.len as usize);
            }
        }
        pieces
    }

    /// Moves the reader on by bytes of the window, no more than lie ready; gives how many.
    pub(crate) fn advance_over(&self, slot: &Slot, reader: &mut Reader<'_>, bytes: usize) -> usize {
        let mut left = bytes;
        while left > 0 {
            let (_, ready) = self.window_front(reader);
            let step = ready.min(left);
            if step == 0 {
                break;
            }
            self.advance(slot, reader, step);
            left -= step;
        }
        bytes - left
    }
}
