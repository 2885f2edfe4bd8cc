//! System calls about names, one function each.
#![allow(unsafe_code, reason = "calls into the C library")]

use std::ffi::CStr;

use super::{count, nothing};
use crate::job::names::Times;
use crate::sys::call::Answer;

pub(in crate::sys) fn make_folder(folder: i32, path: &CStr, mode: u32) -> Answer<()> {
    // SAFETY: the path ends with a zero byte and outlives the call.
    nothing(unsafe { libc::mkdirat(folder, path.as_ptr(), mode as libc::mode_t) })
}

pub(in crate::sys) fn make_link(target: &CStr, folder: i32, path: &CStr) -> Answer<()> {
    // SAFETY: both texts end with a zero byte and outlive the call.
    nothing(unsafe { libc::symlinkat(target.as_ptr(), folder, path.as_ptr()) })
}

/// The bytes of the link's text that fit.
pub(in crate::sys) fn read_link(folder: i32, path: &CStr, into: &mut [u8]) -> Answer<usize> {
    // SAFETY: the path ends with a zero byte; `into` is as long as told, borrowed mutably for the call.
    count(unsafe { libc::readlinkat(folder, path.as_ptr(), into.as_mut_ptr().cast(), into.len()) })
}

/// Follows a symbolic link.
pub(in crate::sys) fn set_mode_of(folder: i32, path: &CStr, mode: u32) -> Answer<()> {
    // SAFETY: the path ends with a zero byte and outlives the call.
    nothing(unsafe { libc::fchmodat(folder, path.as_ptr(), mode as libc::mode_t, 0) })
}

#[allow(clippy::unnecessary_cast, reason = "the widths differ between systems")]
fn timespec(ns: Option<i128>) -> Answer<libc::timespec> {
    let Some(ns) = ns else {
        return Ok(libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT as _ });
    };
    let seconds = libc::time_t::try_from(ns.div_euclid(1_000_000_000)).map_err(|_| libc::EINVAL)?;
    Ok(libc::timespec { tv_sec: seconds, tv_nsec: ns.rem_euclid(1_000_000_000) as _ })
}

pub(in crate::sys) fn set_times_of(folder: i32, path: &CStr, times: Times, follow: bool) -> Answer<()> {
    let list = [timespec(times.accessed_ns)?, timespec(times.modified_ns)?];
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    // SAFETY: the path ends with a zero byte, the list has the two times that are read; both outlive the call.
    nothing(unsafe { libc::utimensat(folder, path.as_ptr(), list.as_ptr(), flags) })
}

/// The next entries as the kernel lays them out; 0 bytes at the end.
#[cfg(target_os = "linux")]
pub(in crate::sys) fn entries(descriptor: i32, into: &mut [u8]) -> Answer<usize> {
    // By number: not every C library has a function for it.
    // SAFETY: `into` is as long as told, borrowed mutably for the call.
    let result = unsafe { libc::syscall(libc::SYS_getdents64, descriptor, into.as_mut_ptr(), into.len()) };
    count(result as isize)
}

/// A folder read by the C library, which alone knows how on these systems.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(in crate::sys) struct Stream(crate::sync::Mutex<*mut libc::DIR>);

// SAFETY: the pointer is used behind the mutex only, and the C library ties it to no thread.
#[cfg(not(target_os = "linux"))]
unsafe impl Send for Stream {}
// SAFETY: as above.
#[cfg(not(target_os = "linux"))]
unsafe impl Sync for Stream {}

#[cfg(not(target_os = "linux"))]
impl Stream {
    /// Takes the descriptor over.
    pub(in crate::sys) fn new(descriptor: std::os::fd::OwnedFd) -> Answer<Self> {
        use std::os::fd::IntoRawFd;
        // SAFETY: the descriptor is owned and given up; on failure it is leaked rather than closed twice.
        let stream = unsafe { libc::fdopendir(descriptor.into_raw_fd()) };
        if stream.is_null() { Err(super::errno()) } else { Ok(Self(crate::sync::Mutex::new(stream))) }
    }

    /// Gives entries to `push` until it refuses one, which comes again; true at the end of the folder.
    pub(in crate::sys) fn read(&self, mut push: impl FnMut(u64, u8, &[u8]) -> bool) -> bool {
        let stream = crate::sync::lock(&self.0);
        loop {
            // SAFETY: the stream is open until the drop, and held by one thread at a time through the mutex.
            let place = unsafe { libc::telldir(*stream) };
            // SAFETY: as above; the entry is read before the next call on the stream.
            let entry = unsafe { libc::readdir(*stream).as_ref() };
            let Some(entry) = entry else { return true };
            // SAFETY: the C library ends each name with a zero byte.
            let name = unsafe { CStr::from_ptr(entry.d_name.as_ptr()) };
            if !push(entry.d_ino as u64, entry.d_type, name.to_bytes()) {
                // SAFETY: the place is this stream's own.
                unsafe { libc::seekdir(*stream, place) };
                return false;
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, closed here only.
        unsafe { libc::closedir(*crate::sync::lock(&self.0)) };
    }
}
