//! File: the owning handle; Read, Write, BufRead, Seek.
//!
//! One owner has both sides to itself, so its writes need no read-modify-write: it copies, publishes its position by a
//! plain store, and looks at one flag. Its reads lend the window's front page.
#![allow(
    unsafe_code,
    reason = "the owner's page and the window's front are reached by pointers it alone has"
)]

use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::config::OpenOptions;
use crate::dir::Dir;
use crate::efio::Efio;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::Progress;
use crate::fd::Fd;
use crate::file::Slot;
use crate::file::commons::Commons;
use crate::file::opener::Patience;
use crate::file::read_at::read_vectored;
use crate::file::state::flag;
use crate::file::write::{Caller, page_start, prefetch_next, refusal};
use crate::inbox::Inbox;
use crate::sync::light_fence;

mod blocking;
mod by_offset;
mod front;
mod lend;
mod swap;

pub use blocking::Blocking;
use front::Front;
pub use lend::{ReadLend, WriteLend};

/// One open file, owned: its offset, its reads and its writes are this value's alone.
///
/// Reads and writes behave like those of a non-blocking socket: they return at once, with
/// [`io::ErrorKind::WouldBlock`] where they cannot, and an event under [`fd`](Self::fd) follows. `flush` answers
/// `WouldBlock` until everything written is in the file. Dropping the value closes the file in the background, and an
/// error of that reaches the events; an atomic file that is dropped leaves nothing, so close it by
/// [`close`](Self::close).
///
/// ```
/// use std::io::Write;
/// use efio::{Efio, OpenOptions};
/// let path = std::env::temp_dir().join(format!("efio-file-{}", std::process::id()));
/// let efio = Efio::new()?;
/// let mut file = efio.open(&path, &OpenOptions::new().write(true).create(true))?;
/// file.blocking().write_all(b"hello")?; // a view with plain semantics
/// file.blocking().close()?;
/// assert_eq!(std::fs::read(&path)?, b"hello");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct File {
    efio: Efio,
    fd: Fd,
    /// The slot, which lives as long as the engine that `efio` keeps.
    slot: *const Slot,
    page: OpenPage,
    front: Front,
    open: bool,
}

/// The owner's view of its open page.
#[derive(Clone, Copy, Debug)]
struct OpenPage {
    start: *mut u8,
    cell: u32,
    position: u32,
    capacity: u32,
    high: u64,
}

impl OpenPage {
    const NONE: Self = Self { start: std::ptr::null_mut(), cell: 0, position: 0, capacity: 0, high: 0 };
}

// SAFETY: the pointers are to the slot and the page of the engine that `efio` keeps alive, and neither is bound to a
// thread; the owner's calls take `&mut self`, so they are made one at a time.
unsafe impl Send for File {}

impl Efio {
    /// As [`ef_open`](Self::ef_open), as an owning [`File`].
    ///
    /// If the open fails, the opened event carries the error. The file's calls answer with it, or with `Stale` if it failed
    /// before the `File` was made; the closed event comes with the opened one, or once the `File` is gone.
    ///
    /// # Errors
    ///
    /// As [`ef_open`](Self::ef_open).
    pub fn open(&self, path: impl AsRef<Path>, options: &OpenOptions) -> Result<File> {
        self.from_fd(self.ef_open(path, options)?)
    }

    /// As [`ef_open_at`](Self::ef_open_at), as an owning [`File`].
    ///
    /// # Errors
    ///
    /// As [`ef_open_at`](Self::ef_open_at).
    pub fn open_at(&self, dir: &Dir, path: impl AsRef<Path>, options: &OpenOptions) -> Result<File> {
        self.from_fd(self.ef_open_at(dir, path, options)?)
    }

    /// Makes the file of a handle an owning [`File`]. By the handle only poll, progress, sync and truncate work from
    /// then on; the rest answers `Busy`.
    ///
    /// # Errors
    ///
    /// `Stale`; `Busy` when it is owned already, or a read is under way.
    pub fn from_fd(&self, fd: Fd) -> Result<File> {
        let commons = &self.engine().commons;
        match commons.own(fd) {
            Ok(()) => {}
            // The open may have failed already; its event says so, and the file answers `Stale`.
            Err(error)
                if error.kind() == ErrorKind::Stale
                    && commons
                        .slot(fd)
                        .is_some_and(|slot| slot.state.load().is(fd) && !slot.pending.is_taken()) => {}
            Err(error) => return Err(error),
        }
        let Some(slot) = commons.slot(fd) else { return Err(Error::stale(Operation::Open, fd)) };
        let open = slot.state.load().has(flag::OWNED);
        Ok(File { efio: self.unbound(), fd, slot, page: OpenPage::NONE, front: Front::NONE, open })
    }
}

impl File {
    #[inline]
    fn slot(&self) -> &Slot {
        // SAFETY: slots are never freed or moved while the engine lives, and `efio` keeps it.
        unsafe { &*self.slot }
    }

    #[inline]
    fn commons(&self) -> &Commons {
        &self.efio.engine().commons
    }

    /// The handle under which its events come.
    #[must_use]
    pub fn fd(&self) -> Fd {
        self.fd
    }

    /// The module it belongs to.
    #[must_use]
    pub fn efio(&self) -> &Efio {
        &self.efio
    }

    /// Gives up the ownership: the file goes on by its handle.
    #[must_use]
    pub fn into_fd(mut self) -> Fd {
        if std::mem::take(&mut self.open) {
            self.settle_front();
            self.commons().disown(self.slot(), self.fd);
        }
        self.fd
    }

    /// See [`Efio::ef_progress`].
    ///
    /// # Errors
    ///
    /// `Stale` when its open failed.
    pub fn progress(&self) -> Result<Progress> {
        self.efio.ef_progress(self.fd)
    }

    /// See [`Efio::ef_sync`].
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_sync`].
    pub fn sync(&self) -> Result<()> {
        self.efio.ef_sync(self.fd)
    }

    /// See [`Efio::ef_rebind`].
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_rebind`].
    pub fn rebind(&self, inbox: &Inbox) -> Result<()> {
        self.efio.ef_rebind(self.fd, inbox)
    }

    /// Begins to close: see [`Efio::ef_close`]. An atomic file gets its name.
    ///
    /// # Errors
    ///
    /// `Stale` when its open failed.
    pub fn close(mut self) -> Result<Fd> {
        self.end(flag::PUBLISH, Operation::Close).map(|()| self.fd)
    }

    /// As `close`, for an owner that waits for the answer.
    pub(crate) fn begin_close(&mut self) -> Result<()> {
        self.end(flag::PUBLISH, Operation::Close)
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.slot().state.load().has(flag::POISONED)
    }

    /// Drops what is not written and closes: see [`Efio::ef_abort`].
    ///
    /// # Errors
    ///
    /// `Stale` when its open failed.
    pub fn abort(mut self) -> Result<Fd> {
        self.end(flag::ABORT, Operation::Abort).map(|()| self.fd)
    }

    fn end(&mut self, flags: u64, operation: Operation) -> Result<()> {
        self.check(operation)?;
        self.open = false;
        self.front = Front::NONE;
        let answer = self.commons().close_owned(self.slot(), self.fd, flags, operation);
        if self.efio.engine().is_stopped() {
            // The module has ended around this file: what it still holds is written and closed here.
            self.efio.engine().turn_until_idle();
        }
        answer
    }

    /// A view with plain semantics, which waits where the file itself answers `WouldBlock`: for programs without a loop.
    /// Events of the module that arrive meanwhile stay for their consumer.
    #[must_use]
    pub fn blocking(&mut self) -> Blocking<'_> {
        Blocking { file: self }
    }

    /// The file is open, and this process is the one that opened it.
    fn check(&self, operation: Operation) -> Result<()> {
        if self.efio.is_forked() {
            return Err(Error::plain(ErrorKind::Forked, operation, Some(self.fd)));
        }
        if self.open { Ok(()) } else { Err(Error::stale(operation, self.fd)) }
    }

    /// Takes bytes in as [`Efio::ef_write`] does, with the error as efio's own rather than an [`io::Error`].
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_write`].
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> Result<usize> {
        let room = (self.page.capacity - self.page.position) as usize;
        if bytes.len() <= room
            && !self.slot().state.glance().has(flag::POISONED | flag::ENDING)
            && !bytes.is_empty()
            && !self.efio.is_forked()
        {
            self.copy_in(bytes);
            return Ok(bytes.len());
        }
        self.append_slowly(&[IoSlice::new(bytes)])
    }

    /// Copies into the open page, which has room, and publishes.
    #[inline]
    fn copy_in(&mut self, bytes: &[u8]) {
        // SAFETY: the page is this owner's until it seals it; `position + len <= capacity` was checked by the caller, and
        // nobody else touches bytes above the published position.
        unsafe {
            let start = self.page.start.add(self.page.position as usize);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len());
            prefetch_next(start, bytes.len());
        }
        self.publish(bytes.len());
    }

    /// Bytes behind the position are the file's from here on.
    #[inline]
    fn publish(&mut self, bytes: usize) {
        self.page.position += bytes as u32;
        let slot = self.slot();
        slot.write.cell(self.page.cell).owner_publish(self.page.high, self.page.position);
        light_fence();
        if !slot.armed.is_set() {
            self.commons().note_dirty(slot);
        }
    }

    /// Copies `bytes` bytes of the slices, after the first `skipped`, into the open page, which has room; they are published
    /// together, so that no flush comes between them.
    fn copy_all_in(&mut self, slices: &[IoSlice<'_>], mut skipped: usize, bytes: usize) {
        let mut done = 0;
        for slice in slices {
            let begin = skipped.min(slice.len());
            skipped -= begin;
            let part = &slice[begin..begin + (slice.len() - begin).min(bytes - done)];
            // SAFETY: as in `copy_in`; `done` never comes to more than `bytes`.
            unsafe {
                let start = self.page.start.add(self.page.position as usize + done);
                std::ptr::copy_nonoverlapping(part.as_ptr(), start, part.len());
            }
            done += part.len();
        }
        self.publish(done);
    }

    #[cold]
    fn append_slowly(&mut self, slices: &[IoSlice<'_>]) -> Result<usize> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut taken = 0;
        let mut patience = Patience::new();
        // A write may take the common offset over, and with it drop the window.
        self.settle_front();
        loop {
            self.check(Operation::Write)?;
            let (slot, commons) = (self.slot(), self.commons());
            if let Some(error) = refusal(slot, slot.state.load(), self.fd, Caller::Owner) {
                let error = commons.refuse_unless_open(slot, error);
                return if taken > 0 { Ok(taken) } else { Err(error) };
            }
            let left = total - taken;
            if left == 0 {
                return Ok(taken);
            }
            if let Some(stripes) = slot.write.stripes() {
                return commons.write_striped_slowly(slot, stripes, self.fd, slices, Caller::Owner);
            }
            // The place may have been moved by a seek or a read, which took the page.
            self.look_at_page();
            let room = (self.page.capacity - self.page.position) as usize;
            let whole = total <= self.commons().limits.whole_write;
            if room >= left || room > 0 && !whole {
                let step = room.min(left);
                self.copy_all_in(slices, taken, step);
                taken += step;
                continue;
            }
            if !self.next_page(left, &mut patience) {
                return if taken > 0 {
                    Ok(taken)
                } else {
                    Err(Error::would_block(Operation::Write, self.fd))
                };
            }
        }
    }

    /// Goes on to a page for `bytes` bytes; false when none is to be had, and an event follows.
    fn next_page(&mut self, bytes: usize, patience: &mut Patience) -> bool {
        let (slot, commons) = (self.slot(), self.commons());
        commons.give_up_page(slot);
        commons.seal(slot, slot.write.cell(slot.write.current()), self.fd.generation());
        let found = commons.open_next(slot, self.fd, slot.write.current(), bytes, Caller::Owner);
        let goes_on = patience.try_again(commons, slot, found);
        if !goes_on {
            self.look_at_page();
        }
        goes_on
    }

    /// Reads the cell anew: the page that is open for this owner, or none.
    fn look_at_page(&mut self) {
        let slot = self.slot();
        let current = slot.write.current();
        let cell = slot.write.cell(current);
        let word = cell.load();
        self.page = if word.is_owners() {
            OpenPage {
                start: page_start(cell.page()),
                cell: current,
                position: word.position(),
                capacity: cell.capacity(),
                high: cell.owner_high(),
            }
        } else {
            OpenPage::NONE
        };
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if self.open {
            let atomic = self.slot().state.load().has(flag::ATOMIC);
            // What the close finds reaches the events.
            let _ = self.end(if atomic { flag::ABORT } else { 0 }, Operation::Close);
        }
    }
}

impl Read for File {
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(into)?)
    }

    /// Into one buffer after the other: see [`Efio::ef_readv`].
    fn read_vectored(&mut self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if into.iter().all(|slice| slice.is_empty()) {
            return self.read(&mut []);
        }
        Ok(read_vectored(into, |slice, _| self.read_some(slice))?)
    }
}

impl BufRead for File {
    /// Lends the front page of the window; an empty slice is the end of the file.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.lend()?)
    }

    fn consume(&mut self, bytes: usize) {
        if self.open && bytes > 0 {
            self.settle_front();
            self.use_front(bytes);
        }
    }
}

impl Write for File {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.append(bytes)?)
    }

    /// All slices one behind the other, as one write: see [`Efio::ef_writev`].
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.append_slowly(slices)?)
    }

    /// Starts the flush of everything written; `WouldBlock` until it is in the file. Then the file holds no page: one that
    /// will be idle for long is flushed before.
    fn flush(&mut self) -> io::Result<()> {
        self.commons().flush(self.fd)?;
        if self.open && !self.page.start.is_null() {
            self.commons().give_up_page(self.slot());
            self.look_at_page();
        }
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if !self.open {
            return Err(Error::stale(Operation::Seek, self.fd).into());
        }
        self.settle_front();
        let answer = self.commons().seek(self.fd, to, Caller::Owner);
        self.look_at_page();
        Ok(answer?)
    }
}
