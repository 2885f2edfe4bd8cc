//! Answers of queued metadata calls, each in a slot of its own until it is taken.

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::job::names::NameAnswer;
use crate::job::{Fault, Folder, Outcome, Stat};

use super::Slot;
use super::commons::Commons;
use super::control::Control;
use super::state::{LastAnswer, Phase};

/// What a queued metadata call came to.
#[derive(Debug)]
pub(crate) enum Answered {
    Stat(Box<Stat>),
    Folder(Folder),
    Named(NameAnswer),
    Done,
    Failed(Error),
}

impl Commons {
    /// `take`: the answer of an op, once.
    pub(crate) fn take_answer(&self, fd: Fd) -> Result<Answered> {
        let refuse = |kind| Err(Error::plain(kind, Operation::Take, Some(fd)));
        let Some(slot) = self.slot(fd) else { return refuse(ErrorKind::Stale) };
        let seen = slot.state.load();
        if !seen.is(fd) || seen.phase() != Phase::Op || slot.pending.is_taken() {
            return refuse(ErrorKind::Stale);
        }
        // Taken before the claim: after it the slot may be freed by the drain.
        let own =
            |report: &mut super::Report| slot.state.load().is(fd).then(|| report.answer.take()).flatten();
        let Some(answered) = slot.with_report(own) else {
            return refuse(ErrorKind::WouldBlock);
        };
        match slot.pending.take_answer(fd.generation()) {
            LastAnswer::NotYet => {
                slot.with_report(|report| report.answer = Some(answered));
                return refuse(ErrorKind::WouldBlock);
            }
            LastAnswer::Gone => return refuse(ErrorKind::Stale),
            answer => {
                self.settle(slot, answer);
            }
        }
        Ok(answered)
    }
}

impl Control {
    /// A queued metadata call has its answer.
    pub(super) fn answered(&mut self, outcome: Outcome, slot: &Slot, commons: &Commons) {
        let answered = match outcome {
            Outcome::Stat(Ok(stat)) => Answered::Stat(Box::new(stat)),
            Outcome::Folder(Ok(folder)) => Answered::Folder(folder),
            Outcome::Named(Ok(answer)) => Answered::Named(answer),
            Outcome::Stat(Err(fault))
            | Outcome::Renamed(Err(fault))
            | Outcome::Folder(Err(fault))
            | Outcome::Named(Err(fault)) => Answered::Failed(self.error_of_op(fault, slot)),
            _ => Answered::Done,
        };
        self.answer(answered, slot, commons);
    }

    fn error_of_op(&self, fault: Fault, slot: &Slot) -> Error {
        self.error_of(slot, fault, None)
    }

    pub(super) fn answer_panic(&mut self, slot: &Slot, commons: &Commons) {
        let error = Error::plain(ErrorKind::Panicked, Operation::Take, Some(slot.fd()));
        self.answer(Answered::Failed(error), slot, commons);
    }

    /// Leaves the answer and raises DONE, the last touch of the slot.
    fn answer(&mut self, answered: Answered, slot: &Slot, commons: &Commons) {
        let mut bits = Readiness::DONE;
        slot.with_report(|report| {
            if let Answered::Failed(error) = &answered {
                bits |= Readiness::ERROR;
                report.news = Some(error.clone());
            }
            report.answer = Some(answered);
        });
        *self = Self::default();
        commons.raise(slot, bits.bits());
    }
}
