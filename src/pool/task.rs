//! A task's result, from the thread that ran it to the one that asks: taken, waited for, or awaited.
//!
//! ```text
//!  pool:    write the result ── or DONE in ──► ASLEEP was there? wake the sleeper; WAKER was there? wake the task
//!  asker:   or ASLEEP (or WAKER) in ──► DONE was there? take the result : sleep (or return Pending)
//! ```
//!
//! Invariant: both sides use read-modify-writes of one word, so one comes first: the asker sees DONE, or the pool sees the
//! asker. The result is written before DONE and read after it; there is one writer and, as [`Task`] is no `Clone` and
//! its calls take it whole, one reader.

#![allow(unsafe_code, reason = "the result passes through a cell guarded by one word")]

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::sync::{Arc, AtomicU32, Mutex, Ordering, UnsafeCell, futex, lock, spin_loop};
use crate::sys::threads::fork_generation;

use super::shared::{LOOKS, is_own_thread};

/// Why a task has no result to give.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// The task panicked, with this message (empty if the panic carried no text).
    Panicked(String),
    /// The task was dropped before it began: by [`Pool::shutdown_now`](super::Pool::shutdown_now).
    Dropped,
    /// The time was up; the task goes on.
    TimedOut,
    /// The wait was asked for on a thread of the task's own pool, which might wait for itself; the task goes on.
    Deadlock,
    /// The result was taken before.
    Taken,
    /// This process is a fork of the one that submitted the task, and has none of its threads.
    Forked,
}

impl TaskError {
    /// Keeps the text of a panic; the rest of it is dropped.
    pub(super) fn of_panic(payload: Box<dyn Any + Send>) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        discard(payload);
        Self::Panicked(text)
    }
}

/// Drops what may panic when it is dropped, and what that panic carries, and so on until it is too silly.
pub(super) fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(text) if text.is_empty() => formatter.write_str("the task panicked"),
            Self::Panicked(text) => write!(formatter, "the task panicked: {text}"),
            Self::Dropped => formatter.write_str("the task was dropped before it began"),
            Self::TimedOut => formatter.write_str("the task is not finished yet"),
            Self::Deadlock => formatter.write_str("a thread of the pool would wait for its own pool"),
            Self::Taken => formatter.write_str("the result was taken before"),
            Self::Forked => {
                formatter.write_str("the pool belongs to the process that this one was forked from")
            }
        }
    }
}

impl std::error::Error for TaskError {}

/// Whoever a task's result is for.
pub(super) trait Receive<T>: Send + 'static {
    /// The result, or why there is none; called once.
    fn receive(self, result: Result<T, TaskError>);
}

const DONE: u32 = 1;
/// A thread sleeps on the word.
const ASLEEP: u32 = 2;
/// A waker lies beside it.
const WAKER: u32 = 4;

/// What a task and its promise share.
struct Cell<T> {
    word: AtomicU32,
    result: UnsafeCell<Option<Result<T, TaskError>>>,
    waker: Mutex<Option<Waker>>,
}

// SAFETY: the result is reached by the promise before DONE and by the task after it, never by both; it is given from
// thread to thread, so `Send` is what it needs. No reference to it is shared.
unsafe impl<T: Send> Sync for Cell<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Cell<T> {}

/// The pool's half.
pub(super) struct Promise<T>(Arc<Cell<T>>);

impl<T: Send + 'static> Receive<T> for Promise<T> {
    fn receive(self, result: Result<T, TaskError>) {
        let cell = &*self.0;
        cell.result.with_mut(|place| {
            // SAFETY: before DONE the promise alone reaches the result, and `receive` takes the promise.
            unsafe { *place = Some(result) }
        });
        // ORDER: AcqRel: its Release half pairs with the Acquire of `is_finished`, `announce`, `sleep`: the result is there.
        // Its Acquire half pairs with `announce`: the waker is there.
        let before = cell.word.fetch_or(DONE, Ordering::AcqRel);
        if before & ASLEEP != 0 {
            futex::wake_all(&cell.word);
        }
        if before & WAKER != 0 {
            let waker = lock(&cell.waker).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// A task that was submitted for its result.
///
/// The result can be looked for, waited for, or awaited, and is given once. Dropping the `Task` changes nothing about the
/// work; its result is then dropped by whoever is last.
///
/// ```
/// let pool = efio::pool::Pool::new(2)?;
/// let mut sum = pool.submit_with(|| (1..=10).sum::<u32>())?;
/// assert_eq!(sum.wait(None), Ok(55));
///
/// let mut fails = pool.submit_with(|| -> u32 { panic!("no disk") })?;
/// let error = fails.wait(None).unwrap_err();
/// assert_eq!(error.to_string(), "the task panicked: no disk");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the result is in here"]
pub struct Task<T> {
    cell: Arc<Cell<T>>,
    /// The pool, by the address of what its threads share.
    pool: usize,
    forks: u32,
}

/// Both halves of a task's result; `pool` is the address by which its threads know it.
pub(super) fn promise<T: Send + 'static>(pool: usize) -> (Promise<T>, Task<T>) {
    let cell =
        Arc::new(Cell { word: AtomicU32::new(0), result: UnsafeCell::new(None), waker: Mutex::new(None) });
    (Promise(cell.clone()), Task { cell, pool, forks: fork_generation() })
}

impl<T> Task<T> {
    /// Whether the task ran, or never will.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        // ORDER: Acquire pairs with the Release half in `receive`.
        self.cell.word.load(Ordering::Acquire) & DONE != 0
    }

    /// The result, if the task is finished; never waits.
    ///
    /// None: not finished. `Some(Err(TaskError::Taken))`: given before.
    pub fn try_take(&mut self) -> Option<Result<T, TaskError>> {
        self.is_finished().then(|| self.take())
    }

    /// Waits for the result, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// [`TaskError::Panicked`] or [`TaskError::Dropped`] instead of a result; [`TaskError::TimedOut`];
    /// [`TaskError::Deadlock`] on a thread of the same pool, unless the task is finished; [`TaskError::Taken`] at a second
    /// call; [`TaskError::Forked`] in a child process.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<T, TaskError> {
        if let Some(result) = self.try_take() {
            return result;
        }
        if self.forks != fork_generation() {
            return Err(TaskError::Forked);
        }
        if is_own_thread(self.pool) {
            return Err(TaskError::Deadlock);
        }
        let deadline = timeout.and_then(|limit| Instant::now().checked_add(limit));
        for _ in 0..LOOKS {
            if self.is_finished() {
                break;
            }
            spin_loop();
        }
        if self.announce(ASLEEP) || self.sleep(deadline) { self.take() } else { Err(TaskError::TimedOut) }
    }

    /// Says how the asker is to be told; true: no need, it is done.
    fn announce(&self, how: u32) -> bool {
        // ORDER: AcqRel: pairs with the read-modify-write in `receive`, whichever comes first.
        self.cell.word.fetch_or(how, Ordering::AcqRel) & DONE != 0
    }

    /// Sleeps until it is done; false: the time is up.
    fn sleep(&self, deadline: Option<Instant>) -> bool {
        loop {
            // ORDER: Acquire pairs with the Release half in `receive`.
            let word = self.cell.word.load(Ordering::Acquire);
            if word & DONE != 0 {
                return true;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            futex::wait(&self.cell.word, word, left);
        }
    }

    /// Takes the result of a task that is done.
    fn take(&mut self) -> Result<T, TaskError> {
        let result = self.cell.result.with_mut(|place| {
            // SAFETY: DONE was seen, so the promise touches the result no more; of tasks there is one, lent here whole.
            unsafe { (*place).take() }
        });
        result.unwrap_or(Err(TaskError::Taken))
    }
}

/// May be awaited on a thread of its own pool too: a task that is pending blocks no thread.
impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(result) = this.try_take() {
            return Poll::Ready(result);
        }
        if this.forks != fork_generation() {
            return Poll::Ready(Err(TaskError::Forked));
        }
        // A waker's clone and drop may run any code, which may wait for the task: both are outside the lock.
        let waker = context.waker().clone();
        let before = lock(&this.cell.waker).replace(waker);
        drop(before);
        if this.announce(WAKER) { Poll::Ready(this.take()) } else { Poll::Pending }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Task").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}
