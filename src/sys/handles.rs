//! Jobs about an open file's own handle: adopting one, putting another in its place, locking, writing once more.
//!
//! A handle keeps its number when another file is put behind it (dup3(2)). So whoever uses that number at the same
//! moment meets the old file or the new one, never a stranger's, and nobody has to be told.

use std::os::fd::OwnedFd;

use crate::error::Operation;
use crate::job::cache::Leaving;
use crate::job::handles::{HandleWork, Lock, Pieces};
use crate::job::{Fault, Handle, Name, OpenWork, Opened, Outcome, Place, Slices};
use crate::sys::cache;
use crate::sys::call::{Answer, Disk, again, during, sync, uninterrupted, write};
use crate::sys::open;

/// The note of an adopted descriptor whose access mode is not the one asked for.
pub(crate) const ACCESS_NOTE: &str = "the descriptor is not open for what the options ask";
/// The note of one that appends, or does not, against the options.
pub(crate) const APPEND_NOTE: &str = "the descriptor and the options differ in O_APPEND";
/// The note of one opened with O_DIRECT, O_PATH or without a needed O_DSYNC.
pub(crate) const FLAGS_NOTE: &str =
    "the descriptor has O_DIRECT or O_PATH, or lacks the O_DSYNC that EveryWrite needs";
/// The note of a file that other processes wrote to, so that it is not known where its own bytes lie.
pub(crate) const OTHERS_NOTE: &str = "others have appended to the file since: it is not known what is whose";

/// What a descriptor was opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenFlags {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) data_sync: bool,
    /// Flags with which it is of no use here.
    pub(crate) odd: bool,
}

/// The steps; each is one system call or stands for one.
pub(crate) trait HandleDisk {
    /// Makes a descriptor one of this disk, closed on exec; tells its flags.
    fn adopt(&self, descriptor: OwnedFd) -> Answer<(Handle, OpenFlags)> {
        drop(descriptor);
        Err(libc::EOPNOTSUPP)
    }
    /// Puts the file of `new` behind `old`, and ends `new`.
    fn replace(&self, old: Handle, new: Handle) -> Answer<()>;
    /// Opens the file behind a handle once more, without O_APPEND.
    fn open_same(&self, handle: Handle, work: &OpenWork) -> Answer<Handle>;
    /// Sets O_APPEND.
    fn set_append(&self, handle: Handle) -> Answer<()>;
    /// Locks a range for this opening of the file, or unlocks it; `EAGAIN`: another one has it.
    fn lock_range(&self, handle: Handle, lock: Lock) -> Answer<()>;
}

/// Carries out one job.
pub(crate) fn run_handle(work: HandleWork, disk: &impl Disk) -> Outcome {
    match work {
        HandleWork::Adopt { descriptor, work } => Outcome::Opened(adopt(disk, descriptor, &work)),
        HandleWork::Reopen { handle, work, sync, owed } => {
            Outcome::Reopened(reopen(disk, handle, &work, sync, owed.as_ref()))
        }
        HandleWork::Lock { handle, lock } => {
            // A lock that another has is an answer: waiting for it here would hold the thread.
            let answer = uninterrupted(|| disk.lock_range(handle, lock));
            Outcome::Changed(answer.map(|()| 0).map_err(during(Operation::Lock)))
        }
        HandleWork::Recover { handle, work, pieces, size, owed } => {
            Outcome::Reopened(recover(disk, handle, &work, &pieces, size, owed.as_ref()))
        }
    }
}

fn adopt(disk: &impl Disk, descriptor: OwnedFd, work: &OpenWork) -> Result<Opened, Fault> {
    let (handle, flags) = disk.adopt(descriptor).map_err(during(Operation::Open))?;
    let refuse = |errno, note| Err(Fault { note, ..Fault::new(Operation::Open, errno) });
    let checked = if work.read && !flags.read || (work.write || work.append) && !flags.write {
        refuse(libc::EBADF, ACCESS_NOTE)
    } else if flags.write && work.append != flags.append && (work.write || work.append) {
        refuse(libc::EINVAL, APPEND_NOTE)
    } else if flags.odd || work.data_sync && !flags.data_sync {
        refuse(libc::EINVAL, FLAGS_NOTE)
    } else {
        open::inspect(disk, work, handle, false)
    };
    checked.inspect_err(|_| {
        // The descriptor was given away; nothing was written by it here.
        let _ = disk.close(handle);
    })
}

/// A handle opened for a job, closed with it unless it has taken its place: also when the job panics.
#[derive(Debug)]
struct Fresh<'a, D: Disk> {
    disk: &'a D,
    handle: Option<Handle>,
}

impl<'a, D: Disk> Fresh<'a, D> {
    fn new(disk: &'a D, handle: Handle) -> Self {
        Self { disk, handle: Some(handle) }
    }

    /// Puts the file behind `old`.
    fn replace(mut self, old: Handle, operation: Operation) -> Result<(), Fault> {
        let Some(new) = self.handle else { return Ok(()) };
        uninterrupted(|| self.disk.replace(old, new)).map_err(during(operation))?;
        self.handle = None;
        Ok(())
    }
}

impl<D: Disk> Drop for Fresh<'_, D> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle {
            // It came to nothing, and the job says why.
            let _ = self.disk.close(handle);
        }
    }
}

fn reopen(
    disk: &impl Disk,
    handle: Handle,
    work: &OpenWork,
    durable: bool,
    owed: Option<&Name>,
) -> Result<Opened, Fault> {
    let opened = open::open(disk, work).map_err(|fault| Fault { operation: Operation::Reopen, ..fault })?;
    let fresh = Fresh::new(disk, opened.handle);
    if durable {
        sync(disk, handle, owed)?;
    }
    if work.uncached {
        cache::depart(disk, handle, Leaving::Settle)?;
    }
    fresh.replace(handle, Operation::Reopen)?;
    Ok(Opened { handle, ..opened })
}

fn recover(
    disk: &impl Disk,
    handle: Handle,
    work: &OpenWork,
    pieces: &Pieces,
    size: Option<u64>,
    owed: Option<&Name>,
) -> Result<Opened, Fault> {
    let failed = during(Operation::Recover);
    let new = again(disk, || disk.open_same(handle, work)).map_err(&failed)?;
    let fresh = Fresh::new(disk, new);
    write_again(disk, new, work, pieces, size, owed)?;
    let facts = again(disk, || disk.facts(new)).map_err(&failed)?;
    fresh.replace(handle, Operation::Recover)?;
    let (device, nowait) = (facts.device, facts.nowait && !work.uncached);
    Ok(Opened { handle, size: facts.stat.size, device, nowait, staged: None })
}

fn write_again(
    disk: &impl Disk,
    new: Handle,
    work: &OpenWork,
    pieces: &Pieces,
    size: Option<u64>,
    owed: Option<&Name>,
) -> Result<(), Fault> {
    let failed = during(Operation::Recover);
    if let Some(size) = size {
        let now = again(disk, || disk.facts(new)).map_err(&failed)?.stat.size;
        if now != size {
            return Err(Fault { note: OTHERS_NOTE, ..Fault::new(Operation::Recover, libc::EBUSY) });
        }
    }
    for (offset, slice) in &pieces.0 {
        let mut from = Slices::new();
        let _ = from.push(*slice);
        if let Outcome::Written { fault: Some(fault), .. } = write(disk, new, Place::At(*offset), &from) {
            return Err(Fault { operation: Operation::Recover, ..fault });
        }
    }
    sync(disk, new, owed).map_err(|fault| Fault { operation: Operation::Recover, ..fault })?;
    if work.append { again(disk, || disk.set_append(new)).map_err(&failed) } else { Ok(()) }
}
