//! Recovery: after a failed sync nothing that was retained is lost, and what was not is told.
//!
//! The faults come from a FUSE file system of the test's own, which forgets what a real one might have lost.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/fuse.rs"]
mod fuse;
mod support;

use std::time::Duration;

use efio::{Durability, Efio, ErrorKind, Fd, OpenOptions, Operation, Readiness};
use fuse::{Asked, Fate, Mounted};
use support::{Loop, noise};

fn stage() -> Option<(Loop, Mounted)> {
    let mounted = Mounted::or_skip()?;
    let builder = Efio::builder().flush_interval(Duration::from_millis(5));
    Some((Loop::new(builder.close_deadline(Duration::from_millis(300)).build().unwrap()), mounted))
}

fn retaining() -> OpenOptions {
    OpenOptions::new().write(true).create(true).retain_until_durable(true)
}

/// Lets a sync fail, and the disk forget all but the first `kept` bytes of the file.
fn fail_and_forget(all: &mut Loop, mounted: &Mounted, fd: Fd, kept: usize) {
    mounted.disk.ordain("file", Asked::Sync, Fate::Fails(libc::EIO));
    assert_eq!(all.sync(fd).unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(all.efio.ef_write(fd, b"refused").unwrap_err().operation(), Operation::Sync);
    mounted.disk.heal("file", Asked::Sync);
    let mut contents = mounted.disk.contents("file");
    contents[kept..].fill(0);
    mounted.disk.put("file", contents);
}

#[test]
fn a_failed_sync_and_a_recovery_lose_nothing_that_was_retained() {
    let Some((mut all, mounted)) = stage() else { return };
    let fd = all.open(mounted.path("file"), &retaining()).unwrap();
    let mut bytes = noise(1, 300_000);
    all.write(fd, &bytes[..100_000]).unwrap();
    all.sync(fd).unwrap();
    all.write(fd, &bytes[100_000..250_000]).unwrap();
    all.efio.ef_write_at(fd, b"rewritten", 5000).unwrap();
    bytes[5000..5009].copy_from_slice(b"rewritten");
    fail_and_forget(&mut all, &mounted, fd, 5000);
    let before = all.efio.ef_progress(fd).unwrap();
    assert_eq!((before.durable, before.written), (100_000, 250_009));
    // What was durable is no loss of this sync's: the disk gives it back.
    let mut contents = mounted.disk.contents("file");
    contents[5009..100_000].copy_from_slice(&bytes[5009..100_000]);
    mounted.disk.put("file", contents);

    all.efio.ef_recover(fd).unwrap();
    let event = all.until(fd, Readiness::DONE);
    assert!(event.error().is_none() && event.readiness().contains(Readiness::RESUMED), "{event:?}");
    assert_eq!(event.progress().durable, 250_009);
    assert!(mounted.disk.contents("file") == bytes[..250_000], "what the disk forgot is not there again");
    all.write(fd, &bytes[250_000..]).unwrap();
    all.sync(fd).unwrap();
    let closed = all.close(fd);
    assert!(closed.error().is_none() && closed.bytes_lost() == 0, "{closed:?}");
    assert!(mounted.disk.contents("file") == bytes);
}

#[test]
fn an_append_file_is_recovered_in_its_place_and_goes_on_at_the_end() {
    let Some((mut all, mounted)) = stage() else { return };
    mounted.disk.put("file", b"older\n".to_vec());
    let options = OpenOptions::new().append(true).retain_until_durable(true);
    let fd = all.open(mounted.path("file"), &options).unwrap();
    let bytes = noise(2, 90_000);
    all.write(fd, &bytes).unwrap();
    fail_and_forget(&mut all, &mounted, fd, 6);
    all.efio.ef_recover(fd).unwrap();
    let event = all.until(fd, Readiness::DONE);
    assert!(event.error().is_none(), "{event:?}");
    all.write(fd, b"newer\n").unwrap();
    assert!(all.close(fd).error().is_none());
    assert!(mounted.disk.contents("file") == [b"older\n", &bytes[..], b"newer\n"].concat());
}

#[test]
fn without_what_was_written_the_file_stays_failed_and_says_why() {
    let Some((mut all, mounted)) = stage() else { return };
    let fd = all.open(mounted.path("file"), &OpenOptions::new().write(true).create(true)).unwrap();
    assert_eq!(all.efio.ef_recover(fd).unwrap_err().kind(), ErrorKind::InvalidInput);
    all.write(fd, &noise(3, 50_000)).unwrap();
    fail_and_forget(&mut all, &mounted, fd, 0);
    all.efio.ef_recover(fd).unwrap();
    let event = all.until(fd, Readiness::DONE);
    let error = event.error().unwrap();
    assert_eq!(error.operation(), Operation::Recover);
    assert!(error.to_string().contains("not retained"), "{error}");
    assert_eq!(event.progress().written - event.progress().durable, 50_000);
    assert_eq!(all.efio.ef_write(fd, b"x").unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(all.close(fd).bytes_lost(), 50_000);
}

#[test]
fn a_recovery_that_fails_can_be_tried_again() {
    let Some((mut all, mounted)) = stage() else { return };
    let fd = all.open(mounted.path("file"), &retaining()).unwrap();
    let bytes = noise(4, 70_000);
    all.write(fd, &bytes).unwrap();
    fail_and_forget(&mut all, &mounted, fd, 0);
    mounted.disk.ordain("file", Asked::Sync, Fate::Fails(libc::EIO));
    all.efio.ef_recover(fd).unwrap();
    let event = all.until(fd, Readiness::DONE);
    assert_eq!(event.error().unwrap().operation(), Operation::Recover);
    mounted.disk.heal("file", Asked::Sync);
    all.efio.ef_recover(fd).unwrap();
    assert!(all.until(fd, Readiness::DONE).error().is_none());
    assert!(all.close(fd).error().is_none());
    assert!(mounted.disk.contents("file") == bytes);
}

#[test]
fn a_file_that_retains_goes_on_past_its_limit_by_syncs_of_its_own() {
    let Some((mut all, mounted)) = stage() else { return };
    let fd = all.open(mounted.path("file"), &retaining().memory_limit(64 << 10)).unwrap();
    let bytes = noise(5, 1 << 20);
    all.write(fd, &bytes).unwrap();
    let progress = all.efio.ef_progress(fd).unwrap();
    assert!(progress.accepted - progress.durable <= 64 << 10, "{progress:?} with a limit of 64 KiB");
    assert!(mounted.disk.count("file", Asked::Sync) > 0);
    assert!(all.close(fd).error().is_none());
    assert!(mounted.disk.contents("file") == bytes);
}

#[test]
fn an_append_that_its_own_sync_failed_is_in_the_file_once() {
    for (retain, errno) in
        [(false, libc::EIO), (true, libc::EIO), (false, libc::ENOSPC), (true, libc::EDQUOT)]
    {
        let Some((mut all, mounted)) = stage() else { return };
        mounted.disk.put("file", b"older\n".to_vec());
        let options = OpenOptions::new().append(true).durability(Durability::EveryWrite);
        let fd = all.open(mounted.path("file"), &options.retain_until_durable(retain)).unwrap();
        // O_DSYNC: write(2) puts the bytes into the file, syncs, and tells the error of the sync.
        mounted.disk.ordain("file", Asked::Sync, Fate::Fails(errno));
        all.write(fd, b"line\n").unwrap();
        all.until(fd, Readiness::ERROR);
        mounted.disk.heal("file", Asked::Sync);
        if all.efio.ef_recover(fd).is_ok() {
            let event = all.until(fd, Readiness::DONE);
            assert!(event.error().is_some(), "what was refused may be in the file: {event:?}");
        }
        assert!(all.close(fd).error().is_some());
        assert_eq!(mounted.disk.contents("file"), b"older\nline\n");
    }
}

#[test]
fn a_file_that_was_preallocated_past_its_end_is_recovered() {
    let Some((mut all, mounted)) = stage() else { return };
    let fd = all.open(mounted.path("file"), &retaining().append(true)).unwrap();
    all.write(fd, b"before").unwrap();
    while all.efio.ef_progress(fd).unwrap().written < 6 {
        std::thread::sleep(Duration::from_millis(1));
    }
    all.efio.ef_preallocate(fd, 0, 100, false).unwrap();
    let done = all.until(fd, Readiness::DONE);
    if done.error().is_some_and(|error| error.raw_os_error() == Some(libc::EOPNOTSUPP)) {
        support::skip("this file system reserves no room");
        return;
    }
    assert!(done.error().is_none(), "{done:?}");
    all.write(fd, b"behind").unwrap();
    fail_and_forget(&mut all, &mounted, fd, 100);
    all.efio.ef_recover(fd).unwrap();
    let done = all.until(fd, Readiness::DONE);
    assert!(done.error().is_none(), "{done:?}");
    assert!(all.close(fd).error().is_none());
    let expected = [&b"before"[..], &[0; 94], b"behind"].concat();
    assert!(mounted.disk.contents("file") == expected, "no byte is written again at another place");
}

#[test]
fn a_healthy_file_is_not_recovered_even_if_it_was_asked_for_early() {
    let Some((mut all, mounted)) = stage() else { return };
    let fd = all.efio.ef_open(mounted.path("file"), &retaining()).unwrap();
    let early = all.efio.ef_recover(fd);
    let error = match early {
        Ok(()) => all.until(fd, Readiness::DONE).error().cloned().unwrap(),
        Err(error) => error,
    };
    assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, Operation::Recover));
    all.write(fd, b"sound").unwrap();
    assert!(all.close(fd).error().is_none());
    assert_eq!(mounted.disk.contents("file"), b"sound");
}

#[test]
fn an_append_that_was_not_retained_is_not_written_again_at_a_guess() {
    let Some((mut all, mounted)) = stage() else { return };
    mounted.disk.put("file", noise(6, 100));
    let fd = all.open(mounted.path("file"), &OpenOptions::new().append(true)).unwrap();
    // An owner keeps the page that it is writing, with what is in the file already.
    let mut file = all.efio.from_fd(fd).unwrap();
    file.append(b"line\n").unwrap();
    mounted.disk.ordain("file", Asked::Sync, Fate::Fails(libc::EIO));
    file.sync().unwrap();
    all.until(fd, Readiness::SYNCED);
    mounted.disk.heal("file", Asked::Sync);
    file.recover().unwrap();
    let error = all.until(fd, Readiness::DONE).error().cloned().unwrap();
    assert!(error.to_string().contains("not retained"), "{error}");
    file.close().unwrap();
    assert!(all.until(fd, Readiness::CLOSED).error().is_some());
    assert!(mounted.disk.contents("file") == [noise(6, 100), b"line\n".to_vec()].concat());
}

#[test]
fn a_preallocation_has_its_turn_among_steady_writes() {
    let Some((mut all, mounted)) = stage() else { return };
    let fd = all.open(mounted.path("file"), &retaining().append(true)).unwrap();
    let line = [b'x'; 5000];
    let mut lines = 0;
    all.write(fd, &line).unwrap();
    all.efio.ef_preallocate(fd, 0, 100_000, false).unwrap();
    // As long as it takes: it is the only way out.
    while all.look_for(fd, Readiness::DONE).is_none() {
        all.write(fd, &line).unwrap();
        lines += 1;
        all.gather(Duration::ZERO);
        assert!(lines < 200_000, "a preallocation waits while {lines} lines are written");
    }
    assert!(mounted.disk.count("file", Asked::Sync) < 5, "and asks for one sync");
    assert!(all.close(fd).error().is_none());
    // What was accepted before is before the room, the rest behind it.
    let contents = mounted.disk.contents("file");
    assert_eq!(contents.len(), 100_000 + lines * line.len());
    assert!(contents[..5000] == line && contents[5000..100_000].iter().all(|byte| *byte == 0));
}
