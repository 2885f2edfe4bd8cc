//! Job and Done: the only values that cross between a file and the platform.
//!
//! A file says *what* is to be done in a [`Job`]; a backend does it and answers with a [`Done`]. Neither knows the
//! other. Memory crosses as raw [`Slice`]s: the file keeps the pages they point into, untouched, until the `Done`
//! of that job is back, so a job never outlives its bytes. There is at most one job of each [`Kind`] in flight for a
//! slot; that is why submitting needs no queue of its own and cannot fail.
#![allow(unsafe_code, reason = "one Send for raw slices, argued at its place")]

pub(crate) mod cache;
pub(crate) mod handles;
pub(crate) mod names;

use std::any::Any;
use std::ffi::CString;
use std::fmt;
use std::sync::Arc;

use crate::error::Operation;

use cache::{Dropping, Leaving, Traces, Uncached};
use handles::HandleWork;
use names::{NameAnswer, NameWork};

/// What a backend calls an open file: a descriptor's number, or an index into a simulated disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(pub(crate) i32);

/// Which of a slot's embedded jobs this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    Fill,
    Write,
    Sync,
    Meta,
    Close,
    /// The read for one of the file's places of reads by offset.
    Fetch(u8),
}

/// Some bytes of a page, as they cross to the platform.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) start: *mut u8,
    pub(crate) len: usize,
}

/// The most slices that one job carries.
pub(crate) const SLICES_MAX: usize = 16;

/// The memory of one read or write, in file order, without gaps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slices {
    list: [Slice; SLICES_MAX],
    count: usize,
}

impl Slices {
    pub(crate) const fn new() -> Self {
        Self { list: [Slice { start: std::ptr::null_mut(), len: 0 }; SLICES_MAX], count: 0 }
    }

    /// Adds one more; false when the list is full.
    #[must_use]
    pub(crate) fn push(&mut self, slice: Slice) -> bool {
        if self.count == SLICES_MAX {
            return false;
        }
        self.list[self.count] = slice;
        self.count += 1;
        true
    }

    pub(crate) fn as_slice(&self) -> &[Slice] {
        &self.list[..self.count]
    }

    /// The bytes of all slices together.
    pub(crate) fn bytes(&self) -> usize {
        self.as_slice().iter().map(|slice| slice.len).sum()
    }

    /// The first `bytes` of them.
    #[must_use]
    pub(crate) fn first(&self, mut bytes: usize) -> Self {
        let mut first = Self::new();
        for slice in self.as_slice() {
            let len = bytes.min(slice.len);
            bytes -= len;
            if len > 0 {
                // The list is no longer than this one, so there is room.
                let _ = first.push(Slice { start: slice.start, len });
            }
        }
        first
    }

    /// What is left after the first `bytes` have been dealt with.
    #[must_use]
    pub(crate) fn after(&self, mut bytes: usize) -> Self {
        let mut rest = Self::new();
        for slice in self.as_slice() {
            let skip = bytes.min(slice.len);
            bytes -= skip;
            if skip < slice.len {
                // The list is no longer than this one, so there is room.
                let _ = rest.push(Slice { start: slice.start.wrapping_add(skip), len: slice.len - skip });
            }
        }
        rest
    }
}

/// A folder held open by a [`Dir`](crate::Dir), or by an atomic file until it is published.
///
/// `keeper` owns the backend's handle and gives it back when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Folder {
    pub(crate) handle: Handle,
    pub(crate) keeper: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Folder({}, held {} times)", self.handle.0, Arc::strong_count(&self.keeper))
    }
}

/// A name as the caller gave it: beneath a folder that it cannot leave, or as the process sees it.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    /// `Some`: the path resolves beneath this folder, without symbolic links.
    pub(crate) beneath: Option<Folder>,
    pub(crate) path: CString,
}

/// How a file is to be opened.
#[derive(Clone, Debug)]
pub(crate) struct OpenWork {
    pub(crate) name: Name,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) truncate: bool,
    /// Every write is durable when it returns (O_DSYNC).
    pub(crate) data_sync: bool,
    /// Written under no name, or a hidden one beside the target, until it is published.
    pub(crate) atomic: bool,
    pub(crate) block_device: bool,
    /// Its reads and writes are to leave nothing in the page cache.
    pub(crate) uncached: bool,
    /// What is no regular file is refused before it is opened.
    pub(crate) look_first: bool,
    pub(crate) mode: u32,
    /// Further open(2) flags of the caller's own.
    pub(crate) custom_flags: i32,
}

/// An atomic file that is not published yet: where it lies and what it is to be called.
#[derive(Debug)]
pub(crate) struct Staged {
    /// The folder that holds the target.
    pub(crate) folder: Folder,
    /// The hidden temporary name beside the target; `None` for a file without any name (O_TMPFILE).
    pub(crate) hidden: Option<CString>,
    /// The last component of the target.
    pub(crate) target: CString,
    /// The target must not exist yet.
    pub(crate) create_new: bool,
    /// The mode that the file gets when it is published; it is 0600 until then.
    pub(crate) mode: u32,
}

/// What came of an open.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) handle: Handle,
    /// Bytes in the file at that moment.
    pub(crate) size: u64,
    /// The device the file lies on; jobs of one device share a lane.
    pub(crate) device: u64,
    /// `read_nowait` may be tried on this file system.
    pub(crate) nowait: bool,
    pub(crate) staged: Option<Box<Staged>>,
}

/// Where a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At this offset, in bytes.
    At(u64),
    /// At the end of the file, wherever that is when the kernel writes (O_APPEND).
    End,
    /// The same through a descriptor that syncs each write (O_DSYNC): its error may come from the sync, when the bytes are
    /// in the file already.
    SyncedEnd,
}

/// Metadata of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) modified_ns: i128,
    pub(crate) accessed_ns: i128,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Work {
    Open(Box<OpenWork>),
    /// Read at `offset`; a short count is followed by another read in the same job, to tell the end of the file.
    Fill {
        handle: Handle,
        offset: u64,
        into: Slices,
        /// Nothing of it is to stay in the page cache.
        uncached: Option<Dropping>,
    },
    /// Write all of `from` in order.
    Write {
        handle: Handle,
        place: Place,
        from: Slices,
        /// Nothing of it is to stay in the page cache.
        uncached: Option<Uncached>,
    },
    /// fdatasync; with a name, also fsync of the folder that holds it.
    Sync {
        handle: Handle,
        name: Option<Name>,
    },
    Truncate {
        handle: Handle,
        size: u64,
    },
    Preallocate {
        handle: Handle,
        offset: u64,
        bytes: u64,
        keep_size: bool,
    },
    /// The size of the file now.
    Size {
        handle: Handle,
    },
    /// Give a staged file its name; `durable`: fdatasync before, fsync of the folder after.
    Publish {
        handle: Handle,
        staged: Box<Staged>,
        durable: bool,
    },
    /// Close; a staged file that was not published is removed.
    Close {
        handle: Handle,
        staged: Option<Box<Staged>>,
        leaving: Leaving,
    },
    Stat {
        name: Name,
        follow: bool,
    },
    Rename {
        from: Name,
        to: Name,
        replace: bool,
    },
    Unlink {
        name: Name,
        folder: bool,
    },
    OpenFolder {
        name: Name,
    },
    /// All that the open file's metadata tells.
    FileStat {
        handle: Handle,
    },
    /// Folders, links, lists, modes and times.
    Names(Box<NameWork>),
    /// Adopting, reopening, locking, recovering.
    Handle(Box<HandleWork>),
}

/// One thing for a backend to do, for one slot.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) slot: u32,
    pub(crate) kind: Kind,
    /// The device as told by [`Opened`]; 0 while it is not known.
    pub(crate) device: u64,
    pub(crate) work: Work,
}

// SAFETY: the raw slices of a job point into pages that the file gave up for its duration (`Fill`), or whose bytes
// below the taken length never change again (`Write`); the file's actor keeps both until the matching `Done`.

unsafe impl Send for Job {}

/// Why the platform could not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) operation: Operation,
    pub(crate) errno: i32,
    /// What is wrong, where the errno alone does not say it.
    pub(crate) note: &'static str,
    /// Of a write at the end: its bytes may be in the file all the same, so once more would be twice.
    pub(crate) in_doubt: bool,
}

impl Fault {
    pub(crate) const fn new(operation: Operation, errno: i32) -> Self {
        Self { operation, errno, note: "", in_doubt: false }
    }
}

/// How a job ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Opened(Result<Opened, Fault>),
    /// Another file, or another opening, is behind the handle.
    Reopened(Result<Opened, Fault>),
    /// `bytes` arrived; `end`: the file ends there. A fault lies after the bytes.
    Filled {
        bytes: usize,
        end: bool,
        fault: Option<Fault>,
        dropping: Dropping,
    },
    /// `bytes` are in the file. A fault lies after them; without one fewer than asked may have been written.
    /// A fault of a sync: it was found out that earlier bytes did not get to the disk.
    Written {
        bytes: usize,
        fault: Option<Fault>,
        traces: Traces,
    },
    Synced(Result<(), Fault>),
    /// Truncate and Preallocate: nothing to say; Size: the bytes in the file.
    Changed(Result<u64, Fault>),
    /// On failure the staged file comes back, so that closing can remove it.
    Published(Result<(), (Fault, Box<Staged>)>),
    Closed(Result<(), Fault>),
    Stat(Result<Stat, Fault>),
    /// Rename, Unlink.
    Renamed(Result<(), Fault>),
    Folder(Result<Folder, Fault>),
    Named(Result<NameAnswer, Fault>),
    /// The job panicked; whether it did its work is not known.
    Panicked,
}

/// A finished job.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) slot: u32,
    pub(crate) kind: Kind,
    pub(crate) outcome: Outcome,
}
