//! Closing: what is accepted goes out, the name is given, the descriptor is closed, and only then the event is raised.
//!
//! ```text
//!   CLOSING: stop reading ─ write the rest ─ sync if promised ─ publish if atomic ─ close(2) ─► CLOSED, the event
//! ```
//!
//! Each stage waits for the jobs of the one before, so close(2) never runs beside another call on its descriptor, and
//! never twice. An abort, and a poisoned file, skip the writing: what is left is counted as lost. Raising CLOSED is the
//! actor's last touch of the slot, which may be another file's a moment later.

use crate::config::Durability;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::job::cache::{Dropping, Traces};
use crate::job::{Fault, Kind, Staged, Work};

use super::Slot;
use super::commons::Commons;
use super::control::{Control, Polled};
use super::journal::Change;
use super::state::{CloseStart, Phase, flag, mail};
use super::write::Caller;

/// How far a close has got.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// When it gives up on a disk that refuses the bytes, in nanoseconds of the engine's clock; 0 before it begins.
    deadline_ns: u64,
    window_shut: bool,
    pub(super) publishing: bool,
    pub(super) publish_done: bool,
    /// The file did not get its name, so its bytes cannot be found.
    unpublished: bool,
    pub(super) closed: bool,
}

/// What few files need, or all of them only at their end: made when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// An atomic file's way to its name.
    pub(super) staged: Option<Box<Staged>>,
    /// The mode and the flags of the caller's own, where they are not the default: for a reopening.
    pub(super) opened_with: Option<(u32, i32)>,
    /// Of an uncached file: what its writes have left in the page cache, and who drops what its reads bring in.
    pub(super) traces: Traces,
    pub(super) dropping_reads: Dropping,
    closing: Closing,
}

impl Commons {
    /// `ef_close` and its kin: begins the close.
    pub(crate) fn close(&self, fd: Fd, flags: u64, operation: Operation, caller: Caller) -> Result<()> {
        let refuse = |kind| Err(Error::plain(kind, operation, Some(fd)));
        let Some(slot) = self.slot(fd) else { return refuse(ErrorKind::Stale) };
        match slot.state.close(fd, flags, caller == Caller::Owner) {
            CloseStart::Begun => {
                // The actor shuts both cells; this one, so that the caller's own next write is refused already.
                self.seal(slot, slot.write.cell(slot.write.current()), fd.generation());
                self.post(slot, mail::CLOSE);
                Ok(())
            }
            CloseStart::Already if slot.pending.is_taken() => refuse(ErrorKind::Stale),
            // The open failed: its closed event is there already.
            CloseStart::Already if slot.state.load().has(flag::FAILED) => Ok(()),
            CloseStart::Already => refuse(ErrorKind::Busy),
            CloseStart::Owned => refuse(ErrorKind::Busy),
            CloseStart::Stale => refuse(ErrorKind::Stale),
        }
    }

    /// `ef_close_status`: the last answer of a close.
    pub(crate) fn close_status(&self, fd: Fd) -> Result<()> {
        let refuse = |kind| Err(Error::plain(kind, Operation::Close, Some(fd)));
        let Some(slot) = self.slot(fd) else { return refuse(ErrorKind::Stale) };
        let seen = slot.state.load();
        match seen.phase() {
            _ if !seen.is(fd) => refuse(ErrorKind::Stale),
            Phase::Opening | Phase::Open => refuse(ErrorKind::InvalidInput),
            Phase::Closing => refuse(ErrorKind::WouldBlock),
            _ => self.take_closed(slot, fd).unwrap_or_else(|| refuse(ErrorKind::WouldBlock)),
        }
    }

    /// Takes the last answer; `None` while it is on its way.
    pub(crate) fn take_closed(&self, slot: &Slot, fd: Fd) -> Option<Result<()>> {
        use super::state::LastAnswer::{DrainFrees, Free, Gone, NotYet};
        let error = slot.first_error();
        let answer = slot.pending.take_closed(fd.generation());
        match answer {
            NotYet => None,
            Gone => Some(Err(Error::stale(Operation::Close, fd))),
            Free | DrainFrees => {
                self.settle(slot, answer);
                Some(error.map_or(Ok(()), Err))
            }
        }
    }
}

impl Control {
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// How far the close has got.
    pub(super) fn closing(&mut self) -> &mut Closing {
        &mut self.rare().closing
    }

    /// Goes on with the close as far as it can.
    pub(super) fn drive_close(&mut self, slot: &Slot, commons: &Commons, out: &mut Polled) {
        if self.handle.is_none() {
            // The open is still out; or it failed, and there is nothing to close.
            // A late reader, or the owning `File`, may still have the claim: the slot is not freed under it.
            if self.failed_open && !self.busy.any() && self.shut_window(slot, commons) {
                self.end(slot, commons);
            }
            return;
        }
        if self.closing().closed {
            if !self.busy.any() {
                self.end(slot, commons);
            }
            return;
        }
        if self.closing().deadline_ns == 0 {
            let deadline = u64::try_from(commons.limits.close_deadline.as_nanos()).unwrap_or(u64::MAX);
            self.closing().deadline_ns = out.now_ns.saturating_add(deadline).max(1);
            self.retry_now();
        }
        let window = self.shut_window(slot, commons);
        if !self.finish_writing(slot, commons, out) || !window || self.busy.any() {
            return;
        }
        if self.drive_last_sync(slot, out) || self.drive_publish(slot, out) {
            return;
        }
        if let Some(handle) = self.handle {
            self.busy.close = true;
            let leaving = self.leaving(slot);
            let staged = self.rare().staged.take();
            out.job(slot, self.device, Kind::Close, Work::Close { handle, staged, leaving });
        }
    }

    /// Ends the read window: takes the claim for good and gives the pages back.
    pub(super) fn shut_window(&mut self, slot: &Slot, commons: &Commons) -> bool {
        if self.closing().window_shut || self.busy.fill || self.busy.fetches != 0 {
            return self.closing().window_shut;
        }
        let Some(mut reader) = slot.read.claim_to_shut() else { return false };
        while let Some(filled) = reader.pop() {
            commons.drop_window_page(filled.page);
        }
        if let Some(places) = slot.places() {
            places.clear(|page| commons.drop_window_page(page));
        }
        reader.keep();
        self.closing().window_shut = true;
        true
    }

    /// True when nothing accepted is left to write: it is in the file, or given up.
    fn finish_writing(&mut self, slot: &Slot, commons: &Commons, out: &mut Polled) -> bool {
        let quiet = self.shut_cells(slot, commons);
        let abort = slot.state.load().has(flag::ABORT);
        if !abort && !self.poisoned {
            self.flush.target = slot.write.accepted();
            self.drive_write(slot, commons, out);
            self.drive_meta(slot, commons, out);
            if quiet && self.all_written(slot, commons) {
                return true;
            }
            if !self.is_stalled() {
                return false;
            }
            if out.now_ns < self.closing().deadline_ns {
                out.look_again(slot, self.closing().deadline_ns);
                return false;
            }
            // The disk has refused long enough; the error of the stall stands.
            self.poison(Error::plain(ErrorKind::TimedOut, Operation::Close, Some(slot.fd())), slot, commons);
        }
        self.drive_meta(slot, commons, out);
        if !quiet || self.busy.write || self.busy.meta {
            return false;
        }
        self.drop_unwritten(slot, commons);
        true
    }

    /// Gives an atomic file its name, if the close asked for it.
    fn drive_publish(&mut self, slot: &Slot, out: &mut Polled) -> bool {
        let seen = slot.state.load();
        if !seen.has(flag::PUBLISH) || seen.has(flag::ABORT) || self.poisoned || self.closing().publish_done {
            return false;
        }
        let (Some(handle), Some(staged)) = (self.handle, self.rare().staged.take()) else { return false };
        self.closing().publishing = true;
        self.busy.meta = true;
        let durable = self.setup.durability != Durability::None;
        out.job(slot, self.device, Kind::Meta, Work::Publish { handle, staged, durable });
        true
    }

    /// The file has its name, or not.
    pub(super) fn published(
        &mut self,
        result: std::result::Result<(), (Fault, Box<Staged>)>,
        slot: &Slot,
        commons: &Commons,
    ) {
        self.closing().publish_done = true;
        match result {
            Ok(()) => {
                self.sync.name_owed = false;
                if self.setup.durability != Durability::None {
                    slot.set_durable(slot.written());
                    self.sync.metadata_changed = false;
                }
            }
            Err((fault, staged)) => {
                self.rare().staged = Some(staged);
                self.closing().unpublished = true;
                self.poison_by(fault, None, slot, commons);
            }
        }
    }

    /// The descriptor is closed. What close(2) says of bytes it lost is the first error if there was none.
    pub(super) fn closed(&mut self, result: std::result::Result<(), Fault>, slot: &Slot, _commons: &Commons) {
        self.closing().closed = true;
        if let Err(fault) = result {
            // An uncached file's bytes on their way to the disk: which of those that no sync covered got there is not known.
            self.sync.failed |= fault.operation == Operation::Sync;
            let error = self.error_of(slot, fault, None);
            slot.with_report(|report| report.error.get_or_insert(error).kind());
        }
    }

    /// A request that its job cannot answer any more.
    pub(super) fn drop_request(&mut self, slot: &Slot) {
        slot.meta.reset(slot.state.load().generation());
    }

    /// The end: counts, reports, raises CLOSED, and touches the slot no more.
    fn end(&mut self, slot: &Slot, commons: &Commons) {
        let (accepted, written) = (slot.write.accepted(), slot.written());
        debug_assert!(written <= accepted, "no more is written than was accepted");
        let aborted = self.setup.atomic && slot.state.load().has(flag::ABORT);
        let unnamed = !self.closing().publish_done || self.closing().unpublished;
        let nameless = self.setup.atomic && !aborted && unnamed;
        let lost = match nameless {
            // The file was removed: where its bytes had got to does not matter.
            true => accepted,
            // What was written since the last sync may be gone.
            false if self.sync.failed && !aborted => accepted - slot.durable().min(accepted),
            false => accepted - written,
        };
        let mut bits = Readiness::CLOSED;
        if lost > 0 {
            slot.with_report(|report| report.lost = lost);
        }
        if slot.first_error().is_some() {
            bits |= Readiness::ERROR;
        }
        let totals = &commons.totals;
        if self.failed_open {
            bits |= Readiness::OPENED;
        } else {
            totals.closed.add(1);
            self.tell(slot, Change::Closed { lost });
        }
        slot.state.finish(if self.failed_open { flag::FAILED } else { 0 });
        // After the phase: whoever adds up both misses the file for a moment rather than counting it twice.
        totals.accepted.add(accepted);
        totals.written.add(accepted - lost);
        totals.durable.add(slot.durable().min(accepted - lost));
        totals.lost.add(lost);
        self.drop_retained(slot, commons);
        *self = Self::default();
        commons.raise(slot, bits.bits());
    }
}
