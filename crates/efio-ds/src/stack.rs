//! `ev_stack.h`: a stack that any thread pushes to and any pops from.

#![allow(unsafe_code, reason = "called from C, with pointers")]

use crate::border::{Payload, give_up, handle, refuse, with};
use efio::queue::Stack;
use nix::errno::Errno;
use std::ffi::c_void;

#[unsafe(no_mangle)]
extern "C" fn create_ev_stack() -> *mut Stack<Payload> {
    handle(Stack::new)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn push(stack: *mut Stack<Payload>, data: *mut c_void) {
    let put =
        |stack: &Stack<Payload>| stack.push(Payload(data)).unwrap_or_else(|_| refuse(Errno::ENOMEM, ()));
    // SAFETY: the header asks for a handle of `create_ev_stack` or NULL.
    unsafe { with(stack, (), put) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pop(stack: *mut Stack<Payload>) -> *mut c_void {
    // SAFETY: as for `push`.
    unsafe { with(stack, std::ptr::null_mut(), |stack| Payload::or_null(stack.pop())) }
}

/// The items are not freed: the original's does not, and there is no second call for those who count on that.
#[unsafe(no_mangle)]
unsafe extern "C" fn destroy_ev_stack(stack: *mut Stack<Payload>) {
    // SAFETY: the header asks for a handle of `create_ev_stack` or NULL that nobody else uses.
    unsafe { give_up(stack, |_| ()) }
}
