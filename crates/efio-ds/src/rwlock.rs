//! `ev_rwlock.h`: many readers or one writer, in the two integers of `struct ev_rwlock_s`.
//!
//! ```text
//!  rd_lock   the word of efio's lock; 0 is a free one, so a struct of zeroes is a lock
//!  wr_lock   1 while a writer is inside: only to tell an unlock of what is not held
//! ```

#![allow(unsafe_code, reason = "called from C, with pointers")]

use crate::border::{refuse, with};
use efio::sync::{AtomicU32, Ordering, RawSpinRw};
use lock_api::RawRwLock;
use nix::errno::Errno;
use std::ffi::c_int;

/// `struct ev_rwlock_s`.
#[repr(C)]
struct Lock {
    rd_lock: AtomicU32,
    wr_lock: AtomicU32,
}

impl Lock {
    fn raw(&self) -> &RawSpinRw {
        RawSpinRw::of(&self.rd_lock)
    }

    fn leave_read(&self) -> bool {
        // ORDER: Relaxed, both; while a reader is inside, neither can change, and only that is asked.
        let held = self.wr_lock.load(Ordering::Relaxed) == 0 && self.rd_lock.load(Ordering::Relaxed) != 0;
        if held {
            // SAFETY: the word is not free and no writer is inside, so a reader is: the caller.
            unsafe { self.raw().unlock_shared() };
        }
        held
    }

    fn enter_write(&self) {
        self.raw().lock_exclusive();
        // ORDER: Relaxed; ordered by the lock, which this thread holds.
        self.wr_lock.store(1, Ordering::Relaxed);
    }

    fn leave_write(&self) -> bool {
        // ORDER: Relaxed, as above.
        let held = self.wr_lock.compare_exchange(1, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if held {
            // SAFETY: a writer is inside: the caller.
            unsafe { self.raw().unlock_exclusive() };
        }
        held
    }
}

/// 0, or -1 with the reason that the lock is not held.
fn answer(held: bool) -> c_int {
    if held { 0 } else { refuse(Errno::EPERM, -1) }
}

/// From malloc(3), so that it is no matter who made the struct.
#[unsafe(no_mangle)]
extern "C" fn ev_rwlock_init() -> *mut Lock {
    // SAFETY: calloc takes any sizes; zeroes are a free lock. It sets `errno` itself.
    unsafe { libc::calloc(1, size_of::<Lock>()) }.cast()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ev_rwlock_destroy(lock: *mut Lock) {
    if lock.is_null() {
        return refuse(Errno::EINVAL, ());
    }
    // SAFETY: the header asks for a lock of `ev_rwlock_init` that nobody uses any more.
    unsafe { libc::free(lock.cast()) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ev_rwlock_rdlock(lock: *mut Lock) -> c_int {
    let enter = |lock: &Lock| {
        lock.raw().lock_shared();
        0
    };
    // SAFETY: the header asks for a lock or NULL.
    unsafe { with(lock, -1, enter) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ev_rwlock_rdunlock(lock: *mut Lock) -> c_int {
    // SAFETY: as for `ev_rwlock_rdlock`.
    unsafe { with(lock, -1, |lock| answer(lock.leave_read())) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ev_rwlock_wrlock(lock: *mut Lock) -> c_int {
    let enter = |lock: &Lock| {
        lock.enter_write();
        0
    };
    // SAFETY: as for `ev_rwlock_rdlock`.
    unsafe { with(lock, -1, enter) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ev_rwlock_wrunlock(lock: *mut Lock) -> c_int {
    // SAFETY: as for `ev_rwlock_rdlock`.
    unsafe { with(lock, -1, |lock| answer(lock.leave_write())) }
}
