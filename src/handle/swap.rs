//! An owned file: another one behind it, its locks, its recovery.

use std::ops::RangeBounds;
use std::path::Path;

use crate::config::LockKind;
use crate::error::{Operation, Result};

use super::File;

impl File {
    /// Puts another file behind this one: see [`Efio::ef_reopen`](crate::Efio::ef_reopen).
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_reopen`](crate::Efio::ef_reopen).
    pub fn reopen(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.check(Operation::Reopen)?;
        self.efio.reopen(self.fd, path.as_ref(), true)
    }

    /// Locks a range: see [`Efio::ef_lock`](crate::Efio::ef_lock).
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_lock`](crate::Efio::ef_lock).
    pub fn lock(&mut self, kind: LockKind, range: impl RangeBounds<u64>) -> Result<()> {
        self.check(Operation::Lock)?;
        self.efio.lock(self.fd, Some(kind.is_exclusive()), range, true)
    }

    /// Unlocks a range: see [`Efio::ef_unlock`](crate::Efio::ef_unlock).
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_unlock`](crate::Efio::ef_unlock).
    pub fn unlock(&mut self, range: impl RangeBounds<u64>) -> Result<()> {
        self.check(Operation::Lock)?;
        self.efio.lock(self.fd, None, range, true)
    }

    /// Heals a file that failed: see [`Efio::ef_recover`](crate::Efio::ef_recover).
    ///
    /// # Errors
    ///
    /// As [`Efio::ef_recover`](crate::Efio::ef_recover).
    pub fn recover(&mut self) -> Result<()> {
        self.check(Operation::Recover)?;
        self.efio.engine().commons.ask_recover(self.fd, true)
    }
}
