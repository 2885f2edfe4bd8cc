//! A queue without a bound that any thread pushes to and any pops from: the one door to crossbeam's.
//!
//! Under loom, which cannot look into crossbeam, a mutex around a deque stands in.

use super::Shared;

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
    queue: crate::sync::Mutex<std::collections::VecDeque<T>>,
}

impl<T> Unbounded<T> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        #[cfg(not(efio_loom))]
        return Self { queue: crossbeam_queue::SegQueue::new() };
        #[cfg(efio_loom)]
        return Self { queue: crate::sync::Mutex::default() };
    }

    /// Adds `value` at the end.
    pub fn push(&self, value: T) {
        #[cfg(not(efio_loom))]
        self.queue.push(value);
        #[cfg(efio_loom)]
        crate::sync::lock(&self.queue).push_back(value);
    }

    /// Adds all values of `source`.
    pub fn push_all(&self, source: &mut impl Iterator<Item = T>) {
        source.for_each(|value| self.push(value));
    }

    /// Takes the oldest value.
    pub fn pop(&self) -> Option<T> {
        #[cfg(not(efio_loom))]
        return self.queue.pop();
        #[cfg(efio_loom)]
        return crate::sync::lock(&self.queue).pop_front();
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
        #[cfg(not(efio_loom))]
        return self.queue.len();
        #[cfg(efio_loom)]
        return crate::sync::lock(&self.queue).len();
    }

    /// Whether nothing is in the queue now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Default for Unbounded<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Unbounded<T> {
    fn drop(&mut self) {
        if std::mem::needs_drop::<T>() {
            super::drop_all(|| self.pop().is_some());
        }
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
