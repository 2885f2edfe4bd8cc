//! Reading, asking what a read would say, and what would not be refused.
//!
//! After a write to a file that appends and reads, the offset is the end of the file, as POSIX has it. efio keeps the
//! offset of its reads apart from that, so it is brought there by a seek before the next read.

use std::io::SeekFrom;

use efio::{Fd, Readiness};

use crate::cells::Cell;
use crate::desk::{Backing, Desk, Stage};
use crate::failure::{Answer, Failure, fail};
use crate::instance::Instance;
use crate::world::world;

/// `ef_read`.
#[inline]
pub(crate) fn read(handle: i32, into: &mut [u8]) -> Answer<isize> {
    let Some(world) = world() else { return fail(libc::EBADF) };
    let Some(cell) = world.cells.get(handle) else { return fail(libc::EBADF) };
    if let Some(word) = cell.word() {
        match world.with_file(cell, word, |efio| efio.ef_read(word.fd(), into)) {
            Some(Ok(count)) => return Ok(count as isize),
            // Refused, and told later; or an error that the disk tells once.
            Some(Err(error)) if error.is_would_block() || error.raw_os_error().is_some() => {
                return Err(error.into());
            }
            _ => {}
        }
    }
    read_slowly(cell, into)
}

/// The desk of an open file that can be read, and its instance.
fn readable(desk: &Desk) -> Answer<std::sync::Arc<Instance>> {
    match Instance::of(desk) {
        Some(instance) if desk.stage == Stage::Open && desk.access.read => Ok(instance),
        _ => fail(libc::EBADF),
    }
}

#[cold]
fn read_slowly(cell: &Cell, into: &mut [u8]) -> Answer<isize> {
    let mut guard = cell.desk();
    let desk = &mut *guard;
    let instance = readable(desk)?;
    let fd = match &desk.backing {
        Backing::Stream(stream) => {
            return stream.read(into).map(|count| count as isize).map_err(Failure::Errno);
        }
        Backing::File(fd) => *fd,
        Backing::None => return fail(libc::EBADF),
    };
    instance.settle_offset(desk, fd)?;
    if let Some(error) = desk.notes.fault_seen.take() {
        instance.refresh(desk, cell);
        return Err(error.into());
    }
    if std::mem::take(&mut desk.notes.end_seen) {
        instance.refresh(desk, cell);
        return match instance.efio.ef_read(fd, into) {
            // What was told holds where the file itself cannot say more at once.
            Err(error) if error.is_would_block() => Ok(0),
            answer => Ok(answer? as isize),
        };
    }
    Ok(instance.efio.ef_read(fd, into)? as isize)
}

impl Instance {
    /// Brings the offset to where the next read is to be; `EAGAIN` until it can be there, and a READ is owed.
    pub(crate) fn settle_offset(&self, desk: &mut Desk, fd: Fd) -> Answer<()> {
        if !desk.backlog.is_empty() {
            desk.notes.read_owed = true;
            return fail(libc::EAGAIN);
        }
        if desk.notes.appended {
            (desk.notes.end_seen, desk.notes.fault_seen) = (false, None);
            if let Err(error) = self.efio.ef_seek(fd, SeekFrom::End(0)) {
                desk.notes.read_owed |= error.is_would_block();
                return Err(error.into());
            }
            desk.notes.appended = false;
        }
        Ok(())
    }
}

/// `ef_file_ready_for_read`.
pub(crate) fn ready(handle: i32) -> Answer<isize> {
    let Some(cell) = world().and_then(|world| world.cells.get(handle)) else { return fail(libc::EBADF) };
    let mut guard = cell.desk();
    let desk = &mut *guard;
    let instance = readable(desk)?;
    let fd = match &desk.backing {
        Backing::Stream(stream) => return stream.ready().map(isize::from).map_err(Failure::Errno),
        Backing::File(fd) => *fd,
        Backing::None => return fail(libc::EBADF),
    };
    instance.settle_offset(desk, fd)?;
    if let Some(error) = &desk.notes.fault_seen {
        return Err(error.clone().into());
    }
    if desk.notes.end_seen {
        return Ok(0);
    }
    let found = match instance.efio.ef_lend_read(fd) {
        Ok(lent) => !lent.is_empty(),
        Err(error) => {
            if error.raw_os_error().is_some() && !error.is_would_block() {
                desk.notes.fault_seen = Some(error.clone());
                instance.refresh(desk, cell);
            }
            return Err(error.into());
        }
    };
    if !found {
        // efio tells the end once; the read that follows is to have it.
        desk.notes.end_seen = true;
        instance.refresh(desk, cell);
    }
    Ok(isize::from(found))
}

/// `ef_poll`: 1 for a write, 2 for a read.
pub(crate) fn poll(handle: i32) -> Answer<i32> {
    let Some(cell) = world().and_then(|world| world.cells.get(handle)) else { return fail(libc::EBADF) };
    for pumped in [false, true] {
        let mut guard = cell.desk();
        let desk = &mut *guard;
        let Some(instance) = Instance::of(desk) else { return fail(libc::EBADF) };
        match desk.stage {
            Stage::Opening if pumped => return Ok(0),
            Stage::Opening => {
                drop(guard);
                instance.pump_unless_pumped();
            }
            Stage::Open => return instance.poll(desk),
            _ => return fail(libc::EBADF),
        }
    }
    Ok(0)
}

impl Instance {
    fn poll(&self, desk: &mut Desk) -> Answer<i32> {
        let fd = match &desk.backing {
            Backing::File(fd) => *fd,
            Backing::Stream(stream) => {
                let (write, read) = stream.poll(self.limit_of(desk));
                return Ok(i32::from(write && desk.access.write) + 2 * i32::from(read && desk.access.read));
            }
            Backing::None => return fail(libc::EBADF),
        };
        let settled = !desk.access.read || self.settle_offset(desk, fd).is_ok();
        let now = self.efio.ef_poll(fd)?;
        let room = desk.backlog.is_empty() && !self.is_tight(desk) && now.contains(Readiness::WRITABLE)
            || self.pending(desk) < self.limit_of(desk)
            || now.is_error();
        let told = desk.notes.end_seen || desk.notes.fault_seen.is_some();
        let bytes = settled && (told || now.contains(Readiness::READABLE));
        Ok(i32::from(room && desk.access.write) + 2 * i32::from(bytes && desk.access.read))
    }
}
