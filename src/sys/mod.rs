//! The platform: how the work of a job is done, and the contract of a backend that does it.
//!
//! | file | what it keeps |
//! | --- | --- |
//! | `call` | the steps of a disk; a job carried out with them, interruptions and short counts settled |
//! | `cache` | transfers that leave nothing in the page cache: the steps, and how jobs take them |
//! | `open` | what is refused when opening, without hanging on it |
//! | `names` | folders, links, lists of a folder: the steps of a disk for them |
//! | `handles` | adopting a descriptor, another file behind a handle, locks, recovery: the steps, and the jobs made of them |
//! | `publish` | how a staged file gets its name |
//! | `os`, `path`, `raw` | the operating system as a disk; names beneath a folder; its system calls |
//! | `threads` | the backend of engine threads; signals; the fork generation |
//! | `notify_fd` | a descriptor to wait on |
//! | `sim` | a disk in memory, with a virtual clock, faults and power cuts |
//!
//! Jobs come in, their `Done`s go out. Nothing here knows what a file's state is, nor who waits for it.

pub(crate) mod cache;
pub(crate) mod call;
pub(crate) mod handles;
pub(crate) mod names;
pub(crate) mod notify_fd;
pub(crate) mod open;
pub(crate) mod os;
mod path;
pub(crate) mod publish;
mod raw;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(test)]
#[cfg(all(target_os = "linux", not(efio_loom)))]
mod tests;
pub(crate) mod threads;

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::Operation;
use crate::job::{Done, Fault, Folder, Handle, Job, Name};
use call::{Answer, Disk, again, during};
use os::Os;
use threads::Threads;

/// Does jobs. One belongs to each engine thread.
///
/// Every job that is submitted comes back from a later `reap` as one [`Done`], with the same slot and kind. Jobs of
/// different slots, and of different kinds of one slot, may come back in any order.
pub(crate) trait Backend: Send {
    /// Takes a job. It may be done by the time this returns: the threads backend waits for the disk in here, and a
    /// panic of the job comes out of here. A backend that does its jobs later tells of it in the `Done`.
    fn submit(&mut self, job: Job);
    /// Adds what is finished to `done`; never waits.
    fn reap(&mut self, done: &mut Vec<Done>);
}

/// What was found at run time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Features {
    /// Bytes in memory are read without waiting.
    pub(crate) read_nowait: bool,
    /// Names are resolved beneath a folder by the kernel.
    pub(crate) resolves_beneath: bool,
}

/// Where the files of a module lie.
#[derive(Clone, Debug)]
pub(crate) enum Platform {
    /// In the operating system's file systems.
    Os,
    /// In memory, on a simulated disk.
    #[cfg(feature = "sim")]
    Sim(sim::Sim),
}

impl Platform {
    /// A backend for one engine thread.
    pub(crate) fn backend(&self) -> Box<dyn Backend> {
        match self {
            Self::Os => Box::new(Threads::new(Os::new())),
            #[cfg(feature = "sim")]
            Self::Sim(sim) => Box::new(sim.backend()),
        }
    }

    /// Reads what is in memory, on the caller's thread, without waiting.
    ///
    /// `EAGAIN`: nothing of it is in memory. `EOPNOTSUPP`, `ENOSYS`, `EPERM`: this file system or kernel cannot. 0 is
    /// the end of the file; a short count is not.
    pub(crate) fn read_nowait(&self, handle: Handle, offset: u64, into: &mut [u8]) -> Answer<usize> {
        match self {
            Self::Os => raw::read_nowait(handle.0, offset, into),
            #[cfg(feature = "sim")]
            Self::Sim(sim) => sim.read_nowait(handle, offset, into),
        }
    }

    /// The monotonic clock, in nanoseconds since some point in the past.
    pub(crate) fn now_ns(&self) -> u64 {
        match self {
            Self::Os => raw::now_ns(),
            #[cfg(feature = "sim")]
            Self::Sim(sim) => sim.now_ns(),
        }
    }

    /// What the platform can do, asked now.
    pub(crate) fn features(&self) -> Features {
        match self {
            Self::Os => os::features(),
            #[cfg(feature = "sim")]
            Self::Sim(_) => Features { read_nowait: true, resolves_beneath: true },
        }
    }

    /// True if the clock moves only when a test moves it.
    pub(crate) fn is_virtual(&self) -> bool {
        match self {
            Self::Os => false,
            #[cfg(feature = "sim")]
            Self::Sim(_) => true,
        }
    }

    /// On a virtual clock: when the next job comes back. `None`: none will, or the clock is real.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        match self {
            Self::Os => None,
            #[cfg(feature = "sim")]
            Self::Sim(sim) => sim.next_due(),
        }
    }

    /// Moves a virtual clock on to this time, if it is not there yet; a real one goes by itself.
    pub(crate) fn advance_to_ns(&self, time: u64) {
        match self {
            Self::Os => _ = time,
            #[cfg(feature = "sim")]
            Self::Sim(sim) => sim.advance_to_ns(time),
        }
    }

    /// Opens a folder at once, on the caller's thread.
    ///
    /// # Errors
    ///
    /// What open(2) says.
    pub(crate) fn open_folder(&self, name: &Name) -> Result<Folder, Fault> {
        match self {
            Self::Os => open_folder(&Os::new(), name),
            #[cfg(feature = "sim")]
            Self::Sim(sim) => open_folder(sim, name),
        }
    }
}

/// One read(2) from a descriptor of the program's own, into memory that need not be initialised; an interrupted one is
/// made again.
pub(crate) fn receive(from: BorrowedFd<'_>, into: &mut [MaybeUninit<u8>]) -> std::io::Result<usize> {
    loop {
        match raw::receive(from.as_raw_fd(), into) {
            Ok(bytes) => return Ok(bytes),
            Err(errno) => {
                let error = std::io::Error::from_raw_os_error(errno);
                if error.kind() != std::io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

fn open_folder(disk: &impl Disk, name: &Name) -> Result<Folder, Fault> {
    again(disk, || disk.open_folder(name)).map_err(during(Operation::Open))
}
