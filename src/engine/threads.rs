//! Threads: who calls `turn`, how they sleep, when there are more or fewer of them.
//!
//! A module starts with the timer and one worker. The caller never spawns: while jobs wait and none has finished for
//! 10 ms, the timer adds a worker, up to the limit. A worker that had nothing to do for a while retires; the last one
//! sleeps without a deadline.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crate::sync::{Ordering, lock};
use crate::sys::threads::{block_signals, give_way};

use super::Engine;
use super::turn::Turned;

std::thread_local! {
    /// This thread belongs to an engine, so a call that waits for one would wait for itself.
    static IS_ENGINE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether the caller is an engine thread.
pub(crate) fn is_engine_thread() -> bool {
    IS_ENGINE.with(std::cell::Cell::get)
}

impl Engine {
    /// Starts the timer and the first worker.
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let engine = Arc::clone(self);
        let timer = Builder::new().name("efio-timer".into()).spawn(move || engine.run_timer())?;
        lock(&self.joins).push(timer);
        let started = self.add_worker();
        if started.is_err() {
            self.stop_threads();
        }
        started
    }

    fn add_worker(self: &Arc<Self>) -> std::io::Result<()> {
        let Some(seat) = self.take_seat() else { return Ok(()) };
        let engine = Arc::clone(self);
        // ORDER: Relaxed: a figure; counted before the thread can retire.
        self.threads.fetch_add(1, Ordering::Relaxed);
        match Builder::new().name(format!("efio-{seat}")).spawn(move || engine.run_worker(seat)) {
            Ok(join) => {
                let mut joins = lock(&self.joins);
                joins.retain(|join| !join.is_finished());
                joins.push(join);
                Ok(())
            }
            Err(error) => {
                // ORDER: Relaxed: a figure.
                self.threads.fetch_sub(1, Ordering::Relaxed);
                self.leave_seat(seat);
                Err(error)
            }
        }
    }

    fn take_seat(&self) -> Option<usize> {
        // ORDER: Relaxed: a first guess, checked by the exchange.
        let mut taken = self.seats_taken.load(Ordering::Relaxed);
        loop {
            let seat = (!taken).trailing_zeros() as usize;
            if seat >= self.commons.limits.threads {
                return None;
            }
            // ORDER: AcqRel: the seat's last worker left it by `leave_seat`.
            match self.seats_taken.compare_exchange_weak(
                taken,
                taken | 1 << seat,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(seat),
                Err(now) => taken = now,
            }
        }
    }

    fn leave_seat(&self, seat: usize) {
        // ORDER: AcqRel: pairs with `take_seat`.
        self.seats_taken.fetch_and(!(1 << seat), Ordering::AcqRel);
    }

    fn run_worker(self: Arc<Self>, seat: usize) {
        // Refused only where signals cannot be blocked at all; the jobs work all the same.
        let _ = block_signals();
        give_way();
        IS_ENGINE.with(|is| is.set(true));
        let mut worker = self.worker();
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.turn(&mut worker))) {
                Ok(Turned::Something) => continue,
                Ok(Turned::Nothing) => {}
                Err(_) => {
                    self.fail_all();
                    break;
                }
            }
            if self.is_stopped() {
                break;
            }
            let alone = self.threads() <= 1;
            let timeout = (!alone).then_some(self.commons.limits.thread_idle);
            let woken = self.commons.seats.sleep(seat, timeout, || self.has_work() || self.is_stopped());
            if !woken && self.retire() {
                self.leave_seat(seat);
                // Work that came while this thread was counted as able to take it finds another, or the timer.
                if self.has_work() {
                    self.commons.ring();
                }
                return;
            }
        }
        // ORDER: Relaxed: a figure.
        self.threads.fetch_sub(1, Ordering::Relaxed);
        self.leave_seat(seat);
    }

    /// Counts this thread out, unless it is the last.
    fn retire(&self) -> bool {
        // ORDER: Relaxed: a first guess, checked by the exchange.
        let mut threads = self.threads.load(Ordering::Relaxed);
        while threads > 1 {
            // ORDER: AcqRel: of two that would retire together, one sees the other's count.
            match self.threads.compare_exchange_weak(
                threads,
                threads - 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => threads = now,
            }
        }
        false
    }

    fn run_timer(self: Arc<Self>) {
        if catch_unwind(AssertUnwindSafe(|| self.keep_time())).is_err() {
            self.fail_all();
        }
    }

    fn keep_time(self: &Arc<Self>) {
        // Refused only where signals cannot be blocked at all; the jobs work all the same.
        let _ = block_signals();
        IS_ENGINE.with(|is| is.set(true));
        let guard = self.poison.guard();
        while !self.is_stopped() {
            let round = self.timer_round(self.platform.now_ns());
            if round.grow && !self.commons.seats.wake_one() {
                // Refused threads are no failure: those there are go on.
                let _ = self.add_worker();
            }
            let sleeper = &self.commons.clock.sleeper;
            sleeper.prepare();
            let news =
                !self.commons.dirty.is_empty() || self.is_stopped() || self.has_growth_news(round.sleep);
            if news || round.sleep == Some(Duration::ZERO) {
                sleeper.cancel();
            } else {
                sleeper.sleep(round.sleep);
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
    pub(super) fn stop_threads(&self) {
        // ORDER: Release: what was decided before is seen by the threads' last look.
        self.stop.store(true, Ordering::Release);
        self.commons.clock.sleeper.wake();
        self.commons.seats.wake_all();
    }
}
