//! Writing: to efio at once where it has a page; what it has none for is kept here, up to a limit, and goes when it has.
//!
//! A call is taken whole or refused with 0. While bytes are kept the handle's word is vacant, so that later writes queue
//! up behind them. The pump lets them flow on efio's writable event, which follows each of its refusals.

use std::sync::atomic::Ordering;

use crate::calls::Oper;
use crate::cells::Cell;
use crate::desk::{Backing, Desk, Stage};
use crate::failure::{Answer, Failure, fail};
use crate::instance::Instance;
use crate::news::bits;
use crate::world::{World, world};

/// The longest call that efio takes whole or not at all, in bytes.
pub(crate) const WHOLE: usize = 1 << 20;
/// What `ef_write` takes for a file of `ef_open` without having written it, unless set.
pub(crate) const WRITE_LIMIT: u64 = 1 << 30;
/// The instance has no write limit of its own.
pub(crate) const UNSET: u64 = u64::MAX;

/// `ef_write`.
#[inline]
pub(crate) fn write(handle: i32, bytes: &[u8]) -> Answer<isize> {
    let Some(world) = world() else { return fail(libc::EBADF) };
    let Some(cell) = world.cells.get(handle) else { return fail(libc::EBADF) };
    if let Some(word) = cell.word().filter(|_| bytes.len() <= WHOLE) {
        if let Some(Ok(taken)) = world.with_file(cell, word, |efio| efio.ef_write(word.fd(), bytes)) {
            return Ok(taken as isize);
        }
    }
    write_slowly(world, cell, handle as u32, bytes)
}

#[cold]
fn write_slowly(world: &'static World, cell: &Cell, handle: u32, bytes: &[u8]) -> Answer<isize> {
    let mut guard = cell.desk();
    let desk = &mut *guard;
    if desk.stage != Stage::Open || !desk.access.write {
        return fail(libc::EBADF);
    }
    let Some(instance) = Instance::of(desk) else { return fail(libc::EBADF) };
    debug_assert!(std::ptr::eq(instance.world, world), "a desk has an instance of its own world");
    instance.drain(desk, handle, cell);
    let taken = match &desk.backing {
        Backing::Stream(stream) => stream.write(bytes, instance.limit_of(desk))?,
        _ => instance.take_in(desk, cell, bytes)?,
    };
    if taken > 0 && desk.access.moves_to_end() {
        desk.notes.appended = true;
    }
    Ok(taken as isize)
}

impl Instance {
    /// The most bytes that a file may have taken and not written.
    pub(crate) fn limit_of(&self, desk: &Desk) -> u64 {
        // ORDER: Relaxed: a limit; from which call on a new one holds is nobody's business.
        let own = || self.write_limit.load(Ordering::Relaxed);
        match desk.notes.write_limit.unwrap_or_else(own) {
            UNSET => desk.notes.default_limit,
            limit => limit,
        }
    }

    /// The limit is below what efio takes for the file, so each write has to be measured by it.
    pub(crate) fn is_tight(&self, desk: &Desk) -> bool {
        desk.access.write && (1..desk.notes.pages).contains(&self.limit_of(desk))
    }

    /// `ef_set_write_limit`: also for the files that are open.
    pub(crate) fn set_write_limit(&self, bytes: u64) {
        // ORDER: Relaxed: a limit, which publishes nothing.
        self.write_limit.store(bytes.min(UNSET - 1), Ordering::Relaxed);
        for (handle, cell) in self.world.cells.iter() {
            let mut desk = cell.desk();
            if self.owns(&desk) {
                self.refresh(&desk, cell);
                self.pay_room(&mut desk, handle);
            }
        }
    }

    /// Bytes taken and not written.
    pub(crate) fn pending(&self, desk: &Desk) -> u64 {
        let Backing::File(fd) = desk.backing else { return 0 };
        let progress = self.efio.ef_progress(fd).unwrap_or_default();
        progress.accepted.saturating_sub(progress.written) + desk.backlog.bytes
    }

    /// How many of `len` further bytes may be taken; 0: none, and `room_owed` is noted.
    pub(crate) fn room(&self, desk: &mut Desk, len: usize) -> usize {
        let (limit, pending) = (self.limit_of(desk), self.pending(desk));
        if pending.saturating_add(len as u64) <= limit {
            return len;
        }
        if pending == 0 {
            // More than the whole limit in one call.
            return usize::try_from(limit).unwrap_or(len);
        }
        desk.notes.room_owed = true;
        if desk.backlog.is_empty() {
            self.ask_for_room(desk);
        }
        0
    }

    /// Has an event follow when the bytes in pages are written: efio tells of room only where it has refused. False: it
    /// will not.
    fn ask_for_room(&self, desk: &mut Desk) -> bool {
        let Backing::File(fd) = desk.backing else { return false };
        desk.notes.own_sync = desk.notes.own_sync || self.efio.ef_sync(fd).is_ok();
        desk.notes.own_sync
    }

    /// Tells of room to who was refused, once there is some.
    fn pay_room(&self, desk: &mut Desk, handle: u32) {
        if !desk.notes.room_owed {
            return;
        }
        let (limit, kept) = (self.limit_of(desk), !desk.backlog.is_empty());
        let is_full = if limit == 0 { kept } else { self.pending(desk) >= limit };
        // A file that has failed says so by the next write.
        if !is_full || !kept && !self.ask_for_room(desk) {
            desk.notes.room_owed = false;
            self.raise(desk, handle, bits::WRITABLE, 0);
        }
    }

    /// Tells who was refused a read or a seek that it can be tried again.
    pub(crate) fn pay_read(&self, desk: &mut Desk, handle: u32) {
        if std::mem::take(&mut desk.notes.read_owed) {
            self.tell(desk, handle, Oper::Read);
            self.raise(desk, handle, bits::READABLE | bits::DONE, 0);
        }
    }

    /// Takes bytes for a file: into its pages, behind those that are kept, or not.
    fn take_in(&self, desk: &mut Desk, cell: &Cell, bytes: &[u8]) -> Answer<usize> {
        let Backing::File(fd) = desk.backing else { return fail(libc::EBADF) };
        let pages_only = self.limit_of(desk) == 0;
        let least = if self.is_tight(desk) { self.room(desk, bytes.len()) } else { bytes.len() };
        let bytes = &bytes[..least];
        if bytes.is_empty() {
            return Ok(0);
        }
        if desk.backlog.is_empty() && bytes.len() <= WHOLE {
            match self.efio.ef_write(fd, bytes) {
                Ok(taken) => return Ok(taken),
                Err(error) if !error.is_would_block() => return Err(error.into()),
                Err(_) if pages_only => return Ok(0),
                Err(_) => {}
            }
        }
        if pages_only && !desk.backlog.is_empty() {
            desk.notes.room_owed = true;
            return Ok(0);
        }
        let taken = if pages_only { bytes.len() } else { self.room(desk, bytes.len()) };
        let (mut now, mut refused) = (0, !desk.backlog.is_empty() || bytes.len() <= WHOLE);
        while now < taken && !refused {
            let piece = &bytes[now..taken.min(now + WHOLE)];
            match self.efio.ef_write(fd, piece) {
                Ok(took) => now += took,
                Err(error) if error.is_would_block() => refused = true,
                Err(error) if now == 0 => return Err(error.into()),
                // The next call tells of it.
                Err(_) => return Ok(now),
            }
        }
        if now < taken && pages_only {
            return Ok(now);
        }
        if now < taken {
            if !desk.backlog.push(&bytes[now..taken]) {
                return if now > 0 { Ok(now) } else { fail(libc::ENOMEM) };
            }
            cell.vacate();
        }
        Ok(taken)
    }

    /// Lets what is kept flow, as far as efio has room; then what had to wait for it.
    pub(crate) fn drain(&self, desk: &mut Desk, handle: u32, cell: &Cell) {
        let Backing::File(fd) = desk.backing else { return };
        if desk.backlog.is_empty() {
            return self.pay_room(desk, handle);
        }
        while let Some(piece) = desk.backlog.front() {
            match self.efio.ef_write(fd, &piece[..piece.len().min(WHOLE)]) {
                Ok(taken) => desk.backlog.advance(taken),
                Err(error) if error.is_would_block() => break,
                Err(_) => {
                    // The file has failed, and its close says with what.
                    desk.notes.lost += desk.backlog.clear();
                    break;
                }
            }
        }
        self.pay_room(desk, handle);
        if desk.backlog.is_empty() {
            self.after_backlog(desk, handle, cell);
        }
    }

    /// Nothing is kept any more: what waited for that is begun.
    fn after_backlog(&self, desk: &mut Desk, handle: u32, cell: &Cell) {
        let Backing::File(fd) = desk.backing else { return };
        if std::mem::take(&mut desk.notes.sync_wanted) {
            // A file that has failed says so by its next write and its close.
            let _ = self.efio.ef_sync(fd);
        }
        if std::mem::take(&mut desk.notes.close_wanted) {
            // The one thing that this can say is that it is being closed already, by the end of the instance.
            let _ = self.efio.ef_close(fd);
        }
        self.pay_read(desk, handle);
        self.refresh(desk, cell);
    }

    /// Drops what is kept of a file that is being closed, since the disk takes nothing, and goes on with the close.
    pub(crate) fn give_up_backlog(&self, desk: &mut Desk) {
        let Backing::File(fd) = desk.backing else { return };
        desk.notes.lost += desk.backlog.clear();
        desk.notes.close_wanted = false;
        // As in `after_backlog`.
        let _ = self.efio.ef_close(fd);
    }
}

/// `ef_sync`.
pub(crate) fn sync(handle: i32) -> Answer<i32> {
    let Some(cell) = world().and_then(|world| world.cells.get(handle)) else { return fail(libc::EBADF) };
    let mut guard = cell.desk();
    let desk = &mut *guard;
    let Some(instance) = Instance::of(desk).filter(|_| desk.stage == Stage::Open) else {
        return fail(libc::EBADF);
    };
    match &desk.backing {
        Backing::Stream(stream) => stream.check_write().map(|()| 0).map_err(Failure::Errno),
        Backing::File(_) if !desk.access.write => Ok(0),
        Backing::File(fd) if desk.backlog.is_empty() => {
            instance.efio.ef_sync(*fd)?;
            desk.notes.own_sync = false;
            Ok(0)
        }
        _ => {
            desk.notes.sync_wanted = true;
            Ok(0)
        }
    }
}
