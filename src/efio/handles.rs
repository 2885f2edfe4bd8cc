//! Files opened elsewhere, another file behind a handle, locks, and what a failed sync leaves.

use std::ops::{Bound, RangeBounds};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::config::{LockKind, OpenOptions};
use crate::efio::Efio;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::fd::Fd;
use crate::file::swap::NewName;
use crate::job::Name;
use crate::job::handles::Lock;

/// A range as fcntl(2) has it: a length of 0 means to the end, wherever that will be. `None`: empty.
pub(crate) fn lock_of(exclusive: Option<bool>, range: impl RangeBounds<u64>) -> Option<Lock> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.checked_add(1)?,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.checked_add(1)?,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => return Some(Lock { exclusive, start, len: 0 }),
    };
    (start < end).then(|| Lock { exclusive, start, len: end - start })
}

impl LockKind {
    pub(crate) fn is_exclusive(self) -> bool {
        self == Self::Exclusive
    }
}

impl Efio {
    /// Takes over a descriptor that was opened elsewhere, and returns its handle at once, as [`ef_open`](Self::ef_open)
    /// does. [`Readiness::OPENED`](crate::Readiness::OPENED) follows, with the error if it is of no use; then it is closed.
    ///
    /// Whether it is a regular file (or, by option, a block device) is looked at in the background, and that it was opened
    /// for what the options ask: for reading and writing, with O_APPEND exactly where `append` is chosen, with O_DSYNC for
    /// [`Durability::EveryWrite`](crate::Durability), and without O_DIRECT. O_CLOEXEC is set. Other descriptors of the same
    /// opening share its flags, its locks and its offset, which is not used here, but moved by appending writes.
    ///
    /// # Errors
    ///
    /// As [`ef_open`](Self::ef_open); `InvalidInput` for `create`, `create_new`, `atomic` and `custom_flags`. The
    /// descriptor is closed on the caller's thread then.
    ///
    /// ```
    /// use efio::{Efio, Events, OpenOptions};
    /// let path = std::env::temp_dir().join(format!("efio-adopt-{}", std::process::id()));
    /// let opened = std::fs::File::create(&path).unwrap();
    /// let efio = Efio::new()?;
    /// let fd = efio.ef_adopt(opened, &OpenOptions::new().write(true))?;
    /// efio.wait(&mut Events::with_capacity(4), None)?; // opened
    /// assert_eq!(efio.ef_write(fd, b"taken over")?, 10);
    /// efio.ef_close_immediate(fd)?;
    /// assert_eq!(std::fs::read(&path).unwrap(), b"taken over");
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), efio::Error>(())
    /// ```
    pub fn ef_adopt(&self, descriptor: impl Into<OwnedFd>, options: &OpenOptions) -> Result<Fd> {
        let engine = self.check_alive(Operation::Open)?;
        if options.create || options.create_new || options.atomic || options.custom_flags != 0 {
            let note = "what is open already cannot be created, be atomic, or get further flags";
            return Err(Error::noted(ErrorKind::InvalidInput, Operation::Open, note));
        }
        let inbox = match options.inbox_in(engine)? {
            Some(inbox) => inbox,
            None => self.bound_inbox(),
        };
        let nameless = Name { beneath: None, path: std::ffi::CString::default() };
        let descriptor = Some(descriptor.into());
        let fd = engine.commons.open(nameless, PathBuf::new(), options, inbox, 0, descriptor)?;
        engine.end_if_late(fd);
        Ok(fd)
    }

    /// Puts another file behind the handle of one that appends, for log rotation: what was accepted before goes to the old
    /// file, what comes later to the one that `path` names by then, which is made if it does not exist.
    /// [`Readiness::DONE`](crate::Readiness::DONE) follows.
    ///
    /// The new file is opened with the options of the first (without `create_new` and `truncate`). What was written to the
    /// old one is made durable before it is closed, so that [`Progress`](crate::Progress) and syncs mean the same across it;
    /// meanwhile what is accepted waits in memory. The offset of reads stays. Locks end with the old file. If it fails, the
    /// event carries the error and the old file goes on; no byte is lost. Only if the old file cannot be made durable is
    /// that a failed sync.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a file that does not append; `WouldBlock` while another request of the file (a truncate, a lock, …)
    /// is under way, whose event tells when to try again. A file that failed answers with its first error.
    ///
    /// ```
    /// use efio::{Efio, Events, OpenOptions, Readiness};
    /// let path = std::env::temp_dir().join(format!("efio-rotate-{}", std::process::id()));
    /// let old = path.with_extension("1");
    /// let efio = Efio::new()?;
    /// let fd = efio.ef_open(&path, &OpenOptions::new().append(true).create(true))?;
    /// let mut events = Events::with_capacity(4);
    /// efio.wait(&mut events, None)?; // opened
    /// efio.ef_write(fd, b"yesterday\n")?;
    /// std::fs::rename(&path, &old).unwrap();
    /// efio.ef_reopen(fd, &path)?;
    /// efio.ef_write(fd, b"today\n")?;
    /// while !events.iter().any(|event| event.readiness().is_done()) {
    ///     efio.wait(&mut events, None)?;
    /// }
    /// efio.ef_close_immediate(fd)?;
    /// assert_eq!(std::fs::read(&old).unwrap(), b"yesterday\n");
    /// assert_eq!(std::fs::read(&path).unwrap(), b"today\n");
    /// # std::fs::remove_file(&path).unwrap();
    /// # std::fs::remove_file(&old).unwrap();
    /// # Ok::<(), efio::Error>(())
    /// ```
    pub fn ef_reopen(&self, fd: Fd, path: impl AsRef<Path>) -> Result<()> {
        self.reopen(fd, path.as_ref(), false)
    }

    pub(crate) fn reopen(&self, fd: Fd, path: &Path, owner: bool) -> Result<()> {
        let engine = self.check_alive(Operation::Reopen)?;
        let name = self.name(None, path, Operation::Reopen)?;
        engine.commons.ask_reopen(fd, NewName { name, path: path.to_path_buf() }, owner)
    }

    /// Locks a range of the file against other openings of it, in this process or another (F_OFD_SETLK: the lock belongs to
    /// the opening, and ends with an unlock, a reopening, a recovery or the close). [`Readiness::DONE`](crate::Readiness::DONE)
    /// follows, with the error `EAGAIN` if another one has the range: nothing waits for a lock, since that would hold an
    /// engine thread for as long as the other one likes. Ask again at a time of your own.
    ///
    /// What others wrote before they gave the range up is seen by reads after the event. Advisory, as in fcntl(2).
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an empty range; `NotPermitted` for a shared lock of a file that is not open for reading, or an
    /// exclusive one of a file not open for writing; `WouldBlock` while another request of the file is under way.
    ///
    /// ```
    /// use efio::{Efio, Events, LockKind, OpenOptions};
    /// let path = std::env::temp_dir().join(format!("efio-lock-{}", std::process::id()));
    /// let efio = Efio::new()?;
    /// let fd = efio.ef_open(&path, &OpenOptions::new().read(true).write(true).create(true))?;
    /// let mut events = Events::with_capacity(4);
    /// efio.wait(&mut events, None)?; // opened
    /// efio.ef_lock(fd, LockKind::Exclusive, 0..512)?;
    /// efio.wait(&mut events, None)?;
    /// let event = events.iter().next().unwrap();
    /// assert!(event.readiness().is_done());
    /// # if event.error().is_none_or(|error| error.raw_os_error() != Some(95)) {
    /// assert!(event.error().is_none(), "nobody else has it");
    /// # }
    /// efio.ef_write_at(fd, b"the first block", 0)?;
    /// efio.ef_unlock(fd, 0..512)?; // written by the time that it is unlocked
    /// # efio.ef_close_immediate(fd)?;
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), efio::Error>(())
    /// ```
    pub fn ef_lock(&self, fd: Fd, kind: LockKind, range: impl RangeBounds<u64>) -> Result<()> {
        self.lock(fd, Some(kind.is_exclusive()), range, false)
    }

    /// Unlocks a range, once everything accepted before is written. [`Readiness::DONE`](crate::Readiness::DONE) follows.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an empty range; `WouldBlock` while another request of the file is under way.
    pub fn ef_unlock(&self, fd: Fd, range: impl RangeBounds<u64>) -> Result<()> {
        self.lock(fd, None, range, false)
    }

    pub(crate) fn lock(
        &self,
        fd: Fd,
        exclusive: Option<bool>,
        range: impl RangeBounds<u64>,
        owner: bool,
    ) -> Result<()> {
        let engine = self.check(Operation::Lock)?;
        let Some(lock) = lock_of(exclusive, range) else {
            let note = "the range is empty";
            return Err(Error::noted(ErrorKind::InvalidInput, Operation::Lock, note).with_fd(fd));
        };
        engine.commons.ask_lock(fd, lock, owner)
    }

    /// Heals a file that failed. [`Readiness::DONE`](crate::Readiness::DONE) follows, with
    /// [`RESUMED`](crate::Readiness::RESUMED) if it is healed: then all that was written is durable, what was accepted and not
    /// written goes out, and the file takes bytes again. Else with the error, and the first one stands; it may be tried again.
    ///
    /// After a failed sync the kernel may have dropped what it could not write, and no second sync tells. So the same file is
    /// opened once more (by `/proc`, whatever its name is by now), what was written since the last sync is written again,
    /// and made durable by that opening, which then takes the place of the old one. This needs the bytes:
    /// [`OpenOptions::retain_until_durable`]. Without them nothing is healed, and the event's error says so; how many may be
    /// lost is the difference of `written` and `durable` in its progress. Of an append file it must also be known where they
    /// lie, so nobody else may have appended since. A file whose job panicked is not healed. Locks end with the old opening.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a file that has not failed; `WouldBlock` while another request of the file is under way.
    pub fn ef_recover(&self, fd: Fd) -> Result<()> {
        self.check_alive(Operation::Recover)?.commons.ask_recover(fd, false)
    }
}
