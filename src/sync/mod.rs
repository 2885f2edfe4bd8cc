//! Ground: the one door to atomics, cells, locks and threads.
//!
//! Everything in this crate that two threads can touch comes through here, so that one build
//! setting (`--cfg efio_loom`) swaps the lot for loom's models and the hand-overs can be checked
//! over all their interleavings. `std::sync` and `crossbeam_utils` are named in this folder only.
//! `--cfg efio_loom --cfg efio_shuttle` builds the same models of the sources on shuttle's primitives:
//! scenarios that are too large for all interleavings run over many random ones.
//!
//! | file | what it keeps |
//! | --- | --- |
//! | `backoff` | how to wait: pauses, yields, then it is time to sleep |
//! | `cell` | `UnsafeCell` with loom's `with` and `with_mut` |
//! | `counter` | a count in several cache lines |
//! | `event_count` | sleep, or ask for a signal, until a condition of any kind, without losing its coming true |
//! | `fence` | a cheap fence for the hot side, a heavy one for the rare side |
//! | `futex` | sleep on a word, wake who sleeps on it |
//! | `parker` | one thread's place to sleep, and the token that ends it |
//! | `prefetch` | cache lines asked for before they are written |
//! | `lock` | a value behind any of the three locks below, and its guard |
//! | `mcs` | a lock whose waiters queue, each on its own cache line |
//! | `poison` | "a thread panicked in here" |
//! | `raw` | the locks as raw locks of `lock_api` (feature `lock_api`) |
//! | `rwlock` | many readers or one writer, who is not kept waiting by new readers |
//! | `seats` | which of up to 64 threads sleep for want of work |
//! | `seqlock` | a small value that is read without writing (feature `zerocopy`) |
//! | `signal` | what is told that something is worth another look |
//! | `spin` | a lock of one byte |
//! | `ticket` | a lock in strict order |
//! | `thread_number` | a small number for each thread, its own while it lives |
//! | `wake` | one wake-up in flight, and a thread that sleeps without losing one |
//! | `zeroed` | large arrays of atomics that cost memory only where they are used |
//!
//! # Which lock
//!
//! None of the locks here poisons, none is recursive, all of their guards stay on their thread, and none of them is for
//! holding over a call that waits: take `std::sync::Mutex` there. Each type says when to use it and when not.
//!
//! `cargo bench --all-features --bench locks` measures them beside others. One run on two processors that had nothing else
//! to do, in calls relative to those of parking_lot's lock in the same run; first one addition under the lock, then looks
//! with one addition in a hundred:
//!
//! | lock | 1 thread | 2 threads | 8 threads |
//! | --- | --- | --- | --- |
//! | [`SpinLock`] | 1.48 | 2.05 | 1.29 |
//! | [`McsLock`] | 0.95 | 0.82 | 1.83 |
//! | [`TicketLock`] | 1.01 | 0.68 | 0.03 |
//! | std `Mutex` | 1.02 | 0.52 | 0.38 |
//! | spin `SpinMutex` | 1.54 | 0.65 | 0.15 |
//! | spin `TicketMutex` | 1.84 | 0.34 | 0.0008 |
//! | | | | |
//! | [`SpinRwLock`] | 1.00 | 1.17 | 1.02 |
//! | `SeqLock` | 4.62 | 19.57 | 17.44 |
//! | std `RwLock` | 1.05 | 1.11 | 0.97 |
//! | spin `RwLock` | 1.23 | 1.32 | 0.35 |
//!
//! From run to run a row moves by a fifth ([`McsLock`] with two threads: 0.82 to 0.88). Alone, by criterion, an addition
//! under a [`SpinLock`] takes 9.4 ns, under the fastest rival's lock 8.6 ns. A strict order has its price: each step of a
//! [`TicketLock`] with more threads than processors is two changes of threads, 0.9 M/s of them here (where a ticket lock that
//! only spins makes 0.02 M/s). The head of `ticket.rs` tells what was tried.
//!
//! # Under loom
//!
//! Invariant: atomics made under loom live inside a model. They cannot be made in statics or
//! outside a model, which is why unit tests are not built under loom.

mod backoff;
mod cell;
mod counter;
mod event_count;
pub(crate) mod fence;
pub(crate) mod futex;
mod lock;
mod mcs;
mod parker;
mod poison;
mod prefetch;
#[cfg(all(feature = "lock_api", not(efio_loom)))]
mod raw;
pub(crate) mod region;
mod rwlock;
mod seats;
#[cfg(any(feature = "zerocopy", efio_loom))]
mod seqlock;
mod signal;
mod spin;
pub(crate) mod thread_number;
mod ticket;
mod wake;
pub(crate) mod zeroed;

pub use backoff::Backoff;
pub use counter::Counter;
pub use crossbeam_utils::CachePadded;
pub use event_count::{EventCount, WaitTicket};
pub(crate) use fence::{fence_after_update, heavy_fence, light_fence};
pub(crate) use hint::spin_loop;
pub use lock::{Lock, LockGuard, RawLock};
pub use mcs::{McsGuard, McsLock, RawMcs};
pub use parker::Parker;
pub use poison::{PoisonFlag, PoisonGuard};
pub(crate) use prefetch::prefetch_for_write;
pub use rwlock::{RawSpinRw, ReadGuard, SpinRwLock, UpgradableGuard, WriteGuard};
pub(crate) use seats::{SEATS_MAX, Seats};
#[cfg(any(feature = "zerocopy", efio_loom))]
pub use seqlock::SeqLock;
pub use signal::Signal;
pub use spin::{RawSpin, SpinGuard, SpinLock};
pub use ticket::{RawTicket, TicketGuard, TicketLock};
pub use wake::{Sleeper, WakeFlag};

#[cfg(any(not(efio_loom), efio_shuttle))]
pub use cell::UnsafeCell;
#[cfg(all(efio_loom, not(efio_shuttle)))]
pub use loom::cell::UnsafeCell;

#[cfg(all(efio_loom, not(efio_shuttle)))]
pub use loom::{
    hint,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    },
};
#[cfg(efio_shuttle)]
pub use shuttle::{
    hint,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    },
};
#[cfg(not(efio_loom))]
pub use std::{
    hint,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread,
};

/// The models' threads, with the one call that loom lacks, and with which shuttle never changes the thread.
#[cfg(efio_loom)]
pub mod thread {
    #[cfg(not(efio_shuttle))]
    pub use loom::thread::*;
    #[cfg(efio_shuttle)]
    pub use shuttle::thread::*;

    /// Lets other threads run: a model has no clock.
    pub fn sleep(_duration: std::time::Duration) {
        yield_now();
    }
}

/// Locks `mutex`, also if a thread panicked while it held it.
///
/// What a mutex guards here is valid between any two statements; whether a panic makes the whole
/// unusable is said by a [`PoisonFlag`], not by the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// How often a test repeats: less often in an interpreter, which is slower by a factor of some thousands.
#[cfg(all(test, not(efio_loom)))]
pub(crate) const fn rounds(count: u32) -> u32 {
    if cfg!(miri) { count / 200 } else { count }
}

/// Runs `scenario` over all its interleavings.
#[cfg(all(test, efio_loom, not(efio_shuttle)))]
pub(crate) fn model<F>(scenario: F)
where
    F: Fn() + Sync + Send + 'static,
{
    let mut builder = loom::model::Builder::new();
    // A small module takes more steps than a protocol alone.
    builder.max_branches = 20_000;
    builder.check(scenario);
}
