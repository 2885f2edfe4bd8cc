//! Lend: a file's own memory, given to the caller to fill from a socket or to send to one.
//!
//! A copy through a buffer of the program's is spared: a page is filled where it lies, and sent from where it was read to.
//! Pages go from file to file, and what the last one left is still in them. So only bytes that were put there in this lend
//! can be committed, or seen: what a descriptor gave, or zeroes.
#![allow(unsafe_code, reason = "pages are filled and read by pointers that the lend alone has")]

use std::fmt;
use std::io::{self, Read};
use std::mem::{self, MaybeUninit};
use std::os::fd::AsFd;

use crate::efio::Efio;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::fd::Fd;
use crate::file::Slot;
use crate::file::lend::Lent;
use crate::file::opener::Patience;
use crate::file::write::{Caller, refusal};
use crate::sys::receive;

use super::File;

mod reading;

pub use reading::ReadLend;

impl Efio {
    /// Lends the room behind the last accepted byte, `least` bytes of it or more, to be filled where it lies.
    ///
    /// Until the lend ends, by [`commit`](WriteLend::commit) or a drop, other writes and seeks of the file answer
    /// `WouldBlock`, and [`Readiness::WRITABLE`](crate::Readiness::WRITABLE) follows at its end. The timer, syncs and
    /// requests go on: they concern what was accepted before. A close goes on until only the lend is left, and ends after
    /// it; a lend that is never dropped (`mem::forget`) keeps its file from ending.
    ///
    /// ```
    /// use efio::{Efio, OpenOptions};
    /// let path = std::env::temp_dir().join(format!("efio-lend-{}", std::process::id()));
    /// let efio = Efio::new()?;
    /// let fd = efio.ef_open(&path, &OpenOptions::new().write(true).create(true))?;
    /// while efio.ef_open_status(fd).is_err_and(|error| error.is_would_block()) {}
    /// let mut lend = efio.ef_lend_write(fd, 1)?;
    /// let received = lend.read_from(&mut &b"from a socket"[..], 4096)?;
    /// lend.commit(received)?;
    /// efio.ef_close_immediate(fd)?;
    /// assert_eq!(std::fs::read(&path)?, b"from a socket");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ef_write`](Self::ef_write); `InvalidInput` for a `least` above `whole_write`.
    pub fn ef_lend_write(&self, fd: Fd, least: usize) -> Result<WriteLend<'_>> {
        let (slot, lent) = self.check(Operation::Write)?.commons.lend(fd, least)?;
        let holder = Holder::Descriptor { efio: self, slot, fd, number: lent.number };
        Ok(WriteLend { room: Room::new(&lent), holder })
    }
}

impl File {
    /// As [`Efio::ef_lend_write`]. While the lend lives, the file is its own.
    ///
    /// ```
    /// use efio::{Efio, OpenOptions};
    /// let path = std::env::temp_dir().join(format!("efio-lend-file-{}", std::process::id()));
    /// let efio = Efio::new()?;
    /// let mut file = efio.open(&path, &OpenOptions::new().write(true).create(true))?;
    /// while efio.ef_open_status(file.fd()).is_err_and(|error| error.is_would_block()) {}
    /// let mut lend = file.lend_write(4)?;
    /// lend.zeroed(4).copy_from_slice(b"1234");
    /// lend.commit(4)?;
    /// file.blocking().close()?;
    /// assert_eq!(std::fs::read(&path)?, b"1234");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_lend_write`].
    pub fn lend_write(&mut self, least: usize) -> Result<WriteLend<'_>> {
        let least = self.commons().least_room(self.fd, least)?;
        let mut patience = Patience::new();
        self.settle_front();
        loop {
            self.check(Operation::Write)?;
            self.refuse_write()?;
            // The place may have been moved by a seek or a read, which took the page.
            self.look_at_page();
            let bytes = (self.page.capacity - self.page.position) as usize;
            if bytes >= least {
                let start = self.page.start.wrapping_add(self.page.position as usize);
                let room = Room::new(&Lent { start, bytes, number: self.page.cell });
                return Ok(WriteLend { room, holder: Holder::Owner(self) });
            }
            if !self.next_page(least, &mut patience) {
                return Err(Error::would_block(Operation::Write, self.fd));
            }
        }
    }

    /// The reason why the file takes no writes.
    fn refuse_write(&self) -> Result<()> {
        let slot = self.slot();
        match refusal(slot, slot.state.load(), self.fd, Caller::Owner) {
            Some(error) => Err(self.commons().refuse_unless_open(slot, error)),
            None => Ok(()),
        }
    }
}

/// Who gets the room back.
enum Holder<'a> {
    Descriptor {
        efio: &'a Efio,
        slot: &'a Slot,
        fd: Fd,
        number: u32,
    },
    Owner(&'a mut File),
    /// It has been given back.
    Nobody,
}

/// The room that is lent, and how much of it was put there in this lend.
struct Room {
    start: *mut u8,
    bytes: usize,
    /// Filled one after the other from the start.
    filled: usize,
    /// No byte below this is of another file; at least `filled`.
    clean: usize,
}

impl Room {
    fn new(lent: &Lent) -> Self {
        Self { start: lent.start, bytes: lent.bytes, filled: 0, clean: 0 }
    }

    fn spare(&mut self, most: usize) -> &mut [MaybeUninit<u8>] {
        let len = most.min(self.bytes - self.filled);
        let start = self.start.wrapping_add(self.filled).cast();
        // SAFETY: `filled + len` bytes from `start` on lie in a page of which nobody else touches what is above the
        // position, until the room is given back; the borrow of `self` makes it one slice at a time.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// The bytes of `range`, clean by now.
    fn clean(&mut self, begin: usize, end: usize) -> &mut [u8] {
        if end > self.clean {
            // SAFETY: `clean..end` lies in the room, which is this lend's alone; see `spare`.
            unsafe { self.start.add(self.clean).write_bytes(0, end - self.clean) };
            self.clean = end;
        }
        // SAFETY: as in `spare`; all bytes below `clean` are initialised.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(begin), end - begin) }
    }

    fn fill(&mut self, bytes: usize) {
        self.filled += bytes;
        self.clean = self.clean.max(self.filled);
    }
}

/// Room in the memory of a file, lent until [`commit`](Self::commit) or the drop: see [`Efio::ef_lend_write`].
///
/// It is filled from its start, by [`receive`](Self::receive), [`read_from`](Self::read_from), or
/// [`zeroed`](Self::zeroed). The page may have been another file's before: what is not filled cannot be seen, and not be
/// committed.
///
/// A drop, also by a panic, gives the room back with nothing taken. In a child of fork nothing is taken, and the drop does
/// nothing.
#[must_use = "dropped, it takes nothing"]
pub struct WriteLend<'a> {
    room: Room,
    holder: Holder<'a>,
}

// SAFETY: the pointer is to memory of the pool, which is not bound to a thread, and the lend is its only user; slot and
// module may be used from any thread.
unsafe impl Send for WriteLend<'_> {}

impl WriteLend<'_> {
    /// Bytes of room, filled or not.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.room.bytes
    }

    /// Bytes of room that are not filled.
    #[must_use]
    pub fn spare_len(&self) -> usize {
        self.room.bytes - self.room.filled
    }

    /// What [`receive`](Self::receive), [`read_from`](Self::read_from) and [`assume_filled`](Self::assume_filled) have put
    /// there so far, one after the other.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        // SAFETY: as in `Room::spare`; all bytes below `filled` were written in this lend.
        unsafe { std::slice::from_raw_parts(self.room.start, self.room.filled) }
    }

    /// Reads once from a socket, a pipe or the like, by read(2), straight into the room: at most `most` bytes, behind what
    /// is filled. 0 is the end, or no room.
    ///
    /// # Errors
    ///
    /// Those of read(2), but for an interruption; `WouldBlock` from a source that does not block.
    pub fn receive(&mut self, source: &impl AsFd, most: usize) -> io::Result<usize> {
        let bytes = receive(source.as_fd(), self.room.spare(most))?;
        self.room.fill(bytes);
        Ok(bytes)
    }

    /// Reads once from a reader, at most `most` bytes, behind what is filled. The reader is given zeroes to fill, which
    /// takes longer than [`receive`](Self::receive). 0 is the end, or no room.
    ///
    /// # Errors
    ///
    /// The reader's own; `InvalidData` when it claims to have read more than it could.
    pub fn read_from(&mut self, reader: &mut impl Read, most: usize) -> io::Result<usize> {
        let room = &mut self.room;
        let most = most.min(room.bytes - room.filled);
        let bytes = reader.read(room.clean(room.filled, room.filled + most))?;
        if bytes > most {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the reader claims more bytes than there was room for",
            ));
        }
        room.fill(bytes);
        Ok(bytes)
    }

    /// The first `bytes` bytes of the room, or all if it has fewer; zeroes where nothing was put yet. They count as the
    /// program's own, so that a commit may take them.
    pub fn zeroed(&mut self, bytes: usize) -> &mut [u8] {
        self.room.clean(0, bytes.min(self.room.bytes))
    }

    /// The room behind what is filled, with whatever is in it: for code that fills memory by its address.
    /// [`assume_filled`](Self::assume_filled) then says how much. What [`zeroed`](Self::zeroed) gave there does not count as
    /// the program's own any more.
    pub fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        // The caller may leave anything there, uninitialised bytes too.
        self.room.clean = self.room.filled;
        self.room.spare(usize::MAX)
    }

    /// Counts bytes of [`spare`](Self::spare) as filled; no more than there are.
    ///
    /// # Safety
    ///
    /// The first `bytes` bytes of it have been written in this lend. Else what another file left there becomes visible.
    pub unsafe fn assume_filled(&mut self, bytes: usize) {
        self.room.fill(bytes.min(self.spare_len()));
    }

    /// Accepts the first `bytes` bytes of the room, as [`Efio::ef_write`] would have, and ends the lend.
    ///
    /// # Errors
    ///
    /// Nothing is accepted then, and the lend is over: `InvalidInput` for more bytes than were put there; `Stale` when the
    /// close of the file has begun meanwhile; `Shutdown`; `Forked`; the first error of a file that failed meanwhile.
    pub fn commit(mut self, bytes: usize) -> Result<()> {
        if bytes > self.room.clean {
            let note = "more is committed than was put into the lent room";
            return Err(Error::noted(ErrorKind::InvalidInput, Operation::Write, note).with_fd(self.fd()));
        }
        self.end(bytes)
    }

    fn fd(&self) -> Fd {
        match &self.holder {
            Holder::Descriptor { fd, .. } => *fd,
            Holder::Owner(file) => file.fd,
            Holder::Nobody => Fd::new(0, 0),
        }
    }

    /// Gives the room back, once.
    fn end(&mut self, bytes: usize) -> Result<()> {
        match mem::replace(&mut self.holder, Holder::Nobody) {
            Holder::Descriptor { efio, slot, fd, number } => {
                let engine = efio.check(Operation::Write)?;
                // A page has at most 2^20 bytes.
                let answer = engine.commons.end_lend(slot, fd, number, bytes as u32);
                if engine.is_stopped() {
                    // The module has ended around this lend: the file is closed here.
                    engine.turn_until_idle();
                }
                answer
            }
            Holder::Owner(file) => {
                if bytes == 0 {
                    return Ok(());
                }
                file.check(Operation::Write)?;
                file.refuse_write()?;
                file.publish(bytes);
                Ok(())
            }
            Holder::Nobody => Ok(()),
        }
    }
}

impl Drop for WriteLend<'_> {
    fn drop(&mut self) {
        // Nothing was taken, so there is nothing to refuse.
        let _ = self.end(0);
    }
}

impl fmt::Debug for WriteLend<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WriteLend")
            .field("fd", &self.fd())
            .field("capacity", &self.room.bytes)
            .field("filled", &self.room.filled)
            .finish_non_exhaustive()
    }
}
