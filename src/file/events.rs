//! Events of a slot on their way to an inbox: raised, handed on to another one, or taken with the last answer.
//!
//! ```text
//!   raise    events and inbox in one step (`Pending`) ─► the inbox's list ─► is it still the slot's inbox?
//!   rebind   another inbox in that word ─► the old list: what is not its own is handed on
//! ```
//!
//! Who pushes looks at the word once more, and who rebinds looks through the list, each behind a fence: of the two, one
//! finds the slot in the list of an inbox that is not its own any more, and sees to it.

use crate::error::{Error, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::news::DEFAULT_INBOX;
use crate::sync::{Ordering, fence, futex};

use super::Slot;
use super::commons::Commons;
use super::read::NowaitRead;
use super::state::{DrainEnd, LastAnswer, Phase, Raised, Rebound};

/// So many last answers taken outside the drain are followed by a look for slots to free.
const SWEEP_EVERY: u32 = 32;

impl Commons {
    /// Raises an event of a slot; after CLOSED the slot may be another file's at once.
    pub(crate) fn raise(&self, slot: &Slot, bits: u32) {
        let raised = slot.pending.raise(bits);
        self.settle_raised(slot, raised);
    }

    pub(super) fn settle_raised(&self, slot: &Slot, raised: Raised) {
        if let Some(inbox) = raised.enqueue {
            self.enqueue(slot, inbox);
        }
        if raised.wake {
            // ORDER: AcqRel: after CLOSED was raised; pairs with the load in `ef_close_immediate`.
            self.closings.fetch_add(1, Ordering::AcqRel);
            futex::wake_all(&self.closings);
        }
        if raised.tasks != 0 {
            self.wake_tasks(slot, raised.tasks);
        }
    }

    /// Puts a slot that is on no list on that of an inbox.
    pub(crate) fn enqueue(&self, slot: &Slot, inbox: u32) {
        self.inboxes.get(inbox).push(&self.by_ready(), slot.index);
        // ORDER: SeqCst pairs with the fence in `settle_rebound`: this sees the new inbox, or the sweep there the slot.
        fence(Ordering::SeqCst);
        if slot.pending.inbox() != inbox {
            self.forward(inbox);
        }
    }

    /// Does what a change of a slot's inbox asks for.
    pub(super) fn settle_rebound(&self, rebound: Rebound) {
        if let Rebound::Forward(from) = rebound {
            // ORDER: SeqCst pairs with the fence in `enqueue`.
            fence(Ordering::SeqCst);
            self.forward(from);
        }
    }

    /// Hands on what stands in the list of an inbox and is for another one. If a drain is at work there, it does so at
    /// its end.
    pub(crate) fn forward(&self, inbox: u32) {
        let mut strays = Vec::new();
        self.inboxes.get(inbox).forward(&self.by_ready(), |index| {
            let stray = self.table.get(index).filter(|slot| slot.pending.inbox() != inbox);
            strays.extend(stray);
            stray.is_some()
        });
        for slot in strays {
            self.enqueue(slot, slot.pending.inbox());
        }
    }

    /// `ef_rebind`: the file's events go to another inbox; what is ready is raised there anew.
    pub(crate) fn rebind(&self, fd: Fd, inbox: u32, nowait: NowaitRead<'_>) -> Result<()> {
        let stale = || Error::stale(Operation::Poll, fd);
        let slot = self.slot(fd).filter(|slot| slot.state.load().is(fd)).ok_or_else(stale)?;
        let rebound = slot.pending.rebind(fd.generation(), inbox);
        if rebound == Rebound::Refused {
            return Err(stale());
        }
        self.settle_rebound(rebound);
        self.raise_ready(slot, fd, nowait);
        Ok(())
    }

    /// After a change of the inbox, so that what came before it and was drained there is met here.
    fn raise_ready(&self, slot: &Slot, fd: Fd, nowait: NowaitRead<'_>) {
        let level = Readiness::OPENED
            | Readiness::READABLE
            | Readiness::WRITABLE
            | Readiness::STALLED
            | Readiness::ERROR;
        // One that is closing has only its closed event to come.
        if slot.state.load().phase() != Phase::Open {
            return;
        }
        let Ok(ready) = self.readiness(fd, nowait) else { return };
        if let Some(raised) = slot.pending.raise_for(fd.generation(), (ready & level).bits()) {
            self.settle_raised(slot, raised);
        }
    }

    /// The consumer of an inbox is gone: its files go to the default one, and nothing of theirs is lost.
    pub(crate) fn retire_inbox(&self, inbox: u32, nowait: NowaitRead<'_>) {
        self.inboxes.mute(inbox);
        for (_, slot) in self.table.iter() {
            let rebound = slot.pending.rebind_from(inbox, DEFAULT_INBOX);
            if rebound != Rebound::Refused {
                self.settle_rebound(rebound);
                self.raise_ready(slot, slot.fd(), nowait);
            }
        }
        self.forward(inbox);
        self.inboxes.give_back(inbox);
    }

    /// Frees slots whose last answer was taken while they stood in the ready list, every so often: a program that asks for
    /// answers and never drains would else run out of slots.
    fn sweep_taken(&self, inbox: u32) {
        let news = self.inboxes.get(inbox);
        if news.count_taken() % SWEEP_EVERY != SWEEP_EVERY - 1 {
            return;
        }
        news.sweep(&self.by_ready(), |index| {
            let Some(slot) = self.table.get(index).filter(|slot| slot.pending.is_taken()) else {
                return false;
            };
            let (_, end) = slot.pending.drain(inbox);
            if end == DrainEnd::Free {
                self.free(slot);
            }
            end == DrainEnd::Free
        });
        if news.take_strays() {
            self.forward(inbox);
        }
    }

    /// Acts on what `take_last` said; true when the caller has the answer.
    pub(crate) fn settle(&self, slot: &Slot, answer: LastAnswer) -> bool {
        match answer {
            LastAnswer::Free => {
                self.free(slot);
                true
            }
            LastAnswer::DrainFrees => {
                self.sweep_taken(slot.pending.inbox());
                true
            }
            LastAnswer::Gone | LastAnswer::NotYet => false,
        }
    }
}
