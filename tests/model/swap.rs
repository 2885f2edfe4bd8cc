//! Swap: another opening behind a handle, locks, and the recovery of files whose sync failed.

use efio::{ErrorKind, LockKind, Readiness};

use crate::ensure;
use crate::news::News;
use crate::world::{Asked, Check, No, Phase, World};

impl World {
    /// The same name once more: everything goes on in the same file.
    pub fn call_reopen(&mut self, at: usize) -> Check {
        let hand = &mut self.hands[at];
        if hand.phase != Phase::Open || hand.atomic || hand.asked.is_some() {
            return Ok(());
        }
        let path = &self.targets[hand.target].path;
        let answer = match hand.file.as_mut() {
            Some(file) => file.reopen(path),
            None => self.efio.ef_reopen(hand.fd, path),
        };
        let answer = answer.map_err(No::from);
        self.note(|| format!("reopen #{} -> {answer:?}", self.hands[at].number));
        let hand = &mut self.hands[at];
        match answer {
            Ok(()) => {
                ensure!(hand.append, "a file that does not append is reopened");
                hand.asked = Some(Asked::Reopen);
            }
            Err(No::Kind(ErrorKind::NotPermitted)) if !hand.write => {}
            Err(No::Kind(ErrorKind::InvalidInput)) if !hand.append => {}
            Err(no) => self.failed(at, "a reopening", no)?,
        }
        Ok(())
    }

    /// Nobody else has a file of this world open, so a lock is always had.
    pub fn call_lock(&mut self, at: usize) -> Check {
        let hand = &mut self.hands[at];
        if hand.phase != Phase::Open || hand.asked.is_some() {
            return Ok(());
        }
        let start = self.random.below(1000) as u64;
        let kind = self.random.pick(&[None, Some(LockKind::Shared), Some(LockKind::Exclusive)]);
        let answer = match (hand.file.as_mut(), kind) {
            (Some(file), Some(kind)) => file.lock(kind, start..start + 100),
            (Some(file), None) => file.unlock(start..),
            (None, Some(kind)) => self.efio.ef_lock(hand.fd, kind, ..=start),
            (None, None) => self.efio.ef_unlock(hand.fd, ..),
        };
        let answer = answer.map_err(No::from);
        self.note(|| format!("lock #{} {kind:?} -> {answer:?}", self.hands[at].number));
        let hand = &mut self.hands[at];
        match answer {
            Ok(()) => hand.asked = Some(Asked::Lock),
            Err(No::Kind(ErrorKind::NotPermitted)) => {
                let lacks = match kind {
                    Some(LockKind::Exclusive) => !hand.write,
                    Some(LockKind::Shared) => !hand.read,
                    None => false,
                };
                ensure!(lacks, "a lock by {kind:?} is not permitted");
            }
            Err(no) => self.failed(at, "a lock", no)?,
        }
        Ok(())
    }

    pub fn call_recover(&mut self, at: usize) -> Check {
        let hand = &mut self.hands[at];
        if hand.phase != Phase::Open || hand.asked.is_some() {
            return Ok(());
        }
        let answer = match hand.file.as_mut() {
            Some(file) => file.recover(),
            None => self.efio.ef_recover(hand.fd),
        };
        let answer = answer.map_err(No::from);
        self.note(|| format!("recover #{} -> {answer:?}", self.hands[at].number));
        let hand = &mut self.hands[at];
        match answer {
            Ok(()) => hand.asked = Some(Asked::Recover),
            Err(No::Kind(ErrorKind::InvalidInput)) => {
                ensure!(hand.poison.is_none(), "a file that failed has not failed: {:?}", hand.poison);
            }
            Err(No::Kind(ErrorKind::NotPermitted)) if !hand.write => {}
            Err(no) => self.failed(at, "a recovery", no)?,
        }
        Ok(())
    }

    /// Whether this event says that the file is healed: then what was written is durable, and the errors before are over.
    pub fn healed(&mut self, at: usize, news: &News) -> Result<bool, String> {
        let ready = news.ready;
        let hand = &mut self.hands[at];
        if hand.asked != Some(Asked::Recover) || !ready.contains(Readiness::DONE | Readiness::RESUMED) {
            return Ok(false);
        }
        hand.asked = None;
        let again = news.error.is_some() && !news.failed(efio::Operation::Recover);
        if again && !ready.contains(Readiness::STALLED) {
            // It has failed anew since; the error is that.
            hand.poison = news.error.clone().map(No::from);
            hand.sync_failed = news.failed(efio::Operation::Sync);
            self.streams[hand.stream].tainted |= hand.sync_failed;
            hand.syncs.clear();
            return Ok(true);
        }
        // It is, if all of it was retained, or lies in the page that is still open: cuts of power tell.
        if std::mem::take(&mut hand.tainted_here) {
            self.streams[hand.stream].tainted = false;
        }
        hand.poison = None;
        hand.sync_failed = false;
        hand.stalled = false;
        // Syncs asked for before were answered by the error.
        hand.syncs.clear();
        hand.synced = true;
        Ok(true)
    }
}
