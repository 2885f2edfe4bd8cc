//! Entries: one batch of what is in a folder, and how to go on after it.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::job::names::{Batch, Cursor, kind};
use crate::sync::{Mutex, lock};

use super::call::PathCall;

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A pipe, a socket, a device.
    Other,
    /// This file system does not tell with the name: [`PathCall::lstat`] does.
    Unknown,
}

impl FileKind {
    pub(super) fn of(word: u8) -> Self {
        match word {
            kind::FILE => Self::File,
            kind::FOLDER => Self::Dir,
            kind::LINK => Self::Symlink,
            kind::UNKNOWN => Self::Unknown,
            _ => Self::Other,
        }
    }
}

/// The place in a folder where the next batch begins; whoever takes it reads on.
pub(super) type Place = Arc<Mutex<Option<Cursor>>>;

/// Some entries of a folder: at most 64 KiB of them, in the order of the file system, without `.` and `..`.
///
/// What is added, removed or renamed while a folder is read may be there or not; all else is there exactly once.
/// Dropping it, at any time, ends the reading.
///
/// ```
/// use efio::{Answer, Efio, Op, PathCall};
///
/// fn wait(efio: &Efio, op: Op) -> efio::Result<Answer> {
///     loop {
///         match efio.take(op) {
///             Err(error) if error.is_would_block() => std::thread::yield_now(),
///             answer => return answer,
///         }
///     }
/// }
///
/// let efio = Efio::new()?;
/// let mut call = Some(PathCall::read_dir(&efio.dir("/proc/self")?));
/// let mut names = Vec::new();
/// while let Some(next) = call.take() {
///     let Answer::Entries(entries) = wait(&efio, efio.ef_queue(&next)?)? else { unreachable!() };
///     names.extend(entries.iter().map(|entry| entry.name().to_os_string()));
///     call = entries.next_batch();
/// }
/// assert!(names.iter().any(|name| name == "status"));
/// # Ok::<(), efio::Error>(())
/// ```
#[derive(Clone)]
pub struct Entries {
    batch: Arc<Batch>,
    next: Option<Place>,
}

impl Entries {
    pub(super) fn new(mut batch: Batch) -> Self {
        let next = batch.next.take().map(|cursor| Arc::new(Mutex::new(Some(cursor))));
        Self { batch: Arc::new(batch), next }
    }

    /// How many there are in this batch; 0 only where the folder has come to its end.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// True when there are none in this batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries of this batch.
    #[must_use]
    pub fn iter(&self) -> EntryIter<'_> {
        EntryIter { batch: &self.batch, at: 0 }
    }

    /// The call that reads on; `None` when this is the last batch. It can be queued once.
    #[must_use]
    pub fn next_batch(&self) -> Option<PathCall> {
        self.next.clone().map(PathCall::read_on)
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|entry| entry.name())).finish()
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = DirEntry<'a>;
    type IntoIter = EntryIter<'a>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The entries of one batch.
#[derive(Clone, Debug)]
pub struct EntryIter<'a> {
    batch: &'a Batch,
    at: usize,
}

impl<'a> Iterator for EntryIter<'a> {
    type Item = DirEntry<'a>;

    fn next(&mut self) -> Option<DirEntry<'a>> {
        let (inode, kind, name, next) = self.batch.entry(self.at)?;
        self.at = next;
        Some(DirEntry { inode, kind: FileKind::of(kind), name: OsStr::from_bytes(name) })
    }
}

/// One entry of a folder.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    inode: u64,
    kind: FileKind,
    name: &'a OsStr,
}

impl<'a> DirEntry<'a> {
    /// Its name: any bytes but `/` and zero.
    #[must_use]
    pub fn name(&self) -> &'a OsStr {
        self.name
    }

    /// What it leads to, as far as the file system tells with the name.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// The inode number.
    #[must_use]
    pub fn ino(&self) -> u64 {
        self.inode
    }
}

/// Takes the place out, for the one call that reads on from there.
pub(super) fn take(place: &Place) -> Option<Cursor> {
    lock(place).take()
}

/// Puts it back: the call was not queued.
pub(super) fn put_back(place: &Place, cursor: Cursor) {
    *lock(place) = Some(cursor);
}
