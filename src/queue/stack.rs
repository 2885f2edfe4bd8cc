//! A stack of indexes that any thread pushes and pops: the last one in is still in the cache.
//!
//! Source: R. K. Treiber, "Systems Programming: Coping with Parallelism", IBM RJ 5118, 1986, with the
//! version tag that the same report gives against ABA.
//!
//! ```text
//!  head = tag:32 | index + 1:32         every change of the head adds one to the tag
//! ```
//!
//! A pop reads the top's link and then exchanges the head for it. If the top was popped and pushed
//! again in between, its link may be another, but then the tag is another too and the exchange
//! fails. (A pop would have to sleep through exactly a multiple of 2^32 changes to be fooled.)
//! Invariant: an index is in the stack at most once; who popped it owns its object until the push.

use super::{Links, NONE, index_of, word_of};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// An intrusive stack of indexes: any thread pushes, any thread pops, last in first out.
///
/// ```
/// use efio::queue::IndexStack;
/// use efio::sync::AtomicU32;
///
/// let links: Vec<AtomicU32> = (0..4).map(|_| AtomicU32::new(0)).collect();
/// let stack = IndexStack::new();
/// stack.push(&links[..], 2);
/// stack.push(&links[..], 0);
/// assert_eq!(stack.pop(&links[..]), Some(0));
/// assert_eq!(stack.pop(&links[..]), Some(2));
/// assert_eq!(stack.pop(&links[..]), None);
/// ```
#[derive(Debug)]
pub struct IndexStack {
    head: AtomicU64,
}

impl IndexStack {
    /// An empty stack.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { head: AtomicU64::new(0) }
    }

    /// An empty stack.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { head: AtomicU64::new(0) }
    }

    /// Adds `index`, which must not be in the stack.
    pub fn push<L: Links + ?Sized>(&self, links: &L, index: u32) {
        let link = links.link(index);
        // ORDER: Relaxed; only compared, by the compare-exchange below.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // ORDER: Relaxed; published by the compare-exchange below.
            link.store(top(head), Ordering::Relaxed);
            // ORDER: Release pairs with the Acquire loads in `pop` and `take_all`.
            match self.head.compare_exchange_weak(
                head,
                with_top(head, word_of(index)),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes the index that was pushed last.
    #[must_use = "an index that is popped and dropped is lost"]
    pub fn pop<L: Links + ?Sized>(&self, links: &L) -> Option<u32> {
        // ORDER: Acquire pairs with the Release compare-exchange in `push`: the link below is that
        // push's, or a later one's, and then the tag has moved on.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let index = index_of(top(head))?;
            // ORDER: Relaxed; ordered after the store in `push` by the Acquire on the head.
            let below = links.link(index).load(Ordering::Relaxed);
            // ORDER: AcqRel pairs with the Release in `push`; the Release half lets the pops after
            // this one see what the pushes below published.
            match self.head.compare_exchange_weak(
                head,
                with_top(head, below),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(index),
                Err(now) => head = now,
            }
        }
    }

    /// Takes every index, last in first out.
    ///
    /// Indexes not handed out when the iterator is dropped go back.
    pub fn take_all<'a, L: Links + ?Sized>(&'a self, links: &'a L) -> TakenStack<'a, L> {
        // ORDER: Acquire pairs with the Release compare-exchange in `push`.
        let mut head = self.head.load(Ordering::Acquire);
        // ORDER: AcqRel and Acquire, as in `pop`: pairs with the Release in `push`.
        while let Err(now) =
            self.head.compare_exchange_weak(head, with_top(head, NONE), Ordering::AcqRel, Ordering::Acquire)
        {
            head = now;
        }
        TakenStack { stack: self, links, next: top(head) }
    }

    /// Whether nothing is in the stack now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // ORDER: Acquire pairs with the Release compare-exchange in `push`.
        top(self.head.load(Ordering::Acquire)) == NONE
    }
}

impl Default for IndexStack {
    fn default() -> Self {
        Self::new()
    }
}

/// The low half of a head: the word of the top index.
#[inline]
fn top(head: u64) -> u32 {
    (head & u64::from(u32::MAX)) as u32
}

/// The head after `head`, with `word` on top.
#[inline]
fn with_top(head: u64, word: u32) -> u64 {
    let tag = (head >> 32).wrapping_add(1);
    (tag << 32) | u64::from(word)
}

/// The indexes of one [`IndexStack::take_all`], last in first out.
#[derive(Debug)]
#[must_use = "what is not handed out goes back onto the stack"]
pub struct TakenStack<'a, L: Links + ?Sized> {
    stack: &'a IndexStack,
    links: &'a L,
    next: u32,
}

impl<L: Links + ?Sized> Iterator for TakenStack<'_, L> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let index = index_of(self.next)?;
        let link: &AtomicU32 = self.links.link(index);
        // ORDER: Relaxed; ordered after the store in `push` by the Acquire in `take_all`. Read
        // before the index goes out: from then on the object may be pushed again.
        self.next = link.load(Ordering::Relaxed);
        Some(index)
    }
}

impl<L: Links + ?Sized> Drop for TakenStack<'_, L> {
    fn drop(&mut self) {
        while let Some(index) = self.next() {
            self.stack.push(self.links, index);
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
    fn a_take_is_last_in_first_out_and_gives_back_the_rest() {
        let (links, stack) = (links(3), IndexStack::new());
        for index in 0..3 {
            stack.push(&links[..], index);
        }
        assert_eq!(stack.take_all(&links[..]).next(), Some(2));
        let mut left: Vec<_> = stack.take_all(&links[..]).collect();
        left.sort_unstable();
        assert_eq!(left, [0, 1]);
        assert!(stack.is_empty());
    }

    #[test]
    fn the_tag_wraps_without_touching_the_index() {
        assert_eq!(with_top(u64::MAX, 5), 5);
    }

    #[test]
    fn each_index_has_one_owner_at_a_time() {
        let (links, stack) = (links(8), IndexStack::new());
        let held: Vec<AtomicU32> = (0..8).map(|_| AtomicU32::new(0)).collect();
        for index in 0..8 {
            stack.push(&links[..], index);
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..rounds(20_000) {
                        if let Some(index) = stack.pop(&links[..]) {
                            let holders = &held[index as usize];
                            assert_eq!(holders.fetch_add(1, Ordering::AcqRel), 0);
                            holders.fetch_sub(1, Ordering::AcqRel);
                            stack.push(&links[..], index);
                        }
                    }
                });
            }
        });
        assert_eq!(stack.take_all(&links[..]).count(), 8);
    }
}
