//! Numbers: which handles are free, and how long an ended one waits for somebody to ask about it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// After so many later ones have ended, an ended handle that nobody asked about is free.
pub(crate) const UNASKED: usize = 4096;

/// Free handles, the lowest first, and those that have ended.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Numbers from here on were never given out.
    fresh: u32,
    limit: u32,
    free: BinaryHeap<Reverse<u32>>,
    /// Ended handles with their lives, oldest first; who was asked about stays until its turn.
    ended: VecDeque<(u32, u32)>,
}

impl Numbers {
    pub(crate) fn new(limit: u32) -> Self {
        Self { fresh: 0, limit, free: BinaryHeap::new(), ended: VecDeque::new() }
    }

    /// The lowest free handle. `None`: the caller frees the oldest that has ended, if there is one, and asks again.
    pub(crate) fn take(&mut self) -> Option<u32> {
        if let Some(Reverse(handle)) = self.free.pop() {
            return Some(handle);
        }
        let fresh = self.fresh;
        (fresh < self.limit).then(|| {
            self.fresh += 1;
            fresh
        })
    }

    /// A handle is free.
    pub(crate) fn give_back(&mut self, handle: u32) {
        self.free.push(Reverse(handle));
    }

    /// A handle has ended; gives one whose time is over.
    pub(crate) fn end(&mut self, handle: u32, life: u32) -> Option<(u32, u32)> {
        self.ended.push_back((handle, life));
        if self.ended.len() > UNASKED { self.ended.pop_front() } else { None }
    }

    /// The oldest handle that has ended.
    pub(crate) fn oldest(&mut self) -> Option<(u32, u32)> {
        self.ended.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_from_zero_and_the_lowest_free_one_is_next() {
        let mut numbers = Numbers::new(3);
        assert_eq!(
            [numbers.take(), numbers.take(), numbers.take(), numbers.take()],
            [Some(0), Some(1), Some(2), None]
        );
        numbers.give_back(2);
        numbers.give_back(0);
        assert_eq!([numbers.take(), numbers.take(), numbers.take()], [Some(0), Some(2), None]);
    }

    #[test]
    fn an_ended_number_has_its_time_after_4096_later_ones() {
        let mut numbers = Numbers::new(u32::MAX);
        for handle in 0..UNASKED as u32 {
            assert_eq!(numbers.end(handle, 7), None);
        }
        assert_eq!(numbers.end(9999, 1), Some((0, 7)));
        assert_eq!(numbers.oldest(), Some((1, 7)));
        assert_eq!(numbers.end(10000, 1), None);
    }
}
