//! Calls: reads, writes and seeks of open files, each answer checked against the stream.

use std::io::{BufRead, Read, Seek, SeekFrom, Write};

use efio::{Efio, ErrorKind, Fd, Readiness, WriteLend};

use crate::by_offset::{halves, halves_mut};
use crate::ensure;
use crate::random::{POOL, source};
use crate::world::{Asked, Check, No, Phase, World};

impl World {
    /// An error that is no refusal: the first one stands, and comes from what the disk was told to do.
    pub fn failed(&mut self, at: usize, what: &str, no: No) -> Check {
        let known = self.hands[at].poison.clone();
        match known {
            Some(known) => ensure!(known == no, "{what}: the first error was {known:?}, now it is {no:?}"),
            None => {
                ensure!(self.is_allowed(&no), "{what} fails: {no:?}");
                self.hands[at].panicked |= no == No::Kind(ErrorKind::Panicked);
                self.hands[at].poison = Some(no);
            }
        }
        Ok(())
    }

    /// A call was answered, so the file is open, whether or not the event was seen.
    pub fn answered(&mut self, at: usize) -> Check {
        if self.hands[at].phase == Phase::Opening { self.opened(at) } else { Ok(()) }
    }

    /// Whether the call finds the file being opened, or its open failed; then nothing else is to be checked.
    pub fn is_early<T>(&mut self, at: usize, answer: &Result<T, No>) -> bool {
        let hand = &mut self.hands[at];
        if hand.phase != Phase::Opening {
            return false;
        }
        match answer {
            Err(No::Kind(ErrorKind::Stale) | No::WouldBlock) => true,
            // The open of a file that is owned, or was, failed: its owner is told.
            Err(no) if hand.fails.map(No::Os).as_ref() == Some(no) => true,
            Err(no) if self.is_allowed(no) => true,
            _ => false,
        }
    }

    pub fn call_write(&mut self, at: usize) -> Check {
        let len = self.random.size(200 << 10);
        self.write(at, len).map(|_| ())
    }

    pub fn write(&mut self, at: usize, len: usize) -> Result<Result<usize, No>, String> {
        let source = source(&mut self.random, len);
        let bytes = &POOL[source..source + len];
        let lend = len <= self.whole_write && self.random.chance(30);
        let hand = &mut self.hands[at];
        let answer = match hand.file.as_mut() {
            file if lend => {
                let meanwhile = self.random.below(4);
                match file {
                    Some(file) => fill(file.lend_write(len), bytes, || ()),
                    None => {
                        let (efio, fd) = (&self.efio, hand.fd);
                        fill(efio.ef_lend_write(fd, len), bytes, || try_meanwhile(efio, fd, meanwhile))
                    }
                }
            }
            Some(file) if self.random.chance(50) => file.write(bytes).map_err(No::from),
            Some(file) if self.random.chance(50) => file.append(bytes).map_err(No::from),
            Some(file) => file.write_vectored(&halves(bytes)).map_err(No::from),
            None if self.random.chance(30) => self.efio.ef_writev(hand.fd, &halves(bytes)).map_err(No::from),
            None => self.efio.ef_write(hand.fd, bytes).map_err(No::from),
        };
        self.note(|| format!("write #{} {len} -> {answer:?}", self.hands[at].number));
        if self.is_early(at, &answer) {
            self.hands[at].owed_write |= answer == Err(No::WouldBlock);
            return Ok(answer);
        }
        self.answered(at)?;
        let whole = self.whole_write;
        let hand = &mut self.hands[at];
        // One that is answered waits no more.
        hand.owed_write = false;
        match &answer {
            Ok(taken) => {
                ensure!(hand.write, "a file that is not to be written took bytes");
                ensure!(hand.poison.is_none(), "a poisoned file took bytes");
                ensure!(*taken <= len && (*taken > 0 || len == 0), "a write of {len} took {taken}");
                ensure!(*taken == len || len > whole, "a write of {len} up to {whole} was torn: {taken}");
                let stream = &mut self.streams[hand.stream];
                let place = if hand.append { stream.content.len() } else { hand.offset as usize };
                if *taken > 0 {
                    stream.write(place, source, *taken);
                    hand.accepted += *taken as u64;
                    if !hand.append {
                        hand.offset += *taken as u64;
                    }
                }
            }
            Err(No::WouldBlock) => hand.owed_write = true,
            Err(No::Kind(ErrorKind::NotPermitted)) if !hand.write => {}
            Err(no) => self.failed(at, "a write", no.clone())?,
        }
        Ok(answer)
    }

    pub fn call_read(&mut self, at: usize) -> Check {
        let len = self.random.size(200 << 10);
        self.read(at, len).map(|_| ())
    }

    pub fn read(&mut self, at: usize, len: usize) -> Result<Result<usize, No>, String> {
        let mut buffer = vec![0xee; len];
        let answer = self.read_some_way(at, &mut buffer);
        self.note(|| {
            format!("read #{} {len} at {} -> {answer:?}", self.hands[at].number, self.hands[at].offset)
        });
        if self.is_early(at, &answer) {
            self.hands[at].owed_read |= answer == Err(No::WouldBlock);
            return Ok(answer);
        }
        self.answered(at)?;
        self.check_read(at, &buffer, &answer)?;
        Ok(answer)
    }

    /// By one of the calls that read at the file's own offset.
    fn read_some_way(&mut self, at: usize, buffer: &mut [u8]) -> Result<usize, No> {
        let len = buffer.len();
        let hand = &mut self.hands[at];
        let lend = self.random.chance(30);
        match hand.file.as_mut() {
            Some(file) if lend && len > 0 => match file.fill_buf() {
                Ok(lent) => {
                    let bytes = lent.len().min(len);
                    buffer[..bytes].copy_from_slice(&lent[..bytes]);
                    file.consume(bytes);
                    Ok(bytes)
                }
                Err(error) => Err(No::from(error)),
            },
            Some(file) if self.random.chance(80) => file.read(buffer).map_err(No::from),
            Some(file) => file.read_vectored(&mut halves_mut(buffer)).map_err(No::from),
            // A poll speaks of reads, which also look into the page cache.
            None if lend && len > 1 => match self.efio.ef_lend_read(hand.fd) {
                Ok(lent) => {
                    if self.random.chance(20) {
                        // Nobody else reads or seeks meanwhile.
                        let (efio, fd) = (&self.efio, hand.fd);
                        assert!(efio.ef_read(fd, &mut [0]).is_err_and(|error| error.is_would_block()));
                        assert!(
                            efio.ef_seek(fd, SeekFrom::Start(1)).is_err_and(|error| error.is_would_block())
                        );
                        let _ = efio.step();
                    }
                    let mut bytes = 0;
                    for piece in lent.pieces() {
                        let part = piece.len().min(len - bytes);
                        buffer[bytes..bytes + part].copy_from_slice(&piece[..part]);
                        bytes += part;
                    }
                    Ok(lent.consume(bytes))
                }
                Err(error) => Err(No::from(error)),
            },
            None if len > 1 && self.random.chance(20) => {
                self.efio.ef_readv(hand.fd, &mut halves_mut(buffer)).map_err(No::from)
            }
            None => self.efio.ef_read(hand.fd, buffer).map_err(No::from),
        }
    }

    fn check_read(&mut self, at: usize, buffer: &[u8], answer: &Result<usize, No>) -> Check {
        let len = buffer.len();
        let hand = &mut self.hands[at];
        hand.owed_read = false;
        match answer {
            Ok(got) => {
                ensure!(hand.read, "a file that is not to be read gave bytes");
                ensure!(*got <= len, "a read of {len} gave {got}");
                let content = &self.streams[hand.stream].content;
                let read = (hand.offset as usize, &buffer[..*got]);
                let right = is_right(content, read, len);
                let older =
                    matches!(&hand.asked, Some(Asked::Truncate { before }) if is_right(before, read, len));
                // Of a poisoned file what is written can be read, and no more.
                let poisoned = *got == 0 && self.efio.ef_poll(hand.fd).is_ok_and(|ready| ready.is_error());
                ensure!(
                    right || older || poisoned || hand.asked == Some(Asked::Extend),
                    "a read of {len} at {} gave {got} bytes that are not those of the file ({} bytes long){}",
                    hand.offset,
                    content.len(),
                    first_wrong(content, read)
                );
                ensure!(buffer[*got..].iter().all(|byte| *byte == 0xee), "a read wrote behind its answer");
                hand.offset += *got as u64;
            }
            Err(No::WouldBlock) => hand.owed_read = true,
            Err(No::Kind(ErrorKind::NotPermitted)) if !hand.read => {}
            Err(no) => {
                // A read may be the first to tell that a write of this file panicked.
                hand.panicked |= *no == No::Kind(ErrorKind::Panicked);
                let known = hand.poison.as_ref() == Some(no);
                ensure!(known || self.is_allowed(no), "a read fails: {no:?}");
            }
        }
        Ok(())
    }

    pub fn call_seek(&mut self, at: usize) -> Check {
        let hand = &self.hands[at];
        let size = if hand.stream == usize::MAX { 0 } else { self.streams[hand.stream].content.len() };
        let to = match self.random.below(6) {
            0 => SeekFrom::Start(0),
            1 | 2 => SeekFrom::Start(self.random.below(size + 5000) as u64),
            3 => SeekFrom::Current(self.random.below(9000) as i64 - 4500),
            4 => SeekFrom::Current(0),
            _ => SeekFrom::End(100 - self.random.below(5000).min(200) as i64),
        };
        self.seek(at, to)
    }

    pub fn seek(&mut self, at: usize, to: SeekFrom) -> Check {
        let number = self.hands[at].number;
        if self.hands[at].phase == Phase::Opening {
            self.call_open_status(at)?;
            if self.hands.get(at).is_none_or(|hand| hand.number != number) {
                return Ok(());
            }
        }
        let hand = &mut self.hands[at];
        let answer = match hand.file.as_mut() {
            Some(file) => file.seek(to).map_err(No::from),
            None => self.efio.ef_seek(hand.fd, to).map_err(No::from),
        };
        self.note(|| format!("seek #{} {to:?} -> {answer:?}", self.hands[at].number));
        if self.is_early(at, &answer) {
            return Ok(());
        }
        self.answered(at)?;
        let hand = &mut self.hands[at];
        let size = self.streams[hand.stream].content.len() as u64;
        let here = hand.offset;
        let expected = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => here.checked_add_signed(by),
            SeekFrom::End(by) => size.checked_add_signed(by),
        };
        match answer {
            Ok(offset) => {
                ensure!(Some(offset) == expected, "a seek by {to:?} from {here} of {size} came to {offset}");
                hand.offset = offset;
            }
            Err(No::WouldBlock) if matches!(to, SeekFrom::End(_)) => {
                hand.spare |= hand.asked.is_some();
                hand.asked.get_or_insert(Asked::Size);
            }
            Err(No::Kind(ErrorKind::InvalidInput)) => {
                ensure!(expected.is_none(), "a seek to {expected:?} is invalid")
            }
            Err(No::WouldBlock) => return Err(format!("a seek by {to:?} would block")),
            Err(no) => self.failed(at, "a seek", no)?,
        }
        Ok(())
    }

    /// What is said to be ready answers; what is not, would block.
    pub fn call_poll(&mut self, at: usize) -> Check {
        let answer = self.efio.ef_poll(self.hands[at].fd).map_err(No::from);
        self.note(|| format!("poll #{} -> {answer:?}", self.hands[at].number));
        let hand = &self.hands[at];
        let ready = match answer {
            Ok(ready) => ready,
            Err(no) => {
                ensure!(matches!(hand.phase, Phase::Opening), "a poll fails: {no:?}");
                return Ok(());
            }
        };
        if hand.phase == Phase::Opening && ready.is_opened() {
            self.opened(at)?;
        }
        let hand = &self.hands[at];
        if hand.phase != Phase::Open || !self.certain_cache {
            return Ok(());
        }
        let (reads, writes, owned) = (hand.read, hand.write, hand.file.is_some());
        let words = |ready: Readiness| format!("the poll says {ready:?}");
        if reads && !owned && self.random.chance(70) {
            let answer = self.read(at, 1)?;
            let blocks = answer == Err(No::WouldBlock);
            ensure!(!(ready.is_readable() && blocks), "{}, but the read would block", words(ready));
            let silent = !ready.is_readable() && !ready.is_error();
            ensure!(!silent || blocks, "{}, but the read answers {answer:?}", words(ready));
        } else if writes {
            let answer = self.write(at, 1)?;
            let blocks = answer == Err(No::WouldBlock);
            ensure!(!(ready.is_writable() && blocks), "{}, but the write would block", words(ready));
            ensure!(ready.is_writable() || blocks, "{}, but the write answers {answer:?}", words(ready));
        }
        Ok(())
    }
}

/// Writes by way of lent room, some of it left over; `meanwhile` is done while the room is lent.
fn fill(lend: efio::Result<WriteLend<'_>>, bytes: &[u8], meanwhile: impl FnOnce()) -> Result<usize, No> {
    let mut lend = lend?;
    let room = lend.zeroed(bytes.len() + 100);
    room[bytes.len()..].fill(0xee);
    room[..bytes.len()].copy_from_slice(bytes);
    meanwhile();
    Ok(lend.commit(bytes.len()).map(|()| bytes.len())?)
}

/// Calls that a lend refuses, or that go on beside it and change nothing.
fn try_meanwhile(efio: &Efio, fd: Fd, which: usize) {
    match which {
        0 => assert!(efio.ef_write(fd, b"!").is_err_and(|error| error.kind() != ErrorKind::Stale)),
        1 => assert!(efio.from_fd(fd).is_err()),
        2 => drop(efio.turn()),
        _ => {}
    }
}

/// What was read is what the file holds there; nothing is read only at its end.
pub fn is_right(content: &[u8], (offset, read): (usize, &[u8]), asked: usize) -> bool {
    if read.is_empty() {
        return asked == 0 || offset >= content.len();
    }
    content.get(offset..offset + read.len()) == Some(read)
}

pub fn first_wrong(content: &[u8], (offset, read): (usize, &[u8])) -> String {
    let wrong = read.iter().zip(content.iter().skip(offset)).position(|(is, should)| is != should);
    wrong.map(|at| format!("; the first wrong one is {at}")).unwrap_or_default()
}
