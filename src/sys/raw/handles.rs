//! System calls about a descriptor itself, one function each.
#![allow(unsafe_code, reason = "calls into the C library")]

use std::os::fd::{AsRawFd, OwnedFd};

use super::{nothing, number};
use crate::job::handles::Lock;
use crate::sys::call::Answer;

/// Sets O_CLOEXEC; tells the flags that the descriptor was opened with.
pub(in crate::sys) fn take_over(descriptor: &OwnedFd) -> Answer<i32> {
    let descriptor = descriptor.as_raw_fd();
    // SAFETY: takes numbers only.
    nothing(unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: takes numbers only.
    number(unsafe { libc::fcntl(descriptor, libc::F_GETFL) })
}

pub(in crate::sys) fn set_append(descriptor: i32) -> Answer<()> {
    // SAFETY: takes numbers only.
    let flags = number(unsafe { libc::fcntl(descriptor, libc::F_GETFL) })?;
    // SAFETY: takes numbers only.
    nothing(unsafe { libc::fcntl(descriptor, libc::F_SETFL, flags | libc::O_APPEND) })
}

/// Puts the file of one descriptor behind the number of another, in one step.
pub(in crate::sys) fn replace(from: i32, to: i32) -> Answer<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: takes numbers only; `to` is its owner's, who asked for this.
    return number(unsafe { libc::dup3(from, to, libc::O_CLOEXEC) }).map(drop);
    #[cfg(not(target_os = "linux"))]
    {
        // SAFETY: as above.
        number(unsafe { libc::dup2(from, to) })?;
        // SAFETY: takes numbers only.
        nothing(unsafe { libc::fcntl(to, libc::F_SETFD, libc::FD_CLOEXEC) })
    }
}

/// A lock of the open file description, which no close of another descriptor gives up.
#[cfg(target_os = "linux")]
pub(in crate::sys) fn lock(descriptor: i32, lock: Lock) -> Answer<()> {
    let kind = match lock.exclusive {
        Some(true) => libc::F_WRLCK,
        Some(false) => libc::F_RDLCK,
        None => libc::F_UNLCK,
    };
    // SAFETY: a structure of numbers, for which all zeros is a value; the process in it must be 0.
    let mut asked: libc::flock64 = unsafe { std::mem::zeroed() };
    asked.l_type = kind as libc::c_short;
    asked.l_whence = libc::SEEK_SET as libc::c_short;
    asked.l_start = i64::try_from(lock.start).map_err(|_| libc::EINVAL)?;
    asked.l_len = i64::try_from(lock.len).map_err(|_| libc::EINVAL)?;
    // SAFETY: `asked` is the structure that this command takes, and outlives the call.
    nothing(unsafe { libc::fcntl(descriptor, libc::F_OFD_SETLK, &raw const asked) })
}

#[cfg(not(target_os = "linux"))]
pub(in crate::sys) fn lock(_descriptor: i32, _lock: Lock) -> Answer<()> {
    Err(libc::EOPNOTSUPP)
}
