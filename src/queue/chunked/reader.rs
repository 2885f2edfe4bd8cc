//! The end of a stream that reads: what has arrived, in order, looked at where it is.

use super::list::{Chunks, List, Load};
use super::{Buffer, FAILED, REFUSED, Shared, Writer};
use crate::queue::refusal::PushError;
use crate::sync::{Arc, Ordering};
use std::fmt;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::time::Duration;

/// The most chunks given to one vectored write.
const VECTORS: usize = 64;

/// What a stream will still bring, behind the bytes that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// More may come.
    Open,
    /// Nothing: the writer ended it.
    Ended,
    /// Nothing: the writer failed, or went without an end.
    Failed,
}

/// An erase of more bytes than there are; nothing was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeyondEnd {
    /// How many bytes there are.
    pub len: usize,
}

impl fmt::Display for BeyondEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an erase beyond the end of the {} bytes there are", self.len)
    }
}

impl std::error::Error for BeyondEnd {}

/// The end of a [`stream`](super::stream) that reads. It may move to another thread; its calls take `&mut self`.
///
/// As [`Read`] and [`BufRead`] it is like a socket that does not block: `WouldBlock` while nothing is there and more may
/// come, 0 bytes at the end, the error of a failed stream behind its last byte, at each read again.
///
/// There is one of it, and while chunks are looked at they stay:
///
/// ```compile_fail,E0599
/// let (_writer, reader) = efio::queue::chunked::stream(1);
/// let second = reader.clone();
/// ```
/// ```compile_fail,E0499
/// let (_writer, mut reader) = efio::queue::chunked::stream(1);
/// let first = reader.chunks().next();
/// let erased = reader.erase(1);
/// assert_eq!((first, erased), (None, Ok(())));
/// ```
pub struct Reader {
    shared: Arc<Shared>,
    list: List,
    erased: u64,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, list: List::new(), erased: 0 }
    }

    /// How many bytes are there.
    #[must_use]
    pub fn len(&mut self) -> usize {
        self.shared.gather(&mut self.list);
        self.list.bytes()
    }

    /// Whether no byte is there now.
    #[must_use]
    pub fn is_empty(&mut self) -> bool {
        self.len() == 0
    }

    /// What comes behind the bytes that are there: a stream that has ended grows no more.
    #[must_use]
    pub fn state(&self) -> State {
        match self.shared.state() & !REFUSED {
            0 => State::Open,
            FAILED => State::Failed,
            _ => State::Ended,
        }
    }

    /// Copies bytes from `offset` on into `target`, and says how many: fewer than asked for if they end before, 0 if
    /// `offset` is at or beyond the end. Nothing is erased.
    pub fn copy(&mut self, mut offset: usize, target: &mut [u8]) -> usize {
        let mut copied = 0;
        for chunk in self.chunks() {
            if let Some(bytes) = chunk.get(offset..).filter(|bytes| !bytes.is_empty()) {
                let count = bytes.len().min(target.len() - copied);
                target[copied..copied + count].copy_from_slice(&bytes[..count]);
                copied += count;
            }
            offset = offset.saturating_sub(chunk.len());
            if copied == target.len() {
                break;
            }
        }
        copied
    }

    /// Forgets the first `count` bytes, which makes room for the writer.
    ///
    /// # Errors
    ///
    /// There are fewer; nothing is erased.
    pub fn erase(&mut self, count: usize) -> Result<(), BeyondEnd> {
        let len = self.len();
        if count > len {
            return Err(BeyondEnd { len });
        }
        self.list.erase(count);
        self.past(count);
        Ok(())
    }

    /// Walks the chunks that are there, without copying; none is empty.
    pub fn chunks(&mut self) -> Chunks<'_> {
        self.shared.gather(&mut self.list);
        self.list.chunks()
    }

    /// Takes the first chunk out, without copying: what is left of the buffer that was pushed.
    pub fn pop(&mut self) -> Option<Buffer> {
        if self.list.bytes() == 0 {
            self.shared.gather(&mut self.list);
        }
        let chunk = self.list.pop()?;
        self.past(chunk.len());
        Some(chunk)
    }

    /// Moves all that is there to the end of another stream, and says how many bytes that is.
    ///
    /// The list goes over in one step, however long it is. Chunks not looked at before are linked to it first, as any
    /// look at them would do. What arrives later, and the end, stay with this stream.
    ///
    /// # Errors
    ///
    /// The other stream refuses it, as it would a buffer of that size; nothing moves.
    pub fn transfer(&mut self, to: &mut Writer) -> Result<usize, PushError<()>> {
        let bytes = self.len();
        to.admit(bytes)?;
        if bytes != 0 {
            to.send(bytes, Load::Rest(std::mem::replace(&mut self.list, List::new())));
            self.past(bytes);
        }
        Ok(bytes)
    }

    /// Writes chunk after chunk to `target` until nothing is there or `target` would block, erases what it took, and
    /// says how many bytes that was.
    ///
    /// # Errors
    ///
    /// An error of `target` that took nothing before it, `WouldBlock` among them; after some bytes the error is left for
    /// the next call to meet. `WriteZero` if it takes nothing. An end or error of this stream is not one of `target`.
    pub fn drain_into(&mut self, target: &mut impl Write) -> io::Result<usize> {
        self.drain(|chunks| chunks.next().map_or(Ok(0), |chunk| target.write(chunk)))
    }

    /// As [`Reader::drain_into`], with up to 64 chunks in each vectored write.
    ///
    /// # Errors
    ///
    /// As for [`Reader::drain_into`].
    pub fn drain_vectored(&mut self, target: &mut impl Write) -> io::Result<usize> {
        self.drain(|chunks| {
            let mut vectors = [IoSlice::new(&[]); VECTORS];
            let mut count = 0;
            for (vector, chunk) in vectors.iter_mut().zip(chunks) {
                *vector = IoSlice::new(chunk);
                count += 1;
            }
            target.write_vectored(&vectors[..count])
        })
    }

    fn drain(&mut self, mut write: impl FnMut(&mut Chunks<'_>) -> io::Result<usize>) -> io::Result<usize> {
        let mut total = 0;
        while !self.is_empty() {
            match write(&mut self.list.chunks()) {
                Ok(0) if total == 0 => return Err(io::ErrorKind::WriteZero.into()),
                Ok(0) => break,
                Ok(count) => {
                    // A target that claims more than it was given has taken all there is.
                    let count = count.min(self.list.bytes());
                    self.list.erase(count);
                    self.past(count);
                    total += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(total)
    }

    /// Waits, at most for `timeout`, until a byte is there or the stream has ended. False: the time is up.
    #[allow(clippy::must_use_candidate, reason = "who waits without a limit knows the answer")]
    pub fn wait(&mut self, timeout: Option<Duration>) -> bool {
        let shared = self.shared.clone();
        shared.bytes.wait_for(timeout, || self.has_news().then_some(())).is_some()
    }

    /// Asks for one signal when bytes arrive or the stream ends. False: that has happened already.
    #[must_use = "false: no signal will come"]
    pub fn arm(&mut self) -> bool {
        self.shared.bytes.arm();
        !self.has_news()
    }

    fn has_news(&mut self) -> bool {
        self.state() != State::Open || !self.is_empty()
    }

    /// Counts `count` bytes as erased.
    fn past(&mut self, count: usize) {
        self.erased = self.erased.wrapping_add(count as u64);
        // ORDER: Release pairs with the Acquire load in `Writer::len`.
        self.shared.erased.store(self.erased, Ordering::Release);
        self.shared.room.notify_one();
    }

    /// The first chunk, an empty one at the end.
    fn first(&mut self) -> io::Result<&[u8]> {
        if self.list.bytes() == 0 {
            // The state first: what was pushed before the end is then in the mailbox.
            let state = self.state();
            self.shared.gather(&mut self.list);
            match state {
                _ if self.list.bytes() != 0 => {}
                State::Open => return Err(io::ErrorKind::WouldBlock.into()),
                State::Ended => return Ok(&[]),
                State::Failed => return Err(self.failure()),
            }
        }
        Ok(self.list.chunks().next().unwrap_or_default())
    }

    fn failure(&self) -> io::Error {
        self.shared.failure().map_or_else(|| io::ErrorKind::Other.into(), |failure| failure.error())
    }
}

impl Read for Reader {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if target.is_empty() || self.first()?.is_empty() {
            return Ok(0);
        }
        let count = self.copy(0, target);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.first()
    }

    /// Erases `count` bytes, or all if there are fewer.
    fn consume(&mut self, count: usize) {
        let count = count.min(self.list.bytes());
        self.list.erase(count);
        self.past(count);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // ORDER: AcqRel; its Release half pairs with the Acquire load in `Shared::state`.
        self.shared.state.fetch_or(REFUSED, Ordering::AcqRel);
        self.shared.room.notify_all();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Reader")
            .field("gathered", &self.list.bytes())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
