//! What can be done about an open file's own handle: take one over, put another in its place, lock.

use std::os::fd::OwnedFd;

use super::{Handle, Name, OpenWork, Slice};

/// A lock of a range of a file, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    /// `None`: the range is unlocked.
    pub(crate) exclusive: Option<bool>,
    pub(crate) start: u64,
    /// Bytes; 0: to the end, wherever that will be.
    pub(crate) len: u64,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum HandleWork {
    /// Takes over a descriptor that was opened elsewhere.
    Adopt { descriptor: OwnedFd, work: Box<OpenWork> },
    /// Opens another file, has what is written so far made durable, and puts the new file in the place of the old one.
    Reopen {
        handle: Handle,
        work: Box<OpenWork>,
        /// Something written is not durable yet.
        sync: bool,
        /// The old file's name, if that is not durable yet.
        owed: Option<Name>,
    },
    /// As fcntl(2) with F_OFD_SETLK.
    Lock { handle: Handle, lock: Lock },
    /// Opens the same file once more, writes these pieces again, makes them durable, and puts the new opening in the place
    /// of the old one, whose sync has failed.
    Recover {
        handle: Handle,
        work: Box<OpenWork>,
        pieces: Pieces,
        /// The bytes that the file must hold, or else others have written to it; `None`: any.
        size: Option<u64>,
        owed: Option<Name>,
    },
}

impl HandleWork {
    /// It waits for a disk as a sync does.
    pub(crate) fn syncs(&self) -> bool {
        matches!(self, Self::Reopen { .. } | Self::Recover { .. })
    }

    /// The handle that the work is about: a simulated disk finds the file by it.
    #[cfg(feature = "sim")]
    pub(crate) fn handle(&self) -> Option<Handle> {
        match self {
            Self::Adopt { .. } => None,
            Self::Reopen { handle, .. } | Self::Lock { handle, .. } | Self::Recover { handle, .. } => {
                Some(*handle)
            }
        }
    }
}

/// Bytes and their places in the file, in the order in which they are to be written.
#[derive(Debug, Default)]
pub(crate) struct Pieces(pub(crate) Vec<(u64, Slice)>);
