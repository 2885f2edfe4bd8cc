//! Stepping: a module on a simulated disk has no threads; whoever waits turns its engine, and moves its clock.

use crate::pool::Turned;
use crate::sync::{MutexGuard, lock};

use super::Engine;
use super::turn::Worker;

impl Engine {
    fn stepper(&self) -> MutexGuard<'_, Option<Worker>> {
        let mut stepper = lock(&self.stepper);
        if stepper.is_none() {
            *stepper = Some(self.worker());
        }
        stepper
    }

    /// One turn at the present moment: a job begun or finished, a file polled, the timer served. False: nothing to do.
    pub(crate) fn turn_now(&self) -> bool {
        let mut stepper = self.stepper();
        let Some(worker) = stepper.as_mut() else { return false };
        if self.turn(worker) == Turned::Something {
            return true;
        }
        let _ = self.timer_round(self.platform.now_ns());
        self.turn(worker) == Turned::Something
    }

    /// One turn; if there is nothing to do now, the clock moves to the next moment at which there is. False: there is
    /// none.
    pub(crate) fn step_virtual(&self) -> bool {
        if self.turn_now() {
            return true;
        }
        let round = self.timer_round(self.platform.now_ns());
        let due_ns = round.sleep.map(|sleep| {
            self.platform.now_ns().saturating_add(u64::try_from(sleep.as_nanos()).unwrap_or(u64::MAX))
        });
        let next = [due_ns, self.platform.next_due_ns()].into_iter().flatten().min();
        next.is_some_and(|at_ns| {
            self.platform.advance_to_ns(at_ns);
            true
        })
    }

    /// Steps until `done`; false when nothing is left to happen before that.
    pub(crate) fn turn_until(&self, mut done: impl FnMut() -> bool) -> bool {
        while !done() {
            if !self.step_virtual() {
                return done();
            }
        }
        true
    }
}
