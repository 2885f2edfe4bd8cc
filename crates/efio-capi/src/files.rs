//! The functions of efio.h that are about one file.
#![allow(unsafe_code, reason = "exports unmangled names, and takes what C points at")]

use std::ffi::{OsStr, c_char, c_int, c_void};
use std::io::SeekFrom;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use efio::{Efio, Fd};

use crate::close::{self, Manner};
use crate::desk::{Backing, Desk, Stage};
use crate::ef_io::{from, into, path};
use crate::failure::{Answer, border, fail};
use crate::instance::Instance;
use crate::instances::Sized;
use crate::world::world;
use crate::write::WHOLE;

/// `struct ef_progress`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct EfProgress {
    size: usize,
    accepted: u64,
    written: u64,
    durable: u64,
    end: u64,
}

/// Makes `call` with the open file of a handle. `ESPIPE`: it is a pipe or a device.
fn with_file<T>(
    handle: i32,
    call: impl FnOnce(&Efio, Fd, &mut Desk, &Arc<Instance>) -> Answer<T>,
) -> Answer<T> {
    let Some(cell) = world().and_then(|world| world.cells.get(handle)) else { return fail(libc::EBADF) };
    let mut desk = cell.desk();
    let Some(instance) = Instance::of(&desk).filter(|_| desk.stage == Stage::Open) else {
        return fail(libc::EBADF);
    };
    match desk.backing {
        Backing::File(fd) => call(&instance.efio, fd, &mut desk, &instance),
        Backing::Stream(_) => fail(libc::ESPIPE),
        Backing::None => fail(libc::EBADF),
    }
}

/// As `with_file`, for what comes after everything written before: `EAGAIN` while bytes wait for pages.
fn in_order<T>(handle: i32, call: impl FnOnce(&Efio, Fd, &mut Desk) -> Answer<T>) -> Answer<T> {
    with_file(handle, |efio, fd, desk, _| {
        if !desk.backlog.is_empty() {
            desk.notes.read_owed = true;
            return fail(libc::EAGAIN);
        }
        call(efio, fd, desk)
    })
}

/// `ef_abort`, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_abort(fd: c_int) -> c_int {
    border(c"ef_abort", fd, -1, || close::close(fd, Manner::Abort))
}

/// `ef_progress`, see efio.h.
///
/// # Safety
///
/// `progress` is NULL or points at a struct whose first field is its size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_progress(fd: c_int, progress: *mut EfProgress) -> c_int {
    border(c"ef_progress", fd, -1, || {
        let Some(cell) = world().and_then(|world| world.cells.get(fd)) else { return fail(libc::EBADF) };
        let desk = cell.desk();
        let kept = desk.backlog.bytes;
        let now = match (&desk.backing, Instance::of(&desk)) {
            (Backing::File(fd), Some(instance)) => instance.efio.ef_progress(*fd)?,
            (Backing::Stream(stream), _) => stream.progress(),
            _ if desk.stage == Stage::Ended && !desk.notes.unopened => desk.notes.progress,
            _ => return fail(libc::EBADF),
        };
        let answer = EfProgress {
            size: size_of::<EfProgress>(),
            accepted: now.accepted + kept,
            written: now.written,
            durable: now.durable,
            end: now.size + kept,
        };
        // SAFETY: the caller's promise.
        unsafe { Sized::put(progress, answer) }?;
        Ok(0)
    })
}

/// `ef_seek`, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_seek(fd: c_int, offset: i64, whence: c_int) -> i64 {
    border(c"ef_seek", fd, -1, || {
        let to = match whence {
            libc::SEEK_SET => SeekFrom::Start(u64::try_from(offset).or(fail(libc::EINVAL))?),
            libc::SEEK_CUR => SeekFrom::Current(offset),
            libc::SEEK_END => SeekFrom::End(offset),
            _ => return fail(libc::EINVAL),
        };
        let Some(cell) = world().and_then(|world| world.cells.get(fd)) else { return fail(libc::EBADF) };
        in_order(fd, |efio, file, desk| {
            if desk.notes.appended && whence == libc::SEEK_CUR {
                Instance::of(desk).map_or(Ok(()), |instance| instance.settle_offset(desk, file))?;
            }
            let sought = efio.ef_seek(file, to);
            desk.notes.read_owed |= sought.as_ref().is_err_and(|error| error.is_would_block());
            let sought = sought?;
            desk.notes.appended = false;
            (desk.notes.end_seen, desk.notes.fault_seen) = (false, None);
            if let Some(instance) = Instance::of(desk) {
                instance.refresh(desk, cell);
                // What an earlier refusal waited for is not to come any more, or has come.
                instance.pay_read(desk, fd as u32);
            }
            Ok(i64::try_from(sought).unwrap_or(i64::MAX))
        })
    })
}

/// `ef_read_at`, see efio.h.
///
/// # Safety
///
/// `buf` is NULL or room for `nbyte` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_read_at(fd: c_int, buf: *mut c_void, nbyte: usize, offset: u64) -> isize {
    border(c"ef_read_at", fd, -1, || {
        // SAFETY: the caller's promise.
        let buf = unsafe { into(buf, nbyte) }?;
        in_order(fd, |efio, fd, _| Ok(efio.ef_read_at(fd, buf, offset)? as isize))
    })
}

/// `ef_write_at`, see efio.h.
///
/// # Safety
///
/// `buf` is NULL or `nbyte` bytes are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_write_at(fd: c_int, buf: *const c_void, nbyte: usize, offset: u64) -> isize {
    border(c"ef_write_at", fd, -1, || {
        // SAFETY: the caller's promise.
        let buf = unsafe { from(buf, nbyte) }?;
        let piece = &buf[..buf.len().min(WHOLE)];
        with_file(fd, |efio, fd, desk, instance| {
            let room = if instance.is_tight(desk) { instance.room(desk, piece.len()) } else { piece.len() };
            let piece = &piece[..room];
            if room == 0 {
                return Ok(0);
            }
            if !desk.backlog.is_empty() {
                desk.notes.room_owed = true;
                return Ok(0);
            }
            match efio.ef_write_at(fd, piece, offset) {
                Ok(taken) => Ok(taken as isize),
                Err(error) if error.is_would_block() => Ok(0),
                Err(error) => Err(error.into()),
            }
        })
    })
}

/// `ef_truncate`, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_truncate(fd: c_int, size: u64) -> c_int {
    border(c"ef_truncate", fd, -1, || {
        in_order(fd, |efio, fd, _| Ok(efio.ef_truncate(fd, size)?))?;
        Ok(0)
    })
}

/// `ef_preallocate`, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_preallocate(fd: c_int, offset: u64, bytes: u64, keep_size: c_int) -> c_int {
    border(c"ef_preallocate", fd, -1, || {
        in_order(fd, |efio, fd, _| Ok(efio.ef_preallocate(fd, offset, bytes, keep_size != 0)?))?;
        Ok(0)
    })
}

/// `ef_reopen`, see efio.h.
///
/// # Safety
///
/// `path` is NULL or a string that ends with a NUL byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ef_reopen(fd: c_int, path: *const c_char) -> c_int {
    border(c"ef_reopen", fd, -1, || {
        // SAFETY: the caller's promise.
        let Some(path) = (unsafe { self::path(path) }).filter(|path| !path.is_empty()) else {
            return fail(libc::EINVAL);
        };
        let path = OsStr::from_bytes(path.to_bytes());
        in_order(fd, |efio, fd, _| Ok(efio.ef_reopen(fd, path)?))?;
        Ok(0)
    })
}

/// `ef_recover`, see efio.h.
#[unsafe(no_mangle)]
pub extern "C" fn ef_recover(fd: c_int) -> c_int {
    border(c"ef_recover", fd, -1, || {
        in_order(fd, |efio, fd, _| Ok(efio.ef_recover(fd)?))?;
        Ok(0)
    })
}
