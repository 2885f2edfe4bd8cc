//! `ev_queue.h`: a queue that any thread fills and any empties, first in first out, without a bound.

#![allow(unsafe_code, reason = "called from C, with pointers")]

use crate::border::{Payload, give_up, handle, refuse, with};
use efio::queue::Unbounded;
use nix::errno::Errno;
use std::ffi::{c_int, c_void};

type Queue = Unbounded<Payload>;
type Print = Option<extern "C" fn(*mut c_void)>;

/// Shows each item to `show`, with its number: takes it from the front and puts it back at the end.
///
/// The lock-free queue cannot be walked while others may pop. This way an item may change its place if they do, and that is
/// all; if they do not, the order is the old one at the end.
pub(crate) fn turn_round(queue: &Queue, mut show: impl FnMut(usize, Payload)) {
    for number in 0..queue.len() {
        let Some(item) = queue.pop() else { return };
        // Back before it is shown: whatever the program does there, the item is not lost.
        queue.push(item);
        show(number, item);
    }
}

/// Takes every item out and frees it.
///
/// # Safety
///
/// Every item is NULL or from malloc(3), and nobody uses it any more.
pub(crate) unsafe fn free_items(queue: &Queue) {
    while let Some(item) = queue.pop() {
        // SAFETY: the caller promises it.
        unsafe { item.free() };
    }
}

#[unsafe(no_mangle)]
extern "C" fn create_ev_queue() -> *mut Queue {
    handle(Queue::new)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn enqueue(queue: *mut Queue, data: *mut c_void) {
    // SAFETY: the header asks for a handle of `create_ev_queue` or NULL.
    unsafe { with(queue, (), |queue| queue.push(Payload(data))) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dequeue(queue: *mut Queue) -> *mut c_void {
    // SAFETY: as for `enqueue`.
    unsafe { with(queue, std::ptr::null_mut(), |queue| Payload::or_null(queue.pop())) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ev_queue_take(queue: *mut Queue, item: *mut *mut c_void) -> c_int {
    // SAFETY: the header asks for room for one address, or NULL.
    let Some(item) = (unsafe { item.as_mut() }) else { return refuse(Errno::EINVAL, -1) };
    *item = std::ptr::null_mut();
    // SAFETY: as for `enqueue`.
    let taken = unsafe { with(queue, Err(()), |queue| Ok(queue.pop())) };
    match taken {
        Err(()) => -1,
        Ok(None) => 0,
        Ok(Some(payload)) => {
            *item = payload.0;
            1
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn try_dequeue(queue: *mut Queue, item: *mut *mut c_void) -> c_int {
    // SAFETY: the header asks for the same.
    unsafe { ev_queue_take(queue, item) }.min(0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn peek(queue: *mut Queue) -> c_int {
    // SAFETY: as for `enqueue`.
    unsafe { with(queue, 0, |queue| c_int::from(!queue.is_empty())) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn queue_empty(queue: *mut Queue) -> c_int {
    // SAFETY: as for `enqueue`.
    unsafe { with(queue, 1, |queue| c_int::from(queue.is_empty())) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn destroy_ev_queue(queue: *mut Queue) {
    // SAFETY: the header asks for a handle of `create_ev_queue` or NULL that nobody else uses, and items from malloc(3).
    unsafe { give_up(queue, |queue| free_items(queue)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn wf_destroy_ev_queue(queue: *mut Queue) {
    // SAFETY: as for `destroy_ev_queue`; the items stay the program's.
    unsafe { give_up(queue, |_| ()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn debug_queue(queue: *mut Queue, print: Print) {
    let Some(print) = print else { return refuse(Errno::EINVAL, ()) };
    // SAFETY: as for `enqueue`.
    unsafe { with(queue, (), |queue| turn_round(queue, |_, item| print(item.0))) }
}
