//! What every call from C goes through: handles looked at, panics stopped, `errno` set.

#![allow(unsafe_code, reason = "handles come from C as pointers")]

use nix::errno::Errno;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// What a queue or a stack carries: an address that means something to the program only.
#[derive(Clone, Copy)]
pub(crate) struct Payload(pub(crate) *mut c_void);

// SAFETY: it is handed from thread to thread and never looked into.
unsafe impl Send for Payload {}

impl Payload {
    /// The address, or NULL where there is no item.
    pub(crate) fn or_null(item: Option<Self>) -> *mut c_void {
        item.map_or(ptr::null_mut(), |item| item.0)
    }

    /// Gives the memory back that the program took with malloc(3).
    ///
    /// # Safety
    ///
    /// The address is NULL or from malloc(3), and nobody uses it any more.
    pub(crate) unsafe fn free(self) {
        // SAFETY: the caller promises it.
        unsafe { libc::free(self.0) };
    }
}

/// `answer`, with the reason in `errno`.
pub(crate) fn refuse<T>(reason: Errno, answer: T) -> T {
    reason.set();
    answer
}

/// Runs `body`; if it panics, `errno` is `ENOTRECOVERABLE` and `otherwise` the answer.
pub(crate) fn shielded<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(answer) => answer,
        Err(panic) => {
            // Its own drop could panic.
            std::mem::forget(panic);
            refuse(Errno::ENOTRECOVERABLE, otherwise)
        }
    }
}

/// A new object as a handle, or NULL.
pub(crate) fn handle<H>(make: impl FnOnce() -> H) -> *mut H {
    shielded(ptr::null_mut(), || Box::into_raw(Box::new(make())))
}

/// Does `body` with the object of a handle; `otherwise` is the answer for NULL.
///
/// # Safety
///
/// The handle is NULL or from [`handle`], and not given up yet.
pub(crate) unsafe fn with<H, T: Copy>(handle: *mut H, otherwise: T, body: impl FnOnce(&H) -> T) -> T {
    // SAFETY: the caller promises it.
    match unsafe { handle.as_ref() } {
        Some(object) => shielded(otherwise, || body(object)),
        None => refuse(Errno::EINVAL, otherwise),
    }
}

/// Does `last` with the object of a handle, and ends the object.
///
/// # Safety
///
/// The handle is NULL or from [`handle`], not given up yet, and no other thread uses it.
pub(crate) unsafe fn give_up<H>(handle: *mut H, last: impl FnOnce(&H)) {
    if handle.is_null() {
        return refuse(Errno::EINVAL, ());
    }
    // SAFETY: the caller promises it, and that nobody else will do so.
    let object = unsafe { Box::from_raw(handle) };
    shielded((), || {
        last(&object);
        drop(object);
    });
}

/// The handle that `place` holds, which is NULL from now on.
///
/// # Safety
///
/// `place` is NULL or points to a handle.
pub(crate) unsafe fn take_out<H>(place: *mut *mut H) -> *mut H {
    // SAFETY: the caller promises it.
    unsafe { place.as_mut() }.map_or(ptr::null_mut(), |place| std::mem::replace(place, ptr::null_mut()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_answer_and_a_reason() {
        Errno::clear();
        assert_eq!(shielded(7, || panic!("within the border")), 7);
        assert_eq!(Errno::last(), Errno::ENOTRECOVERABLE);
        assert!(handle(|| -> u32 { panic!("within the border") }).is_null());
    }

    #[test]
    fn null_is_refused_and_a_handle_is_not() {
        Errno::clear();
        let number = handle(|| 5);
        // SAFETY: the handle is the one made above, given up once.
        unsafe {
            assert_eq!(with(number, 0, |number| *number), 5);
            give_up(number, |number| assert_eq!(*number, 5));
        }
        assert_eq!(Errno::last_raw(), 0);
        // SAFETY: NULL is allowed.
        unsafe {
            assert_eq!(with(ptr::null_mut::<u32>(), 3, |_| 4), 3);
            assert_eq!(Errno::last(), Errno::EINVAL);
            Errno::clear();
            give_up(ptr::null_mut::<u32>(), |_| ());
            assert_eq!(Errno::last(), Errno::EINVAL);
            assert!(take_out(ptr::null_mut::<*mut u32>()).is_null());
        }
    }
}
