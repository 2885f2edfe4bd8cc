//! Requests: what is asked of an open file beside reads and writes, from syncs to a change of its owner.

use std::io::{SeekFrom, Write};

use efio::ErrorKind;

use crate::ensure;
use crate::stream::Act;
use crate::world::{Asked, Check, Flavour, Hand, No, Phase, World};

impl World {
    pub fn call_sync(&mut self, at: usize) -> Check {
        let hand = &self.hands[at];
        let answer = match &hand.file {
            Some(file) if self.random.chance(50) => file.sync().map_err(No::from),
            _ => self.efio.ef_sync(hand.fd).map_err(No::from),
        };
        self.note(|| format!("sync #{} -> {answer:?}", self.hands[at].number));
        if self.is_early(at, &answer) {
            return Ok(());
        }
        let hand = &mut self.hands[at];
        match answer {
            Ok(()) => {
                ensure!(hand.poison.is_none(), "a poisoned file takes a sync");
                hand.syncs.push_back(hand.accepted);
            }
            Err(no) => {
                self.answered(at)?;
                self.failed(at, "a sync", no)?;
            }
        }
        Ok(())
    }

    pub fn call_flush(&mut self, at: usize) -> Check {
        let Some(file) = self.hands[at].file.as_mut() else { return Ok(()) };
        let answer = file.flush().map_err(No::from);
        self.note(|| format!("flush #{} -> {answer:?}", self.hands[at].number));
        if self.is_early(at, &answer) {
            self.hands[at].owed_write |= answer == Err(No::WouldBlock);
            return Ok(());
        }
        let hand = &mut self.hands[at];
        match answer {
            Ok(()) => {
                let progress = self.efio.ef_progress(hand.fd);
                let written = progress.map_or(hand.accepted, |progress| progress.written);
                ensure!(written == hand.accepted, "flushed, but {written} of {} are written", hand.accepted);
            }
            Err(No::WouldBlock) => hand.owed_write = true,
            Err(no) => self.failed(at, "a flush", no)?,
        }
        Ok(())
    }

    pub fn call_truncate(&mut self, at: usize) -> Check {
        let hand = &self.hands[at];
        if hand.phase != Phase::Open || self.flavour == Flavour::Faults && hand.asked.is_some() {
            return Ok(());
        }
        let stream = &self.streams[hand.stream];
        let size = self.random.below(stream.content.len() + 3000);
        let before = stream.content.clone();
        let answer = self.efio.ef_truncate(hand.fd, size as u64).map_err(No::from);
        self.note(|| format!("truncate #{} {size} -> {answer:?}", self.hands[at].number));
        let hand = &mut self.hands[at];
        match answer {
            Ok(()) => {
                ensure!(hand.write, "a file that is not to be written is cut");
                hand.spare |= hand.asked.is_some();
                if hand.asked.is_some() {
                    // There is place for one, so the last one is done.
                    self.streams[hand.stream].confirm();
                }
                self.streams[hand.stream].resize(Act::Size(size), false);
                hand.asked = Some(Asked::Truncate { before });
            }
            Err(No::WouldBlock) => {
                ensure!(hand.asked.is_some(), "a truncate would block, but none is under way")
            }
            Err(No::Kind(ErrorKind::NotPermitted)) if !hand.write => {}
            Err(no) => self.failed(at, "a truncate", no)?,
        }
        Ok(())
    }

    pub fn call_preallocate(&mut self, at: usize) -> Check {
        let hand = &self.hands[at];
        let quiet = hand.phase == Phase::Open && hand.asked.is_none() && hand.last.written == hand.accepted;
        if !quiet || hand.file.is_some() {
            return Ok(());
        }
        let (keep, end) = (self.random.chance(50), 1 + self.random.below(100_000));
        let offset = self.random.below(end);
        let answer =
            self.efio.ef_preallocate(hand.fd, offset as u64, (end - offset) as u64, keep).map_err(No::from);
        self.note(|| format!("preallocate #{} to {end}, keep {keep} -> {answer:?}", self.hands[at].number));
        let hand = &mut self.hands[at];
        match answer {
            Ok(()) if keep => hand.asked = Some(Asked::Reserve),
            Ok(()) => {
                ensure!(hand.write, "a file that is not to be written is extended");
                self.streams[hand.stream].resize(Act::Extend(end), false);
                hand.asked = Some(Asked::Extend);
            }
            Err(No::Kind(ErrorKind::NotPermitted)) if !hand.write => {}
            Err(no) => self.failed(at, "a preallocation", no)?,
        }
        Ok(())
    }

    /// No number goes back, and none is ahead of the one before it.
    pub fn call_progress(&mut self, at: usize) -> Check {
        let answer = self.efio.ef_progress(self.hands[at].fd);
        let hand = &mut self.hands[at];
        let Ok(now) = answer else {
            ensure!(hand.phase == Phase::Opening, "there is no progress: {answer:?}");
            return Ok(());
        };
        check_progress(hand, now)
    }

    /// A file passes from a handle to an owner, or back.
    pub fn call_pass(&mut self, at: usize) -> Check {
        let hand = &mut self.hands[at];
        match hand.file.take() {
            Some(file) => {
                ensure!(file.into_fd() == hand.fd, "an owner gives back another handle");
                let number = hand.number;
                self.note(|| format!("into_fd #{number}"));
            }
            None => {
                let answer = self.efio.from_fd(hand.fd);
                let closing = matches!(hand.phase, Phase::Closing { .. });
                ensure!(answer.is_ok() || closing, "from_fd: {answer:?}");
                if hand.unopened && !closing {
                    // Who owns a file whose open has failed ends it.
                    hand.phase = Phase::Closing { publish: false, abort: true };
                    return Ok(());
                }
                hand.file = answer.ok().filter(|_| !closing);
                let number = hand.number;
                self.note(|| format!("from_fd #{number}"));
            }
        }
        Ok(())
    }

    /// By the handle of an owned file most calls answer `Busy`.
    pub fn call_busy(&mut self, at: usize) -> Check {
        let hand = &self.hands[at];
        if hand.phase != Phase::Open || hand.file.is_none() {
            return Ok(());
        }
        let (efio, fd) = (&self.efio, hand.fd);
        let answers = [
            efio.ef_read(fd, &mut [0; 8]).err().filter(|_| hand.read),
            efio.ef_write(fd, b"busy").err().filter(|_| hand.write && hand.poison.is_none()),
            efio.ef_seek(fd, SeekFrom::Start(3)).err(),
            efio.ef_close(fd).err(),
            efio.ef_abort(fd).err(),
            efio.from_fd(fd).err(),
        ];
        for (which, error) in answers.into_iter().enumerate() {
            let kind = error.as_ref().map(efio::Error::kind);
            let asked = which > 1 || which == 0 && hand.read || which == 1 && hand.write;
            let failed = matches!(self.flavour, Flavour::Faults | Flavour::Hang);
            let poisoned = which == 1 && kind != Some(ErrorKind::Busy) && failed;
            ensure!(
                !asked || poisoned || kind == Some(ErrorKind::Busy),
                "call {which} on an owned file: {error:?}"
            );
        }
        Ok(())
    }
}

pub fn check_progress(hand: &mut Hand, now: efio::Progress) -> Check {
    let last = hand.last;
    ensure!(now.accepted == hand.accepted, "accepted is {}, not {}", now.accepted, hand.accepted);
    ensure!(now.accepted >= now.written && now.written >= now.durable, "{now:?} is out of order");
    ensure!(now.written >= last.written && now.durable >= last.durable, "{now:?} after {last:?}");
    hand.last = now;
    Ok(())
}
