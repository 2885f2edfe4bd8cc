//! System calls on pipes and devices: each an errno where it fails, none that waits but `wait`.
#![allow(unsafe_code, reason = "system calls on descriptors by their number")]

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use crate::failure::errno;
use crate::news::Descriptor;

/// What a descriptor can do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waited {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

fn stat(answer: impl FnOnce(*mut libc::stat) -> i32) -> Option<libc::stat> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: filled in where the call says that it was.
    (answer(stat.as_mut_ptr()) == 0).then(|| unsafe { stat.assume_init() })
}

/// The name is a pipe's.
pub(crate) fn is_pipe(path: &CStr) -> bool {
    // SAFETY: the path ends with a NUL byte, the other is room for the answer.
    let found = stat(|room| unsafe { libc::stat(path.as_ptr(), room) });
    found.is_some_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFIFO)
}

/// Opens without waiting. True: it is a regular file.
pub(crate) fn open(path: &CStr, flags: i32, mode: u32) -> Result<(OwnedFd, bool), i32> {
    let flags = flags | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: the path ends with a NUL byte.
    let descriptor = unsafe { libc::open(path.as_ptr(), flags, mode) };
    if descriptor < 0 {
        return Err(errno());
    }
    // SAFETY: opened just above, and nobody else's.
    let open = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: room for the answer.
    let kind =
        stat(|room| unsafe { libc::fstat(open.as_raw_fd(), room) }).map(|stat| stat.st_mode & libc::S_IFMT);
    match kind {
        Some(libc::S_IFDIR) => Err(libc::EISDIR),
        Some(libc::S_IFREG) => {
            // Regular files are read and written by efio, which wants them to wait.
            // SAFETY: changes the flags of this opening.
            unsafe {
                let now = libc::fcntl(open.as_raw_fd(), libc::F_GETFL);
                libc::fcntl(open.as_raw_fd(), libc::F_SETFL, now & !libc::O_NONBLOCK);
            }
            Ok((open, true))
        }
        Some(_) => Ok((open, false)),
        None => Err(errno()),
    }
}

/// Closes; the errno, or 0.
pub(crate) fn close(open: OwnedFd) -> i32 {
    // SAFETY: the descriptor is given up here.
    if unsafe { libc::close(open.into_raw_fd()) } == 0 { 0 } else { errno() }
}

fn counted(answer: isize) -> Result<usize, i32> {
    usize::try_from(answer).map_err(|_| match errno() {
        libc::EINTR => libc::EAGAIN,
        errno => errno,
    })
}

/// read(2).
pub(crate) fn read(open: &OwnedFd, into: &mut [u8]) -> Result<usize, i32> {
    // SAFETY: the slice is room for as many bytes.
    counted(unsafe { libc::read(open.as_raw_fd(), into.as_mut_ptr().cast(), into.len()) })
}

/// write(2).
pub(crate) fn write(open: &OwnedFd, from: &[u8]) -> Result<usize, i32> {
    // SAFETY: the slice is as many bytes.
    counted(unsafe { libc::write(open.as_raw_fd(), from.as_ptr().cast(), from.len()) })
}

/// Waits until the descriptor can do one of these, or somebody wakes, or the limit has passed.
pub(crate) fn wait(
    open: Option<&OwnedFd>,
    read: bool,
    write: bool,
    wake: &Descriptor,
    limit: Option<Duration>,
) -> Waited {
    let Ok(wake_number) = wake.make() else { return Waited::default() };
    let asked = if read { libc::POLLIN } else { 0 } | if write { libc::POLLOUT } else { 0 };
    // One that is asked for nothing is left out: its end alone would end the wait at once, each time.
    let number = open.filter(|_| asked != 0).map_or(-1, AsRawFd::as_raw_fd);
    let mut polled = [
        libc::pollfd { fd: wake_number, events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: number, events: asked, revents: 0 },
    ];
    let limit = limit.map_or(-1, |limit| i32::try_from(limit.as_millis() + 1).unwrap_or(i32::MAX));
    // SAFETY: the array is two entries.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), 2, limit) };
    if ready <= 0 {
        return Waited::default();
    }
    if polled[0].revents != 0 {
        wake.lower();
    }
    let news = polled[1].revents;
    let failed = news & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0;
    Waited {
        read: read && (failed || news & libc::POLLIN != 0),
        write: write && (failed || news & libc::POLLOUT != 0),
    }
}

/// Waits until somebody raises the descriptor, or the limit has passed, and leaves it as it is.
pub(crate) fn wait_for(descriptor: &Descriptor, limit: Option<Duration>) {
    let Ok(number) = descriptor.make() else { return };
    let mut polled = libc::pollfd { fd: number, events: libc::POLLIN, revents: 0 };
    let limit = limit.map_or(-1, |limit| i32::try_from(limit.as_millis() + 1).unwrap_or(i32::MAX));
    // SAFETY: one entry.
    unsafe { libc::poll(&raw mut polled, 1, limit) };
}
