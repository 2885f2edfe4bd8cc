//! Reading lends: the bytes of a file where they were read to, page by page, to be sent as they are.
#![allow(unsafe_code, reason = "bytes of the window are shown by pointers that the lend alone has")]

use std::fmt;

use crate::efio::Efio;
use crate::error::{Operation, Result};
use crate::fd::Fd;
use crate::file::Slot;
use crate::file::lend::{NO_PIECES, Pieces};
use crate::file::window::Reader;
use crate::job::Handle;

use super::super::File;

impl Efio {
    /// Lends the bytes at the offset of the file that are in its memory; none at the end of the file.
    ///
    /// The lend is the file's reader until it ends: other reads and seeks answer `WouldBlock`, and
    /// [`Readiness::READABLE`](crate::Readiness::READABLE) follows. A truncate may come meanwhile; the lent bytes stay as
    /// they were read. A close ends after the lend.
    ///
    /// ```
    /// use std::io::{IoSlice, Write};
    /// use efio::{Efio, OpenOptions};
    /// let path = std::env::temp_dir().join(format!("efio-lend-read-{}", std::process::id()));
    /// std::fs::write(&path, b"to a socket")?;
    /// let efio = Efio::new()?;
    /// let fd = efio.ef_open(&path, &OpenOptions::new().read(true))?;
    /// let mut socket = Vec::new();
    /// loop {
    ///     match efio.ef_lend_read(fd) {
    ///         Ok(lend) if lend.is_empty() => break, // the end of the file
    ///         Ok(lend) => {
    ///             let pieces: Vec<IoSlice> = lend.pieces().map(IoSlice::new).collect();
    ///             let sent = socket.write_vectored(&pieces)?;
    ///             lend.consume(sent);
    ///         }
    ///         Err(error) if error.is_would_block() => {} // here a loop would wait for the event
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// assert_eq!(socket, b"to a socket");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ef_read`](Self::ef_read).
    pub fn ef_lend_read(&self, fd: Fd) -> Result<ReadLend<'_>> {
        let engine = self.check(Operation::Read)?;
        let nowait =
            |handle: Handle, offset: u64, into: &mut [u8]| engine.platform.read_nowait(handle, offset, into);
        let (slot, mut reader, found) = engine.commons.lend_front(fd, &nowait)?;
        let pieces = if found { engine.commons.window_pieces(&mut reader) } else { NO_PIECES };
        Ok(ReadLend { pieces, holder: Holder::Descriptor { efio: self, slot, fd, reader: Some(reader) } })
    }
}

impl File {
    /// As [`Efio::ef_lend_read`]. [`BufRead`](std::io::BufRead) lends the first of these pieces.
    ///
    /// ```
    /// use efio::{Efio, OpenOptions};
    /// let path = std::env::temp_dir().join(format!("efio-lend-own-{}", std::process::id()));
    /// std::fs::write(&path, b"bytes")?;
    /// let mut file = Efio::new()?.open(&path, &OpenOptions::new().read(true))?;
    /// while file.lend_read().is_err_and(|error| error.is_would_block()) {
    ///     std::thread::yield_now();
    /// }
    /// let lend = file.lend_read()?; // what was found stays until it is consumed
    /// assert_eq!(lend.bytes(), b"bytes");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_read`].
    pub fn lend_read(&mut self) -> Result<ReadLend<'_>> {
        let found = !self.lend()?.is_empty();
        let mut pieces = NO_PIECES;
        if found {
            let mut reader = self.slot().owner_reader();
            pieces = self.commons().window_pieces(&mut reader);
            reader.keep();
        }
        Ok(ReadLend { pieces, holder: Holder::Owner(self) })
    }
}

/// Whose the bytes are.
enum Holder<'a> {
    Descriptor {
        efio: &'a Efio,
        slot: &'a Slot,
        fd: Fd,
        /// Taken at the end.
        reader: Option<Reader<'a>>,
    },
    Owner(&'a mut File),
}

/// Bytes of a file in its own memory, lent until [`consume`](Self::consume) or the drop: see [`Efio::ef_lend_read`].
///
/// A drop, also by a panic, consumes nothing. In a child of fork the drop does nothing.
#[must_use = "dropped, it consumes nothing"]
pub struct ReadLend<'a> {
    pieces: Pieces,
    holder: Holder<'a>,
}

// SAFETY: the pointers are to memory of the pool, which is not bound to a thread and stands still while it is lent; the
// right to read passes on with the lend.
unsafe impl Send for ReadLend<'_> {}
// SAFETY: a shared lend only shows bytes, which nobody changes while it lives.
unsafe impl Sync for ReadLend<'_> {}

impl ReadLend<'_> {
    /// The bytes that lie in one piece from the offset on; empty at the end of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.pieces().next().unwrap_or_default()
    }

    /// All bytes that lie ready, in the order of the file; at most four pieces.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let pieces = self.pieces.iter().take_while(|(_, len)| *len > 0);
        // SAFETY: a fill wrote `len` bytes there and gave the page up; the right to read, which the holder has, keeps it in
        // the window, until `consume` or the drop ends the borrow.
        pieces.map(|(start, len)| unsafe { std::slice::from_raw_parts(*start, *len) })
    }

    /// Bytes of all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|(_, len)| len).sum()
    }

    /// At the end of the file there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces[0].1 == 0
    }

    /// Moves the offset behind the first `bytes` bytes, or behind all if there are fewer, and ends the lend. Says how many.
    #[allow(clippy::must_use_candidate, reason = "the number is known to who asks for no more than was lent")]
    pub fn consume(mut self, bytes: usize) -> usize {
        let bytes = bytes.min(self.len());
        match &mut self.holder {
            Holder::Descriptor { efio, slot, reader: Some(reader), .. } if !efio.is_forked() => {
                efio.engine().commons.advance_over(slot, reader, bytes)
            }
            Holder::Owner(file) if !file.efio.is_forked() => {
                let mut reader = file.slot().owner_reader();
                let bytes = file.commons().advance_over(file.slot(), &mut reader, bytes);
                reader.keep();
                bytes
            }
            _ => 0,
        }
    }
}

impl Drop for ReadLend<'_> {
    fn drop(&mut self) {
        let Holder::Descriptor { efio, slot, reader, .. } = &mut self.holder else { return };
        let Some(reader) = reader.take() else { return };
        if efio.is_forked() {
            return reader.keep();
        }
        let engine = efio.engine();
        engine.commons.release_reader(slot, reader.release());
        if engine.is_stopped() {
            // The module has ended around this lend: the file is closed here.
            engine.turn_until_idle();
        }
    }
}

impl fmt::Debug for ReadLend<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = match &self.holder {
            Holder::Descriptor { fd, .. } => *fd,
            Holder::Owner(file) => file.fd(),
        };
        formatter.debug_struct("ReadLend").field("fd", &fd).field("len", &self.len()).finish_non_exhaustive()
    }
}
