//! `ev_piqueue.h`: several lists as one queue, in an order of its own.

#![allow(unsafe_code, reason = "called from C, with pointers")]

use crate::border::{Payload, give_up, handle, refuse, take_out, with};
use crate::lanes::Lanes;
use nix::errno::Errno;
use std::ffi::{c_int, c_void};
use std::ptr;

#[unsafe(no_mangle)]
extern "C" fn create_ev_piqueue(lists: c_int) -> *mut Lanes {
    handle(|| Lanes::new(lists))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn enqueue_ev_piqueue(queue: *mut Lanes, data: *mut c_void) {
    // SAFETY: the header asks for a handle of `create_ev_piqueue` or NULL.
    unsafe { with(queue, (), |queue| queue.push(Payload(data))) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dequeue_ev_piqueue(queue: *mut Lanes) -> *mut c_void {
    // SAFETY: as for `enqueue_ev_piqueue`.
    unsafe { with(queue, ptr::null_mut(), |queue| Payload::or_null(queue.pop())) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ev_piqueue_peek(queue: *mut Lanes) -> c_int {
    // SAFETY: as for `enqueue_ev_piqueue`.
    unsafe { with(queue, 0, |queue| c_int::from(!queue.is_empty())) }
}

/// The items are not freed: the original's does not, and there is no second call for those who count on that.
#[unsafe(no_mangle)]
unsafe extern "C" fn destroy_ev_piqueue(queue: *mut *mut Lanes) {
    // SAFETY: the header asks for the place of a handle that nobody else uses.
    unsafe { give_up(take_out(queue), |_| ()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn debug_ev_piqueue(queue: *mut Lanes, print: Option<extern "C" fn(*mut c_void)>) {
    let Some(print) = print else { return refuse(Errno::EINVAL, ()) };
    // SAFETY: as for `enqueue_ev_piqueue`.
    unsafe { with(queue, (), |queue| queue.show(|_, item| print(item.0))) }
}
