//! A bounded queue that any thread pushes and any pops: the one door to crossbeam's.
//!
//! Full is an answer, not a wait: the push gives the value back. Under loom, which cannot look
//! into crossbeam, a mutex around a deque with the same bound stands in.

/// A bounded queue of values: any thread pushes, any thread pops, first in first out.
///
/// ```
/// let queue = efio::queue::Mpmc::new(1);
/// assert_eq!(queue.push('a'), Ok(()));
/// assert_eq!(queue.push('b'), Err('b'), "full: the value comes back");
/// assert_eq!(queue.pop(), Some('a'));
/// assert_eq!(queue.pop(), None);
/// ```
#[derive(Debug)]
pub struct Mpmc<T> {
    #[cfg(not(efio_loom))]
    queue: crossbeam_queue::ArrayQueue<T>,
    #[cfg(efio_loom)]
    queue: crate::sync::Mutex<std::collections::VecDeque<T>>,
    #[cfg(efio_loom)]
    capacity: usize,
}

#[cfg(not(efio_loom))]
impl<T> Mpmc<T> {
    /// A queue for `capacity` values, at least one. All its memory is taken here.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { queue: crossbeam_queue::ArrayQueue::new(capacity.max(1)) }
    }

    /// Adds `value` at the end.
    ///
    /// # Errors
    ///
    /// The queue is full; the value comes back.
    pub fn push(&self, value: T) -> Result<(), T> {
        self.queue.push(value)
    }

    /// Takes the oldest value.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// How many values are in the queue now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many values it takes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }
}

#[cfg(efio_loom)]
impl<T> Mpmc<T> {
    /// A queue for `capacity` values, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { queue: crate::sync::Mutex::default(), capacity: capacity.max(1) }
    }

    /// Adds `value` at the end.
    ///
    /// # Errors
    ///
    /// The queue is full; the value comes back.
    pub fn push(&self, value: T) -> Result<(), T> {
        let mut queue = crate::sync::lock(&self.queue);
        if queue.len() == self.capacity {
            return Err(value);
        }
        queue.push_back(value);
        Ok(())
    }

    /// Takes the oldest value.
    pub fn pop(&self) -> Option<T> {
        crate::sync::lock(&self.queue).pop_front()
    }

    /// How many values are in the queue now.
    #[must_use]
    pub fn len(&self) -> usize {
        crate::sync::lock(&self.queue).len()
    }

    /// How many values it takes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

impl<T> Mpmc<T> {
    /// Whether nothing is in the queue now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_queue_asked_for_no_place_has_one() {
        let queue = Mpmc::new(0);
        assert_eq!((queue.capacity(), queue.is_empty()), (1, true));
        assert_eq!(queue.push(1), Ok(()));
        assert_eq!(queue.push(2), Err(2));
        assert_eq!(queue.len(), 1);
    }
}
