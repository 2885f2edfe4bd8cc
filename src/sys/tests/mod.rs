//! The platform held to its rules: jobs against the real operating system, and against a disk that follows a script.

#[cfg(test)]
mod beneath;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod handles;
#[cfg(test)]
mod names;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod process;
#[cfg(test)]
mod publishing;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod transfers;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tempfile::TempDir;

use super::call::{Disk, run};
use super::os::Os;
use crate::job::cache::Leaving;
use crate::job::*;

/// A disk, and a folder of its own for one test.
pub(super) struct Bench {
    pub(super) disk: Os,
    pub(super) folder: TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::on(Os::new())
    }

    pub(super) fn on(disk: Os) -> Self {
        Self { disk, folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn name(&self, name: &str) -> Name {
        plain(&self.path(name))
    }

    /// The names in the folder, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(super) fn open(&self, work: OpenWork) -> Result<Opened, Fault> {
        opened(&self.disk, work)
    }

    pub(super) fn close(&self, opened: Opened) {
        close(&self.disk, opened.handle, opened.staged).unwrap();
    }
}

pub(super) fn plain(path: &Path) -> Name {
    Name { beneath: None, path: CString::new(path.as_os_str().as_bytes()).unwrap() }
}

/// Open for reading only.
pub(super) fn reading(name: Name) -> OpenWork {
    OpenWork {
        name,
        read: true,
        write: false,
        append: false,
        create: false,
        create_new: false,
        truncate: false,
        data_sync: false,
        atomic: false,
        block_device: false,
        uncached: false,
        look_first: false,
        mode: 0o644,
        custom_flags: 0,
    }
}

/// Open for reading and writing, made if it is not there.
pub(super) fn creating(name: Name) -> OpenWork {
    OpenWork { write: true, create: true, ..reading(name) }
}

/// An atomic file.
pub(super) fn staging(name: Name) -> OpenWork {
    OpenWork { atomic: true, ..creating(name) }
}

pub(super) fn outcome(disk: &impl Disk, kind: Kind, work: Work) -> Outcome {
    let done = run(Job { slot: 7, kind, device: 0, work }, disk);
    assert_eq!((done.slot, done.kind), (7, kind), "a Done belongs to its job");
    done.outcome
}

pub(super) fn opened(disk: &impl Disk, work: OpenWork) -> Result<Opened, Fault> {
    match outcome(disk, Kind::Meta, Work::Open(Box::new(work))) {
        Outcome::Opened(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// The bytes as slices of `piece` bytes each.
pub(super) fn slices(bytes: &mut [u8], piece: usize) -> Slices {
    let mut slices = Slices::new();
    for chunk in bytes.chunks_mut(piece) {
        assert!(slices.push(Slice { start: chunk.as_mut_ptr(), len: chunk.len() }));
    }
    slices
}

/// Writes; the bytes written and the errno of the fault.
pub(super) fn write(disk: &impl Disk, handle: Handle, place: Place, bytes: &[u8]) -> (usize, Option<Fault>) {
    let mut bytes = bytes.to_vec();
    let piece = bytes.len().div_ceil(3).max(1);
    let from = slices(&mut bytes, piece);
    match outcome(disk, Kind::Write, Work::Write { handle, place, from, uncached: None }) {
        Outcome::Written { bytes, fault, .. } => (bytes, fault),
        other => panic!("{other:?}"),
    }
}

/// Reads up to `bytes` bytes; what came, whether the file ends there, and the fault.
pub(super) fn fill(
    disk: &impl Disk,
    handle: Handle,
    offset: u64,
    bytes: usize,
) -> (Vec<u8>, bool, Option<Fault>) {
    let mut memory = vec![0xee; bytes];
    let into = slices(&mut memory, bytes.div_ceil(3).max(1));
    match outcome(disk, Kind::Fill, Work::Fill { handle, offset, into, uncached: None }) {
        Outcome::Filled { bytes, end, fault, .. } => (memory[..bytes].to_vec(), end, fault),
        other => panic!("{other:?}"),
    }
}

pub(super) fn publish(
    disk: &impl Disk,
    handle: Handle,
    staged: Box<Staged>,
    durable: bool,
) -> Result<(), (Fault, Box<Staged>)> {
    match outcome(disk, Kind::Meta, Work::Publish { handle, staged, durable }) {
        Outcome::Published(answer) => answer,
        other => panic!("{other:?}"),
    }
}

pub(super) fn sync(disk: &impl Disk, handle: Handle, name: Option<Name>) -> Result<(), Fault> {
    match outcome(disk, Kind::Sync, Work::Sync { handle, name }) {
        Outcome::Synced(answer) => answer,
        other => panic!("{other:?}"),
    }
}

pub(super) fn changed(disk: &impl Disk, work: Work) -> Result<u64, Fault> {
    match outcome(disk, Kind::Meta, work) {
        Outcome::Changed(answer) => answer,
        other => panic!("{other:?}"),
    }
}

pub(super) fn renamed(disk: &impl Disk, work: Work) -> Result<(), Fault> {
    match outcome(disk, Kind::Meta, work) {
        Outcome::Renamed(answer) => answer,
        other => panic!("{other:?}"),
    }
}

pub(super) fn stat(disk: &impl Disk, name: Name, follow: bool) -> Result<Stat, Fault> {
    match outcome(disk, Kind::Meta, Work::Stat { name, follow }) {
        Outcome::Stat(answer) => answer,
        other => panic!("{other:?}"),
    }
}

pub(super) fn close(disk: &impl Disk, handle: Handle, staged: Option<Box<Staged>>) -> Result<(), Fault> {
    match outcome(disk, Kind::Close, Work::Close { handle, staged, leaving: Leaving::Keep }) {
        Outcome::Closed(answer) => answer,
        other => panic!("{other:?}"),
    }
}
