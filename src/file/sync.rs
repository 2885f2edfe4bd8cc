//! Syncing: what was accepted before a sync becomes durable; syncs that come together share one flush.
//!
//! A sync waits until the bytes it covers are written, then runs fdatasync, beside further writes if there are any; it
//! covers what was written before it began. Syncs asked for meanwhile are answered by the next one, together. A file
//! that may have been made by its open owes its name too: the first sync also syncs the folder.
//!
//! A sync that fails poisons the file: the kernel may have dropped the pages it could not write, and a second fdatasync
//! would say yes about bytes that are gone ("Can Applications Recover from fsync Failures?", USENIX ATC 2020).

use crate::config::Durability;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::job::{Fault, Kind, Work};
use crate::sync::Ordering;

use super::Slot;
use super::commons::Commons;
use super::control::{Control, Polled};
use super::state::{Phase, flag, mail};

/// Whether the actor wants a sync that nobody waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Unasked {
    #[default]
    No,
    /// Once what it is to cover is written.
    AtTarget,
    /// Of what is written now: something waits for that, which may itself be what holds up the rest.
    Now,
}

/// What the actor knows of syncs.
#[derive(Debug, Default)]
pub(super) struct Syncing {
    /// The asked count that is answered, and the one that `target` stands for.
    answered: u32,
    heard: u32,
    /// Accepted bytes that the sync to come must cover.
    pub(super) target: u64,
    /// The sync under way: the bytes and the count that it answers.
    covers: u64,
    covers_asked: u32,
    /// The timer or the close wants one that nobody is waiting for.
    unasked: Unasked,
    /// The name is not durable yet.
    pub(super) name_owed: bool,
    /// A sync failed: what was written since the last one may be gone.
    pub(super) failed: bool,
    /// Size or blocks changed since the last sync began.
    pub(super) metadata_changed: bool,
}

impl Syncing {
    /// Somebody waits for a sync.
    pub(super) fn is_owed(&self) -> bool {
        self.answered != self.heard
    }

    /// One is asked for, and what it is to cover is written.
    pub(super) fn is_due(&self, slot: &Slot) -> bool {
        let wanted = self.is_owed() || self.unasked != Unasked::No;
        wanted && (slot.written() >= self.target || self.unasked == Unasked::Now)
    }

    /// A sync that nobody waits for is to cover these accepted bytes.
    pub(super) fn want(&mut self, target: u64) {
        self.target = self.target.max(target);
        if self.unasked == Unasked::No {
            self.unasked = Unasked::AtTarget;
        }
    }

    /// A sync that nobody waits for is to cover what is written.
    pub(super) fn want_now(&mut self) {
        self.unasked = Unasked::Now;
    }

    /// Nobody does any more: all were told of the error.
    pub(super) fn settle_all(&mut self) {
        self.answered = self.heard;
        self.unasked = Unasked::No;
    }

    /// The timer came.
    pub(super) fn interval_came(&mut self, durability: Durability, slot: &Slot) {
        let accepted = slot.write.accepted();
        if durability == Durability::Interval && accepted > slot.durable() {
            self.want(accepted);
        }
    }
}

impl Commons {
    /// `ef_sync`: counts the request and tells the actor.
    pub(crate) fn sync(&self, fd: Fd) -> Result<()> {
        let refuse = |kind| Err(Error::plain(kind, Operation::Sync, Some(fd)));
        let Some(slot) = self.slot(fd) else { return refuse(ErrorKind::Stale) };
        let seen = slot.state.load();
        if !seen.is(fd) || !matches!(seen.phase(), Phase::Opening | Phase::Open) {
            return refuse(ErrorKind::Stale);
        }
        if seen.has(flag::ENDING) {
            return refuse(ErrorKind::Shutdown);
        }
        if seen.has(flag::POISONED | flag::FAILED) {
            return Err(slot
                .first_error()
                .unwrap_or_else(|| Error::plain(ErrorKind::Panicked, Operation::Sync, Some(fd))));
        }
        // ORDER: Relaxed: a first guess, checked by the exchange.
        let mut asked = slot.sync_asked.load(Ordering::Relaxed);
        loop {
            if (asked >> 32) as u32 != fd.generation() {
                return refuse(ErrorKind::Stale);
            }
            let next = asked & !u64::from(u32::MAX) | u64::from((asked as u32).wrapping_add(1));
            // ORDER: Release: the bytes accepted before are counted in what the actor covers when it hears of this.
            match slot.sync_asked.compare_exchange_weak(asked, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => asked = now,
            }
        }
        self.post(slot, mail::SYNC);
        Ok(())
    }
}

impl Control {
    /// Takes up the syncs asked for since the last look.
    pub(super) fn hear_sync(&mut self, slot: &Slot) {
        // ORDER: Acquire pairs with `Commons::sync`: what was accepted before the call is seen below.
        let asked = slot.sync_asked.load(Ordering::Acquire) as u32;
        // A batch that waits for its bytes takes no more in, or a steady stream of writes and syncs would put it off for
        // ever; those that come meanwhile are the next one.
        let forming = self.sync.is_owed() && self.sync.heard != self.sync.covers_asked;
        if asked == self.sync.heard || forming && !self.poisoned {
            return;
        }
        self.sync.heard = asked;
        self.sync.target = slot.write.accepted();
        self.flush.target = self.flush.target.max(self.sync.target);
        self.retry_now();
    }

    /// Begins a sync, if one is asked for and its bytes are written.
    pub(super) fn drive_sync(&mut self, slot: &Slot, commons: &Commons, out: &mut Polled) {
        if self.poisoned {
            if self.sync.is_owed() {
                self.sync.settle_all();
                commons.raise(slot, (Readiness::SYNCED | Readiness::ERROR).bits());
            }
            return;
        }
        let Some(handle) = self.handle else { return };
        if self.busy.sync || self.busy.settling || self.busy.barrier || !self.sync.is_due(slot) {
            return;
        }
        self.begin_sync(handle, slot, out);
    }

    fn begin_sync(&mut self, handle: crate::job::Handle, slot: &Slot, out: &mut Polled) {
        // One that comes before its time answers nobody.
        let whole = slot.written() >= self.sync.target;
        let later = !whole && self.sync.unasked != Unasked::No;
        self.sync.unasked = if later { Unasked::AtTarget } else { Unasked::No };
        self.sync.metadata_changed = false;
        self.sync.covers = slot.written();
        self.sync.covers_asked = if whole { self.sync.heard } else { self.sync.answered };
        self.busy.sync = true;
        let name = self.owed_name();
        out.job(slot, self.device, Kind::Sync, Work::Sync { handle, name });
    }

    /// A sync is done.
    pub(super) fn synced(&mut self, result: std::result::Result<(), Fault>, slot: &Slot, commons: &Commons) {
        match result {
            Ok(()) => {
                let count = self.sync.covers_asked;
                self.sync.name_owed = false;
                self.name = None;
                // Of a file whose writes are durable by themselves only the name was missing.
                let eager = slot.state.load().has(flag::EAGER);
                let covers = if eager { slot.written() } else { self.sync.covers };
                slot.set_durable(slot.durable().max(covers));
                self.release_retained(slot, commons);
                if count != self.sync.answered {
                    self.sync.answered = count;
                    commons.raise(slot, Readiness::SYNCED.bits());
                }
            }
            Err(fault) => {
                let offset = (!self.setup.append).then(|| slot.durable());
                self.end_stall(slot);
                self.sync.failed = true;
                self.poison_by(fault, offset, slot, commons);
            }
        }
    }

    /// At the close: whether the bytes and the name still have to be made durable, beginning it if so.
    pub(super) fn drive_last_sync(&mut self, slot: &Slot, out: &mut Polled) -> bool {
        if self.busy.sync {
            return true;
        }
        let Some(handle) = self.handle else { return false };
        let promised = self.setup.durability != Durability::None;
        // Without a name the data cannot be found: publishing syncs both, in its order.
        let later = self.setup.atomic && slot.state.load().has(flag::PUBLISH);
        let behind = slot.durable() < slot.written() || self.sync.metadata_changed || self.sync.name_owed;
        let wanted = self.sync.is_owed() || promised && behind && !later;
        if !wanted || self.poisoned || slot.state.load().has(flag::ABORT) {
            return false;
        }
        self.begin_sync(handle, slot, out);
        true
    }
}
