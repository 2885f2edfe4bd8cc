//! Queued calls about names: each answered once, under its token, beneath its folder; lists in batches; metadata by handle.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use efio::{Answer, Dir, Efio, ErrorKind, Events, Fd, FileKind, Metadata, OpenOptions, PathCall, Readiness};

/// Queues a call and waits for its answer, which comes with one event under its token.
fn ask(efio: &Efio, call: &PathCall) -> efio::Result<Answer> {
    let op = efio.ef_queue(call)?;
    let mut events = Events::with_capacity(8);
    loop {
        efio.wait(&mut events, Some(Duration::from_secs(20)))?;
        if let Some(event) = events.iter().find(|event| event.fd() == op.fd()) {
            assert!(event.readiness().is_done());
            let answer = efio.take(op);
            assert_eq!(event.error().is_some(), answer.is_err());
            assert_eq!(efio.take(op).unwrap_err().kind(), ErrorKind::Stale, "an answer is given once");
            return answer;
        }
        assert!(!events.is_empty(), "no answer came");
    }
}

fn done(efio: &Efio, call: &PathCall) {
    assert!(matches!(ask(efio, call).unwrap(), Answer::Done));
}

fn errno(efio: &Efio, call: &PathCall) -> i32 {
    ask(efio, call).unwrap_err().raw_os_error().expect("an errno")
}

fn metadata(efio: &Efio, call: &PathCall) -> Metadata {
    match ask(efio, call).unwrap() {
        Answer::Metadata(metadata) => metadata,
        other => panic!("{other:?}"),
    }
}

/// All names of a folder, and how many batches it took.
fn list(efio: &Efio, dir: &Dir) -> (BTreeSet<OsString>, usize) {
    let (mut names, mut batches, mut call) = (BTreeSet::new(), 0, Some(PathCall::read_dir(dir)));
    while let Some(next) = call.take() {
        let Answer::Entries(entries) = ask(efio, &next).unwrap() else { panic!("no entries") };
        assert_eq!(entries.iter().count(), entries.len());
        for entry in &entries {
            assert!(names.insert(entry.name().to_os_string()), "{:?} twice", entry.name());
        }
        call = entries.next_batch();
        batches += 1;
    }
    (names, batches)
}

fn opened(efio: &Efio, path: &Path, options: &OpenOptions) -> Fd {
    let fd = efio.ef_open(path, options).unwrap();
    let mut events = Events::with_capacity(8);
    while efio.ef_open_status(fd).is_err_and(|error| error.is_would_block()) {
        efio.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
    }
    efio.ef_open_status(fd).unwrap();
    fd
}

#[test]
fn a_tree_is_made_and_taken_down_by_queued_calls() {
    let place = tempfile::tempdir().unwrap();
    let efio = Efio::new().unwrap();
    let root = efio.dir(place.path()).unwrap();
    done(&efio, &PathCall::mkdir("a", 0o750).beneath(&root));
    done(&efio, &PathCall::symlink("../elsewhere", "a/link").beneath(&root));
    fs::write(place.path().join("a/file"), "bytes").unwrap();
    done(&efio, &PathCall::link("a/file", "second").beneath(&root));
    let Answer::Dir(inner) = ask(&efio, &PathCall::open_dir("a").beneath(&root)).unwrap() else { panic!() };
    done(&efio, &PathCall::rename("second", "third").beneath(&root).to_beneath(&inner));
    assert_eq!(errno(&efio, &PathCall::rename_new("a/third", "a/file").beneath(&root)), libc::EEXIST);
    done(&efio, &PathCall::chmod("third", 0o600).beneath(&inner));
    let time = UNIX_EPOCH + Duration::new(1_000_000, 7);
    done(&efio, &PathCall::utimens("third", Some(time), Some(time)).beneath(&inner));
    done(&efio, &PathCall::lutimens(place.path().join("a/link"), None, Some(time)));
    assert_eq!(
        metadata(&efio, &PathCall::stat_dir(&inner)).ino(),
        metadata(&efio, &PathCall::stat(place.path().join("a"))).ino()
    );
    done(&efio, &PathCall::sync_dir(&inner));

    let file = metadata(&efio, &PathCall::stat("file").beneath(&inner));
    assert_eq!((file.len(), file.nlink(), file.mode() & 0o777), (5, 2, 0o600));
    assert_eq!((file.modified(), file.accessed()), (time, time));
    let link = metadata(&efio, &PathCall::lstat("link").beneath(&inner));
    assert!(link.is_symlink() && link.modified() == time);
    let Answer::Link(says) = ask(&efio, &PathCall::read_link("link").beneath(&inner)).unwrap() else {
        panic!()
    };
    assert_eq!(says, Path::new("../elsewhere"));
    assert_eq!(list(&efio, &inner).0, BTreeSet::from(["file", "link", "third"].map(OsString::from)));

    assert_eq!(errno(&efio, &PathCall::rmdir("a").beneath(&root)), libc::ENOTEMPTY);
    for name in ["file", "link", "third"] {
        done(&efio, &PathCall::unlink(name).beneath(&inner));
    }
    done(&efio, &PathCall::rmdir("a").beneath(&root));
    assert_eq!(list(&efio, &root).0, BTreeSet::new());
}

#[test]
fn no_hostile_name_leaves_its_folder() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join("root/inner")).unwrap();
    fs::create_dir(place.path().join("outside")).unwrap();
    fs::write(place.path().join("outside/secret"), "secret").unwrap();
    symlink("../outside", place.path().join("root/trap")).unwrap();
    let before = fs::metadata(place.path().join("outside/secret")).unwrap();
    let efio = Efio::new().unwrap();
    let root = efio.dir(place.path().join("root")).unwrap();
    let outside = place.path().join("outside");
    let absolute = outside.to_str().unwrap();
    for way in ["trap", "../outside", "inner/../../outside", absolute] {
        let (new, old) = (format!("{way}/new"), format!("{way}/secret"));
        let calls = [
            PathCall::mkdir(&new, 0o755),
            PathCall::symlink("x", &new),
            PathCall::rename("inner", &new),
            PathCall::rename(&old, "mine"),
            PathCall::link(&old, "mine"),
            PathCall::unlink(&old),
            PathCall::rmdir(way),
            PathCall::chmod(&old, 0o777),
            PathCall::chmod(way, 0o777),
            PathCall::utimens(&old, None, Some(UNIX_EPOCH)),
            PathCall::stat(&old),
            PathCall::lstat(&old),
            PathCall::read_link(&old),
            PathCall::open_dir(way),
        ];
        for call in calls {
            let errno = errno(&efio, &call.clone().beneath(&root));
            let known = [libc::ELOOP, libc::EXDEV, libc::ENOTDIR];
            assert!(known.contains(&errno), "{call:?}: {errno}");
        }
    }
    let after = fs::metadata(place.path().join("outside/secret")).unwrap();
    assert_eq!((before.mode(), before.mtime(), before.nlink()), (after.mode(), after.mtime(), after.nlink()));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(list(&efio, &root).0, BTreeSet::from(["inner", "trap"].map(OsString::from)));
}

#[test]
fn names_are_bytes() {
    let place = tempfile::tempdir().unwrap();
    let efio = Efio::new().unwrap();
    let root = efio.dir(place.path()).unwrap();
    let name = OsString::from_vec(b"\xff\n\x01 name".to_vec());
    done(&efio, &PathCall::mkdir(&name, 0o755).beneath(&root));
    assert_eq!(list(&efio, &root).0, BTreeSet::from([name.clone()]));
    assert!(place.path().join(&name).is_dir());
    for path in ["", "zero\0byte"] {
        let refused = efio.ef_queue(&PathCall::mkdir(path, 0o755).beneath(&root)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_large_folder_comes_in_batches_that_can_be_left_at_any_time() {
    let place = tempfile::tempdir().unwrap();
    let long = "n".repeat(230);
    let all: BTreeSet<OsString> = (0..1000).map(|number| format!("{number}-{long}").into()).collect();
    all.iter().for_each(|name| fs::write(place.path().join(name), "").unwrap());
    let efio = Efio::new().unwrap();
    let root = efio.dir(place.path()).unwrap();
    let (names, batches) = list(&efio, &root);
    assert_eq!(names, all);
    assert!((4..=8).contains(&batches), "{batches} batches of at most 64 KiB for 250 KB");
    let Answer::Entries(first) = ask(&efio, &PathCall::read_dir(&root)).unwrap() else { panic!() };
    assert!(first.iter().all(|entry| entry.kind() == FileKind::File && entry.ino() > 0));
    let next = first.next_batch().unwrap();
    drop((first, next));
    // A call that goes on can be queued once.
    let Answer::Entries(first) = ask(&efio, &PathCall::read_dir(&root)).unwrap() else { panic!() };
    let next = first.next_batch().unwrap();
    ask(&efio, &next).unwrap();
    assert_eq!(efio.ef_queue(&next).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_call_that_finds_the_table_full_can_be_queued_again() {
    let place = tempfile::tempdir().unwrap();
    let long = "n".repeat(230);
    (0..600).for_each(|number| fs::write(place.path().join(format!("{number}-{long}")), "").unwrap());
    let efio = Efio::builder().files_limit(1).build().unwrap();
    let root = efio.dir(place.path()).unwrap();
    let Answer::Entries(first) = ask(&efio, &PathCall::read_dir(&root)).unwrap() else { panic!() };
    let next = first.next_batch().unwrap();
    let fd = opened(&efio, &place.path().join("file"), &OpenOptions::new().write(true).create(true));
    assert!(efio.ef_queue(&next).unwrap_err().is_would_block());
    efio.ef_close_immediate(fd).unwrap();
    // The slot may stand in the ready list still: the drain gives it back.
    let mut events = Events::with_capacity(8);
    while efio.events(&mut events).unwrap() > 0 {}
    let Answer::Entries(second) = ask(&efio, &next).unwrap() else { panic!() };
    assert!(!second.is_empty());
}

#[test]
fn a_folder_that_is_given_back_is_closed_by_the_engine_once() {
    let place = tempfile::tempdir().unwrap();
    let efio = Efio::builder().files_limit(1).build().unwrap();
    let held = || {
        let fds = fs::read_dir("/proc/self/fd").unwrap();
        fds.filter(|fd| fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|way| way == place.path()))
            .count()
    };
    let (dir, file) = (efio.dir(place.path()).unwrap(), place.path().join("file"));
    assert_eq!(held(), 1);
    done(&efio, &PathCall::close_dir(dir.clone()));
    assert_eq!(list(&efio, &dir).0, BTreeSet::new(), "another clone of it is still good");
    let call = PathCall::close_dir(dir);
    let fd = opened(&efio, &file, &OpenOptions::new().write(true).create(true));
    assert!(efio.ef_queue(&call).unwrap_err().is_would_block(), "the table is full");
    assert_eq!(held(), 1);
    efio.ef_close_immediate(fd).unwrap();
    let mut events = Events::with_capacity(8);
    while efio.events(&mut events).unwrap() > 0 {}
    done(&efio, &call);
    assert_eq!(held(), 0);
    assert_eq!(efio.ef_queue(&call).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_queued_call_tells_its_token_and_its_path() {
    let efio = Efio::new().unwrap();
    let op = efio.ef_queue(&PathCall::stat("/no/such/name").token(u64::MAX)).unwrap();
    let mut events = Events::with_capacity(4);
    efio.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
    let event = events.iter().next().expect("the answer's event");
    assert_eq!((event.fd(), event.token()), (op.fd(), u64::MAX));
    let error = efio.take(op).unwrap_err();
    assert_eq!(error.path(), Some(Path::new("/no/such/name")));
    assert_eq!(error.to_string(), "stat /no/such/name: No such file or directory (os error 2)");
}

#[test]
fn the_metadata_of_an_open_file_comes_by_its_handle() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    let efio = Efio::new().unwrap();
    let fd = opened(&efio, &path, &OpenOptions::new().write(true).create(true));
    efio.ef_write(fd, b"bytes").unwrap();
    efio.ef_sync(fd).unwrap();
    let mut events = Events::with_capacity(4);
    while efio.ef_progress(fd).unwrap().durable < 5 {
        efio.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
    }
    fs::rename(&path, place.path().join("moved")).unwrap();
    fs::write(&path, "another file").unwrap();
    while efio.events(&mut events).unwrap() > 0 {}
    assert!(efio.ef_fstat(fd).unwrap_err().is_would_block());
    let mut seen = Readiness::NONE;
    while !seen.is_done() {
        assert!(efio.wait(&mut events, Some(Duration::from_secs(20))).unwrap() > 0, "an event must follow");
        seen =
            events.iter().filter(|event| event.fd() == fd).fold(seen, |seen, event| seen | event.readiness());
    }
    let told = efio.ef_fstat(fd).unwrap();
    assert_eq!((told.len(), told.ino()), (5, fs::metadata(place.path().join("moved")).unwrap().ino()));
    assert!(efio.ef_fstat(fd).unwrap_err().is_would_block(), "each answer is given once");
    efio.ef_close_immediate(fd).unwrap();
    assert_eq!(efio.ef_fstat(fd).unwrap_err().kind(), ErrorKind::Stale);
}

#[cfg(feature = "sim")]
#[test]
fn a_change_of_names_is_durable_after_the_sync_of_its_folder_and_not_before() {
    use efio::sim::{Entry, Sim};
    let sim = Sim::new(5);
    sim.put("/t/file", b"bytes");
    let efio = Efio::builder().sim(&sim).memory_limit(4 << 20).build().unwrap();
    let root = efio.dir("/t").unwrap();
    done(&efio, &PathCall::mkdir("made", 0o755).beneath(&root));
    done(&efio, &PathCall::symlink("file", "link").beneath(&root));
    done(&efio, &PathCall::link("file", "made/second").beneath(&root));
    let has = |seed, path: &str| sim.power_cut_tree(seed).contains_key(path.as_bytes());
    for path in ["/t/made", "/t/link", "/t/made/second"] {
        let kept = (0..200).filter(|seed| has(*seed, path)).count();
        assert!((1..200).contains(&kept), "{path} is there after {kept} of 200 cuts");
    }
    done(&efio, &PathCall::sync_dir(&root));
    let Answer::Dir(made) = ask(&efio, &PathCall::open_dir("made").beneath(&root)).unwrap() else { panic!() };
    assert!((0..200).all(|seed| has(seed, "/t/made") && has(seed, "/t/link")));
    assert!(!(0..200).all(|seed| has(seed, "/t/made/second")), "its own folder was not synced");
    done(&efio, &PathCall::sync_dir(&made));
    assert!((0..200).all(|seed| sim.power_cut_tree(seed) == sim.live_tree()));
    assert_eq!(sim.live_tree()[&b"/t/made/second"[..]], Entry::File(b"bytes".to_vec()));
}
