//! Several lists as one queue: what `ev_piqueue.h` and `ev_paqueue.h` are made of.
//!
//! ```text
//!  thread 0 ──► list 0 ─┐
//!  thread 1 ──► list 1 ─┼──► a pop begins at the next list in turn, and takes from the first that has something
//!  thread 2 ──► list 0 ─┘
//! ```
//!
//! A thread fills one list for as long as it lives, so what it put in comes out in its order, and threads seldom meet.
//! Both counters wrap at the width of a word; the number of lists is a power of two, so nothing happens then.

use crate::border::Payload;
use crate::queue::turn_round;
use efio::queue::Unbounded;
use efio::sync::{AtomicUsize, CachePadded, Ordering};
use std::cell::Cell;

/// More lists than this are never made: they would only be looked through.
const LISTS_MAX: usize = 1024;

/// The number of the next thread that fills a queue of this kind.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// A number of this thread, given out in turn.
fn thread() -> usize {
    THREAD.with(|thread| {
        let number = thread.get().unwrap_or_else(|| {
            // ORDER: Relaxed; only a number.
            THREADS.fetch_add(1, Ordering::Relaxed)
        });
        thread.set(Some(number));
        number
    })
}

pub(crate) struct Lanes {
    lists: Box<[CachePadded<Unbounded<Payload>>]>,
    /// The list where the next pop begins.
    next: CachePadded<AtomicUsize>,
}

impl Lanes {
    /// A queue of `lists` lists: at least one, at most 1024, rounded up to a power of two.
    pub(crate) fn new(lists: i32) -> Self {
        let lists = usize::try_from(lists).unwrap_or(0).clamp(1, LISTS_MAX).next_power_of_two();
        Self {
            lists: (0..lists).map(|_| CachePadded::new(Unbounded::new())).collect(),
            next: CachePadded::new(AtomicUsize::new(0)),
        }
    }

    pub(crate) fn push(&self, item: Payload) {
        self.lists[thread() % self.lists.len()].push(item);
    }

    /// An item of some list; `None` if each of them was empty when it was looked at.
    pub(crate) fn pop(&self) -> Option<Payload> {
        // ORDER: Relaxed; a hint where to begin.
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.lists.len()).find_map(|step| {
            let list = &self.lists[first.wrapping_add(step) % self.lists.len()];
            // The look is cheaper than a pop that finds nothing.
            if list.is_empty() { None } else { list.pop() }
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lists.iter().all(|list| list.is_empty())
    }

    /// Shows each item to `show`, with the number of its list.
    pub(crate) fn show(&self, mut show: impl FnMut(usize, Payload)) {
        for (number, list) in self.lists.iter().enumerate() {
            turn_round(list, |_, item| show(number, item));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    fn item(number: usize) -> Payload {
        Payload(ptr::without_provenance_mut(number))
    }

    #[test]
    fn the_counters_may_wrap() {
        let lanes = Lanes::new(3);
        assert_eq!(lanes.lists.len(), 4);
        // ORDER: Relaxed; one thread.
        lanes.next.store(usize::MAX - 1, Ordering::Relaxed);
        (1..=8).for_each(|number| lanes.push(item(number)));
        let taken: Vec<_> = std::iter::from_fn(|| lanes.pop()).map(|item| item.0.addr()).collect();
        assert_eq!(taken, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(lanes.is_empty());
    }

    #[test]
    fn threads_fill_lists_of_their_own_and_a_pop_finds_them_all() {
        let lanes = Lanes::new(64);
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let lanes = &lanes;
                scope.spawn(move || (0..10).for_each(|number| lanes.push(item(thread * 100 + number))));
            }
        });
        let mut lists = std::collections::BTreeSet::new();
        lanes.show(|list, _| lists.extend([list]));
        assert_eq!(lists.len(), 4);
        assert_eq!(std::iter::from_fn(|| lanes.pop()).count(), 40);
    }

    #[test]
    fn any_number_of_lists_is_taken() {
        let counts = [i32::MIN, 0, 1, 5, i32::MAX].map(|lists| Lanes::new(lists).lists.len());
        assert_eq!(counts, [1, 1, 1, 8, 1024]);
    }
}
