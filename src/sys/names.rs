//! Folders, links, lists of a folder, modes and times: the steps of a disk for them, and the jobs made of these.
//!
//! A name beneath a folder is resolved up to its last component by [`Disk::locate`]; no step here follows that one, but
//! where it says so. So none leads out of the folder, whatever is swapped for what meanwhile.

use std::ffi::CStr;

use crate::job::names::{Batch, Cursor, NameAnswer, NameWork, Times};
use crate::job::{Fault, Folder, Name};
use crate::sys::call::{Answer, Disk, Spot, again, during, located, uninterrupted};

/// The steps; each is one system call or stands for one, but for reading a folder, which takes some.
pub(crate) trait NameDisk {
    /// mkdir(2).
    fn make_folder(&self, spot: &Spot, mode: u32) -> Answer<()>;
    /// link(2): a symbolic link is linked itself, not what it leads to.
    fn link_name(&self, from: &Spot, to: &Spot) -> Answer<()>;
    /// symlink(2).
    fn make_link(&self, target: &CStr, spot: &Spot) -> Answer<()>;
    /// readlink(2), however long it is.
    fn read_link(&self, spot: &Spot) -> Answer<Vec<u8>>;
    /// chmod(2). A name beneath a folder that turns out to be a symbolic link is not followed: `ELOOP`.
    fn set_mode_of(&self, spot: &Spot, mode: u32) -> Answer<()>;
    /// utimensat(2); beneath a folder a symbolic link is never followed: its own times are set.
    fn set_times_of(&self, spot: &Spot, times: Times, follow: bool) -> Answer<()>;
    /// Opens a folder once more, to read its entries from the first one on.
    fn open_cursor(&self, folder: &Folder) -> Answer<Cursor>;
    /// Reads on: fills `batch` as far as it goes; true when the folder has come to its end.
    fn read_folder(&self, cursor: &mut Cursor, batch: &mut Batch) -> Answer<bool>;
}

/// Carries out one job about names.
pub(crate) fn run_named(work: NameWork, disk: &impl Disk) -> Result<NameAnswer, Fault> {
    let operation = work.operation();
    let done = |answer: Answer<()>| answer.map(|()| NameAnswer::Done);
    let answer = match work {
        NameWork::MakeFolder { name, mode } => {
            done(located(disk, &name, |spot| disk.make_folder(spot, mode & 0o7777)))
        }
        NameWork::Link { from, to } => done(link(disk, &from, &to)),
        NameWork::Symlink { target, name } => {
            done(located(disk, &name, |spot| disk.make_link(&target, spot)))
        }
        NameWork::ReadLink { name } => {
            located(disk, &name, |spot| disk.read_link(spot)).map(NameAnswer::Target)
        }
        NameWork::SetMode { name, mode } => {
            done(located(disk, &name, |spot| disk.set_mode_of(spot, mode & 0o7777)))
        }
        NameWork::SetTimes { name, times, follow } => {
            done(located(disk, &name, |spot| disk.set_times_of(spot, times, follow)))
        }
        NameWork::StatFolder { folder } => {
            again(disk, || disk.facts(folder.handle)).map(|facts| NameAnswer::Stat(Box::new(facts.stat)))
        }
        // Not again after a failure: the second one might say yes to what was lost.
        NameWork::SyncFolder { folder } => done(uninterrupted(|| disk.sync_folder(&folder))),
        NameWork::CloseFolder { folder } => {
            drop(folder);
            Ok(NameAnswer::Done)
        }
        NameWork::ReadFolder { folder, cursor } => read(disk, &folder, cursor),
    };
    answer.map_err(during(operation))
}

fn link(disk: &impl Disk, from: &Name, to: &Name) -> Answer<()> {
    let from = again(disk, || disk.locate(from))?;
    let to = again(disk, || disk.locate(to))?;
    again(disk, || disk.link_name(&from, &to))
}

fn read(disk: &impl Disk, folder: &Folder, cursor: Option<Cursor>) -> Answer<NameAnswer> {
    let mut cursor = match cursor {
        Some(cursor) => cursor,
        None => again(disk, || disk.open_cursor(folder))?,
    };
    let mut batch = Box::new(Batch::default());
    let end = again(disk, || disk.read_folder(&mut cursor, &mut batch))?;
    batch.shrink();
    batch.next = (!end).then_some(cursor);
    Ok(NameAnswer::Batch(batch))
}
