//! A disk that fails or hangs: what is kept, what is lost, what is said; and other files are not held up.
//!
//! The faults come from a FUSE file system of the test's own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/fuse.rs"]
mod fuse;
mod support;

use std::io::SeekFrom;
use std::time::Duration;

use efio::{Durability, Efio, ErrorKind, OnFull, OpenOptions, Operation, Readiness};
use fuse::{Asked, Fate, Mounted};
use support::{Loop, noise, wait_until};

/// A module and a disk that obeys; `None`, and said so, where there can be none.
fn stage() -> Option<(Loop, Mounted)> {
    let mounted = Mounted::or_skip()?;
    let builder = Efio::builder().flush_interval(Duration::from_millis(5)).threads_limit(16);
    Some((Loop::new(builder.close_deadline(Duration::from_millis(300)).build().unwrap()), mounted))
}

fn new_file() -> OpenOptions {
    OpenOptions::new().write(true).create(true)
}

#[test]
fn an_io_error_of_a_write_stalls_and_the_bytes_arrive_when_it_passes() {
    let Some((mut all, mounted)) = stage() else { return };
    let bytes = noise(1, 300_000);
    let fd = all.open(mounted.path("file"), &new_file()).unwrap();
    mounted.disk.ordain("file", Asked::Write, Fate::Fails(libc::EIO));
    all.write(fd, &bytes[..200_000]).unwrap();
    let stalled = all.until(fd, Readiness::STALLED);
    let error = stalled.error().unwrap();
    assert_eq!((error.raw_os_error(), error.operation()), (Some(libc::EIO), Operation::Write));
    assert_eq!(error.offset(), Some(0));
    assert!(all.efio.ef_poll(fd).unwrap().contains(Readiness::STALLED | Readiness::WRITABLE));
    all.write(fd, &bytes[200_000..]).unwrap();
    mounted.disk.heal("file", Asked::Write);
    all.until(fd, Readiness::RESUMED);
    let closed = all.close(fd);
    assert!(closed.error().is_none() && closed.bytes_lost() == 0, "{closed:?}");
    assert!(mounted.disk.contents("file") == bytes);
}

#[test]
fn an_io_error_of_a_write_poisons_after_five_failed_tries() {
    let Some((mut all, mounted)) = stage() else { return };
    let fd = all.open(mounted.path("file"), &new_file()).unwrap();
    mounted.disk.ordain("file", Asked::Write, Fate::Fails(libc::EIO));
    all.write(fd, b"never written").unwrap();
    wait_until("the poison", || {
        all.gather(Duration::from_millis(20));
        all.efio.ef_poll(fd).unwrap().contains(Readiness::ERROR)
    });
    assert_eq!(mounted.disk.count("file", Asked::Write), 5);
    mounted.disk.heal("file", Asked::Write);
    let refused = all.efio.ef_write(fd, b"more").unwrap_err();
    assert_eq!((refused.raw_os_error(), refused.operation()), (Some(libc::EIO), Operation::Write));
    assert_eq!(all.efio.ef_sync(fd).unwrap_err().raw_os_error(), Some(libc::EIO));
    let closed = all.close(fd);
    assert_eq!(closed.error().unwrap().raw_os_error(), Some(libc::EIO));
    assert_eq!(closed.bytes_lost(), 13);
}

#[test]
fn a_failed_sync_is_never_followed_by_one_that_succeeds() {
    let Some((mut all, mounted)) = stage() else { return };
    let fd = all.open(mounted.path("file"), &new_file()).unwrap();
    all.write(fd, b"durable ").unwrap();
    all.sync(fd).unwrap();
    mounted.disk.ordain("file", Asked::Sync, Fate::Fails(libc::EIO));
    all.write(fd, b"doubtful").unwrap();
    let failed = all.sync(fd).unwrap_err();
    assert_eq!((failed.raw_os_error(), failed.operation()), (Some(libc::EIO), Operation::Sync));
    mounted.disk.heal("file", Asked::Sync);
    let asked = mounted.disk.count("file", Asked::Sync);
    for _ in 0..3 {
        assert_eq!(all.efio.ef_sync(fd).unwrap_err(), failed);
        assert_eq!(all.efio.ef_write(fd, b"x").unwrap_err(), failed);
    }
    assert_eq!(all.efio.ef_progress(fd).unwrap().durable, 8);
    let closed = all.close(fd);
    assert_eq!(closed.error(), Some(&failed), "shown before or not");
    assert_eq!(closed.bytes_lost(), 8, "what was written and not made durable may be lost");
    assert_eq!(mounted.disk.count("file", Asked::Sync), asked, "no second fsync on the same pages");
}

#[test]
fn a_sync_that_fails_at_the_close_comes_with_the_closed_event() {
    let Some((mut all, mounted)) = stage() else { return };
    let fd = all.open(mounted.path("file"), &new_file().durability(Durability::OnClose)).unwrap();
    mounted.disk.ordain("file", Asked::Sync, Fate::Fails(libc::EIO));
    all.write(fd, b"promised").unwrap();
    let closed = all.close(fd);
    assert_eq!(closed.error().unwrap().raw_os_error(), Some(libc::EIO));
    assert_eq!(closed.bytes_lost(), 8);
}

#[test]
fn what_close_says_of_lost_bytes_reaches_the_closed_event() {
    let Some((mut all, mounted)) = stage() else { return };
    let fd = all.open(mounted.path("file"), &new_file()).unwrap();
    mounted.disk.ordain("file", Asked::Flush, Fate::Fails(libc::EDQUOT));
    all.write(fd, b"over quota").unwrap();
    let closed = all.close(fd);
    let error = closed.error().unwrap();
    assert_eq!((error.raw_os_error(), error.operation()), (Some(libc::EDQUOT), Operation::Close));
}

#[test]
fn a_read_error_is_told_at_its_offset_once_and_the_next_read_tries_again() {
    let Some((mut all, mounted)) = stage() else { return };
    let bytes = noise(2, 500_000);
    mounted.disk.put("file", bytes.clone());
    mounted.disk.ordain("file", Asked::Read, Fate::Fails(libc::EIO));
    let fd = all.open(mounted.path("file"), &OpenOptions::new().read(true)).unwrap();
    let error = all.read(fd).unwrap_err();
    assert_eq!((error.raw_os_error(), error.offset()), (Some(libc::EIO), Some(0)));
    mounted.disk.heal("file", Asked::Read);
    assert!(all.read(fd).unwrap() == bytes);
    assert!(all.close(fd).error().is_none(), "a read error loses nothing");
}

#[test]
fn a_full_disk_fails_the_file_that_asked_for_that_and_stalls_the_other() {
    let Some((mut all, mounted)) = stage() else { return };
    let patient = all.open(mounted.path("patient"), &new_file()).unwrap();
    let hasty = all.open(mounted.path("hasty"), &new_file().on_full(OnFull::Fail)).unwrap();
    for name in ["patient", "hasty"] {
        mounted.disk.ordain(name, Asked::Write, Fate::Fails(libc::ENOSPC));
    }
    for fd in [patient, hasty] {
        all.write(fd, b"bytes").unwrap();
    }
    let failed = all.until(hasty, Readiness::ERROR);
    assert!(!failed.readiness().contains(Readiness::STALLED));
    let io: std::io::Error = all.efio.ef_write(hasty, b"x").unwrap_err().into();
    assert_eq!(io.kind(), std::io::ErrorKind::StorageFull);
    all.until(patient, Readiness::STALLED);
    mounted.disk.heal("patient", Asked::Write);
    all.sync(patient).unwrap();
    all.until(patient, Readiness::RESUMED);
    assert_eq!(mounted.disk.contents("patient"), b"bytes");
    assert_eq!(all.close(hasty).bytes_lost(), 5);
}

#[test]
fn a_hung_file_holds_up_no_other_and_none_of_its_own_calls_wait() {
    let Some((mut all, mounted)) = stage() else { return };
    let folder = tempfile::tempdir().unwrap();
    let bytes = noise(3, 400_000);
    let hung: Vec<_> = (0..20)
        .map(|number| all.open(mounted.path(&format!("hung-{number}")), &new_file()).unwrap())
        .collect();
    for (number, fd) in hung.iter().enumerate() {
        mounted.disk.ordain(&format!("hung-{number}"), Asked::Write, Fate::Hangs);
        all.write(*fd, &bytes).unwrap();
        all.efio.ef_sync(*fd).unwrap();
    }
    wait_until("the hang", || mounted.disk.hangs());
    for number in 0..100 {
        let path = folder.path().join(number.to_string());
        let fd = all.open(&path, &new_file()).unwrap();
        all.write(fd, &bytes[..50_000]).unwrap();
        all.sync(fd).unwrap();
        assert!(all.close(fd).error().is_none());
        assert!(std::fs::read(&path).unwrap() == bytes[..50_000]);
    }
    for fd in &hung {
        assert!(all.efio.ef_progress(*fd).unwrap().written < 400_000);
        all.efio.ef_poll(*fd).unwrap();
        all.efio.ef_close(*fd).unwrap();
        assert!(all.efio.ef_close_status(*fd).unwrap_err().is_would_block());
        assert_eq!(all.efio.ef_write(*fd, b"late").unwrap_err().kind(), ErrorKind::Stale);
    }
    mounted.disk.release();
    for (number, fd) in hung.into_iter().enumerate() {
        let closed = all.until(fd, Readiness::CLOSED);
        assert!(closed.error().is_none() && closed.bytes_lost() == 0, "{closed:?}");
        assert!(mounted.disk.contents(&format!("hung-{number}")) == bytes);
    }
}

#[test]
fn hung_opens_and_syncs_and_reads_hold_up_no_file_that_is_open() {
    let Some((mut all, mounted)) = stage() else { return };
    let folder = tempfile::tempdir().unwrap();
    let both = OpenOptions::new().read(true).write(true).create(true);
    let healthy: Vec<_> =
        (0..50).map(|number| all.open(folder.path().join(number.to_string()), &both).unwrap()).collect();
    let mut hung = Vec::new();
    for number in 0..4 {
        let (syncs, reads) = (format!("s{number}"), format!("r{number}"));
        mounted.disk.put(&reads, b"held back".to_vec());
        mounted.disk.ordain(&syncs, Asked::Sync, Fate::Hangs);
        mounted.disk.ordain(&reads, Asked::Read, Fate::Hangs);
        let syncing = all.open(mounted.path(&syncs), &new_file()).unwrap();
        all.write(syncing, b"x").unwrap();
        all.efio.ef_sync(syncing).unwrap();
        let reading = all.open(mounted.path(&reads), &OpenOptions::new().read(true)).unwrap();
        assert!(all.efio.ef_read(reading, &mut [0; 9]).unwrap_err().is_would_block());
        hung.extend([syncing, reading]);
    }
    // More than the lane of opens has threads.
    let names: Vec<String> = (0..12).map(|number| format!("o{number}")).collect();
    names.iter().for_each(|name| mounted.disk.ordain(name, Asked::Open, Fate::Hangs));
    let opening: Vec<_> =
        names.iter().map(|name| all.efio.ef_open(mounted.path(name), &new_file()).unwrap()).collect();
    wait_until("a hung open", || names.iter().any(|name| mounted.disk.count(name, Asked::Open) > 0));
    for (number, fd) in healthy.iter().enumerate() {
        let bytes = noise(number as u64, 100_000);
        all.write(*fd, &bytes).unwrap();
        all.sync(*fd).unwrap();
        all.seek(*fd, SeekFrom::Start(0)).unwrap();
        assert!(all.read(*fd).unwrap() == bytes);
    }
    assert!(opening.iter().all(|fd| all.efio.ef_open_status(*fd).unwrap_err().is_would_block()));
    mounted.disk.release();
    for fd in opening {
        all.until(fd, Readiness::OPENED);
    }
    for fd in hung.into_iter().chain(healthy) {
        assert!(all.close(fd).error().is_none());
    }
}
