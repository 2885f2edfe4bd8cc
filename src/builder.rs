//! Builder: the limits of a module by name, how it wakes its loop, and whom it tells what was lost.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::config::Limits;
use crate::efio::{Efio, Front};
use crate::engine::Engine;
use crate::engine::ending::{Loss, LossHook};
use crate::engine::notify::Wake;
use crate::error::{Error, Operation, Result};
use crate::file::Slot;
use crate::file::commons::Commons;
use crate::file::note::Notes;
use crate::inbox::Inbox;
use crate::news::{DEFAULT_INBOX, Inboxes};
use crate::page::{Pool, Prefill};
use crate::sys::Platform;
use crate::sys::threads::{fork_generation, on_fork};
use crate::table::Table;

/// How a module is to be.
///
/// | limit | unit | default | at the bound |
/// | --- | --- | --- | --- |
/// | [`memory_limit`](Self::memory_limit) | bytes of pages of the module | 256 MiB | writes answer `WouldBlock`, reads ahead pause; an event when room came back |
/// | [`file_memory_limit`](Self::file_memory_limit) | bytes of accepted data of one file | 64 MiB | the same, for that file |
/// | [`files_limit`](Self::files_limit) | open files and queued metadata calls | 1,048,576 | opens answer `TableFull`, metadata calls `WouldBlock` |
/// | [`threads_limit`](Self::threads_limit) | engine threads | 64 | jobs of the lane that is full wait: opens and metadata ¼, syncs ½, one device ½ |
/// | [`whole_write`](Self::whole_write) | bytes of one `ef_write` | 64 KiB | a longer call may be taken in part |
/// | [`read_ahead`](Self::read_ahead) | bytes read ahead for one file | 4 MiB | the engine reads no further until the reader has |
/// | [`Efio::INBOXES_LIMIT`] | inboxes at a time | 256, fixed | [`Efio::new_inbox`] answers `TableFull` |
///
/// ```
/// use std::time::Duration;
/// let efio = efio::Efio::builder()
///     .memory_limit(64 << 20)
///     .flush_interval(Duration::from_millis(100))
///     .on_loss(|loss| eprintln!("{loss}"))
///     .build()?;
/// # Ok::<(), efio::Error>(())
/// ```
pub struct Builder {
    limits: Limits,
    wake: Wake,
    on_loss: Option<LossHook>,
    platform: Platform,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("limits", &self.limits)
            .field("wake", &self.wake)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { limits: Limits::default(), wake: Wake::descriptor(), on_loss: None, platform: Platform::Os }
    }

    /// The most bytes of pages that the module has. Default 256 MiB; at least 4 MiB.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.limits.memory = bytes;
        self
    }

    /// The most bytes of pages that accepted data of one file holds. Default 64 MiB; at least 64 KiB.
    #[must_use]
    pub fn file_memory_limit(mut self, bytes: usize) -> Self {
        self.limits.file_memory = bytes;
        self
    }

    /// The most open files and queued metadata calls. Default 1,048,576; at most 16,777,216.
    #[must_use]
    pub fn files_limit(mut self, files: u32) -> Self {
        self.limits.files = files;
        self
    }

    /// The most engine threads, 1 to 64. Default 64. There are as few as the work needs.
    #[must_use]
    pub fn threads_limit(mut self, threads: usize) -> Self {
        self.limits.threads = threads;
        self
    }

    /// The longest `ef_write`, in bytes, that is taken whole or not at all. Default 64 KiB; at most 1 MiB.
    #[must_use]
    pub fn whole_write(mut self, bytes: usize) -> Self {
        self.limits.whole_write = bytes;
        self
    }

    /// The most bytes that are read ahead for one file. Default 4 MiB; in steps of 1 MiB, from 1 to 4.
    #[must_use]
    pub fn read_ahead(mut self, bytes: usize) -> Self {
        self.limits.read_ahead = bytes;
        self
    }

    /// How long an accepted byte may stay in memory before it is written to its file. Default 1 s.
    #[must_use]
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.limits.flush_interval = interval;
        self
    }

    /// How long the close of a file goes on when the disk refuses its bytes. Default 2 s.
    #[must_use]
    pub fn close_deadline(mut self, deadline: Duration) -> Self {
        self.limits.close_deadline = deadline;
        self
    }

    /// How long the last drop of the module waits for everything to be written and closed. Default 5 s.
    #[must_use]
    pub fn shutdown_deadline(mut self, deadline: Duration) -> Self {
        self.limits.shutdown_deadline = deadline;
        self
    }

    /// Wakes the loop by its own waker. (mio allows one waker for each poll, so a loop that has one already gives it.)
    #[must_use]
    pub fn wake_mio(mut self, waker: Arc<mio::Waker>) -> Self {
        self.wake = Wake::mio(waker);
        self
    }

    /// Wakes the loop by a function. It is called on whatever thread has the news: an engine thread, or one inside a
    /// call of this module. It must not wait nor call the module, and may be called while nobody sleeps. One that
    /// panics is contained and counted: see [`Efio::contained_panics`].
    #[must_use]
    pub fn wake_with(mut self, wake: impl Fn() + Send + Sync + 'static) -> Self {
        self.wake = Wake::function(wake);
        self
    }

    /// Is told of every file that lost bytes or whose error nobody took: at the end of the module, on the thread that ends
    /// it; and of a dropped [`TaskFile`](crate::TaskFile) before that, on a thread that calls the module: one that opens,
    /// drops or waits for a `TaskFile`, or that opens any file while the table is full. So it must not wait, as those calls
    /// do not. One that panics is contained and counted: see [`Efio::contained_panics`].
    #[must_use]
    pub fn on_loss(mut self, hook: impl Fn(&Loss) + Send + Sync + 'static) -> Self {
        self.on_loss = Some(Box::new(hook));
        self
    }

    /// Puts the module on a simulated disk with a virtual clock. It has no threads then: see [`Efio::step`].
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn sim(mut self, sim: &crate::sys::sim::Sim) -> Self {
        self.platform = Platform::Sim(sim.clone());
        self
    }

    /// Makes the module.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for limits out of their ranges; what the system said when memory, the event descriptor or the
    /// first threads are refused.
    pub fn build(self) -> Result<Efio> {
        let Self { limits, wake, on_loss, platform } = self;
        limits.check()?;
        let failed =
            |error: std::io::Error| Error::os(Operation::Start, error.raw_os_error().unwrap_or(ENOMEM));
        crate::sync::fence::register();
        on_fork().map_err(|errno| Error::os(Operation::Start, errno))?;
        let (calls, descriptor) = wake.into_parts().map_err(failed)?;
        let refused = || Error::os(Operation::Start, ENOMEM);
        let table = Table::new(limits.files, Slot::new).ok_or_else(refused)?;
        let pool = Pool::new(limits.memory, Prefill::default()).map_err(failed)?;
        let notes = Notes::new(pool.base(), pool.bytes_limit()).ok_or_else(refused)?;
        let commons = Commons::new(limits, table, pool, notes, Inboxes::new(calls));
        let engine = Arc::new(Engine::new(commons, platform, on_loss));
        if !engine.platform.is_virtual() {
            engine.start().map_err(failed)?;
        }
        let inbox = Inbox::new(Arc::clone(&engine), DEFAULT_INBOX, descriptor);
        let front = Front { engine, inbox, orphans: OnceLock::new(), fork_generation: fork_generation() };
        Ok(Efio { front: Arc::new(front), inbox: None })
    }
}

/// Not enough memory.
const ENOMEM: i32 = 12;
