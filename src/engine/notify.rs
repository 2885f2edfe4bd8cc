//! Notify: the ways to wake the consumer of an inbox.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::news::{Call, Calls};
use crate::sys::notify_fd::EventDescriptor;

/// How the loop behind an inbox is woken: see [`Efio::new_inbox`](crate::Efio::new_inbox).
///
/// ```
/// use efio::{Efio, Wake};
/// let efio = Efio::new()?;
/// let woken = efio.new_inbox(Wake::function(|| println!("there is news")))?;
/// let registered = efio.new_inbox(Wake::descriptor())?; // a source for mio, readable for any other loop
/// # let _ = (woken, registered);
/// # Ok::<(), efio::Error>(())
/// ```
pub struct Wake(Way);

enum Way {
    Descriptor,
    Mio(Arc<mio::Waker>),
    Function(Call),
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Way::Descriptor => "Descriptor",
            Way::Mio(_) => "Mio",
            Way::Function(_) => "Function",
        })
    }
}

impl Wake {
    /// By an event descriptor of efio's own, which is readable while there is news: an eventfd on Linux.
    #[must_use]
    pub fn descriptor() -> Self {
        Self(Way::Descriptor)
    }

    /// By the loop's own waker. (mio allows one waker for each poll, so a loop that has one already gives it.)
    #[must_use]
    pub fn mio(waker: Arc<mio::Waker>) -> Self {
        Self(Way::Mio(waker))
    }

    /// By a function. It is called on whatever thread has the news: an engine thread, or one inside a call of the module.
    /// It must not wait nor call the module, and may be called while nobody sleeps. One that panics is contained and
    /// counted: see [`Efio::contained_panics`](crate::Efio::contained_panics).
    #[must_use]
    pub fn function(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Way::Function(Box::new(wake)))
    }

    /// What wakes, what the drain does first, and the descriptor if there is one.
    pub(crate) fn into_parts(self) -> io::Result<(Calls, Option<Arc<EventDescriptor>>)> {
        let nothing: Call = Box::new(|| ());
        let (wake, lower, descriptor): (Call, Call, _) = match self.0 {
            Way::Descriptor => {
                let descriptor = Arc::new(EventDescriptor::new()?);
                let (raise, lower) = (Arc::clone(&descriptor), Arc::clone(&descriptor));
                // A descriptor that cannot be raised is one whose loop is gone; one without a mark reads EAGAIN.
                (
                    Box::new(move || drop(raise.raise())),
                    Box::new(move || drop(lower.lower())),
                    Some(descriptor),
                )
            }
            // As above: a waker whose poll is gone wakes nobody.
            Way::Mio(waker) => (Box::new(move || drop(waker.wake())), nothing, None),
            Way::Function(function) => (function, nothing, None),
        };
        let mark = descriptor.is_some();
        Ok((Calls { wake, lower, mark }, descriptor))
    }
}
