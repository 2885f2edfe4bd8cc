//! Readiness for tasks: any executor may wait for a file.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::efio::Efio;
use crate::error::{Operation, Result};
use crate::event::{Interest, Readiness};
use crate::fd::Fd;
use crate::handle::File;
use crate::job::Handle;

impl Efio {
    /// What of `interest` is there now; if nothing, the task is woken when there is, on whatever executor.
    ///
    /// `READABLE` and `WRITABLE` answer a refusal, as they do in an inbox: the call first, then this, then the call again.
    /// Where no read was refused nothing is being read ahead, so nobody would be woken.
    ///
    /// A file has one task waker for each direction of [`Interest`], the last one given. While it waits, the events that
    /// it waits for are told to it and not sent to the inbox; a waker is called once, so a task that is woken polls
    /// again. `OPENED`, `READABLE`, `WRITABLE` and `CLOSED` are also ready if they came before; `SYNCED` and the others
    /// only if no drain took them, so a task that waits for a sync asks [`ef_progress`](Self::ef_progress) after it has
    /// begun to wait. When the file is closed everyone who waits is told. A file that failed may wake a task in vain.
    ///
    /// A task that stops waiting says so by [`forget_ready`](Self::forget_ready); [`ready`](Self::ready) is a future
    /// that does it when it is dropped. Else the next event of its directions wakes nobody, and a closed event that it
    /// waited for keeps the file's place in the table until its answer is taken.
    ///
    /// # Errors
    ///
    /// The error that the event would have carried, but for the closed one's, which waits for
    /// [`ef_close_status`](Self::ef_close_status); `Stale` for a handle whose last answer was taken; `Forked`.
    pub fn poll_ready(&self, fd: Fd, interest: Interest, task: &mut Context<'_>) -> Poll<Result<Readiness>> {
        let engine = match self.check(Operation::Poll) {
            Ok(engine) => engine,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let platform = &engine.platform;
        let nowait =
            |handle: Handle, offset: u64, into: &mut [u8]| platform.read_nowait(handle, offset, into);
        match engine.commons.poll_ready(fd, interest.bits(), task.waker(), &nowait) {
            Ok(ready) if ready.is_empty() => Poll::Pending,
            answer => Poll::Ready(answer),
        }
    }

    /// The task that waited for this is gone: its directions are the inbox's again, and what the task was told and has not
    /// asked for goes there.
    pub fn forget_ready(&self, fd: Fd, interest: Interest) {
        if let Ok(engine) = self.check(Operation::Poll) {
            engine.commons.forget_task(fd, interest.bits());
        }
    }

    /// [`poll_ready`](Self::poll_ready) as a future. Dropping it leaves no state.
    ///
    /// ```
    /// use std::future::Future;
    /// use efio::{Efio, Interest, OpenOptions};
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
    /// let efio = Efio::new()?;
    /// let fd = efio.ef_open("/proc/version", &OpenOptions::new().read(true))?;
    /// block_on(async {
    ///     assert!(efio.ready(fd, Interest::OPENED).await?.is_opened());
    ///     efio.ef_close(fd)?;
    ///     assert!(efio.ready(fd, Interest::CLOSED).await?.is_closed());
    ///     efio.ef_close_status(fd)
    /// })?;
    /// # Ok::<(), efio::Error>(())
    /// ```
    #[must_use = "a future does nothing unless it is awaited"]
    pub fn ready(&self, fd: Fd, interest: Interest) -> Ready<'_> {
        Ready { efio: self, fd, interest, waits: false }
    }
}

impl File {
    /// See [`Efio::poll_ready`]. A refused call first, then this, then the call again: what an owner would find is known
    /// to its calls alone, so `READABLE` may be said to be missing where a read would have bytes.
    ///
    /// # Errors
    ///
    /// As [`Efio::poll_ready`].
    pub fn poll_ready(&self, interest: Interest, task: &mut Context<'_>) -> Poll<Result<Readiness>> {
        self.efio().poll_ready(self.fd(), interest, task)
    }
}

/// Waits until a file is ready: see [`Efio::ready`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Ready<'a> {
    efio: &'a Efio,
    fd: Fd,
    interest: Interest,
    waits: bool,
}

impl Future for Ready<'_> {
    type Output = Result<Readiness>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.efio.poll_ready(self.fd, self.interest, task);
        self.waits = answer.is_pending();
        answer
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if self.waits {
            self.efio.forget_ready(self.fd, self.interest);
        }
    }
}
