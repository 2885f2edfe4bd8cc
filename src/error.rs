//! Error: the operation, the file and the errno; `WouldBlock` is an answer, not a failure.
//!
//! The two answers that a program meets all day, `WouldBlock` and `Stale`, are plain values: making one allocates
//! nothing. Everything that a disk or a kernel said carries its errno, its operation, its path and, where bytes
//! are concerned, the offset, behind one shared pointer, so that the first error of a file can be kept and handed
//! out as often as it is asked for.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fd::Fd;

/// A result whose error is efio's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What was being done when an error arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Starting the module: memory, threads, the event descriptor.
    Start,
    /// Opening a file.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Moving the offset.
    Seek,
    /// Making bytes durable (fdatasync, or fsync of the folder).
    Sync,
    /// Asking what is ready, or how far a file has got.
    Poll,
    /// Changing the size of a file.
    Truncate,
    /// Reserving room for a file.
    Preallocate,
    /// Locking a range of a file, or unlocking it.
    Lock,
    /// Putting another file behind a handle.
    Reopen,
    /// Writing once more what a failed sync may have lost.
    Recover,
    /// Giving an atomic file its name.
    Publish,
    /// Closing a file.
    Close,
    /// Dropping what is unwritten, and closing.
    Abort,
    /// Asking for the metadata of a name.
    Stat,
    /// Renaming.
    Rename,
    /// Removing a name.
    Unlink,
    /// Making a folder.
    MakeDir,
    /// Reading the entries of a folder.
    ReadDir,
    /// Giving a file a second name.
    Link,
    /// Making a symbolic link.
    Symlink,
    /// Asking what a symbolic link says.
    ReadLink,
    /// Changing the permission bits of a name.
    SetMode,
    /// Changing the times of a name.
    SetTimes,
    /// Taking the answer of a queued metadata call.
    Take,
    /// Waiting for events.
    Wait,
    /// Ending the module.
    Shutdown,
}

impl Operation {
    /// The word used in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Seek => "seek",
            Self::Sync => "sync",
            Self::Poll => "poll",
            Self::Truncate => "truncate",
            Self::Preallocate => "preallocate",
            Self::Lock => "lock",
            Self::Reopen => "reopen",
            Self::Recover => "recover",
            Self::Publish => "publish",
            Self::Close => "close",
            Self::Abort => "abort",
            Self::Stat => "stat",
            Self::Rename => "rename",
            Self::Unlink => "unlink",
            Self::MakeDir => "mkdir",
            Self::ReadDir => "readdir",
            Self::Link => "link",
            Self::Symlink => "symlink",
            Self::ReadLink => "readlink",
            Self::SetMode => "chmod",
            Self::SetTimes => "utimens",
            Self::Take => "take",
            Self::Wait => "wait",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What kind of answer an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Not now: an event follows when it is worth trying again.
    WouldBlock,
    /// The handle's file is closed; its place may hold another file by now.
    Stale,
    /// The file belongs to an owning [`File`](crate::File), or is in a state in which this call has no meaning.
    Busy,
    /// The file was not opened for this.
    NotPermitted,
    /// The arguments make no sense together; the message says which.
    InvalidInput,
    /// The table of open files is full.
    TableFull,
    /// The path names a folder, a pipe, a device: something that is not a regular file.
    NotRegular,
    /// The operating system refused; see [`Error::raw_os_error`].
    Os,
    /// The module is shutting down, or has.
    Shutdown,
    /// This process is a fork of the one that made the module.
    Forked,
    /// The deadline passed; what was not done by then is said by the message.
    TimedOut,
    /// The call would wait for the thread that makes it.
    Deadlock,
    /// A job of this file panicked; the file is poisoned.
    Panicked,
}

/// An error of efio, or the answer `WouldBlock`.
///
/// Converts into [`io::Error`] with the errno kept, so `?` works in functions that return `io::Result`.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let efio = efio::Efio::new()?;
/// let fd = efio.ef_open("/no/such/file", &efio::OpenOptions::new().read(true))?;
/// let error = loop {
///     match efio.ef_open_status(fd) {
///         Err(error) if error.is_would_block() => std::thread::yield_now(),
///         answer => break answer.unwrap_err(),
///     }
/// };
/// assert_eq!(error.raw_os_error(), Some(2));
/// assert_eq!(std::io::Error::from(error).raw_os_error(), Some(2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Repr);

#[derive(Clone)]
enum Repr {
    Plain { kind: ErrorKind, operation: Operation, fd: Option<Fd> },
    Detailed(Arc<Detail>),
}

#[derive(Clone)]
struct Detail {
    kind: ErrorKind,
    operation: Operation,
    fd: Option<Fd>,
    path: Option<PathBuf>,
    errno: i32,
    offset: Option<u64>,
    note: &'static str,
}

impl Error {
    pub(crate) const fn plain(kind: ErrorKind, operation: Operation, fd: Option<Fd>) -> Self {
        Self(Repr::Plain { kind, operation, fd })
    }

    pub(crate) const fn would_block(operation: Operation, fd: Fd) -> Self {
        Self::plain(ErrorKind::WouldBlock, operation, Some(fd))
    }

    pub(crate) const fn stale(operation: Operation, fd: Fd) -> Self {
        Self::plain(ErrorKind::Stale, operation, Some(fd))
    }

    fn detail(kind: ErrorKind, operation: Operation) -> Detail {
        Detail { kind, operation, fd: None, path: None, errno: 0, offset: None, note: "" }
    }

    /// An error that the operating system gave, by its errno.
    pub(crate) fn os(operation: Operation, errno: i32) -> Self {
        Self(Repr::Detailed(Arc::new(Detail { errno, ..Self::detail(ErrorKind::Os, operation) })))
    }

    /// An error with a fixed reason in words.
    pub(crate) fn noted(kind: ErrorKind, operation: Operation, note: &'static str) -> Self {
        Self(Repr::Detailed(Arc::new(Detail { note, ..Self::detail(kind, operation) })))
    }

    /// An error that the operating system gave, or that a name was refused for, with the reason in words.
    pub(crate) fn refused(operation: Operation, errno: i32, note: &'static str) -> Self {
        Self(Repr::Detailed(Arc::new(Detail {
            errno,
            note,
            ..Self::detail(ErrorKind::NotRegular, operation)
        })))
    }

    fn amend(self, change: impl FnOnce(&mut Detail)) -> Self {
        let mut detail = match self.0 {
            Repr::Plain { kind, operation, fd } => Arc::new(Detail { fd, ..Self::detail(kind, operation) }),
            Repr::Detailed(detail) => detail,
        };
        change(Arc::make_mut(&mut detail));
        Self(Repr::Detailed(detail))
    }

    pub(crate) fn with_fd(self, fd: Fd) -> Self {
        self.amend(|detail| detail.fd = Some(fd))
    }

    pub(crate) fn with_path(self, path: &Path) -> Self {
        self.amend(|detail| detail.path = Some(path.to_path_buf()))
    }

    pub(crate) fn with_offset(self, offset: u64) -> Self {
        self.amend(|detail| detail.offset = Some(offset))
    }

    /// What kind of answer it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            Repr::Plain { kind, .. } => *kind,
            Repr::Detailed(detail) => detail.kind,
        }
    }

    /// True for "not now: an event follows".
    #[must_use]
    pub fn is_would_block(&self) -> bool {
        self.kind() == ErrorKind::WouldBlock
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match &self.0 {
            Repr::Plain { operation, .. } => *operation,
            Repr::Detailed(detail) => detail.operation,
        }
    }

    /// The file's handle, where one is concerned.
    #[must_use]
    pub fn fd(&self) -> Option<Fd> {
        match &self.0 {
            Repr::Plain { fd, .. } => *fd,
            Repr::Detailed(detail) => detail.fd,
        }
    }

    /// The path as it was given to the call that opened the file, where it is known.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Repr::Plain { .. } => None,
            Repr::Detailed(detail) => detail.path.as_deref(),
        }
    }

    /// The offset in the file, in bytes, at which a read or a write failed, where it is known.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match &self.0 {
            Repr::Plain { .. } => None,
            Repr::Detailed(detail) => detail.offset,
        }
    }

    /// The operating system's errno, where it gave one; `None` for an answer of efio's own, which its kind tells.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match &self.0 {
            Repr::Detailed(detail) if detail.errno != 0 => Some(detail.errno),
            _ => None,
        }
    }

    /// The kind in the terms of the standard library: that of the errno where there is one, so a full disk is
    /// [`io::ErrorKind::StorageFull`].
    #[must_use]
    pub fn io_kind(&self) -> io::ErrorKind {
        match self.kind() {
            ErrorKind::WouldBlock => io::ErrorKind::WouldBlock,
            ErrorKind::Busy => io::ErrorKind::ResourceBusy,
            ErrorKind::NotPermitted => io::ErrorKind::PermissionDenied,
            ErrorKind::InvalidInput | ErrorKind::NotRegular => io::ErrorKind::InvalidInput,
            ErrorKind::TimedOut => io::ErrorKind::TimedOut,
            ErrorKind::Deadlock => io::ErrorKind::Deadlock,
            ErrorKind::Os => self
                .raw_os_error()
                .map_or(io::ErrorKind::Other, |errno| io::Error::from_raw_os_error(errno).kind()),
            _ => io::ErrorKind::Other,
        }
    }

    fn reason(&self) -> &'static str {
        match self.kind() {
            ErrorKind::WouldBlock => "not now, an event follows",
            ErrorKind::Stale => "the handle's file is closed",
            ErrorKind::Busy => "the file is owned by a File, or busy with what excludes this call",
            ErrorKind::NotPermitted => "the file was not opened for this",
            ErrorKind::InvalidInput => "invalid arguments",
            ErrorKind::TableFull => "the table of open files is full",
            ErrorKind::NotRegular => "not a regular file",
            ErrorKind::Os => "the operating system refused",
            ErrorKind::Shutdown => "the module is shutting down",
            ErrorKind::Forked => "this process is a fork; its parent's files are not its own",
            ErrorKind::TimedOut => "the deadline passed",
            ErrorKind::Deadlock => "the call would wait for its own thread",
            ErrorKind::Panicked => "a job of this file panicked",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation().name())?;
        match (self.path(), self.fd()) {
            (Some(path), _) => write!(f, " {}", path.display())?,
            (None, Some(fd)) => write!(f, " {fd}")?,
            (None, None) => {}
        }
        if let Some(offset) = self.offset() {
            write!(f, " at byte {offset}")?;
        }
        match &self.0 {
            Repr::Detailed(detail) if detail.errno != 0 => {
                write!(f, ": {}", io::Error::from_raw_os_error(detail.errno))?;
                if detail.note.is_empty() { Ok(()) } else { write!(f, " ({})", detail.note) }
            }
            Repr::Detailed(detail) if !detail.note.is_empty() => write!(f, ": {}", detail.note),
            _ => write!(f, ": {}", self.reason()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.kind())
    }
}

impl std::error::Error for Error {}

impl PartialEq for Error {
    /// Two errors are equal when kind, operation, file and errno are.
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind()
            && self.operation() == other.operation()
            && self.fd() == other.fd()
            && self.raw_os_error() == other.raw_os_error()
    }
}

impl From<Error> for io::Error {
    /// Keeps the errno where there is one; otherwise the kind, with the error itself inside.
    fn from(error: Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None if error.is_would_block() => io::ErrorKind::WouldBlock.into(),
            None => io::Error::new(error.io_kind(), error),
        }
    }
}
