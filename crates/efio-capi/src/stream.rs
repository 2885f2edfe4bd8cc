//! Stream: a pipe or a device, which has no offset to read from and may hold a call up; a thread of its own carries it.
//!
//! The thread sleeps in poll(2) until the descriptor can do what is wanted of it, or somebody wants something else. It reads
//! only when a read was refused, at most 64 KiB ahead, since what it takes from a pipe nobody else gets.

use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use efio::{OnFull, OpenOptions, Progress};

use crate::bell::lock;
use crate::close::stream_deadline;
use crate::desk::{Access, Backing, Desk, Stage};
use crate::device::{self, Waited};
use crate::failure::{Answer, fail};
use crate::instance::Instance;
use crate::meet::token;
use crate::news::{Descriptor, bits};
use crate::open::is_odd;
use crate::world::left;

/// Read ahead at most, in bytes, and written at a time.
const PIECE: usize = 64 << 10;
/// The least limit of bytes that wait to be written.
const LEAST: u64 = 1 << 20;
/// The stack of the thread, in bytes.
const STACK: usize = 256 << 10;
/// How long an open waits for somebody to read a pipe before it tries again, at first and at most.
const TRIES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Stream {
    state: Mutex<State>,
    /// Wakes the thread.
    wake: Descriptor,
}

#[derive(Debug, Default)]
struct State {
    inbound: VecDeque<u8>,
    outbound: VecDeque<u8>,
    /// The other end has gone.
    end: bool,
    /// A read was refused.
    wanted: bool,
    /// Somebody was told of the end, and somebody may have come since.
    look: bool,
    room_owed: bool,
    read_errno: i32,
    write_errno: i32,
    accepted: u64,
    written: u64,
    lost: u64,
    closing: bool,
    /// When the close gives up on what is not written.
    until: Option<Instant>,
}

/// What the thread is to do next.
struct Wanted {
    read: bool,
    look: bool,
    write: bool,
    until: Option<Instant>,
    over: bool,
}

/// What the thread knows of its handle.
struct Task {
    stream: Arc<Stream>,
    instance: Arc<Instance>,
    handle: u32,
    life: u32,
    path: CString,
    flags: i32,
    mode: u32,
    access: Access,
}

impl Stream {
    /// Starts the thread of a handle, which opens the file first. The errno, if there is no thread to be had.
    pub(crate) fn start(instance: &Instance, handle: u32, desk: &Desk) -> Result<Arc<Self>, i32> {
        let Some(instance) = Instance::of(desk).filter(|of| std::ptr::eq(Arc::as_ptr(of), instance)) else {
            return Err(libc::EBADF);
        };
        let stream = Arc::new(Self { state: Mutex::new(State::default()), wake: Descriptor::default() });
        stream.wake.make().map_err(|failure| failure.errno())?;
        let task = Task {
            stream: Arc::clone(&stream),
            instance,
            handle,
            life: desk.life,
            path: desk.notes.path.clone(),
            flags: desk.notes.flags,
            mode: desk.notes.mode,
            access: desk.access,
        };
        let begun = crate::dispatcher::spawn("efio-stream", STACK, move || task.run());
        begun.map(|()| stream).map_err(|failure| failure.errno())
    }

    /// `ef_read`; the errno where it fails.
    pub(crate) fn read(&self, into: &mut [u8]) -> Result<usize, i32> {
        let mut state = lock(&self.state);
        let count = state.inbound.len().min(into.len());
        for (byte, place) in state.inbound.drain(..count).zip(into) {
            *place = byte;
        }
        if count > 0 {
            return Ok(count);
        }
        self.verdict(&mut state).map(|_| 0)
    }

    /// Bytes (true), the end (false), or the errno; a read is asked for where that is EAGAIN.
    fn verdict(&self, state: &mut State) -> Result<bool, i32> {
        if !state.inbound.is_empty() {
            return Ok(true);
        }
        if state.read_errno != 0 {
            return Err(state.read_errno);
        }
        if state.end {
            state.look = true;
            self.wake.raise();
            return Ok(false);
        }
        state.wanted = true;
        self.wake.raise();
        Err(libc::EAGAIN)
    }

    /// `ef_file_ready_for_read`.
    pub(crate) fn ready(&self) -> Result<bool, i32> {
        self.verdict(&mut lock(&self.state))
    }

    /// `ef_write`, with a limit of bytes that wait.
    pub(crate) fn write(&self, bytes: &[u8], limit: u64) -> Answer<usize> {
        let mut state = lock(&self.state);
        if state.write_errno != 0 {
            return fail(state.write_errno);
        }
        let (limit, waiting) = (limit.max(LEAST), state.outbound.len() as u64);
        let taken = match waiting.saturating_add(bytes.len() as u64) {
            all if all <= limit => bytes.len(),
            _ if waiting == 0 => usize::try_from(limit).unwrap_or(bytes.len()),
            _ => {
                state.room_owed = true;
                return Ok(0);
            }
        };
        if state.outbound.try_reserve(taken).is_err() {
            return fail(libc::ENOMEM);
        }
        state.outbound.extend(&bytes[..taken]);
        state.accepted += taken as u64;
        self.wake.raise();
        Ok(taken)
    }

    /// The errno of a write that failed.
    pub(crate) fn check_write(&self) -> Result<(), i32> {
        match lock(&self.state).write_errno {
            0 => Ok(()),
            errno => Err(errno),
        }
    }

    /// Whether a write and a read would not be refused.
    pub(crate) fn poll(&self, limit: u64) -> (bool, bool) {
        let state = lock(&self.state);
        let write = state.write_errno != 0 || (state.outbound.len() as u64) < limit.max(LEAST);
        (write, !state.inbound.is_empty() || state.end || state.read_errno != 0)
    }

    pub(crate) fn progress(&self) -> Progress {
        let state = lock(&self.state);
        let mut progress = Progress::default();
        (progress.accepted, progress.written) = (state.accepted, state.written);
        progress
    }

    /// The close begins.
    pub(crate) fn close(&self, abort: bool) {
        let mut state = lock(&self.state);
        state.closing = true;
        if abort {
            state.outbound.clear();
        }
        self.wake.raise();
    }

    fn wanted(&self, instance: &Instance) -> Wanted {
        let mut state = lock(&self.state);
        if state.closing && state.until.is_none() {
            state.until = stream_deadline(instance);
        }
        let late = state.closing && left(state.until).is_zero();
        let open = !state.closing;
        Wanted {
            read: open && state.wanted && state.inbound.is_empty() && !state.end && state.read_errno == 0,
            look: open && std::mem::take(&mut state.look),
            write: !state.outbound.is_empty(),
            until: state.until,
            over: state.closing && (late || state.outbound.is_empty()),
        }
    }
}

impl Task {
    fn run(self) {
        let (open, regular) = match self.open() {
            Ok(opened) => opened,
            Err(errno) => return self.tell(bits::OPENED | bits::CLOSED, errno, 0),
        };
        if regular {
            return self.instance.adopt(&self, open);
        }
        self.tell(bits::OPENED, 0, 0);
        self.serve(&open);
        let closed = device::close(open);
        let (errno, lost) = {
            let mut state = lock(&self.stream.state);
            let left = state.outbound.len() as u64;
            state.outbound.clear();
            let late = if left > 0 { libc::ETIMEDOUT } else { 0 };
            let errno = [state.write_errno, late, closed].into_iter().find(|errno| *errno != 0);
            (errno.unwrap_or_default(), state.lost + left)
        };
        self.tell(bits::CLOSED, errno, lost);
    }

    fn tell(&self, what: u32, errno: i32, lost: u64) {
        self.instance.meet_stream(self.handle, self.life, what, errno, lost);
    }

    /// Opens the file, waiting for the other end of a pipe. True: it is a regular file.
    fn open(&self) -> Result<(OwnedFd, bool), i32> {
        let patient = self.flags & libc::O_NONBLOCK == 0 && !is_odd(self.flags);
        let mut pause = TRIES.0;
        loop {
            match device::open(&self.path, self.flags & !libc::O_DIRECT, self.mode) {
                Err(libc::ENXIO) if patient && device::is_pipe(&self.path) => {}
                answer => return answer,
            }
            device::wait(None, false, false, &self.stream.wake, Some(pause));
            pause = (pause * 2).min(TRIES.1);
            if lock(&self.stream.state).closing {
                return Err(libc::EINTR);
            }
        }
    }

    /// Moves bytes until the close.
    fn serve(&self, open: &OwnedFd) {
        loop {
            let wanted = self.stream.wanted(&self.instance);
            if wanted.over {
                return;
            }
            if wanted.look {
                self.fill(open, true);
            }
            let limit = wanted.until.map(|until| left(Some(until)));
            let Waited { read, write } =
                device::wait(Some(open), wanted.read, wanted.write, &self.stream.wake, limit);
            if read {
                self.fill(open, false);
            }
            if write {
                self.flush(open);
            }
        }
    }

    /// Reads once. `again`: the end was met before.
    fn fill(&self, open: &OwnedFd, again: bool) {
        let mut piece = [0; 4096];
        let mut room = PIECE;
        let mut news = false;
        loop {
            let answer = device::read(open, &mut piece);
            let mut state = lock(&self.stream.state);
            match answer {
                Ok(0) => {
                    news |= !std::mem::replace(&mut state.end, true);
                    break;
                }
                Ok(count) => {
                    state.end = false;
                    state.inbound.extend(&piece[..count]);
                    news = true;
                    room -= count;
                    if room < piece.len() {
                        break;
                    }
                }
                Err(libc::EAGAIN) => {
                    state.end &= !again;
                    break;
                }
                Err(errno) => {
                    state.read_errno = errno;
                    news = true;
                    break;
                }
            }
        }
        if news {
            lock(&self.stream.state).wanted = false;
            self.tell(bits::READABLE, 0, 0);
        }
    }

    /// Writes once.
    fn flush(&self, open: &OwnedFd) {
        let mut piece = [0; 4096];
        let count = {
            let state = lock(&self.stream.state);
            let bytes = state.outbound.iter().zip(&mut piece).map(|(byte, place)| *place = *byte);
            bytes.count()
        };
        let answer = device::write(open, &piece[..count]);
        let mut state = lock(&self.stream.state);
        match answer {
            Ok(count) => {
                state.outbound.drain(..count);
                state.written += count as u64;
                // Somebody takes them: the close that waits for that begins to wait anew.
                state.until = None;
            }
            Err(libc::EAGAIN) => return,
            Err(errno) => {
                state.write_errno = errno;
                state.lost += state.outbound.len() as u64;
                state.outbound.clear();
            }
        }
        if std::mem::take(&mut state.room_owed) {
            drop(state);
            self.tell(bits::WRITABLE, 0, 0);
        }
    }
}

impl Instance {
    /// A regular file after all, opened by what no name can say: efio takes it over.
    fn adopt(&self, task: &Task, open: OwnedFd) {
        let Some(cell) = self.world.cells.get(task.handle as i32) else { return };
        let mut guard = cell.desk();
        let desk = &mut *guard;
        if desk.life != task.life || !self.owns(desk) {
            return;
        }
        let options = OpenOptions::new()
            .posix(true)
            .read(task.access.read)
            .write(task.access.write)
            .append(task.access.append)
            .on_full(OnFull::Fail)
            .token(token(task.handle, task.life));
        match self.efio.ef_adopt(open, &options) {
            Ok(fd) => {
                desk.backing = Backing::File(fd);
                if desk.stage == Stage::Closing {
                    // Nothing else was begun with it.
                    let _ = self.efio.ef_close(fd);
                }
            }
            Err(error) => {
                self.fail_open(desk, task.handle, cell, Some(error), libc::EIO);
                drop(guard);
                self.world.ended(task.handle, task.life);
            }
        }
    }
}
