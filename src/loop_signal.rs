//! LoopSignal: an event descriptor that a queue raises, so that an event loop can watch the queue.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::sync::Signal;
use crate::sys::notify_fd::EventDescriptor;

/// A [`Signal`] that an event loop waits on: a descriptor that is readable from the signal until [`LoopSignal::lower`].
///
/// A cheap handle: one clone goes to the queue, one to the loop. It is a source of mio, and any other loop (epoll, libev,
/// tokio) takes it as a descriptor ([`AsFd`]), readable, level- or edge-triggered.
///
/// # The order of a turn
///
/// **Lower, then pop** until nothing is there, **then arm**. A signal between the lowering and the last pop is seen by the
/// next turn; one that came before the lowering is of a value that the pops find. The other way round, the lowering
/// takes down the signal of a value that came after the last pop, and nobody is told of it. `arm` says `false` where
/// something came in the meantime: pop again.
///
/// ```
/// use efio::LoopSignal;
/// use efio::queue::{PopError, mpsc};
/// use mio::{Events, Interest, Poll, Token};
///
/// let mut signal = LoopSignal::new()?;
/// let (sender, mut receiver) = mpsc::channel_with_signal(signal.clone());
/// let mut poll = Poll::new()?;
/// poll.registry().register(&mut signal, Token(0), Interest::READABLE)?;
/// let producer = std::thread::spawn(move || {
///     for value in 1..=1000_u64 {
///         assert!(sender.push(value).is_ok());
///     }
///     // The sender goes here: the end is news too.
/// });
///
/// let (mut events, mut sum, mut open) = (Events::with_capacity(8), 0, true);
/// while open {
///     signal.lower()?;
///     loop {
///         match receiver.pop() {
///             Ok(value) => sum += value,
///             Err(PopError::Closed) => open = false,
///             Err(PopError::Empty) => {}
///         }
///         if !open || receiver.is_empty() && receiver.arm() {
///             break;
///         }
///     }
///     if open {
///         poll.poll(&mut events, None)?;
///     }
/// }
/// assert_eq!(sum, 500_500);
/// # producer.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LoopSignal {
    descriptor: Arc<EventDescriptor>,
}

impl LoopSignal {
    /// A signal that was not sent; its descriptor is closed on exec.
    ///
    /// # Errors
    ///
    /// The system has no descriptor to spare.
    pub fn new() -> io::Result<Self> {
        Ok(Self { descriptor: Arc::new(EventDescriptor::new()?) })
    }

    /// Makes the descriptor unreadable, until the next signal. Never waits. Pop after this, not before it.
    ///
    /// # Errors
    ///
    /// That of read(2); none is known to come up.
    pub fn lower(&self) -> io::Result<()> {
        self.descriptor.lower()
    }
}

impl Signal for LoopSignal {
    /// Makes the descriptor readable, if it is not yet; one system call.
    fn signal(&self) {
        // A descriptor that cannot be raised is one whose loop is gone.
        drop(self.descriptor.raise());
    }
}

impl Source for LoopSignal {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).deregister(registry)
    }
}

impl AsFd for LoopSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for LoopSignal {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}
