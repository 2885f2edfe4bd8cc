//! `ev_paqueue.h`: several lists as one queue, in an order of its own.

#![allow(unsafe_code, reason = "called from C, with pointers")]

use crate::border::{Payload, give_up, handle, refuse, take_out, with};
use crate::lanes::Lanes;
use nix::errno::Errno;
use std::ffi::{c_int, c_void};
use std::ptr;

#[unsafe(no_mangle)]
extern "C" fn create_evpaq(lists: c_int) -> *mut Lanes {
    handle(|| Lanes::new(lists))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn enqueue_evpaq(queue: *mut Lanes, data: *mut c_void) {
    // SAFETY: the header asks for a handle of `create_evpaq` or NULL.
    unsafe { with(queue, (), |queue| queue.push(Payload(data))) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dequeue_evpaq(queue: *mut Lanes) -> *mut c_void {
    // SAFETY: as for `enqueue_evpaq`.
    unsafe { with(queue, ptr::null_mut(), |queue| Payload::or_null(queue.pop())) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn peek_evpaq(queue: *mut Lanes) -> c_int {
    // SAFETY: as for `enqueue_evpaq`.
    unsafe { with(queue, 0, |queue| c_int::from(!queue.is_empty())) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn destroy_evpaq(queue: *mut *mut Lanes) {
    let free = |queue: &Lanes| {
        while let Some(item) = queue.pop() {
            // SAFETY: the header asks for items from malloc(3) that nobody uses any more.
            unsafe { item.free() };
        }
    };
    // SAFETY: the header asks for the place of a handle that nobody else uses.
    unsafe { give_up(take_out(queue), free) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn wf_destroy_evpaq(queue: *mut *mut Lanes) {
    // SAFETY: as for `destroy_evpaq`; the items stay the program's.
    unsafe { give_up(take_out(queue), |_| ()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn debug_paq(queue: *mut Lanes, print: Option<extern "C" fn(c_int, *mut c_void)>) {
    let Some(print) = print else { return refuse(Errno::EINVAL, ()) };
    // At most 1024 lists: the number fits.
    let show = |queue: &Lanes| queue.show(|list, item| print(list as c_int, item.0));
    // SAFETY: as for `enqueue_evpaq`.
    unsafe { with(queue, (), show) }
}
