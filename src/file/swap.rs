//! Another file, or another opening of the same one, behind a file's handle: reopening and recovering; and locks.
//!
//! *Reopening* (log rotation) stands in the file's order: what was accepted before goes to the old file and is made durable
//! there, what comes later goes to the new one. While the job is out no other job of the file is, and what is accepted
//! waits in memory. If it fails the old file goes on as if nothing had been asked.
//!
//! *Recovering* heals a file whose sync failed. The kernel may have dropped what that sync was to write, and marks it
//! clean; so it is written once more, by a new opening of the same file, and synced there. That needs the bytes: they are
//! kept where the file retains them (see [`retain`](super::retain)), else the file stays poisoned and says what may be lost.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::job::handles::{HandleWork, Lock, Pieces};
use crate::job::{Fault, Handle, Name, OpenWork, Opened, Work};

use super::Slot;
use super::commons::Commons;
use super::control::{Control, Polled};
use super::journal::Change;
use super::meta::{Asked, place_of};
use super::open::DEFAULT_OPEN;
use super::state::{Phase, flag};

const HEALTHY_NOTE: &str = "the file has not failed, so there is nothing to recover";

/// Where a reopened file lies.
#[derive(Clone, Debug)]
pub(crate) struct NewName {
    pub(crate) name: Name,
    pub(crate) path: PathBuf,
}

impl Commons {
    /// `ef_lock`, `ef_unlock`.
    pub(crate) fn ask_lock(&self, fd: Fd, lock: Lock, owner: bool) -> Result<()> {
        let refuse = |kind, note| Err(Error::noted(kind, Operation::Lock, note).with_fd(fd));
        if lock.start.checked_add(lock.len).is_none_or(|end| end > i64::MAX as u64) {
            return refuse(ErrorKind::InvalidInput, "the range is out of range");
        }
        let seen = self.slot(fd).map(|slot| slot.state.load()).filter(|seen| seen.is(fd));
        if let (Some(seen), Some(exclusive)) = (seen, lock.exclusive) {
            if exclusive && !seen.has(flag::WRITE) {
                return refuse(
                    ErrorKind::NotPermitted,
                    "an exclusive lock needs a file that is open for writing",
                );
            }
            if !exclusive && !seen.has(flag::READ) {
                return refuse(
                    ErrorKind::NotPermitted,
                    "a shared lock needs a file that is open for reading",
                );
            }
        }
        self.ask(fd, Asked::Lock(lock), Operation::Lock, owner)
    }

    /// `ef_reopen`.
    pub(crate) fn ask_reopen(&self, fd: Fd, to: NewName, owner: bool) -> Result<()> {
        let seen = self.slot(fd).map(|slot| slot.state.load()).filter(|seen| seen.is(fd));
        if seen.is_some_and(|seen| seen.has(flag::WRITE) && !seen.has(flag::APPEND)) {
            let note =
                "only a file that appends can be reopened: the offsets of one file mean nothing in another";
            return Err(Error::noted(ErrorKind::InvalidInput, Operation::Reopen, note).with_fd(fd));
        }
        self.ask_with(fd, Asked::Reopen, Some(to), Operation::Reopen, owner)
    }

    /// `ef_recover`.
    pub(crate) fn ask_recover(&self, fd: Fd, owner: bool) -> Result<()> {
        let seen = self.slot(fd).map(|slot| slot.state.load()).filter(|seen| seen.is(fd));
        if seen.is_some_and(|seen| seen.phase() == Phase::Open && !seen.has(flag::POISONED)) {
            return Err(Error::noted(ErrorKind::InvalidInput, Operation::Recover, HEALTHY_NOTE).with_fd(fd));
        }
        self.ask(fd, Asked::Recover, Operation::Recover, owner)
    }
}

impl Control {
    /// The job of a request that puts another file behind the handle, once no other job of the file is out.
    #[allow(clippy::too_many_arguments, reason = "what every step has, and the request")]
    pub(super) fn work_of_swap(
        &mut self,
        asked: Asked,
        barrier: u64,
        handle: Handle,
        slot: &Slot,
        commons: &Commons,
        out: &mut Polled,
    ) -> Option<Work> {
        let ready = match asked {
            Asked::Reopen if self.poisoned => {
                self.swap_refused(None, slot, commons);
                return None;
            }
            Asked::Reopen => slot.written() >= place_of(slot, barrier),
            _ => self.is_quiet(slot, commons),
        };
        if !ready {
            self.write_first(barrier, slot, commons, out);
            return None;
        }
        // From here on nothing begins, so what is out comes to its end.
        self.busy.barrier = true;
        if self.busy.any() {
            return None;
        }
        let work = match asked {
            Asked::Reopen => self.reopening(handle, slot),
            _ => self.recovering(handle, slot, commons),
        };
        if work.is_none() {
            self.busy.barrier = false;
        }
        work.map(|work| Work::Handle(Box::new(work)))
    }

    /// No writer is in a cell, and what they sealed has been taken up. (An owner's page is in no other hands.)
    fn is_quiet(&mut self, slot: &Slot, commons: &Commons) -> bool {
        let shut = self.shut_cells(slot, commons);
        let cells = &slot.write.cells;
        shut || cells.iter().all(|cell| cell.load().is_empty() || cell.load().is_owners())
    }

    fn open_work(&self, slot: &Slot, name: Name) -> OpenWork {
        let seen = slot.state.load();
        let (mode, custom_flags) =
            self.rare.as_ref().and_then(|rare| rare.opened_with).unwrap_or(DEFAULT_OPEN);
        OpenWork {
            name,
            read: seen.has(flag::READ),
            write: seen.has(flag::WRITE),
            append: self.setup.append,
            create: true,
            create_new: false,
            truncate: false,
            data_sync: seen.has(flag::EAGER),
            atomic: false,
            block_device: false,
            uncached: self.setup.uncached,
            look_first: false,
            mode,
            custom_flags,
        }
    }

    /// A write that the disk refused may be in the file all the same: one through O_DSYNC tells the error of its sync too,
    /// when its bytes are at the end of the file already. Once more would be twice.
    pub(super) fn may_have_landed(&self, slot: &Slot) -> bool {
        self.setup.append && slot.state.load().has(flag::EAGER)
    }

    fn reopening(&mut self, handle: Handle, slot: &Slot) -> Option<HandleWork> {
        let to = slot.meta.new_name()?;
        let sync = slot.durable() < slot.written() || self.sync.metadata_changed || self.sync.name_owed;
        let work = Box::new(self.open_work(slot, to.name));
        Some(HandleWork::Reopen { handle, work, sync, owed: self.owed_name() })
    }

    fn recovering(&mut self, handle: Handle, slot: &Slot, commons: &Commons) -> Option<HandleWork> {
        if !self.poisoned {
            // Asked for while it was being opened, or before the one that healed it.
            let error = Error::noted(ErrorKind::InvalidInput, Operation::Recover, HEALTHY_NOTE);
            self.swap_refused(Some(error.with_fd(slot.fd())), slot, commons);
            return None;
        }
        let panicked = slot.first_error().filter(|error| error.kind() == ErrorKind::Panicked);
        if panicked.is_some() {
            self.swap_refused(panicked, slot, commons);
            return None;
        }
        let Some(pieces) = self.retained_pieces(slot, commons) else {
            let note = "bytes written since the last sync were not retained, and may be lost";
            let mut error = Error::noted(ErrorKind::Os, Operation::Recover, note).with_fd(slot.fd());
            if let Some(path) = &self.path {
                error = error.with_path(path);
            }
            self.swap_refused(Some(error), slot, commons);
            return None;
        };
        let doubt = slot.first_error().is_some_and(|error| error.operation() == Operation::Write);
        let doubt = doubt && self.may_have_landed(slot);
        if doubt && self.append_end().is_none() {
            let note = "it is not known whether the bytes whose write failed are in the file";
            let error = Error::noted(ErrorKind::Os, Operation::Recover, note).with_fd(slot.fd());
            self.swap_refused(Some(error), slot, commons);
            return None;
        }
        let Pieces(list) = &pieces;
        let size = self.append_end().filter(|_| doubt || !list.is_empty());
        let name = Name { beneath: None, path: std::ffi::CString::default() };
        let work = Box::new(self.open_work(slot, name));
        Some(HandleWork::Recover { handle, work, pieces, size, owed: self.owed_name() })
    }

    /// The request ends without a job.
    fn swap_refused(&mut self, error: Option<Error>, slot: &Slot, commons: &Commons) {
        self.busy.barrier = false;
        slot.with_report(|report| report.news = error.or_else(|| report.error.clone()));
        Self::request_done(slot);
        commons.raise(slot, (Readiness::DONE | Readiness::ERROR).bits());
    }

    /// Another file, or opening, is behind the handle; or not.
    pub(super) fn swapped(
        &mut self,
        result: std::result::Result<Opened, Fault>,
        slot: &Slot,
        commons: &Commons,
    ) {
        self.busy.barrier = false;
        let recovered = matches!(slot.meta.asked(), Some((Asked::Recover, _)));
        let opened = match result {
            Ok(opened) => opened,
            // The old file could not be made durable: that is a failed sync like any other.
            Err(fault) if fault.operation == Operation::Sync && !recovered => {
                Self::request_done(slot);
                self.sync.failed = true;
                self.end_stall(slot);
                self.poison_by(fault, None, slot, commons);
                commons.raise(slot, (Readiness::DONE | Readiness::ERROR).bits());
                return;
            }
            Err(fault) => {
                let error = self.error_of(slot, fault, None);
                self.swap_refused(Some(error), slot, commons);
                return;
            }
        };
        self.device = opened.device;
        self.traces_end();
        let (set, clear) = if opened.nowait { (flag::NOWAIT, 0) } else { (0, flag::NOWAIT) };
        slot.state.clear(clear | flag::SIZE_KNOWN);
        slot.state.set(set | flag::STALE_WINDOW);
        slot.set_size(opened.size);
        slot.set_durable(slot.written());
        self.sync.name_owed = false;
        self.name = None;
        self.sync.metadata_changed = false;
        self.release_retained(slot, commons);
        self.set_append_end(opened.size);
        let mut bits = Readiness::DONE;
        if recovered {
            bits |= self.heal(slot);
            self.tell(slot, Change::Recovered);
        } else if let Some(to) = slot.meta.new_name() {
            // It may have been made by this open.
            self.sync.name_owed = true;
            self.path = Some(to.path.into_boxed_path());
            self.keep_name(&to.name);
            if slot.state.load().has(flag::EAGER) {
                self.sync.want(0);
            }
            self.tell(slot, Change::Reopened);
        }
        slot.moved();
        Self::request_done(slot);
        commons.room_made(slot);
        commons.raise(slot, bits.bits());
    }

    /// Everything written is durable again: the first error stands no more, and what waits goes out.
    fn heal(&mut self, slot: &Slot) -> Readiness {
        self.poisoned = false;
        self.sync.failed = false;
        self.flush.target = slot.write.accepted();
        slot.with_report(|report| report.error = None);
        slot.state.clear(flag::POISONED);
        Readiness::RESUMED | Readiness::WRITABLE
    }
}
