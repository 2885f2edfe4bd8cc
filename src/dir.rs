//! Dir: a folder that client names cannot leave; and the queued metadata calls.

mod call;
mod entries;

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::efio::Efio;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::fd::Fd;
use crate::file::answer::Answered;
use crate::job::names::{NameAnswer, kind_of};
use crate::job::{Folder, Name, Stat};
use crate::sys::publish;

pub use call::PathCall;
pub use entries::{DirEntry, Entries, EntryIter, FileKind};

/// A folder opened once. Paths given with it are resolved beneath it: no `..`, no absolute path, no symbolic link on
/// the way leads out of it, whatever other processes rename meanwhile.
///
/// Made by [`Efio::dir`](crate::Efio::dir), for the start of a program, or by
/// [`Efio::ef_open_dir`](crate::Efio::ef_open_dir), which never waits. Cheap to clone. Dropping the last clone
/// closes the folder, on that thread; an event loop has it done by [`PathCall::close_dir`].
///
/// ```
/// let efio = efio::Efio::new()?;
/// let root = efio.dir("/proc")?;
/// let fd = efio.ef_open_at(&root, "../etc/passwd", &efio::OpenOptions::new().read(true))?;
/// let error = loop {
///     match efio.ef_open_status(fd) {
///         Err(error) if error.is_would_block() => std::thread::yield_now(),
///         answer => break answer.unwrap_err(),
///     }
/// };
/// assert!(error.raw_os_error().is_some());
/// # Ok::<(), efio::Error>(())
/// ```
#[derive(Clone)]
pub struct Dir {
    folder: Folder,
    path: PathBuf,
}

impl Dir {
    pub(crate) fn new(folder: Folder, path: PathBuf) -> Self {
        Self { folder, path }
    }

    pub(crate) fn folder(&self) -> Folder {
        self.folder.clone()
    }

    fn into_folder(self) -> Folder {
        self.folder
    }

    /// The path as it was given when the folder was opened; empty for one that was opened by a queued call.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dir").field(&self.path).finish()
    }
}

/// A path as the platform takes it.
pub(crate) fn name_of(beneath: Option<&Dir>, path: &Path, operation: Operation) -> Result<Name> {
    let refuse = |note| Err(Error::noted(ErrorKind::InvalidInput, operation, note).with_path(path));
    if path.as_os_str().is_empty() {
        return refuse("the path is empty");
    }
    match CString::new(path.as_os_str().as_bytes()) {
        Ok(path) => Ok(Name { beneath: beneath.map(Dir::folder), path }),
        Err(_) => refuse("the path contains a NUL byte"),
    }
}

/// A queued metadata call: its answer is there when the event with [`Readiness::DONE`](crate::Readiness::DONE) comes.
///
/// It takes a place in the table of open files until [`Efio::take`](crate::Efio::take) has its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Op(pub(crate) Fd);

impl Op {
    /// The name under which its event comes: [`Event::fd`](crate::Event::fd).
    #[must_use]
    pub fn fd(self) -> Fd {
        self.0
    }
}

/// What a queued metadata call came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// Of a stat.
    Metadata(Metadata),
    /// Of opening a folder.
    Dir(Dir),
    /// What a symbolic link says.
    Link(PathBuf),
    /// Of reading a folder.
    Entries(Entries),
    /// Of a call that changes something: it has.
    Done,
}

impl Answer {
    pub(crate) fn of(answered: Answered) -> Result<Self> {
        match answered {
            Answered::Stat(stat) | Answered::Named(NameAnswer::Stat(stat)) => {
                Ok(Self::Metadata(Metadata(*stat)))
            }
            Answered::Folder(folder) => Ok(Self::Dir(Dir::new(folder, PathBuf::new()))),
            Answered::Named(NameAnswer::Target(text)) => Ok(Self::Link(OsString::from_vec(text).into())),
            Answered::Named(NameAnswer::Batch(batch)) => Ok(Self::Entries(Entries::new(*batch))),
            Answered::Named(NameAnswer::Done) | Answered::Done => Ok(Self::Done),
            Answered::Failed(error) => Err(error),
        }
    }
}

/// Metadata of a name.
///
/// ```
/// use efio::{Answer, Efio};
/// let efio = Efio::new()?;
/// let op = efio.ef_stat("/proc")?;
/// let answer = loop {
///     match efio.take(op) {
///         Err(error) if error.is_would_block() => std::thread::yield_now(),
///         answer => break answer?,
///     }
/// };
/// assert!(matches!(answer, Answer::Metadata(metadata) if metadata.is_dir()));
/// # Ok::<(), efio::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata(pub(crate) Stat);

#[allow(clippy::len_without_is_empty, reason = "the size of a file, as std::fs::Metadata names it")]
impl Metadata {
    /// The size in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.size
    }

    /// What it is the metadata of; never [`FileKind::Unknown`].
    #[must_use]
    pub fn kind(&self) -> FileKind {
        FileKind::of(kind_of(&self.0))
    }

    /// A folder.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind() == FileKind::Dir
    }

    /// A regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind() == FileKind::File
    }

    /// A symbolic link itself.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.kind() == FileKind::Symlink
    }

    /// Kind and permission bits, as `st_mode`.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.0.mode
    }

    /// When the contents were last changed.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        time_of(self.0.modified_ns)
    }

    /// When the contents were last read, as far as the file system keeps it.
    #[must_use]
    pub fn accessed(&self) -> SystemTime {
        time_of(self.0.accessed_ns)
    }

    /// The device that holds the file.
    #[must_use]
    pub fn dev(&self) -> u64 {
        self.0.device
    }

    /// The inode number.
    #[must_use]
    pub fn ino(&self) -> u64 {
        self.0.inode
    }

    /// The number of names.
    #[must_use]
    pub fn nlink(&self) -> u64 {
        self.0.links
    }

    /// The owner's number.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.0.user
    }

    /// The group's number.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.0.group
    }
}

/// A time from nanoseconds since 1970, which may lie before it.
fn time_of(ns: i128) -> SystemTime {
    let distance = u64::try_from(ns.unsigned_abs()).map_or(Duration::MAX, Duration::from_nanos);
    let time = if ns < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

impl Efio {
    /// Queues a question for the metadata of a name; symbolic links are followed. For an open file see
    /// [`ef_fstat`](Self::ef_fstat), for a link itself and all other calls [`PathCall`].
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the table is full; `InvalidInput` for an empty path or one with a NUL byte.
    pub fn ef_stat(&self, path: impl AsRef<Path>) -> Result<Op> {
        self.ef_queue(&PathCall::stat(path))
    }

    /// As [`ef_stat`](Self::ef_stat) beneath a folder; no symbolic link is followed.
    ///
    /// # Errors
    ///
    /// As [`ef_stat`](Self::ef_stat).
    pub fn ef_stat_at(&self, dir: &Dir, path: impl AsRef<Path>) -> Result<Op> {
        self.ef_queue(&PathCall::lstat(path).beneath(dir))
    }

    /// Queues a rename; an existing target is replaced.
    ///
    /// # Errors
    ///
    /// As [`ef_stat`](Self::ef_stat).
    pub fn ef_rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Op> {
        self.ef_queue(&PathCall::rename(from, to))
    }

    /// As [`ef_rename`](Self::ef_rename), each name beneath its folder.
    ///
    /// # Errors
    ///
    /// As [`ef_stat`](Self::ef_stat).
    pub fn ef_rename_at(
        &self,
        from: &Dir,
        path: impl AsRef<Path>,
        to: &Dir,
        target: impl AsRef<Path>,
    ) -> Result<Op> {
        self.ef_queue(&PathCall::rename(path, target).beneath(from).to_beneath(to))
    }

    /// Queues the removal of a file's name.
    ///
    /// # Errors
    ///
    /// As [`ef_stat`](Self::ef_stat).
    pub fn ef_unlink(&self, path: impl AsRef<Path>) -> Result<Op> {
        self.ef_queue(&PathCall::unlink(path))
    }

    /// As [`ef_unlink`](Self::ef_unlink) beneath a folder.
    ///
    /// # Errors
    ///
    /// As [`ef_stat`](Self::ef_stat).
    pub fn ef_unlink_at(&self, dir: &Dir, path: impl AsRef<Path>) -> Result<Op> {
        self.ef_queue(&PathCall::unlink(path).beneath(dir))
    }

    /// Queues the opening of a folder; the answer is a [`Dir`].
    ///
    /// # Errors
    ///
    /// As [`ef_stat`](Self::ef_stat).
    pub fn ef_open_dir(&self, path: impl AsRef<Path>) -> Result<Op> {
        self.ef_queue(&PathCall::open_dir(path))
    }

    /// Takes the answer of a queued metadata call, once; the call's place is free afterwards.
    ///
    /// # Errors
    ///
    /// `WouldBlock` until it is there; then what the operating system said; `Stale` when it was taken before.
    pub fn take(&self, op: Op) -> Result<Answer> {
        self.check(Operation::Take)?.commons.take_answer(op.0).and_then(Answer::of)
    }

    /// Opens a folder at once, on the caller's thread: for the start of a program.
    ///
    /// # Errors
    ///
    /// What open(2) says, or `InvalidInput` for an empty path or one with a NUL byte.
    pub fn dir(&self, path: impl AsRef<Path>) -> Result<Dir> {
        let path = path.as_ref();
        let engine = self.check(Operation::Open)?;
        let name = name_of(None, path, Operation::Open)?;
        let folder = engine.platform.open_folder(&name);
        let folder = folder.map_err(|fault| Error::os(fault.operation, fault.errno).with_path(path))?;
        Ok(Dir::new(folder, path.to_path_buf()))
    }
}

/// True for a name that only an atomic file has, before it is published: `.efio-`, 16 digits, `.tmp`.
///
/// Such a file goes when its module ends. After a crash it may be left, and it is safe to remove where no other process
/// writes atomic files in the same folder.
///
/// ```
/// assert!(efio::is_hidden_name(".efio-0123456789abcdef.tmp"));
/// assert!(!efio::is_hidden_name("report.pdf"));
/// ```
#[must_use]
pub fn is_hidden_name(name: impl AsRef<OsStr>) -> bool {
    publish::is_hidden_name(name.as_ref().as_bytes())
}
