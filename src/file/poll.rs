//! What a file would not refuse now; and passing a file between descriptors and an owning `File`.

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;

use super::Slot;
use super::commons::Commons;
use super::read::NowaitRead;
use super::state::{Phase, Snapshot, flag, mail, want};
use super::write::Caller;

impl Commons {
    /// `ef_poll`: what would not answer `WouldBlock` now, at the end of the file and on an error too.
    pub(crate) fn readiness(&self, fd: Fd, nowait: NowaitRead<'_>) -> Result<Readiness> {
        let stale = || Error::stale(Operation::Poll, fd);
        let slot = self.slot(fd).ok_or_else(stale)?;
        let seen = slot.state.load();
        if !seen.is(fd) || slot.pending.is_taken() {
            return Err(stale());
        }
        let mut readiness = Readiness::from_bits(slot.pending.bits()) & (Readiness::CLOSED | Readiness::DONE);
        for (flag, bit) in [(flag::STALLED, Readiness::STALLED), (flag::POISONED, Readiness::ERROR)] {
            readiness |= if seen.has(flag) { bit } else { Readiness::NONE };
        }
        if seen.phase() != Phase::Open {
            return Ok(readiness);
        }
        readiness |= Readiness::OPENED;
        if seen.has(flag::WRITE) && (seen.has(flag::POISONED) || self.has_room(slot)) {
            readiness |= Readiness::WRITABLE;
        }
        if seen.has(flag::READ) && self.has_bytes(slot, fd, nowait) {
            readiness |= Readiness::READABLE;
        }
        Ok(readiness)
    }

    /// A write of one byte would be taken.
    fn has_room(&self, slot: &Slot) -> bool {
        if let Some(stripes) = slot.write.stripes() {
            return self.has_stripe_room(slot, stripes);
        }
        let cell = slot.write.cell(slot.write.current());
        let word = cell.load();
        if word.is_lent() {
            return false;
        }
        if word.is_open() && word.position() < cell.capacity() {
            return true;
        }
        self.could_open(slot)
    }

    /// A read would have bytes, the end, or an error.
    fn has_bytes(&self, slot: &Slot, fd: Fd, nowait: NowaitRead<'_>) -> bool {
        let seen = slot.state.load();
        if seen.has(flag::OWNED) {
            // The place is the owner's to look at.
            return slot.read.pages() > 0 && !seen.has(flag::WRITING | flag::STALE_WINDOW);
        }
        if let Some(error) = super::read::refusal(slot, seen, fd, Caller::Descriptor) {
            return !error.is_would_block();
        }
        let Some(mut reader) = slot.read.claim() else { return false };
        let mut place = *reader.place();
        let unwritten = seen.has(flag::WRITE) && slot.write.accepted() > slot.written();
        // What the window holds is of no use to the next read.
        let over = seen.has(flag::WRITING | flag::STALE_WINDOW);
        if seen.has(flag::WRITING) {
            place.offset = slot.write.end().1;
        }
        let cursor = place.cursor;
        let front = reader.front(|page| self.drop_window_page(page)).filter(|_| !over);
        let front = front.map(|front| front.len > cursor || front.errno != 0);
        let ready =
            front == Some(true) || front == Some(false) && self.end_stands(slot, &mut place, nowait) || {
                let spent = place.nowait_spent && !over;
                let ahead = slot.read.is_ahead() && !over && front.is_none();
                let may_try = seen.has(flag::NOWAIT) && !spent && !unwritten && !ahead;
                may_try && nowait(slot.handle(), place.offset, &mut [0]).is_ok()
            };
        self.release_reader(slot, reader.release());
        ready
    }

    /// Has everything accepted so far written; `WouldBlock` until it is, and a writable event when there is progress.
    pub(crate) fn flush(&self, fd: Fd) -> Result<()> {
        let Some(slot) = self.slot(fd) else { return Err(Error::stale(Operation::Write, fd)) };
        let seen = slot.state.load();
        if !seen.is(fd) || !seen.has(flag::WRITE) || slot.write.accepted() <= slot.written() {
            return Ok(());
        }
        if seen.has(flag::POISONED) {
            return Err(slot.first_error().unwrap_or_else(|| Error::stale(Operation::Write, fd)));
        }
        slot.want.set(want::WRITE);
        self.post(slot, mail::FLUSH);
        if slot.write.accepted() <= slot.written() {
            Ok(())
        } else {
            Err(Error::would_block(Operation::Write, fd))
        }
    }

    /// Makes a file an owning `File`'s: its two sides are its own from here on.
    pub(crate) fn own(&self, fd: Fd) -> Result<()> {
        let refuse = |kind| Err(Error::plain(kind, Operation::Open, Some(fd)));
        let Some(slot) = self.slot(fd) else { return refuse(ErrorKind::Stale) };
        let is_live = |seen: Snapshot| seen.is(fd) && matches!(seen.phase(), Phase::Opening | Phase::Open);
        let seen = slot.state.load();
        if !is_live(seen) {
            return refuse(ErrorKind::Stale);
        }
        // The end of a file, and an open that failed, keep the claim: nobody else has the file then.
        let refuse_late = || {
            let seen = slot.state.load();
            let gone = !is_live(seen) || seen.has(flag::FAILED);
            refuse(if gone { ErrorKind::Stale } else { ErrorKind::Busy })
        };
        if seen.has(flag::OWNED) {
            return refuse(ErrorKind::Busy);
        }
        if slot.write.is_lent() {
            return refuse(ErrorKind::Busy);
        }
        let Some(reader) = slot.read.claim() else { return refuse_late() };
        match slot.state.set_if(fd, flag::OWNED, flag::OWNED) {
            Ok(_) if slot.write.is_lent() => {
                // A lend that comes after the flag sees it, and gives the page back.
                slot.state.clear_if(fd, flag::OWNED);
                self.release_reader(slot, reader.release());
                refuse(ErrorKind::Busy)
            }
            Ok(_) => {
                reader.keep();
                self.seal(slot, slot.write.cell(slot.write.current()), fd.generation());
                Ok(())
            }
            Err(_) => {
                self.release_reader(slot, reader.release());
                refuse_late()
            }
        }
    }

    /// Gives the two sides back to the descriptor, the owner's open page being sealed. False: the file's open has failed.
    pub(crate) fn disown(&self, slot: &Slot, fd: Fd) -> bool {
        self.give_up_page(slot);
        // The claim goes last: while it is held the slot cannot become another file's.
        let owned = slot.state.clear_if(fd, flag::OWNED);
        let reader = slot.owner_reader();
        self.release_reader(slot, reader.release());
        self.room_made(slot);
        owned
    }

    /// The owner hands its open page over.
    pub(crate) fn give_up_page(&self, slot: &Slot) {
        let cell = slot.write.cell(slot.write.current());
        if cell.owner_seal() {
            self.hand_over(slot, cell);
        }
    }

    /// The owner closes: its page goes over, the close begins, its read claim goes back. Until the claim is back the slot
    /// stays this file's.
    pub(crate) fn close_owned(&self, slot: &Slot, fd: Fd, flags: u64, operation: Operation) -> Result<()> {
        self.give_up_page(slot);
        let answer = self.close(fd, flags, operation, Caller::Owner);
        let reader = slot.owner_reader();
        self.release_reader(slot, reader.release());
        answer
    }
}
