//! Reads by offset: from the page cache at once, or by a job of their own whose page waits for the caller to come back.
//!
//! Where nothing of the range is accepted and unwritten, the page cache is tried once. Else one of the file's few places
//! takes the wish (see [`places`](super::places)): what was accepted before goes out first, then the range is read into a page,
//! and a readable event follows. The next call for that offset takes the page, as much of it as it has room for. The page
//! stays until then, or until all places are taken and another offset needs one, or the file closes. What was
//! overwritten, cut or moved meanwhile is not given out, but read again.
//!
//! Nothing here moves the offset of the file, nor touches the window of the sequential reader. The claim is the same:
//! one read of a file at a time.
#![allow(unsafe_code, reason = "copies out of a page that a job has filled")]

use std::io::IoSliceMut;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::job::{Fault, Kind, Slice, Slices, Work};
use crate::page::{Class, Page};

use super::Slot;
use super::commons::Commons;
use super::control::{Control, Polled};
use super::places::{Fetched, Places, Stand, Wish};
use super::read::{NowaitRead, refusal};
use super::state::{Phase, Snapshot, flag, mail, want};
use super::window::Reader;
use super::write::{Caller, page_start};
use super::write_at::OFFSET_END;

/// `ef_readv`: reads into one slice after the other, as long as each is filled.
pub(crate) fn read_vectored(
    into: &mut [IoSliceMut<'_>],
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize>,
) -> Result<usize> {
    let mut total = 0;
    for slice in into.iter_mut().filter(|slice| !slice.is_empty()) {
        match read(slice, total as u64) {
            Ok(bytes) => {
                total += bytes;
                if bytes < slice.len() {
                    break;
                }
            }
            Err(_) if total > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

impl Commons {
    /// `ef_read_at` by descriptor.
    pub(crate) fn read_at(
        &self,
        fd: Fd,
        into: &mut [u8],
        offset: u64,
        nowait: NowaitRead<'_>,
    ) -> Result<usize> {
        let Some(slot) = self.slot(fd) else { return Err(Error::stale(Operation::Read, fd)) };
        let Some(reader) = slot.read.claim() else {
            let kind = self.refused_claim(slot, fd);
            return Err(Error::plain(kind, Operation::Read, Some(fd)));
        };
        let answer = self.read_at_claimed(slot, fd, &reader, Caller::Descriptor, into, offset, nowait);
        self.release_reader(slot, reader.release());
        answer
    }

    /// One read by offset by the holder of the claim.
    #[allow(clippy::too_many_arguments, reason = "a read by offset of one of two callers")]
    pub(crate) fn read_at_claimed(
        &self,
        slot: &Slot,
        fd: Fd,
        claim: &Reader<'_>,
        caller: Caller,
        into: &mut [u8],
        offset: u64,
        nowait: NowaitRead<'_>,
    ) -> Result<usize> {
        let seen = slot.state.load();
        // What keeps the common offset where it is keeps nobody from reading elsewhere.
        use ErrorKind::{Busy, NotPermitted, Stale, WouldBlock};
        let of_the_call = |error: &Error| {
            seen.phase() != Phase::Open || matches!(error.kind(), Busy | NotPermitted | Stale | WouldBlock)
        };
        if let Some(error) = refusal(slot, seen, fd, caller).filter(of_the_call) {
            return Err(self.refuse_read_unless_open(slot, error));
        }
        if offset.checked_add(into.len() as u64).is_none_or(|end| end > OFFSET_END) {
            let note = "the offset is out of range";
            return Err(Error::noted(ErrorKind::InvalidInput, Operation::Read, note).with_fd(fd));
        }
        if into.is_empty() {
            return Ok(0);
        }
        match slot.places().and_then(|places| self.take_fetched(slot, fd, claim, places, into, offset)) {
            // An end that was fetched some time ago is none any more where the page cache has bytes there.
            Some(Ok(0))
                if seen.has(flag::NOWAIT)
                    && !self.may_be_unwritten(slot, seen, offset, into.len() as u64) =>
            {
                Ok(nowait(slot.handle(), offset, into).unwrap_or(0))
            }
            Some(answer) => answer,
            None => self.read_at_anew(slot, fd, claim, seen, into, offset, nowait),
        }
    }

    /// What a place has for this offset, if one is in use for it and of the present.
    fn take_fetched(
        &self,
        slot: &Slot,
        fd: Fd,
        _claim: &Reader<'_>,
        places: &Places,
        into: &mut [u8],
        offset: u64,
    ) -> Option<Result<usize>> {
        let (mut index, mut stand) = places.find(offset)?;
        if stand == Stand::Waiting {
            // Word is left, then comes a second look: an event follows, or the bytes are there.
            places.set_want();
            (index, stand) = places.find(offset)?;
        }
        let Stand::Done { stale } = stand else {
            return Some(Err(Error::would_block(Operation::Read, fd)));
        };
        let wish = places.wish(index);
        let fetched = places.take(index);
        let bytes = into.len().min(fetched.len as usize);
        let fresh = !stale && is_of_now(slot, places, &wish, bytes);
        if fresh && bytes > 0 {
            // SAFETY: the job wrote `len` bytes of this page, at least as many as are copied, and gave it up; the place gave it
            // to this caller alone.
            unsafe { std::ptr::copy_nonoverlapping(page_start(fetched.page), into.as_mut_ptr(), bytes) };
        }
        self.drop_window_page(fetched.page);
        match fetched.errno {
            _ if !fresh => None,
            EAGAIN => None,
            0 => Some(Ok(bytes)),
            _ if bytes > 0 => Some(Ok(bytes)),
            errno => Some(Err(Error::os(Operation::Read, errno).with_fd(fd).with_offset(offset))),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "as `read_at_claimed`")]
    fn read_at_anew(
        &self,
        slot: &Slot,
        fd: Fd,
        _claim: &Reader<'_>,
        seen: Snapshot,
        into: &mut [u8],
        offset: u64,
        nowait: NowaitRead<'_>,
    ) -> Result<usize> {
        let unwritten = self.may_be_unwritten(slot, seen, offset, into.len() as u64);
        if unwritten && seen.has(flag::POISONED) && slot.write.accepted() > slot.written() {
            return Err(slot.first_error().unwrap_or_else(|| Error::stale(Operation::Read, fd)));
        }
        if !unwritten && seen.has(flag::NOWAIT) {
            match nowait(slot.handle(), offset, into) {
                Ok(bytes) => return Ok(bytes),
                Err(EAGAIN) => {}
                Err(_) => _ = slot.state.clear(flag::NOWAIT),
            }
        }
        let places = slot.places_made();
        let mut vacant = places.vacate(|page| self.drop_window_page(page));
        if vacant.is_none() {
            places.set_want();
            vacant = places.vacate(|page| self.drop_window_page(page));
        }
        if let Some(index) = vacant {
            let len = into.len().min(Class::Large.bytes()) as u32;
            places.ask(index, offset, len, || {
                let moves = places.moves();
                let (accepted, end) = slot.write.end();
                let barrier = settled(slot, seen, accepted);
                Wish { offset, len, moves, barrier, end }
            });
            self.post(slot, mail::FILL);
            // Word is left once the place is asked for: the bytes of another one, come before, would have taken it along. Then
            // a second look, as these may have come already.
            places.set_want();
            if matches!(places.stand(index), Stand::Done { .. }) && places.take_want() {
                self.raise(slot, Readiness::READABLE.bits());
            }
        }
        Err(Error::would_block(Operation::Read, fd))
    }

    /// Whether accepted bytes of this range may not be in the file yet, or the size is about to change.
    fn may_be_unwritten(&self, slot: &Slot, seen: Snapshot, offset: u64, len: u64) -> bool {
        if !seen.has(flag::WRITE) {
            return false;
        }
        if slot.meta.is_barrier() {
            return true;
        }
        // Before the accepted ones: the run that they end is then rather too long than too short.
        let written = slot.written();
        let (accepted, end) = slot.write.end();
        if accepted <= written {
            return false;
        }
        let reach = offset.saturating_add(len);
        if seen.has(flag::APPEND) {
            return reach > slot.size();
        }
        // Where the run begins behind the end of the file, the gap before it is on its way too.
        let begin = end.saturating_sub(accepted - written).min(slot.size());
        slot.write.scattered() > written || reach > begin && offset < end
    }
}

/// What was read into a place is still what the file holds there, with all that was accepted by now.
fn is_of_now(slot: &Slot, places: &Places, wish: &Wish, bytes: usize) -> bool {
    if places.moves() != wish.moves {
        return false;
    }
    let seen = slot.state.load();
    // What was accepted since lies behind the place of writing at that time.
    let before = match seen.has(flag::APPEND) {
        true => bytes > 0,
        false => bytes > 0 && wish.offset + bytes as u64 <= wish.end,
    };
    !seen.has(flag::WRITE) || before || settled(slot, seen, slot.write.accepted()) == wish.barrier
}

/// The bytes that a read by offset waits for: what was accepted, or, of a file that failed, what got into it. A range that
/// reaches beyond that is refused before it is asked for.
fn settled(slot: &Slot, seen: Snapshot, accepted: u64) -> u64 {
    if seen.has(flag::POISONED) { slot.written() } else { accepted }
}

impl Control {
    /// Begins the reads by offset that may begin.
    pub(super) fn drive_fetches(&mut self, slot: &Slot, commons: &Commons, out: &mut Polled) {
        let (Some(handle), Some(places)) = (self.handle, slot.places()) else { return };
        for (index, wish) in places.asked() {
            let writes = slot.state.load().has(flag::WRITE);
            if writes && slot.written() < wish.barrier {
                if self.poisoned {
                    // It will never be written: the reader comes back and is told.
                    self.fetch_done(
                        index,
                        Fetched { page: std::ptr::null_mut(), len: 0, errno: EAGAIN },
                        slot,
                        commons,
                    );
                    continue;
                }
                self.flush.target = self.flush.target.max(wish.barrier);
                self.drive_write(slot, commons, out);
                continue;
            }
            if self.busy.barrier || self.barrier(slot).is_some() {
                continue;
            }
            let class = Class::ALL.into_iter().find(|class| class.bytes() >= wish.len as usize);
            let class = class.unwrap_or(Class::Large);
            let Some(page) = Self::page_to_fetch(class, slot, commons) else { return };
            let len = page.capacity().min(wish.len as usize);
            let start = page.as_ptr().as_ptr();
            places.begin(index, page.into_raw());
            let mut into = Slices::new();
            let _ = into.push(Slice { start, len });
            self.busy.fetches |= 1 << index;
            let work = Work::Fill { handle, offset: wish.offset, into, uncached: self.uncached_fill() };
            out.job(slot, self.device, Kind::Fetch(index as u8), work);
        }
    }

    /// A page for one read; without one the file waits for the pool.
    fn page_to_fetch(class: Class, slot: &Slot, commons: &Commons) -> Option<Page> {
        let take = || {
            let page = commons.take_page(slot, class, 1, Class::Large.bytes(), slot.holds_none())?;
            commons.keep_promise(slot);
            Some(page)
        };
        take().or_else(|| {
            slot.want.set(want::FILL);
            commons.wait_for_page(slot);
            take()
        })
    }

    /// A read by offset is done.
    pub(super) fn fetched(
        &mut self,
        index: u8,
        bytes: usize,
        _end: bool,
        fault: Option<Fault>,
        slot: &Slot,
        commons: &Commons,
    ) {
        let Some(places) = slot.places() else { return };
        let index = usize::from(index);
        let mut page = places.page(index);
        if bytes == 0 {
            commons.drop_window_page(std::mem::replace(&mut page, std::ptr::null_mut()));
        }
        let errno = fault.map_or(0, |fault| fault.errno);
        self.fetch_done(index, Fetched { page, len: bytes as u32, errno }, slot, commons);
    }

    fn fetch_done(&self, index: usize, fetched: Fetched, slot: &Slot, commons: &Commons) {
        if slot.places().is_some_and(|places| places.done(index, fetched)) {
            commons.raise(slot, Readiness::READABLE.bits());
        }
    }

    /// The job panicked: its page may have been written to, which harms nobody. Who comes for the bytes asks anew; of a file
    /// that has failed before it is told an error, or one whose reads all panic would read for ever.
    pub(super) fn fetch_panicked(&self, index: u8, slot: &Slot, commons: &Commons) {
        let Some(places) = slot.places() else { return };
        let index = usize::from(index);
        commons.drop_window_page(places.page(index));
        let errno = if self.poisoned { EIO } else { EAGAIN };
        self.fetch_done(index, Fetched { page: std::ptr::null_mut(), len: 0, errno }, slot, commons);
    }
}

const EIO: i32 = 5;
/// "Not in memory".
const EAGAIN: i32 = 11;
