//! What a queue that can be closed answers when it takes nothing, or gives nothing.

use std::fmt;

/// A push that was refused; the value comes back.
///
/// ```
/// use efio::queue::{PushError, spsc};
///
/// let (mut producer, consumer) = spsc::channel(1);
/// assert_eq!(producer.push('a'), Ok(()));
/// assert_eq!(producer.push('b'), Err(PushError::Full('b')));
/// drop(consumer);
/// assert_eq!(producer.push('c').map_err(PushError::into_inner), Err('c'));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// There is no room now; a pop makes some.
    Full(T),
    /// The queue was closed, or its last reader is gone: there will never be room.
    Closed(T),
}

impl<T> PushError<T> {
    /// The value that was refused.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }

    /// Whether a later push may do better.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether no push will ever succeed again.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// The same refusal of `change` of the value.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> PushError<U> {
        match self {
            Self::Full(value) => PushError::Full(change(value)),
            Self::Closed(value) => PushError::Closed(change(value)),
        }
    }
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_full() { "Full(_)" } else { "Closed(_)" })
    }
}

impl<T> fmt::Display for PushError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_full() { "the queue is full" } else { "the queue is closed" })
    }
}

impl<T> std::error::Error for PushError<T> {}

/// A pop that found nothing.
///
/// ```
/// use efio::queue::{PopError, spsc};
///
/// let (producer, mut consumer) = spsc::channel::<u32>(1);
/// assert_eq!(consumer.pop(), Err(PopError::Empty));
/// drop(producer);
/// assert_eq!(consumer.pop(), Err(PopError::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// Nothing is there now.
    Empty,
    /// Nothing is there, and nothing will ever come.
    Closed,
}

impl fmt::Display for PopError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Empty => "the queue is empty",
            Self::Closed => "the queue is empty and closed",
        })
    }
}

impl std::error::Error for PopError {}
