//! Gathering: the next bytes of a file for one write, neighbours in it, from as many pages as that takes.
//!
//! Of a file that is to leave nothing in the page cache a write ends where a block of 4 KiB does: the rest waits for what
//! comes after it, so that no block goes to the disk twice. It does not wait where somebody waits for it: the timer, a sync, a
//! close, a reader, or a writer for the room; nor in a page of its own while pages are scarce, nor where it fills a write of
//! so many small pieces that it would never be a block. Bytes over blocks that were there before, and bytes behind them, go out apart.

use crate::job::{Slice, Slices};
use crate::sync::Ordering;

use super::Slot;
use super::cell::Cell;
use super::commons::Commons;
use super::control::Control;
use super::note::Sealed;
use super::state::want;
use super::write::{WriteSide, page_start};

/// Blocks of the page cache, in bytes.
const BLOCK: u64 = 4096;

impl Control {
    /// The next bytes of the file, neighbours in it, and the offset of the first.
    pub(super) fn gather(&mut self, slot: &Slot, commons: &Commons, limit: usize) -> (Slices, u64) {
        let mut gathering = Gathering::new(limit, self.setup.append);
        if self.setup.uncached {
            gathering.turn = slot.size().next_multiple_of(BLOCK);
        }
        let mut sequence = self.flush.next;
        let mut used = self.flush.used;
        for page in &self.flush.pages {
            if page.placement.sequence != sequence || !gathering.add(page, used) {
                break;
            }
            sequence = sequence.wrapping_add(1);
            used = 0;
        }
        let whole = distance(self.flush.next, sequence) as usize == self.flush.pages.len();
        let covered = slot.written() + gathering.bytes() as u64;
        if whole && covered < self.flush.target {
            loop {
                match quiet_part(&slot.write, sequence) {
                    Quiet::Part(part) => {
                        gathering.add(&part, used);
                    }
                    // It was lent as its writers left, so it is quiet now.
                    Quiet::Busy if !seal_page(slot, commons, sequence) => continue,
                    Quiet::Busy | Quiet::None => {}
                }
                break;
            }
        }
        let slices =
            if self.setup.uncached { self.whole_blocks(&gathering, slot, commons) } else { gathering.slices };
        (slices, gathering.base)
    }

    /// What was gathered, without the last part of a block for which nobody waits.
    fn whole_blocks(&self, gathering: &Gathering, slot: &Slot, commons: &Commons) -> Slices {
        let bytes = gathering.bytes();
        let over = (gathering.end % BLOCK) as usize;
        if self.setup.append || gathering.apart || over == 0 {
            return gathering.slices;
        }
        let kept = bytes.saturating_sub(over);
        let asked = slot.written() + (kept as u64) < self.flush.target;
        // Only when there is nothing else to write: else room comes soon enough, and they are looked at again then.
        let scarce = || slot.want.has(want::WRITE) || commons.has_waiters() || commons.is_tight();
        let waited_for = kept == 0 && (gathering.full || scarce());
        if asked || waited_for { gathering.slices } else { gathering.slices.first(kept) }
    }
}

/// How far `number` lies ahead of `next`; numbers wrap.
pub(super) const fn distance(next: u32, number: u32) -> u32 {
    number.wrapping_sub(next)
}

/// Seals a page that is never quiet, so that its writers end. False: it is lent meanwhile, and cannot be.
fn seal_page(slot: &Slot, commons: &Commons, sequence: u32) -> bool {
    let generation = slot.state.load().generation();
    let of_page = |cell: &&Cell| cell.placement().sequence == sequence;
    slot.write.cells.iter().filter(of_page).all(|cell| {
        commons.seal(slot, cell, generation);
        let word = cell.load();
        !word.is_lent() && !word.takes_writes()
    })
}

/// The quiet part of the open page.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Quiet {
    Part(Sealed),
    /// A writer is in it.
    Busy,
    /// That page is not open: it was sealed just now (mail follows), or does not exist.
    None,
}

/// The committed bytes of the page `sequence`, if it is open and no writer is in it.
pub(crate) fn quiet_part(write: &WriteSide, sequence: u32) -> Quiet {
    for cell in &write.cells {
        let word = cell.load();
        let placement = cell.placement();
        let page = cell.page();
        if !word.is_open() || placement.sequence != sequence {
            continue;
        }
        // ORDER: Acquire: the reads above are done before the look below. The page of this number goes back to the pool
        // only by the actor, so if the cell still holds it now, what was read above belongs together.
        crate::sync::fence(Ordering::Acquire);
        let again = cell.load();
        if !again.is_open() || cell.placement().sequence != sequence {
            return Quiet::None;
        }
        if word.writers() > 0 {
            return Quiet::Busy;
        }
        return Quiet::Part(Sealed { page, len: word.position(), placement });
    }
    Quiet::None
}

/// Slices being gathered for one write.
struct Gathering {
    slices: Slices,
    base: u64,
    /// Where the next neighbour would begin.
    end: u64,
    room: usize,
    append: bool,
    /// What begins before this offset does not go on beyond it.
    turn: u64,
    /// The next page's bytes belong elsewhere in the file.
    apart: bool,
    /// It has as many pieces as a write can.
    full: bool,
}

impl Gathering {
    fn new(limit: usize, append: bool) -> Self {
        Self {
            slices: Slices::new(),
            base: 0,
            end: 0,
            room: limit,
            append,
            turn: 0,
            apart: false,
            full: false,
        }
    }

    fn bytes(&self) -> usize {
        self.slices.bytes()
    }

    /// Adds a page from `used` on; false when no page after it can follow.
    fn add(&mut self, page: &Sealed, used: u32) -> bool {
        let len = (page.len - used) as usize;
        if len == 0 {
            return true;
        }
        let begin = page.placement.base + u64::from(used);
        if self.slices.as_slice().is_empty() {
            self.base = begin;
            let before = usize::try_from(self.turn.saturating_sub(begin)).unwrap_or(usize::MAX);
            if before > 0 && !self.append {
                self.room = self.room.min(before);
            }
        } else if !self.append && begin != self.end {
            self.apart = true;
            return false;
        }
        let bytes = len.min(self.room);
        if self.append && bytes < len && !self.slices.as_slice().is_empty() {
            // A page ends where a call ended; a write that ended elsewhere would let another process in between.
            return false;
        }
        let start = page_start(page.page).wrapping_add(used as usize);
        if bytes == 0 {
            return false;
        }
        if !self.slices.push(Slice { start, len: bytes }) {
            self.full = true;
            return false;
        }
        self.room -= bytes;
        self.end = begin + bytes as u64;
        bytes == len
    }
}
