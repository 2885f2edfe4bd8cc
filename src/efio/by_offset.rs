//! Reads and writes by offset, and those of several buffers.

use std::io::{IoSlice, IoSliceMut};

use crate::efio::Efio;
use crate::error::{Operation, Result};
use crate::fd::Fd;
use crate::file::read_at::read_vectored;
use crate::file::write::Caller;
use crate::job::Handle;

impl Efio {
    /// As [`ef_read`](Self::ef_read), into one buffer after the other.
    ///
    /// # Errors
    ///
    /// As [`ef_read`](Self::ef_read); what was copied before an error counts, and the next call tells of it.
    pub fn ef_readv(&self, fd: Fd, into: &mut [IoSliceMut<'_>]) -> Result<usize> {
        self.check(Operation::Read)?;
        if into.iter().all(|slice| slice.is_empty()) {
            return self.ef_read(fd, &mut []);
        }
        read_vectored(into, |slice, _| self.ef_read(fd, slice))
    }

    /// As [`ef_write`](Self::ef_write) of all buffers one behind the other: up to `whole_write` bytes together are taken
    /// whole or not at all, and nothing comes between them.
    ///
    /// ```
    /// use std::io::IoSlice;
    /// use efio::{Efio, OpenOptions};
    /// let path = std::env::temp_dir().join(format!("efio-writev-{}", std::process::id()));
    /// let efio = Efio::new()?;
    /// let fd = efio.ef_open(&path, &OpenOptions::new().append(true).create(true))?;
    /// while efio.ef_open_status(fd).is_err_and(|error| error.is_would_block()) {
    ///     efio.wait(&mut efio::Events::with_capacity(4), None)?;
    /// }
    /// assert_eq!(efio.ef_writev(fd, &[IoSlice::new(b"key="), IoSlice::new(b"value\n")])?, 10);
    /// efio.ef_close_immediate(fd)?;
    /// assert_eq!(std::fs::read(&path).unwrap(), b"key=value\n");
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), efio::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ef_write`](Self::ef_write).
    pub fn ef_writev(&self, fd: Fd, from: &[IoSlice<'_>]) -> Result<usize> {
        self.check(Operation::Write)?.commons.write_vectored(fd, from)
    }

    /// Reads at `offset`, which moves no offset of the file, and returns how many bytes; 0 at the end of the file. Never
    /// waits. What was accepted before the call is seen by it.
    ///
    /// The count may be short in the middle of the file: what comes from the page cache, or from a page that was read
    /// for this call, ends where that ends.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: the bytes are not in memory. They are read into a page, at most 1 MiB of them, and
    /// [`Readiness::READABLE`](crate::Readiness::READABLE) follows; then a call for the same offset takes them. Four such
    /// reads of a file can be under way. The page waits until then, or until the file closes, or until a call for a fifth
    /// offset needs its place: then it is dropped, and a later call reads anew. What was overwritten, cut or extended
    /// meanwhile is not given out but read again.
    ///
    /// A file that failed gives what is written, and its first error for what is not. `InvalidInput` for an offset above 2^63.
    ///
    /// ```
    /// use efio::{Efio, Events, OpenOptions};
    /// let path = std::env::temp_dir().join(format!("efio-read-at-{}", std::process::id()));
    /// # std::fs::write(&path, b"0123456789").unwrap();
    /// let efio = Efio::new()?;
    /// let fd = efio.ef_open(&path, &OpenOptions::new().read(true).write(true))?;
    /// let mut events = Events::with_capacity(4);
    /// efio.wait(&mut events, None)?;
    /// efio.ef_write_at(fd, b"five", 5)?;
    /// let mut buffer = [0; 6];
    /// let count = loop {
    ///     match efio.ef_read_at(fd, &mut buffer, 4) {
    ///         Err(error) if error.is_would_block() => _ = efio.wait(&mut events, None)?,
    ///         answer => break answer?,
    ///     }
    /// };
    /// assert_eq!(&buffer[..count], b"4five9");
    /// # efio.ef_close_immediate(fd)?;
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), efio::Error>(())
    /// ```
    pub fn ef_read_at(&self, fd: Fd, into: &mut [u8], offset: u64) -> Result<usize> {
        let engine = self.check(Operation::Read)?;
        let platform = &engine.platform;
        let nowait =
            |handle: Handle, offset: u64, into: &mut [u8]| platform.read_nowait(handle, offset, into);
        engine.commons.read_at(fd, into, offset, &nowait)
    }

    /// As [`ef_read_at`](Self::ef_read_at), into one buffer after the other.
    ///
    /// # Errors
    ///
    /// As [`ef_read_at`](Self::ef_read_at), for the first buffer; the count ends where a later one would block.
    pub fn ef_readv_at(&self, fd: Fd, into: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        self.check(Operation::Read)?;
        if into.iter().all(|slice| slice.is_empty()) {
            return self.ef_read_at(fd, &mut [], offset);
        }
        read_vectored(into, |slice, done| self.ef_read_at(fd, slice, offset.saturating_add(done)))
    }

    /// Has `bytes` written at `offset`, which moves no offset of the file, and returns how many were taken. They reach the
    /// file after everything accepted before, and before everything accepted later, by this call or by
    /// [`ef_write`](Self::ef_write); so a header that is rewritten behind its chunks is never ahead of them.
    ///
    /// The bytes are in memory of the file when the call returns, in a page of their own (4 KiB, 64 KiB or 1 MiB), and
    /// count in the file's limit and in its [`Progress`](crate::Progress) as those of `ef_write` do, as often as they are
    /// written. A call of up to `whole_write` bytes is taken whole or not at all; a longer one may be taken in part, at
    /// most 1 MiB. They go out at once; no interval is waited for. A gap behind the end of the file reads as zeros.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: a limit of memory is reached, and [`Readiness::WRITABLE`](crate::Readiness::WRITABLE) follows.
    /// `InvalidInput` for an append file, which is written at its end only, and for an offset above 2^63. A file that failed
    /// answers with its first error.
    pub fn ef_write_at(&self, fd: Fd, bytes: &[u8], offset: u64) -> Result<usize> {
        self.ef_writev_at(fd, &[IoSlice::new(bytes)], offset)
    }

    /// As [`ef_write_at`](Self::ef_write_at) of all buffers one behind the other.
    ///
    /// # Errors
    ///
    /// As [`ef_write_at`](Self::ef_write_at).
    pub fn ef_writev_at(&self, fd: Fd, from: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.check(Operation::Write)?.commons.write_at(fd, from, offset, Caller::Descriptor)
    }
}
