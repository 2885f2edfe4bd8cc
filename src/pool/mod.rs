//! A pool of threads for work that would hold an event loop up: hashing, compression, calls that wait.
//!
//! ```
//! use efio::pool::Pool;
//!
//! let pool = Pool::builder().threads(2).name("hashes").build()?;
//! pool.submit(|| println!("on another thread"))?; // no result
//! let mut sum = pool.submit_with(|| (1..=100).sum::<u32>())?; // a result, to wait for or to await
//! pool.submit_then(|| 6 * 7, |answer| assert_eq!(answer, Ok(42)))?; // a function for the result
//! assert_eq!(sum.wait(None), Ok(5050));
//! assert!(pool.shutdown(None).in_time); // runs what is queued, then joins
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! - A task that was accepted runs once, unless [`Pool::shutdown_now`] drops it; whoever waits for its result is told so.
//! - Tasks *begin* in the order in which they were accepted. No thread keeps a task to itself while another is idle.
//! - A full queue refuses, and the closure comes back: [`PushError::Full`](crate::queue::PushError). Only
//!   [`Pool::submit_wait`] waits.
//! - A panic ends its task and nothing else. It is counted ([`Pool::panicked`]), and given to whoever waits for the result.
//! - A task may submit to its own pool. It may not *wait* for it, as every thread of the pool might do so at the same time:
//!   [`Task::wait`] answers [`TaskError::Deadlock`] there, [`Pool::submit_wait`] answers at once as [`Pool::submit`] does, and
//!   the shutdowns do not wait for the threads to end. Awaiting a task blocks no thread and is allowed.
//! - All signals are blocked on the pool's threads: a program's handlers run on its own.
//! - In a child of fork(2) there are no threads: every submission answers [`PushError::Closed`](crate::queue::PushError),
//!   every wait [`TaskError::Forked`], and drops touch nothing of the parent's.
//!
//! # The end
//!
//! | | accepts more | what is queued | what runs | waits |
//! | --- | --- | --- | --- | --- |
//! | [`Pool::shutdown`] | no | runs | ends | to the deadline; at that, the rest goes on in the background |
//! | [`Pool::shutdown_now`] | no | is dropped and counted | ends | to the deadline |
//! | drop | no | runs | ends | as long as it takes; not at all after one of the above, or on a thread of the pool |
//!
//! # How it is made
//!
//! One queue for all threads (a [`Gate`](crate::queue::Gate) before an [`Mpmc`](crate::queue::Mpmc)), so that order and
//! bound are those of the whole pool. A closure of up to 48 bytes lies in the queue itself; only a larger one is
//! allocated, and for a [`Task`] the place of its result. At most one wake-up is on its way at a time, and none while a
//! thread is looking for work. Of sleeping threads the lowest is woken, so that few stay warm. The threads are a crew of the
//! same kind as those that do the disk work of a module.
//!
//! # Speed
//!
//! `cargo bench --bench pool` prints this table: empty tasks from one thread, and a task with its result, one at a time. One
//! run on two processors that had nothing else to do; 1.00 is the best rival of the row.
//!
//! | | ours | rivals |
//! | --- | --- | --- |
//! | 1 worker | 4,096 places 6.84, no bound 1.96 | threadpool 1.00, rayon 0.49 |
//! | 2 workers | 4,096 places 4.21 (34.8 M tasks/s), no bound 1.73 (14.3 M) | threadpool 1.00, rayon 0.37 |
//! | 4 workers | 4,096 places 3.63, no bound 1.72 | threadpool 1.00, rayon 0.30 |
//! | there and back, 2 workers | [`Pool::submit_with`] and [`Task::wait`] 0.49 | rayon 1.00, threadpool with a channel 0.19 |
//!
//! With threads that share processors a row moves by half from run to run; there and back, ours and rayon change places
//! (0.49 of it here, 1.28 and 1.52 of the best rival in other runs).
//!
//! A submission makes one read-modify-write, of the queue's index, and waits for nothing that another processor holds.

mod builder;
mod closure;
mod crew;
#[cfg(all(test, efio_loom, not(efio_shuttle)))]
pub(crate) mod models;
mod results;
mod shared;
mod task;
mod work;

pub use builder::Builder;
pub(crate) use crew::{Crew, Turned, Work};
pub use results::{Finished, Results};
pub use task::{Task, TaskError};

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::queue::PushError;
use crate::sys::threads::fork_generation;

use shared::{Shared, is_own_thread};
use work::{Answering, Callback, Plain};

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// All threads have ended.
    pub in_time: bool,
    /// Tasks that were queued and will not run.
    pub dropped: usize,
}

/// Threads that run what is submitted: see the [module](self).
///
/// It is shared by reference, or in an `Arc`. Its drop is a graceful end: it accepts nothing more, runs what is queued and
/// joins the threads, however long that takes; after a shutdown it does not wait.
pub struct Pool {
    shared: Arc<Shared>,
    threads: usize,
    capacity: Option<usize>,
    forks: u32,
}

impl Pool {
    /// A pool of so many threads, 1 to 64, whose queue has the default bound.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        Self::builder().threads(threads).build()
    }

    /// The settings of a pool to be made.
    pub fn builder() -> Builder {
        Builder::new()
    }

    fn is_forked(&self) -> bool {
        self.forks != fork_generation()
    }

    /// Queues `work`. Never waits.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`], or [`PushError::Closed`] once the pool ends or in a child process; the closure comes back.
    ///
    /// ```
    /// use efio::pool::Pool;
    ///
    /// let pool = Pool::new(1)?;
    /// let mut line = String::from("a line");
    /// let work = move || {
    ///     line.push_str(", on a thread of the pool");
    ///     println!("{line}");
    /// };
    /// if let Err(refused) = pool.submit(work) {
    ///     refused.into_inner()(); // no room: do it here
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn submit<F>(&self, work: F) -> Result<(), PushError<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        if self.is_forked() {
            return Err(PushError::Closed(work));
        }
        self.shared.push(Plain(work)).map_err(|refused| refused.map(|Plain(work)| work))
    }

    /// Queues `work`, waiting for room at most for `timeout`. On a thread of this pool it does not wait.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] when the time is up, or at once on a thread of this pool; [`PushError::Closed`] as soon as the
    /// pool ends.
    pub fn submit_wait<F>(&self, work: F, timeout: Option<Duration>) -> Result<(), PushError<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        if self.is_forked() || is_own_thread(self.shared.id()) {
            return self.submit(work);
        }
        self.shared.push_wait(Plain(work), timeout).map_err(|refused| refused.map(|Plain(work)| work))
    }

    /// Queues `work` for its result, which the [`Task`] will have.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub fn submit_with<F, T>(&self, work: F) -> Result<Task<T>, PushError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.is_forked() {
            return Err(PushError::Closed(work));
        }
        let (promise, task) = task::promise(self.shared.id());
        match self.shared.push(Answering::new(work, promise)) {
            Ok(()) => Ok(task),
            Err(refused) => Err(refused.map(|answering| answering.into_parts().0)),
        }
    }

    /// Queues `work`; `then` is called with its result, on the thread that ran it, or, if the task is dropped, on the thread
    /// that drops it.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit); both closures come back.
    pub fn submit_then<F, T, D>(&self, work: F, then: D) -> Result<(), PushError<(F, D)>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: 'static,
        D: FnOnce(Result<T, TaskError>) + Send + 'static,
    {
        if self.is_forked() {
            return Err(PushError::Closed((work, then)));
        }
        let refused = match self.shared.push(Answering::new(work, Callback(then))) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let full = refused.is_full();
        match refused.into_inner().into_parts() {
            (work, Some(Callback(then))) if full => Err(PushError::Full((work, then))),
            (work, Some(Callback(then))) => Err(PushError::Closed((work, then))),
            // A receiver that was put there is there until it is told.
            (_, None) => Ok(()),
        }
    }

    /// Queues `work`; its result is put among `results`, with `token`.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit); [`PushError::Full`] also when no place is left among the results.
    pub fn submit_to<F, T>(&self, results: &Results<T>, token: u64, work: F) -> Result<(), PushError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.is_forked() {
            return Err(PushError::Closed(work));
        }
        let Some(delivery) = results.owe(token) else { return Err(PushError::Full(work)) };
        self.shared.push(Answering::new(work, delivery)).map_err(|refused| {
            refused.map(|answering| {
                let (work, delivery) = answering.into_parts();
                results.forgive(delivery);
                work
            })
        })
    }

    /// How many threads it was made with.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// How many tasks wait at most; None: no bound.
    #[must_use]
    pub const fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// Tasks that wait for a thread now.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.queued()
    }

    /// Tasks that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared.running()
    }

    /// Tasks that ran to their end or panicked, since the start. What they did before is seen by who sees them counted.
    ///
    /// A task is counted after its result was handed over, so a result may be there a moment earlier.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.shared.finished()
    }

    /// Those of the finished tasks that panicked, or whose function for the result did.
    #[must_use]
    pub fn panicked(&self) -> u64 {
        self.shared.panicked()
    }

    /// Whether the end has begun: nothing more is accepted.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Accepts nothing more, lets the threads run what is queued, and joins them, at most for `deadline` (None: as long as
    /// it takes) and some 50 milliseconds in which threads on their way out end.
    ///
    /// At the deadline tasks that are left go on in the background: ask again, or [`shutdown_now`](Self::shutdown_now).
    /// On a thread of this pool, and in a child process, it does not wait.
    #[allow(clippy::must_use_candidate, reason = "who sets no deadline knows the answer")]
    pub fn shutdown(&self, deadline: Option<Duration>) -> Ended {
        if self.is_forked() {
            return Ended { in_time: false, dropped: 0 };
        }
        self.shared.close();
        Ended { in_time: self.join(deadline), dropped: 0 }
    }

    /// Accepts nothing more, drops what is queued, lets what runs end, and joins the threads as
    /// [`shutdown`](Self::shutdown) does.
    ///
    /// Dropped tasks are counted, and whoever waits for one has [`TaskError::Dropped`]. A panic of a closure's drop is
    /// contained.
    #[allow(clippy::must_use_candidate, reason = "who sets no deadline and counts nothing knows the answer")]
    pub fn shutdown_now(&self, deadline: Option<Duration>) -> Ended {
        if self.is_forked() {
            return Ended { in_time: false, dropped: 0 };
        }
        let dropped = self.shared.halt();
        Ended { in_time: self.join(deadline), dropped }
    }

    fn join(&self, deadline: Option<Duration>) -> bool {
        let until = deadline.and_then(|limit| Instant::now().checked_add(limit));
        !is_own_thread(self.shared.id()) && self.shared.join(until)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.is_forked() && !self.is_closed() {
            self.shutdown(None);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(formatter)
    }
}
