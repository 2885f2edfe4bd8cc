//! `ev_spin_lock.h`: a lock for a few instructions at a time.

#![allow(unsafe_code, reason = "called from C, with pointers")]

use crate::border::{give_up, handle, with};
use efio::sync::{RawLock, RawSpin};
use std::ffi::c_int;

#[unsafe(no_mangle)]
extern "C" fn create_spin_lock() -> *mut RawSpin {
    handle(|| RawSpin::NEW)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn destroy_spin_lock(lock: *mut RawSpin) {
    // SAFETY: the header asks for a handle of `create_spin_lock` or NULL that nobody else uses.
    unsafe { give_up(lock, |_| ()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ev_spin_lock(lock: *mut RawSpin) {
    // SAFETY: the header asks for a handle of `create_spin_lock` or NULL.
    unsafe { with(lock, (), RawLock::lock) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ev_spin_try_lock(lock: *mut RawSpin) -> c_int {
    // SAFETY: as for `ev_spin_lock`.
    unsafe { with(lock, 0, |lock| c_int::from(lock.try_lock())) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ev_spin_unlock(lock: *mut RawSpin) {
    // SAFETY: as for `ev_spin_lock`; that the caller holds it the header asks for too.
    unsafe { with(lock, (), |lock| lock.unlock()) }
}
