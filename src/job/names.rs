//! What can be asked about names: folders, links, lists, modes and times; and the answers.

use std::ffi::CString;

use crate::error::Operation;

use super::{Folder, Name, Stat};

/// The most bytes of one batch of a folder's entries.
pub(crate) const BATCH_BYTES: usize = 64 * 1024;

/// Bytes of a batch before each name: the inode, the kind, the name's length.
const HEAD: usize = 8 + 1 + 2;

/// A folder that is being read: opened for this alone, so that its place in the folder is nobody else's.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) folder: Folder,
    /// The last name that was given, where the disk itself does not remember the place.
    #[cfg_attr(not(feature = "sim"), allow(dead_code, reason = "operating systems remember it"))]
    pub(crate) after: Vec<u8>,
}

/// Some entries of a folder, one after the other in a single buffer.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    count: usize,
    /// Where to go on; `None`: the folder ends here.
    pub(crate) next: Option<Cursor>,
}

impl Batch {
    /// Adds an entry; false when it does not fit.
    #[must_use]
    pub(crate) fn push(&mut self, inode: u64, kind: u8, name: &[u8]) -> bool {
        let Ok(length) = u16::try_from(name.len()) else { return false };
        if self.bytes.len() + HEAD + name.len() > BATCH_BYTES {
            return false;
        }
        self.bytes.extend_from_slice(&inode.to_le_bytes());
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(name);
        self.count += 1;
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The memory that is not used goes back.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// The entry that begins at this byte: inode, kind, name; and where the next one begins.
    pub(crate) fn entry(&self, at: usize) -> Option<(u64, u8, &[u8], usize)> {
        let rest = self.bytes.get(at..)?;
        let (inode, rest) = rest.split_first_chunk::<8>()?;
        let (&kind, rest) = rest.split_first()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let name = rest.get(..usize::from(u16::from_le_bytes(*length)))?;
        Some((u64::from_le_bytes(*inode), kind, name, at + HEAD + name.len()))
    }
}

/// Times to set, in nanoseconds since 1970; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) accessed_ns: Option<i128>,
    pub(crate) modified_ns: Option<i128>,
}

/// What is to be done to a name.
#[derive(Debug)]
pub(crate) enum NameWork {
    MakeFolder {
        name: Name,
        mode: u32,
    },
    /// A second name for a file; a symbolic link is linked itself.
    Link {
        from: Name,
        to: Name,
    },
    /// A symbolic link at `name` that says `target`.
    Symlink {
        target: CString,
        name: Name,
    },
    ReadLink {
        name: Name,
    },
    SetMode {
        name: Name,
        mode: u32,
    },
    SetTimes {
        name: Name,
        times: Times,
        follow: bool,
    },
    /// fstat of the folder.
    StatFolder {
        folder: Folder,
    },
    /// fsync of the folder: makes its names durable.
    SyncFolder {
        folder: Folder,
    },
    /// Drops the folder, which closes it if nobody else holds it.
    CloseFolder {
        folder: Folder,
    },
    /// The next batch of a folder's entries, from its first one without a cursor.
    ReadFolder {
        folder: Folder,
        cursor: Option<Cursor>,
    },
}

impl NameWork {
    pub(crate) const fn operation(&self) -> Operation {
        match self {
            Self::MakeFolder { .. } => Operation::MakeDir,
            Self::Link { .. } => Operation::Link,
            Self::Symlink { .. } => Operation::Symlink,
            Self::ReadLink { .. } => Operation::ReadLink,
            Self::SetMode { .. } => Operation::SetMode,
            Self::SetTimes { .. } => Operation::SetTimes,
            Self::StatFolder { .. } => Operation::Stat,
            Self::SyncFolder { .. } => Operation::Sync,
            Self::CloseFolder { .. } => Operation::Close,
            Self::ReadFolder { .. } => Operation::ReadDir,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum NameAnswer {
    Done,
    /// What a symbolic link says.
    Target(Vec<u8>),
    Stat(Box<Stat>),
    Batch(Box<Batch>),
}

/// What a name leads to, in a form that no system has a say in.
pub(crate) mod kind {
    pub(crate) const UNKNOWN: u8 = 0;
    pub(crate) const FILE: u8 = 1;
    pub(crate) const FOLDER: u8 = 2;
    pub(crate) const LINK: u8 = 3;
    pub(crate) const OTHER: u8 = 4;
}

/// The kind of a file by its mode.
pub(crate) const fn kind_of(stat: &Stat) -> u8 {
    match stat.mode & 0o170_000 {
        0o100_000 => kind::FILE,
        0o040_000 => kind::FOLDER,
        0o120_000 => kind::LINK,
        _ => kind::OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_what_was_put_in_and_ends_at_its_bound() {
        let mut batch = Batch::default();
        let name = [b'n'; 255];
        let mut count = 0_u64;
        while batch.push(count, kind::FILE, &name) {
            count += 1;
        }
        assert_eq!(count as usize, BATCH_BYTES / (HEAD + 255));
        let (mut at, mut seen) = (0, 0);
        while let Some((inode, kind, name, next)) = batch.entry(at) {
            assert_eq!((inode, kind, name.len()), (seen, kind::FILE, 255));
            (at, seen) = (next, seen + 1);
        }
        assert_eq!((seen, batch.len()), (count, count as usize));
        assert!(!batch.push(0, kind::FILE, &vec![b'n'; 1 << 16]), "longer than a name can be");
    }
}
