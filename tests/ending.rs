//! The end: nothing accepted is lost by it, it comes in time, it says what is lost, and an idle module does nothing.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "forks")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/fuse.rs"]
mod fuse;
mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use efio::{Efio, ErrorKind, Loss, OpenOptions, Readiness};
use fuse::{Asked, Fate, Mounted};
use support::{Loop, child, noise, wait_until};

const CHILD: &str = "EFIO_ENDING_CHILD";

fn new_file() -> OpenOptions {
    OpenOptions::new().write(true).create(true)
}

/// A module whose losses are kept.
fn telling(deadline: Duration) -> (Efio, Arc<Mutex<Vec<Loss>>>) {
    let losses = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&losses);
    let builder = Efio::builder().shutdown_deadline(deadline);
    (builder.on_loss(move |loss| told.lock().unwrap().push(loss.clone())).build().unwrap(), losses)
}

#[test]
fn the_drop_of_the_last_handle_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (efio, losses) = telling(Duration::from_secs(20));
    let mut all = Loop::new(efio);
    let owned: Vec<efio::File> = (0..20)
        .map(|number| {
            let path = folder.path().join(format!("owned-{number}"));
            let mut file = all.efio.open(&path, &new_file()).unwrap();
            file.blocking().write_all(&noise(number, 70_000)).unwrap();
            file
        })
        .collect();
    for number in 0..100 {
        let fd = all.open(folder.path().join(number.to_string()), &new_file()).unwrap();
        all.write(fd, &noise(number, 30_000)).unwrap();
    }
    let other = all.efio.clone();
    drop(all);
    drop(owned);
    drop(other);
    for number in 0..100 {
        assert!(std::fs::read(folder.path().join(number.to_string())).unwrap() == noise(number, 30_000));
    }
    for number in 0..20 {
        let path = folder.path().join(format!("owned-{number}"));
        assert!(std::fs::read(path).unwrap() == noise(number, 70_000));
    }
    assert!(losses.lock().unwrap().is_empty());
}

#[test]
fn a_file_that_outlives_its_module_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let efio = Efio::new().unwrap();
    let mut file = efio.open(&path, &new_file()).unwrap();
    file.blocking().write_all(b"before").unwrap();
    efio.shutdown(Duration::from_secs(20)).unwrap();
    drop(efio);
    assert!(file.write(b"after").is_err(), "nothing is accepted after the end");
    drop(file);
    assert_eq!(std::fs::read(&path).unwrap(), b"before");
}

#[test]
fn the_end_begins_without_waiting_and_every_file_has_its_closed_event() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Loop::new(Efio::new().unwrap());
    let files: Vec<_> = (0..50_u64)
        .map(|number| {
            let fd = all.open(folder.path().join(number.to_string()), &new_file()).unwrap();
            all.write(fd, &noise(number, 10_000)).unwrap();
            fd
        })
        .collect();
    all.efio.begin_shutdown();
    let refused = all.efio.ef_open(folder.path().join("late"), &new_file()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Shutdown);
    for (number, fd) in files.into_iter().enumerate() {
        let closed = all.until(fd, Readiness::CLOSED);
        assert!(closed.error().is_none() && closed.bytes_lost() == 0);
        let found = std::fs::read(folder.path().join(number.to_string())).unwrap();
        assert!(found == noise(number as u64, 10_000));
    }
    all.efio.shutdown(Duration::from_secs(20)).unwrap();
    all.efio.shutdown(Duration::from_secs(20)).unwrap();
}

#[test]
fn a_hung_disk_does_not_keep_the_end_from_coming_and_its_loss_is_told() {
    let Some(mounted) = Mounted::or_skip() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (efio, losses) = telling(Duration::from_millis(1500));
    let mut all = Loop::new(efio);
    let healthy = all.open(folder.path().join("healthy"), &new_file()).unwrap();
    let hung = all.open(mounted.path("hung"), &new_file().token(77)).unwrap();
    mounted.disk.ordain("hung", Asked::Write, Fate::Hangs);
    all.write(hung, b"into the void").unwrap();
    all.efio.ef_sync(hung).unwrap();
    wait_until("the hang", || mounted.disk.hangs());
    all.write(healthy, b"safe").unwrap();
    drop(all);
    assert!(mounted.disk.hangs(), "the end came while the disk hung");
    assert_eq!(std::fs::read(folder.path().join("healthy")).unwrap(), b"safe");
    let losses = losses.lock().unwrap();
    assert_eq!(losses.len(), 1, "{losses:?}");
    assert_eq!((losses[0].token, losses[0].bytes), (77, 13));
}

#[test]
fn the_end_of_one_module_is_not_that_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Efio::new().unwrap(), Efio::new().unwrap());
    let mut all = Loop::new(other);
    let fd = all.open(folder.path().join("file"), &new_file()).unwrap();
    drop(one);
    all.write(fd, b"goes on").unwrap();
    all.sync(fd).unwrap();
    assert!(all.close(fd).error().is_none());
}

#[test]
fn a_dropped_file_is_flushed_in_the_background_and_its_error_reaches_the_events() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut all = Loop::new(Efio::new().unwrap());
    let mut file = all.efio.open(&path, &new_file().token(5)).unwrap();
    let fd = file.fd();
    file.blocking().write_all(&noise(1, 200_000)).unwrap();
    drop(file);
    let closed = all.until(fd, Readiness::CLOSED);
    assert!(closed.error().is_none() && closed.token() == 5);
    assert!(std::fs::read(&path).unwrap() == noise(1, 200_000));
    let Some(mounted) = Mounted::or_skip() else { return };
    let mut file = all.efio.open(mounted.path("file"), &new_file()).unwrap();
    let fd = file.fd();
    all.until(fd, Readiness::OPENED);
    mounted.disk.ordain("file", Asked::Write, Fate::Fails(libc::EROFS));
    file.blocking().write_all(b"lost").unwrap();
    drop(file);
    let closed = all.until(fd, Readiness::CLOSED);
    assert_eq!(closed.error().unwrap().raw_os_error(), Some(libc::EROFS));
    assert_eq!(closed.bytes_lost(), 4);
}

#[test]
fn a_wake_function_that_panics_is_contained_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let efio = Efio::builder().wake_with(|| std::panic::resume_unwind(Box::new("a wake that fails"))).build();
    let mut all = Loop::new(efio.unwrap());
    let fd = all.open(folder.path().join("file"), &new_file()).unwrap();
    all.write(fd, b"all the same").unwrap();
    assert!(all.close(fd).error().is_none());
    assert!(all.efio.contained_panics() > 0);
    assert_eq!(std::fs::read(folder.path().join("file")).unwrap(), b"all the same");
}

#[test]
fn a_call_that_waits_is_refused_on_an_engine_thread() {
    let folder = tempfile::tempdir().unwrap();
    let module: Arc<Mutex<Option<Efio>>> = Arc::default();
    let answers: Arc<Mutex<Vec<ErrorKind>>> = Arc::default();
    let (of_wake, kinds) = (Arc::clone(&module), Arc::clone(&answers));
    let efio = Efio::builder().wake_with(move || {
        if let Some(efio) = &*of_wake.lock().unwrap() {
            let refused = efio.shutdown(Duration::from_secs(1)).unwrap_err();
            kinds.lock().unwrap().push(refused.kind());
        }
    });
    let mut all = Loop::new(efio.build().unwrap());
    *module.lock().unwrap() = Some(all.efio.clone());
    all.open(folder.path().join("file"), &new_file()).unwrap();
    wait_until("a wake", || !answers.lock().unwrap().is_empty());
    *module.lock().unwrap() = None;
    assert!(answers.lock().unwrap().iter().all(|kind| *kind == ErrorKind::Deadlock));
}

/// The child: forks with accepted bytes in its pages. Its own child may call nothing, and must end well.
fn fork_with_open_files(place: &str) {
    let mut all = Loop::new(Efio::builder().flush_interval(Duration::from_secs(3600)).build().unwrap());
    let fd = all.open(place, &OpenOptions::new().append(true).create(true)).unwrap();
    let mut file = all.efio.open(format!("{place}-owned"), &new_file()).unwrap();
    file.blocking().write_all(b"once ").unwrap();
    all.write(fd, b"once ").unwrap();
    // SAFETY: the forked process makes no call but those under test, and ends by _exit.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        let forked = |kind: Option<ErrorKind>| kind == Some(ErrorKind::Forked);
        let refused = forked(all.efio.ef_write(fd, b"twice").err().map(|error| error.kind()))
            && forked(all.efio.ef_read(fd, &mut [0]).err().map(|error| error.kind()))
            && forked(all.efio.ef_sync(fd).err().map(|error| error.kind()))
            && forked(all.efio.ef_close(fd).err().map(|error| error.kind()))
            && forked(all.efio.ef_close_immediate(fd).err().map(|error| error.kind()))
            && forked(all.efio.ef_poll(fd).err().map(|error| error.kind()))
            && forked(all.efio.ef_open(place, &new_file()).err().map(|error| error.kind()))
            && forked(all.efio.shutdown(Duration::ZERO).err().map(|error| error.kind()))
            && file.write(b"twice").is_err();
        drop(file);
        drop(all);
        // SAFETY: ends the forked process at once.
        unsafe { libc::_exit(if refused { 42 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waits for the process just made.
    unsafe { libc::waitpid(forked, &raw mut status, 0) };
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 42, "the forked process: {status:x}");
    all.write(fd, b"and again").unwrap();
    file.blocking().write_all(b"and again").unwrap();
    drop(file);
    drop(all);
}

#[test]
fn a_fork_can_do_nothing_with_its_parents_files_and_nothing_is_written_twice() {
    if let Ok(place) = std::env::var(CHILD) {
        return fork_with_open_files(&place);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let name = "a_fork_can_do_nothing_with_its_parents_files_and_nothing_is_written_twice";
    let output = child(name, CHILD, path.to_str().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["log", "log-owned"] {
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), b"once and again", "{name}");
    }
}

/// How often each engine thread of this process has gone to sleep by itself.
fn sleeps() -> BTreeMap<String, u64> {
    let mut sleeps = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let word = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim();
        if word("Name:").starts_with("efio-") {
            let name = format!("{} {}", word("Name:"), path.display());
            sleeps.insert(name, word("voluntary_ctxt_switches:").parse().unwrap_or(0));
        }
    }
    sleeps
}

#[test]
fn an_idle_module_with_open_files_never_wakes_up() {
    if std::env::var_os(CHILD).is_none() {
        let output = child("an_idle_module_with_open_files_never_wakes_up", CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut all = Loop::new(Efio::builder().flush_interval(Duration::from_millis(10)).build().unwrap());
    for number in 0..20 {
        let path = folder.path().join(number.to_string());
        let fd = all.open(path, &OpenOptions::new().read(true).write(true).create(true)).unwrap();
        all.write(fd, b"once dirty").unwrap();
        all.sync(fd).unwrap();
    }
    // Threads beyond the first retire when they have had nothing to do for a while; then nothing happens at all.
    let mut windows = 0;
    loop {
        let before = sleeps();
        assert!(!before.is_empty(), "there are engine threads");
        std::thread::sleep(Duration::from_millis(2500));
        if sleeps() == before {
            break;
        }
        windows += 1;
        assert!(windows < 8, "it never came to rest: {before:?} {:?}", sleeps());
    }
}

/// A figure of /proc/self/status, in KiB.
fn kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_stays_within_its_limit_however_much_is_written() {
    if std::env::var_os(CHILD).is_none() {
        let name = "memory_stays_within_its_limit_however_much_is_written";
        let output = child(name, CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut all = Loop::new(Efio::builder().memory_limit(64 << 20).build().unwrap());
    let bytes = noise(9, 1 << 20);
    let before = kib("VmHWM:");
    let files: Vec<_> = (0..100)
        .map(|number| all.open(folder.path().join(number.to_string()), &new_file()).unwrap())
        .collect();
    for _ in 0..4 {
        for fd in &files {
            all.write(*fd, &bytes).unwrap();
        }
    }
    let grown = kib("VmHWM:") - before;
    for fd in files {
        assert!(all.close(fd).error().is_none());
    }
    // The pages, and something for the table, the threads and this test.
    assert!(grown < (64 + 16) << 10, "{grown} KiB for a limit of 64 MiB");
}
