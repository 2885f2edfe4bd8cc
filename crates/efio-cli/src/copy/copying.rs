//! Copying: what the tasks of one copy share, and how each asks the engine and waits for its answer.
//!
//! Each task is a future that the loop polls when an event with the task's token has come, or when it asked to be polled
//! again at once. So it need not know which event it waits for: it tries again, and is told "not yet" or has its answer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use efio::{Answer, Dir, Efio, Event, Fd, Metadata, PathCall};

use crate::cli::Cp;
use crate::copy::fault::Fault;
use crate::copy::progress::Progress;

/// The most bytes moved at once.
const PIECE: usize = 64 * 1024;

/// Something that is on its way.
pub struct Task {
    /// What it does; it tells its own faults.
    pub future: Pin<Box<dyn Future<Output = ()>>>,
    /// A few calls and done: a signal does not break it off.
    pub is_brief: bool,
}

/// What the tasks of one copy share, all of them on one thread.
pub struct Copying {
    /// The engine.
    pub efio: Efio,
    /// What was asked for.
    pub options: Cp,
    /// The bar.
    pub progress: Progress,
    /// Room for one piece, used between two waits.
    pub scratch: RefCell<Box<[u8]>>,
    /// Faults told so far.
    pub failed: Cell<usize>,
    /// The token of the task that is polled now.
    pub current: Cell<u64>,
    /// That task wants another turn at once.
    pub again: Cell<bool>,
    /// The task that begins when there is a place for it.
    pub next: Cell<Option<Task>>,
    /// Files whose opening or closing is awaited, and what their closed event said.
    watched: RefCell<Vec<(Fd, Option<efio::Result<()>>)>>,
    /// Counts the hidden names that were made.
    hidden: Cell<u64>,
}

impl Copying {
    /// Nothing is on its way yet.
    pub fn new(efio: Efio, options: &Cp) -> Self {
        Self {
            efio,
            options: options.clone(),
            progress: Progress::new(options.quiet),
            scratch: RefCell::new(vec![0; PIECE].into_boxed_slice()),
            failed: Cell::new(0),
            current: Cell::new(0),
            again: Cell::new(false),
            next: Cell::new(None),
            watched: RefCell::new(Vec::new()),
            hidden: Cell::new(0),
        }
    }

    /// Tells a fault; the rest goes on.
    pub fn tell(&self, fault: &Fault) {
        self.failed.set(self.failed.get() + 1);
        self.progress.above(&fault.to_string());
    }

    /// A number that no other hidden name of this copy has.
    pub fn hidden_number(&self) -> u64 {
        self.hidden.replace(self.hidden.get() + 1)
    }

    /// Tries until it is no more "not yet".
    ///
    /// # Errors
    /// What the attempt says.
    pub async fn until<T>(&self, mut attempt: impl FnMut() -> efio::Result<T>) -> efio::Result<T> {
        poll_fn(|_| match attempt() {
            Err(error) if error.is_would_block() => Poll::Pending,
            answer => Poll::Ready(answer),
        })
        .await
    }

    /// Queues a call and waits for its answer.
    ///
    /// # Errors
    /// The engine's own, and the call's.
    pub async fn ask(&self, call: PathCall) -> efio::Result<Answer> {
        let op = self.efio.ef_queue(&call.token(self.current.get()))?;
        self.until(|| self.efio.take(op)).await
    }

    /// A question for metadata.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn metadata(&self, call: PathCall) -> efio::Result<Metadata> {
        match self.ask(call).await? {
            Answer::Metadata(metadata) => Ok(metadata),
            other => unreachable!("a question for metadata is answered {other:?}"),
        }
    }

    /// Opens a folder.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn open_dir(&self, call: PathCall) -> efio::Result<Dir> {
        match self.ask(call).await? {
            Answer::Dir(dir) => Ok(dir),
            other => unreachable!("the opening of a folder is answered {other:?}"),
        }
    }

    /// Has a folder closed by the engine, if this is its last clone.
    pub async fn close_dir(&self, dir: Dir) {
        // A folder has nothing to lose by closing.
        let _ = self.ask(PathCall::close_dir(dir)).await;
    }

    /// Lets the others have a turn.
    pub async fn pause(&self) {
        let mut paused = false;
        poll_fn(|_| match std::mem::replace(&mut paused, true) {
            true => Poll::Ready(()),
            false => {
                self.again.set(true);
                Poll::Pending
            }
        })
        .await;
    }

    /// Begins a task, as soon as there is a place for it.
    pub async fn begin(&self, future: impl Future<Output = ()> + 'static, is_brief: bool) {
        let mut task = Some(Task { future: Box::pin(future), is_brief });
        poll_fn(|_| match self.next.take() {
            None => {
                self.next.set(task.take());
                Poll::Ready(())
            }
            waiting => {
                self.next.set(waiting);
                Poll::Pending
            }
        })
        .await;
    }

    /// Waits until a file is opened.
    ///
    /// # Errors
    /// Why it could not be.
    pub async fn opened(&self, fd: Fd) -> efio::Result<()> {
        // An open that fails closes the file, and the event that says so may be taken before this is polled.
        self.watched(fd, || self.efio.ef_open_status(fd)).await
    }

    /// Closes a file and waits until it is closed.
    ///
    /// # Errors
    /// The first error of the file that nothing healed.
    pub async fn close(&self, fd: Fd) -> efio::Result<()> {
        self.efio.ef_close(fd)?;
        self.watched(fd, || self.efio.ef_close_status(fd)).await
    }

    /// Gives up a file that has no name yet, and waits until it is closed.
    pub async fn abort(&self, fd: Fd) {
        // This fails only for one that is closed already, and then leaves nothing either.
        if self.efio.ef_abort(fd).is_ok() {
            let _ = self.watched(fd, || self.efio.ef_close_status(fd)).await;
        }
    }

    /// Tries until it is no more "not yet", or the file is closed.
    async fn watched(&self, fd: Fd, mut attempt: impl FnMut() -> efio::Result<()>) -> efio::Result<()> {
        self.watched.borrow_mut().push((fd, None));
        let answer = self.until(|| self.answer_of(fd).unwrap_or_else(&mut attempt)).await;
        self.watched.borrow_mut().retain(|(watched, _)| *watched != fd);
        answer
    }

    fn answer_of(&self, fd: Fd) -> Option<efio::Result<()>> {
        self.watched.borrow_mut().iter_mut().find(|(watched, _)| *watched == fd)?.1.take()
    }

    /// Keeps what a closed event says, for whoever awaits it.
    pub fn closed(&self, event: &Event) {
        if let Some((_, answer)) =
            self.watched.borrow_mut().iter_mut().find(|(watched, _)| *watched == event.fd())
        {
            *answer = Some(event.error().map_or(Ok(()), |error| Err(error.clone())));
        }
    }
}
