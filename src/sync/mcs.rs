//! A lock with a queue on the stacks of those who wait, each looking at its own cache line.
//!
//! ```text
//!  word   HELD | CLOSED (no one may pass the head any more) | ASLEEP (the head sleeps on this word)
//!  tail ──► node of the last ◄── next ── … ◄── next ── node of the head
//!           state: BEHIND, ASLEEP_BEHIND or HEAD
//! ```
//!
//! A newcomer takes the word if it is free, else it queues: its node lies on its own stack, as it does
//! not return before the node is out of the queue. Only the head of the queue tries for the word; who
//! gets it as the head makes the next node the head and leaves the queue before it goes in. So the
//! guard holds no node, and nothing is ever allocated.
//!
//! Newcomers that run may pass the head, or else every step of a lock with more threads than
//! processors would wait for a thread to be scheduled. A head that was passed by [`PATIENCE`] times
//! after a sleep closes the door: now newcomers queue, and the head is next.
//!
//! Invariant: a node is in the queue from the exchange of `tail` that puts it there until its owner
//! has taken the word and either put null in its place or made the next node the head; who links a
//! node behind another does so before that other can leave. CLOSED and ASLEEP are set by the head and
//! belong to it; the head clears CLOSED as it takes the word, the unlock clears ASLEEP and then wakes.
//!
//! Source: J. Mellor-Crummey, M. Scott, "Algorithms for Scalable Synchronization on Shared-Memory
//! Multiprocessors", ACM TOCS 9(1), 1991; passing and the closed door: W. Long, paravirtual
//! qspinlock of Linux, 2015.

#![allow(unsafe_code, reason = "the queue's nodes lie on the stacks of those who wait")]

use super::{AtomicPtr, AtomicU32, Backoff, Lock, LockGuard, Ordering, RawLock, futex};
use std::ptr;

/// A value behind a lock whose waiters queue, each spinning on a word of its own.
///
/// **Use it** for a short part that many threads want at once: only one of those who wait tries for
/// the lock, the others do not touch its cache line, and those who have waited for long sleep. The
/// queue is in the order of asking. A thread that runs and finds the lock just free may pass it, but
/// the head of the queue only a few times: nobody starves. **Do not use it** where two threads hardly
/// ever meet (a [`SpinLock`](super::SpinLock) is smaller), where the order must be strict
/// ([`TicketLock`](super::TicketLock)), or around calls that wait (`std::sync::Mutex`).
///
/// It allocates nothing, and its guard holds no node: unlike other locks of this name it can be
/// locked and unlocked in any nesting. Panics and locking twice: see [`Lock`].
///
/// ```
/// use efio::sync::McsLock;
///
/// let total = McsLock::new(0);
/// std::thread::scope(|scope| {
///     for part in 1..=4 {
///         let total = &total;
///         scope.spawn(move || *total.lock() += part);
///     }
/// });
/// assert_eq!(total.into_inner(), 10);
/// ```
pub type McsLock<T> = Lock<RawMcs, T>;

/// The guard of a [`McsLock`]. It stays on the thread that took it:
///
/// ```compile_fail,E0277
/// let lock = efio::sync::McsLock::new(1);
/// let guard = lock.lock();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
pub type McsGuard<'a, T> = LockGuard<'a, RawMcs, T>;

const HELD: u32 = 1;
const CLOSED: u32 = 2;
const ASLEEP: u32 = 4;

const BEHIND: u32 = 0;
const ASLEEP_BEHIND: u32 = 1;
const HEAD: u32 = 2;

/// How often the head sleeps and is passed by before it closes the door.
const PATIENCE: u32 = if cfg!(efio_loom) { 0 } else { 4 };

/// One who waits. Aligned so that two never share a cache line.
#[repr(align(128))]
struct Node {
    state: AtomicU32,
    next: AtomicPtr<Node>,
}

/// The word and the queue of a [`McsLock`], without a value.
#[derive(Debug)]
pub struct RawMcs {
    word: AtomicU32,
    tail: AtomicPtr<Node>,
}

impl RawMcs {
    #[cold]
    fn wait(&self) {
        let node = Node { state: AtomicU32::new(BEHIND), next: AtomicPtr::new(ptr::null_mut()) };
        let address = ptr::from_ref(&node).cast_mut();
        // ORDER: AcqRel; Release publishes the node to who queues behind it, Acquire pairs with the
        // Release half of the swap by the one before.
        let before = self.tail.swap(address, Ordering::AcqRel);
        if !before.is_null() {
            // SAFETY: `before` was the tail until now, so its owner finds the tail changed and stays in
            // `leave` until it sees the link stored here. The store is our last access of it.
            let link = unsafe { &(*before).next };
            // ORDER: Release pairs with the Acquire loads of `next` in `leave`.
            link.store(address, Ordering::Release);
            node.wait_for_head();
        }
        self.take_as_head();
        self.leave(&node);
    }

    /// The head's wait for the word.
    fn take_as_head(&self) {
        let mut backoff = Backoff::new();
        let mut sleeps = 0;
        loop {
            // ORDER: Relaxed; only a reason to try.
            let word = self.word.load(Ordering::Relaxed);
            if word & HELD == 0 {
                // ORDER: Acquire pairs with the Release exchanges in `unlock`. The door opens again.
                let taken = self.word.compare_exchange_weak(word, HELD, Ordering::Acquire, Ordering::Relaxed);
                if taken.is_ok() {
                    return;
                }
            } else if !backoff.is_spent() {
                backoff.snooze();
            } else {
                let door = if sleeps >= PATIENCE { CLOSED } else { 0 };
                let asleep = word | ASLEEP | door;
                // ORDER: Relaxed; both bits carry no data. `unlock` reads them by its exchange of the word.
                let marked = self.word.compare_exchange(word, asleep, Ordering::Relaxed, Ordering::Relaxed);
                if marked.is_ok() {
                    futex::wait(&self.word, asleep, None);
                    sleeps += 1;
                    backoff.reset();
                }
            }
        }
    }

    /// Takes the head's node out of the queue, and makes the next one the head.
    fn leave(&self, node: &Node) {
        let address = ptr::from_ref(node).cast_mut();
        // ORDER: Acquire pairs with the Release store of the link in `wait`.
        let mut next = node.next.load(Ordering::Acquire);
        if next.is_null() {
            // ORDER: Release: who finds no queue after this comes after our time at its head. Acquire is
            // not needed: nothing is read through the tail.
            let gone =
                self.tail.compare_exchange(address, ptr::null_mut(), Ordering::Release, Ordering::Relaxed);
            if gone.is_ok() {
                return;
            }
            let mut backoff = Backoff::new();
            while next.is_null() {
                backoff.snooze();
                // ORDER: Acquire pairs with the Release store of the link in `wait`.
                next = node.next.load(Ordering::Acquire);
            }
        }
        // SAFETY: the owner of `next` waits in `wait_for_head` until the swap below.
        let state = unsafe { &(*next).state };
        let word = ptr::from_ref(state);
        // ORDER: AcqRel; Release pairs with the Acquire loads in `wait_for_head`.
        if state.swap(HEAD, Ordering::AcqRel) == ASLEEP_BEHIND {
            // The node may be gone by now: only its address is used.
            futex::wake_address(word);
        }
    }
}

impl Node {
    fn wait_for_head(&self) {
        let mut backoff = Backoff::new();
        while !backoff.is_spent() {
            // ORDER: Acquire pairs with the swap in `leave`.
            if self.state.load(Ordering::Acquire) == HEAD {
                return;
            }
            backoff.snooze();
        }
        // ORDER: Acquire on failure pairs with the swap in `leave`; on success nothing is read.
        let asleep = self.state.compare_exchange(BEHIND, ASLEEP_BEHIND, Ordering::Relaxed, Ordering::Acquire);
        if asleep.is_ok() {
            // ORDER: Acquire pairs with the swap in `leave`.
            while self.state.load(Ordering::Acquire) != HEAD {
                futex::wait(&self.state, ASLEEP_BEHIND, None);
            }
        }
    }
}

// SAFETY: HELD goes up by a compare-exchange of a word without it, so one thread sees it succeed until
// `unlock` takes it down; that exchange and the next one that raises it order the two.
unsafe impl RawLock for RawMcs {
    #[cfg(not(efio_loom))]
    #[allow(clippy::declare_interior_mutable_const, reason = "a start value, copied into each lock")]
    const NEW: Self = Self { word: AtomicU32::new(0), tail: AtomicPtr::new(ptr::null_mut()) };

    #[cfg(efio_loom)]
    fn new() -> Self {
        Self { word: AtomicU32::new(0), tail: AtomicPtr::new(ptr::null_mut()) }
    }

    #[inline]
    fn lock(&self) {
        if !self.try_lock() {
            self.wait();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        // ORDER: Acquire pairs with the Release exchanges in `unlock`.
        self.word.compare_exchange(0, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline]
    unsafe fn unlock(&self) {
        // ORDER: Release pairs with the Acquire exchanges in `try_lock` and `take_as_head`.
        let free = self.word.compare_exchange(HELD, 0, Ordering::Release, Ordering::Relaxed);
        if free.is_ok() {
            return;
        }
        // ORDER: Release, as above.
        let before = self.word.fetch_and(!(HELD | ASLEEP), Ordering::Release);
        if before & ASLEEP != 0 {
            futex::wake_one(&self.word);
        }
    }

    fn is_locked(&self) -> bool {
        // ORDER: Relaxed; the answer proves nothing.
        self.word.load(Ordering::Relaxed) & HELD != 0
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::sync::rounds;

    #[test]
    fn one_thread_at_a_time_is_inside() {
        let lock = McsLock::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..rounds(5_000)).for_each(|_| *lock.lock() += 1));
            }
        });
        let raw = RawMcs::NEW;
        assert_eq!((raw.word.into_inner(), lock.into_inner()), (0, 4 * u64::from(rounds(5_000))));
    }

    #[test]
    fn a_closed_door_lets_only_the_head_in() {
        let raw = RawMcs::NEW;
        raw.word.store(CLOSED, Ordering::Relaxed);
        assert!(!raw.try_lock());
        raw.take_as_head();
        assert_eq!(raw.word.load(Ordering::Relaxed), HELD, "the door is open again");
    }

    #[test]
    fn those_who_slept_in_the_queue_all_come_out() {
        let lock = McsLock::new(0);
        let guard = lock.lock();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| *lock.lock() += 1);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            drop(guard);
        });
        assert_eq!(lock.into_inner(), 4);
    }
}
