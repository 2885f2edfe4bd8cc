//! System calls about the page cache, one function each. Where a system has none, `EOPNOTSUPP`.
#![allow(unsafe_code, reason = "calls into the C library")]

#[cfg(target_os = "linux")]
use super::{count, nothing, off_t, preadv2, pwritev2, vectors};
use crate::job::{Place, Slices};
use crate::sys::call::Answer;

/// preadv2(2): what the read brings in is dropped again. Since Linux 6.14.
#[cfg(target_os = "linux")]
pub(in crate::sys) fn read(descriptor: i32, into: &Slices, offset: u64) -> Answer<usize> {
    let offset = off_t::try_from(offset).map_err(|_| libc::EINVAL)?;
    let (list, used) = vectors(into);
    // SAFETY: the first `used` vectors describe memory that the job's file has given up until its `Done`.
    count(unsafe { preadv2(descriptor, list.as_ptr(), used, offset, libc::RWF_DONTCACHE) })
}

/// pwritev2(2): the kernel begins with these bytes at once, and drops them when they are on the disk. Since Linux 6.14.
#[cfg(target_os = "linux")]
pub(in crate::sys) fn write(descriptor: i32, from: &Slices, place: Place) -> Answer<usize> {
    let (list, used) = vectors(from);
    let offset = match place {
        Place::At(offset) => off_t::try_from(offset).map_err(|_| libc::EFBIG)?,
        // At the descriptor's own place, as writev(2).
        Place::End | Place::SyncedEnd => -1,
    };
    // SAFETY: the first `used` vectors describe bytes that do not change until the job's `Done`.
    count(unsafe { pwritev2(descriptor, list.as_ptr(), used, offset, libc::RWF_DONTCACHE) })
}

/// The descriptor's own place, which a write with O_APPEND leaves behind its last byte.
#[cfg(target_os = "linux")]
pub(in crate::sys) fn place(descriptor: i32) -> Answer<u64> {
    // SAFETY: takes numbers only.
    let offset = unsafe { super::lseek(descriptor, 0, libc::SEEK_CUR) };
    u64::try_from(offset).map_err(|_| super::errno())
}

/// Has a range written, and with `wait` waits for it; 0 bytes: to the end.
#[cfg(target_os = "linux")]
pub(in crate::sys) fn write_back(descriptor: i32, start: u64, bytes: u64, wait: bool) -> Answer<()> {
    let start = off_t::try_from(start).map_err(|_| libc::EINVAL)?;
    let bytes = off_t::try_from(bytes).map_err(|_| libc::EINVAL)?;
    let waits = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let flags = libc::SYNC_FILE_RANGE_WRITE | if wait { waits } else { 0 };
    // SAFETY: takes numbers only.
    nothing(unsafe { libc::sync_file_range(descriptor, start, bytes, flags) })
}

/// Drops a range from the page cache; 0 bytes: to the end. That the kernel keeps some of it is no error.
#[cfg(target_os = "linux")]
pub(in crate::sys) fn forget(descriptor: i32, start: u64, bytes: u64) {
    let (Ok(start), Ok(bytes)) = (off_t::try_from(start), off_t::try_from(bytes)) else { return };
    // SAFETY: takes numbers only.
    unsafe { super::posix_fadvise(descriptor, start, bytes, libc::POSIX_FADV_DONTNEED) };
}

#[cfg(not(target_os = "linux"))]
pub(in crate::sys) fn read(_descriptor: i32, _into: &Slices, _offset: u64) -> Answer<usize> {
    Err(libc::EOPNOTSUPP)
}

#[cfg(not(target_os = "linux"))]
pub(in crate::sys) fn write(_descriptor: i32, _from: &Slices, _place: Place) -> Answer<usize> {
    Err(libc::EOPNOTSUPP)
}

#[cfg(not(target_os = "linux"))]
pub(in crate::sys) fn place(_descriptor: i32) -> Answer<u64> {
    Err(libc::EOPNOTSUPP)
}

#[cfg(not(target_os = "linux"))]
pub(in crate::sys) fn write_back(_descriptor: i32, _start: u64, _bytes: u64, _wait: bool) -> Answer<()> {
    Err(libc::EOPNOTSUPP)
}

#[cfg(not(target_os = "linux"))]
pub(in crate::sys) fn forget(_descriptor: i32, _start: u64, _bytes: u64) {}
