//! Ending: what a close, an abort or a drop must leave, and what its last answer must say.

use efio::{Durability, Error, ErrorKind, Operation, Progress};

use crate::ensure;
use crate::world::{Asked, Check, Hand, No, Phase, World};

/// The last answer of a file.
pub struct Last {
    pub error: Option<Error>,
    pub lost: Option<u64>,
    pub progress: Progress,
    /// The open itself failed.
    pub unopened: bool,
}

impl World {
    pub fn call_close(&mut self, at: usize) -> Check {
        let hand = &mut self.hands[at];
        let way = self.random.below(10);
        let Some(file) = hand.file.take() else {
            let abort = way < 2;
            let (efio, fd, number) = (&self.efio, hand.fd, hand.number);
            let written = self.random.chance(20).then(|| efio.ef_lend_write(fd, 1).ok()).flatten();
            let read = self.random.chance(20).then(|| efio.ef_lend_read(fd).ok()).flatten();
            let answer = if abort { efio.ef_abort(fd) } else { efio.ef_close(fd) };
            let lent = written.is_some() || read.is_some();
            // The end of the file comes after what is lent, and takes nothing of it.
            for _ in 0..if lent { self.random.below(20) } else { 0 } {
                let _ = efio.step();
            }
            let early = lent && !efio.ef_close_status(fd).is_err_and(|error| error.is_would_block());
            drop(read);
            let late = written.is_some_and(|mut lend| {
                lend.zeroed(1);
                lend.commit(1).is_ok()
            });
            ensure!(!early && !late, "the end of #{number} comes before that of a lend, or takes it");
            self.note(|| format!("close #{number}, abort {abort} -> {answer:?}"));
            ensure!(answer.is_ok(), "a close is refused: {answer:?}");
            return self.closing(at, !abort, abort);
        };
        let number = hand.number;
        let atomic = hand.atomic;
        let (publish, abort, answer) = match way {
            0 | 1 => (false, true, file.abort().map(|_| ())),
            2..=5 => {
                drop(file);
                (false, atomic, Ok(()))
            }
            _ => (true, false, file.close().map(|_| ())),
        };
        self.note(|| format!("close owned #{number}, publish {publish}, abort {abort} -> {answer:?}"));
        let failed_open = self.hands[at].phase == Phase::Opening;
        ensure!(answer.is_ok() || failed_open, "a close is refused: {answer:?}");
        self.closing(at, publish, abort)
    }

    fn closing(&mut self, at: usize, publish: bool, abort: bool) -> Check {
        let hand = &mut self.hands[at];
        let progress = self.efio.ef_progress(hand.fd);
        if let Ok(progress) = progress
            && hand.phase == Phase::Open
        {
            hand.last = progress;
        }
        hand.phase = Phase::Closing { publish, abort };
        hand.file = None;
        Ok(())
    }

    /// Takes the last answer where it may be there already, in place of the event.
    pub fn call_close_status(&mut self, at: usize) -> Check {
        let fd = self.hands[at].fd;
        let progress = self.efio.ef_progress(fd);
        let answer = self.efio.ef_close_status(fd);
        self.note(|| format!("close_status #{} -> {answer:?}", self.hands[at].number));
        let closing = matches!(self.hands[at].phase, Phase::Closing { .. });
        match (closing, answer.map_err(|error| (No::from(error.clone()), error))) {
            (true, Err((No::WouldBlock, _))) => Ok(()),
            (false, Err((No::Kind(ErrorKind::InvalidInput), _))) => Ok(()),
            (_, answer) => {
                let Ok(progress) = progress else { return Err("a close answered for a stale handle".into()) };
                let error = answer.err().map(|(_, error)| error);
                // An open that failed while nobody looked ends in this way too.
                let of_open = |error: &Error| self.is_open_failure(at, error);
                let unopened = error.as_ref().is_some_and(of_open);
                ensure!(closing || unopened, "a close that was not begun is answered: {error:?}");
                self.ended(at, Last { error, lost: None, progress, unopened })
            }
        }
    }

    /// The error is that of an open which failed while nobody looked.
    fn is_open_failure(&self, at: usize, error: &Error) -> bool {
        self.hands[at].stream == usize::MAX && error.operation() == Operation::Open
    }

    pub fn call_close_immediate(&mut self, at: usize) -> Check {
        if self.ill || self.hands[at].file.is_some() {
            return Ok(());
        }
        let closing = matches!(self.hands[at].phase, Phase::Closing { .. });
        if !closing {
            self.hands[at].phase = Phase::Closing { publish: true, abort: false };
        }
        let fd = self.hands[at].fd;
        let answer = self.efio.ef_close_immediate(fd);
        self.note(|| format!("close_immediate #{} -> {answer:?}", self.hands[at].number));
        let error = answer.err();
        ensure!(error.as_ref().map(Error::kind) != Some(ErrorKind::Busy), "a close that waits is refused");
        let accepted = self.hands[at].accepted;
        let unopened = error.as_ref().is_some_and(|error| self.is_open_failure(at, error));
        let mut progress = self.hands[at].last;
        let abort = matches!(self.hands[at].phase, Phase::Closing { abort: true, .. });
        if error.is_none() && !abort {
            (progress.accepted, progress.written) = (accepted, accepted);
            if self.hands[at].durability != Durability::None {
                progress.durable = accepted;
            }
        } else if !unopened {
            // What it came to is told to events only: the file itself says.
            let live = self.sim.read(&self.targets[self.hands[at].target].path).unwrap_or_default();
            let hand = &self.hands[at];
            if hand.stream != usize::MAX && !hand.atomic {
                let stream = &self.streams[hand.stream];
                let found = stream.find(&live, hand.start + hand.last.written, hand.start + accepted);
                progress.written = found.ok_or("the file holds what was never written")? - hand.start;
            }
            progress.accepted = accepted;
        }
        self.ended(at, Last { error, lost: None, progress, unopened })
    }

    /// The last answer of a file has come.
    pub fn ended(&mut self, at: usize, last: Last) -> Check {
        if last.unopened {
            let no = last.error.map_or(No::WouldBlock, No::from);
            self.hands[at].file = None;
            return self.open_failed(at, &no);
        }
        if self.hands[at].stream == usize::MAX {
            self.opened(at)?;
        }
        let mut hand = self.remove_hand(at);
        self.ended += hand.accepted;
        self.lost = self.lost.zip(last.lost).map(|(before, lost)| before + lost);
        let Phase::Closing { publish, abort } = hand.phase else {
            return Err(format!("a file that nobody closed is closed: {:?}", last.error));
        };
        let no = last.error.clone().map(No::from);
        if let Some(no) = &no {
            ensure!(self.is_allowed(no), "a close tells of {no:?}");
        }
        if hand.asked == Some(Asked::Recover) && no != hand.poison {
            // It was healed before the close, which masks the event of that.
            (hand.poison, hand.sync_failed) = (None, false);
            if std::mem::take(&mut hand.tainted_here) {
                self.streams[hand.stream].tainted = false;
            }
        }
        if let Some(first) = &hand.poison {
            ensure!(no.as_ref() == Some(first), "the first error was {first:?}, the close tells {no:?}");
        }
        let sync_failed =
            hand.sync_failed || last.error.as_ref().is_some_and(|e| e.operation() == Operation::Sync);
        let panicked = hand.panicked || no == Some(No::Kind(ErrorKind::Panicked));
        let progress = last.progress;
        ensure!(progress.accepted == hand.accepted, "{} accepted, not {}", progress.accepted, hand.accepted);
        let whole = progress.written == progress.accepted;
        ensure!(whole || abort || no.is_some(), "{progress:?} at a clean close");
        if let Some(lost) = last.lost {
            let unwritten = progress.accepted - progress.written;
            let behind = progress.accepted - progress.durable;
            let right = match hand.atomic {
                // A file that gets no name is gone with all its bytes.
                true if abort || no.is_some() => lost == progress.accepted || lost == unwritten,
                _ => lost == unwritten || sync_failed && lost == behind,
            };
            ensure!(right, "{lost} bytes lost, but the progress is {progress:?}");
            self.lossy |= lost > 0 || no.is_some();
        }
        let promised = !matches!(hand.durability, Durability::None) && no.is_none() && !abort;
        ensure!(
            !promised || progress.durable == progress.accepted || hand.atomic && !publish,
            "{:?} promised, but {progress:?}",
            hand.durability
        );
        if hand.atomic {
            self.ended_atomic(&hand, publish, abort, no.as_ref())
        } else {
            self.ended_plain(&hand, progress, promised, sync_failed, panicked)
        }
    }

    fn ended_plain(
        &mut self,
        hand: &Hand,
        progress: Progress,
        promised: bool,
        sync_failed: bool,
        panicked: bool,
    ) -> Check {
        let target = &mut self.targets[hand.target];
        let Some(live) = self.sim.read(&target.path) else { return Err("a closed file has no name".into()) };
        let stream = &mut self.streams[hand.stream];
        let mut written = hand.start + progress.written;
        if panicked || self.crashed {
            let to = hand.start + hand.accepted;
            written = stream.find(&live, written, to).ok_or("a file holds what was never written")?;
        } else {
            let right = stream.is_live(&live, written);
            ensure!(right, "a closed file of {} bytes is not what was written ({written})", live.len());
        }
        stream.tainted |= sync_failed || panicked;
        if progress.durable > 0 {
            stream.durable = stream.durable.max(hand.start + progress.durable);
        }
        if promised {
            stream.confirm();
        }
        if written < hand.start + hand.accepted || stream.content != live {
            stream.cut(written, live);
        }
        // A close that had nothing to make durable leaves what others wrote as it is.
        if promised && (hand.accepted > 0 || hand.truncate || hand.creates) {
            self.streams[hand.stream].settle();
        }
        let target = &mut self.targets[hand.target];
        if (promised || progress.durable > 0) && hand.creates && !sync_failed && !panicked {
            target.absent = false;
        }
        Ok(())
    }

    fn ended_atomic(&mut self, hand: &Hand, publish: bool, abort: bool, no: Option<&No>) -> Check {
        let live = self.sim.read(&self.targets[hand.target].path);
        let old = self.targets[hand.target].now.map(|now| self.streams[now].content.clone());
        let resized = matches!(hand.asked, Some(Asked::Truncate { .. } | Asked::Extend));
        if resized && live.as_ref() != Some(&self.streams[hand.stream].content) {
            // It failed, which the closed event need not tell.
            self.streams[hand.stream].revoke();
        }
        let new = &self.streams[hand.stream].content;
        if !publish || abort {
            ensure!(live == old, "a file that was not to be published was");
            return Ok(());
        }
        match no {
            None => ensure!(live.as_ref() == Some(new), "a published file is not what was written"),
            Some(no) => {
                ensure!(live == old || live.as_ref() == Some(new), "half a file was published: {no:?}")
            }
        }
        if live.as_ref() == Some(new) && (no.is_none() || live != old) {
            let safe = hand.durability != Durability::None && no.is_none();
            let stream = &mut self.streams[hand.stream];
            stream.tainted |= no.is_some() || hand.sync_failed;
            let bytes = stream.bytes;
            stream.is_live(live.as_deref().unwrap_or_default(), bytes);
            if safe {
                stream.settle();
            }
            let target = &mut self.targets[hand.target];
            if safe {
                target.absent = false;
                target.older.clear();
            } else {
                target.older.extend(target.now);
            }
            target.now = Some(hand.stream);
        }
        Ok(())
    }
}
