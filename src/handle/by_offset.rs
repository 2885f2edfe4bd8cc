//! Reads and writes of an owned file by offset.

use std::io::{IoSlice, IoSliceMut};

use crate::error::{Operation, Result};
use crate::file::read_at::read_vectored;
use crate::file::write::Caller;
use crate::job::Handle;

use super::File;

impl File {
    /// Reads at `offset`, which stays where it is for the other calls: see [`Efio::ef_read_at`](crate::Efio::ef_read_at).
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_read_at`](crate::Efio::ef_read_at).
    pub fn read_at(&mut self, into: &mut [u8], offset: u64) -> Result<usize> {
        self.check(Operation::Read)?;
        let engine = self.efio.engine();
        let slot = self.slot();
        let reader = slot.owner_reader();
        let nowait =
            |handle: Handle, offset: u64, into: &mut [u8]| engine.platform.read_nowait(handle, offset, into);
        let answer =
            engine.commons.read_at_claimed(slot, self.fd, &reader, Caller::Owner, into, offset, &nowait);
        reader.keep();
        answer
    }

    /// As [`read_at`](Self::read_at), into one buffer after the other.
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_readv_at`](crate::Efio::ef_readv_at).
    pub fn read_vectored_at(&mut self, into: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        if into.iter().all(|slice| slice.is_empty()) {
            return self.read_at(&mut [], offset);
        }
        let read = |slice: &mut [u8], done: u64| self.read_at(slice, offset.saturating_add(done));
        read_vectored(into, read)
    }

    /// Has bytes written at `offset`, in the order of all writes: see [`Efio::ef_write_at`](crate::Efio::ef_write_at).
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_write_at`](crate::Efio::ef_write_at).
    pub fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<usize> {
        self.write_vectored_at(&[IoSlice::new(bytes)], offset)
    }

    /// As [`write_at`](Self::write_at) of all buffers one behind the other.
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_write_at`](crate::Efio::ef_write_at).
    pub fn write_vectored_at(&mut self, from: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.check(Operation::Write)?;
        let answer = self.commons().write_at(self.fd, from, offset, Caller::Owner);
        self.look_at_page();
        answer
    }
}
