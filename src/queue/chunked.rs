//! A stream of bytes in memory, made of buffers that one thread gives away and another reads.
//!
//! ```text
//!  Writer ── push(buffer) ──► mailbox ── one swap ──► chunks of the Reader ── read, copy, erase, chunks, pop
//!     ▲                       (newest first)          (in order)
//!     └──────────── erased: bytes the reader is past; the writer's room ◄──────────┘
//! ```
//!
//! No byte is copied on its way: a push hands over the buffer itself, and the reader looks at it, or takes it out, where it
//! is. The mailbox is Treiber's stack with one pusher and one who takes all, so that no node is popped singly and ABA
//! cannot arise; the reader turns what it took round, once for each chunk in the life of the chunk. A transfer sends the
//! reader's whole list as one load of another stream.
//!
//! Bound: the bytes pushed and not erased yet. A push is taken if it fits, or if the stream is empty: so a
//! buffer larger than the limit passes, alone. A chunk costs a node of some 64 bytes besides.
//!
//! The end is part of the stream. [`Writer::end`] ends it well; [`Writer::fail`] ends it with an error, which the
//! reader meets behind the last byte and at every later read. A writer that is dropped without either is an
//! `UnexpectedEof`: a stream that was cut off is not one that ended.

#![allow(unsafe_code, reason = "nodes go from thread to thread by pointer")]

mod buffer;
mod list;
mod reader;

pub use buffer::Buffer;
pub use list::Chunks;
pub use reader::{BeyondEnd, Reader, State};

use super::refusal::PushError;
use crate::sync::{
    Arc, AtomicPtr, AtomicU32, AtomicU64, CachePadded, EventCount, Ordering, Signal, UnsafeCell,
};
use list::{List, Load, Node};
use std::fmt;
use std::io::{self, Read};
use std::ptr;
use std::time::Duration;

/// The writer said that this is all.
const ENDED: u32 = 1;
/// The writer said that it failed; the failure is written.
const FAILED: u32 = 2;
/// The reader is gone.
const REFUSED: u32 = 4;

/// An error that can be told more than once.
#[derive(Clone, Debug)]
struct Failure {
    kind: io::ErrorKind,
    errno: Option<i32>,
    text: String,
}

impl Failure {
    fn new(error: &io::Error) -> Self {
        Self { kind: error.kind(), errno: error.raw_os_error(), text: error.to_string() }
    }

    fn error(&self) -> io::Error {
        match self.errno {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(self.kind, self.text.clone()),
        }
    }
}

/// What both halves reach.
struct Shared {
    /// The loads that the reader has not taken, newest first.
    mailbox: CachePadded<AtomicPtr<Node>>,
    /// Bytes that the reader is past; the reader's.
    erased: CachePadded<AtomicU64>,
    state: AtomicU32,
    /// Written by the writer before FAILED, never after.
    failure: UnsafeCell<Option<Failure>>,
    /// The reader waits for bytes.
    bytes: EventCount,
    /// The writer waits for room.
    room: EventCount,
}

// SAFETY: nodes and the failure are handed over by the atomics (see their fields); what is in them can be sent.
unsafe impl Send for Shared {}
// SAFETY: as for `Send`; the failure is written by the one writer before FAILED and only read after it.
unsafe impl Sync for Shared {}

impl Shared {
    fn state(&self) -> u32 {
        // ORDER: Acquire pairs with the Release halves of the read-modify-writes in `Writer::finish` and the reader's drop.
        self.state.load(Ordering::Acquire)
    }

    /// The error that ended the stream; for the reader.
    fn failure(&self) -> Option<Failure> {
        if self.state() & FAILED == 0 {
            return None;
        }
        // SAFETY: the failure was written before FAILED, and nobody writes to it after.
        self.failure.with(|failure| unsafe { (*failure).clone() })
    }

    /// Moves everything in the mailbox to the end of `list`.
    fn gather(&self, list: &mut List) {
        // ORDER: Relaxed; only whether there is something, which the swap below settles.
        if self.mailbox.load(Ordering::Relaxed).is_null() {
            return;
        }
        // ORDER: Acquire pairs with the Release compare-exchange in `Writer::send`: the nodes are written.
        let mut newest = self.mailbox.swap(ptr::null_mut(), Ordering::Acquire);
        let mut oldest: *mut Node = ptr::null_mut();
        while !newest.is_null() {
            // SAFETY: the swap made the chain ours alone; its nodes come from `Box::into_raw`.
            let next = unsafe { std::mem::replace(&mut (*newest).next, oldest) };
            (oldest, newest) = (newest, next);
        }
        while !oldest.is_null() {
            // SAFETY: as above; each node leaves the chain before it is freed or joined.
            let node = unsafe { Box::from_raw(oldest) };
            oldest = node.next;
            list.push(node);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.gather(&mut List::new());
    }
}

/// A stream that holds up to `limit` bytes, at least one, and its two ends.
///
/// ```
/// use efio::queue::chunked::{self, State};
/// use std::io::Read;
///
/// let (mut writer, mut reader) = chunked::stream(1 << 20);
/// std::thread::scope(|scope| {
///     scope.spawn(move || {
///         assert!(writer.push(b"Hello ".to_vec()).is_ok());
///         assert!(writer.push(&b"world"[..]).is_ok());
///         assert!(writer.end());
///     });
///     while reader.state() == State::Open {
///         reader.wait(None);
///     }
///     let mut text = String::new();
///     reader.read_to_string(&mut text)?;
///     assert_eq!(text, "Hello world");
///     # Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn stream(limit: usize) -> (Writer, Reader) {
    new(limit, None, None)
}

/// As [`stream`], for halves that an event loop watches: `bytes` is told when the reader may look again, `room` when the
/// writer may push again, each once for each [`Reader::arm`] or [`Writer::arm`].
#[must_use]
pub fn stream_with_signals(
    limit: usize,
    bytes: impl Signal + 'static,
    room: impl Signal + 'static,
) -> (Writer, Reader) {
    new(limit, Some(Box::new(bytes)), Some(Box::new(room)))
}

fn new(limit: usize, bytes: Option<Box<dyn Signal>>, room: Option<Box<dyn Signal>>) -> (Writer, Reader) {
    let shared = Arc::new(Shared {
        mailbox: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
        erased: CachePadded::new(AtomicU64::new(0)),
        state: AtomicU32::new(0),
        failure: UnsafeCell::new(None),
        bytes: EventCount::beside(bytes),
        room: EventCount::beside(room),
    });
    let reader = Reader::new(shared.clone());
    (Writer { shared, limit: limit.max(1), pushed: 0, spare: Vec::new() }, reader)
}

/// The end of a [`stream`] that pushes buffers. It may move to another thread; its calls take `&mut self`, and there is
/// one of it:
///
/// ```compile_fail,E0599
/// let (writer, _reader) = efio::queue::chunked::stream(1);
/// let second = writer.clone();
/// ```
pub struct Writer {
    shared: Arc<Shared>,
    limit: usize,
    pushed: u64,
    /// What [`Writer::fill_from`] reads into.
    spare: Vec<u8>,
}

impl Writer {
    /// Adds `buffer` at the end, without a copy. An empty one changes nothing.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] if it does not fit and the stream is not empty; [`PushError::Closed`] after the end, or if the
    /// reader is gone. The buffer comes back.
    pub fn push(&mut self, buffer: impl Into<Buffer>) -> Result<(), PushError<Buffer>> {
        let buffer = buffer.into();
        match self.admit(buffer.len()) {
            Ok(()) if buffer.is_empty() => {}
            Ok(()) => self.send(buffer.len(), Load::Chunk(buffer)),
            Err(refused) => return Err(refused.map(|()| buffer)),
        }
        Ok(())
    }

    /// Waits for room, at most for `timeout`, and adds `buffer`.
    ///
    /// # Errors
    ///
    /// As for [`Writer::push`]; [`PushError::Full`] if the time is up.
    pub fn push_wait(
        &mut self,
        buffer: impl Into<Buffer>,
        timeout: Option<Duration>,
    ) -> Result<(), PushError<Buffer>> {
        let buffer = buffer.into();
        let shared = self.shared.clone();
        let full = |answer: &Result<(), PushError<()>>| matches!(answer, Err(PushError::Full(())));
        shared.room.wait_for(timeout, || Some(self.admit(buffer.len())).filter(|answer| !full(answer)));
        self.push(buffer)
    }

    /// Reads once from `source`, up to `most` bytes, and adds what came: its number of bytes, 0 at the end of `source`.
    ///
    /// A read that fills half of the buffer or more hands the buffer over; a smaller one is copied out of it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the stream is full, `BrokenPipe` if it was closed, both before anything is read; any error of
    /// `source`. The stream goes on.
    pub fn fill_from(&mut self, source: &mut impl Read, most: usize) -> io::Result<usize> {
        let most = match self.admit(1) {
            Ok(()) => most.min(self.room().max(1)),
            Err(refused) => return Err(refusal(&refused)),
        };
        self.spare.resize(most, 0);
        let count = source.read(&mut self.spare)?.min(most);
        let buffer = if count >= most.div_ceil(2) {
            self.spare.truncate(count);
            std::mem::take(&mut self.spare)
        } else {
            self.spare[..count].to_vec()
        };
        self.push(buffer).map_err(|refused| refusal(&refused))?;
        Ok(count)
    }

    /// Ends the stream: the reader gets what is there, then the end. False: it had ended before; nothing changes.
    pub fn end(&mut self) -> bool {
        self.finish(ENDED)
    }

    /// Ends the stream with an error, which the reader meets behind the last byte. False: it had ended before.
    pub fn fail(&mut self, error: &io::Error) -> bool {
        if self.is_ended() {
            return false;
        }
        // SAFETY: the stream has not ended, so the reader does not look here, and there is one writer.
        self.shared.failure.with_mut(|failure| unsafe { *failure = Some(Failure::new(error)) });
        self.finish(FAILED)
    }

    /// Bytes pushed and not erased by the reader yet.
    #[must_use]
    pub fn len(&self) -> usize {
        // ORDER: Acquire pairs with the Release store in `Reader`: chunks it is past are freed.
        let erased = self.shared.erased.load(Ordering::Acquire);
        usize::try_from(self.pushed.wrapping_sub(erased)).unwrap_or(usize::MAX)
    }

    /// Whether the reader has erased all that was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bound, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes fit now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.len())
    }

    /// Whether the stream has ended or its reader is gone: every push is refused.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.state() != 0
    }

    /// Asks for one signal when the reader has erased something. False: a push of `bytes` has an answer now, other than
    /// [`PushError::Full`].
    ///
    /// Of a buffer that was refused its length; 1 for [`Writer::fill_from`], which takes what fits.
    #[must_use = "false: push now"]
    pub fn arm(&mut self, bytes: usize) -> bool {
        self.shared.room.arm();
        self.admit(bytes).is_err_and(|refused| refused.is_full())
    }

    fn is_ended(&self) -> bool {
        self.shared.state() & (ENDED | FAILED) != 0
    }

    /// Whether `bytes` more are taken now.
    fn admit(&self, bytes: usize) -> Result<(), PushError<()>> {
        let len = self.len();
        if self.is_closed() {
            Err(PushError::Closed(()))
        } else if len != 0 && bytes > self.limit.saturating_sub(len) {
            Err(PushError::Full(()))
        } else {
            Ok(())
        }
    }

    fn send(&mut self, bytes: usize, load: Load) {
        self.pushed = self.pushed.wrapping_add(bytes as u64);
        // ORDER: Relaxed; only compared, by the compare-exchange below.
        let mut before = self.shared.mailbox.load(Ordering::Relaxed);
        let node = Box::into_raw(Box::new(Node { next: before, load }));
        // ORDER: Release pairs with the Acquire swap in `Shared::gather`: the node is written.
        while let Err(now) =
            self.shared.mailbox.compare_exchange_weak(before, node, Ordering::Release, Ordering::Relaxed)
        {
            before = now;
            // SAFETY: the node is not in the mailbox yet, so it is this thread's alone.
            unsafe { (*node).next = before };
        }
        self.shared.bytes.notify_one();
    }

    fn finish(&mut self, how: u32) -> bool {
        if self.is_ended() {
            return false;
        }
        // ORDER: AcqRel; its Release half pairs with the Acquire load in `Shared::state`: the last push is seen.
        self.shared.state.fetch_or(how, Ordering::AcqRel);
        self.shared.bytes.notify_all();
        true
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_ended() {
            self.fail(&io::Error::new(io::ErrorKind::UnexpectedEof, "the writer went without an end"));
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Writer")
            .field("len", &self.len())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// The refusal of a push in the terms of `io`.
pub(super) fn refusal<T>(refused: &PushError<T>) -> io::Error {
    match refused {
        PushError::Full(_) => io::ErrorKind::WouldBlock.into(),
        PushError::Closed(_) => io::ErrorKind::BrokenPipe.into(),
    }
}
