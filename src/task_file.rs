//! TaskFile: a file for tasks: its calls are polls and futures, on any executor.
//!
//! Every poll is the same three steps: the call; refused: the task's waker goes into its place; the call once more. So
//! nothing is registered where nothing is refused, and no event is missed between the two. Nothing is kept between
//! polls but what the file itself keeps, so a future may be dropped at any moment: bytes that it has not handed out stay
//! in the file.

use std::future::poll_fn;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::task::{Context, Poll};

use crate::config::OpenOptions;
use crate::efio::Efio;
use crate::engine::notify::Wake;
use crate::error::{Error, Operation, Result};
use crate::event::{Events, Interest, Progress, Readiness};
use crate::fd::Fd;
use crate::handle::File;
use crate::inbox::Inbox;

#[cfg(feature = "futures")]
mod for_futures;
#[cfg(feature = "tokio")]
mod for_tokio;

/// A [`File`] for tasks, on any executor: no event loop of efio's is needed beside it.
///
/// With the feature `tokio` it is tokio's `AsyncRead`, `AsyncWrite`, `AsyncBufRead` and `AsyncSeek`, with the feature
/// `futures` those of futures-io. Their `poll_flush` is done when every byte is in the file; their `poll_shutdown` or
/// `poll_close` writes what is left, closes, gives an atomic file its name, and tells the first error that nothing healed.
///
/// Each call may be cancelled by dropping its future: no byte is lost by that, and a `sync` or `close` that was begun goes
/// on in the background.
///
/// While the value lives, its tasks have the file's wakers (see [`Efio::poll_ready`]), so that no event loop hears of what
/// they wait for. Dropped without a close it closes in the background, as a [`File`] does; no event tells how that went,
/// but what is lost is told to the hook of [`Builder::on_loss`](crate::Builder::on_loss), when a next one is opened, has to
/// wait, or is dropped, or at the end of the module. Until then it keeps its place in the table, unless that is full and
/// another file is opened.
///
/// ```
/// # use std::future::Future;
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     struct Thread(std::thread::Thread);
/// #     impl std::task::Wake for Thread {
/// #         fn wake(self: std::sync::Arc<Self>) { self.0.unpark() }
/// #     }
/// #     let waker = std::sync::Arc::new(Thread(std::thread::current())).into();
/// #     let mut future = std::pin::pin!(future);
/// #     loop {
/// #         match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
/// #             std::task::Poll::Ready(answer) => return answer,
/// #             std::task::Poll::Pending => std::thread::park(),
/// #         }
/// #     }
/// # }
/// use efio::{Efio, OpenOptions, TaskFile};
/// let path = std::env::temp_dir().join(format!("efio-task-{}", std::process::id()));
/// let efio = Efio::new()?;
/// block_on(async {
///     let mut file = TaskFile::open(&efio, &path, &OpenOptions::new().write(true).create(true)).await?;
///     assert_eq!(file.write(b"hello").await?, 5);
///     file.sync().await?;
///     file.close().await
/// })?;
/// assert_eq!(std::fs::read(&path)?, b"hello");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TaskFile {
    efio: Efio,
    fd: Fd,
    state: Stage,
    /// A seek that was begun and not finished.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "tokio seeks in two calls"))]
    seek: Option<SeekFrom>,
}

/// How far the file has got.
#[derive(Debug)]
enum Stage {
    Open(File),
    Closing,
    Closed,
}

/// What a file's own tasks are told from its open to its end, so that no inbox has its last answer.
const LIFE: [Interest; 2] = [Interest::OPENED, Interest::CLOSED];

/// What tells that a seek, or anything before the open, is worth trying again.
const ANY: [Interest; 4] = [Interest::OPENED, Interest::DONE, Interest::READABLE, Interest::WRITABLE];

impl From<File> for TaskFile {
    fn from(file: File) -> Self {
        Self { efio: file.efio().clone(), fd: file.fd(), state: Stage::Open(file), seek: None }
    }
}

impl TaskFile {
    /// Opens a file. Dropped before it is done, it leaves nothing open.
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_open`], and what open(2) says.
    pub async fn open(efio: &Efio, path: impl AsRef<Path>, options: &OpenOptions) -> io::Result<Self> {
        take_orphans(efio);
        let awaited = LIFE[0].bits() | LIFE[1].bits();
        let fd = efio.open_name(None, path.as_ref(), options, awaited)?;
        let file = efio.from_fd(fd).inspect_err(|_| leave_to_orphans(efio, fd))?;
        let mut file = Self::from(file);
        file.opened().await?;
        Ok(file)
    }

    /// Waits until the file is open.
    ///
    /// # Errors
    ///
    /// What open(2) says.
    pub async fn opened(&mut self) -> io::Result<()> {
        poll_fn(|task| {
            self.file()?;
            // Before the look, also at a file that is open by now: what its task is told no inbox hears of.
            self.wait_for(task, &LIFE)?;
            match self.efio.ef_open_status(self.fd) {
                Err(error) if error.is_would_block() => Poll::Pending,
                answer => Poll::Ready(Ok(answer?)),
            }
        })
        .await
    }

    /// Reads what is there, at most `into.len()` bytes, waiting for at least one; 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_read`].
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|task| self.poll_read(task, into)).await
    }

    /// Has bytes taken, waiting while a limit of memory is reached; how many, as [`Efio::ef_write`] tells.
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_write`].
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|task| self.poll_write(task, bytes)).await
    }

    /// Waits until everything written is in the file.
    ///
    /// # Errors
    ///
    /// The first error of a file that failed.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|task| self.poll_flush(task)).await
    }

    /// Moves the offset of the next read and write, and returns it.
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_seek`].
    pub async fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        poll_fn(|task| self.poll_with(task, &ANY, |file| file.seek(to))).await
    }

    /// Has everything written so far made durable.
    ///
    /// # Errors
    ///
    /// What the sync met; every later one says so too.
    pub async fn sync(&mut self) -> io::Result<()> {
        let target = self.progress()?.accepted;
        let mut asked = false;
        poll_fn(|task| self.poll_sync(task, target, &mut asked)).await
    }

    fn poll_sync(&mut self, task: &Context<'_>, target: u64, asked: &mut bool) -> Poll<io::Result<()>> {
        // What it was told before it asked is the answer to an earlier sync.
        let told = self.wait_for(task, &[Interest::SYNCED])?;
        let file = self.file()?;
        if !*asked || file.is_poisoned() {
            *asked = true;
            file.sync()?;
            return Poll::Pending;
        }
        // It may still be that of an earlier one.
        if told.is_synced() && file.progress()?.durable >= target {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    /// Writes what is left, closes, and gives an atomic file its name.
    ///
    /// # Errors
    ///
    /// The first error that nothing healed.
    pub async fn close(mut self) -> io::Result<()> {
        poll_fn(|task| self.poll_close(task)).await
    }

    /// See [`Efio::ef_progress`].
    ///
    /// # Errors
    ///
    /// `Stale` when it is closed, or its open failed.
    pub fn progress(&self) -> Result<Progress> {
        self.efio.ef_progress(self.fd)
    }

    /// The handle under which its events come.
    #[must_use]
    pub fn fd(&self) -> Fd {
        self.fd
    }

    /// The file without tasks; `None` once it is closed, or being closed.
    #[must_use]
    pub fn into_file(mut self) -> Option<File> {
        match std::mem::replace(&mut self.state, Stage::Closed) {
            Stage::Open(file) => {
                self.forget();
                Some(file)
            }
            stage => {
                self.state = stage;
                None
            }
        }
    }

    /// The file's wakers are nobody's any more.
    fn forget(&self) {
        for interest in [Interest::READABLE, Interest::WRITABLE, Interest::CLOSED] {
            self.efio.forget_ready(self.fd, interest);
        }
    }

    fn file(&mut self) -> io::Result<&mut File> {
        match &mut self.state {
            Stage::Open(file) => Ok(file),
            _ => Err(Error::stale(Operation::Poll, self.fd).into()),
        }
    }

    /// Has the task woken for any of these.
    fn wait_for(&self, task: &Context<'_>, interests: &[Interest]) -> Result<Readiness> {
        take_orphans(&self.efio);
        let events = interests.iter().fold(0, |all, interest| all | interest.bits());
        self.efio.engine().commons.attend(self.fd, events, task.waker())
    }

    /// See the head of this file.
    fn poll_with<T>(
        &mut self,
        task: &Context<'_>,
        interests: &[Interest],
        mut call: impl FnMut(&mut File) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        for second in [false, true] {
            match call(self.file()?) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && second => return Poll::Pending,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for(task, interests)?;
                }
                answer => return Poll::Ready(answer),
            }
        }
        Poll::Pending
    }

    pub(crate) fn poll_read(&mut self, task: &Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_with(task, &[Interest::READABLE], |file| file.read(into))
    }

    pub(crate) fn poll_write(&mut self, task: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_with(task, &[Interest::WRITABLE], |file| file.write(bytes))
    }

    #[cfg(any(feature = "tokio", feature = "futures"))]
    pub(crate) fn poll_write_vectored(
        &mut self,
        task: &Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(task, &[Interest::WRITABLE], |file| file.write_vectored(slices))
    }

    pub(crate) fn poll_flush(&mut self, task: &Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            Stage::Open(_) => self.poll_with(task, &[Interest::WRITABLE], File::flush),
            // A close writes everything, and tells.
            _ => self.poll_close(task),
        }
    }

    #[cfg(any(feature = "tokio", feature = "futures"))]
    pub(crate) fn poll_fill_buf(&mut self, task: &Context<'_>) -> Poll<io::Result<&[u8]>> {
        match self.poll_with(task, &[Interest::READABLE], |file| Ok(io::BufRead::fill_buf(file)?.is_empty()))
        {
            // The end is told once for each time it is met: it is not asked for again.
            Poll::Ready(Ok(true)) => Poll::Ready(Ok(&[])),
            Poll::Ready(Ok(false)) => match io::BufRead::fill_buf(self.file()?) {
                // A truncate by the handle ended the view between the two.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    task.waker().wake_by_ref();
                    Poll::Pending
                }
                answer => Poll::Ready(answer),
            },
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    #[cfg(any(feature = "tokio", feature = "futures"))]
    pub(crate) fn consume_bytes(&mut self, bytes: usize) {
        if let Stage::Open(file) = &mut self.state {
            io::BufRead::consume(file, bytes);
        }
    }

    pub(crate) fn poll_close(&mut self, task: &Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.state, Stage::Open(_)) {
            // Before the close begins: whose drain had its last answer would free the place.
            self.wait_for(task, &[Interest::CLOSED])?;
        }
        if let Stage::Open(file) = &mut self.state {
            file.begin_close()?;
            self.state = Stage::Closing;
        }
        if matches!(self.state, Stage::Closed) {
            return Poll::Ready(Ok(()));
        }
        for second in [false, true] {
            match self.efio.ef_close_status(self.fd) {
                Err(error) if error.is_would_block() && second => return Poll::Pending,
                Err(error) if error.is_would_block() => {
                    self.wait_for(task, &[Interest::CLOSED])?;
                }
                answer => {
                    self.state = Stage::Closed;
                    return Poll::Ready(Ok(answer?));
                }
            }
        }
        Poll::Pending
    }
}

impl Drop for TaskFile {
    fn drop(&mut self) {
        if matches!(self.state, Stage::Closed) || self.efio.is_forked() {
            return;
        }
        take_orphans(&self.efio);
        leave_to_orphans(&self.efio, self.fd);
        self.forget();
    }
}

/// The closed event of this file is on its way to nobody: where it goes it is looked at now and then.
fn leave_to_orphans(efio: &Efio, fd: Fd) {
    if let Some(orphans) = orphans(efio) {
        let _ = efio.ef_rebind(fd, orphans);
    }
    efio.forget_ready(fd, Interest::CLOSED);
}

/// The inbox of files whose tasks are gone.
fn orphans(efio: &Efio) -> Option<&Inbox> {
    efio.front.orphans.get_or_init(|| efio.new_inbox(Wake::function(|| ())).ok()).as_ref()
}

/// Frees the places of files whose tasks are gone, and tells what they lost. Whoever opens, waits or finds the table full
/// looks for them, since no engine thread may.
pub(crate) fn take_orphans(efio: &Efio) {
    let Some(Some(inbox)) = efio.front.orphans.get() else { return };
    if !inbox.has_news() {
        return;
    }
    let mut events = Events::with_capacity(32);
    while inbox.drain(&mut events) > 0 {
        for event in events.iter().filter(|event| event.readiness().is_closed()) {
            efio.engine().tell_of(event);
        }
    }
}
