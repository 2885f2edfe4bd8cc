//! PathCall: what is asked about a name, beneath which folder, and under which token its event comes.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::efio::Efio;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::job::names::{NameWork, Times};
use crate::job::{Folder, Name, Work};
use crate::sync::{Mutex, lock};

use super::entries::{self, Place};
use super::{Dir, Op, name_of};

/// A metadata call to be queued by [`Efio::ef_queue`]: what it does, to which name, beneath which folder.
///
/// A path is that of the process, as for the system call of the same name, until [`beneath`](Self::beneath) gives it a
/// folder that it cannot leave: then no symbolic link is followed, neither on the way nor at its end.
///
/// ```
/// use efio::{Answer, Efio, Events, PathCall};
/// let folder = std::env::temp_dir().join(format!("efio-call-{}", std::process::id()));
/// # std::fs::create_dir(&folder).unwrap();
/// let efio = Efio::new()?;
/// let root = efio.dir(&folder)?;
/// let op = efio.ef_queue(&PathCall::mkdir("inner", 0o755).beneath(&root).token(7))?;
/// let mut events = Events::with_capacity(4);
/// efio.wait(&mut events, None)?;
/// assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [7]);
/// assert!(matches!(efio.take(op)?, Answer::Done));
/// assert!(folder.join("inner").is_dir());
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), efio::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is queued"]
pub struct PathCall {
    what: What,
    path: PathBuf,
    beneath: Option<Dir>,
    to_beneath: Option<Dir>,
    pub(super) token: u64,
}

/// A folder on its way out; whoever queues the call takes it, so that no clone of it stays with the call.
type Held = Arc<Mutex<Option<Folder>>>;

#[derive(Clone, Debug)]
enum What {
    Stat { follow: bool },
    OpenDir,
    MakeDir { mode: u32 },
    RemoveDir,
    Unlink,
    Rename { to: PathBuf, replace: bool },
    Link { to: PathBuf },
    Symlink { target: PathBuf },
    ReadLink,
    SetMode { mode: u32 },
    SetTimes { times: Times, follow: bool },
    StatDir(Dir),
    SyncDir(Dir),
    CloseDir(Held),
    ReadDir(Dir),
    ReadOn(Place),
}

impl What {
    fn operation(&self) -> Operation {
        match self {
            Self::Stat { .. } | Self::StatDir(_) => Operation::Stat,
            Self::OpenDir => Operation::Open,
            Self::MakeDir { .. } => Operation::MakeDir,
            Self::RemoveDir | Self::Unlink => Operation::Unlink,
            Self::Rename { .. } => Operation::Rename,
            Self::Link { .. } => Operation::Link,
            Self::Symlink { .. } => Operation::Symlink,
            Self::ReadLink => Operation::ReadLink,
            Self::SetMode { .. } => Operation::SetMode,
            Self::SetTimes { .. } => Operation::SetTimes,
            Self::SyncDir(_) => Operation::Sync,
            Self::CloseDir(_) => Operation::Close,
            Self::ReadDir(_) | Self::ReadOn(_) => Operation::ReadDir,
        }
    }
}

impl PathCall {
    fn new(what: What, path: impl AsRef<Path>) -> Self {
        Self { what, path: path.as_ref().to_path_buf(), beneath: None, to_beneath: None, token: 0 }
    }

    /// The metadata of what the path leads to; the answer is [`Answer::Metadata`](crate::Answer::Metadata).
    pub fn stat(path: impl AsRef<Path>) -> Self {
        Self::new(What::Stat { follow: true }, path)
    }

    /// The metadata of the name itself: of a symbolic link, not of what it leads to.
    pub fn lstat(path: impl AsRef<Path>) -> Self {
        Self::new(What::Stat { follow: false }, path)
    }

    /// The metadata of a folder that is open: of it, and not of what has its name by now. The answer is
    /// [`Answer::Metadata`](crate::Answer::Metadata).
    ///
    /// ```
    /// use efio::{Answer, Efio, PathCall};
    /// let efio = Efio::new()?;
    /// let op = efio.ef_queue(&PathCall::stat_dir(&efio.dir("/")?))?;
    /// let answer = loop {
    ///     match efio.take(op) {
    ///         Err(error) if error.is_would_block() => std::thread::yield_now(),
    ///         answer => break answer?,
    ///     }
    /// };
    /// assert!(matches!(answer, Answer::Metadata(metadata) if metadata.is_dir()));
    /// # Ok::<(), efio::Error>(())
    /// ```
    pub fn stat_dir(dir: &Dir) -> Self {
        Self::new(What::StatDir(dir.clone()), "")
    }

    /// Opens a folder; the answer is [`Answer::Dir`](crate::Answer::Dir).
    pub fn open_dir(path: impl AsRef<Path>) -> Self {
        Self::new(What::OpenDir, path)
    }

    /// Makes a folder with these permission bits, less those of the process's umask.
    pub fn mkdir(path: impl AsRef<Path>, mode: u32) -> Self {
        Self::new(What::MakeDir { mode }, path)
    }

    /// Removes an empty folder.
    pub fn rmdir(path: impl AsRef<Path>) -> Self {
        Self::new(What::RemoveDir, path)
    }

    /// Removes the name of a file or a symbolic link.
    pub fn unlink(path: impl AsRef<Path>) -> Self {
        Self::new(What::Unlink, path)
    }

    /// Gives `from` the name `to`, replacing what has it.
    pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Self {
        Self::new(What::Rename { to: to.as_ref().to_path_buf(), replace: true }, from)
    }

    /// As [`rename`](Self::rename); a target that exists is left as it is, and the call fails with `EEXIST`.
    pub fn rename_new(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Self {
        Self::new(What::Rename { to: to.as_ref().to_path_buf(), replace: false }, from)
    }

    /// Gives the file `from` the second name `to`, which must not exist; a symbolic link is linked itself.
    pub fn link(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Self {
        Self::new(What::Link { to: to.as_ref().to_path_buf() }, from)
    }

    /// Makes a symbolic link at `path` that says `target`, which may be anything but empty.
    pub fn symlink(target: impl AsRef<Path>, path: impl AsRef<Path>) -> Self {
        Self::new(What::Symlink { target: target.as_ref().to_path_buf() }, path)
    }

    /// What a symbolic link says; the answer is [`Answer::Link`](crate::Answer::Link).
    pub fn read_link(path: impl AsRef<Path>) -> Self {
        Self::new(What::ReadLink, path)
    }

    /// Sets the permission bits.
    pub fn chmod(path: impl AsRef<Path>, mode: u32) -> Self {
        Self::new(What::SetMode { mode }, path)
    }

    /// Sets the times at which the contents were last read and changed; `None` leaves one as it is.
    pub fn utimens(
        path: impl AsRef<Path>,
        accessed: Option<SystemTime>,
        modified: Option<SystemTime>,
    ) -> Self {
        let times = Times { accessed_ns: accessed.map(ns_of), modified_ns: modified.map(ns_of) };
        Self::new(What::SetTimes { times, follow: true }, path)
    }

    /// As [`utimens`](Self::utimens), of a symbolic link itself.
    pub fn lutimens(
        path: impl AsRef<Path>,
        accessed: Option<SystemTime>,
        modified: Option<SystemTime>,
    ) -> Self {
        let mut call = Self::utimens(path, accessed, modified);
        if let What::SetTimes { follow, .. } = &mut call.what {
            *follow = false;
        }
        call
    }

    /// Makes the names in a folder durable: those made, renamed and removed so far. A failed one is not repeated: what
    /// it lost stays lost.
    pub fn sync_dir(dir: &Dir) -> Self {
        Self::new(What::SyncDir(dir.clone()), "")
    }

    /// Drops this clone of a folder on an engine thread: closing a folder, which the last clone does, is a call on it,
    /// and not one for an event loop. It can be queued once.
    ///
    /// ```
    /// use efio::{Answer, Efio, PathCall};
    /// let efio = Efio::new()?;
    /// let op = efio.ef_queue(&PathCall::close_dir(efio.dir("/proc")?))?;
    /// let answer = loop {
    ///     match efio.take(op) {
    ///         Err(error) if error.is_would_block() => std::thread::yield_now(),
    ///         answer => break answer?,
    ///     }
    /// };
    /// assert!(matches!(answer, Answer::Done));
    /// # Ok::<(), efio::Error>(())
    /// ```
    pub fn close_dir(dir: Dir) -> Self {
        Self::new(What::CloseDir(Arc::new(Mutex::new(Some(dir.into_folder())))), "")
    }

    /// The first batch of a folder's entries; the answer is [`Answer::Entries`](crate::Answer::Entries), which has the
    /// call for the next one.
    pub fn read_dir(dir: &Dir) -> Self {
        Self::new(What::ReadDir(dir.clone()), "")
    }

    pub(super) fn read_on(place: Place) -> Self {
        Self::new(What::ReadOn(place), "")
    }

    /// The path resolves beneath this folder; of a call with two paths both do.
    pub fn beneath(mut self, dir: &Dir) -> Self {
        self.beneath = Some(dir.clone());
        self.to_beneath = Some(dir.clone());
        self
    }

    /// The second path resolves beneath this folder.
    pub fn to_beneath(mut self, dir: &Dir) -> Self {
        self.to_beneath = Some(dir.clone());
        self
    }

    /// The number that its event brings; 0 unless set.
    pub fn token(mut self, token: u64) -> Self {
        self.token = token;
        self
    }

    fn name(&self, efio: &Efio) -> Result<Name> {
        efio.name(self.beneath.as_ref(), &self.path, self.what.operation())
    }

    fn target(&self, efio: &Efio, path: &Path) -> Result<Name> {
        efio.name(self.to_beneath.as_ref(), path, self.what.operation())
    }

    fn named(work: NameWork) -> Work {
        Work::Names(Box::new(work))
    }

    /// What the platform is to do.
    fn work(&self, efio: &Efio) -> Result<Work> {
        Ok(match &self.what {
            What::Stat { follow } => Work::Stat { name: self.name(efio)?, follow: *follow },
            What::OpenDir => Work::OpenFolder { name: self.name(efio)? },
            What::MakeDir { mode } => {
                Self::named(NameWork::MakeFolder { name: self.name(efio)?, mode: *mode })
            }
            What::RemoveDir => Work::Unlink { name: self.name(efio)?, folder: true },
            What::Unlink => Work::Unlink { name: self.name(efio)?, folder: false },
            What::Rename { to, replace } => {
                Work::Rename { from: self.name(efio)?, to: self.target(efio, to)?, replace: *replace }
            }
            What::Link { to } => {
                Self::named(NameWork::Link { from: self.name(efio)?, to: self.target(efio, to)? })
            }
            What::Symlink { target } => {
                let name = self.name(efio)?;
                Self::named(NameWork::Symlink { target: text_of(target)?, name })
            }
            What::ReadLink => Self::named(NameWork::ReadLink { name: self.name(efio)? }),
            What::SetMode { mode } => Self::named(NameWork::SetMode { name: self.name(efio)?, mode: *mode }),
            What::SetTimes { times, follow } => {
                let name = self.name(efio)?;
                Self::named(NameWork::SetTimes { name, times: *times, follow: *follow })
            }
            What::StatDir(dir) => Self::named(NameWork::StatFolder { folder: dir.folder() }),
            What::SyncDir(dir) => Self::named(NameWork::SyncFolder { folder: dir.folder() }),
            What::CloseDir(held) => {
                let Some(folder) = lock(held).take() else {
                    let note = "this folder was given back already";
                    return Err(Error::noted(ErrorKind::InvalidInput, Operation::Close, note));
                };
                Self::named(NameWork::CloseFolder { folder })
            }
            What::ReadDir(dir) => Self::named(NameWork::ReadFolder { folder: dir.folder(), cursor: None }),
            What::ReadOn(place) => {
                let Some(cursor) = entries::take(place) else {
                    let note = "this batch was asked for already";
                    return Err(Error::noted(ErrorKind::InvalidInput, Operation::ReadDir, note));
                };
                Self::named(NameWork::ReadFolder { folder: cursor.folder.clone(), cursor: Some(cursor) })
            }
        })
    }

    /// The call was not queued: it can be queued again.
    fn take_back(&self, work: Option<Work>) {
        let Some(Work::Names(work)) = work else { return };
        match (&self.what, *work) {
            (What::ReadOn(place), NameWork::ReadFolder { cursor: Some(cursor), .. }) => {
                entries::put_back(place, cursor);
            }
            (What::CloseDir(held), NameWork::CloseFolder { folder }) => *lock(held) = Some(folder),
            _ => {}
        }
    }
}

/// Nanoseconds since 1970, which may be below 0.
fn ns_of(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

fn text_of(target: &Path) -> Result<CString> {
    let refuse = |note| Error::noted(ErrorKind::InvalidInput, Operation::Symlink, note);
    if target.as_os_str().is_empty() {
        return Err(refuse("a symbolic link must say something"));
    }
    CString::new(target.as_os_str().as_bytes()).map_err(|_| refuse("the target contains a NUL byte"))
}

impl Efio {
    /// A name for the platform. A relative path is made absolute now: it is looked up later, and not from wherever the
    /// process is by then.
    pub(crate) fn name(&self, beneath: Option<&Dir>, path: &Path, operation: Operation) -> Result<Name> {
        let absolute = (beneath.is_none()
            && path.is_relative()
            && !path.as_os_str().is_empty()
            && !self.engine().platform.is_virtual())
        .then(|| std::path::absolute(path))
        .and_then(std::io::Result::ok);
        name_of(beneath, absolute.as_deref().unwrap_or(path), operation)
    }

    /// Queues a metadata call; never waits. [`Readiness::DONE`](crate::Readiness::DONE) comes with the call's token, and
    /// [`take`](Self::take) has the answer.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the table is full: the call can be queued again later. `InvalidInput` for an empty path or one with
    /// a NUL byte, or a batch of entries that was asked for before.
    pub fn ef_queue(&self, call: &PathCall) -> Result<Op> {
        let operation = call.what.operation();
        let engine = self.check_alive(operation)?;
        let mut work = Some(call.work(self)?);
        match engine.commons.op(&mut work, call.token, self.bound_inbox()) {
            Some(fd) => Ok(Op(fd)),
            None => {
                call.take_back(work);
                Err(Error::plain(ErrorKind::WouldBlock, operation, None))
            }
        }
    }
}
