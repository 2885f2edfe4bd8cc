//! Names to folders: a path as the process sees it, or beneath a folder that it cannot leave.
//!
//! Beneath a folder the kernel resolves (openat2), where it can; else each component is opened by itself, without
//! following links. Both refuse the same paths, by a look at the text first: the answer to a hostile name must not
//! depend on the kernel's age.
//!
//! | path | errno |
//! | --- | --- |
//! | empty, `a//b`, `a/` | `ENOENT`, `EINVAL`, `EISDIR` |
//! | absolute, `..` | `EXDEV` |
//! | `.` | `EINVAL` |
//! | a component over 255 bytes | `ENAMETOOLONG` |
//! | a symbolic link anywhere | `ELOOP` |

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use crate::job::{Folder, Handle, Name};
use crate::sys::call::Answer;
use crate::sys::open::Shape;
use crate::sys::raw;

/// The longest component of a path, in bytes.
const COMPONENT_MAX: usize = 255;

/// How names beneath a folder are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolver {
    /// By the kernel; where it does not know how, by walking.
    Kernel,
    /// Component by component.
    #[cfg_attr(
        any(not(test), efio_loom),
        allow(dead_code, reason = "chosen by tests; elsewhere the kernel's way falls back to it")
    )]
    Walk,
}

/// Always set: no descriptor of ours is inherited by another program, none becomes a controlling terminal.
pub(super) const ALWAYS: i32 = libc::O_CLOEXEC | libc::O_NOCTTY;

/// A folder to be looked into, and to be synced.
pub(super) const FOLDER: i32 = ALWAYS | libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NONBLOCK;

/// A folder to be passed through: needs no right to read it. (openat2 takes no further flag beside these.)
#[cfg(target_os = "linux")]
pub(super) const PASSAGE: i32 = libc::O_CLOEXEC | libc::O_PATH | libc::O_DIRECTORY;
#[cfg(not(target_os = "linux"))]
pub(super) const PASSAGE: i32 = FOLDER;

/// Refuses what no name beneath a folder may look like.
pub(super) fn check_beneath(path: &CStr) -> Answer<()> {
    let path = path.to_bytes();
    match path {
        [] => return Err(libc::ENOENT),
        [b'/', ..] => return Err(libc::EXDEV),
        [.., b'/'] => return Err(libc::EISDIR),
        _ => {}
    }
    path.split(|&byte| byte == b'/').try_for_each(|component| match component {
        b".." => Err(libc::EXDEV),
        b"" | b"." => Err(libc::EINVAL),
        long if long.len() > COMPONENT_MAX => Err(libc::ENAMETOOLONG),
        _ => Ok(()),
    })
}

/// Text without its zero byte, back to what the kernel takes.
fn path_of(bytes: &[u8]) -> Answer<CString> {
    CString::new(bytes).map_err(|_| libc::EINVAL)
}

/// The folder's part of a path and the last component; the first is empty for a path of one component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        None => (b"", path),
        Some(0) => (b"/", &path[1..]),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
    }
}

/// Opens a file or folder by its name.
pub(super) fn open(resolver: Resolver, name: &Name, flags: i32, mode: u32) -> Answer<OwnedFd> {
    match &name.beneath {
        None => raw::openat(libc::AT_FDCWD, &name.path, flags, mode),
        Some(folder) => {
            check_beneath(&name.path)?;
            open_beneath(resolver, folder.handle.0, &name.path, flags, mode)
        }
    }
}

#[cfg(target_os = "linux")]
fn open_beneath(resolver: Resolver, folder: i32, path: &CStr, flags: i32, mode: u32) -> Answer<OwnedFd> {
    const RESOLVE: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    if resolver == Resolver::Kernel {
        // This call, unlike the older ones, refuses a mode where nothing can be created.
        let mode = if flags & libc::O_CREAT == 0 { 0 } else { mode };
        match raw::openat2(folder, path, flags, mode, RESOLVE) {
            // Not known here, or kept from us by a filter; a refusal that is meant is met again below.
            Err(libc::ENOSYS | libc::EPERM) => {}
            // No such path comes as far as here: what the path names was renamed away as it was found.
            Err(libc::EXDEV) => {}
            answer => return answer,
        }
    }
    open_walking(folder, path, flags, mode)
}

#[cfg(not(target_os = "linux"))]
fn open_beneath(_resolver: Resolver, folder: i32, path: &CStr, flags: i32, mode: u32) -> Answer<OwnedFd> {
    open_walking(folder, path, flags, mode)
}

/// Opens each component in the one before, so that nothing that is swapped meanwhile leads out of the folder.
fn open_walking(folder: i32, path: &CStr, flags: i32, mode: u32) -> Answer<OwnedFd> {
    let (way, last) = split(path.to_bytes());
    let mut passed: Option<OwnedFd> = None;
    for component in way.split(|&byte| byte == b'/').filter(|component| !component.is_empty()) {
        passed = Some(step(at(passed.as_ref(), folder), &path_of(component)?, PASSAGE, 0)?);
    }
    step(at(passed.as_ref(), folder), &path_of(last)?, flags, mode)
}

fn at(passed: Option<&OwnedFd>, folder: i32) -> i32 {
    passed.map_or(folder, AsRawFd::as_raw_fd)
}

fn step(folder: i32, component: &CStr, flags: i32, mode: u32) -> Answer<OwnedFd> {
    let answer = raw::openat(folder, component, flags | libc::O_NOFOLLOW, mode);
    // A link where a folder must be is "not a folder" here, and "a link" to the kernel's own resolver; and some
    // systems have words of their own for a link at the end.
    let doubtful = matches!(answer, Err(libc::ENOTDIR | libc::EMLINK));
    if doubtful && is_link(folder, component) { Err(libc::ELOOP) } else { answer }
}

fn is_link(folder: i32, component: &CStr) -> bool {
    raw::metadata_at(folder, component, libc::AT_SYMLINK_NOFOLLOW)
        .is_ok_and(|metadata| Shape::of(metadata.stat.mode) == Shape::Link)
}

/// Opens a folder, to be kept.
pub(super) fn folder(resolver: Resolver, name: &Name) -> Answer<Folder> {
    let descriptor = match open(resolver, name, FOLDER, 0) {
        // Names can be made in a folder that cannot be read. Syncing it will then be refused, and say so.
        Err(libc::EACCES) => open(resolver, name, PASSAGE, 0)?,
        answer => answer?,
    };
    let handle = Handle(descriptor.as_raw_fd());
    Ok(Folder { handle, keeper: Arc::new(descriptor) })
}

/// Splits a name into the path of the folder, empty for the place where the name begins, and the last component.
pub(super) fn split_last(name: &Name) -> Answer<(&[u8], CString)> {
    if name.beneath.is_some() {
        check_beneath(&name.path)?;
    }
    let (way, last) = split(name.path.to_bytes());
    match last {
        b"" if way.is_empty() => Err(libc::ENOENT),
        b"" | b"." | b".." => Err(libc::EISDIR),
        last => Ok((way, path_of(last)?)),
    }
}

/// Opens the folder that holds `name`, and tells the last component.
pub(super) fn parent(resolver: Resolver, name: &Name) -> Answer<(Folder, CString)> {
    let (way, last) = split_last(name)?;
    let folder = match (&name.beneath, way) {
        (Some(folder), b"") => folder.clone(),
        (None, b"") => folder(resolver, &Name { beneath: None, path: c".".to_owned() })?,
        (beneath, way) => folder(resolver, &Name { beneath: beneath.clone(), path: path_of(way)? })?,
    };
    Ok((folder, last))
}
