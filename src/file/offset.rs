//! The offsets of a file: seeking, and the one offset that a read-write file has for both sides.
//!
//! Each side keeps its own place. Where POSIX has one offset for both (read and write, no append), a flag says which side
//! has it; a call on the other side first brings it over. Both rights are tried for, never waited for: reader first and
//! then opener from the reading side, the other way round from the writing side; who fails gets `WouldBlock` and an event
//! from the one who was in the way.

use std::io::SeekFrom;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;

use super::Slot;
use super::commons::Commons;
use super::meta::Asked;
use super::opener::Patience;
use super::state::{Phase, flag, want};
use super::window::Reader;
use super::write::Caller;

impl Commons {
    /// The place of the next page: where the last one ended, or, if the reader has the common offset, where it stands.
    /// The caller holds the opener's right. `None`: the reader is at work.
    pub(crate) fn offset_to_writer(&self, slot: &Slot, end: u64) -> Option<u64> {
        let seen = slot.state.load();
        if !seen.shares_offset() || seen.has(flag::WRITING) {
            return Some(end);
        }
        if seen.has(flag::OWNED) {
            // The owning file is the caller, and holds the claim.
            let mut reader = slot.owner_reader();
            let offset = reader.place().offset;
            self.move_reader(slot, &mut reader, offset);
            slot.state.set(flag::WRITING);
            reader.keep();
            return Some(offset);
        }
        let mut reader = slot.read.claim()?;
        let offset = reader.place().offset;
        self.move_reader(slot, &mut reader, offset);
        slot.state.set(flag::WRITING);
        self.release_reader(slot, reader.release());
        Some(offset)
    }

    /// Brings the common offset from the write side to the reader, who holds the claim. False: an event follows.
    #[must_use]
    pub(crate) fn offset_to_reader(
        &self,
        slot: &Slot,
        fd: Fd,
        caller: Caller,
        reader: &mut Reader<'_>,
    ) -> bool {
        let mut patience = Patience::new();
        loop {
            let moved = self.move_place(slot, fd, caller, |end| {
                self.move_reader(slot, reader, end);
                slot.state.clear(flag::WRITING);
                end
            });
            let Err(room) = moved else { return true };
            let seen = slot.state.load();
            if !seen.has(flag::WRITING) {
                return true;
            }
            if seen.has(flag::POISONED | flag::ENDING) {
                // Nobody writes any more, so nobody gets the opener's right: the offset stays where writing ended.
                self.move_reader(slot, reader, slot.write.end().1);
                slot.state.clear(flag::WRITING);
                return true;
            }
            slot.want.set(want::READ);
            if !patience.try_again(self, slot, room.or_contended()) {
                return false;
            }
        }
    }

    /// Moves the reader and drops what was read ahead.
    pub(crate) fn move_reader(&self, slot: &Slot, reader: &mut Reader<'_>, offset: u64) {
        reader.begin_epoch(offset);
        while let Some(old) = reader.pop() {
            self.drop_window_page(old.page);
        }
        // What a refused reader waits for is dropped on arrival now: it asks again.
        if slot.read.take_want() {
            self.raise(slot, Readiness::READABLE.bits());
        }
    }

    /// `ef_seek`.
    pub(crate) fn seek(&self, fd: Fd, to: SeekFrom, caller: Caller) -> Result<u64> {
        let plain = |kind| Error::plain(kind, Operation::Seek, Some(fd));
        let slot = self.slot(fd).ok_or_else(|| plain(ErrorKind::Stale))?;
        let seen = slot.state.load();
        match seen.phase() {
            _ if !seen.is(fd) => return Err(plain(ErrorKind::Stale)),
            Phase::Open => {}
            Phase::Opening if seen.has(flag::FAILED) => {
                return Err(slot.first_error().unwrap_or_else(|| plain(ErrorKind::Stale)));
            }
            Phase::Opening => return Err(plain(ErrorKind::WouldBlock)),
            _ => return Err(plain(ErrorKind::Stale)),
        }
        if seen.has(flag::OWNED) && caller == Caller::Descriptor {
            return Err(plain(ErrorKind::Busy));
        }
        if slot.write.stripes().is_some() && !seen.has(flag::APPEND) && to != SeekFrom::Current(0) {
            let note = "a file whose threads have an order each has no offset to move";
            return Err(Error::noted(ErrorKind::InvalidInput, Operation::Seek, note).with_fd(fd));
        }
        let from_end = match to {
            SeekFrom::End(_) => Some(self.end_of(slot, fd, caller)?),
            _ => None,
        };
        let target = |here: u64| match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => here.checked_add_signed(by),
            SeekFrom::End(by) => from_end.unwrap_or(here).checked_add_signed(by),
        };
        // An offset that open(2)'s off_t could not hold is no offset.
        let target = |here| target(here).filter(|offset| *offset <= i64::MAX as u64 - (1 << 20));
        if seen.has(flag::READ) || seen.has(flag::APPEND) {
            self.seek_reader(slot, fd, caller, target)
        } else {
            match to {
                // A question, which need not end the page.
                SeekFrom::Current(0) => return Ok(slot.write.end().1),
                _ => self.seek_writer(slot, fd, caller, target),
            }
        }
        .unwrap_or_else(|| {
            Err(Error::noted(ErrorKind::InvalidInput, Operation::Seek, "the offset is out of range")
                .with_fd(fd))
        })
    }

    /// The end of the file with what is accepted; asks for the size unless an answer waits.
    fn end_of(&self, slot: &Slot, fd: Fd, caller: Caller) -> Result<u64> {
        let known = slot.state.clear(flag::SIZE_KNOWN).has(flag::SIZE_KNOWN);
        if known && (slot.state.load().has(flag::POISONED) || slot.write.scattered() <= slot.written()) {
            let seen = slot.state.load();
            let (accepted, end) = slot.write.end();
            return Ok(if seen.has(flag::APPEND) {
                slot.size() + accepted.saturating_sub(slot.written())
            } else if accepted > slot.written() {
                slot.size().max(end)
            } else {
                slot.size()
            });
        }
        self.ask(fd, Asked::Size, Operation::Seek, caller == Caller::Owner)?;
        Err(Error::would_block(Operation::Seek, fd))
    }

    fn seek_reader(
        &self,
        slot: &Slot,
        fd: Fd,
        caller: Caller,
        target: impl Fn(u64) -> Option<u64>,
    ) -> Option<Result<u64>> {
        let mut reader = match caller {
            Caller::Owner => slot.owner_reader(),
            Caller::Descriptor => match slot.read.claim() {
                Some(reader) => reader,
                None => return Some(Err(Error::would_block(Operation::Seek, fd))),
            },
        };
        let answer = if slot.state.load().has(flag::WRITING)
            && !self.offset_to_reader(slot, fd, caller, &mut reader)
        {
            // A write side that takes no more calls does not give the offset up: its error is the answer.
            let refusal = super::write::refusal(slot, slot.state.load(), fd, caller);
            Some(Err(refusal.unwrap_or_else(|| Error::would_block(Operation::Seek, fd))))
        } else {
            let offset = target(reader.place().offset);
            if let Some(offset) = offset {
                self.seek_within(slot, &mut reader, offset);
            }
            offset.map(Ok)
        };
        match caller {
            Caller::Owner => reader.keep(),
            Caller::Descriptor => self.release_reader(slot, reader.release()),
        }
        answer
    }

    /// Within the front page the cursor moves; anywhere else a new epoch begins.
    fn seek_within(&self, slot: &Slot, reader: &mut Reader<'_>, offset: u64) {
        let place = *reader.place();
        if offset == place.offset {
            return;
        }
        let start = place.offset - u64::from(place.cursor);
        let front = reader.front(|page| self.drop_window_page(page)).map(|front| (front.page, front.len));
        match front {
            Some((page, len)) if !page.is_null() && offset >= start && offset < start + u64::from(len) => {
                let place = reader.place();
                place.cursor = (offset - start) as u32;
                place.offset = offset;
            }
            _ => self.move_reader(slot, reader, offset),
        }
    }

    fn seek_writer(
        &self,
        slot: &Slot,
        fd: Fd,
        caller: Caller,
        target: impl Fn(u64) -> Option<u64>,
    ) -> Option<Result<u64>> {
        let mut patience = Patience::new();
        loop {
            let mut offset = None;
            let moved = self.move_place(slot, fd, caller, |here| {
                offset = target(here);
                offset.unwrap_or(here)
            });
            let Err(room) = moved else { return offset.map(Ok) };
            if let Some(error) = super::write::refusal(slot, slot.state.load(), fd, caller) {
                return Some(Err(error));
            }
            if !patience.try_again(self, slot, room.or_contended()) {
                return Some(Err(Error::would_block(Operation::Seek, fd)));
            }
        }
    }
}
