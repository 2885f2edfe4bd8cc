//! Results as events: what finished waits in a queue that an event loop can watch.

use std::fmt;
use std::time::Duration;

use crate::queue::{Gate, Mpmc, Signal};
use crate::sync::{Arc, AtomicUsize, Ordering};
use crate::sys::threads::fork_generation;

use super::shared::is_pool_thread;
use super::task::{Receive, TaskError};

/// A finished task: the token it was submitted with, and what it returned.
pub type Finished<T> = (u64, Result<T, TaskError>);

struct Shared<T> {
    gate: Gate<Mpmc<Finished<T>>>,
    /// Tasks submitted whose result nobody has taken: never more than the queue has places.
    owed: AtomicUsize,
}

/// Where the results of tasks are collected, in the order in which the tasks finished.
///
/// A task that is submitted with [`Pool::submit_to`](super::Pool::submit_to) keeps a place here from then on until its
/// result is taken, so results need no more memory than was asked for, and who does not collect them cannot submit more.
/// A task that panics or is dropped has a result too.
///
/// With a signal (an eventfd, a waker, a function) an event loop is told: once for each [`arm`](Self::arm), when
/// the next result arrives.
///
/// ```
/// use efio::pool::{Pool, Results};
/// use std::sync::mpsc;
///
/// let (wake, woken) = mpsc::sync_channel(1);
/// let results = Results::with_signal(8, move || _ = wake.try_send(()));
/// let pool = Pool::new(2)?;
/// for token in 0..8 {
///     pool.submit_to(&results, token, move || token * token)?;
/// }
/// assert!(pool.submit_to(&results, 8, || 0).is_err(), "eight results are owed");
///
/// let mut sum = 0;
/// while results.owed() != 0 {
///     results.arm(); // then look: what is found was there, and the signal comes for what is not
///     match results.try_take() {
///         Some((_token, result)) => sum += result?,
///         None => woken.recv()?, // where a loop would poll its sockets too
///     }
/// }
/// assert_eq!(sum, 140);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Results<T> {
    shared: Arc<Shared<T>>,
    forks: u32,
}

impl<T: Send + 'static> Results<T> {
    /// Room for the results of `limit` tasks (at least one) that are submitted and not collected.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self::make(Gate::new(Mpmc::new(limit)))
    }

    /// As [`new`](Self::new), with a signal for an event loop.
    pub fn with_signal(limit: usize, signal: impl Signal + 'static) -> Self {
        Self::make(Gate::with_signals(Mpmc::new(limit), signal, || ()))
    }

    fn make(gate: Gate<Mpmc<Finished<T>>>) -> Self {
        Self { shared: Arc::new(Shared { gate, owed: AtomicUsize::new(0) }), forks: fork_generation() }
    }

    /// The oldest result that is there; never waits. In a child process there is none: the thread that was about to deliver one
    /// does not exist there.
    #[must_use]
    pub fn try_take(&self) -> Option<Finished<T>> {
        if self.forks != fork_generation() {
            return None;
        }
        self.shared.gate.pop().ok().inspect(|_| self.taken())
    }

    /// Waits for a result, at most for `timeout`. On a thread of any pool it looks and does not wait; in a child process there
    /// is none.
    #[must_use]
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Finished<T>> {
        if is_pool_thread() || self.forks != fork_generation() {
            return self.try_take();
        }
        self.shared.gate.pop_wait(timeout).ok().inspect(|_| self.taken())
    }

    /// Asks for one signal when a result arrives. Look once more afterwards: what is found was there before.
    pub fn arm(&self) {
        self.shared.gate.arm_pop();
    }

    /// Tasks submitted here whose result was not taken yet.
    #[must_use]
    pub fn owed(&self) -> usize {
        // ORDER: Relaxed: a figure.
        self.shared.owed.load(Ordering::Relaxed)
    }

    fn taken(&self) {
        // ORDER: AcqRel pairs with the addition in `owe`: the place is free before it is counted so.
        self.shared.owed.fetch_sub(1, Ordering::AcqRel);
    }

    /// A place for one more result; None: all are taken.
    pub(super) fn owe(&self, token: u64) -> Option<Delivery<T>> {
        let limit = self.shared.gate.queue().capacity();
        let one_more = |owed: usize| (owed < limit).then_some(owed + 1);
        // ORDER: AcqRel pairs with the subtraction in `taken`.
        let counted = self.shared.owed.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more);
        counted.is_ok().then(|| Delivery { shared: self.shared.clone(), token })
    }

    /// The task was refused: its place is free again.
    pub(super) fn forgive(&self, delivery: Option<Delivery<T>>) {
        if delivery.is_some() {
            self.taken();
        }
    }
}

impl<T> fmt::Debug for Results<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = self.shared.gate.queue().len();
        formatter.debug_struct("Results").field("there", &there).finish_non_exhaustive()
    }
}

/// A task's place among the results.
pub(super) struct Delivery<T> {
    shared: Arc<Shared<T>>,
    token: u64,
}

impl<T: Send + 'static> Receive<T> for Delivery<T> {
    fn receive(self, result: Result<T, TaskError>) {
        // Never full: a place was counted in for it. A queue whose reader is gone drops it in the end.
        let pushed = self.shared.gate.push((self.token, result));
        debug_assert!(pushed.is_ok(), "a place was kept");
    }
}
