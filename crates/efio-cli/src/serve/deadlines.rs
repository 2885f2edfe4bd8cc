//! Deadlines: which connection is to be looked at when.
//!
//! A deadline moves with every byte; moving it here each time would cost more than the byte. So the heap holds one
//! valid entry for a connection, at a time that is never too late: when it comes up, its connection says whether it
//! is overdue or when to look again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::serve::places::Key;

/// A heap of times and connections.
#[derive(Debug, Default)]
pub struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, Key)>>,
}

impl Deadlines {
    /// Look at `key` at that time.
    pub fn set(&mut self, at: Instant, key: Key) {
        self.heap.push(Reverse((at, key)));
    }

    /// The next time to look at anything.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out one entry that is due.
    pub fn pop(&mut self, now: Instant) -> Option<(Instant, Key)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_comes_out_earliest_first() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        for (seconds, token) in [(3, 30), (1, 10), (2, 20)] {
            deadlines.set(at(seconds), Key::from_token(token));
        }
        assert_eq!(deadlines.next(), Some(at(1)));
        assert_eq!(deadlines.pop(start), None);
        assert_eq!(deadlines.pop(at(2)), Some((at(1), Key::from_token(10))));
        assert_eq!(deadlines.pop(at(2)), Some((at(2), Key::from_token(20))));
        assert_eq!(deadlines.pop(at(2)), None);
    }
}
