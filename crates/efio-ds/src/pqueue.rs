//! `ev_pqueue.h`: a queue made for many threads, first in first out over all of them.
//!
//! The original spread its items over lists whose turns it made its callers wait for. One lock-free queue keeps the same
//! order and makes nobody wait, so the number of lists is only remembered, for `debug_ev_pqueue`.

#![allow(unsafe_code, reason = "called from C, with pointers")]

use crate::border::{Payload, give_up, handle, refuse, take_out, with};
use crate::queue::{free_items, turn_round};
use efio::queue::Unbounded;
use nix::errno::Errno;
use std::ffi::{c_int, c_void};
use std::ptr;

/// The most lists that the original takes.
const LISTS_MAX: usize = 128;

struct Queue {
    items: Unbounded<Payload>,
    lists: usize,
}

#[unsafe(no_mangle)]
extern "C" fn create_ev_pqueue(lists: c_int) -> *mut Queue {
    let lists = usize::try_from(lists).unwrap_or(0).max(1);
    if lists > LISTS_MAX {
        return refuse(Errno::EINVAL, ptr::null_mut());
    }
    handle(|| Queue { items: Unbounded::new(), lists: lists.next_power_of_two() })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn enqueue_ev_pqueue(queue: *mut Queue, data: *mut c_void) {
    // SAFETY: the header asks for a handle of `create_ev_pqueue` or NULL.
    unsafe { with(queue, (), |queue| queue.items.push(Payload(data))) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dequeue_ev_pqueue(queue: *mut Queue) -> *mut c_void {
    // SAFETY: as for `enqueue_ev_pqueue`.
    unsafe { with(queue, ptr::null_mut(), |queue| Payload::or_null(queue.items.pop())) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ev_pqueue_peek(queue: *mut Queue) -> c_int {
    // SAFETY: as for `enqueue_ev_pqueue`.
    unsafe { with(queue, 0, |queue| c_int::from(!queue.items.is_empty())) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn destroy_ev_pqueue(queue: *mut *mut Queue) {
    // SAFETY: the header asks for the place of a handle that nobody else uses, and items from malloc(3).
    unsafe { give_up(take_out(queue), |queue| free_items(&queue.items)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn wf_destroy_ev_pqueue(queue: *mut *mut Queue) {
    // SAFETY: as for `destroy_ev_pqueue`; the items stay the program's.
    unsafe { give_up(take_out(queue), |_| ()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn debug_ev_pqueue(queue: *mut Queue, print: Option<extern "C" fn(c_int, *mut c_void)>) {
    let Some(print) = print else { return refuse(Errno::EINVAL, ()) };
    let show = |queue: &Queue| {
        // A power of two of at most 128 lists: the number fits.
        turn_round(&queue.items, |number, item| print((number % queue.lists) as c_int, item.0));
    };
    // SAFETY: as for `enqueue_ev_pqueue`.
    unsafe { with(queue, (), show) }
}
