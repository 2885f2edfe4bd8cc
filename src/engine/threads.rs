//! Threads: a crew that turns the engine, and the timer, which tells when there must be more of them.
//!
//! A module starts with the timer and one worker. The caller never spawns: while jobs wait and none has finished for
//! 10 ms, the timer adds a worker, up to the limit. A worker that had nothing to do for a while retires; the last one
//! sleeps without a deadline. How they sleep, wake and end is the crew's ([`Crew`]).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crate::pool::{Crew, Turned, Work};
use crate::sync::{Seats, lock, thread};
use crate::sys::threads::{give_way, spawn_deaf};

use super::Engine;
use super::turn::Worker;

std::thread_local! {
    /// This thread belongs to an engine, so a call that waits for one would wait for itself.
    static IS_ENGINE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether the caller is an engine thread.
pub(crate) fn is_engine_thread() -> bool {
    IS_ENGINE.with(std::cell::Cell::get)
}

impl Work for Engine {
    type Worker = Worker;

    fn crew(&self) -> &Crew {
        &self.crew
    }

    fn seats(&self) -> &Seats {
        &self.commons.seats
    }

    fn begin(&self, _seat: usize) -> Worker {
        give_way();
        IS_ENGINE.with(|is| is.set(true));
        self.worker()
    }

    fn turn(&self, worker: &mut Worker) -> Turned {
        let turned = self.turn(worker);
        if worker.take_filled() {
            // The loop that was just told may stand in line behind this thread, whose next copy is long.
            thread::yield_now();
        }
        turned
    }

    fn has_work(&self) -> bool {
        self.has_work()
    }

    fn expects_more(&self, worker: &Worker) -> bool {
        worker.expects_more()
    }

    fn pass_on(&self) {
        self.commons.ring();
    }

    fn fail(&self) {
        self.fail_all();
    }
}

impl Engine {
    /// Starts the timer and the first worker.
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let engine = Arc::clone(self);
        let timer = Builder::new().name("efio-timer".into());
        self.crew.adopt(spawn_deaf(timer, move || engine.run_timer())?);
        let started = Crew::add(self);
        if started.is_err() {
            self.stop_threads();
        }
        started
    }

    fn run_timer(self: Arc<Self>) {
        IS_ENGINE.with(|is| is.set(true));
        // Refused threads are no failure: those there are go on.
        let grow = || _ = Crew::add(&self);
        let sleep = |time| _ = self.commons.clock.sleeper.sleep(time);
        if catch_unwind(AssertUnwindSafe(|| self.keep_time(grow, sleep))).is_err() {
            self.fail_all();
        }
    }

    /// Serves the timer until the module ends. `sleep` is for the sleeper's sleep, which is announced when it is called.
    pub(crate) fn keep_time(&self, grow: impl Fn(), sleep: impl Fn(Option<Duration>)) {
        let guard = self.poison.guard();
        while !self.is_stopped() {
            let round = self.timer_round(self.platform.now_ns());
            if round.grow && !self.commons.seats.wake_one() {
                grow();
            }
            let sleeper = &self.commons.clock.sleeper;
            sleeper.prepare();
            let news =
                !self.commons.dirty.is_empty() || self.is_stopped() || self.has_growth_news(round.sleep);
            if news || round.sleep == Some(Duration::ZERO) {
                sleeper.cancel();
            } else {
                sleep(round.sleep);
            }
        }
        drop(guard);
    }

    /// Somebody asked for threads since the round, or a slot is to be looked at sooner than the sleep would end.
    fn has_growth_news(&self, sleep: Option<Duration>) -> bool {
        let timer = lock(&self.timer);
        timer.is_news(sleep) || self.commons.growth_asked() && !timer.is_watching()
    }

    /// Tells all threads to end when they have nothing to do.
    pub(crate) fn stop_threads(&self) {
        self.crew.stop(&self.commons.seats);
        self.nudge_threads();
    }

    /// Wakes whoever sleeps.
    pub(super) fn nudge_threads(&self) {
        self.commons.clock.sleeper.wake();
        self.commons.seats.wake_all();
    }
}
