//! Notify: the ways to wake the consumer of an inbox.

use std::io;
use std::sync::Arc;

use crate::news::Wake;
use crate::sys::notify_fd::EventDescriptor;

/// The ways to wake the consumer of an inbox.
pub(crate) enum Waking {
    /// efio's own event descriptor.
    Descriptor,
    /// The loop's own waker.
    Mio(Arc<mio::Waker>),
    /// A function.
    Function(Wake),
}

impl std::fmt::Debug for Waking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Descriptor => "Descriptor",
            Self::Mio(_) => "Mio",
            Self::Function(_) => "Function",
        })
    }
}

impl Waking {
    /// What wakes, what the drain does first, and the descriptor if there is one.
    pub(crate) fn into_parts(self) -> io::Result<(Wake, Wake, Option<Arc<EventDescriptor>>)> {
        let nothing: Wake = Box::new(|| ());
        Ok(match self {
            Self::Descriptor => {
                let descriptor = Arc::new(EventDescriptor::new()?);
                let (raise, lower) = (Arc::clone(&descriptor), Arc::clone(&descriptor));
                // A descriptor that cannot be raised is one whose loop is gone; one without a mark reads EAGAIN.
                let raise: Wake = Box::new(move || drop(raise.raise()));
                let lower: Wake = Box::new(move || drop(lower.lower()));
                (raise, lower, Some(descriptor))
            }
            // As above: a waker whose poll is gone wakes nobody.
            Self::Mio(waker) => (Box::new(move || drop(waker.wake())), nothing, None),
            Self::Function(function) => (function, nothing, None),
        })
    }
}
