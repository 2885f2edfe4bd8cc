//! The C library `efio`: files that behave like sockets, for event loops in C and C++. See `include/ef_io.h`.
#![allow(unsafe_code, reason = "C programs find functions by unmangled names")]

use std::ffi::c_char;

/// The version of the library, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
