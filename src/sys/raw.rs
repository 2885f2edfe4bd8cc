//! The system calls, one function each; errors are errnos, nothing is retried, nothing decided.
#![allow(unsafe_code, reason = "calls into the C library")]
//!
//! Who calls keeps the descriptors valid: a [`Handle`](crate::job::Handle) is closed by its one close job, a folder
//! by the last clone of its keeper. A wrong number would be answered with `EBADF`, which is no memory error; that is
//! why these functions are safe to call.

pub(super) mod cache;
pub(super) mod handles;
pub(super) mod names;

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::job::{Place, SLICES_MAX, Slices, Stat};
use crate::sys::call::{Answer, TRANSFER_MAX};

#[cfg(all(target_os = "linux", not(target_env = "gnu")))]
use libc::{fallocate, posix_fadvise, preadv2, pwritev2};
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use libc::{
    fallocate64 as fallocate, fstat64 as fstat, fstatat64 as fstatat, ftruncate64 as ftruncate,
    lseek64 as lseek, off64_t as off_t, posix_fadvise64 as posix_fadvise, preadv64 as preadv,
    preadv64v2 as preadv2, pwritev64 as pwritev, pwritev64v2 as pwritev2, stat64 as stat,
};
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
use libc::{fstat, fstatat, ftruncate, lseek, off_t, preadv, pwritev, stat};

/// Metadata, its widths the same on every system.
pub(super) struct Metadata {
    pub(super) stat: Stat,
    /// The device that a device file stands for.
    pub(super) special: u64,
}

fn ns(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

#[allow(clippy::unnecessary_cast, reason = "the widths differ between systems")]
fn known(told: &stat) -> Metadata {
    let stat = Stat {
        size: told.st_size as u64,
        mode: told.st_mode as u32,
        modified_ns: ns(told.st_mtime as i64, told.st_mtime_nsec as i64),
        accessed_ns: ns(told.st_atime as i64, told.st_atime_nsec as i64),
        device: told.st_dev as u64,
        inode: told.st_ino as u64,
        links: told.st_nlink as u64,
        user: told.st_uid,
        group: told.st_gid,
    };
    Metadata { stat, special: told.st_rdev as u64 }
}

/// The errno of the call that just failed.
pub(super) fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

fn number(result: libc::c_int) -> Answer<i32> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

fn nothing(result: libc::c_int) -> Answer<()> {
    number(result).map(drop)
}

fn count(result: isize) -> Answer<usize> {
    usize::try_from(result).map_err(|_| errno())
}

/// The slices as the kernel wants them, cut at [`TRANSFER_MAX`] bytes.
fn vectors(slices: &Slices) -> ([libc::iovec; SLICES_MAX], libc::c_int) {
    let mut list = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; SLICES_MAX];
    let mut room = TRANSFER_MAX;
    let mut used = 0;
    for (vector, slice) in list.iter_mut().zip(slices.as_slice()) {
        if room == 0 {
            break;
        }
        vector.iov_base = slice.start.cast();
        vector.iov_len = slice.len.min(room);
        room -= vector.iov_len;
        used += 1;
    }
    (list, used)
}

pub(super) fn openat(folder: i32, path: &CStr, flags: i32, mode: u32) -> Answer<OwnedFd> {
    // SAFETY: the path ends with a zero byte and outlives the call; the mode is passed as the vararg's own type.
    let descriptor = number(unsafe { libc::openat(folder, path.as_ptr(), flags, mode as libc::c_uint) })?;
    // SAFETY: the call has just made it, so no one else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(target_os = "linux")]
pub(super) fn openat2(folder: i32, path: &CStr, flags: i32, mode: u32, resolve: u64) -> Answer<OwnedFd> {
    // `open_how`, as the kernel's first version of it: three integers of 64 bits.
    let how: [u64; 3] = [u64::from(flags as u32), u64::from(mode), resolve];
    // SAFETY: the path ends with a zero byte, `how` is of the size told, and both outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_openat2, folder, path.as_ptr(), how.as_ptr(), std::mem::size_of_val(&how))
    };
    let descriptor = number(result as libc::c_int)?;
    // SAFETY: the call has just made it, so no one else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

pub(super) fn close(descriptor: i32) -> Answer<()> {
    // SAFETY: the caller owns the descriptor and gives it up; see the head of this file.
    nothing(unsafe { libc::close(descriptor) })
}

pub(super) fn read(descriptor: i32, into: &Slices, offset: u64) -> Answer<usize> {
    let offset = off_t::try_from(offset).map_err(|_| libc::EINVAL)?;
    let (list, used) = vectors(into);
    // SAFETY: the first `used` vectors describe memory that the job's file has given up until its `Done`.
    count(unsafe { preadv(descriptor, list.as_ptr(), used, offset) })
}

/// From the place where the descriptor stands.
pub(super) fn receive(descriptor: i32, into: &mut [MaybeUninit<u8>]) -> Answer<usize> {
    let bytes = into.len().min(TRANSFER_MAX);
    // SAFETY: `into` is borrowed mutably for the call, and the kernel only writes to it.
    count(unsafe { libc::read(descriptor, into.as_mut_ptr().cast(), bytes) })
}

#[cfg(target_os = "linux")]
pub(super) fn read_nowait(descriptor: i32, offset: u64, into: &mut [u8]) -> Answer<usize> {
    let offset = off_t::try_from(offset).map_err(|_| libc::EINVAL)?;
    let vector = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len().min(TRANSFER_MAX) };
    // SAFETY: the one vector describes `into`, borrowed mutably for the call.
    count(unsafe { preadv2(descriptor, &raw const vector, 1, offset, libc::RWF_NOWAIT) })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read_nowait(_descriptor: i32, _offset: u64, _into: &mut [u8]) -> Answer<usize> {
    Err(libc::EOPNOTSUPP)
}

pub(super) fn write(descriptor: i32, from: &Slices, place: Place) -> Answer<usize> {
    let (list, used) = vectors(from);
    match place {
        Place::At(offset) => {
            let offset = off_t::try_from(offset).map_err(|_| libc::EFBIG)?;
            // SAFETY: the first `used` vectors describe bytes that do not change until the job's `Done`.
            count(unsafe { pwritev(descriptor, list.as_ptr(), used, offset) })
        }
        // SAFETY: as above.
        Place::End | Place::SyncedEnd => count(unsafe { libc::writev(descriptor, list.as_ptr(), used) }),
    }
}

pub(super) fn sync_data(descriptor: i32) -> Answer<()> {
    // SAFETY: takes a number only.
    #[cfg(target_os = "linux")]
    let result = unsafe { libc::fdatasync(descriptor) };
    // SAFETY: takes numbers only. fsync(2) stops at the drive's own memory on these systems.
    #[cfg(target_vendor = "apple")]
    let result = unsafe { libc::fcntl(descriptor, libc::F_FULLFSYNC) };
    // SAFETY: takes a number only.
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    let result = unsafe { libc::fsync(descriptor) };
    nothing(result)
}

pub(super) fn sync_all(descriptor: i32) -> Answer<()> {
    // SAFETY: takes a number only.
    nothing(unsafe { libc::fsync(descriptor) })
}

pub(super) fn truncate(descriptor: i32, size: u64) -> Answer<()> {
    let size = off_t::try_from(size).map_err(|_| libc::EFBIG)?;
    // SAFETY: takes numbers only.
    nothing(unsafe { ftruncate(descriptor, size) })
}

#[cfg(target_os = "linux")]
pub(super) fn allocate(descriptor: i32, offset: u64, bytes: u64, keep_size: bool) -> Answer<()> {
    let offset = off_t::try_from(offset).map_err(|_| libc::EFBIG)?;
    let bytes = off_t::try_from(bytes).map_err(|_| libc::EFBIG)?;
    let mode = if keep_size { libc::FALLOC_FL_KEEP_SIZE } else { 0 };
    // SAFETY: takes numbers only.
    nothing(unsafe { fallocate(descriptor, mode, offset, bytes) })
}

pub(super) fn metadata(descriptor: i32) -> Answer<Metadata> {
    let mut metadata = MaybeUninit::<stat>::zeroed();
    // SAFETY: `metadata` has room for what the call writes.
    nothing(unsafe { fstat(descriptor, metadata.as_mut_ptr()) })?;
    // SAFETY: zeroed before and filled by the call that succeeded; the type holds integers only.
    Ok(known(&unsafe { metadata.assume_init() }))
}

pub(super) fn metadata_at(folder: i32, path: &CStr, flags: i32) -> Answer<Metadata> {
    let mut metadata = MaybeUninit::<stat>::zeroed();
    // SAFETY: the path ends with a zero byte; `metadata` has room for what the call writes.
    nothing(unsafe { fstatat(folder, path.as_ptr(), metadata.as_mut_ptr(), flags) })?;
    // SAFETY: zeroed before and filled by the call that succeeded; the type holds integers only.
    Ok(known(&unsafe { metadata.assume_init() }))
}

/// The size of a block device, which its metadata does not tell.
pub(super) fn end_offset(descriptor: i32) -> Answer<u64> {
    // SAFETY: takes numbers only, as below.
    let offset = unsafe { lseek(descriptor, 0, libc::SEEK_CUR) };
    let offset = if offset < 0 { return Err(errno()) } else { offset };
    // SAFETY: as above.
    let end = unsafe { lseek(descriptor, 0, libc::SEEK_END) };
    let end = u64::try_from(end).map_err(|_| errno())?;
    // SAFETY: as above. Calls here are by offset or append; but an adopted descriptor may be shared with who does otherwise.
    if unsafe { lseek(descriptor, offset, libc::SEEK_SET) } < 0 { Err(errno()) } else { Ok(end) }
}

/// The number by which the kernel knows the kind of file system.
#[cfg(target_os = "linux")]
pub(super) fn file_system(descriptor: i32) -> Answer<u32> {
    let mut answer = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `answer` has room for what the call writes.
    nothing(unsafe { libc::fstatfs(descriptor, answer.as_mut_ptr()) })?;
    // SAFETY: zeroed before and filled by the call that succeeded; the type holds integers only.
    Ok(unsafe { answer.assume_init() }.f_type as u32)
}

/// Tells the kernel that the first bytes will be read soon; that it will not hear of it is no error.
#[cfg(target_os = "linux")]
pub(super) fn will_need(descriptor: i32, bytes: u32) {
    // SAFETY: takes numbers only.
    unsafe { posix_fadvise(descriptor, 0, off_t::from(bytes), libc::POSIX_FADV_WILLNEED) };
}

/// Tells the kernel that the file will be read from one end to the other, for which it reads twice as far ahead.
#[cfg(target_os = "linux")]
pub(super) fn in_sequence(descriptor: i32) {
    // SAFETY: takes numbers only.
    unsafe { posix_fadvise(descriptor, 0, 0, libc::POSIX_FADV_SEQUENTIAL) };
}

/// Clears `O_NONBLOCK`, and leaves the other flags.
pub(super) fn clear_nonblock(descriptor: i32) -> Answer<()> {
    // SAFETY: takes numbers only.
    let flags = number(unsafe { libc::fcntl(descriptor, libc::F_GETFL) })?;
    // SAFETY: takes numbers only.
    nothing(unsafe { libc::fcntl(descriptor, libc::F_SETFL, flags & !libc::O_NONBLOCK) })
}

pub(super) fn set_mode(descriptor: i32, mode: u32) -> Answer<()> {
    // SAFETY: takes numbers only.
    nothing(unsafe { libc::fchmod(descriptor, mode as libc::mode_t) })
}

pub(super) fn link(from_folder: i32, from: &CStr, to_folder: i32, to: &CStr, follow: bool) -> Answer<()> {
    let flags = if follow { libc::AT_SYMLINK_FOLLOW } else { 0 };
    // SAFETY: both paths end with a zero byte and outlive the call.
    nothing(unsafe { libc::linkat(from_folder, from.as_ptr(), to_folder, to.as_ptr(), flags) })
}

pub(super) fn rename(from_folder: i32, from: &CStr, to_folder: i32, to: &CStr) -> Answer<()> {
    // SAFETY: both paths end with a zero byte and outlive the call.
    nothing(unsafe { libc::renameat(from_folder, from.as_ptr(), to_folder, to.as_ptr()) })
}

/// Renames to a name that must not exist yet.
#[cfg(target_os = "linux")]
pub(super) fn rename_new(from_folder: i32, from: &CStr, to_folder: i32, to: &CStr) -> Answer<()> {
    // By number: not every C library has a function for it.
    // SAFETY: both paths end with a zero byte and outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            from_folder,
            from.as_ptr(),
            to_folder,
            to.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    nothing(result as libc::c_int)
}

pub(super) fn unlink(folder: i32, path: &CStr, is_folder: bool) -> Answer<()> {
    let flags = if is_folder { libc::AT_REMOVEDIR } else { 0 };
    // SAFETY: the path ends with a zero byte and outlives the call.
    nothing(unsafe { libc::unlinkat(folder, path.as_ptr(), flags) })
}

/// Asks for the umask by setting it and putting it back.
///
/// A file that another thread makes in between gets the mode it asked for less write rights of others; so this is
/// the last resort.
#[allow(clippy::unnecessary_cast, reason = "the widths differ between systems")]
pub(super) fn mask_by_setting() -> u32 {
    // SAFETY: takes numbers only.
    let mask = unsafe { libc::umask(0o077) };
    // SAFETY: as above.
    unsafe { libc::umask(mask) };
    mask as u32
}

/// 64 bits that no one can foretell; `None` if the kernel gives none.
pub(super) fn random() -> Option<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: `bytes` is as long as told.
    #[cfg(target_os = "linux")]
    let whole = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) } == 8;
    // SAFETY: `bytes` is as long as told.
    #[cfg(not(target_os = "linux"))]
    let whole = unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), bytes.len()) } == 0;
    whole.then(|| u64::from_le_bytes(bytes))
}

/// CLOCK_MONOTONIC, in nanoseconds.
pub(super) fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` has room for what the call writes. It cannot fail: every Unix has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
