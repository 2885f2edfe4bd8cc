//! Inbox: one consumer of events: its ready list, its wake-up, its drain.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::engine::Engine;
use crate::engine::threads::is_engine_thread;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::{Event, Events, Progress, Readiness};
use crate::file::Slot;
use crate::file::state::{DrainEnd, Phase, flag};
use crate::sys::notify_fd::EventDescriptor;

/// The place where a loop finds the news of its files.
///
/// A cheap handle, made by [`Efio::inbox`](crate::Efio::inbox). Where the module wakes by efio's own event descriptor
/// (the default) it can be registered with mio as a source, or handed to any other loop as a descriptor that is
/// readable while there is news.
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
    engine: Arc<Engine>,
    descriptor: Option<Arc<EventDescriptor>>,
}

impl Inbox {
    pub(crate) fn new(engine: Arc<Engine>, descriptor: Option<Arc<EventDescriptor>>) -> Self {
        Self { engine, descriptor }
    }

    fn descriptor(&self) -> io::Result<&EventDescriptor> {
        self.descriptor.as_deref().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "this module wakes by a waker or a function: it has no event descriptor to register",
            )
        })
    }

    /// Takes what news there is, as far as `events` has room; never waits. If anything is left, it wakes itself again.
    pub(crate) fn drain(&self, events: &mut Events) -> usize {
        events.clear();
        let commons = &self.engine.commons;
        commons.news.drain(&commons.by_ready(), |index| {
            if let Some(slot) = commons.table.get(index) {
                self.visit(slot, events);
            }
            !events.is_full()
        });
        events.len()
    }

    fn visit(&self, slot: &Slot, events: &mut Events) {
        let seen = slot.state.load();
        let (bits, end) = slot.pending.drain();
        // After the close was asked for, only its own event is of interest; that one may have come since the look above.
        let masked = end != DrainEnd::DeliverAndFree
            && matches!(seen.phase(), Phase::Closing | Phase::Closed | Phase::Free);
        if bits != 0 && !masked {
            events.push(self.event(slot, Readiness::from_bits(bits)));
        }
        if matches!(end, DrainEnd::Free | DrainEnd::DeliverAndFree) {
            self.engine.commons.free(slot);
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

    /// Waits for news, at most for `timeout`, and drains it.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> Result<usize> {
        if is_engine_thread() {
            return Err(Error::plain(ErrorKind::Deadlock, Operation::Wait, None));
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if self.drain(events) > 0 {
                return Ok(events.len());
            }
            if self.engine.platform.is_virtual() {
                self.engine.step_virtual();
                if self.drain(events) > 0 || !self.engine.step_virtual() {
                    return Ok(events.len());
                }
                continue;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(0);
            }
            self.engine.commons.news.wait(left);
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
    /// The event descriptor; -1 when the module wakes by a waker or a function.
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_ref().map_or(-1, |descriptor| descriptor.as_raw_fd())
    }
}

impl AsFd for Inbox {
    /// The event descriptor.
    ///
    /// # Panics
    ///
    /// When the module wakes by a waker or a function and has none; [`as_raw_fd`](AsRawFd::as_raw_fd) tells by -1.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.descriptor {
            Some(descriptor) => descriptor.as_fd(),
            None => panic!("this module wakes by a waker or a function: it has no event descriptor"),
        }
    }
}
