//! Tasks: one waker for each direction of a file, beside the events of its inbox.
//!
//! ```text
//!   task     waker into its place ─ await in the word ─ look what is ready ─ nothing? it sleeps
//!   raiser   told in the word, awaited down ─ takes the waker from its place ─ wakes
//! ```
//!
//! The word says whether a waker is to be found, so an event finds either the waker or nobody waiting, and then the task's
//! look comes later and sees what the event is about. A raiser may find the waker of the next wait, and wakes that one in
//! vain; a task that is woken looks again, so that does no harm. The wakers lie in the slot's report, which is made when
//! it is first needed.

use std::task::Waker;

use crate::error::{Error, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::sync::lock;

use super::Slot;
use super::commons::Commons;
use super::read::NowaitRead;
use super::state::{DIRECTIONS, Phase, flag};

/// The places of the wakers.
pub(crate) type Wakers = [Option<Waker>; DIRECTIONS.len()];

/// The directions, by number, that these events are of.
fn numbers(events: u32) -> impl Iterator<Item = usize> {
    (0..DIRECTIONS.len()).filter(move |number| DIRECTIONS[*number] & events != 0)
}

impl Slot {
    /// Takes the wakers of the directions of these events. They are dropped or called outside the lock.
    fn take_wakers(&self, events: u32) -> Wakers {
        let mut taken = Wakers::default();
        if let Some(report) = lock(&self.report).as_mut() {
            for number in numbers(events) {
                taken[number] = report.wakers[number].take();
            }
        }
        taken
    }

    fn put_waker(&self, events: u32, waker: &Waker) {
        let _before = self.with_report(|report| {
            let mut before = Wakers::default();
            for number in numbers(events) {
                if !report.wakers[number].as_ref().is_some_and(|old| old.will_wake(waker)) {
                    before[number] = report.wakers[number].replace(waker.clone());
                }
            }
            before
        });
    }
}

impl Commons {
    /// Wakes the tasks of the directions of these events.
    #[cold]
    pub(super) fn wake_tasks(&self, slot: &Slot, events: u32) {
        for waker in slot.take_wakers(events).into_iter().flatten() {
            self.inboxes.default().contain(|| waker.wake());
        }
    }

    /// From here on a task is woken for these events, in place of the inbox; gives what it was told since it last asked.
    pub(crate) fn attend(&self, fd: Fd, events: u32, waker: &Waker) -> Result<Readiness> {
        let stale = || Error::stale(Operation::Poll, fd);
        let slot = self.slot(fd).filter(|slot| slot.state.load().is(fd)).ok_or_else(stale)?;
        slot.put_waker(events, waker);
        let told = slot.pending.attend(fd.generation(), events);
        told.map(Readiness::from_bits).ok_or_else(stale)
    }

    /// `poll_ready`: what of these events is there; nothing: the task is woken when there is.
    pub(crate) fn poll_ready(
        &self,
        fd: Fd,
        events: u32,
        waker: &Waker,
        nowait: NowaitRead<'_>,
    ) -> Result<Readiness> {
        let told = self.attend(fd, events, waker)?;
        // The look comes after the waker is in its place. A closed file is of interest to everyone.
        let wanted = Readiness::from_bits(events) | Readiness::CLOSED;
        let mut ready = told | self.readiness(fd, nowait)? & wanted;
        let Some(slot) = self.slot(fd) else { return Ok(ready) };
        let seen = slot.state.load();
        if seen.phase() == Phase::Opening && seen.has(flag::FAILED) {
            ready |= Readiness::ERROR;
        }
        if ready.is_empty() {
            return Ok(ready);
        }
        slot.pending.leave(fd.generation(), events);
        drop(slot.take_wakers(events));
        if ready.is_error() && !ready.is_closed() {
            let error = slot.with_report(|report| report.news.take().or_else(|| report.error.clone()));
            return error.map_or(Ok(ready), Err);
        }
        Ok(ready)
    }

    /// The task is gone: its directions are the inbox's again, and what it was told goes there.
    pub(crate) fn forget_task(&self, fd: Fd, events: u32) {
        let Some(slot) = self.slot(fd) else { return };
        if let Some(raised) = slot.pending.give_back(fd.generation(), events) {
            drop(slot.take_wakers(events));
            self.settle_raised(slot, raised);
        }
    }
}
