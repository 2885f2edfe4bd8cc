//! Filling: the actor reads a file ahead into its window, one job at a time.
//!
//! The first piece of an epoch is as large as the file seems to need, up to 64 KiB; when the reader goes on, pieces are
//! 1 MiB. Once half of the module's pages are in use a window is one piece of 64 KiB, so that readers who have stopped
//! reading do not hold what others need. Filling pauses when the window is full and ends at the end of the file or at an
//! error, which travel in the window behind the bytes before them. A fill whose epoch is over is dropped on arrival.
#![allow(unsafe_code, reason = "turns the word of a page back into the page")]

use std::ptr::NonNull;

use crate::event::Readiness;
use crate::job::{Fault, Kind, Slice, Slices, Work};
use crate::page::{Class, Page};

use super::Slot;
use super::commons::Commons;
use super::control::{Control, Polled};
use super::state::{flag, want};
use super::window::{Filled, WINDOW_PAGES};

/// What the actor knows of reading ahead.
#[derive(Debug, Default)]
pub(super) struct Fill {
    epoch: u32,
    offset: u64,
    /// Pieces of this epoch so far.
    pieces: u32,
    /// Accepted bytes that are written before the next piece is read; 0 when none are waited for.
    after: u64,
    /// The end or an error was met; a new request begins again.
    pub(super) ended: bool,
    /// The page that a job is filling, as one word, or null; and the epoch it is for.
    page: Option<NonNull<u8>>,
    page_epoch: u32,
}

impl Control {
    /// Begins the next fill, if the reader asked and there is room.
    pub(super) fn drive_fill(&mut self, slot: &Slot, commons: &Commons, out: &mut Polled) {
        let Some(handle) = self.handle else { return };
        if self.busy.fill || self.fill.ended || !slot.read.is_ahead() || self.busy.barrier {
            return;
        }
        let (epoch, start) = slot.read.epoch();
        // Asked again behind the epoch, which the reader may have begun since the look above without a wish for it: it
        // may read on by itself then, and what is filled here would lie before its place.
        if !slot.read.is_ahead() {
            return;
        }
        if epoch != self.fill.epoch {
            // What was accepted since the last one began is for this one to see.
            self.fill = Fill { epoch, offset: start, ..Fill::default() };
        }
        if self.fill.after == 0 && self.reads_unwritten(slot) {
            // A reader sees what this file had written by now: that goes out first, and the fill follows it. What is
            // accepted meanwhile is for the next piece, or a steady writer would put this one off for ever.
            self.fill.after = slot.write.accepted();
        }
        if slot.written() < self.fill.after && !self.poisoned {
            self.flush.target = self.flush.target.max(self.fill.after);
            self.drive_write(slot, commons, out);
            return;
        }
        let wide = (commons.limits.read_ahead / Class::Large.bytes()).clamp(1, WINDOW_PAGES);
        let allowed = if commons.is_tight() { 1 } else { wide };
        while slot.read.pages() >= allowed {
            if slot.read.pause(allowed) {
                return;
            }
        }
        let Some(page) = self.page_to_fill(slot, commons) else { return };
        let start = page.as_ptr().as_ptr();
        // Of an uncached file a piece ends where the next one of its size begins: a folio that the kernel drops after a part of it
        // was read would be read twice.
        let over = if self.setup.uncached { self.fill.offset as usize % page.capacity() } else { 0 };
        let len = page.capacity() - over;
        self.fill.page = NonNull::new(page.into_raw());
        self.fill.page_epoch = epoch;
        self.fill.pieces += 1;
        self.fill.after = 0;
        self.busy.fill = true;
        let mut into = Slices::new();
        let _ = into.push(Slice { start, len });
        let (offset, uncached) = (self.fill.offset, self.uncached_fill());
        out.job(slot, self.device, Kind::Fill, Work::Fill { handle, offset, into, uncached });
    }

    /// The next piece may hold what is accepted and not written: anything may where one offset serves both sides, what
    /// reaches the end where writes go to the end.
    fn reads_unwritten(&self, slot: &Slot) -> bool {
        let seen = slot.state.load();
        if !seen.has(flag::WRITE) || self.poisoned || slot.write.accepted() <= slot.written() {
            return false;
        }
        let (_, start) = slot.read.epoch();
        let reach = start.max(self.fill.offset) + Class::Large.bytes() as u64;
        seen.shares_offset() || reach >= slot.size()
    }

    /// A page for the next piece; without one the file waits for the pool.
    fn page_to_fill(&self, slot: &Slot, commons: &Commons) -> Option<Page> {
        let left = slot.size().saturating_sub(self.fill.offset);
        let class = match left {
            _ if self.fill.pieces > 0 && left > Class::Medium.bytes() as u64 && !commons.is_tight() => {
                Class::Large
            }
            0..=4096 => Class::Small,
            _ => Class::Medium,
        };
        let holds_none = slot.read.pages() == 0 && slot.write.held() == 0;
        if let Some(page) = commons.take_page(slot, class, 1, Class::Large.bytes(), holds_none) {
            commons.keep_promise(slot);
            return Some(page);
        }
        slot.want.set(want::FILL);
        commons.wait_for_page(slot);
        // One look after the word is left; the bit stays and is harmless.
        let page = commons.take_page(slot, class, 1, Class::Large.bytes(), holds_none)?;
        commons.keep_promise(slot);
        Some(page)
    }

    /// A fill is done.
    pub(super) fn filled(
        &mut self,
        bytes: usize,
        end: bool,
        fault: Option<Fault>,
        slot: &Slot,
        commons: &Commons,
    ) {
        let Some(raw) = self.fill.page.take().map(NonNull::as_ptr) else { return };
        let epoch = self.fill.page_epoch;
        if epoch != slot.read.epoch().0 {
            drop_page(commons, raw);
            return;
        }
        self.fill.offset += bytes as u64;
        if bytes > 0 {
            // A read behind the end says nothing of the size.
            slot.set_size(slot.size().max(self.fill.offset));
        }
        let errno = fault.map_or(0, |fault| fault.errno);
        let verdict = end || errno != 0;
        let page = if bytes == 0 {
            drop_page(commons, raw);
            std::ptr::null_mut()
        } else {
            raw
        };
        if verdict {
            self.fill.ended = true;
            slot.read.stop_ahead();
        }
        if bytes == 0 && !verdict {
            return;
        }
        if slot.read.push(Filled { page, len: bytes as u32, epoch, errno, end }) {
            commons.raise(slot, Readiness::READABLE.bits());
        }
    }

    /// The job panicked: its page may have been written to, which harms nobody.
    pub(super) fn fill_panicked(&mut self, slot: &Slot, commons: &Commons) {
        if let Some(raw) = self.fill.page.take() {
            drop_page(commons, raw.as_ptr());
        }
        self.fill.ended = true;
        slot.read.stop_ahead();
        // Of a file that has failed before nobody else tells the reader.
        if self.poisoned && slot.read.take_want() {
            commons.raise(slot, Readiness::READABLE.bits());
        }
    }
}

fn drop_page(commons: &Commons, raw: *mut u8) {
    // SAFETY: the word came from `into_raw` in `drive_fill`, and the fill's end turns it back once.
    commons.pool.put(unsafe { Page::from_raw(raw) });
    commons.serve_waiters();
}
