//! Tasks and several inboxes: who waits is told by a waker and not by an event, and a file may change its inbox at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use efio::{Error, Interest, Operation, Readiness, Wake as WakeBy};

use crate::ensure;
use crate::news::News;
use crate::world::{Check, Flavour, No, Phase, World};

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

/// The places of the two tasks: who waits to read or write, and who waits for answers.
const SIDES: usize = 0;
const ANSWERS: usize = 1;

impl World {
    /// A task begins to wait, or gives up.
    pub fn call_task(&mut self, at: usize) -> Check {
        let place = self.random.below(2);
        if let Some(waits) = self.hands[at].waits[place].take() {
            self.note(|| format!("task #{} gives up {waits:?}", self.hands[at].number));
            self.efio.forget_ready(self.hands[at].fd, waits.interest);
            return Ok(());
        }
        let closing = matches!(self.hands[at].phase, Phase::Closing { .. });
        let (interest, awaited) = match place {
            SIDES if closing => return Ok(()),
            SIDES => self.random.pick(&[
                (Interest::READABLE, Readiness::READABLE),
                (Interest::WRITABLE, Readiness::WRITABLE),
                (Interest::READABLE | Interest::WRITABLE, Readiness::READABLE | Readiness::WRITABLE),
            ]),
            _ if closing => (Interest::CLOSED, Readiness::CLOSED),
            // What is told of a request that failed, and of a healed file, is told in several events.
            _ if self.flavour == Flavour::Sound && self.random.chance(25) => {
                (Interest::DONE, Readiness::DONE)
            }
            _ => self.random.pick(&[
                (Interest::SYNCED, Readiness::SYNCED),
                (Interest::CLOSED, Readiness::CLOSED),
                (Interest::OPENED, Readiness::OPENED),
                (Interest::SYNCED | Interest::CLOSED, Readiness::SYNCED | Readiness::CLOSED),
            ]),
        };
        self.wait_as(at, place, Waits { woken: Arc::default(), interest, awaited })
    }

    fn wait_as(&mut self, at: usize, place: usize, waits: Waits) -> Check {
        let waker = Waker::from(Arc::clone(&waits.woken));
        let fd = self.hands[at].fd;
        let answer = self.efio.poll_ready(fd, waits.interest, &mut Context::from_waker(&waker));
        self.note(|| format!("task #{} {:?} -> {answer:?}", self.hands[at].number, waits.interest));
        match answer {
            Poll::Pending => {
                waits.woken.0.store(0, Ordering::Relaxed);
                self.hands[at].waits[place] = Some(waits);
                Ok(())
            }
            Poll::Ready(Ok(ready)) => {
                let hand = &mut self.hands[at];
                hand.owed_read &= !ready.is_readable();
                hand.owed_write &= !ready.is_writable();
                ensure!(
                    ready.intersects(waits.awaited | Readiness::CLOSED),
                    "a task that waits for {:?} gets {ready:?}",
                    waits.awaited
                );
                if place == ANSWERS { self.answered_task(at, ready, None) } else { Ok(()) }
            }
            Poll::Ready(Err(error)) => {
                let early = self.hands[at].phase == Phase::Opening;
                ensure!(early || self.is_allowed(&No::from(error.clone())), "a task gets {error:?}");
                if place == SIDES || early && !waits.awaited.is_opened() {
                    return Ok(());
                }
                self.answered_task(at, waits.awaited | Readiness::ERROR, Some(error))
            }
        }
    }

    /// A task was told what else an event would have brought.
    fn answered_task(&mut self, at: usize, ready: Readiness, error: Option<Error>) -> Check {
        let (fd, opening) = (self.hands[at].fd, self.hands[at].phase == Phase::Opening);
        if let Some(error) = error.as_ref().filter(|error| opening && error.operation() == Operation::Open) {
            return self.heard_no_open(at, error.clone());
        }
        if ready.is_closed() && error.is_none() {
            // The answer is there, for whoever asks.
            self.call_close_status(at)?;
            ensure!(self.hand_of(fd).is_none(), "a file is closed and has no answer");
            return Ok(());
        }
        if opening {
            // It is open, whether or not the event of that was drained.
            self.opened(at)?;
        }
        let told = ready & (Readiness::SYNCED | Readiness::DONE);
        if told.is_empty() {
            return Ok(());
        }
        let progress = self.efio.ef_progress(fd).map_err(|error| error.to_string())?;
        self.take_readiness(
            at,
            &News { ready: ready - (Readiness::OPENED | Readiness::CLOSED), error, progress },
        )
    }

    /// Tasks that were woken look again; true when there were any.
    pub fn run_tasks(&mut self) -> Result<bool, String> {
        let mut any = false;
        let all: Vec<_> = self.hands.iter().map(|hand| hand.fd).collect();
        for (fd, place) in all.into_iter().flat_map(|fd| [(fd, SIDES), (fd, ANSWERS)]) {
            // The last answer of a file ends its tasks.
            let Some(at) = self.hand_of(fd) else { continue };
            let woken = self.hands[at].waits[place].take_if(|waits| waits.silent().is_empty());
            if let Some(waits) = woken {
                any = true;
                self.wait_as(at, place, waits)?;
            }
        }
        Ok(any)
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
