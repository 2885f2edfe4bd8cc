//! Front: the owner's view of the page that it reads from, so that a read is a look at one word and a copy.
//!
//! While the view is there, the reader's place in the slot lags behind by what was taken by it. Whatever else looks at that
//! place settles the view first. The view always leaves a byte: the read that uses a page up goes the long way and gives
//! the page back.
#![allow(unsafe_code, reason = "reads bytes of the window's front by pointers that the owner alone has")]

use crate::error::{Operation, Result};
use crate::file::state::flag;
use crate::file::write::Caller;
use crate::job::Handle;

use super::{File, OpenPage};

/// See the head of this file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Front {
    start: *const u8,
    left: usize,
    /// Bytes taken that the reader's place does not know of.
    taken: usize,
}

impl Front {
    pub(super) const NONE: Self = Self { start: std::ptr::null(), left: 0, taken: 0 };
}

impl File {
    #[inline]
    pub(super) fn read_some(&mut self, into: &mut [u8]) -> Result<usize> {
        let bytes = into.len();
        if bytes < self.front.left
            && self.slot().state.glance().owner_reads_on()
            && bytes > 0
            && !self.efio.is_forked()
        {
            let front = &mut self.front;
            // SAFETY: `left` bytes from `start` on were written by the fill that gave the page up, and it stays the front
            // of the window, which is this owner's, until `read_slowly` or a call that settles the view.
            unsafe { std::ptr::copy_nonoverlapping(front.start, into.as_mut_ptr(), bytes) };
            front.start = front.start.wrapping_add(bytes);
            front.left -= bytes;
            front.taken += bytes;
            return Ok(bytes);
        }
        self.read_slowly(into)
    }

    #[cold]
    fn read_slowly(&mut self, into: &mut [u8]) -> Result<usize> {
        self.settle_front();
        self.check(Operation::Read)?;
        let engine = self.efio.engine();
        let slot = self.slot();
        let mut reader = slot.owner_reader();
        let nowait =
            |handle: Handle, offset: u64, into: &mut [u8]| engine.platform.read_nowait(handle, offset, into);
        let answer = engine.commons.read_claimed(slot, self.fd, &mut reader, Caller::Owner, into, &nowait);
        let (start, left) = match answer {
            Ok(1..) => engine.commons.window_front(&mut reader),
            _ => (std::ptr::null(), 0),
        };
        reader.keep();
        self.forget_page();
        self.front = Front { start, left, taken: 0 };
        answer
    }

    /// A read may have brought the common offset over from the write side, which gives the open page away.
    pub(super) fn forget_page(&mut self) {
        if self.slot().state.glance().shares_offset() {
            self.page = OpenPage::NONE;
        }
    }

    /// Brings the reader's place up to what was taken, and ends the view.
    #[inline]
    pub(super) fn settle_front(&mut self) {
        let taken = std::mem::replace(&mut self.front, Front::NONE).taken;
        if taken > 0 {
            self.use_front(taken);
        }
    }

    /// Moves the reader on by bytes of the front page.
    pub(super) fn use_front(&mut self, bytes: usize) {
        let mut reader = self.slot().owner_reader();
        let (_, left) = self.commons().window_front(&mut reader);
        debug_assert!(bytes <= left, "no more is used than was there");
        self.commons().advance(self.slot(), &mut reader, bytes.min(left));
        reader.keep();
    }

    /// The bytes at the front of the window; asks for some when there are none.
    pub(super) fn lend(&mut self) -> Result<&[u8]> {
        self.settle_front();
        loop {
            self.check(Operation::Read)?;
            let mut reader = self.slot().owner_reader();
            let seen = self.slot().state.load();
            let (start, len) = if seen.has(flag::WRITING | flag::STALE_WINDOW) {
                (std::ptr::null(), 0)
            } else {
                self.commons().window_front(&mut reader)
            };
            if len > 0 {
                reader.keep();
                // SAFETY: the fill wrote these bytes and gave the page up; it stays the front of the window, which is
                // this owner's, until a call with `&mut self`, which the borrow of the result excludes.
                return Ok(unsafe { std::slice::from_raw_parts(start, len) });
            }
            let engine = self.efio.engine();
            let nowait = |handle: Handle, offset: u64, into: &mut [u8]| {
                engine.platform.read_nowait(handle, offset, into)
            };
            let found = engine.commons.fill_front(self.slot(), self.fd, &mut reader, Caller::Owner, &nowait);
            reader.keep();
            self.forget_page();
            if !found? {
                return Ok(&[]);
            }
        }
    }
}
