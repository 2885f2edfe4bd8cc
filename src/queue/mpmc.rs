//! Queues that any thread pushes and any pops, with a bound and without: the one door to crossbeam's.
//!
//! Full is an answer, not a wait: the push gives the value back. Under loom, which cannot look
//! into crossbeam, a mutex around a deque with the same bound stands in.

use super::Shared;

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

impl<T> Mpmc<T> {
    /// Adds values of `source` until it ends or the queue is full.
    ///
    /// # Errors
    ///
    /// The queue is full; the value that was refused comes back, those before it are in the queue.
    pub fn push_all(&self, source: &mut impl Iterator<Item = T>) -> Result<(), T> {
        source.try_for_each(|value| self.push(value))
    }

    /// Moves up to `most` of the oldest values to the end of `target`, and says how many.
    pub fn pop_all(&self, target: &mut Vec<T>, most: usize) -> usize {
        let before = target.len();
        target.extend(std::iter::from_fn(|| self.pop()).take(most));
        target.len() - before
    }
}

impl<T> Shared for Mpmc<T> {
    type Item = T;

    fn try_push(&self, value: T) -> Result<(), T> {
        self.push(value)
    }

    fn try_pop(&self) -> Option<T> {
        self.pop()
    }
}

/// A queue of values without a bound but memory: any thread pushes, any thread pops, first in first out.
///
/// ```
/// let queue = efio::queue::Unbounded::new();
/// queue.push_all(&mut ["a", "b"].into_iter());
/// assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some("a"), Some("b"), None));
/// ```
#[derive(Debug)]
pub struct Unbounded<T> {
    #[cfg(not(efio_loom))]
    queue: crossbeam_queue::SegQueue<T>,
    #[cfg(efio_loom)]
    queue: Mpmc<T>,
}

impl<T> Unbounded<T> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        #[cfg(not(efio_loom))]
        return Self { queue: crossbeam_queue::SegQueue::new() };
        #[cfg(efio_loom)]
        return Self { queue: Mpmc::new(usize::MAX) };
    }

    /// Adds `value` at the end.
    pub fn push(&self, value: T) {
        #[cfg(not(efio_loom))]
        self.queue.push(value);
        #[cfg(efio_loom)]
        let _always = self.queue.push(value);
    }

    /// Adds all values of `source`.
    pub fn push_all(&self, source: &mut impl Iterator<Item = T>) {
        source.for_each(|value| self.push(value));
    }

    /// Takes the oldest value.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Moves up to `most` of the oldest values to the end of `target`, and says how many.
    pub fn pop_all(&self, target: &mut Vec<T>, most: usize) -> usize {
        let before = target.len();
        target.extend(std::iter::from_fn(|| self.pop()).take(most));
        target.len() - before
    }

    /// How many values are in the queue now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is in the queue now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl<T> Default for Unbounded<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Never full.
impl<T> Shared for Unbounded<T> {
    type Item = T;

    fn try_push(&self, value: T) -> Result<(), T> {
        self.push(value);
        Ok(())
    }

    fn try_pop(&self) -> Option<T> {
        self.pop()
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
