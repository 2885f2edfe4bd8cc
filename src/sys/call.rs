//! The calls of a disk, and how each job is carried out with them, interruptions and short counts settled.
//!
//! [`Disk`] is what an operating system (or a simulated disk) can do, one step at a time and no cleverer than the
//! system call it stands for. [`run`] turns a [`Job`] into such steps and its results into one [`Done`]. What is
//! decided here is decided for every backend:
//!
//! - `EINTR`: again, for ever. `EAGAIN`: again after a pause, for up to a minute (a lease is being broken, a
//!   resolution raced with a rename), except by a sync: a failed sync is never repeated.
//! - A short count is no answer: reading and writing go on from where they stopped. Nothing written three times
//!   running is a fault.
//! - A short read is followed by another one: only a read of nothing tells the end of the file.
//! - A descriptor is closed once. `EINTR` from close(2) means closed.
//!
//! A panic in here is not caught: the engine does that, and poisons the one file.

use std::ffi::{CStr, CString};
use std::fmt;

use crate::error::Operation;
use crate::job::cache::{Dropping, Leaving, Traces};
use crate::job::{
    Done, Fault, Folder, Handle, Job, Name, OpenWork, Outcome, Place, Slices, Staged, Stat, Work,
};
use crate::sys::cache::{self, CacheDisk};
use crate::sys::handles::{HandleDisk, run_handle};
use crate::sys::names::{NameDisk, run_named};
use crate::sys::{open, publish};

/// What one step gives: a value, or the errno.
pub(crate) type Answer<T> = Result<T, i32>;

/// The most bytes that one read or write carries: what the kernel itself cuts at.
pub(crate) const TRANSFER_MAX: usize = 0x7fff_f000;

/// How often a write may write nothing before that is a fault.
const EMPTY_WRITES_MAX: u32 = 3;

/// How often `EAGAIN` is answered with another try; with a pause of 10 ms it outlasts the breaking of a lease (45 s).
const AGAIN_MAX: u32 = 6000;

/// A name, resolved as far as the step that uses it needs: a path relative to a folder, or as the process sees it.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) folder: Option<Folder>,
    pub(crate) path: CString,
}

impl Spot {
    pub(crate) fn within(folder: &Folder, path: &CStr) -> Self {
        Self { folder: Some(folder.clone()), path: path.to_owned() }
    }
}

/// What is known of an open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Its metadata; for a block device `size` is that of the device.
    pub(crate) stat: Stat,
    /// The device whose lane its jobs share.
    pub(crate) device: u64,
    /// `read_nowait` may be tried on this file system.
    pub(crate) nowait: bool,
}

/// The single steps of a disk. Each is one system call or stands for one; errors are errnos.
pub(crate) trait Disk: NameDisk + HandleDisk + CacheDisk + fmt::Debug {
    /// Finds the folder in which the last component of `name` is to be looked up.
    fn locate(&self, name: &Name) -> Answer<Spot>;
    /// Opens the folder that holds `name`, and tells the last component.
    fn parent(&self, name: &Name) -> Answer<(Folder, CString)>;
    /// Opens a folder.
    fn open_folder(&self, name: &Name) -> Answer<Folder>;
    /// Opens or creates the file itself, without truncating it and without ever waiting for a peer.
    fn open(&self, work: &OpenWork) -> Answer<Handle>;
    /// Makes a file without a name in `folder`, mode 0600. `target` is what it is to become.
    fn open_unnamed(&self, folder: &Folder, target: &CStr, work: &OpenWork) -> Answer<Handle>;
    /// Makes a new file called `hidden` in `folder`, mode 0600. `target` is what it is to become.
    fn open_hidden(&self, folder: &Folder, hidden: &CStr, target: &CStr, work: &OpenWork) -> Answer<Handle>;
    /// What is known of an open file.
    fn facts(&self, handle: Handle) -> Answer<Facts>;
    /// Undoes what only the opening needed; begins the read-ahead of a file that will be read.
    fn settle(&self, handle: Handle, read: bool, size: u64) -> Answer<()>;
    /// Closes; the handle is gone whatever the answer.
    fn close(&self, handle: Handle) -> Answer<()>;

    /// Reads into the slices, at most [`TRANSFER_MAX`] bytes.
    fn read(&self, handle: Handle, into: &Slices, offset: u64) -> Answer<usize>;
    /// Writes from the slices, at most [`TRANSFER_MAX`] bytes.
    fn write(&self, handle: Handle, from: &Slices, place: Place) -> Answer<usize>;
    /// fdatasync(2).
    fn sync_data(&self, handle: Handle) -> Answer<()>;
    /// fsync(2) of a folder: makes its names durable.
    fn sync_folder(&self, folder: &Folder) -> Answer<()>;
    /// ftruncate(2).
    fn truncate(&self, handle: Handle, size: u64) -> Answer<()>;
    /// fallocate(2).
    fn allocate(&self, handle: Handle, offset: u64, bytes: u64, keep_size: bool) -> Answer<()>;

    /// The process's umask.
    fn mask(&self) -> u32;
    /// fchmod(2).
    fn set_mode(&self, handle: Handle, mode: u32) -> Answer<()>;
    /// Gives a file without a name one that must not exist yet.
    fn link_unnamed(&self, handle: Handle, to: &Spot) -> Answer<()>;
    /// Gives a file a second name that must not exist yet.
    fn link(&self, from: &Spot, to: &Spot) -> Answer<()>;
    /// Renames; without `replace` the new name must not exist yet (`EINVAL` or `ENOSYS`: not known here).
    fn rename(&self, from: &Spot, to: &Spot, replace: bool) -> Answer<()>;
    /// Removes a name: a file's, or that of an empty folder.
    fn unlink(&self, spot: &Spot, folder: bool) -> Answer<()>;
    /// Metadata of a name. A name beneath a folder that turns out to be a symbolic link is not followed: `ELOOP`.
    fn stat(&self, spot: &Spot, follow: bool) -> Answer<Stat>;

    /// A random number, for names that must not clash.
    fn random(&self) -> u64;
    /// Waits a little before a step that said `EAGAIN` is tried again.
    fn pause(&self);
}

/// Takes a step again while a signal interrupts it.
pub(crate) fn uninterrupted<T>(mut step: impl FnMut() -> Answer<T>) -> Answer<T> {
    loop {
        match step() {
            Err(libc::EINTR) => {}
            answer => return answer,
        }
    }
}

/// Takes a step again while it is interrupted or asks to be.
pub(crate) fn again<T>(disk: &impl Disk, mut step: impl FnMut() -> Answer<T>) -> Answer<T> {
    for _ in 0..AGAIN_MAX {
        match uninterrupted(&mut step) {
            Err(libc::EAGAIN) => disk.pause(),
            answer => return answer,
        }
    }
    uninterrupted(step)
}

/// Names the operation in which an errno arose.
pub(crate) fn during(operation: Operation) -> impl Fn(i32) -> Fault {
    move |errno| Fault::new(operation, errno)
}

/// Carries out one job from beginning to end.
pub(crate) fn run(job: Job, disk: &impl Disk) -> Done {
    let Job { slot, kind, work, .. } = job;
    let outcome = match work {
        Work::Open(work) => Outcome::Opened(open::open(disk, &work)),
        Work::Fill { handle, offset, into, uncached } => match uncached {
            Some(dropping) => cache::fill(disk, handle, offset, &into, dropping),
            None => read_with(offset, &into, |rest, at| again(disk, || disk.read(handle, rest, at))),
        },
        Work::Write { handle, place, from, uncached } => match uncached {
            Some(uncached) => cache::write(disk, handle, place, &from, uncached),
            None => write(disk, handle, place, &from),
        },
        Work::Sync { handle, name } => Outcome::Synced(sync(disk, handle, name.as_ref())),
        Work::Truncate { handle, size } => {
            let answer = again(disk, || disk.truncate(handle, size));
            Outcome::Changed(answer.map(|()| 0).map_err(during(Operation::Truncate)))
        }
        Work::Preallocate { handle, offset, bytes, keep_size } => {
            let answer = again(disk, || disk.allocate(handle, offset, bytes, keep_size));
            Outcome::Changed(answer.map(|()| 0).map_err(during(Operation::Preallocate)))
        }
        Work::Size { handle } => {
            let facts = again(disk, || disk.facts(handle));
            Outcome::Changed(facts.map(|facts| facts.stat.size).map_err(during(Operation::Stat)))
        }
        Work::Publish { handle, staged, durable } => {
            Outcome::Published(publish::publish(disk, handle, staged, durable))
        }
        Work::Close { handle, staged, leaving } => Outcome::Closed(close(disk, handle, staged, leaving)),
        Work::Stat { name, follow } => {
            let stat = located(disk, &name, |spot| disk.stat(spot, follow));
            Outcome::Stat(stat.map_err(during(Operation::Stat)))
        }
        Work::Rename { from, to, replace } => {
            Outcome::Renamed(rename(disk, &from, &to, replace).map_err(during(Operation::Rename)))
        }
        Work::Unlink { name, folder } => {
            let gone = located(disk, &name, |spot| disk.unlink(spot, folder));
            Outcome::Renamed(gone.map_err(during(Operation::Unlink)))
        }
        Work::OpenFolder { name } => {
            Outcome::Folder(again(disk, || disk.open_folder(&name)).map_err(during(Operation::Open)))
        }
        Work::FileStat { handle } => {
            let facts = again(disk, || disk.facts(handle));
            Outcome::Stat(facts.map(|facts| facts.stat).map_err(during(Operation::Stat)))
        }
        Work::Names(work) => Outcome::Named(run_named(*work, disk)),
        Work::Handle(work) => run_handle(*work, disk),
    };
    Done { slot, kind, outcome }
}

pub(crate) fn located<T>(disk: &impl Disk, name: &Name, step: impl Fn(&Spot) -> Answer<T>) -> Answer<T> {
    let spot = again(disk, || disk.locate(name))?;
    again(disk, || step(&spot))
}

/// Reads by a step until everything is there, or the file ends.
pub(crate) fn read_with(
    offset: u64,
    into: &Slices,
    mut step: impl FnMut(&Slices, u64) -> Answer<usize>,
) -> Outcome {
    let dropping = Dropping::Untried;
    let total = into.bytes();
    let mut bytes = 0;
    while bytes < total {
        let rest = into.after(bytes);
        let answer = match offset.checked_add(bytes as u64) {
            Some(at) => step(&rest, at),
            None => Err(libc::EINVAL),
        };
        match answer {
            Ok(0) => return Outcome::Filled { bytes, end: true, fault: None, dropping },
            Ok(count) => bytes += count,
            Err(errno) => {
                let fault = Some(Fault::new(Operation::Read, errno));
                return Outcome::Filled { bytes, end: false, fault, dropping };
            }
        }
    }
    Outcome::Filled { bytes, end: false, fault: None, dropping }
}

pub(crate) fn write(disk: &impl Disk, handle: Handle, place: Place, from: &Slices) -> Outcome {
    write_with(disk, handle, place, from, |rest, here| again(disk, || disk.write(handle, rest, here)))
}

/// Writes by a step until everything is in the file.
pub(crate) fn write_with(
    disk: &impl Disk,
    handle: Handle,
    place: Place,
    from: &Slices,
    mut step: impl FnMut(&Slices, Place) -> Answer<usize>,
) -> Outcome {
    let traces = Traces::default();
    let total = from.bytes();
    let mut bytes = 0;
    let mut empty = 0;
    while bytes < total {
        let rest = from.after(bytes);
        let here = match place {
            Place::End | Place::SyncedEnd => Some(place),
            Place::At(offset) => offset.checked_add(bytes as u64).map(Place::At),
        };
        let size = || again(disk, || disk.facts(handle)).ok().map(|facts| facts.stat.size);
        let before = if place == Place::SyncedEnd { size() } else { None };
        let answer = match here {
            Some(here) => step(&rest, here),
            None => Err(libc::EFBIG),
        };
        let fault = match answer {
            // No note: those say what an open refused.
            Ok(0) if empty + 1 == EMPTY_WRITES_MAX => Fault::new(Operation::Write, libc::EIO),
            Ok(0) => {
                empty += 1;
                continue;
            }
            Ok(count) => {
                bytes += count;
                empty = 0;
                continue;
            }
            Err(errno) => {
                // What another process appended meanwhile looks the same. Then it stays in doubt, which loses nothing in silence.
                let in_doubt = place == Place::SyncedEnd && (before.is_none() || before != size());
                Fault { in_doubt, ..Fault::new(Operation::Write, errno) }
            }
        };
        return Outcome::Written { bytes, fault: Some(fault), traces };
    }
    Outcome::Written { bytes, fault: None, traces }
}

/// Makes bytes durable, and with a name that too.
///
/// `EAGAIN` is a fault here: the kernel may have dropped the pages with the first error, and a second sync of the
/// same pages would call that success.
pub(crate) fn sync(disk: &impl Disk, handle: Handle, name: Option<&Name>) -> Result<(), Fault> {
    uninterrupted(|| disk.sync_data(handle)).map_err(during(Operation::Sync))?;
    if let Some(name) = name {
        let (folder, _) = again(disk, || disk.parent(name)).map_err(during(Operation::Sync))?;
        uninterrupted(|| disk.sync_folder(&folder)).map_err(during(Operation::Sync))?;
    }
    Ok(())
}

fn close(
    disk: &impl Disk,
    handle: Handle,
    staged: Option<Box<Staged>>,
    leaving: Leaving,
) -> Result<(), Fault> {
    let departed = cache::depart(disk, handle, leaving);
    let removed = staged.map_or(Ok(()), |mut staged| publish::remove_hidden(disk, &mut staged));
    let closed = match disk.close(handle) {
        Err(libc::EINTR) => Ok(()),
        answer => answer,
    };
    departed.and(closed.and(removed).map_err(during(Operation::Close)))
}

/// Renames; where the disk cannot refuse an existing name by itself, linking does.
fn rename(disk: &impl Disk, from: &Name, to: &Name, replace: bool) -> Answer<()> {
    let from = again(disk, || disk.locate(from))?;
    let to = again(disk, || disk.locate(to))?;
    match again(disk, || disk.rename(&from, &to, replace)) {
        Err(errno @ (libc::EINVAL | libc::ENOSYS)) if !replace => {
            // A folder cannot be linked: then the first answer says more.
            match again(disk, || disk.link(&from, &to)) {
                Ok(()) => again(disk, || disk.unlink(&from, false)),
                Err(libc::EPERM) => Err(errno),
                Err(linking) => Err(linking),
            }
        }
        answer => answer,
    }
}
