//! Tasks and several inboxes: who waits is told by a waker and not by an event, and a file may change its inbox at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use efio::{Interest, Readiness, Wake as WakeBy};

use crate::ensure;
use crate::world::{Check, No, Phase, World};

/// How often a task was woken since it last looked.
#[derive(Debug, Default)]
pub struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A task that waits for a file.
#[derive(Debug)]
pub struct Waits {
    woken: Arc<Woken>,
    interest: Interest,
    /// The same as an event would have it.
    awaited: Readiness,
}

impl Waits {
    /// What no event may bring while nobody has been woken.
    pub fn silent(&self) -> Readiness {
        if self.woken.0.load(Ordering::Relaxed) == 0 { self.awaited } else { Readiness::NONE }
    }
}

impl World {
    /// A task begins to wait, or gives up.
    pub fn call_task(&mut self, at: usize) -> Check {
        if let Some(waits) = self.hands[at].waits.take() {
            self.note(|| format!("task #{} gives up {waits:?}", self.hands[at].number));
            self.efio.forget_ready(self.hands[at].fd, waits.interest);
            return Ok(());
        }
        let (interest, awaited) = self.random.pick(&[
            (Interest::READABLE, Readiness::READABLE),
            (Interest::WRITABLE, Readiness::WRITABLE),
            (Interest::READABLE | Interest::WRITABLE, Readiness::READABLE | Readiness::WRITABLE),
        ]);
        self.wait_as(at, Waits { woken: Arc::default(), interest, awaited })
    }

    fn wait_as(&mut self, at: usize, waits: Waits) -> Check {
        let waker = Waker::from(Arc::clone(&waits.woken));
        let answer =
            self.efio.poll_ready(self.hands[at].fd, waits.interest, &mut Context::from_waker(&waker));
        self.note(|| format!("task #{} {:?} -> {answer:?}", self.hands[at].number, waits.interest));
        let hand = &mut self.hands[at];
        match answer {
            Poll::Pending => {
                waits.woken.0.store(0, Ordering::Relaxed);
                hand.waits = Some(waits);
            }
            Poll::Ready(Ok(ready)) => {
                hand.owed_read &= !ready.is_readable();
                hand.owed_write &= !ready.is_writable();
                ensure!(
                    ready.intersects(waits.awaited | Readiness::CLOSED),
                    "a task that waits for {:?} gets {ready:?}",
                    waits.awaited
                );
            }
            Poll::Ready(Err(error)) => {
                let no = No::from(error);
                ensure!(hand.phase == Phase::Opening || self.is_allowed(&no), "a task gets {no:?}");
            }
        }
        Ok(())
    }

    /// Tasks that were woken look again.
    pub fn run_tasks(&mut self) -> Check {
        for at in 0..self.hands.len() {
            let woken = self.hands[at].waits.take_if(|waits| waits.silent().is_empty());
            if let Some(waits) = woken {
                self.wait_as(at, waits)?;
            }
        }
        Ok(())
    }

    /// A file, or a queued call, reports to one of the inboxes from here on.
    pub fn call_rebind(&mut self, at: usize) -> Check {
        let to = self.random.below(self.inboxes.len());
        let answer = self.efio.ef_rebind(self.hands[at].fd, &self.inboxes[to]).map_err(No::from);
        self.note(|| format!("rebind #{} to {to} -> {answer:?}", self.hands[at].number));
        ensure!(answer.is_ok() || self.hands[at].phase != Phase::Open, "a rebind fails: {answer:?}");
        if let Some(queued) = self.queued.first() {
            let answer = self.efio.ef_rebind(queued.op.fd(), &self.inboxes[to]);
            ensure!(answer.is_ok(), "a rebind of a queued call fails: {answer:?}");
        }
        Ok(())
    }

    /// The second inbox goes, with whatever is bound to it and waits there, and another one comes.
    pub fn call_new_inbox(&mut self) -> Check {
        self.note(|| "another inbox".into());
        self.inboxes.truncate(1);
        let inbox = self.efio.new_inbox(WakeBy::function(|| ())).map_err(|error| error.to_string())?;
        self.inboxes.push(inbox);
        Ok(())
    }
}
