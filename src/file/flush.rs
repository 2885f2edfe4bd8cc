//! Flushing: the actor writes a file's pages in order, one job at a time, gathering all that is queued.
//!
//! ```text
//!   pages   [ 7: used up to 3000 of 4096 | 8 | 9 ]   sealed and complete, in order
//!   open    10: quiet up to 812                     taken too when the timer, a sync or a close asks for it
//! ```
//!
//! Pages arrive in the order in which they were completed and are put in the order of their numbers; one whose
//! predecessor has still a writer in it waits. A job takes up to 1 MiB in at most 16 pieces that are neighbours in the
//! file (`gather.rs`). What a job wrote is counted off from the front; a page goes back to the pool when all of it is in the file.
//!
//! A disk that refuses bytes for want of room *stalls* the file: the pages stay, and the write is tried again. Any other
//! refusal poisons it.
#![allow(unsafe_code, reason = "turns the words of pages back into pages that go to the pool")]

use std::collections::VecDeque;

use crate::config::OnFull;
use crate::error::Operation;
use crate::event::Readiness;
use crate::job::{Fault, Kind, Place, Work};
use crate::page::Page;

use super::Slot;
use super::commons::Commons;
use super::control::{Control, Polled};
use super::gather::distance;
use super::journal::Change;
use super::note::Sealed;
use super::state::{flag, want};
use super::weave::weave_of;

/// The most bytes of one write.
const WRITE_MAX: usize = 1 << 20;

const MS: u64 = 1_000_000;
/// The wait before the first new try of a write that the disk refused; it doubles up to the longest.
const RETRY_FIRST_NS: u64 = 100 * MS;
const RETRY_LONGEST_NS: u64 = 5_000 * MS;
/// So many I/O errors of a write in a row are final.
const IO_TRIES: u32 = 5;

mod errno {
    pub(super) const EIO: i32 = 5;
    pub(super) const ENOMEM: i32 = 12;
    pub(super) const ENOSPC: i32 = 28;
    #[cfg(target_os = "linux")]
    pub(super) const EDQUOT: i32 = 122;
    #[cfg(not(target_os = "linux"))]
    pub(super) const EDQUOT: i32 = 69;
}

/// What the actor knows of the bytes on their way.
#[derive(Debug)]
pub(super) struct Flush {
    /// Sealed pages by number; the first is `next`, or a later one that has to wait for it.
    pub(super) pages: VecDeque<Sealed>,
    /// The number of the first page that is not wholly in the file.
    pub(super) next: u32,
    /// Bytes of that page that are.
    pub(super) used: u32,
    /// Bytes that the job under way was given.
    pub(super) in_flight: usize,
    /// Where in the file they go; without meaning for an append file.
    in_flight_at: u64,
    /// Accepted bytes below this are to be written now, full page or not.
    pub(super) target: u64,
    stall: Option<Box<Stall>>,
}

/// The disk refuses the bytes for now.
#[derive(Clone, Copy, Debug)]
struct Stall {
    retry_at_ns: u64,
    wait_ns: u64,
    /// I/O errors in a row, the last one included.
    io_errors: u32,
}

impl Default for Flush {
    fn default() -> Self {
        Self {
            pages: VecDeque::new(),
            next: 1,
            used: 0,
            in_flight: 0,
            in_flight_at: 0,
            target: 0,
            stall: None,
        }
    }
}

impl Flush {
    /// The number of the page that is written in part, how much of it is, and the page if it is sealed.
    pub(super) fn in_part(&self) -> Option<(u32, u32, Option<Sealed>)> {
        (self.used > 0).then(|| (self.next, self.used, self.pages.front().copied()))
    }
}

impl Control {
    /// Takes up the pages that writers completed.
    pub(super) fn collect(&mut self, slot: &Slot, commons: &Commons) {
        if slot.write.stripes().is_some() {
            self.collect_stripes(slot, commons);
            return;
        }
        for index in slot.write.sealed.take_all(&commons.notes) {
            let sealed = commons.notes.read(index);
            let ahead = |page: &Sealed| distance(self.flush.next, page.placement.sequence);
            let place = self.flush.pages.partition_point(|page| ahead(page) < ahead(&sealed));
            self.flush.pages.insert(place, sealed);
        }
        if !self.busy.write {
            self.drop_used_pages(slot, commons);
        }
    }

    /// Gives back the pages at the front that are wholly in the file.
    fn drop_used_pages(&mut self, slot: &Slot, commons: &Commons) {
        let mut dropped = false;
        let used_up = |flush: &Flush| {
            let front = flush.pages.front();
            let front = front.filter(|page| page.placement.sequence == flush.next && page.len == flush.used);
            front.copied()
        };
        while let Some(page) = used_up(&self.flush) {
            self.flush.pages.pop_front();
            self.flush.next = self.flush.next.wrapping_add(1);
            self.flush.used = 0;
            self.page_written(page, slot, commons);
            dropped = true;
        }
        if dropped {
            commons.room_made(slot);
            commons.serve_waiters();
        }
        if self.flush.pages.is_empty() {
            self.flush.pages = VecDeque::new();
        }
    }

    /// Begins the next write, if there is something to write and nothing against it.
    pub(super) fn drive_write(&mut self, slot: &Slot, commons: &Commons, out: &mut Polled) {
        self.collect(slot, commons);
        let Some(handle) = self.handle else { return };
        if self.busy.write || self.busy.barrier || self.poisoned {
            return;
        }
        if self.flush.stall.as_ref().is_some_and(|stall| out.now_ns < stall.retry_at_ns) {
            return;
        }
        let limit =
            self.barrier(slot).map_or(WRITE_MAX as u64, |barrier| barrier.saturating_sub(slot.written()));
        let limit = usize::try_from(limit).unwrap_or(WRITE_MAX).min(WRITE_MAX);
        let (from, base) = match weave_of(slot) {
            Some(weave) => weave.gather(limit, slot.written()),
            None => self.gather(slot, commons, limit),
        };
        let bytes = from.bytes();
        if bytes == 0 {
            return;
        }
        self.flush.in_flight = bytes;
        self.flush.in_flight_at = base;
        self.busy.write = true;
        let place = if self.setup.append { end_of(slot) } else { Place::At(base) };
        let uncached = self.uncached_write(base, slot);
        self.busy.settling = uncached.is_some_and(|uncached| uncached.settles);
        out.job(slot, self.device, Kind::Write, Work::Write { handle, place, from, uncached });
    }

    /// A write is done, or part of it.
    pub(super) fn wrote(
        &mut self,
        bytes: usize,
        fault: Option<Fault>,
        slot: &Slot,
        commons: &Commons,
        out: &mut Polled,
    ) {
        debug_assert!(bytes <= self.flush.in_flight, "no more is written than was given");
        self.flush.in_flight = 0;
        if bytes > 0 {
            self.count_off(bytes, slot, commons);
            // What poisoned the file meanwhile is not healed by this.
            if self.flush.stall.take().is_some() && !self.poisoned {
                slot.state.clear(flag::STALLED);
                slot.with_report(|report| report.error = None);
                self.tell(slot, Change::Resumed);
                commons.raise(slot, Readiness::RESUMED.bits());
            }
        }
        if let Some(fault) = fault {
            // Also of a file that had failed before: what was written since the last sync may be gone.
            self.sync.failed |= fault.operation == Operation::Sync;
            if !self.poisoned {
                self.write_refused(fault, slot, commons, out);
            }
        }
    }

    /// Counts written bytes off the pages.
    fn count_off(&mut self, mut bytes: usize, slot: &Slot, commons: &Commons) {
        let step_bytes = bytes as u64;
        let written = slot.written() + step_bytes;
        // Seen by whoever sees the bytes counted as written.
        slot.set_size(match self.setup.append {
            true => slot.size() + step_bytes,
            false => slot.size().max(self.flush.in_flight_at + bytes as u64),
        });
        if let Some(mut weave) = weave_of(slot) {
            weave.count_off(bytes, slot, commons);
            bytes = 0;
        }
        while bytes > 0 {
            let front =
                self.flush.pages.front().filter(|page| page.placement.sequence == self.flush.next).copied();
            let Some(page) = front else {
                // The open page: it is not in the list yet.
                self.flush.used += bytes as u32;
                break;
            };
            let step = bytes.min((page.len - self.flush.used) as usize);
            self.flush.used += step as u32;
            bytes -= step;
            if bytes > 0 {
                // More was written than this page had left, so it is done with.
                self.flush.pages.pop_front();
                self.flush.next = self.flush.next.wrapping_add(1);
                self.flush.used = 0;
                self.page_written(page, slot, commons);
            }
        }
        if let Some(end) = self.append_end() {
            self.set_append_end(end + step_bytes);
        }
        slot.set_written(written);
        if slot.state.load().has(flag::EAGER) {
            if !self.sync.name_owed {
                slot.set_durable(written);
                self.release_retained(slot, commons);
            }
            // No timer looks after such a file.
            self.let_go(slot, commons);
        }
        self.collect(slot, commons);
        commons.room_made(slot);
        commons.serve_waiters();
    }

    /// The disk did not take the bytes: stall or poison.
    fn write_refused(&mut self, fault: Fault, slot: &Slot, commons: &Commons, out: &mut Polled) {
        if fault.operation == Operation::Sync {
            // Of bytes that were written before: what they found on their way to the disk.
            self.end_stall(slot);
            self.poison_by(fault, None, slot, commons);
            return;
        }
        let offset = self.first_unwritten(slot);
        let full = matches!(fault.errno, errno::ENOSPC | errno::EDQUOT);
        let passing = full || matches!(fault.errno, errno::EIO | errno::ENOMEM);
        let before = self.flush.stall.take();
        let io_errors = match fault.errno {
            errno::EIO => before.as_ref().map_or(0, |stall| stall.io_errors) + 1,
            _ => 0,
        };
        let failing = full && self.setup.on_full == OnFull::Fail || io_errors >= IO_TRIES || fault.in_doubt;
        if !passing || failing {
            self.flush.stall = None;
            slot.state.clear(flag::STALLED);
            slot.with_report(|report| report.error = None);
            self.poison_by(fault, offset, slot, commons);
            return;
        }
        let longer = |stall: &Stall| (stall.wait_ns * 2).min(RETRY_LONGEST_NS);
        let wait_ns = before.as_deref().map_or(RETRY_FIRST_NS, longer);
        let retry_at_ns = out.now_ns.saturating_add(wait_ns);
        self.flush.stall = Some(Box::new(Stall { retry_at_ns, wait_ns, io_errors }));
        out.look_again(slot, retry_at_ns);
        if before.is_none() {
            slot.state.set(flag::STALLED);
            let error = self.error_of(slot, fault, offset);
            slot.with_report(|report| report.error = Some(error));
            commons.totals.stalls.add(1);
            self.tell(slot, Change::Stalled);
            commons.raise(slot, (Readiness::STALLED | Readiness::ERROR).bits());
        }
    }

    /// Where in the file the first unwritten byte belongs; not known for an append file.
    fn first_unwritten(&self, slot: &Slot) -> Option<u64> {
        if self.setup.append {
            return None;
        } else if slot.write.stripes().is_some() {
            return Some(slot.written());
        }
        let number = self.flush.next;
        let listed = self.flush.pages.front().filter(|page| page.placement.sequence == number);
        let placement = match listed {
            Some(page) => page.placement,
            None => {
                slot.write.cells.iter().map(|cell| cell.placement()).find(|place| place.sequence == number)?
            }
        };
        Some(placement.base + u64::from(self.flush.used))
    }

    /// The timer came for this file: what is accepted goes out, a stall whose time has come is tried again.
    pub(super) fn timer_came(&mut self, slot: &Slot, commons: &Commons) {
        if self.flush.pages.is_empty() {
            slot.write.cool();
        }
        self.recall_idle_stripes(slot, commons);
        self.sync.interval_came(self.setup.durability, slot);
    }

    /// Nothing is left to write: the open page goes back, so that idle files hold none. (That of an owning `File` is the
    /// owner's to give.)
    pub(super) fn let_go(&self, slot: &Slot, commons: &Commons) {
        if slot.write.accepted() > slot.written() {
            return;
        }
        let generation = slot.state.load().generation();
        for cell in &slot.write.cells {
            commons.seal(slot, cell, generation);
        }
        if let Some(stripes) = slot.write.stripes() {
            commons.recall_stripes(slot, stripes);
        }
    }

    /// A sync or a close tries a stalled write again at once.
    pub(super) fn retry_now(&mut self) {
        if let Some(stall) = &mut self.flush.stall {
            stall.retry_at_ns = 0;
        }
    }

    /// Something worse than a stall happened: its error makes way, and the write is not tried again.
    pub(super) fn end_stall(&mut self, slot: &Slot) {
        if self.flush.stall.take().is_some() {
            slot.state.clear(flag::STALLED);
            slot.with_report(|report| report.error = None);
        }
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.flush.stall.is_some()
    }

    /// Everything that was accepted is in the file, and no page is held. Only once the cells are shut.
    pub(super) fn all_written(&mut self, slot: &Slot, commons: &Commons) -> bool {
        self.collect(slot, commons);
        let woven = weave_of(slot).is_none_or(|weave| weave.is_empty());
        !self.busy.write && woven && self.flush.pages.is_empty() && slot.write.sealed.is_empty()
    }

    /// Gives up the bytes that are not written, at the end of a file that cannot or must not write them.
    pub(super) fn drop_unwritten(&mut self, slot: &Slot, commons: &Commons) {
        debug_assert!(!self.busy.write, "the pages of a job under way are not dropped");
        self.collect(slot, commons);
        if let Some(mut weave) = weave_of(slot) {
            weave.drop_all(slot, commons);
        }
        for page in std::mem::take(&mut self.flush.pages) {
            give_back(slot, commons, page.page);
        }
        self.flush.stall = None;
        slot.want.take(want::WRITE);
        commons.serve_waiters();
    }
}

fn end_of(slot: &Slot) -> Place {
    if slot.state.load().has(flag::EAGER) { Place::SyncedEnd } else { Place::End }
}

pub(super) fn give_back(slot: &Slot, commons: &Commons, raw: *mut u8) {
    // SAFETY: the word came from `Page::into_raw` when the cell was opened, and the actor, who alone holds sealed pages,
    // turns each back once.
    let page = unsafe { Page::from_raw(raw) };
    slot.write.let_go(&page);
    commons.pool.put(page);
}
