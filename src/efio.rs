//! Efio: the ef_* calls, each a few lines long.

use std::io::SeekFrom;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::builder::Builder;
use crate::config::OpenOptions;
use crate::dir::{Dir, Metadata};
use crate::engine::Engine;
use crate::engine::threads::is_engine_thread;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::{Events, Progress, Readiness};
use crate::fd::Fd;
use crate::file::meta::Asked;
use crate::file::state::flag;
use crate::file::write::Caller;
use crate::inbox::{Inbox, progress_of};
use crate::job::Handle;
use crate::news::News;
use crate::sync::{Ordering, futex};
use crate::sys::threads::fork_generation;
use crate::task_file::take_orphans;

mod by_offset;
mod handles;

/// The module: a table of open files whose calls return at once, and the engine behind it.
///
/// A value, cheap to clone; any thread may call any method. When the last clone is dropped (and the last
/// [`File`](crate::File)), everything accepted is flushed and closed within the shutdown deadline.
///
/// ```
/// use efio::{Efio, Events, OpenOptions};
/// let path = std::env::temp_dir().join(format!("efio-example-{}", std::process::id()));
/// let efio = Efio::new()?;
/// let fd = efio.ef_open(&path, &OpenOptions::new().append(true).create(true))?;
/// let mut events = Events::with_capacity(16);
/// efio.wait(&mut events, None)?; // opened
/// assert_eq!(efio.ef_write(fd, b"a line\n")?, 7); // in memory now, in the file within a second
/// efio.ef_close(fd)?; // flushes and closes in the background
/// efio.wait(&mut events, None)?; // closed
/// assert!(events.iter().all(|event| event.error().is_none()));
/// assert_eq!(std::fs::read(&path).unwrap(), b"a line\n");
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), efio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Efio {
    pub(crate) front: Arc<Front>,
    /// Where the news of what this handle begins goes, if not to the module's own inbox.
    pub(crate) inbox: Option<Inbox>,
}

/// What the last handle ends.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) engine: Arc<Engine>,
    pub(crate) inbox: Inbox,
    /// Hears of files that tasks have dropped; made when the first one is.
    pub(crate) orphans: OnceLock<Option<Inbox>>,
    pub(crate) fork_generation: u32,
}

impl Drop for Front {
    fn drop(&mut self) {
        if self.fork_generation == fork_generation() {
            self.engine.end_on_drop();
        }
    }
}

impl Efio {
    /// A module with the default limits.
    ///
    /// # Errors
    ///
    /// When memory, the event descriptor or the first threads are refused.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// The limits, the wake-up and the hooks of a module to be made.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.front.engine
    }

    /// This process is a fork of the one that made the module.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.front.fork_generation != fork_generation()
    }

    /// Refuses in a fork of the process that made the module.
    #[inline]
    pub(crate) fn check(&self, operation: Operation) -> Result<&Engine> {
        if self.is_forked() {
            return Err(Error::plain(ErrorKind::Forked, operation, None));
        }
        Ok(&self.front.engine)
    }

    /// As `check`, for calls that begin something.
    pub(crate) fn check_alive(&self, operation: Operation) -> Result<&Engine> {
        let engine = self.check(operation)?;
        if engine.is_ending() {
            return Err(Error::plain(ErrorKind::Shutdown, operation, None));
        }
        if engine.is_poisoned() {
            return Err(Error::plain(ErrorKind::Panicked, operation, None));
        }
        if engine.commons.table.is_full() {
            take_orphans(self);
        }
        Ok(engine)
    }

    /// Begins to open a file and returns its handle at once. [`Readiness::OPENED`] follows; until then reads, writes
    /// and seeks answer `WouldBlock`. If the open fails, the same event carries the error and `CLOSED`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an empty path, one with a NUL byte, or options that make no sense together; `TableFull`;
    /// `Shutdown`.
    pub fn ef_open(&self, path: impl AsRef<Path>, options: &OpenOptions) -> Result<Fd> {
        self.open_name(None, path.as_ref(), options, 0)
    }

    /// As [`ef_open`](Self::ef_open), with the path resolved beneath a folder that it cannot leave.
    ///
    /// # Errors
    ///
    /// As [`ef_open`](Self::ef_open); a path that leads out of the folder fails when it is opened, with `EXDEV` or
    /// `ELOOP`.
    pub fn ef_open_at(&self, dir: &Dir, path: impl AsRef<Path>, options: &OpenOptions) -> Result<Fd> {
        self.open_name(Some(dir), path.as_ref(), options, 0)
    }

    /// Opens a file; of the `awaited` events a task is told from the start, and no inbox is.
    pub(crate) fn open_name(
        &self,
        dir: Option<&Dir>,
        path: &Path,
        options: &OpenOptions,
        awaited: u32,
    ) -> Result<Fd> {
        let engine = self.check_alive(Operation::Open)?;
        let name = self.name(dir, path, Operation::Open)?;
        let inbox = match options.inbox_in(engine)? {
            Some(inbox) => inbox,
            None => self.bound_inbox(),
        };
        let fd = engine.commons.open(name, path.to_path_buf(), options, inbox, awaited, None)?;
        engine.end_if_late(fd);
        Ok(fd)
    }

    /// Whether the file is open.
    ///
    /// # Errors
    ///
    /// `WouldBlock` while it is being opened; the error of open(2) if that failed, after which the handle is stale.
    pub fn ef_open_status(&self, fd: Fd) -> Result<()> {
        self.check(Operation::Open)?.commons.open_status(fd)
    }

    /// Copies bytes of the file into `into` and returns how many; 0 at the end of the file. Never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: none are in memory; [`Readiness::READABLE`] follows. An error of the disk is told once, at the
    /// offset where it lies.
    #[inline]
    pub fn ef_read(&self, fd: Fd, into: &mut [u8]) -> Result<usize> {
        let engine = self.check(Operation::Read)?;
        let platform = &engine.platform;
        let nowait =
            |handle: Handle, offset: u64, into: &mut [u8]| platform.read_nowait(handle, offset, into);
        engine.commons.read(fd, into, &nowait)
    }

    /// Copies `bytes` into memory of the file and returns how many were taken. They are in the file when a page is
    /// full, when the flush interval has passed, or after a sync or a close, whichever comes first.
    ///
    /// A call of up to `whole_write` bytes (64 KiB unless set) is taken whole or not at all; a longer one may be taken
    /// in part. The bytes of calls on one file from several threads are never mixed.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: a limit of memory is reached, and [`Readiness::WRITABLE`] follows. A file that failed answers with
    /// its first error.
    #[inline]
    pub fn ef_write(&self, fd: Fd, bytes: &[u8]) -> Result<usize> {
        self.check(Operation::Write)?.commons.write(fd, bytes)
    }

    /// Moves the offset of the next read and write, and returns it. A file opened to append moves that of reads only.
    ///
    /// # Errors
    ///
    /// `WouldBlock` from the end, until the size is known: [`Readiness::DONE`] follows, and the next call has it.
    /// `InvalidInput` for an offset below 0 or above 2^63.
    pub fn ef_seek(&self, fd: Fd, to: SeekFrom) -> Result<u64> {
        self.check(Operation::Seek)?.commons.seek(fd, to, Caller::Descriptor)
    }

    /// Has everything accepted so far made durable: written, then fdatasync; for a file that this open may have made,
    /// also the folder. [`Readiness::SYNCED`] follows, with the error if it failed. Never waits.
    ///
    /// # Errors
    ///
    /// A file that failed answers with its first error; so does every sync after a failed one.
    pub fn ef_sync(&self, fd: Fd) -> Result<()> {
        self.check(Operation::Sync)?.commons.sync(fd)
    }

    /// What would not answer `WouldBlock` now.
    ///
    /// # Errors
    ///
    /// `Stale` for a handle whose file is closed.
    pub fn ef_poll(&self, fd: Fd) -> Result<Readiness> {
        let engine = self.check(Operation::Poll)?;
        let platform = &engine.platform;
        engine.commons.readiness(fd, &|handle, offset, into| platform.read_nowait(handle, offset, into))
    }

    /// How far the file's bytes have got.
    ///
    /// # Errors
    ///
    /// `Stale` for a handle whose file is closed.
    pub fn ef_progress(&self, fd: Fd) -> Result<Progress> {
        let engine = self.check(Operation::Poll)?;
        let slot = engine.commons.slot(fd);
        let slot = slot.filter(|slot| slot.state.load().is(fd) && !slot.pending.is_taken());
        slot.map(progress_of).ok_or_else(|| Error::stale(Operation::Poll, fd))
    }

    /// The metadata of an open file, whatever its name is by now: what is written, not what is only accepted
    /// ([`ef_progress`](Self::ef_progress) counts that too). The first call asks; [`Readiness::DONE`] follows, and the
    /// next call has it, once.
    ///
    /// # Errors
    ///
    /// `WouldBlock` until it is there, or while another request of the file is under way; then what fstat(2) says.
    ///
    /// ```
    /// use efio::{Efio, OpenOptions};
    /// let efio = Efio::new()?;
    /// let fd = efio.ef_open("/proc/self/status", &OpenOptions::new().read(true))?;
    /// let metadata = loop {
    ///     match efio.ef_fstat(fd) {
    ///         Err(error) if error.is_would_block() => std::thread::yield_now(),
    ///         answer => break answer?,
    ///     }
    /// };
    /// assert!(metadata.is_file());
    /// # Ok::<(), efio::Error>(())
    /// ```
    pub fn ef_fstat(&self, fd: Fd) -> Result<Metadata> {
        self.check(Operation::Stat)?.commons.file_stat(fd).map(Metadata)
    }

    /// Changes the size of the file, after what was accepted before and before what comes later.
    /// [`Readiness::DONE`] follows.
    ///
    /// # Errors
    ///
    /// `WouldBlock` while another such request of the file is under way; its event tells when to try again.
    pub fn ef_truncate(&self, fd: Fd, size: u64) -> Result<()> {
        let engine = self.check_alive(Operation::Truncate)?;
        if size > i64::MAX as u64 {
            let note = "the size is out of range";
            return Err(Error::noted(ErrorKind::InvalidInput, Operation::Truncate, note).with_fd(fd));
        }
        engine.commons.ask(fd, Asked::Truncate { size }, Operation::Truncate, false)
    }

    /// Reserves room on the disk for `bytes` from `offset` on. With `keep_size` the file's size stays.
    /// [`Readiness::DONE`] follows.
    ///
    /// # Errors
    ///
    /// As [`ef_truncate`](Self::ef_truncate).
    pub fn ef_preallocate(&self, fd: Fd, offset: u64, bytes: u64, keep_size: bool) -> Result<()> {
        let engine = self.check_alive(Operation::Preallocate)?;
        if bytes == 0 || offset.checked_add(bytes).is_none_or(|end| end > i64::MAX as u64) {
            let note = "the range is empty or out of range";
            return Err(Error::noted(ErrorKind::InvalidInput, Operation::Preallocate, note).with_fd(fd));
        }
        let asked = Asked::Preallocate { offset, bytes, keep_size };
        engine.commons.ask(fd, asked, Operation::Preallocate, false)
    }

    /// Begins to close the file: what is accepted goes out, an atomic file gets its name, then
    /// [`Readiness::CLOSED`] follows, with the first error that nothing healed and the bytes lost. Never waits.
    ///
    /// # Errors
    ///
    /// `Stale`; `Busy` when it is being closed already, or belongs to a [`File`](crate::File).
    pub fn ef_close(&self, fd: Fd) -> Result<()> {
        self.check(Operation::Close)?.commons.close(fd, flag::PUBLISH, Operation::Close, Caller::Descriptor)
    }

    /// Takes the answer of a close, in place of its event.
    ///
    /// # Errors
    ///
    /// `WouldBlock` until it is closed; then, once, the error that the closed event would carry; `InvalidInput` when no
    /// close was begun.
    pub fn ef_close_status(&self, fd: Fd) -> Result<()> {
        self.check(Operation::Close)?.commons.close_status(fd)
    }

    /// Closes the file and waits for it, at most for the close deadline and the shutdown deadline together. No closed
    /// event follows.
    ///
    /// # Errors
    ///
    /// As [`ef_close`](Self::ef_close), then what the closed event would carry; `TimedOut` when it is not closed by
    /// then (the close goes on, and its event follows); `Deadlock` on an engine thread, which would wait for itself.
    pub fn ef_close_immediate(&self, fd: Fd) -> Result<()> {
        let engine = self.check(Operation::Close)?;
        if is_engine_thread() {
            return Err(Error::plain(ErrorKind::Deadlock, Operation::Close, Some(fd)));
        }
        let limits = &engine.commons.limits;
        let until = Instant::now().checked_add(limits.close_deadline + limits.shutdown_deadline);
        let begun = self.ef_close(fd);
        if begun.as_ref().is_err_and(|error| error.kind() != ErrorKind::Busy) {
            return begun;
        }
        let Some(slot) = engine.commons.slot(fd) else { return Err(Error::stale(Operation::Close, fd)) };
        if slot.state.load().has(flag::OWNED) {
            return begun;
        }
        loop {
            // ORDER: Acquire pairs with the count in `raise`: what is raised after the reservation changes the word.
            let rung = engine.commons.closings.load(Ordering::Acquire);
            if !slot.pending.reserve_closed() {
                break;
            }
            if !slot.state.load().is(fd) {
                // Another thread's drain had the answer before the reservation.
                if slot.pending.release_closed() {
                    engine.commons.raise(slot, Readiness::CLOSED.bits());
                }
                return Err(Error::stale(Operation::Close, fd));
            }
            if engine.platform.is_virtual() {
                if !engine.step_virtual() {
                    break;
                }
                continue;
            }
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            futex::wait(&engine.commons.closings, rung, Some(left.min(RESERVATION_CHECK)));
        }
        let there = slot.pending.release_closed();
        let answer = if there { engine.commons.take_closed(slot, fd) } else { None };
        answer.unwrap_or_else(|| Err(Error::plain(ErrorKind::TimedOut, Operation::Close, Some(fd))))
    }

    /// Drops what is not written yet, removes an atomic file that has no name yet, and closes.
    /// [`Readiness::CLOSED`] follows.
    ///
    /// # Errors
    ///
    /// As [`ef_close`](Self::ef_close).
    pub fn ef_abort(&self, fd: Fd) -> Result<()> {
        self.check(Operation::Abort)?.commons.close(fd, flag::ABORT, Operation::Abort, Caller::Descriptor)
    }

    /// Takes what news there is, as far as `events` has room; never waits. If anything is left, the inbox wakes itself
    /// again.
    ///
    /// # Errors
    ///
    /// `Forked` in a child of the process that made the module.
    pub fn events(&self, events: &mut Events) -> Result<usize> {
        self.check(Operation::Wait)?;
        Ok(self.own_inbox().drain(events))
    }

    /// Waits for news, at most for `timeout` (`None`: without end), and takes it: for programs without a loop.
    ///
    /// # Errors
    ///
    /// `Deadlock` on an engine thread; `Forked`.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> Result<usize> {
        self.check(Operation::Wait)?;
        self.own_inbox().wait(events, timeout)
    }

    /// The place where this module's events arrive, or those of [`with_inbox`](Self::with_inbox), to be registered with a
    /// loop.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.own_inbox().clone()
    }

    fn own_inbox(&self) -> &Inbox {
        self.inbox.as_ref().unwrap_or(&self.front.inbox)
    }

    /// The number of the inbox that hears of what this handle begins.
    pub(crate) fn bound_inbox(&self) -> u32 {
        self.own_inbox().number()
    }

    /// The module without a choice of inbox: what a `File` keeps, so that it keeps no inbox from being dropped.
    pub(crate) fn unbound(&self) -> Self {
        Self { front: Arc::clone(&self.front), inbox: None }
    }

    /// How often a function of the program's own, given to [`Builder::wake_with`] or [`Builder::on_loss`], has panicked.
    ///
    /// Such a panic goes through the program's panic hook like any other, and ends there: no thread, no file and no
    /// event is lost by it. But the loop that a wake function failed to wake finds its events only when something else
    /// wakes it; so a program that gives one looks at this number now and then.
    ///
    /// ```
    /// let efio = efio::Efio::builder().wake_with(|| ()).build()?;
    /// assert_eq!(efio.contained_panics(), 0);
    /// # Ok::<(), efio::Error>(())
    /// ```
    #[must_use]
    pub fn contained_panics(&self) -> u64 {
        self.engine().commons.inboxes.iter().map(News::panics).sum()
    }

    /// One turn of the engine of a module on a simulated disk, at the present moment of its clock. False: nothing is to
    /// be done now.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn turn(&self) -> bool {
        self.engine().turn_now()
    }

    /// As [`turn`](Self::turn); if there is nothing to do now, the clock moves to the next moment at which there is.
    /// False: nothing is left to happen.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn step(&self) -> bool {
        self.engine().step_virtual()
    }

    /// Begins the end: nothing more is accepted, every file closes, and its closed event follows. Never waits.
    /// Atomic files that were not closed leave nothing; a [`File`](crate::File) is flushed and stays its owner's.
    pub fn begin_shutdown(&self) {
        if self.check(Operation::Shutdown).is_ok() {
            self.engine().begin_ending();
        }
    }

    /// Ends the module: flushes, closes, joins the threads, within `deadline`. What is lost by then is told to the
    /// hook of [`Builder::on_loss`].
    ///
    /// # Errors
    ///
    /// `TimedOut` when something was left at the deadline, or bytes were lost; `Deadlock` on an engine thread.
    pub fn shutdown(&self, deadline: Duration) -> Result<()> {
        let engine = self.check(Operation::Shutdown)?;
        if is_engine_thread() {
            return Err(Error::plain(ErrorKind::Deadlock, Operation::Shutdown, None));
        }
        let ended = engine.end(deadline);
        if !ended.in_time {
            return Err(Error::noted(
                ErrorKind::TimedOut,
                Operation::Shutdown,
                "not everything ended by the deadline",
            ));
        }
        if ended.files_lost > 0 {
            let note = "files ended with an error or lost bytes; the loss hook was told of each";
            return Err(Error::noted(ErrorKind::Os, Operation::Shutdown, note));
        }
        Ok(())
    }
}

/// How often a caller that sleeps until a close is done looks whether the answer went elsewhere.
const RESERVATION_CHECK: Duration = Duration::from_millis(20);
