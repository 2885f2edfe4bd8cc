//! By offset: reads and writes at places of their own, checked against the same stream as all others.

use std::io::{IoSlice, IoSliceMut};

use efio::ErrorKind;

use crate::calls::{first_wrong, is_right};
use crate::ensure;
use crate::random::{POOL, source};
use crate::world::{Asked, Check, No, Phase, World};

impl World {
    pub fn call_write_at(&mut self, at: usize) -> Check {
        let len = self.random.size(100 << 10);
        let source = source(&mut self.random, len);
        let bytes = &POOL[source..source + len];
        let hand = &self.hands[at];
        let size = if hand.stream == usize::MAX { 0 } else { self.streams[hand.stream].content.len() };
        let offset = self.random.below(size + 3000);
        let cut = self.random.below(len + 1);
        let parts = [IoSlice::new(&bytes[..cut]), IoSlice::new(&bytes[cut..])];
        let hand = &mut self.hands[at];
        let answer = match hand.file.as_mut() {
            Some(file) if cut % 2 == 0 => file.write_at(bytes, offset as u64),
            Some(file) => file.write_vectored_at(&parts, offset as u64),
            None if cut % 2 == 0 => self.efio.ef_write_at(hand.fd, bytes, offset as u64),
            None => self.efio.ef_writev_at(hand.fd, &parts, offset as u64),
        };
        let answer = answer.map_err(No::from);
        self.note(|| format!("write_at #{} {len} at {offset} -> {answer:?}", self.hands[at].number));
        if self.is_early(at, &answer) {
            self.hands[at].owed_write |= answer == Err(No::WouldBlock);
            return Ok(());
        }
        self.answered(at)?;
        let whole = self.whole_write;
        let hand = &mut self.hands[at];
        hand.owed_write = false;
        match answer {
            Ok(taken) => {
                ensure!(hand.write && !hand.append, "a file took bytes by offset that does not take any");
                ensure!(hand.poison.is_none(), "a poisoned file took bytes");
                ensure!(taken <= len && (taken > 0 || len == 0), "a write of {len} took {taken}");
                ensure!(taken == len || len > whole, "a write of {len} up to {whole} was torn: {taken}");
                if taken > 0 {
                    self.streams[hand.stream].write(offset, source, taken);
                    hand.accepted += taken as u64;
                }
            }
            Err(No::WouldBlock) => hand.owed_write = true,
            Err(No::Kind(ErrorKind::NotPermitted)) if !hand.write => {}
            Err(No::Kind(ErrorKind::InvalidInput)) if hand.append => {}
            Err(no) => self.failed(at, "a write by offset", no)?,
        }
        Ok(())
    }

    /// What fstat(2) says is asked for, and taken where it is there.
    pub fn call_fstat(&mut self, at: usize) -> Check {
        let hand = &self.hands[at];
        if hand.phase != Phase::Open || !matches!(hand.asked, None | Some(Asked::Stat)) {
            return Ok(());
        }
        let answer = self.efio.ef_fstat(hand.fd).map_err(No::from);
        self.note(|| format!("fstat #{} -> {answer:?}", self.hands[at].number));
        match answer {
            Ok(metadata) => {
                ensure!(
                    metadata.is_file() && !metadata.is_dir(),
                    "an open file is said to be none: {metadata:?}"
                );
            }
            Err(No::WouldBlock) => self.hands[at].asked = Some(Asked::Stat),
            Err(no) => ensure!(self.is_allowed(&no), "an fstat fails: {no:?}"),
        }
        Ok(())
    }

    /// Reads at a random place; often at the one of the last refusal, where the bytes may wait by now.
    pub fn call_read_at(&mut self, at: usize) -> Check {
        let len = 1 + self.random.size(100 << 10);
        let hand = &self.hands[at];
        let size = if hand.stream == usize::MAX { 0 } else { self.streams[hand.stream].content.len() };
        let again = hand.read_at.filter(|_| self.random.chance(70));
        let offset = again.unwrap_or_else(|| self.random.below(size + 2000));
        let mut buffer = vec![0xee; len];
        let (first, second) = buffer.split_at_mut(len / 3);
        let mut parts = [IoSliceMut::new(first), IoSliceMut::new(second)];
        let many = self.random.chance(30);
        let hand = &mut self.hands[at];
        let answer = match hand.file.as_mut() {
            Some(file) if many => file.read_vectored_at(&mut parts, offset as u64),
            Some(file) => file.read_at(&mut buffer, offset as u64),
            None if many => self.efio.ef_readv_at(hand.fd, &mut parts, offset as u64),
            None => self.efio.ef_read_at(hand.fd, &mut buffer, offset as u64),
        };
        let answer = answer.map_err(No::from);
        self.note(|| format!("read_at #{} {len} at {offset} -> {answer:?}", self.hands[at].number));
        if self.is_early(at, &answer) {
            self.hands[at].owed_read |= answer == Err(No::WouldBlock);
            return Ok(());
        }
        self.answered(at)?;
        let poisoned = self.efio.ef_poll(self.hands[at].fd).is_ok_and(|ready| ready.is_error());
        let hand = &mut self.hands[at];
        hand.read_at = None;
        match answer {
            Ok(got) => {
                ensure!(hand.read, "a file that is not to be read gave bytes");
                ensure!(got <= len, "a read of {len} gave {got}");
                let content = &self.streams[hand.stream].content;
                let read = (offset, &buffer[..got]);
                ensure!(
                    is_right(content, read, len) || got == 0 && poisoned || hand.asked == Some(Asked::Extend),
                    "a read of {len} at {offset} gave {got} bytes that are not those of the file ({}){}",
                    content.len(),
                    first_wrong(content, read)
                );
                ensure!(buffer[got..].iter().all(|byte| *byte == 0xee), "a read wrote behind its answer");
            }
            Err(No::WouldBlock) => (hand.owed_read, hand.read_at) = (true, Some(offset)),
            Err(No::Kind(ErrorKind::NotPermitted)) if !hand.read => {}
            Err(no) => {
                hand.panicked |= no == No::Kind(ErrorKind::Panicked);
                let known = hand.poison.as_ref() == Some(&no);
                ensure!(known || self.is_allowed(&no), "a read fails: {no:?}");
            }
        }
        Ok(())
    }
}

pub fn halves(bytes: &[u8]) -> [IoSlice<'_>; 2] {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    [IoSlice::new(first), IoSlice::new(second)]
}

pub fn halves_mut(bytes: &mut [u8]) -> [IoSliceMut<'_>; 2] {
    let (first, second) = bytes.split_at_mut(bytes.len() / 2);
    [IoSliceMut::new(first), IoSliceMut::new(second)]
}
