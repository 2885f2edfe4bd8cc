//! The read side of a file: copy out of the window, try the page cache, or answer `WouldBlock`.
//!
//! A read finds its bytes in the window and copies them; that is the path of a sequential reader. Where nothing is being
//! read ahead it tries the kernel's page cache without waiting; when that has nothing either, the actor begins to
//! fill the window and the caller gets an event. The end of the file is told once for each time it is met, by the call
//! that returns 0; the next call asks again, so a file that grew is seen to have grown. An end that was met before that call
//! is first looked up in the page cache, for one byte, or asked for once more where nobody waited for it. So there is one try in a
//! call, and another one for the bytes where that end is none any more.
#![allow(unsafe_code, reason = "copies out of a page of the window")]

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::job::Handle;
use crate::page::Page;

use super::Slot;
use super::commons::Commons;
use super::state::{Phase, Snapshot, flag, mail, want};
use super::window::{Filled, Place, Reader, Released};
use super::write::{Caller, page_start};

/// A reader of such pieces or larger ones is best served by the page cache itself, as long as that has them.
const LARGE_READ: usize = 16 << 10;
/// After so many small reads from the page cache the window takes over.
const SMALL_READS: u8 = 2;

/// A first try without waiting: bytes, 0 at the end of the file, or the errno.
pub(crate) type NowaitRead<'a> = &'a dyn Fn(Handle, u64, &mut [u8]) -> std::result::Result<usize, i32>;

/// Why a file gives no bytes, or `None` while it does.
pub(super) fn refusal(slot: &Slot, seen: Snapshot, fd: Fd, caller: Caller) -> Option<Error> {
    let plain = |kind| Some(Error::plain(kind, Operation::Read, Some(fd)));
    if !seen.is(fd) || matches!(seen.phase(), Phase::Closing | Phase::Closed | Phase::Op | Phase::Free) {
        return plain(ErrorKind::Stale);
    }
    if seen.phase() == Phase::Opening {
        let failed = if seen.has(flag::FAILED) { slot.first_error() } else { None };
        return failed.or_else(|| plain(ErrorKind::WouldBlock));
    }
    if !seen.has(flag::READ) {
        return plain(ErrorKind::NotPermitted);
    }
    if seen.has(flag::OWNED) && caller == Caller::Descriptor {
        return plain(ErrorKind::Busy);
    }
    // A poisoned file can be read as far as it was written; what it accepted beyond cannot, and reading it back would
    // wait for ever.
    if seen.shares_offset() {
        // The offset cannot be brought over from a write side that takes no more calls.
        let stuck = seen.has(flag::WRITING) || slot.write.accepted() > slot.written();
        if seen.has(flag::POISONED) && stuck {
            return slot.first_error();
        }
        if seen.has(flag::ENDING) && seen.has(flag::WRITING) {
            return plain(ErrorKind::Shutdown);
        }
    }
    None
}

impl Commons {
    /// `ef_read`: see the head of this file.
    #[inline]
    pub(crate) fn read(&self, fd: Fd, into: &mut [u8], nowait: NowaitRead<'_>) -> Result<usize> {
        let Some(slot) = self.slot(fd) else { return Err(Error::stale(Operation::Read, fd)) };
        let Some(mut reader) = slot.read.claim() else {
            let kind = self.refused_claim(slot, fd);
            return Err(Error::plain(kind, Operation::Read, Some(fd)));
        };
        let answer = self.read_claimed(slot, fd, &mut reader, Caller::Descriptor, into, nowait);
        self.release_reader(slot, reader.release());
        answer
    }

    /// Another has the claim: an owning `File`, a reader at work, or the close.
    pub(super) fn refused_claim(&self, slot: &Slot, fd: Fd) -> ErrorKind {
        let seen = slot.state.load();
        match seen.phase() {
            Phase::Opening | Phase::Open if !seen.is(fd) => ErrorKind::Stale,
            Phase::Opening | Phase::Open if seen.has(flag::OWNED) => ErrorKind::Busy,
            Phase::Opening | Phase::Open => ErrorKind::WouldBlock,
            _ => ErrorKind::Stale,
        }
    }

    /// Does what the words left in the claim ask for.
    #[inline]
    pub(crate) fn release_reader(&self, slot: &Slot, released: Released) {
        if released.second || released.shut {
            self.release_slowly(slot, released);
        }
    }

    #[cold]
    fn release_slowly(&self, slot: &Slot, released: Released) {
        if released.second {
            self.raise(slot, Readiness::READABLE.bits());
            self.room_made(slot);
        }
        if released.shut {
            self.post(slot, mail::CLOSE);
        }
    }

    /// One read by the holder of the claim.
    #[inline]
    pub(crate) fn read_claimed(
        &self,
        slot: &Slot,
        fd: Fd,
        reader: &mut Reader<'_>,
        caller: Caller,
        into: &mut [u8],
        nowait: NowaitRead<'_>,
    ) -> Result<usize> {
        self.check_read(slot, fd, reader, caller)?;
        match self.copy_front(slot, reader, into) {
            Some(bytes) => Ok(bytes),
            None => self.read_slowly(slot, fd, reader, into, nowait),
        }
    }

    #[cold]
    fn read_slowly(
        &self,
        slot: &Slot,
        fd: Fd,
        reader: &mut Reader<'_>,
        into: &mut [u8],
        nowait: NowaitRead<'_>,
    ) -> Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            // What is of an older epoch goes, so that the copy finds what is of this one.
            let seen = reader.front(|page| self.drop_window_page(page)).is_some();
            if let Some(bytes) = self.copy_front(slot, reader, into) {
                return Ok(bytes);
            }
            if seen {
                if let Some(verdict) = self.read_verdict(slot, fd, reader, nowait) {
                    return verdict;
                }
                continue;
            }
            if let Some(bytes) = self.read_nowait(slot, reader, into, nowait) {
                return Ok(bytes);
            }
            self.ask_for_more(slot, fd, reader)?;
        }
    }

    /// Sees to it that there are bytes to lend: true when there are, false at the end of the file.
    pub(crate) fn fill_front(
        &self,
        slot: &Slot,
        fd: Fd,
        reader: &mut Reader<'_>,
        caller: Caller,
        nowait: NowaitRead<'_>,
    ) -> Result<bool> {
        self.check_read(slot, fd, reader, caller)?;
        loop {
            let cursor = reader.place().cursor;
            match reader.front(|page| self.drop_window_page(page)) {
                Some(front) if front.len > cursor => return Ok(true),
                Some(_) => {
                    if let Some(verdict) = self.read_verdict(slot, fd, reader, nowait) {
                        return verdict.map(|_| false);
                    }
                }
                None => self.ask_for_more(slot, fd, reader)?,
            }
        }
    }

    /// The file gives bytes, and the reader's place is the one to read from.
    #[inline]
    fn check_read(&self, slot: &Slot, fd: Fd, reader: &mut Reader<'_>, caller: Caller) -> Result<()> {
        let seen = slot.state.load();
        let wanted = flag::READ | if caller == Caller::Owner { flag::OWNED } else { 0 };
        let plain = seen.generation() == fd.generation()
            && seen.phase() == Phase::Open
            && seen.is_exactly(
                wanted,
                flag::READ | flag::OWNED | flag::WRITING | flag::POISONED | flag::STALE_WINDOW,
            );
        if plain { Ok(()) } else { self.check_read_slowly(slot, fd, reader, caller, seen) }
    }

    #[cold]
    fn check_read_slowly(
        &self,
        slot: &Slot,
        fd: Fd,
        reader: &mut Reader<'_>,
        caller: Caller,
        seen: Snapshot,
    ) -> Result<()> {
        if let Some(error) = refusal(slot, seen, fd, caller) {
            return Err(self.refuse_read_unless_open(slot, error));
        }
        if seen.has(flag::STALE_WINDOW) {
            slot.state.clear(flag::STALE_WINDOW);
            let offset = reader.place().offset;
            self.move_reader(slot, reader, offset);
        }
        if seen.has(flag::WRITING) && !self.offset_to_reader(slot, fd, caller, reader) {
            return Err(Error::would_block(Operation::Read, fd));
        }
        Ok(())
    }

    /// The window is empty: has it filled. `Ok`: something has arrived; else the caller is refused and owed an event.
    #[cold]
    fn ask_for_more(&self, slot: &Slot, fd: Fd, reader: &mut Reader<'_>) -> Result<()> {
        if !slot.read.is_ahead() {
            self.ask_ahead(slot, reader);
        } else if reader.was_paused() {
            // Pages of an older epoch, dropped on the way, may have made the room that the actor waits for.
            self.post(slot, mail::FILL);
        }
        if reader.want() { Err(Error::would_block(Operation::Read, fd)) } else { Ok(()) }
    }

    /// A refusal for want of the open is owed an event; see `refuse_unless_open`.
    pub(super) fn refuse_read_unless_open(&self, slot: &Slot, error: Error) -> Error {
        if error.is_would_block() {
            slot.want.set(want::READ);
            if slot.state.load().phase() != Phase::Opening {
                self.room_made(slot);
            }
        }
        error
    }

    /// Copies from the front of the window; `None` when there are no bytes of this epoch.
    #[inline(always)]
    fn copy_front(&self, slot: &Slot, reader: &mut Reader<'_>, into: &mut [u8]) -> Option<usize> {
        let Filled { page, len, .. } = reader.peek()?;
        let cursor = reader.place().cursor;
        let bytes = ((len - cursor) as usize).min(into.len());
        if bytes == 0 {
            return None;
        }
        let start = page_start(page).wrapping_add(cursor as usize);
        // SAFETY: the fill wrote `len` bytes of this page and gave it up; the claim makes this its only reader, and it
        // goes back to the pool only by this reader. `cursor + bytes` is at most `len`.
        unsafe { std::ptr::copy_nonoverlapping(start, into.as_mut_ptr(), bytes) };
        let place = reader.place();
        place.end_asked = 0;
        place.offset += bytes as u64;
        place.cursor += bytes as u32;
        if place.cursor == len {
            self.use_up(slot, reader);
        }
        Some(bytes)
    }

    /// The front of the window as bytes, for those who look before they take.
    pub(crate) fn window_front(&self, reader: &mut Reader<'_>) -> (*const u8, usize) {
        let cursor = reader.place().cursor;
        match reader.front(|page| self.drop_window_page(page)) {
            Some(front) if front.len > cursor => (
                page_start(front.page).wrapping_add(cursor as usize).cast_const(),
                (front.len - cursor) as usize,
            ),
            _ => (std::ptr::null(), 0),
        }
    }

    /// Moves the reader on by bytes of the front page; a page used up goes back at once.
    #[inline]
    pub(crate) fn advance(&self, slot: &Slot, reader: &mut Reader<'_>, bytes: usize) {
        let place = reader.place();
        place.end_asked = 0;
        place.offset += bytes as u64;
        place.cursor += bytes as u32;
        let cursor = place.cursor;
        if reader.front(|_| ()).is_some_and(|front| cursor == front.len) {
            self.use_up(slot, reader);
        }
    }

    #[cold]
    fn use_up(&self, slot: &Slot, reader: &mut Reader<'_>) {
        let Some(front) = reader.front(|_| ()) else { return };
        let page = std::mem::replace(&mut front.page, std::ptr::null_mut());
        let verdict = front.end || front.errno != 0;
        self.drop_window_page(page);
        if !verdict {
            let _ = reader.pop();
            if reader.was_paused() {
                self.post(slot, mail::FILL);
            }
        }
        let place = reader.place();
        place.nowait_spent = false;
    }

    /// The window's front has no bytes left, but a verdict: the end of the file, or an error at this offset. `None`: the
    /// end is that of an earlier moment, so it has to be asked for again.
    #[cold]
    fn read_verdict(
        &self,
        slot: &Slot,
        fd: Fd,
        reader: &mut Reader<'_>,
        nowait: NowaitRead<'_>,
    ) -> Option<Result<usize>> {
        let offset = reader.place().offset;
        let Some(verdict) = reader.pop() else { return Some(Ok(0)) };
        self.drop_window_page(verdict.page);
        let place = reader.place();
        if verdict.errno != 0 {
            (place.nowait_spent, place.end_asked) = (false, 0);
            return Some(Err(Error::os(Operation::Read, verdict.errno).with_fd(fd).with_offset(offset)));
        }
        let stands = self.end_stands(slot, place, nowait);
        place.end_asked = 0;
        stands.then_some(Ok(0))
    }

    /// Whether an end that was met at this place, some time ago, is told: where the page cache can say without waiting that it
    /// is the end now, it is; else where it was met for a call that had been refused here, which gets its answer. Any
    /// other is that of a moment when nobody asked.
    pub(super) fn end_stands(&self, slot: &Slot, place: &mut Place, nowait: NowaitRead<'_>) -> bool {
        let seen = slot.state.load();
        let accepted = slot.write.accepted();
        let asked = place.end_asked == mark_of(accepted);
        let unwritten = seen.has(flag::WRITE) && accepted > slot.written();
        place.nowait_spent = false;
        if unwritten || !seen.has(flag::NOWAIT) {
            return asked;
        }
        match nowait(slot.handle(), place.offset, &mut [0]) {
            Ok(bytes) => bytes == 0,
            Err(errno) => {
                place.nowait_spent = true;
                if errno != EAGAIN {
                    slot.state.clear(flag::NOWAIT);
                }
                asked
            }
        }
    }

    pub(crate) fn drop_window_page(&self, raw: *mut u8) {
        if !raw.is_null() {
            // SAFETY: a page of the window came from `Page::into_raw` in the fill, and leaves the window once.
            self.page_back(unsafe { Page::from_raw(raw) });
        }
    }

    /// One try at the page cache, where nothing is being read ahead.
    #[cold]
    fn read_nowait(
        &self,
        slot: &Slot,
        reader: &mut Reader<'_>,
        into: &mut [u8],
        nowait: NowaitRead<'_>,
    ) -> Option<usize> {
        let seen = slot.state.load();
        let place = *reader.place();
        let unwritten = seen.has(flag::WRITE) && slot.write.accepted() > slot.written();
        if !seen.has(flag::NOWAIT) || place.nowait_spent || unwritten || slot.read.is_ahead() {
            return None;
        }
        if place.asked {
            // The actor stops before it gives its last piece. That one is for this place, which is about to move on: an
            // epoch of its own for what follows, so that the piece is known to be an old one.
            self.move_reader(slot, reader, place.offset);
        }
        match nowait(slot.handle(), place.offset, into) {
            Ok(bytes) => {
                let whole = bytes == into.len();
                let place = reader.place();
                place.offset += bytes as u64;
                place.nowait_spent = !whole && bytes > 0;
                place.small_reads =
                    if into.len() < LARGE_READ { place.small_reads.saturating_add(1) } else { 0 };
                let offset = place.offset;
                let small = place.small_reads >= SMALL_READS;
                if bytes > 0 && (!whole || small) {
                    self.begin_ahead(slot, reader, offset);
                }
                Some(bytes)
            }
            Err(errno) => {
                if errno != EAGAIN {
                    slot.state.clear(flag::NOWAIT);
                }
                self.ask_ahead(slot, reader);
                reader.place().nowait_spent = true;
                None
            }
        }
    }

    /// Has the window filled for a call that finds nothing here: what is met at this place is its answer.
    fn ask_ahead(&self, slot: &Slot, reader: &mut Reader<'_>) {
        // Before the actor is asked, which has all that is accepted by then written first.
        let mark = mark_of(slot.write.accepted());
        let offset = reader.place().offset;
        self.begin_ahead(slot, reader, offset);
        reader.place().end_asked = mark;
    }

    /// Has the window filled from `offset` on.
    fn begin_ahead(&self, slot: &Slot, reader: &mut Reader<'_>, offset: u64) {
        let spent = reader.place().nowait_spent;
        reader.begin_epoch(offset);
        let place = reader.place();
        place.nowait_spent = spent;
        place.asked = true;
        if reader.ask_ahead() {
            self.post(slot, mail::FILL);
        }
    }
}

/// A count of accepted bytes in four bytes, never 0.
const fn mark_of(accepted: u64) -> u32 {
    accepted as u32 | 1 << 31
}

/// "Not in memory": the one errno that leaves the next first try open.
const EAGAIN: i32 = 11;
