//! Inbox: one consumer of events: its ready list, its wake-up, its drain; and which files it hears of.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::config::OpenOptions;
use crate::efio::Efio;
use crate::engine::Engine;
use crate::engine::notify::Wake;
use crate::engine::threads::is_engine_thread;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::{Event, Events, Progress, Readiness};
use crate::fd::Fd;
use crate::file::Slot;
use crate::file::state::{DrainEnd, Phase, flag};
use crate::job::Handle;
use crate::news::{Binding, Consumer, DEFAULT_INBOX, INBOXES_LIMIT};
use crate::sys::notify_fd::EventDescriptor;
use crate::sys::threads::fork_generation;

/// The place where a loop finds the news of its files.
///
/// A module has one from the start, [`Efio::inbox`](crate::Efio::inbox); a program with several loops makes one for each
/// by [`Efio::new_inbox`](crate::Efio::new_inbox). A file's events go to the inbox of its
/// [`OpenOptions::inbox`](crate::OpenOptions::inbox), or to that of the [`Efio`](crate::Efio) that opened it
/// ([`Efio::with_inbox`](crate::Efio::with_inbox)), and from there to another one by
/// [`Efio::ef_rebind`](crate::Efio::ef_rebind).
///
/// A cheap handle. An inbox that wakes by efio's own event descriptor (the default) can be registered with mio as a
/// source, or handed to any other loop as a descriptor that is readable while there is news.
///
/// When the last handle of an inbox is dropped, its files and queued calls go to the module's own inbox: what is pending
/// or ready is raised there.
///
/// ```
/// use mio::{Interest, Poll, Token};
/// let efio = efio::Efio::new()?;
/// let poll = Poll::new()?;
/// poll.registry().register(&mut efio.inbox(), Token(0), Interest::READABLE)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Inbox {
    desk: Arc<Desk>,
}

/// What the handles of one inbox share.
#[derive(Debug)]
struct Desk {
    engine: Arc<Engine>,
    number: u32,
    descriptor: Option<Arc<EventDescriptor>>,
    fork_generation: u32,
}

impl Drop for Desk {
    fn drop(&mut self) {
        // The files of a fork's parent are not the fork's to touch.
        if self.number != DEFAULT_INBOX && self.fork_generation == fork_generation() {
            let platform = &self.engine.platform;
            let nowait =
                |handle: Handle, offset: u64, into: &mut [u8]| platform.read_nowait(handle, offset, into);
            self.engine.commons.retire_inbox(self.number, &nowait);
        }
    }
}

impl Inbox {
    pub(crate) fn new(engine: Arc<Engine>, number: u32, descriptor: Option<Arc<EventDescriptor>>) -> Self {
        let fork_generation = fork_generation();
        Self { desk: Arc::new(Desk { engine, number, descriptor, fork_generation }) }
    }

    /// The number under which the module knows it; `InvalidInput` when it is another module's.
    pub(crate) fn number_in(&self, engine: &Engine, operation: Operation) -> Result<u32> {
        if std::ptr::eq(Arc::as_ptr(&self.desk.engine), engine) {
            return Ok(self.desk.number);
        }
        Err(Error::noted(ErrorKind::InvalidInput, operation, "the inbox belongs to another module"))
    }

    pub(crate) fn number(&self) -> u32 {
        self.desk.number
    }

    /// What keeps the inbox for a file that is about to be opened.
    fn binding(&self) -> Binding {
        let module = Arc::as_ptr(&self.desk.engine).addr();
        Binding { number: self.desk.number, module, _keep: Arc::clone(&self.desk) as _ }
    }

    fn descriptor(&self) -> io::Result<&EventDescriptor> {
        self.desk.descriptor.as_deref().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "this inbox wakes by a waker or a function: it has no event descriptor to register",
            )
        })
    }

    fn check(&self) -> Result<()> {
        if self.desk.fork_generation == fork_generation() {
            return Ok(());
        }
        Err(Error::plain(ErrorKind::Forked, Operation::Wait, None))
    }

    /// Takes what news there is, as far as `events` has room; never waits. If anything is left, the inbox wakes itself
    /// again.
    ///
    /// # Errors
    ///
    /// `Forked` in a child of the process that made the module.
    pub fn events(&self, events: &mut Events) -> Result<usize> {
        self.check()?;
        Ok(self.drain(events))
    }

    /// Waits for news, at most for `timeout` (`None`: without end), and takes it: for threads without a loop.
    /// One thread at a time waits on an inbox.
    ///
    /// # Errors
    ///
    /// `Deadlock` on an engine thread; `Forked`.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> Result<usize> {
        self.check()?;
        self.drain_or_wait(events, timeout)
    }

    /// A drain would find something.
    pub(crate) fn has_news(&self) -> bool {
        self.desk.engine.commons.inboxes.get(self.desk.number).has_news()
    }

    pub(crate) fn drain(&self, events: &mut Events) -> usize {
        self.drain_as(Consumer::Loop, events)
    }

    fn drain_as(&self, who: Consumer, events: &mut Events) -> usize {
        events.clear();
        let commons = &self.desk.engine.commons;
        let news = commons.inboxes.get(self.desk.number);
        news.drain(&commons.by_ready(), who, |index| {
            if let Some(slot) = commons.table.get(index) {
                self.visit(slot, events);
            }
            !events.is_full()
        });
        if news.take_strays() {
            commons.forward(self.desk.number);
        }
        events.len()
    }

    fn visit(&self, slot: &Slot, events: &mut Events) {
        let seen = slot.state.load();
        let (bits, end) = slot.pending.drain(self.desk.number);
        // After the close was asked for, only its own event is of interest; that one may have come since the look above.
        let masked = end != DrainEnd::DeliverAndFree
            && matches!(seen.phase(), Phase::Closing | Phase::Closed | Phase::Free);
        if bits != 0 && !masked {
            events.push(self.event(slot, Readiness::from_bits(bits)));
        }
        match end {
            DrainEnd::Free | DrainEnd::DeliverAndFree => self.desk.engine.commons.free(slot),
            DrainEnd::HandOn(inbox) => self.desk.engine.commons.enqueue(slot, inbox),
            DrainEnd::Nothing => {}
        }
    }

    fn event(&self, slot: &Slot, readiness: Readiness) -> Event {
        let failed = readiness.is_error() || readiness.is_closed();
        let (error, lost) = match failed {
            // The closed event is about the file, not about the last request that failed.
            true if readiness.is_closed() => slot.with_report(|report| (report.error.clone(), report.lost)),
            true => slot.with_report(|report| (report.news.take().or_else(|| report.error.clone()), 0)),
            false => (None, 0),
        };
        Event { fd: slot.fd(), token: slot.token(), readiness, error, lost, progress: progress_of(slot) }
    }

    fn drain_or_wait(&self, events: &mut Events, timeout: Option<Duration>) -> Result<usize> {
        if is_engine_thread() {
            return Err(Error::plain(ErrorKind::Deadlock, Operation::Wait, None));
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if self.drain_as(Consumer::Sleeper, events) > 0 {
                return Ok(events.len());
            }
            let engine = &self.desk.engine;
            if engine.platform.is_virtual() {
                engine.step_virtual();
                if self.drain_as(Consumer::Sleeper, events) > 0 || !engine.step_virtual() {
                    return Ok(events.len());
                }
                continue;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(0);
            }
            engine.commons.inboxes.get(self.desk.number).wait(left);
        }
    }
}

/// How far a file has got.
pub(crate) fn progress_of(slot: &Slot) -> Progress {
    // Read in this order, none is behind the one after it.
    let durable = slot.durable();
    let written = slot.written();
    let seen = slot.state.load();
    let (accepted, end) = if seen.has(flag::WRITE) { slot.write.end() } else { (0, 0) };
    let unwritten = accepted.saturating_sub(written);
    let size = if unwritten == 0 {
        slot.size()
    } else if seen.has(flag::APPEND) {
        slot.size() + unwritten
    } else {
        slot.size().max(end)
    };
    Progress { accepted, written, durable, size }
}

impl OpenOptions {
    /// The inbox that the file's events go to. Default: that of the [`Efio`] that opens it. The options count as a handle of
    /// the inbox; the files that they open do not.
    ///
    /// ```
    /// use efio::{Efio, Events, OpenOptions, Wake};
    /// let efio = Efio::new()?;
    /// let inbox = efio.new_inbox(Wake::descriptor())?;
    /// let fd = efio.ef_open("/proc/version", &OpenOptions::new().read(true).inbox(&inbox))?;
    /// let mut events = Events::with_capacity(8);
    /// inbox.wait(&mut events, None)?;
    /// assert_eq!(events.iter().next().map(|event| event.fd()), Some(fd));
    /// # efio.ef_close(fd)?;
    /// # Ok::<(), efio::Error>(())
    /// ```
    #[must_use]
    pub fn inbox(mut self, inbox: &Inbox) -> Self {
        self.inbox = Some(inbox.binding());
        self
    }

    /// The number of the inbox that was chosen; `InvalidInput` when it is another module's.
    pub(crate) fn inbox_in(&self, engine: &Engine) -> Result<Option<u32>> {
        match &self.inbox {
            Some(binding) if binding.module != std::ptr::from_ref(engine).addr() => {
                let note = "the inbox belongs to another module";
                Err(Error::noted(ErrorKind::InvalidInput, Operation::Open, note))
            }
            binding => Ok(binding.as_ref().map(|binding| binding.number)),
        }
    }
}

impl Efio {
    /// The most inboxes of a module at a time, its own among them.
    pub const INBOXES_LIMIT: usize = INBOXES_LIMIT;

    /// A further inbox, for a program with several loops. Its number is free again when its last handle is dropped.
    ///
    /// # Errors
    ///
    /// `TableFull` when there are [`INBOXES_LIMIT`](Self::INBOXES_LIMIT); what the system said when it refuses an event
    /// descriptor; `Shutdown`.
    ///
    /// ```
    /// use efio::{Efio, Events, OpenOptions, Wake};
    /// let efio = Efio::new()?;
    /// let loops = std::thread::available_parallelism().map_or(1, usize::from);
    /// std::thread::scope(|scope| {
    ///     for _ in 0..loops {
    ///         scope.spawn(|| -> efio::Result<()> {
    ///             // What this loop opens, it hears of.
    ///             let efio = efio.with_inbox(&efio.new_inbox(Wake::descriptor())?)?;
    ///             let fd = efio.ef_open("/proc/version", &OpenOptions::new().read(true))?;
    ///             efio.wait(&mut Events::with_capacity(8), None)?;
    ///             efio.ef_close(fd)
    ///         });
    ///     }
    /// });
    /// # Ok::<(), efio::Error>(())
    /// ```
    pub fn new_inbox(&self, wake: Wake) -> Result<Inbox> {
        let engine = self.check_alive(Operation::Start)?;
        let failed = |error: io::Error| Error::os(Operation::Start, error.raw_os_error().unwrap_or_default());
        let (calls, descriptor) = wake.into_parts().map_err(failed)?;
        let number = engine.commons.inboxes.add(calls);
        let number = number.ok_or_else(|| Error::plain(ErrorKind::TableFull, Operation::Start, None))?;
        Ok(Inbox::new(Arc::clone(self.engine()), number, descriptor))
    }

    /// The same module, as one loop sees it: what is opened or queued by this handle (and its clones) reports to `inbox`,
    /// which is also what its [`events`](Self::events), [`wait`](Self::wait) and [`inbox`](Self::inbox) are about.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the inbox is another module's.
    pub fn with_inbox(&self, inbox: &Inbox) -> Result<Self> {
        inbox.number_in(self.engine(), Operation::Start)?;
        Ok(Self { front: Arc::clone(&self.front), inbox: Some(inbox.clone()) })
    }

    /// From here on the events of a file or a queued call go to `inbox`. What is pending goes along, and what is ready
    /// (as [`ef_poll`](Self::ef_poll) tells) is raised there anew: nothing is lost, at most an event comes twice.
    /// An event that another thread is draining from the old inbox at this moment may still come there.
    ///
    /// # Errors
    ///
    /// `Stale` for a handle whose last answer was taken; `InvalidInput` when the inbox is another module's.
    pub fn ef_rebind(&self, fd: Fd, inbox: &Inbox) -> Result<()> {
        let engine = self.check(Operation::Poll)?;
        let number = inbox.number_in(engine, Operation::Poll)?;
        let platform = &engine.platform;
        let nowait =
            |handle: Handle, offset: u64, into: &mut [u8]| platform.read_nowait(handle, offset, into);
        engine.commons.rebind(fd, number, &nowait)
    }
}

impl Source for Inbox {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.descriptor()?.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.descriptor()?.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.descriptor()?.as_raw_fd()).deregister(registry)
    }
}

impl AsRawFd for Inbox {
    /// The event descriptor; -1 when the inbox wakes by a waker or a function.
    fn as_raw_fd(&self) -> RawFd {
        self.desk.descriptor.as_ref().map_or(-1, |descriptor| descriptor.as_raw_fd())
    }
}

impl AsFd for Inbox {
    /// The event descriptor.
    ///
    /// # Panics
    ///
    /// When the inbox wakes by a waker or a function and has none; [`as_raw_fd`](AsRawFd::as_raw_fd) tells by -1.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.desk.descriptor {
            Some(descriptor) => descriptor.as_fd(),
            None => panic!("this inbox wakes by a waker or a function: it has no event descriptor"),
        }
    }
}
