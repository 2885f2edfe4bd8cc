//! Handles on both disks: another file behind the same number, locks of an opening, writing once more.

use super::*;
use crate::error::Operation;
use crate::job::handles::{HandleWork, Lock, Pieces};
use crate::job::{Outcome, Slice};
use crate::sys::handles::OTHERS_NOTE;

fn handled(disk: &impl Disk, work: HandleWork) -> Outcome {
    outcome(disk, Kind::Meta, Work::Handle(Box::new(work)))
}

fn appending(name: Name) -> OpenWork {
    OpenWork { append: true, ..creating(name) }
}

fn reopen(disk: &impl Disk, handle: Handle, name: Name) -> Result<Opened, Fault> {
    let work = Box::new(appending(name));
    match handled(disk, HandleWork::Reopen { handle, work, sync: true, owed: None }) {
        Outcome::Reopened(result) => result,
        other => panic!("{other:?}"),
    }
}

fn lock(disk: &impl Disk, handle: Handle, exclusive: Option<bool>, start: u64, len: u64) -> Result<(), i32> {
    match handled(disk, HandleWork::Lock { handle, lock: Lock { exclusive, start, len } }) {
        Outcome::Changed(result) => result.map(|_| ()).map_err(|fault| fault.errno),
        other => panic!("{other:?}"),
    }
}

fn recover(
    disk: &impl Disk,
    handle: Handle,
    (offset, bytes): (u64, &[u8]),
    size: Option<u64>,
) -> Result<Opened, Fault> {
    let work = Box::new(appending(Name { beneath: None, path: CString::default() }));
    let pieces = Pieces(vec![(offset, Slice { start: bytes.as_ptr().cast_mut(), len: bytes.len() })]);
    match handled(disk, HandleWork::Recover { handle, work, pieces, size, owed: None }) {
        Outcome::Reopened(result) => result,
        other => panic!("{other:?}"),
    }
}

fn another_file_behind_the_same_number(disk: &impl Disk, first: Name, second: Name) {
    let old = opened(disk, appending(first.clone())).unwrap();
    assert_eq!(write(disk, old.handle, Place::End, b"old"), (3, None));
    let missing = Name { path: CString::new("/no-such-folder/x").unwrap(), ..first.clone() };
    let fault = reopen(disk, old.handle, missing).unwrap_err();
    assert_eq!((fault.operation, fault.errno), (Operation::Reopen, libc::ENOENT));
    assert_eq!(write(disk, old.handle, Place::End, b"er"), (2, None));
    let new = reopen(disk, old.handle, second.clone()).unwrap();
    assert_eq!((new.handle, new.size), (old.handle, 0));
    assert_eq!(write(disk, new.handle, Place::End, b"new"), (3, None));
    close(disk, new.handle, None).unwrap();
    for (name, contents) in [(first, &b"older"[..]), (second, b"new")] {
        let opened = opened(disk, reading(name)).unwrap();
        assert_eq!(fill(disk, opened.handle, 0, 20), (contents.to_vec(), true, None));
        close(disk, opened.handle, None).unwrap();
    }
}

fn a_lock_belongs_to_its_opening(disk: &impl Disk, name: Name) {
    let mine = opened(disk, creating(name.clone())).unwrap().handle;
    let other = opened(disk, creating(name)).unwrap().handle;
    assert_eq!(lock(disk, mine, Some(true), 10, 10), Ok(()));
    assert_eq!(lock(disk, mine, Some(false), 12, 2), Ok(()), "its own lock is no obstacle");
    assert_eq!(lock(disk, other, Some(false), 12, 2), Ok(()), "shared in the middle");
    assert_eq!(lock(disk, other, Some(false), 10, 1), Err(libc::EAGAIN), "exclusive before it");
    assert_eq!(lock(disk, other, Some(false), 19, 0), Err(libc::EAGAIN), "and behind it");
    assert_eq!(lock(disk, other, Some(true), 20, 0), Ok(()));
    assert_eq!(lock(disk, mine, None, 0, 0), Ok(()));
    assert_eq!(lock(disk, other, Some(true), 0, 0), Ok(()));
    close(disk, other, None).unwrap();
    assert_eq!(lock(disk, mine, Some(true), 0, 0), Ok(()), "a close ends the locks of its opening");
    close(disk, mine, None).unwrap();
}

fn what_was_lost_is_written_once_more_in_its_place(disk: &impl Disk, name: Name) {
    let file = opened(disk, appending(name)).unwrap();
    assert_eq!(write(disk, file.handle, Place::End, b"safe....."), (9, None));
    let fault = recover(disk, file.handle, (4, b"again"), Some(8)).unwrap_err();
    assert_eq!((fault.operation, fault.note), (Operation::Recover, OTHERS_NOTE));
    let same = recover(disk, file.handle, (4, b"again"), Some(9)).unwrap();
    assert_eq!((same.handle, same.size), (file.handle, 9));
    // It appends as before.
    assert_eq!(write(disk, same.handle, Place::End, b"!"), (1, None));
    assert_eq!(fill(disk, same.handle, 0, 20), (b"safeagain!".to_vec(), true, None));
    close(disk, same.handle, None).unwrap();
}

#[test]
fn the_operating_system_keeps_these_rules() {
    let bench = Bench::new();
    another_file_behind_the_same_number(&bench.disk, bench.name("first"), bench.name("second"));
    a_lock_belongs_to_its_opening(&bench.disk, bench.name("locked"));
    what_was_lost_is_written_once_more_in_its_place(&bench.disk, bench.name("lost"));
}

#[cfg(feature = "sim")]
#[test]
fn so_does_the_simulated_disk() {
    let options = crate::sys::sim::SimOptions { short_count_per_mille: 0, ..Default::default() };
    let sim = crate::sys::sim::Sim::with_options(5, options);
    let name = |text: &str| plain(Path::new(text));
    another_file_behind_the_same_number(&sim, name("/first"), name("/second"));
    a_lock_belongs_to_its_opening(&sim, name("/locked"));
    what_was_lost_is_written_once_more_in_its_place(&sim, name("/lost"));
    assert_eq!(sim.open_handles(), 0);
}
