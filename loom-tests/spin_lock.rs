//! `SpinLock`: one thread at a time is inside, and sees what the one before it did.
//!
//! The real lock around one of loom's cells: an access that is not ordered ends the run. The twins are locks that take in
//! two steps, or give back without publishing.

#![allow(unsafe_code, reason = "the promise of a lock is an unsafe trait")]

use crate::sync::{Arc, AtomicBool, Lock, Ordering, RawLock, RawSpin, model, thread};
use Ordering::{Acquire, Relaxed, Release};

/// Each of `threads` adds one, and one more looks in by a try.
pub(super) fn counting<R: RawLock + Send + Sync + 'static>(threads: usize) {
    let lock = Arc::new(Lock::<R, u32>::new(0));
    let handles: Vec<_> = (1..threads)
        .map(|_| {
            let lock = lock.clone();
            thread::spawn(move || *lock.lock() += 1)
        })
        .collect();
    if let Some(mut guard) = lock.try_lock() {
        *guard += 100;
    }
    *lock.lock() += 1;
    for handle in handles {
        handle.join().unwrap();
    }
    let sum = *lock.lock();
    assert!(sum % 100 == threads as u32, "an addition was lost");
    assert!(!lock.is_locked());
}

#[test]
fn one_thread_at_a_time_is_inside() {
    // Three: two that spin keep loom from the third for ever.
    model(|| counting::<RawSpin>(2));
}

/// Tries by a load and a store.
struct TwoSteps(AtomicBool);

/// Gives back without a Release.
struct PublishesNothing(AtomicBool);

// SAFETY: none; loom shows that it is broken before any value is.
unsafe impl RawLock for TwoSteps {
    fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    fn lock(&self) {
        while !self.try_lock() {
            thread::yield_now();
        }
    }

    fn try_lock(&self) -> bool {
        let free = !self.0.load(Acquire);
        if free {
            self.0.store(true, Relaxed);
        }
        free
    }

    unsafe fn unlock(&self) {
        self.0.store(false, Release);
    }

    fn is_locked(&self) -> bool {
        self.0.load(Relaxed)
    }
}

// SAFETY: as above.
unsafe impl RawLock for PublishesNothing {
    fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    fn lock(&self) {
        while !self.try_lock() {
            thread::yield_now();
        }
    }

    fn try_lock(&self) -> bool {
        !self.0.swap(true, Acquire)
    }

    unsafe fn unlock(&self) {
        self.0.store(false, Relaxed);
    }

    fn is_locked(&self) -> bool {
        self.0.load(Relaxed)
    }
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_that_takes_in_two_steps() {
    model(|| counting::<TwoSteps>(2));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_that_publishes_nothing() {
    model(|| counting::<PublishesNothing>(2));
}
