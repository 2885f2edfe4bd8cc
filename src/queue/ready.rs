//! A list of indexes that many push and one takes whole, oldest first.
//!
//! ```text
//!  push:      head ─► C ─► B ─► A          a compare-exchange on head, the link in the object
//!  take_all:  head ─► nothing              one swap; the chain is ours
//!             A ─► B ─► C                  relinked, then handed out oldest first
//! ```
//!
//! Source: R. K. Treiber, "Systems Programming: Coping with Parallelism", IBM RJ 5118, 1986. Nothing
//! is ever popped singly, so the ABA problem of that stack does not arise: a push that finds the
//! same head again links to what is head now, whatever happened in between.
//!
//! Invariants: an index is in the list at most once (its owner keeps a "queued" bit and pushes only
//! when it sets it); the owner clears that bit after the index was handed out, never before. From
//! then on the object may be pushed again, so the iterator reads a link before it hands the index out.
//! A push that answers "was empty" owes the wake-up of the taker; every other push is taken by the
//! take that the earlier one announced.

use super::{Links, NONE, index_of, word_of};
use crate::sync::{AtomicU32, Ordering};

/// Whether the list was empty before a push: if so, the pusher wakes the taker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "who pushes on an empty list wakes the taker"]
pub struct WasEmpty(pub bool);

/// An intrusive list of indexes: many push, one takes all, first in first out.
///
/// ```
/// use efio::queue::{IndexList, WasEmpty};
/// use efio::sync::AtomicU32;
///
/// let links: Vec<AtomicU32> = (0..4).map(|_| AtomicU32::new(0)).collect();
/// let list = IndexList::new();
/// assert_eq!(list.push(&links[..], 2), WasEmpty(true));
/// assert_eq!(list.push(&links[..], 0), WasEmpty(false));
/// assert_eq!(list.take_all(&links[..]).collect::<Vec<_>>(), [2, 0]);
/// ```
#[derive(Debug)]
pub struct IndexList {
    head: AtomicU32,
}

impl IndexList {
    /// An empty list.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { head: AtomicU32::new(NONE) }
    }

    /// An empty list.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { head: AtomicU32::new(NONE) }
    }

    /// Adds `index`, which must not be in the list. Any thread.
    pub fn push<L: Links + ?Sized>(&self, links: &L, index: u32) -> WasEmpty {
        let link = links.link(index);
        // ORDER: Relaxed; only compared, by the compare-exchange below.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // ORDER: Relaxed; published by the compare-exchange below.
            link.store(head, Ordering::Relaxed);
            // ORDER: Release pairs with the Acquire swap in `take_all`, also when later pushes stand
            // in between: they are read-modify-writes and carry it on.
            match self.head.compare_exchange_weak(head, word_of(index), Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return WasEmpty(head == NONE),
                Err(now) => head = now,
            }
        }
    }

    /// Takes every index, in the order of the pushes. One thread at a time hands them out.
    ///
    /// If the iterator is dropped early, what is left goes back into the list, behind newer ones:
    /// nothing is lost, but whoever stops early looks again without being woken.
    pub fn take_all<'a, L: Links + ?Sized>(&'a self, links: &'a L) -> Taken<'a, L> {
        // ORDER: Acquire pairs with the Release compare-exchange in `push`.
        let mut newest = self.head.swap(NONE, Ordering::Acquire);
        let mut next = NONE;
        while let Some(index) = index_of(newest) {
            let link = links.link(index);
            // ORDER: Relaxed; ordered after the store in `push` by the swap above.
            let older = link.load(Ordering::Relaxed);
            // ORDER: Relaxed; read by this thread only, in `Taken::next`.
            link.store(next, Ordering::Relaxed);
            next = newest;
            newest = older;
        }
        Taken { list: self, links, next }
    }

    /// Whether nothing is in the list now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // ORDER: Acquire pairs with the Release compare-exchange in `push`.
        self.head.load(Ordering::Acquire) == NONE
    }
}

impl Default for IndexList {
    fn default() -> Self {
        Self::new()
    }
}

/// The indexes of one [`IndexList::take_all`], oldest first.
#[derive(Debug)]
#[must_use = "what is not handed out goes back into the list"]
pub struct Taken<'a, L: Links + ?Sized> {
    list: &'a IndexList,
    links: &'a L,
    next: u32,
}

impl<L: Links + ?Sized> Taken<'_, L> {
    /// Leaves the list and gives the oldest index left, for [`Taken::resume`].
    ///
    /// For a taker that stops early and keeps the order: the indexes left stay chained by their
    /// links, belong to nobody's list, and must be resumed before long.
    #[must_use = "the indexes left are lost unless they are resumed"]
    pub fn suspend(mut self) -> Option<u32> {
        index_of(std::mem::replace(&mut self.next, NONE))
    }
}

impl<'a, L: Links + ?Sized> Taken<'a, L> {
    /// Goes on with the indexes that [`Taken::suspend`] left, of the same list and links.
    pub fn resume(list: &'a IndexList, links: &'a L, oldest: Option<u32>) -> Self {
        Self { list, links, next: oldest.map_or(NONE, word_of) }
    }
}

impl<L: Links + ?Sized> Iterator for Taken<'_, L> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let index = index_of(self.next)?;
        // ORDER: Relaxed; the store in `take_all` was by this thread, or handed to it with `resume`.
        // Read before the index goes out: from then on the object may be pushed again.
        self.next = self.links.link(index).load(Ordering::Relaxed);
        Some(index)
    }
}

impl<L: Links + ?Sized> Drop for Taken<'_, L> {
    fn drop(&mut self) {
        while let Some(index) = self.next() {
            // The taker itself dropped this: it knows that something is left.
            let WasEmpty(_) = self.list.push(self.links, index);
        }
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::sync::rounds;

    fn links(count: usize) -> Vec<AtomicU32> {
        (0..count).map(|_| AtomicU32::new(0)).collect()
    }

    #[test]
    fn an_index_may_be_pushed_again_while_its_take_goes_on() {
        let (links, list) = (links(3), IndexList::new());
        for index in 0..3 {
            assert_eq!(list.push(&links[..], index), WasEmpty(index == 0));
        }
        let mut seen = Vec::new();
        for index in list.take_all(&links[..]) {
            seen.push(index);
            assert_eq!(list.push(&links[..], index), WasEmpty(index == 0));
        }
        assert_eq!(seen, [0, 1, 2]);
        assert_eq!(list.take_all(&links[..]).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(list.is_empty());
    }

    #[test]
    fn a_take_cut_short_loses_nothing() {
        let (links, list) = (links(4), IndexList::new());
        for index in 0..4 {
            let _ = list.push(&links[..], index);
        }
        let mut taken = list.take_all(&links[..]);
        assert_eq!(taken.next(), Some(0));
        let left = taken.suspend();
        assert!(list.is_empty());
        let mut taken = Taken::resume(&list, &links[..], left);
        assert_eq!(taken.next(), Some(1));
        drop(taken);
        assert_eq!(list.take_all(&links[..]).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn what_many_push_is_taken_once_each() {
        let each = rounds(1_000);
        let all = 4 * each;
        let (links, list) = (links(all as usize), IndexList::new());
        let mut taken = std::thread::scope(|scope| {
            for part in 0..4 {
                let (links, list) = (&links, &list);
                scope.spawn(move || {
                    for index in part * each..(part + 1) * each {
                        let _ = list.push(&links[..], index);
                    }
                });
            }
            let mut taken = Vec::new();
            while taken.len() < all as usize {
                taken.extend(list.take_all(&links[..]));
            }
            taken
        });
        for part in 0..4 {
            let own: Vec<_> = taken.iter().filter(|index| **index / each == part).collect();
            assert!(own.is_sorted(), "the pushes of one thread keep their order");
        }
        taken.sort_unstable();
        assert_eq!(taken, (0..all).collect::<Vec<_>>());
    }
}
