//! The timer: when a half-full page is due, when a refused write is tried again, when a thread is missing.
//!
//! No clock is read on a write path. A file that becomes dirty is pushed on a list; the timer takes the list and stamps
//! what it finds. It knows a bound on when each push happened: since its last look, and if its last sleep was to be
//! longer than the file's interval, just now (the writer woke it). So no byte waits longer than its interval.
//!
//! A file found clean when its time comes leaves the list: its flag goes down, a heavy fence follows, and a second look
//! tells whether a writer published bytes meanwhile and still saw the flag up; if none did, the file gives its open page
//! back, so that idle files hold no memory. With no entry left the timer sleeps
//! without a deadline: an idle module does not wake at all.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::file::Slot;
use crate::file::control::Later;
use crate::file::state::{Phase, flag, mail};
use crate::sync::{Ordering, heavy_fence, lock};

use super::Engine;

/// Why a slot is on the timer's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// It is dirty.
    Dirty,
    /// Its actor asked to be polled.
    Asked,
    /// It was dirty in its last life, with a longer interval.
    Renewed,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Timer {
    due: BinaryHeap<Reverse<(u64, u32, Why)>>,
    looked_ns: u64,
    slept_ns: u64,
    growth: Growth,
}

/// Whether threads are missing.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    watching: bool,
    finished: u64,
    since_ns: u64,
}

impl Timer {
    pub(crate) fn new(now_ns: u64) -> Self {
        Self { due: BinaryHeap::new(), looked_ns: now_ns, slept_ns: 0, growth: Growth::default() }
    }

    /// An entry is due before a sleep of `sleep` from the last look on would end.
    pub(super) fn is_news(&self, sleep: Option<Duration>) -> bool {
        let wake = sleep.map_or(u64::MAX, |sleep| {
            self.looked_ns.saturating_add(u64::try_from(sleep.as_nanos()).unwrap_or(u64::MAX))
        });
        self.due.peek().is_some_and(|Reverse((at_ns, _, _))| *at_ns < wake)
    }

    pub(super) fn is_watching(&self) -> bool {
        self.growth.watching
    }
}

/// What the timer's round asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Round {
    /// How long to sleep; `None`: until woken.
    pub(crate) sleep: Option<Duration>,
    /// Jobs wait and none has finished for a while: another thread is needed.
    pub(crate) grow: bool,
}

impl Engine {
    /// Notes slots that their actors want to be polled later, and wakes the timer if one is due before it would wake.
    pub(super) fn look_later(&self, later: &mut Vec<Later>) {
        let mut timer = lock(&self.timer);
        for Later { slot, at_ns, renew } in later.drain(..) {
            timer.due.push(Reverse((at_ns, slot, if renew { Why::Renewed } else { Why::Asked })));
        }
        drop(timer);
        self.commons.clock.sleeper.wake();
    }

    /// One round of the timer at `now_ns`.
    pub(crate) fn timer_round(&self, now_ns: u64) -> Round {
        let mut timer = lock(&self.timer);
        self.stamp_dirty(&mut timer, now_ns);
        self.serve_due(&mut timer, now_ns);
        let grow = self.watch_growth(&mut timer.growth, now_ns);
        let next = timer.due.peek().map(|Reverse((at_ns, _, _))| *at_ns);
        let growth_ns = u64::try_from(self.commons.limits.thread_growth.as_nanos()).unwrap_or(u64::MAX);
        // Waiters whose turn came and went without a page of theirs being used: the next ones are told.
        let waiting = self.commons.has_promises();
        if waiting {
            self.commons.end_promises(now_ns);
            self.commons.serve_waiters();
            self.reclaim(&timer);
        }
        let watch = (timer.growth.watching || waiting).then(|| now_ns.saturating_add(growth_ns));
        let next = [next, watch].into_iter().flatten().min();
        let sleep = next.map(|at_ns| Duration::from_nanos(at_ns.saturating_sub(now_ns)));
        timer.looked_ns = now_ns;
        timer.slept_ns = sleep.map_or(u64::MAX, |sleep| u64::try_from(sleep.as_nanos()).unwrap_or(u64::MAX));
        self.commons.set_sleep(sleep);
        Round { sleep, grow }
    }

    /// Stamps the files that became dirty since the last look.
    fn stamp_dirty(&self, timer: &mut Timer, now_ns: u64) {
        for index in self.commons.dirty.take_all(&self.commons.by_dirty()) {
            let Some(slot) = self.commons.table.get(index) else { continue };
            slot.armed.stamped();
            let interval = interval_of(slot);
            let since = if timer.slept_ns > interval { now_ns } else { timer.looked_ns };
            timer.due.push(Reverse((since.saturating_add(interval), index, Why::Dirty)));
        }
    }

    /// Deals with the entries whose time has come.
    fn serve_due(&self, timer: &mut Timer, now_ns: u64) {
        let mut clean = Vec::new();
        while timer.due.peek().is_some_and(|Reverse((at_ns, _, _))| *at_ns <= now_ns) {
            let Some(Reverse((_, index, why))) = timer.due.pop() else { break };
            let Some(slot) = self.commons.table.get(index) else { continue };
            match why {
                Why::Asked => self.commons.post(slot, mail::PAGE),
                // Its writes are flushed one by one, and by the timer only if it knew the slot from another file.
                Why::Renewed | Why::Dirty if is_eager(slot) => clean.push(index),
                Why::Renewed => {
                    timer.due.push(Reverse((now_ns.saturating_add(interval_of(slot)), index, Why::Dirty)));
                }
                Why::Dirty if is_dirty(slot) => {
                    self.commons.post(slot, mail::TIMER);
                    timer.due.push(Reverse((now_ns.saturating_add(interval_of(slot)), index, Why::Dirty)));
                }
                Why::Dirty => clean.push(index),
            }
        }
        let slots = || clean.iter().filter_map(|index| self.commons.table.get(*index));
        if clean.is_empty() {
            return;
        }
        slots().for_each(|slot| slot.armed.disarm());
        heavy_fence();
        for slot in slots() {
            // A writer that saw the flag up just before published its bytes before that, so they are seen here.
            if is_dirty(slot) && is_eager(slot) {
                self.commons.post(slot, mail::FLUSH);
            } else if is_dirty(slot) && slot.armed.rearm() {
                timer.due.push(Reverse((now_ns.saturating_add(interval_of(slot)), slot.index, Why::Dirty)));
            } else if slot.write.held() > 0 && !slot.state.load().has(flag::OWNED) {
                self.commons.post(slot, mail::IDLE);
            }
        }
    }

    /// Files wait for pages: a quarter of the open pages, or as many as there are files that wait, are handed over as they
    /// are, those of the files due first; they come back once they are written.
    fn reclaim(&self, timer: &Timer) {
        let waiting = self.commons.waiting();
        if waiting == 0 {
            return;
        }
        let dirty = |entry: &Reverse<(u64, u32, Why)>| entry.0.2 == Why::Dirty;
        let mut holders: Vec<_> =
            timer.due.iter().filter(|entry| dirty(entry)).map(|entry| entry.0).collect();
        holders.sort_unstable();
        let count = waiting.max(holders.len() / 4);
        for slot in holders.iter().take(count).filter_map(|(_, index, _)| self.commons.table.get(*index)) {
            let generation = slot.state.load().generation();
            slot.write.cells.iter().for_each(|cell| self.commons.seal(slot, cell, generation));
            if let Some(stripes) = slot.write.stripes() {
                self.commons.want_stripes(slot, stripes);
            }
        }
    }

    /// Whether jobs wait and nothing moves.
    fn watch_growth(&self, growth: &mut Growth, now_ns: u64) -> bool {
        if !growth.watching && !self.commons.growth_asked() {
            return false;
        }
        // ORDER: Relaxed: a count.
        let finished = self.finished.load(Ordering::Relaxed);
        if !self.has_work() {
            self.commons.growth_answered();
            growth.watching = self.has_work();
            growth.since_ns = now_ns;
            return false;
        }
        if !growth.watching || finished != growth.finished {
            *growth = Growth { watching: true, finished, since_ns: now_ns };
            return false;
        }
        let waited = now_ns.saturating_sub(growth.since_ns);
        if Duration::from_nanos(waited) < self.commons.limits.thread_growth {
            return false;
        }
        growth.since_ns = now_ns;
        true
    }
}

fn interval_of(slot: &Slot) -> u64 {
    // ORDER: Relaxed: set when the file was opened, before it could be dirty.
    slot.write.interval_ns.load(Ordering::Relaxed)
}

/// The file has accepted bytes that are to be written, or made durable, and can be.
fn is_dirty(slot: &Slot) -> bool {
    let seen = slot.state.load();
    // A page that filled up may be written long before the interval is over: the sync is still owed then.
    let done = if seen.has(flag::TIMED) { slot.durable() } else { slot.written() };
    matches!(seen.phase(), Phase::Open | Phase::Closing)
        && !seen.has(flag::POISONED)
        && seen.has(flag::WRITE)
        && slot.write.accepted() > done
}

/// Each of its writes is flushed at once.
fn is_eager(slot: &Slot) -> bool {
    slot.state.load().has(flag::EAGER)
}
