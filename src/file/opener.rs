//! The opener: the one thread that sets up a file's next page, or moves the place where it will begin.
//!
//! OPENING on the cell after `current` is a right of one thread, held for some hundred nanoseconds and never across
//! anything that waits. Whoever finds it taken looks again for a moment, then leaves word in `want` and is told. The
//! opener moves `current` on before it lets the cell go: until then no close can end, so the slot stays its file's.

use crate::event::Readiness;
use crate::fd::Fd;
use crate::page::{Class, Page};
use crate::sync::spin_loop;

use super::Slot;
use super::cell::{Cell, Placement, Word};
use super::commons::Commons;
use super::note::GRANULE;
use super::state::{flag, mail, want};
use super::write::{Caller, prefetch_first, refusal};

/// How often a writer looks again while another one opens the next page, which takes some 100 ns.
const SPINS: u32 = if cfg!(efio_loom) { 1 } else { 200 };

/// A file's limit has room for so many pages of the class it writes in, or the class is smaller.
pub(super) const PAGES_AT_LEAST: usize = 4;

/// What the search for room came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Room {
    /// There is a page open now, or something changed: try again.
    Again,
    /// Another thread is about to open it, or a writer is still in the page before last.
    Contended,
    /// The file holds all that it may.
    FileFull,
    /// The pool is empty.
    PoolEmpty,
    /// A reader is at work with the offset that both sides share.
    OffsetTaken,
    /// The append end is lent.
    Lent,
    /// A page was opened, and its room is the caller's: the answer to a lend alone.
    Yours,
}

impl Room {
    /// As the answer to one who only moves the place, which changes too often for it to try without end.
    pub(crate) fn or_contended(self) -> Self {
        if self == Self::Lent { self } else { Self::Contended }
    }
}

/// How long a call goes on looking for room: a short spin, then one look after it has left word.
#[derive(Debug)]
pub(crate) struct Patience {
    spins: u32,
    /// The words it has left.
    asked: u32,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { spins: SPINS, asked: 0 }
    }

    /// False: the caller is refused, and an event is owed to it.
    #[must_use]
    pub(crate) fn try_again(&mut self, commons: &Commons, slot: &Slot, room: Room) -> bool {
        match room {
            Room::Again => return true,
            Room::Contended if self.spins > 0 => {
                self.spins -= 1;
                spin_loop();
                return true;
            }
            _ => {}
        }
        // Each kind of refusal leaves its own word, once.
        let word = match room {
            Room::PoolEmpty => want::WRITE | want::PAGE,
            Room::Contended => want::TURN,
            Room::Lent => want::LEND,
            _ => want::WRITE,
        };
        if self.asked & word == word {
            return false;
        }
        self.asked |= word;
        let first = slot.want.set(word & !want::PAGE);
        if room == Room::FileFull && slot.state.load().has(flag::RETAIN) {
            commons.post(slot, mail::SQUEEZE);
        }
        if first && word & want::WRITE != 0 && slot.state.load().has(flag::UNCACHED) {
            // A part of a block that waits for the rest may be what holds the pages.
            commons.post(slot, mail::PAGE);
        }
        if room == Room::PoolEmpty {
            commons.wait_for_page(slot);
        }
        true
    }
}

pub(super) const fn larger(class: Class) -> Class {
    match class {
        Class::Small => Class::Medium,
        Class::Medium | Class::Large => Class::Large,
    }
}

pub(super) const fn smaller(class: Class) -> Class {
    match class {
        Class::Large => Class::Medium,
        Class::Medium | Class::Small => Class::Small,
    }
}

/// Of an uncached file, in bytes, once this part of the module's pages is in use.
const UNCACHED_SHARE: usize = 256 << 10;
const UNCACHED_PART: usize = 128;

impl Commons {
    /// Tells those who were refused, for want of the file's own pages too.
    pub(crate) fn room_made(&self, slot: &Slot) {
        self.tell_refused(slot, want::WRITE);
    }

    /// Tells those who wait for room alone. The caller, which gives up a page that it did not get to use, may itself have
    /// left word that it waits for a cell, which is no freer now.
    pub(crate) fn page_given_up(&self, slot: &Slot) {
        if slot.want.take(want::WRITE) != 0 {
            self.raise(slot, Readiness::WRITABLE.bits());
        }
    }

    /// Tells those who were refused only because a cell was in other hands. There is no more room than before, so those
    /// who wait for that stay: a refused writer that gives the cell back would else tell itself.
    pub(crate) fn turn_over(&self, slot: &Slot) {
        self.tell_refused(slot, 0);
    }

    /// Tells those who were refused while the append end was lent, and the actor if it waits for the cell.
    pub(crate) fn lend_over(&self, slot: &Slot) {
        self.tell_refused(slot, want::LEND);
    }

    fn tell_refused(&self, slot: &Slot, room: u32) {
        let taken = slot.want.take(room | want::TURN | want::READ | want::SHUT);
        let mut bits = Readiness::NONE;
        if taken & (want::WRITE | want::TURN | want::LEND) != 0 {
            bits |= Readiness::WRITABLE;
        }
        if taken & want::READ != 0 {
            bits |= Readiness::READABLE;
        }
        if !bits.is_empty() {
            self.raise(slot, bits.bits());
        }
        if taken & want::SHUT != 0 {
            self.post(slot, mail::CLOSE);
        }
    }

    /// Claims the cell after `current`, which is sealed or empty. Else somebody has it, or things changed.
    pub(super) fn claim_next<'a>(
        &self,
        slot: &'a Slot,
        fd: Fd,
        current: u32,
        caller: Caller,
    ) -> Result<(&'a Cell, Word), Room> {
        let next = slot.write.cell(current.wrapping_add(1));
        let refused = || if slot.write.current() == current { Room::Contended } else { Room::Again };
        // Seen before the claim: one that is given back tells the refused, who would try again all the while.
        let last = slot.write.cell(current).load();
        if last.is_lent() {
            return Err(Room::Lent);
        }
        if last.is_opening() {
            return Err(refused());
        }
        if !next.claim(fd.generation()) {
            return Err(refused());
        }
        // A read-modify-write of the state: either the closer's own comes later and meets this claim, or this sees it.
        let seen = slot.state.set(0);
        let before = slot.write.cell(current).load();
        let may = refusal(slot, seen, fd, caller).is_none()
            && slot.write.current() == current
            && !before.takes_writes()
            && !before.is_opening()
            && !before.is_owners()
            && !before.is_lent();
        if may {
            return Ok((next, before));
        }
        next.undo(fd.generation());
        self.turn_over(slot);
        Err(refused())
    }

    /// Opens the page after `current`.
    pub(crate) fn open_next(&self, slot: &Slot, fd: Fd, current: u32, len: usize, caller: Caller) -> Room {
        self.open_page(slot, fd, current, len, caller, false)
    }

    /// Opens the page after `current` with at least `len` bytes, for the caller alone.
    pub(crate) fn open_to_lend(&self, slot: &Slot, fd: Fd, current: u32, len: usize) -> Room {
        self.open_page(slot, fd, current, len, Caller::Descriptor, true)
    }

    fn open_page(&self, slot: &Slot, fd: Fd, current: u32, len: usize, caller: Caller, lend: bool) -> Room {
        let (next, before) = match self.claim_next(slot, fd, current, caller) {
            Ok(claimed) => claimed,
            Err(room) => return room,
        };
        let last = slot.write.cell(current);
        // A page that grew full belongs to a file that deserves a larger one.
        let grown = before.position() > 0 && before.position() as usize + len > last.capacity() as usize;
        let page = self.page_to_write(slot, len, grown);
        let offset = match page {
            Ok(_) => self.offset_to_writer(slot, u64::from(before.position()) + last.placement().base),
            Err(_) => None,
        };
        let (page, base) = match (page, offset) {
            (Ok(page), Some(base)) => (page, base),
            (page, _) => {
                next.undo(fd.generation());
                self.turn_over(slot);
                return page.map_or_else(|room| room, |page| self.give_back(slot, page));
            }
        };
        let placement = Placement {
            sequence: last.placement().sequence.wrapping_add(1),
            base,
            start: last.placement().start + u64::from(before.position()),
        };
        let moved = base != last.placement().base + u64::from(before.position());
        if moved {
            slot.write.scatter(placement.start);
            slot.moved();
        }
        slot.write.advance(current, placement);
        if moved {
            // Once more: between the two a read by offset may have been asked for with the old place in mind.
            slot.moved();
        }
        let class = page.class();
        if lend {
            next.open_lent(page.into_raw(), class);
        } else {
            next.open(page.into_raw(), class, caller == Caller::Owner);
        }
        self.room_made(slot);
        if lend { Room::Yours } else { Room::Again }
    }

    /// The page was had, the offset was not.
    fn give_back(&self, slot: &Slot, page: Page) -> Room {
        slot.write.let_go(&page);
        self.page_back(page);
        Room::OffsetTaken
    }

    /// A page for the next `len` bytes, within the file's limit.
    fn page_to_write(&self, slot: &Slot, len: usize, grown: bool) -> Result<Page, Room> {
        let side = &slot.write;
        let (deserved, page) = self.find_page(slot, len, grown);
        side.set_class(deserved);
        let page = page?;
        prefetch_first(&page, len);
        self.keep_promise(slot);
        side.hold(&page);
        Ok(page)
    }

    /// Whether a page could be had for a write of one byte now.
    pub(super) fn could_open(&self, slot: &Slot) -> bool {
        let last = slot.write.cell(slot.write.current());
        let position = last.load().position();
        let (_, page) = self.find_page(slot, 1, position > 0 && position + 1 > last.capacity());
        page.is_ok_and(|page| {
            self.page_back(page);
            true
        })
    }

    /// The class of page that the file deserves, and the page that it gets.
    fn find_page(&self, slot: &Slot, len: usize, grown: bool) -> (Class, Result<Page, Room>) {
        let side = &slot.write;
        let mut class = side.class();
        if grown {
            class = larger(class);
        }
        let whole = len.min(self.limits.whole_write);
        while class.bytes() < whole || (len > class.bytes() && class != Class::Large) {
            class = larger(class);
        }
        let deserved = class;
        // With pages short, many files with one page each go further than a few with large ones. And a file that is synced
        // at least once a MiB is written while its writer still fills the next page of a batch, if pages are not that large.
        let start = side.cell(side.current()).placement().start;
        let commits = start.saturating_sub(slot.durable()) < Class::Large.bytes() as u64;
        if class == Class::Large && (commits || self.is_tight()) && whole <= Class::Medium.bytes() {
            class = Class::Medium;
        }
        let held = side.held() as usize * GRANULE;
        let limit = self.share(slot, side.limit_bytes());
        // Near its limit a file waits, rather than go on in pages so small that each write of them is small too.
        while class.bytes() * PAGES_AT_LEAST > limit
            && class != Class::Small
            && smaller(class).bytes() >= whole
        {
            class = smaller(class);
        }
        // A file that holds nothing gets one page, whatever its limit.
        if held > 0 && held + class.bytes() > limit {
            return (deserved, Err(Room::FileFull));
        }
        // For the same reason one that holds pages waits for the refill of its class, while there is something to cut.
        let least = match held {
            0 => whole,
            _ if self.pool.can_cut(class) => class.bytes(),
            _ => smaller(class).bytes().max(whole),
        };
        let page = self.take_page(slot, class, least, limit.saturating_sub(held), held == 0);
        (deserved, page.ok_or(Room::PoolEmpty))
    }

    /// The most that a file may hold now. Of an uncached file the disk is busy with the first bytes already: once pages are
    /// in demand, more of it in memory makes nothing faster, and only lets the bytes go cold before they are written. A
    /// limit of the file's own stands, and one that retains keeps what it needs until its next sync.
    fn share(&self, slot: &Slot, limit: usize) -> usize {
        let seen = slot.state.load();
        let yields = seen.has(flag::UNCACHED) && !seen.has(flag::RETAIN);
        let plain = || limit == self.limits.file_memory / GRANULE * GRANULE;
        let many = || self.pool.bytes_in_use() > self.pool.bytes_limit() / UNCACHED_PART;
        if yields && plain() && many() { limit.min(UNCACHED_SHARE) } else { limit }
    }

    /// Moves the place where the next page begins, under the opener's right; `action` gets the old offset and gives the
    /// new one.
    ///
    /// # Errors
    ///
    /// Somebody else has the right, or the file takes no writes.
    pub(crate) fn move_place(
        &self,
        slot: &Slot,
        fd: Fd,
        caller: Caller,
        action: impl FnOnce(u64) -> u64,
    ) -> Result<(), Room> {
        let current = slot.write.current();
        let cell = slot.write.cell(current);
        self.seal(slot, cell, fd.generation());
        if caller == Caller::Owner && cell.owner_seal() {
            self.hand_over(slot, cell);
        }
        let (next, before) = self.claim_next(slot, fd, current, caller)?;
        let last = cell.placement();
        let end = u64::from(before.position());
        let base = action(last.base + end);
        let moved = base != last.base + end;
        if moved {
            slot.write.scatter(last.start + end);
            slot.moved();
        }
        slot.write.advance(current, Placement { sequence: last.sequence, base, start: last.start + end });
        if moved {
            // Once more, as in `open_page`.
            slot.moved();
        }
        next.leave_empty();
        self.room_made(slot);
        Ok(())
    }
}
