//! A priority queue of few levels: what is urgent first, and first in first out within a level.
//!
//! One bounded queue for each level, looked at from the most urgent on. With few levels that look is cheaper than a
//! word that says which are in use, and it cannot be wrong: a pop takes from the most urgent level that had
//! something when it looked there. Urgent work that never ends starves the rest; who minds, takes from below with
//! [`Levels::pop_from`] now and then.

use super::{Mpmc, Shared};

/// The most levels.
const LEVELS_MAX: usize = 16;

/// A bounded queue of up to 16 levels; level 0 is the most urgent.
///
/// ```
/// use efio::queue::Levels;
///
/// let queue = Levels::new(2, 8);
/// assert_eq!((queue.push(1, "later"), queue.push(0, "now")), (Ok(()), Ok(())));
/// assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some("now"), Some("later"), None));
/// ```
#[derive(Debug)]
pub struct Levels<T> {
    levels: Box<[Mpmc<T>]>,
}

impl<T> Levels<T> {
    /// A queue of `levels` levels, 1 to 16, with `depth` places each, at least one. All its memory is taken here.
    #[must_use]
    pub fn new(levels: usize, depth: usize) -> Self {
        Self { levels: (0..levels.clamp(1, LEVELS_MAX)).map(|_| Mpmc::new(depth)).collect() }
    }

    /// Adds `value` at the end of a level; a level beyond the last is the last.
    ///
    /// # Errors
    ///
    /// The level is full, whatever room the others have; the value comes back.
    pub fn push(&self, level: usize, value: T) -> Result<(), T> {
        self.levels[level.min(self.levels.len() - 1)].push(value)
    }

    /// Takes the oldest value of the most urgent level that has one.
    pub fn pop(&self) -> Option<T> {
        self.levels.iter().find_map(Mpmc::pop_at_once)
    }

    /// Takes the oldest value of `level`, or of the most urgent one below it that has one.
    pub fn pop_from(&self, level: usize) -> Option<T> {
        self.levels.get(level..).and_then(|levels| levels.iter().find_map(Mpmc::pop_at_once))
    }

    /// How many levels there are.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.levels.len()
    }

    /// How many values are there now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.levels.iter().map(Mpmc::len).sum()
    }

    /// Whether nothing is there now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(Mpmc::is_empty)
    }
}

/// With its level beside each value, so that a [`Gate`](super::Gate) can stand before it.
impl<T> Shared for Levels<T> {
    type Item = (usize, T);

    const ONE_ROOM: bool = false;

    fn try_push(&self, (level, value): (usize, T)) -> Result<(), (usize, T)> {
        self.push(level, value).map_err(|value| (level, value))
    }

    fn try_pop(&self) -> Option<(usize, T)> {
        let mut levels = self.levels.iter().enumerate();
        levels.find_map(|(level, queue)| queue.pop_at_once().map(|value| (level, value)))
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_pop_goes_from_the_most_urgent_level_down() {
        let queue = Levels::new(3, 2);
        for (level, value) in [(2, 'e'), (1, 'c'), (0, 'a'), (1, 'd'), (0, 'b')] {
            assert_eq!(queue.push(level, value), Ok(()));
        }
        assert_eq!((queue.pop(), queue.pop_from(1), queue.pop_from(2)), (Some('a'), Some('c'), Some('e')));
        assert_eq!(
            (queue.pop_from(2), queue.try_pop(), queue.pop_from(0)),
            (None, Some((0, 'b')), Some('d'))
        );
    }

    #[test]
    fn a_pop_from_an_empty_level_goes_on_below() {
        let queue = Levels::new(3, 2);
        assert_eq!((queue.push(2, 'b'), queue.push(0, 'a')), (Ok(()), Ok(())));
        assert_eq!((queue.pop_from(1), queue.pop_from(1), queue.pop()), (Some('b'), None, Some('a')));
    }

    #[test]
    fn a_level_beyond_the_last_is_the_last() {
        let queue = Levels::new(0, 0);
        assert_eq!((queue.levels(), queue.push(9, 'a'), queue.push(0, 'b')), (1, Ok(()), Err('b')));
        assert_eq!((queue.len(), queue.pop_from(1), queue.try_pop()), (1, None, Some((0, 'a'))));
        assert!(queue.is_empty());
    }
}
