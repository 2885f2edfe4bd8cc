//! The operating system's names: folders, links, lists of a folder, modes and times.

use std::ffi::CStr;
#[cfg(target_os = "linux")]
use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::{Os, at};
use crate::job::names::{Batch, Cursor, Times, kind};
use crate::job::{Folder, Handle};
use crate::sys::call::{Answer, Spot};
use crate::sys::names::NameDisk;
#[cfg(target_os = "linux")]
use crate::sys::open::Shape;
use crate::sys::path::FOLDER;
use crate::sys::raw;

/// The first try at what a link says, in bytes; a longer one is read again.
const LINK_BYTES: usize = 256;

/// The longest text of a link that is read, in bytes.
const LINK_BYTES_MAX: usize = 1 << 20;

/// What an entry's own word for its kind means.
fn kind_of(word: u8) -> u8 {
    match word {
        libc::DT_REG => kind::FILE,
        libc::DT_DIR => kind::FOLDER,
        libc::DT_LNK => kind::LINK,
        libc::DT_UNKNOWN => kind::UNKNOWN,
        _ => kind::OTHER,
    }
}

impl NameDisk for Os {
    fn make_folder(&self, spot: &Spot, mode: u32) -> Answer<()> {
        raw::names::make_folder(at(spot), &spot.path, mode)
    }

    fn link_name(&self, from: &Spot, to: &Spot) -> Answer<()> {
        raw::link(at(from), &from.path, at(to), &to.path, false)
    }

    fn make_link(&self, target: &CStr, spot: &Spot) -> Answer<()> {
        raw::names::make_link(target, at(spot), &spot.path)
    }

    fn read_link(&self, spot: &Spot) -> Answer<Vec<u8>> {
        let mut text = vec![0; LINK_BYTES];
        loop {
            let bytes = raw::names::read_link(at(spot), &spot.path, &mut text)?;
            if bytes < text.len() {
                text.truncate(bytes);
                return Ok(text);
            }
            if text.len() >= LINK_BYTES_MAX {
                return Err(libc::ENAMETOOLONG);
            }
            text.resize(text.len() * 2, 0);
        }
    }

    fn set_mode_of(&self, spot: &Spot, mode: u32) -> Answer<()> {
        match &spot.folder {
            None => raw::names::set_mode_of(libc::AT_FDCWD, &spot.path, mode),
            Some(folder) => set_mode_beneath(folder, &spot.path, mode),
        }
    }

    fn set_times_of(&self, spot: &Spot, times: Times, follow: bool) -> Answer<()> {
        raw::names::set_times_of(at(spot), &spot.path, times, follow && spot.folder.is_none())
    }

    #[cfg(target_os = "linux")]
    fn open_cursor(&self, folder: &Folder) -> Answer<Cursor> {
        let descriptor = raw::openat(folder.handle.0, c".", FOLDER, 0)?;
        let handle = Handle(descriptor.as_raw_fd());
        Ok(Cursor { folder: Folder { handle, keeper: Arc::new(descriptor) }, after: Vec::new() })
    }

    #[cfg(not(target_os = "linux"))]
    fn open_cursor(&self, folder: &Folder) -> Answer<Cursor> {
        let descriptor = raw::openat(folder.handle.0, c".", FOLDER, 0)?;
        let handle = Handle(descriptor.as_raw_fd());
        let stream = raw::names::Stream::new(descriptor)?;
        Ok(Cursor { folder: Folder { handle, keeper: Arc::new(stream) }, after: Vec::new() })
    }

    #[cfg(target_os = "linux")]
    fn read_folder(&self, cursor: &mut Cursor, batch: &mut Batch) -> Answer<bool> {
        read_kernel(|room| raw::names::entries(cursor.folder.handle.0, room), batch)
    }

    #[cfg(not(target_os = "linux"))]
    fn read_folder(&self, cursor: &mut Cursor, batch: &mut Batch) -> Answer<bool> {
        let stream = cursor.folder.keeper.downcast_ref::<raw::names::Stream>().ok_or(libc::EBADF)?;
        Ok(stream.read(|inode, word, name| is_own(name) || batch.push(inode, kind_of(word), name)))
    }
}

/// The folder itself and the one above it, which are no entries of it.
fn is_own(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

/// The mode of what the name leads to, opened so that nothing happens to it and no link is followed.
#[cfg(target_os = "linux")]
fn set_mode_beneath(folder: &Folder, name: &CStr, mode: u32) -> Answer<()> {
    let found = raw::openat(folder.handle.0, name, libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC, 0)?;
    if Shape::of(raw::metadata(found.as_raw_fd())?.stat.mode) == Shape::Link {
        return Err(libc::ELOOP);
    }
    // A descriptor of this kind takes no fchmod(2); its name in /proc leads to the file itself.
    let path = CString::new(format!("/proc/self/fd/{}", found.as_raw_fd())).map_err(|_| libc::EINVAL)?;
    match raw::names::set_mode_of(libc::AT_FDCWD, &path, mode) {
        Err(libc::ENOENT) => Err(libc::EOPNOTSUPP),
        answer => answer,
    }
}

#[cfg(not(target_os = "linux"))]
fn set_mode_beneath(folder: &Folder, name: &CStr, mode: u32) -> Answer<()> {
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let found = raw::openat(folder.handle.0, name, flags, 0)?;
    raw::set_mode(found.as_raw_fd(), mode)
}

/// Fills a batch with what the kernel lays out: inode (8 bytes), offset (8), length of the entry (2), kind (1), name.
///
/// An entry takes more room there than in the batch, so as many bytes as a batch holds are asked for in all.
#[cfg(target_os = "linux")]
fn read_kernel(mut entries: impl FnMut(&mut [u8]) -> Answer<usize>, batch: &mut Batch) -> Answer<bool> {
    /// No entry is longer: a name has 255 bytes at most.
    const ENTRY_MAX: usize = 512;
    let mut laid = vec![0; crate::job::names::BATCH_BYTES];
    let mut room = laid.len();
    while room >= ENTRY_MAX {
        let bytes = match entries(&mut laid[..room]) {
            Ok(0) => return Ok(true),
            Ok(bytes) => bytes,
            // What was read is given; the error comes again with the next batch.
            Err(_) if batch.len() > 0 => return Ok(false),
            Err(errno) => return Err(errno),
        };
        room -= bytes.min(room);
        let mut rest = &laid[..bytes];
        while let Some((inode, word, name, next)) = laid_out(rest) {
            if !is_own(name) && !batch.push(inode, kind_of(word), name) {
                return Err(libc::EOVERFLOW);
            }
            rest = next;
        }
    }
    Ok(false)
}

/// The first entry of what the kernel laid out, and the rest.
#[cfg(target_os = "linux")]
#[allow(clippy::host_endian_bytes, reason = "the kernel's own layout, never on a disk")]
fn laid_out(bytes: &[u8]) -> Option<(u64, u8, &[u8], &[u8])> {
    let inode = u64::from_ne_bytes(*bytes.first_chunk()?);
    let length = usize::from(u16::from_ne_bytes(*bytes.get(16..)?.first_chunk()?));
    let word = *bytes.get(18)?;
    let name = CStr::from_bytes_until_nul(bytes.get(19..length)?).ok()?;
    Some((inode, word, name.to_bytes(), bytes.get(length..)?))
}
