//! The operating system as a disk.

mod cache;
mod handles;
mod names;

use std::ffi::{CStr, CString};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::IntoRawFd;
use std::time::Duration;

use crate::job::{Folder, Handle, Name, OpenWork, Place, Slices, Stat};
use crate::sync::thread;
use crate::sys::call::{Answer, Disk, Facts, Spot};
use crate::sys::open::Shape;
use crate::sys::path::{self, ALWAYS, Resolver};
use crate::sys::raw;

/// How much of a file is asked for in advance when it is opened for reading, in bytes: the kernel's own first window.
#[cfg(target_os = "linux")]
const READ_AHEAD: u32 = 128 * 1024;

/// Flags of open(2) that are efio's to set, or that would open something else than a file.
const OWN_FLAGS: i32 = libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_EXCL
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | OWN_LINUX_FLAGS;

/// `O_TMPFILE` without the `O_DIRECTORY` in it, and `O_PATH`.
#[cfg(target_os = "linux")]
const OWN_LINUX_FLAGS: i32 = (libc::O_TMPFILE & !libc::O_DIRECTORY) | libc::O_PATH;
#[cfg(not(target_os = "linux"))]
const OWN_LINUX_FLAGS: i32 = 0;

/// The operating system. The fields choose the ways that an older or poorer system leaves, for tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Os {
    pub(crate) resolver: Resolver,
    /// Staged files may be without a name (O_TMPFILE).
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has such files"))]
    pub(crate) unnamed: bool,
    /// The kernel may be asked to drop what a transfer brings into its cache.
    pub(crate) drops: bool,
}

impl Os {
    pub(crate) const fn new() -> Self {
        Self { resolver: Resolver::Kernel, unnamed: true, drops: true }
    }
}

/// The flags that every open of this file has.
fn flags(work: &OpenWork) -> i32 {
    let access = match (work.read, work.write || work.append) {
        (true, true) => libc::O_RDWR,
        (false, true) => libc::O_WRONLY,
        (_, false) => libc::O_RDONLY,
    };
    let also = |wanted: bool, flag: i32| if wanted { flag } else { 0 };
    ALWAYS
        | access
        | also(work.append, libc::O_APPEND)
        | also(work.data_sync, libc::O_DSYNC)
        | (work.custom_flags & !OWN_FLAGS)
}

fn at(spot: &Spot) -> i32 {
    spot.folder.as_ref().map_or(libc::AT_FDCWD, |folder| folder.handle.0)
}

/// Whether an attempt to read what is in memory is worth it: not where every read is a message to someone else.
#[cfg(target_os = "linux")]
fn nowait(descriptor: i32) -> bool {
    /// FUSE, NFS, SMB in its three ages, 9p, AFS twice, Ceph, Coda.
    const DISTANT: [u32; 10] = [
        0x6573_5546,
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x0102_1997,
        0x5346_414f,
        0x6b41_4653,
        0x00c3_6400,
        0x7375_7245,
    ];
    raw::file_system(descriptor).is_ok_and(|kind| !DISTANT.contains(&kind))
}

#[cfg(not(target_os = "linux"))]
fn nowait(_descriptor: i32) -> bool {
    false
}

/// The umask by the kernel's own account, which needs no setting.
fn told_mask() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

impl Disk for Os {
    fn locate(&self, name: &Name) -> Answer<Spot> {
        if name.beneath.is_none() {
            return Ok(Spot { folder: None, path: name.path.clone() });
        }
        let (folder, path) = path::parent(self.resolver, name)?;
        Ok(Spot { folder: Some(folder), path })
    }

    fn parent(&self, name: &Name) -> Answer<(Folder, CString)> {
        path::parent(self.resolver, name)
    }

    fn open_folder(&self, name: &Name) -> Answer<Folder> {
        path::folder(self.resolver, name)
    }

    fn open(&self, work: &OpenWork) -> Answer<Handle> {
        let creation = match (work.create, work.create_new) {
            (_, true) => libc::O_CREAT | libc::O_EXCL,
            (true, false) => libc::O_CREAT,
            (false, false) => 0,
        };
        let flags = flags(work) | creation | libc::O_NONBLOCK;
        let descriptor = path::open(self.resolver, &work.name, flags, work.mode & 0o7777)?;
        Ok(Handle(descriptor.into_raw_fd()))
    }

    #[cfg(target_os = "linux")]
    fn open_unnamed(&self, folder: &Folder, _target: &CStr, work: &OpenWork) -> Answer<Handle> {
        // The name is given through /proc later; where that is not mounted, a hidden name it must be.
        if !self.unnamed || raw::metadata_at(libc::AT_FDCWD, c"/proc/self/fd", 0).is_err() {
            return Err(libc::EOPNOTSUPP);
        }
        let descriptor = raw::openat(folder.handle.0, c".", flags(work) | libc::O_TMPFILE, 0o600)?;
        Ok(Handle(descriptor.into_raw_fd()))
    }

    #[cfg(not(target_os = "linux"))]
    fn open_unnamed(&self, _folder: &Folder, _target: &CStr, _work: &OpenWork) -> Answer<Handle> {
        Err(libc::EOPNOTSUPP)
    }

    fn open_hidden(&self, folder: &Folder, hidden: &CStr, _target: &CStr, work: &OpenWork) -> Answer<Handle> {
        let flags = flags(work) | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        let descriptor = raw::openat(folder.handle.0, hidden, flags, 0o600)?;
        Ok(Handle(descriptor.into_raw_fd()))
    }

    fn facts(&self, handle: Handle) -> Answer<Facts> {
        let metadata = raw::metadata(handle.0)?;
        let mut stat = metadata.stat;
        let mut device = stat.device;
        if Shape::of(stat.mode) == Shape::Block {
            stat.size = raw::end_offset(handle.0)?;
            device = metadata.special;
        }
        Ok(Facts { stat, device, nowait: nowait(handle.0) })
    }

    fn settle(&self, handle: Handle, read: bool, size: u64) -> Answer<()> {
        #[cfg(target_os = "linux")]
        if read && size > 0 {
            raw::will_need(handle.0, READ_AHEAD);
            if size > u64::from(READ_AHEAD) {
                raw::in_sequence(handle.0);
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (read, size);
        raw::clear_nonblock(handle.0)
    }

    fn close(&self, handle: Handle) -> Answer<()> {
        raw::close(handle.0)
    }

    fn read(&self, handle: Handle, into: &Slices, offset: u64) -> Answer<usize> {
        raw::read(handle.0, into, offset)
    }

    fn write(&self, handle: Handle, from: &Slices, place: Place) -> Answer<usize> {
        raw::write(handle.0, from, place)
    }

    fn sync_data(&self, handle: Handle) -> Answer<()> {
        raw::sync_data(handle.0)
    }

    fn sync_folder(&self, folder: &Folder) -> Answer<()> {
        raw::sync_all(folder.handle.0)
    }

    fn truncate(&self, handle: Handle, size: u64) -> Answer<()> {
        raw::truncate(handle.0, size)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, handle: Handle, offset: u64, bytes: u64, keep_size: bool) -> Answer<()> {
        raw::allocate(handle.0, offset, bytes, keep_size)
    }

    /// Room cannot be reserved here; a size that is asked for can be had.
    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, handle: Handle, offset: u64, bytes: u64, keep_size: bool) -> Answer<()> {
        let end = offset.checked_add(bytes).ok_or(libc::EFBIG)?;
        match raw::metadata(handle.0)?.stat.size {
            _ if keep_size => Err(libc::EOPNOTSUPP),
            size if size >= end => Ok(()),
            _ => raw::truncate(handle.0, end),
        }
    }

    /// Asked for at each publishing: a program may change it, and a plain open would heed it too.
    fn mask(&self) -> u32 {
        told_mask().unwrap_or_else(raw::mask_by_setting)
    }

    fn set_mode(&self, handle: Handle, mode: u32) -> Answer<()> {
        raw::set_mode(handle.0, mode)
    }

    fn link_unnamed(&self, handle: Handle, to: &Spot) -> Answer<()> {
        let from = CString::new(format!("/proc/self/fd/{}", handle.0)).map_err(|_| libc::EINVAL)?;
        raw::link(libc::AT_FDCWD, &from, at(to), &to.path, true)
    }

    fn link(&self, from: &Spot, to: &Spot) -> Answer<()> {
        raw::link(at(from), &from.path, at(to), &to.path, false)
    }

    fn rename(&self, from: &Spot, to: &Spot, replace: bool) -> Answer<()> {
        if replace {
            return raw::rename(at(from), &from.path, at(to), &to.path);
        }
        #[cfg(target_os = "linux")]
        return raw::rename_new(at(from), &from.path, at(to), &to.path);
        #[cfg(not(target_os = "linux"))]
        Err(libc::ENOSYS)
    }

    fn unlink(&self, spot: &Spot, folder: bool) -> Answer<()> {
        raw::unlink(at(spot), &spot.path, folder)
    }

    fn stat(&self, spot: &Spot, follow: bool) -> Answer<Stat> {
        let beneath = spot.folder.is_some();
        let flags = if follow && !beneath { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
        let stat = raw::metadata_at(at(spot), &spot.path, flags)?.stat;
        let link = Shape::of(stat.mode) == Shape::Link;
        if link && follow { Err(libc::ELOOP) } else { Ok(stat) }
    }

    fn random(&self) -> u64 {
        // The standard library's hash keys come from the same source, kept from when it still gave.
        raw::random().unwrap_or_else(|| RandomState::new().hash_one(raw::now_ns()))
    }

    fn pause(&self) {
        thread::sleep(Duration::from_millis(10));
    }
}

/// What this kernel can do, tried on names that every system has.
#[cfg(target_os = "linux")]
pub(super) fn features() -> crate::sys::Features {
    use std::os::fd::AsRawFd;
    const BENEATH: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS;
    let folder = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let resolves_beneath = raw::openat2(libc::AT_FDCWD, c".", folder, 0, BENEATH).is_ok();
    let own = raw::openat(libc::AT_FDCWD, c"/proc/self/exe", libc::O_RDONLY | libc::O_CLOEXEC, 0);
    let read = own.and_then(|file| raw::read_nowait(file.as_raw_fd(), 0, &mut [0]));
    crate::sys::Features { read_nowait: matches!(read, Ok(_) | Err(libc::EAGAIN)), resolves_beneath }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn features() -> crate::sys::Features {
    crate::sys::Features::default()
}
