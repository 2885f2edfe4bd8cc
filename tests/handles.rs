//! Handles: descriptors opened elsewhere, log rotation, locks.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;

use efio::{Durability, Efio, ErrorKind, Event, LockKind, OpenOptions, Operation, Readiness};
use support::{Loop, noise};

fn stage() -> (Loop, tempfile::TempDir) {
    (Loop::new(Efio::new().unwrap()), tempfile::tempdir().unwrap())
}

fn log() -> OpenOptions {
    OpenOptions::new().append(true).create(true)
}

fn done(all: &mut Loop, fd: efio::Fd) -> Event {
    all.until(fd, Readiness::DONE)
}

#[test]
fn an_adopted_descriptor_is_written_and_closed_as_any_other() {
    let (mut all, folder) = stage();
    let path = folder.path().join("given");
    let fd = all.efio.ef_adopt(fs::File::create(&path).unwrap(), &OpenOptions::new().write(true)).unwrap();
    all.until(fd, Readiness::OPENED);
    let bytes = noise(1, 200_000);
    all.write(fd, &bytes).unwrap();
    let closed = all.close(fd);
    assert!(closed.error().is_none(), "{closed:?}");
    assert!(fs::read(&path).unwrap() == bytes);
}

#[test]
fn a_descriptor_that_does_not_fit_is_refused_and_closed() {
    let (mut all, folder) = stage();
    let path = folder.path().join("file");
    fs::write(&path, b"as it was").unwrap();
    let (pipe, _other) = std::io::pipe().unwrap();
    let appending = fs::File::options().append(true).open(&path).unwrap();
    let wrong: [(OwnedFd, OpenOptions, &str); 5] = [
        (fs::File::open(&path).unwrap().into(), OpenOptions::new().write(true), "not open for"),
        (appending.into(), OpenOptions::new().write(true), "O_APPEND"),
        (fs::File::options().write(true).open(&path).unwrap().into(), log().create(false), "O_APPEND"),
        (fs::File::open(folder.path()).unwrap().into(), OpenOptions::new().read(true), "folder"),
        (pipe.into(), OpenOptions::new().read(true), "pipe"),
    ];
    for (descriptor, options, reason) in wrong {
        let fd = all.efio.ef_adopt(descriptor, &options).unwrap();
        let event = all.until(fd, Readiness::OPENED);
        let error = event.error().unwrap().to_string();
        assert!(error.contains(reason), "{error} should tell of {reason}");
    }
    let refused = all.efio.ef_adopt(fs::File::open(&path).unwrap(), &log()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(fs::read(&path).unwrap(), b"as it was");
}

#[test]
fn a_rotated_log_loses_no_line_and_keeps_their_order() {
    let (mut all, folder) = stage();
    let path = folder.path().join("log");
    let fd = all.open(&path, &log()).unwrap();
    let mut lines = Vec::new();
    for round in 0..10 {
        for number in 0..2000 {
            let line = format!("{round} {number}\n");
            all.write(fd, line.as_bytes()).unwrap();
            lines.extend_from_slice(line.as_bytes());
        }
        fs::rename(&path, folder.path().join(format!("log.{round}"))).unwrap();
        all.efio.ef_reopen(fd, &path).unwrap();
        // Written while the change is under way.
        let line = format!("between {round}\n");
        all.write(fd, line.as_bytes()).unwrap();
        lines.extend_from_slice(line.as_bytes());
        assert!(done(&mut all, fd).error().is_none());
    }
    let progress = all.efio.ef_progress(fd).unwrap();
    assert!(progress.durable > 0, "the old files are durable: {progress:?}");
    let closed = all.close(fd);
    assert_eq!((closed.bytes_lost(), closed.progress().written), (0, lines.len() as u64));
    let mut found = Vec::new();
    for round in 0..10 {
        let part = fs::read(folder.path().join(format!("log.{round}"))).unwrap();
        let end = format!("{round} 1999\n");
        assert!(part.ends_with(end.as_bytes()), "log.{round} ends before its last line, or behind it");
        found.extend_from_slice(&part);
    }
    found.extend_from_slice(&fs::read(&path).unwrap());
    assert!(found == lines, "{} bytes of {} are there", found.len(), lines.len());
}

#[test]
fn a_reopening_that_fails_leaves_the_old_file_to_go_on() {
    let (mut all, folder) = stage();
    let path = folder.path().join("log");
    let fd = all.open(&path, &log().durability(Durability::OnClose)).unwrap();
    all.write(fd, b"one ").unwrap();
    all.efio.ef_reopen(fd, folder.path().join("no/such/folder")).unwrap();
    all.write(fd, b"two ").unwrap();
    let failed = done(&mut all, fd);
    let error = failed.error().unwrap();
    assert_eq!((error.operation(), error.raw_os_error()), (Operation::Reopen, Some(libc::ENOENT)));
    all.write(fd, b"three").unwrap();
    let closed = all.close(fd);
    assert!(closed.error().is_none() && closed.bytes_lost() == 0, "{closed:?}");
    assert_eq!(fs::read(&path).unwrap(), b"one two three");
}

#[test]
fn only_a_file_that_appends_is_reopened() {
    let (mut all, folder) = stage();
    let path = folder.path().join("file");
    let fd = all.open(&path, &OpenOptions::new().write(true).create(true)).unwrap();
    assert_eq!(all.efio.ef_reopen(fd, &path).unwrap_err().kind(), ErrorKind::InvalidInput);
    all.close(fd);
}

#[test]
fn an_owned_log_is_reopened_between_its_writes() {
    let (mut all, folder) = stage();
    let (path, next) = (folder.path().join("log"), folder.path().join("next"));
    let mut file = all.efio.open(&path, &log()).unwrap();
    file.blocking().write_all(b"before").unwrap();
    assert_eq!(all.efio.ef_reopen(file.fd(), &next).unwrap_err().kind(), ErrorKind::Busy);
    file.reopen(&next).unwrap();
    file.blocking().write_all(b"after").unwrap();
    assert!(done(&mut all, file.fd()).error().is_none());
    file.blocking().close().unwrap();
    assert_eq!((fs::read(&path).unwrap(), fs::read(&next).unwrap()), (b"before".to_vec(), b"after".to_vec()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_locked_range_is_refused_to_another_until_its_bytes_are_written_and_it_is_unlocked() {
    let (mut all, folder) = stage();
    let path = folder.path().join("file");
    let options = OpenOptions::new().read(true).write(true).create(true);
    let (mine, other) = (all.open(&path, &options).unwrap(), all.open(&path, &options).unwrap());
    all.efio.ef_lock(mine, LockKind::Exclusive, 0..100).unwrap();
    assert!(done(&mut all, mine).error().is_none());
    all.efio.ef_lock(other, LockKind::Shared, 50..).unwrap();
    let refused = done(&mut all, other);
    let error = refused.error().unwrap();
    assert_eq!((error.operation(), error.raw_os_error()), (Operation::Lock, Some(libc::EAGAIN)));
    all.efio.ef_lock(other, LockKind::Shared, 100..200).unwrap();
    assert!(done(&mut all, other).error().is_none());
    assert_eq!(all.efio.ef_write_at(mine, b"under the lock", 0).unwrap(), 14);
    all.efio.ef_unlock(mine, ..).unwrap();
    assert!(done(&mut all, mine).error().is_none());
    assert_eq!(fs::read(&path).unwrap(), b"under the lock");
    all.efio.ef_lock(other, LockKind::Exclusive, ..).unwrap();
    assert!(done(&mut all, other).error().is_none());
    assert_eq!(all.efio.ef_lock(mine, LockKind::Shared, 5..5).unwrap_err().kind(), ErrorKind::InvalidInput);
    all.close(other);
    all.efio.ef_lock(mine, LockKind::Exclusive, ..).unwrap();
    assert!(done(&mut all, mine).error().is_none(), "a closed file keeps no lock");
    all.close(mine);
}

#[cfg(feature = "sim")]
#[test]
fn a_sync_after_a_reopening_makes_the_new_name_durable_whatever_folder_the_old_one_was_in() {
    let sim = efio::sim::Sim::new(1);
    sim.put("/old/other", b"");
    sim.put("/new/other", b"");
    let efio = efio::Efio::builder().sim(&sim).build().unwrap();
    let dir = efio.dir("/old").unwrap();
    let fd = efio.ef_open_at(&dir, "log", &efio::OpenOptions::new().append(true).create(true)).unwrap();
    while efio.step() {}
    efio.ef_write(fd, b"yesterday").unwrap();
    efio.ef_reopen(fd, "/new/log").unwrap();
    while efio.step() {}
    efio.ef_write(fd, b"today").unwrap();
    efio.ef_sync(fd).unwrap();
    while efio.step() {}
    assert_eq!(efio.ef_progress(fd).unwrap().durable, 14);
    for seed in 0..50 {
        let left = sim.power_cut(seed);
        assert_eq!(left.get(&b"/old/log"[..]).map(Vec::as_slice), Some(&b"yesterday"[..]));
        assert_eq!(left.get(&b"/new/log"[..]).map(Vec::as_slice), Some(&b"today"[..]));
    }
}
