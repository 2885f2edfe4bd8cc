//! The functions of efio.h that tell what went wrong: the last failure of a thread, and the log.
#![allow(unsafe_code, reason = "exports unmangled names, and fills in what C points at")]

use std::ffi::{c_char, c_int, c_void};

use crate::calls::LogFunction;
use crate::failure::{border, fail, with_last};
use crate::instances::Sized;
use crate::world::make_world;

/// `struct ef_error`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct EfError {
    size: usize,
    error: c_int,
    fd: c_int,
    offset: i64,
    operation: *const c_char,
    message: *const c_char,
}

/// `ef_version`, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// `ef_last_error`, see efio.h.
///
/// # Safety
///
/// `error` is NULL or points at a struct whose first field is its size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_last_error(error: *mut EfError) -> c_int {
    let last = with_last(|last| EfError {
        size: size_of::<EfError>(),
        error: last.errno,
        fd: last.handle,
        offset: last.offset,
        operation: last.operation.as_ptr(),
        message: last.message.as_ptr(),
    });
    let answer = match last {
        // SAFETY: the caller's promise.
        Some(last) => unsafe { Sized::put(error, last) },
        None => fail(libc::ENODATA),
    };
    // This failure is none to be remembered, so it does not go over the border.
    match answer {
        Ok(()) => 0,
        Err(failure) => {
            crate::failure::set_errno(failure.errno());
            -1
        }
    }
}

/// `ef_error_message`, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_error_message() -> *const c_char {
    with_last(|last| last.message.as_ptr()).unwrap_or(c"".as_ptr())
}

/// `ef_set_log_func`, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_set_log_func(function: Option<LogFunction>, data: *mut c_void) {
    border(c"ef_set_log_func", -1, (), || {
        let world = make_world()?;
        match function {
            Some(function) => world.log.replace(Some((function, data as usize))),
            None => world.log.clear(),
        }
        Ok(())
    });
}
