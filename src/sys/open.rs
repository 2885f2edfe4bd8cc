//! The rules of opening: what is refused, without hanging on it and without harm to it.
//!
//! The file is opened so that neither a pipe nor a terminal can hold the open up; only then is it looked at, and
//! what is not a regular file (or, by option, a block device) is closed again untouched. Truncating comes after
//! that look, never with the open itself. An atomic file is made without a name where the file system can, else
//! under a hidden one beside its target; either way its mode is 0600 until it is published.

use std::ffi::CString;

use crate::error::Operation;
use crate::job::{Fault, Folder, Handle, OpenWork, Opened, Staged, Stat};
use crate::sys::call::{Disk, Spot, again, during, uninterrupted};
use crate::sys::publish::hidden_name;

/// The note of a refused folder.
pub(crate) const FOLDER_NOTE: &str = "it is a folder, not a regular file";
/// The note of a refused pipe.
pub(crate) const PIPE_NOTE: &str = "it is a pipe, not a regular file";
/// The note of a refused character device.
pub(crate) const CHARACTER_NOTE: &str = "it is a character device, not a regular file";
/// The note of a refused block device.
pub(crate) const BLOCK_NOTE: &str = "it is a block device, not a regular file";
/// The note of a refused socket.
pub(crate) const SOCKET_NOTE: &str = "it is a socket, not a regular file";
/// The note of anything else.
pub(crate) const ODD_NOTE: &str = "it is something else, not a regular file";

/// How often a hidden name may turn out to be taken. 64 random bits clash never; a file system that is out of its
/// mind must not hold a thread for ever.
const HIDDEN_TRIES: u32 = 16;

/// What lies behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Regular,
    Folder,
    Link,
    Pipe,
    Character,
    Block,
    Socket,
    Odd,
}

impl Shape {
    /// By the upper bits of a mode, the same on every Unix.
    pub(crate) fn of(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o100_000 => Self::Regular,
            0o040_000 => Self::Folder,
            0o120_000 => Self::Link,
            0o010_000 => Self::Pipe,
            0o020_000 => Self::Character,
            0o060_000 => Self::Block,
            0o140_000 => Self::Socket,
            _ => Self::Odd,
        }
    }

    /// Why a file of this shape is not opened; `None` if it is.
    fn refusal(self, block_device: bool) -> Option<Fault> {
        let (errno, note) = match self {
            Self::Regular => return None,
            Self::Block if block_device => return None,
            Self::Folder => (libc::EISDIR, FOLDER_NOTE),
            Self::Pipe => (libc::ENXIO, PIPE_NOTE),
            Self::Socket => (libc::ENXIO, SOCKET_NOTE),
            Self::Character => (libc::EINVAL, CHARACTER_NOTE),
            Self::Block => (libc::EINVAL, BLOCK_NOTE),
            Self::Link => (libc::ELOOP, ODD_NOTE),
            Self::Odd => (libc::EINVAL, ODD_NOTE),
        };
        Some(Fault { note, ..Fault::new(Operation::Open, errno) })
    }
}

/// Opens a file, or makes a staged one.
pub(crate) fn open(disk: &impl Disk, work: &OpenWork) -> Result<Opened, Fault> {
    if work.atomic { open_staged(disk, work) } else { open_plain(disk, work) }
}

fn open_plain(disk: &impl Disk, work: &OpenWork) -> Result<Opened, Fault> {
    if work.look_first {
        let refusal = look(disk, work).and_then(|stat| Shape::of(stat.mode).refusal(work.block_device));
        refusal.map_or(Ok(()), Err)?;
    }
    let handle = again(disk, || disk.open(work)).map_err(|errno| explain(disk, work, errno))?;
    inspect(disk, work, handle, true).inspect_err(|_| {
        // Nothing was written, so there is nothing that this close could lose.
        let _ = disk.close(handle);
    })
}

/// Refuses what is no regular file; truncates, if asked to, what is one.
///
/// `fresh`: the handle was opened here, in a way that has to be settled.
pub(crate) fn inspect(
    disk: &impl Disk,
    work: &OpenWork,
    handle: Handle,
    fresh: bool,
) -> Result<Opened, Fault> {
    let facts = again(disk, || disk.facts(handle)).map_err(during(Operation::Open))?;
    let shape = Shape::of(facts.stat.mode);
    if let Some(fault) = shape.refusal(work.block_device) {
        return Err(fault);
    }
    let mut size = facts.stat.size;
    if work.truncate && shape == Shape::Regular && size > 0 {
        again(disk, || disk.truncate(handle, 0)).map_err(during(Operation::Open))?;
        size = 0;
    }
    if fresh {
        // What is read ahead into the page cache would stay there.
        let ahead = work.read && !work.uncached;
        uninterrupted(|| disk.settle(handle, ahead, size)).map_err(during(Operation::Open))?;
    }
    // So would what a first try brings in: it has the kernel read ahead, too.
    let nowait = facts.nowait && !work.uncached;
    Ok(Opened { handle, size, device: facts.device, nowait, staged: None })
}

/// The kernel's answer to a pipe without a reader, to a socket, to a folder: say what it is.
fn explain(disk: &impl Disk, work: &OpenWork, errno: i32) -> Fault {
    let telling = [libc::ENXIO, libc::EISDIR, libc::ENODEV, libc::EOPNOTSUPP, libc::ENOTDIR].contains(&errno);
    let stat = if telling { look(disk, work) } else { None };
    let refusal = stat.and_then(|stat| Shape::of(stat.mode).refusal(work.block_device));
    refusal.filter(|fault| fault.note != ODD_NOTE).unwrap_or(Fault::new(Operation::Open, errno))
}

fn look(disk: &impl Disk, work: &OpenWork) -> Option<Stat> {
    let spot = again(disk, || disk.locate(&work.name)).ok()?;
    again(disk, || disk.stat(&spot, true)).ok()
}

/// Makes the file that is to take the target's name later.
///
/// A target that is a symbolic link is replaced itself, as rename(2) does; what it points at stays as it is.
fn open_staged(disk: &impl Disk, work: &OpenWork) -> Result<Opened, Fault> {
    let (folder, target) = again(disk, || disk.parent(&work.name)).map_err(during(Operation::Open))?;
    let spot = Spot::within(&folder, &target);
    match again(disk, || disk.stat(&spot, false)) {
        Ok(_) if work.create_new => return Err(Fault::new(Operation::Open, libc::EEXIST)),
        Ok(stat) => match Shape::of(stat.mode) {
            Shape::Link => {}
            shape => shape.refusal(false).map_or(Ok(()), Err)?,
        },
        Err(libc::ENOENT) if work.create || work.create_new => {}
        Err(errno) => return Err(Fault::new(Operation::Open, errno)),
    }
    let (handle, hidden) = make_staged(disk, work, &folder, &target)?;
    let mut staged =
        Box::new(Staged { folder, hidden, target, create_new: work.create_new, mode: work.mode });
    match inspect(disk, work, handle, true) {
        Ok(opened) => Ok(Opened { staged: Some(staged), ..opened }),
        Err(fault) => {
            // The open has failed already and says why; these two can only add to the litter, not to the reason.
            let _ = crate::sys::publish::remove_hidden(disk, &mut staged);
            let _ = disk.close(handle);
            Err(fault)
        }
    }
}

fn make_staged(
    disk: &impl Disk,
    work: &OpenWork,
    folder: &Folder,
    target: &CString,
) -> Result<(Handle, Option<CString>), Fault> {
    match again(disk, || disk.open_unnamed(folder, target, work)) {
        Ok(handle) => return Ok((handle, None)),
        // Refused by this file system or this kernel; if the reason is another one, the next step meets it too.
        Err(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT | libc::EINVAL | libc::ENOSYS | libc::EPERM) => {}
        Err(errno) => return Err(Fault::new(Operation::Open, errno)),
    }
    for _ in 0..HIDDEN_TRIES {
        let hidden = hidden_name(disk.random());
        match again(disk, || disk.open_hidden(folder, &hidden, target, work)) {
            Ok(handle) => return Ok((handle, Some(hidden))),
            Err(libc::EEXIST) => {}
            Err(errno) => return Err(Fault::new(Operation::Open, errno)),
        }
    }
    Err(Fault::new(Operation::Open, libc::EEXIST))
}
