//! `ev_mcs_lock.h`: a lock in the order of asking, in one word of the program's own.
//!
//! ```text
//!  word ──► node of the last who asked       next: who asked after me
//!           ▲                                state: WAITING ─► ASLEEP ─► GRANTED
//!  holder ──┴── next ──► node ── next ──► … the ticket of a holder is its node
//! ```
//!
//! `efio::sync::McsLock` does more (those who run may pass those who sleep) and needs two words; this one has the one that
//! the header made public. A thread that waits looks at its own node only, and after a while it sleeps: the lock goes to it
//! in its turn all the same, so with more threads than processors each step is a change of threads.
//!
//! Invariant: a node belongs to who asked with it. Others touch it twice: who asked next links itself, which the owner
//! waits for before it gives the node up; who grants it changes the state as the last thing.
//!
//! Source: J. Mellor-Crummey, M. Scott, "Algorithms for Scalable Synchronization on Shared-Memory Multiprocessors", ACM
//! TOCS 9(1), 1991.

#![allow(unsafe_code, reason = "nodes are reached through the word and through one another")]

use crate::border::{refuse, with};
use efio::sync::{Arc, AtomicPtr, AtomicU32, Backoff, Ordering, Parker, UnsafeCell};
use nix::errno::Errno;
use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;

const WAITING: u32 = 0;
const ASLEEP: u32 = 1;
const GRANTED: u32 = 2;

/// One who holds the lock or waits for it. Aligned so that two never share a cache line.
#[repr(align(128))]
struct Node {
    next: AtomicPtr<Node>,
    state: AtomicU32,
    /// Where its owner sleeps: written before ASLEEP, taken by who grants.
    sleeper: UnsafeCell<Option<Arc<Parker>>>,
}

thread_local! {
    /// A node to use again.
    static SPARE: Cell<Option<Box<Node>>> = const { Cell::new(None) };
    /// Where this thread sleeps. One that is late with its token may bring it when this thread waits for another lock.
    static PARKER: Arc<Parker> = Arc::new(Parker::new());
}

impl Node {
    /// A node that nobody knows.
    fn fresh() -> *mut Self {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        let node = spare.unwrap_or_else(|| {
            let (next, state) = (AtomicPtr::new(ptr::null_mut()), AtomicU32::new(WAITING));
            Box::new(Self { next, state, sleeper: UnsafeCell::new(None) })
        });
        // ORDER: Relaxed, both; published by the swap in `acquire`.
        node.next.store(ptr::null_mut(), Ordering::Relaxed);
        node.state.store(WAITING, Ordering::Relaxed);
        Box::into_raw(node)
    }

    /// Gives up a node that nobody knows any more.
    ///
    /// # Safety
    ///
    /// It is from [`Node::fresh`], and out of the queue.
    unsafe fn give_up(node: *mut Self) {
        // SAFETY: the caller promises it.
        let node = unsafe { Box::from_raw(node) };
        // At the end of a thread there is no place to keep it; then it is freed.
        let _kept = SPARE.try_with(|spare| spare.set(Some(node)));
    }

    fn is_granted(&self) -> bool {
        // ORDER: Acquire pairs with the Release steps in `grant`.
        self.state.load(Ordering::Acquire) == GRANTED
    }

    fn wait(&self) {
        let mut backoff = Backoff::new();
        while !backoff.is_spent() {
            if self.is_granted() {
                return;
            }
            backoff.snooze();
        }
        let parker = PARKER.try_with(Arc::clone).unwrap_or_else(|_| Arc::new(Parker::new()));
        let sleeper = Some(parker.clone());
        // SAFETY: others look at it only after ASLEEP, which the owner alone sets.
        self.sleeper.with_mut(|place| unsafe { *place = sleeper });
        // ORDER: Release pairs with the Acquire of the failed exchange in `grant`: the parker is written. Acquire on
        // failure pairs with the Release of the exchange there.
        let asleep = self.state.compare_exchange(WAITING, ASLEEP, Ordering::Release, Ordering::Acquire);
        if asleep.is_err() {
            // SAFETY: granted already, so nobody looks at it.
            self.sleeper.with_mut(|place| unsafe { *place = None });
            return;
        }
        while !self.is_granted() {
            parker.park();
        }
    }

    /// Makes the owner of the node the holder. The node may be gone when this returns.
    ///
    /// # Safety
    ///
    /// The owner waits, and nobody else grants.
    unsafe fn grant(node: *const Self) {
        // SAFETY: the owner waits until the state says GRANTED, which is the last access below.
        let (state, sleeper) = unsafe { (&(*node).state, &(*node).sleeper) };
        // ORDER: Release pairs with the Acquire load in `is_granted`: what the holder wrote is seen. Acquire on failure
        // pairs with the Release of the exchange in `wait`: the parker is written.
        if state.compare_exchange(WAITING, GRANTED, Ordering::Release, Ordering::Acquire).is_ok() {
            return;
        }
        // SAFETY: ASLEEP, so the owner does not touch it before GRANTED.
        let parker = sleeper.with_mut(|place| unsafe { (*place).take() });
        // ORDER: Release, as above.
        state.store(GRANTED, Ordering::Release);
        if let Some(parker) = parker {
            parker.unpark();
        }
    }
}

/// `ev_mcs_lock_type`: the node of the last who asked; null: free.
#[repr(transparent)]
struct Lock(AtomicPtr<Node>);

impl Lock {
    fn acquire(&self) -> *mut Node {
        let node = Node::fresh();
        // ORDER: AcqRel; Release publishes the node to who asks next; Acquire pairs with that, and with the Release
        // exchange in `release`, if the lock is free.
        let before = self.0.swap(node, Ordering::AcqRel);
        if !before.is_null() {
            // SAFETY: who was the last until now stays in `release` until it sees the link; that is our last access.
            // ORDER: Release pairs with the Acquire loads in `release`: the node is written.
            unsafe { (*before).next.store(node, Ordering::Release) };
            // SAFETY: the node is this thread's own.
            unsafe { (*node).wait() };
        }
        node
    }

    /// # Safety
    ///
    /// The ticket is from [`Lock::acquire`] of this lock, and not given back yet.
    unsafe fn release(&self, node: *mut Node) {
        // SAFETY: the caller promises that the node is its own.
        let next = unsafe { &(*node).next };
        // ORDER: Acquire pairs with the Release store of the link in `acquire`.
        let mut successor = next.load(Ordering::Acquire);
        // ORDER: Release pairs with the Acquire half of the swap in `acquire`.
        let free = successor.is_null()
            && self.0.compare_exchange(node, ptr::null_mut(), Ordering::Release, Ordering::Relaxed).is_ok();
        if !free {
            let mut backoff = Backoff::new();
            while successor.is_null() {
                backoff.snooze();
                // ORDER: Acquire, as above.
                successor = next.load(Ordering::Acquire);
            }
            // SAFETY: it linked itself and waits; only the holder grants.
            unsafe { Node::grant(successor) };
        }
        // SAFETY: who could have linked itself has done so, so the node is out of the queue.
        unsafe { Node::give_up(node) };
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mcs_init(lock: *mut Lock) {
    // SAFETY: the header asks for a lock or NULL.
    // ORDER: Relaxed; nobody else uses the lock yet.
    unsafe { with(lock, (), |lock| lock.0.store(ptr::null_mut(), Ordering::Relaxed)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mcs_get_access(lock: *mut Lock) -> *mut Node {
    // SAFETY: as for `mcs_init`.
    unsafe { with(lock, ptr::null_mut(), Lock::acquire) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mcs_relinquish(lock: *mut Lock, ticket: *mut Node) -> c_int {
    if ticket.is_null() {
        return refuse(Errno::EINVAL, -1);
    }
    let release = |lock: &Lock| {
        // SAFETY: the header asks for a ticket of this lock, given back once.
        unsafe { lock.release(ticket) };
        0
    };
    // SAFETY: as for `mcs_init`.
    unsafe { with(lock, -1, release) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    #[test]
    fn those_who_wait_come_in_the_order_of_asking_also_when_they_slept() {
        let lock = Lock(AtomicPtr::new(ptr::null_mut()));
        let order = AtomicU64::new(0);
        let mine = lock.acquire();
        std::thread::scope(|scope| {
            for number in 1..=3 {
                let (lock, order) = (&lock, &order);
                // ORDER: Relaxed; only to see that the last one has asked.
                let before = lock.0.load(Ordering::Relaxed);
                scope.spawn(move || {
                    let ticket = lock.acquire();
                    // ORDER: Relaxed; under the lock.
                    let seen = order.load(Ordering::Relaxed);
                    order.store(seen * 10 + number, Ordering::Relaxed);
                    // SAFETY: the ticket is from above.
                    unsafe { lock.release(ticket) };
                });
                // ORDER: Relaxed, as above.
                while lock.0.load(Ordering::Relaxed) == before {
                    std::thread::yield_now();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            // SAFETY: the ticket is from above.
            unsafe { lock.release(mine) };
        });
        // ORDER: Relaxed; the threads are joined.
        assert_eq!(order.load(Ordering::Relaxed), 123);
        assert!(lock.0.load(Ordering::Relaxed).is_null());
    }
}
