//! How many threads a pool has, what they are called, and how many tasks wait for them.

use std::io;
use std::sync::Arc;

use crate::queue::{Mpmc, Unbounded};
use crate::sync::SEATS_MAX;
use crate::sys::threads::{fork_generation, on_fork};

use super::Pool;
use super::crew::Crew;
use super::shared::{Line, Shared};

/// Tasks that wait unless another number is asked for.
const QUEUE: usize = 4096;

/// The settings of a pool to be made: see [`Pool::builder`].
///
/// ```
/// let pool = efio::pool::Pool::builder().threads(3).queue(100).name("disks").build()?;
/// assert_eq!((pool.threads(), pool.capacity()), (3, Some(100)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `build`"]
pub struct Builder {
    threads: usize,
    queue: Option<usize>,
    name: String,
}

impl Builder {
    pub(super) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { threads, queue: Some(QUEUE), name: "efio-pool".into() }
    }

    /// How many threads, 1 to 64; what lies outside is moved to the nearer end. By default as many as there are processors.
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// How many tasks wait at most, at least one; 4,096 by default. The memory for them, 64 bytes each, is taken at the
    /// start.
    pub const fn queue(mut self, tasks: usize) -> Self {
        self.queue = Some(tasks);
        self
    }

    /// Tasks wait without a bound but memory: a submission is then never refused for want of room.
    pub const fn unbounded(mut self) -> Self {
        self.queue = None;
        self
    }

    /// What the threads are called, each with a number behind it (`name-0`). Systems cut long names: Linux after 15 bytes.
    pub fn name(mut self, name: &str) -> Self {
        // The one character that a thread's name cannot have.
        self.name = name.replace('\0', "");
        self
    }

    /// Makes the pool and starts its threads.
    ///
    /// # Errors
    ///
    /// The system refuses a thread; those started are ended again.
    pub fn build(self) -> io::Result<Pool> {
        on_fork().map_err(io::Error::from_raw_os_error)?;
        let threads = self.threads.clamp(1, SEATS_MAX);
        let line = match self.queue {
            Some(tasks) => Line::Bounded(Mpmc::new(tasks)),
            None => Line::Unbounded(Unbounded::new()),
        };
        let capacity = self.queue.map(|tasks| tasks.max(1));
        let shared = Arc::new(Shared::new(self.name, threads, line));
        // Dropped on the way out, it ends the threads there are.
        let pool = Pool { shared, threads, capacity, forks: fork_generation() };
        (0..threads).try_for_each(|_| Crew::add(&pool.shared))?;
        Ok(pool)
    }
}
