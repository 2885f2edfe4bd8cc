//! News: events, each checked against what is known of its file; and queued metadata calls with their answers.

use std::task::{Context, Poll, Waker};

use efio::{Answer, Error, ErrorKind, Event, Events, Interest, Progress, Readiness};

use crate::ending::Last;
use crate::ensure;
use crate::requests::check_progress;
use crate::world::{Asked, Check, No, OpKind, Phase, Queued, World, libc_errno};

/// What an event, or a task that waited, tells of a file.
#[derive(Clone, Debug)]
pub struct News {
    pub ready: Readiness,
    pub error: Option<Error>,
    pub progress: Progress,
}

impl News {
    /// The error is that of this operation.
    pub fn failed(&self, operation: efio::Operation) -> bool {
        self.error.as_ref().is_some_and(|error| error.operation() == operation)
    }
}

impl From<&Event> for News {
    fn from(event: &Event) -> Self {
        Self { ready: event.readiness(), error: event.error().cloned(), progress: event.progress() }
    }
}

impl World {
    /// Drains with a random capacity; true when there was something, for tasks or for a loop.
    pub fn call_drain(&mut self) -> Result<bool, String> {
        let mut events = Events::with_capacity(self.random.pick(&[1, 1, 2, 3, 64]));
        let woken = self.run_tasks()?;
        // One of the inboxes, and if it has nothing the other.
        let first = self.random.below(self.inboxes.len());
        let mut count = 0;
        for turn in 0..self.inboxes.len() {
            let inbox = &self.inboxes[(first + turn) % self.inboxes.len()];
            count = inbox.events(&mut events).map_err(|error| error.to_string())?;
            if count > 0 {
                break;
            }
        }
        ensure!(count == events.len(), "a drain says {count} and brings {}", events.len());
        for event in &events {
            self.note(|| {
                format!(
                    "event {:?} {:?} {:?} {:?}",
                    event.fd(),
                    event.readiness(),
                    event.error(),
                    event.progress()
                )
            });
            self.take_event(event)?;
        }
        Ok(count > 0 || woken)
    }

    pub fn drain_all(&mut self) -> Check {
        while self.call_drain()? {}
        Ok(())
    }

    fn take_event(&mut self, event: &Event) -> Check {
        let (fd, ready) = (event.fd(), event.readiness());
        if let Some(at) = self.queued.iter().position(|queued| queued.op.fd() == fd) {
            ensure!(ready.is_done(), "a queued call's event is {ready:?}");
            return self.take_answer(at);
        }
        let Some(at) = self.hand_of(fd) else {
            return Err(format!("an event of {fd:?} after its last answer: {ready:?}"));
        };
        let silent = self.hands[at].waits.iter().flatten();
        let silent = silent.fold(Readiness::NONE, |all, waits| all | waits.silent());
        ensure!(
            !ready.intersects(silent) || ready.is_closed() && !silent.is_closed(),
            "an event has {ready:?}, which a task waits for"
        );
        ensure!(event.token() == self.hands[at].number, "an event has the token {}", event.token());
        if ready.is_closed() {
            let of_open = |error: &Error| error.operation() == efio::Operation::Open;
            let last = Last {
                error: event.error().cloned(),
                lost: Some(event.bytes_lost()),
                progress: event.progress(),
                unopened: self.hands[at].stream == usize::MAX && event.error().is_some_and(of_open)
                    || ready.is_opened() && event.error().is_some_and(of_open),
            };
            return self.ended(at, last);
        }
        ensure!(
            !matches!(self.hands[at].phase, Phase::Closing { .. }),
            "an event of a file that is being closed: {ready:?}"
        );
        if self.hands[at].phase == Phase::Opening {
            if !ready.intersects(Readiness::OPENED | Readiness::ERROR | Readiness::SYNCED | Readiness::DONE) {
                // A file that changed hands: who was refused may try again, in vain.
                self.hands[at].owed_read &= !ready.is_readable();
                self.hands[at].owed_write &= !ready.is_writable();
                return Ok(());
            }
            let failed = event.error().filter(|error| error.operation() == efio::Operation::Open);
            if let Some(error) = failed {
                return self.heard_no_open(at, error.clone());
            }
            ensure!(ready.is_opened(), "before the open: {ready:?}");
            self.opened(at)?;
        }
        self.take_readiness(at, &News::from(event))
    }

    /// The open failed, and whoever waits for that hears of it.
    pub fn heard_no_open(&mut self, at: usize, error: Error) -> Check {
        let no = No::from(error);
        let expected = self.hands[at].fails.map(No::Os) == Some(no.clone()) || self.is_allowed(&no);
        ensure!(expected, "an open failed: {no:?}");
        // Its owner ends it; one that was given up in the meantime ends by itself, unless it is owned anew before.
        self.hands[at].unopened = true;
        if self.hands[at].file.take().is_some() {
            self.hands[at].phase = Phase::Closing { publish: false, abort: true };
        }
        Ok(())
    }

    pub fn take_readiness(&mut self, at: usize, news: &News) -> Check {
        let ready = news.ready;
        let stalled = ready.contains(Readiness::STALLED);
        let error = news.error.clone().map(No::from);
        let hand = &mut self.hands[at];
        check_progress(hand, news.progress)?;
        hand.owed_read &= !ready.is_readable();
        hand.owed_write &= !ready.is_writable();
        let vain = news.failed(efio::Operation::Recover);
        if let Some(no) = error.as_ref().filter(|_| !vain) {
            ensure!(self.is_allowed(no), "an event tells of {no:?}");
        }
        if self.healed(at, news)? {
            return Ok(());
        }
        let of_request = news.error.as_ref().is_some_and(|error| {
            use efio::Operation::{Lock, Preallocate, Recover, Reopen, Stat, Truncate};
            matches!(error.operation(), Truncate | Preallocate | Stat | Lock | Reopen | Recover)
        });
        let hand = &mut self.hands[at];
        if ready.is_synced() {
            // One event may answer several syncs, whose own events still come.
            let target = hand.syncs.front().copied();
            ensure!(target.is_some() || hand.synced, "a sync is answered that nobody asked for");
            hand.synced = true;
            if error.is_none() {
                let durable = news.progress.durable;
                let covers = target.is_none_or(|target| durable >= target);
                ensure!(covers || hand.more_syncs > 0, "synced, but {durable} of {target:?} are durable");
                let before = hand.syncs.len();
                while hand.syncs.front().is_some_and(|target| *target <= durable) {
                    hand.syncs.pop_front();
                }
                // Of those answered together, the events of all but one may still come, when a later sync waits.
                let together = before - hand.syncs.len();
                hand.more_syncs = (hand.more_syncs + together).saturating_sub(1);
                if hand.creates && !hand.atomic {
                    self.targets[hand.target].absent = false;
                }
            } else {
                hand.syncs.clear();
            }
        }
        if ready.is_done() && hand.spare {
            // It may be that of an earlier request; at rest all are done.
            hand.doubled = true;
        } else if ready.is_done() {
            let asked = hand.asked.take();
            ensure!(asked.is_some(), "a request is done that nobody made");
            let resized = matches!(asked, Some(Asked::Truncate { .. } | Asked::Extend));
            if resized && (of_request || error.is_some() && !stalled) {
                let stream = &mut self.streams[hand.stream];
                let live = self.sim.read(&self.targets[hand.target].path);
                let written = hand.start + news.progress.written;
                if hand.atomic
                    || !live.is_some_and(|live| stream.is_live(&live, written) && stream.content == live)
                {
                    stream.revoke();
                }
            } else if resized {
                self.streams[hand.stream].confirm();
            }
        }
        if ready.is_error() && !stalled && !of_request {
            hand.poison = hand.poison.take().or(error);
            hand.panicked |= hand.poison == Some(No::Kind(ErrorKind::Panicked));
            let sync = news.failed(efio::Operation::Sync);
            hand.sync_failed |= sync;
            let stream = &mut self.streams[hand.stream];
            // What was written before this file was opened may be lost with it, and is not retained.
            hand.tainted_here |= sync && !stream.tainted && stream.durable >= hand.start;
            stream.tainted |= sync;
        }
        hand.stalled = stalled || hand.stalled && !ready.contains(Readiness::RESUMED);
        Ok(())
    }

    pub fn call_queue(&mut self) -> Check {
        self.drain_all()?;
        let free: Vec<usize> = (0..self.targets.len()).filter(|at| !self.targets[*at].busy).collect();
        if free.len() < 2 {
            return Ok(());
        }
        let first = free[self.random.below(free.len())];
        let second = free[self.random.below(free.len())];
        let (from, to) = (&self.targets[first].path, &self.targets[second].path);
        let what = self.random.pick(&[OpKind::Stat, OpKind::Stat, OpKind::Unlink, OpKind::Rename]);
        let beneath = self.dir.as_ref().filter(|_| self.random.chance(50));
        let answer = match (what, beneath) {
            (OpKind::Stat, None) => self.efio.ef_stat(from),
            (OpKind::Unlink, None) => self.efio.ef_unlink(from),
            (OpKind::Rename, None) => self.efio.ef_rename(from, to),
            (OpKind::Stat, Some(dir)) => self.efio.ef_stat_at(dir, within(from)),
            (OpKind::Unlink, Some(dir)) => self.efio.ef_unlink_at(dir, within(from)),
            (OpKind::Rename, Some(dir)) => self.efio.ef_rename_at(dir, within(from), dir, within(to)),
        };
        self.note(|| format!("queue {what:?} {from} {to} -> {answer:?}"));
        match answer {
            Ok(op) => {
                let second = if what == OpKind::Rename { second } else { first };
                self.targets[first].busy = true;
                self.targets[second].busy = true;
                self.queued.push(Queued { op, what, first, second });
            }
            Err(error) => {
                let used = self.hands.len() + self.queued.len();
                let full = error.is_would_block() && used >= self.files_limit;
                ensure!(full, "a call is not queued with {used} of {}: {error}", self.files_limit);
            }
        }
        Ok(())
    }

    /// Asks for an answer early.
    pub fn call_take(&mut self) -> Check {
        if self.queued.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.queued.len());
        if self.random.chance(50) {
            let fd = self.queued[at].op.fd();
            let told = self.efio.poll_ready(fd, Interest::DONE, &mut Context::from_waker(Waker::noop()));
            self.note(|| format!("task of {fd:?} -> {told:?}"));
            match told {
                // What a task was told, no event brings: the answer is there.
                Poll::Ready(answer) => {
                    ensure!(answer.as_ref().is_ok_and(|ready| ready.is_done()), "a task gets {answer:?}");
                    let count = self.queued.len();
                    self.take_answer(at)?;
                    ensure!(self.queued.len() < count, "a call is done and has no answer");
                    return Ok(());
                }
                Poll::Pending => self.efio.forget_ready(fd, Interest::DONE),
            }
        }
        self.take_answer(at)
    }

    fn take_answer(&mut self, at: usize) -> Check {
        let op = self.queued[at].op;
        let answer = self.efio.take(op);
        self.note(|| format!("take {op:?} -> {answer:?}"));
        if answer.as_ref().is_err_and(efio::Error::is_would_block) {
            return Ok(());
        }
        let again = self.efio.take(op).map_err(|error| error.kind()).err();
        ensure!(again == Some(ErrorKind::Stale), "an answer is given twice: {again:?}");
        let queued = self.queued.swap_remove(at);
        self.gone.push(op.fd());
        self.targets[queued.first].busy = false;
        self.targets[queued.second].busy = false;
        let exists = self.targets[queued.first].now;
        let failed = match answer {
            Ok(answer) => {
                ensure!(exists.is_some(), "{:?} of nothing: {answer:?}", queued.what);
                if let (Answer::Metadata(metadata), Some(stream)) = (&answer, exists) {
                    let size = self.streams[stream].content.len() as u64;
                    ensure!(metadata.len() == size, "a file of {size} is said to have {}", metadata.len());
                }
                self.queued_done(&queued);
                false
            }
            Err(error) => {
                let no = No::from(error);
                let absent = exists.is_none() && no == No::Os(libc_errno::ENOENT);
                ensure!(absent || self.is_allowed(&no), "{:?} fails: {no:?}", queued.what);
                true
            }
        };
        let names = [queued.first, queued.second].map(|at| self.sim.read(&self.targets[at].path).is_some());
        let known = [queued.first, queued.second].map(|at| self.targets[at].now.is_some());
        ensure!(names == known, "{:?}, failed {failed}: the names are {names:?}, not {known:?}", queued.what);
        Ok(())
    }

    fn queued_done(&mut self, queued: &Queued) {
        let Some(stream) = self.targets[queued.first].now else { return };
        if queued.what == OpKind::Stat || queued.what == OpKind::Rename && queued.first == queued.second {
            return;
        }
        let from = &mut self.targets[queued.first];
        from.now = None;
        from.absent = true;
        from.older.push(stream);
        if queued.what == OpKind::Rename {
            let to = &mut self.targets[queued.second];
            to.older.extend(to.now);
            to.absent |= to.now.is_none();
            to.now = Some(stream);
        }
    }
}

/// The part of a path behind the folder that all names lie in.
pub fn within(path: &str) -> &str {
    path.trim_start_matches("/d/")
}
