//! The functions of ef_io.h: arguments are checked here, and the work is done elsewhere.
#![allow(unsafe_code, reason = "exports unmangled names, and takes what C points at")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use crate::bell::lock;
use crate::calls::Callback;
use crate::close::Manner;
use crate::failure::{Answer, border, fail};
use crate::open::Choices;
use crate::pool::ThreadPool;
use crate::world::make_world;
use crate::write::WRITE_LIMIT;
use crate::{close, open, read, write};

/// A path of C; `None` for NULL.
///
/// # Safety
///
/// NULL, or a string that ends with a NUL byte and stays as it is while the answer is used.
pub(crate) unsafe fn path<'a>(path: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the caller's promise.
    (!path.is_null()).then(|| unsafe { CStr::from_ptr(path) })
}

/// Bytes that C reads from. `EINVAL`: no place, no bytes, or more than there can be.
///
/// # Safety
///
/// `buf` is NULL, or `nbyte` bytes are there and stay as they are while the answer is used.
pub(crate) unsafe fn from<'a>(buf: *const c_void, nbyte: usize) -> Answer<&'a [u8]> {
    if buf.is_null() || nbyte == 0 || nbyte > isize::MAX as usize {
        return fail(libc::EINVAL);
    }
    // SAFETY: not NULL, of a length that there can be; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(buf.cast(), nbyte) })
}

/// Bytes that C has written to.
///
/// # Safety
///
/// `buf` is NULL, or room for `nbyte` bytes that nobody else looks at while the answer is used.
pub(crate) unsafe fn into<'a>(buf: *mut c_void, nbyte: usize) -> Answer<&'a mut [u8]> {
    if buf.is_null() || nbyte == 0 || nbyte > isize::MAX as usize {
        return fail(libc::EINVAL);
    }
    // SAFETY: not NULL, of a length that there can be; the rest is the caller's promise. The bytes are only written to.
    Ok(unsafe { std::slice::from_raw_parts_mut(buf.cast(), nbyte) })
}

/// `ef_init`, see ef_io.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_init() {
    border(c"ef_init", -1, (), || {
        // What is refused here is refused again, and told, by the first open.
        let _ = make_world().and_then(|world| world.global(None, true));
        Ok(())
    });
}

/// `ef_set_cb_func`, see ef_io.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_set_cb_func(cb_func: Option<Callback>, cb_data: *mut c_void) {
    border(c"ef_set_cb_func", -1, (), || {
        make_world()?.callbacks.replace(cb_func.map(|function| (function, cb_data as usize)));
        Ok(())
    });
}

/// `ef_unset_cb_func`, see ef_io.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_unset_cb_func() {
    border(c"ef_unset_cb_func", -1, (), || {
        make_world()?.callbacks.clear();
        Ok(())
    });
}

/// `ef_set_thrpool`, see ef_io.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_set_thrpool(thr_pool: *mut ThreadPool) {
    border(c"ef_set_thrpool", -1, (), || {
        let world = make_world()?;
        let pool = if thr_pool.is_null() { None } else { Some(world.pools.find(thr_pool)?) };
        let before = std::mem::replace(&mut *lock(&world.pool), pool);
        // If it is the last of a pool that was destroyed, it ends without the lock.
        drop(before);
        Ok(())
    });
}

/// `ef_open`, see ef_io.h. In C it takes a third argument only where a file may be made.
///
/// A variable argument of this size travels like a fixed one on the systems that this crate is made for, so the third one
/// is there as such. Where none was given it holds anything, and is not looked at.
///
/// # Safety
///
/// `path` is NULL or a string that ends with a NUL byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_open(path: *const c_char, oflag: c_int, mode: c_uint) -> c_int {
    border(c"ef_open", -1, -1, || {
        // SAFETY: the caller's promise.
        let path = unsafe { self::path(path) };
        let makes = oflag & libc::O_CREAT != 0 || oflag & libc::O_TMPFILE == libc::O_TMPFILE;
        let mode = if makes { mode & 0o7777 } else { 0 };
        if path.is_none_or(CStr::is_empty) {
            return fail(libc::EINVAL);
        }
        open::access(oflag)?;
        let instance = make_world()?.global(None, false)?;
        open::open(
            &instance,
            path,
            &Choices { flags: oflag, mode, default_limit: WRITE_LIMIT, ..Choices::default() },
        )
    })
}

/// `ef_open_status`, see ef_io.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_open_status(fd: c_int) -> c_int {
    border(c"ef_open_status", fd, -1, || open::status(fd))
}

/// `ef_close`, see ef_io.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_close(fd: c_int) -> c_int {
    border(c"ef_close", fd, -1, || close::close(fd, Manner::Close))
}

/// `ef_close_status`, see ef_io.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_close_status(fd: c_int) -> c_int {
    border(c"ef_close_status", fd, -1, || close::status(fd))
}

/// `ef_close_immediate`, see ef_io.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_close_immediate(fd: c_int) -> c_int {
    border(c"ef_close_immediate", fd, -1, || close::immediately(fd))
}

/// `ef_read`, see ef_io.h.
///
/// # Safety
///
/// `buf` is NULL or room for `nbyte` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_read(fd: c_int, buf: *mut c_void, nbyte: usize) -> isize {
    // SAFETY: the caller's promise.
    border(c"ef_read", fd, -1, || read::read(fd, unsafe { into(buf, nbyte) }?))
}

/// `ef_file_ready_for_read`, see ef_io.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_file_ready_for_read(fd: c_int) -> isize {
    border(c"ef_file_ready_for_read", fd, -1, || read::ready(fd))
}

/// `ef_write`, see ef_io.h.
///
/// # Safety
///
/// `buf` is NULL or `nbyte` bytes are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_write(fd: c_int, buf: *const c_void, nbyte: usize) -> isize {
    // SAFETY: the caller's promise.
    border(c"ef_write", fd, -1, || write::write(fd, unsafe { from(buf, nbyte) }?))
}

/// `ef_poll`, see ef_io.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_poll(fd: c_int) -> c_int {
    border(c"ef_poll", fd, -1, || read::poll(fd))
}

/// `ef_sync`, see ef_io.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_sync(fd: c_int) -> c_int {
    border(c"ef_sync", fd, -1, || write::sync(fd))
}
