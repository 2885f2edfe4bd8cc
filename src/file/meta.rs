//! The request of a file for which there is one place: truncate, preallocate, or the size.
//!
//! ```text
//!   IDLE ──ask──► SETTING ──► ASKED ──taken by the actor, done──► IDLE, and an event
//! ```
//!
//! A second one while the first is not done is refused with `WouldBlock`; the event of the first tells when to try again.
//! A truncate stands in the file's order: what was accepted before it is written before it, what comes later after it.

use crate::error::{Error, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::job::handles::{HandleWork, Lock};
use crate::job::{Fault, Kind, Stat, Work};
use crate::sync::{AtomicU64, Ordering};

use super::Slot;
use super::commons::Commons;
use super::control::{Control, Polled};
use super::lease::Parcel;
use super::state::{Phase, flag, mail};
use super::swap::NewName;
use super::weave::weave_of;

const IDLE: u64 = 0;
const SETTING: u64 = 1;
const ASKED: u64 = 2;
/// Asked for a change of the size, behind which reads by offset wait.
const RESIZE: u64 = 3;
const STATE: u64 = u32::MAX as u64;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Truncate {
        size: u64,
    },
    Preallocate {
        offset: u64,
        bytes: u64,
        keep_size: bool,
    },
    Size,
    /// All that the open file's metadata tells.
    Stat,
    Lock(Lock),
    Reopen,
    Recover,
}

/// A request, and the accepted bytes that come before it.
#[derive(Debug)]
pub(crate) struct Body {
    asked: Asked,
    barrier: u64,
    /// Where a reopened file lies.
    to: Option<NewName>,
}

/// The words of one request.
#[derive(Debug)]
pub(crate) struct MetaRequest {
    /// generation:32 | state:32.
    word: AtomicU64,
    body: Parcel<Body>,
}

impl MetaRequest {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(0), body: Parcel::new() }
    }

    pub(crate) fn reset(&self, generation: u32) {
        drop(self.body.take());
        // ORDER: Release: a late caller of the last life finds another generation.
        self.word.store(u64::from(generation) << 32 | IDLE, Ordering::Release);
    }

    /// Leaves a request; false when one is under way, or the file is another by now.
    #[must_use]
    fn ask(&self, generation: u32, asked: Asked, place: impl FnOnce() -> u64, to: Option<NewName>) -> bool {
        let life = u64::from(generation) << 32;
        // ORDER: AcqRel: one asks at a time; ordered after the actor's `done`.
        if self
            .word
            .compare_exchange(life | IDLE, life | SETTING, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            return false;
        }
        let state = if matches!(asked, Asked::Truncate { .. } | Asked::Reopen) { RESIZE } else { ASKED };
        self.body.put(Box::new(Body { asked, barrier: place(), to }));
        // ORDER: Release publishes the request; pairs with `asked`.
        self.word.store(life | state, Ordering::Release);
        true
    }

    /// The actor: what is asked for, and the accepted bytes that come before it.
    pub(super) fn asked(&self) -> Option<(Asked, u64)> {
        // ORDER: Acquire pairs with `ask`.
        if self.word.load(Ordering::Acquire) & STATE < ASKED {
            return None;
        }
        self.body.with(|body| (body.asked, body.barrier))
    }

    /// A change of the size waits or is under way.
    pub(super) fn is_barrier(&self) -> bool {
        // ORDER: Acquire: a request made before by the same caller is seen.
        self.word.load(Ordering::Acquire) & u64::from(u32::MAX) == RESIZE
    }

    /// The actor: a request waits for what was accepted before it.
    pub(super) fn has_barrier(&self) -> bool {
        match self.asked() {
            Some((
                Asked::Truncate { .. } | Asked::Reopen | Asked::Preallocate { keep_size: false, .. },
                _,
            )) => true,
            Some((Asked::Lock(lock), _)) => lock.exclusive.is_none(),
            _ => false,
        }
    }

    /// The actor: where a reopened file lies.
    pub(super) fn new_name(&self) -> Option<NewName> {
        self.body.with(|body| body.to.clone()).flatten()
    }

    /// The actor: the request is dealt with.
    fn done(&self) {
        drop(self.body.take());
        // ORDER: AcqRel: the next `ask` is ordered after what the actor did.
        self.word.fetch_and(!u64::from(u32::MAX), Ordering::AcqRel);
    }
}

impl Commons {
    /// Queues a truncate, a preallocation or a question for the size.
    pub(crate) fn ask(&self, fd: Fd, asked: Asked, operation: Operation, owner: bool) -> Result<()> {
        self.ask_with(fd, asked, None, operation, owner)
    }

    /// As `ask`, of another file.
    pub(super) fn ask_with(
        &self,
        fd: Fd,
        asked: Asked,
        to: Option<NewName>,
        operation: Operation,
        owner: bool,
    ) -> Result<()> {
        let refuse = |kind| Err(Error::plain(kind, operation, Some(fd)));
        use crate::error::ErrorKind::{Busy, NotPermitted, Stale, WouldBlock};
        let Some(slot) = self.slot(fd) else { return refuse(Stale) };
        let seen = slot.state.load();
        if !seen.is(fd) || !matches!(seen.phase(), Phase::Opening | Phase::Open) {
            return refuse(Stale);
        }
        let looks = matches!(asked, Asked::Size | Asked::Stat | Asked::Lock(_));
        if !looks && !seen.has(flag::WRITE) {
            return refuse(NotPermitted);
        }
        if seen.has(flag::OWNED) && !owner && !matches!(asked, Asked::Truncate { .. } | Asked::Stat) {
            return refuse(Busy);
        }
        let heals = asked == Asked::Recover;
        if !looks && !heals && seen.has(flag::POISONED) || seen.has(flag::FAILED) {
            return Err(slot.first_error().unwrap_or_else(|| Error::stale(operation, fd)));
        }
        let place = || if seen.has(flag::WRITE) { slot.write.mark_place() } else { 0 };
        if !slot.meta.ask(fd.generation(), asked, place, to) {
            return refuse(WouldBlock);
        }
        if !looks {
            // An answer that a seek has not used yet is of the size before.
            slot.state.clear(flag::SIZE_KNOWN);
            slot.moved();
        }
        self.post(slot, mail::META);
        Ok(())
    }
}

impl Commons {
    /// `ef_fstat`: takes the metadata that was asked for, else asks.
    pub(crate) fn file_stat(&self, fd: Fd) -> Result<Stat> {
        let lives = |slot: &&Slot| {
            let seen = slot.state.load();
            seen.is(fd) && matches!(seen.phase(), Phase::Opening | Phase::Open)
        };
        let Some(slot) = self.slot(fd).filter(lives) else {
            return Err(Error::stale(Operation::Stat, fd));
        };
        // Looked at once more with the report in hand: the answer may be the next file's.
        let own = |report: &mut super::Report| slot.state.load().is(fd).then(|| report.stat.take()).flatten();
        if let Some(answer) = slot.with_report(own) {
            return answer.map(|stat| *stat);
        }
        self.ask(fd, Asked::Stat, Operation::Stat, true)?;
        Err(Error::would_block(Operation::Stat, fd))
    }
}

/// The accepted bytes that stand for the place of a request: of a file whose threads have an order each, the end of all that
/// was woven in before it.
pub(super) fn place_of(slot: &Slot, accepted: u64) -> u64 {
    weave_of(slot).map_or(accepted, |weave| weave.barrier())
}

impl Control {
    /// The accepted bytes that must be written before the request that waits, and none beyond.
    pub(super) fn barrier(&self, slot: &Slot) -> Option<u64> {
        match slot.meta.asked() {
            Some((asked, barrier)) if asked == Asked::Reopen || self.moves_end(asked) => {
                Some(place_of(slot, barrier))
            }
            _ => None,
        }
    }

    /// The size is asked for, which comes between two writes.
    pub(super) fn asks_size(slot: &Slot) -> bool {
        matches!(slot.meta.asked(), Some((Asked::Size, _)))
    }

    /// Has what is accepted before a request written, without waiting for the timer.
    pub(super) fn write_first(&mut self, barrier: u64, slot: &Slot, commons: &Commons, out: &mut Polled) {
        // What several threads wrote in an order each goes out as it is woven in.
        if slot.write.stripes().is_none() {
            self.flush.target = self.flush.target.max(barrier);
        }
        self.drive_write(slot, commons, out);
    }

    /// The request is dealt with, and nothing waits behind it any more.
    pub(super) fn request_done(slot: &Slot) {
        if let Some(mut weave) = weave_of(slot) {
            weave.pass_barrier();
        }
        slot.meta.done();
    }

    /// It changes where the file ends, and the writes before it must not be taken for writes behind it.
    fn moves_end(&self, asked: Asked) -> bool {
        match asked {
            Asked::Truncate { .. } => true,
            // Of what is retained for an append file only the distance from the end is known.
            Asked::Preallocate { keep_size, .. } => !keep_size && self.append_end().is_some(),
            _ => false,
        }
    }

    /// Begins the request, if its turn has come.
    pub(super) fn drive_meta(&mut self, slot: &Slot, commons: &Commons, out: &mut Polled) {
        let Some(handle) = self.handle.filter(|_| !self.busy.meta) else { return };
        let Some((asked, barrier)) = slot.meta.asked() else { return };
        let closing = slot.state.load().phase() == Phase::Closing;
        if closing && (self.poisoned || slot.state.load().has(flag::ABORT)) {
            // Its file takes no more changes; the closed event says why.
            Self::request_done(slot);
            self.busy.barrier = false;
            return;
        }
        let work = match asked {
            _ if self.poisoned && self.moves_end(asked) => {
                Self::request_done(slot);
                commons.raise(slot, (Readiness::DONE | Readiness::ERROR).bits());
                return;
            }
            _ if self.moves_end(asked) && (slot.written() < place_of(slot, barrier) || self.busy.write) => {
                self.write_first(barrier, slot, commons, out);
                return;
            }
            _ if self.moves_end(asked) && self.keeps_back(slot) => return,
            Asked::Truncate { size } => Work::Truncate { handle, size },
            Asked::Preallocate { offset, bytes, keep_size } => {
                Work::Preallocate { handle, offset, bytes, keep_size }
            }
            // A write that lands meanwhile would be counted twice, or not at all.
            Asked::Size if self.busy.write => return,
            // Of bytes in several places not even the writer's own offset says how far they reach.
            Asked::Size if slot.write.scattered() > slot.written() && !self.poisoned => {
                self.flush.target = self.flush.target.max(slot.write.accepted());
                return;
            }
            Asked::Size => Work::Size { handle },
            Asked::Stat => Work::FileStat { handle },
            // Who gets the range next is to see what was written under the lock.
            Asked::Lock(lock)
                if lock.exclusive.is_none() && slot.written() < place_of(slot, barrier) && !self.poisoned =>
            {
                self.write_first(barrier, slot, commons, out);
                return;
            }
            Asked::Lock(lock) => Work::Handle(Box::new(HandleWork::Lock { handle, lock })),
            Asked::Reopen | Asked::Recover => {
                let Some(work) = self.work_of_swap(asked, barrier, handle, slot, commons, out) else {
                    return;
                };
                work
            }
        };
        self.busy.meta = true;
        let beside_writes = matches!(asked, Asked::Preallocate { .. } | Asked::Stat | Asked::Lock(_));
        self.busy.barrier = !beside_writes || self.moves_end(asked);
        out.job(slot, self.device, Kind::Meta, work);
    }

    /// The metadata of the open file is there.
    pub(super) fn looked_at(
        &mut self,
        result: std::result::Result<Stat, Fault>,
        slot: &Slot,
        commons: &Commons,
    ) {
        let answer = result.map(Box::new).map_err(|fault| self.error_of(slot, fault, None));
        let mut bits = Readiness::DONE;
        slot.with_report(|report| {
            if let Err(error) = &answer {
                bits |= Readiness::ERROR;
                report.news = Some(error.clone());
            }
            report.stat = Some(answer);
        });
        Self::request_done(slot);
        commons.raise(slot, bits.bits());
    }

    /// The request is done.
    pub(super) fn changed(
        &mut self,
        result: std::result::Result<u64, Fault>,
        slot: &Slot,
        commons: &Commons,
    ) {
        self.busy.barrier = false;
        let asked = slot.meta.asked().map(|(asked, _)| asked);
        let mut bits = Readiness::DONE;
        match (result, asked) {
            (Ok(size), Some(Asked::Size)) => {
                slot.set_size(size);
                slot.state.set(flag::SIZE_KNOWN);
            }
            (Ok(_), Some(Asked::Truncate { size })) => {
                slot.set_size(size);
                slot.state.set(flag::STALE_WINDOW);
                slot.moved();
                self.sync.metadata_changed = true;
                self.set_append_end(size);
            }
            (Ok(_), Some(Asked::Lock(_))) => {
                // What others wrote before they gave the range up is to be seen.
                slot.state.set(flag::STALE_WINDOW);
                slot.moved();
            }
            (Ok(_), Some(Asked::Preallocate { offset, bytes, keep_size })) => {
                self.sync.metadata_changed = true;
                if !keep_size {
                    // An end in the window, or met by offset, is that of before.
                    slot.state.set(flag::STALE_WINDOW);
                    slot.moved();
                    slot.set_size(slot.size().max(offset + bytes));
                    if let Some(end) = self.append_end() {
                        self.set_append_end(end.max(offset + bytes));
                    }
                }
            }
            (Ok(_), Some(Asked::Stat | Asked::Reopen | Asked::Recover) | None) => {}
            (Err(fault), _) => {
                let error = self.error_of(slot, fault, None);
                slot.with_report(|report| report.news = Some(error));
                bits |= Readiness::ERROR;
            }
        }
        Self::request_done(slot);
        commons.raise(slot, bits.bits());
    }
}
