//! One turn of the engine: poll the files that were submitted, run a job, finish it; no thread inside.
//!
//! The thread that takes a job runs it and finishes it: its `Done` goes back to the file, which is polled at once, and
//! whose next job may be the next thing this same thread does. So a page goes from the writer to the disk and its
//! event to the reader with two hand-overs, one each way.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::file::Slot;
use crate::file::control::Polled;
use crate::file::lease::PollRight;
use crate::file::state::mail;
use crate::job::{Done, Kind, Outcome};
use crate::pool::Turned;
use crate::sync::{Ordering, futex, lock};
use crate::sys::Backend;

use super::Engine;
use super::lanes::{Held, KEPT};

/// Between two syncs of a commit log there are no more jobs of one thread than this.
const COMMIT_JOBS: u32 = 16;

/// One caller of `turn`, with a backend of its own.
pub(crate) struct Worker {
    backend: Box<dyn Backend>,
    polled: Polled,
    dones: Vec<Done>,
    /// Jobs given to the backend and not back yet.
    held: Vec<Held>,
    /// Jobs since the last sync.
    since_sync: u32,
    /// A piece of a file has come since the last look.
    filled: bool,
}

impl Worker {
    /// Whoever waited for a sync is likely to have more to write at once.
    pub(crate) fn expects_more(&self) -> bool {
        self.since_sync < COMMIT_JOBS
    }

    /// Whether a piece of a file has come since the last look.
    pub(crate) fn take_filled(&mut self) -> bool {
        std::mem::take(&mut self.filled)
    }
}

impl Engine {
    pub(crate) fn worker(&self) -> Worker {
        Worker {
            backend: self.platform.backend(),
            polled: Polled::default(),
            dones: Vec::new(),
            held: Vec::new(),
            since_sync: COMMIT_JOBS,
            filled: false,
        }
    }

    /// See the head of this file.
    pub(crate) fn turn(&self, worker: &mut Worker) -> Turned {
        let guard = self.poison.guard();
        let polled = self.poll_submitted(worker);
        let refilled = self.refill();
        let ran = self.run_one(worker);
        let reaped = self.reap(worker);
        drop(guard);
        if polled || refilled || ran || reaped { Turned::Something } else { Turned::Nothing }
    }

    /// Something waits for a thread.
    pub(crate) fn has_work(&self) -> bool {
        !self.commons.submissions.is_empty()
            || self.commons.pool.wants_refill()
            || self.commons.waiters_due()
            || lock(&self.lanes).has_runnable()
    }

    fn poll_submitted(&self, worker: &mut Worker) -> bool {
        let mut any = false;
        for index in self.commons.submissions.take_all(&self.commons.by_submission()) {
            any = true;
            if let Some(slot) = self.commons.table.get(index) {
                self.poll(slot, worker);
            }
        }
        if any {
            self.dispatch(worker);
        }
        any
    }

    /// Polls a slot that this thread has the right to.
    fn poll(&self, slot: &Slot, worker: &mut Worker) {
        worker.polled.now_ns = self.platform.now_ns();
        self.commons.poll(slot, PollRight::of(slot), &mut worker.polled);
    }

    /// Puts what polls asked for where it belongs; wakes another thread if there is more than one job.
    fn dispatch(&self, worker: &mut Worker) {
        if !worker.polled.later.is_empty() {
            self.look_later(&mut worker.polled.later);
        }
        if worker.polled.jobs.is_empty() {
            return;
        }
        let mut lanes = lock(&self.lanes);
        for job in worker.polled.jobs.drain(..) {
            lanes.push(job);
        }
        if worker.polled.jobs.capacity() > KEPT {
            // After a rush, its memory goes back.
            worker.polled.jobs = Vec::new();
        }
    }

    /// Cuts new pages where they run low, and tells those who wait for one.
    fn refill(&self) -> bool {
        let wanted = self.commons.pool.wants_refill();
        let added = wanted && self.commons.pool.refill();
        if added || self.commons.waiters_due() {
            self.commons.serve_waiters();
            return true;
        }
        false
    }

    /// Takes a job and gives it to the backend, which for real disks means that it is done afterwards.
    fn run_one(&self, worker: &mut Worker) -> bool {
        let (job, held, more) = {
            let mut lanes = lock(&self.lanes);
            let Some((job, held)) = lanes.take() else { return false };
            (job, held, lanes.wants_another())
        };
        if more {
            self.commons.ring();
        }
        worker.held.push(held);
        let backend = &mut worker.backend;
        if catch_unwind(AssertUnwindSafe(|| backend.submit(job))).is_err() {
            // Nothing is known of what it did; the file is told so. The backend hands back only jobs that it finished.
            worker.dones.push(Done { slot: held.slot, kind: held.kind, outcome: Outcome::Panicked });
        }
        true
    }

    /// Brings finished jobs back to their files.
    fn reap(&self, worker: &mut Worker) -> bool {
        worker.backend.reap(&mut worker.dones);
        if worker.dones.is_empty() {
            return false;
        }
        for done in std::mem::take(&mut worker.dones) {
            let place = worker.held.iter().position(|held| held.slot == done.slot && held.kind == done.kind);
            debug_assert!(place.is_some(), "only what was submitted comes back");
            if let Some(place) = place {
                lock(&self.lanes).finished(worker.held.swap_remove(place));
            }
            // ORDER: Relaxed: a count, for the timer's question whether anything moves.
            self.finished.fetch_add(1, Ordering::Relaxed);
            self.commons.totals.job(done.kind).add(1);
            worker.filled |= done.kind == Kind::Fill;
            worker.since_sync = if done.kind == Kind::Sync { 0 } else { worker.since_sync.saturating_add(1) };
            if let Some(slot) = self.commons.table.get(done.slot) {
                slot.put_done(done);
                if slot.mail.post(mail::DONE) {
                    self.poll(slot, worker);
                }
            }
        }
        self.dispatch(worker);
        if self.is_ending() {
            // ORDER: Release: a shutdown that sleeps on the word sees what was finished.
            self.turned.fetch_add(1, Ordering::Release);
            futex::wake_all(&self.turned);
        }
        true
    }

    /// Turns until nothing is to be done: for the end, when there are no threads any more.
    pub(crate) fn turn_until_idle(&self) {
        let mut worker = self.worker();
        while self.turn(&mut worker) == Turned::Something {}
    }
}
