//! The loop's thread never waits for a disk: the whole surface under a supervisor that kills at the first such call.
//!
//! Each test runs this binary again as a child. There one thread is the event loop; its system calls are judged by
//! `support/seccomp.rs`. The last test shows that the supervisor catches what it is there to catch.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "drops a file from the page cache, and kills the child that is caught")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/seccomp.rs"]
mod seccomp;
mod support;

use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use efio::{
    Answer, Dir, Durability, Efio, Error, Events, Fd, File, LockKind, OnFull, OpenOptions, Readiness,
};
use seccomp::{FREE, LOOP, READ_WRITE};
use support::{child, noise, skip};

const SCRIPT: &str = "EFIO_NEVER_WAITS_SCRIPT";
/// The child's folder, made by its parent: a child that is caught removes nothing.
const FOLDER: &str = "EFIO_NEVER_WAITS_FOLDER";

/// Where the loop's thread is.
static SECTION: AtomicU32 = AtomicU32::new(FREE);
static LISTENER: AtomicI32 = AtomicI32::new(-1);

/// A read or a write: nothing may happen in it but what READ_WRITE allows.
fn strictly<R>(action: impl FnOnce() -> R) -> R {
    SECTION.store(READ_WRITE, Ordering::SeqCst);
    let answer = action();
    SECTION.store(LOOP, Ordering::SeqCst);
    answer
}

/// What a script finds ready when it begins.
struct Stage {
    efio: Efio,
    poll: mio::Poll,
    ready: mio::Events,
    events: Events,
    kept: Vec<(Fd, Readiness, Option<Error>)>,
    folder: PathBuf,
    dir: Dir,
    /// A folder that a queued call opened.
    opened: Option<Answer>,
    bytes: Vec<u8>,
    buffer: Vec<u8>,
}

impl Stage {
    fn new(folder: &Path) -> Self {
        let efio =
            Efio::builder().memory_limit(16 << 20).flush_interval(Duration::from_millis(20)).build().unwrap();
        let poll = mio::Poll::new().unwrap();
        poll.registry().register(&mut efio.inbox(), mio::Token(0), mio::Interest::READABLE).unwrap();
        let bytes = noise(7, 3 << 20);
        for name in ["hot", "cold", "lines"] {
            std::fs::write(folder.join(name), &bytes).unwrap();
        }
        let cold = std::fs::File::open(folder.join("cold")).unwrap();
        cold.sync_all().unwrap();
        // SAFETY: takes numbers only.
        unsafe { libc::posix_fadvise(cold.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        Self {
            dir: efio.dir(folder).unwrap(),
            opened: None,
            efio,
            poll,
            ready: mio::Events::with_capacity(16),
            events: Events::with_capacity(16),
            kept: Vec::with_capacity(256),
            folder: folder.to_path_buf(),
            bytes,
            buffer: vec![0; 100_000],
        }
    }

    /// The loop: waits for the inbox, drains it, until `fd` has news of the kind.
    fn until(&mut self, fd: Fd, wanted: Readiness) -> Option<Error> {
        loop {
            if let Some(place) =
                self.kept.iter().position(|(of, left, _)| *of == fd && left.intersects(wanted))
            {
                let (_, left, error) = &mut self.kept[place];
                *left = *left - wanted;
                let (done, error) = (left.is_empty(), error.clone());
                if done {
                    self.kept.remove(place);
                }
                return error;
            }
            self.poll.poll(&mut self.ready, Some(support::PATIENCE)).unwrap();
            assert!(!self.ready.is_empty(), "no news of {fd} ({wanted:?}) for long");
            while self.efio.events(&mut self.events).unwrap() > 0 {
                self.kept.extend(self.events.iter().map(|e| (e.fd(), e.readiness(), e.error().cloned())));
            }
        }
    }

    fn open(&mut self, name: &str, options: &OpenOptions) -> Fd {
        let fd = self.efio.ef_open(self.folder.join(name), options).unwrap();
        // It may be open by now or not: no answer of this one moves the offset.
        let early = strictly(|| self.efio.ef_read(fd, &mut []));
        assert!(early.is_err() || options_read(options));
        assert_eq!(self.until(fd, Readiness::OPENED), None, "{name}");
        self.efio.ef_open_status(fd).unwrap();
        fd
    }

    fn close(&mut self, fd: Fd) {
        self.efio.ef_close(fd).unwrap();
        assert_eq!(self.until(fd, Readiness::CLOSED), None);
    }

    fn write(&mut self, fd: Fd, from: usize) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = &bytes[from..];
        while !rest.is_empty() {
            let size = rest.len().min(60_000);
            match strictly(|| self.efio.ef_write(fd, &rest[..size])) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) => {
                    assert!(error.is_would_block(), "{error}");
                    self.until(fd, Readiness::WRITABLE);
                }
            }
        }
        self.bytes = bytes;
    }

    fn read(&mut self, fd: Fd, piece: usize) -> usize {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut total = 0;
        loop {
            match strictly(|| self.efio.ef_read(fd, &mut buffer[..piece])) {
                Ok(0) => break,
                Ok(bytes) => {
                    assert!(buffer[..bytes] == self.bytes[total..total + bytes], "other bytes at {total}");
                    total += bytes;
                }
                Err(error) => {
                    assert!(error.is_would_block(), "{error}");
                    self.until(fd, Readiness::READABLE);
                }
            }
        }
        self.buffer = buffer;
        total
    }
}

/// A file being opened to read may have been opened by the time it is read.
fn options_read(options: &OpenOptions) -> bool {
    format!("{options:?}").contains("read: true")
}

/// Every way to open, and what a refused one says.
fn opens(stage: &mut Stage) {
    let new = || OpenOptions::new().write(true).create(true);
    let options = [
        OpenOptions::new().read(true),
        OpenOptions::new().read(true).write(true).truncate(true),
        OpenOptions::new().append(true).mode(0o600).token(9),
        new().custom_flags(libc::O_NOATIME).durability(Durability::Interval),
        new().durability(Durability::EveryWrite).on_full(OnFull::Fail),
        new().durability(Durability::OnClose).memory_limit(8192).flush_interval(Duration::from_millis(5)),
        new().atomic(true),
        new().atomic(true).durability(Durability::OnClose),
    ];
    let made = stage.open("opened", &OpenOptions::new().write(true).create_new(true));
    stage.close(made);
    for options in &options {
        let fd = stage.open("opened", options);
        if !options_read(options) {
            strictly(|| stage.efio.ef_write(fd, b"bytes")).unwrap();
            stage.efio.ef_sync(fd).unwrap();
            assert_eq!(stage.until(fd, Readiness::SYNCED), None);
        }
        stage.close(fd);
    }
    for (name, errno) in [("missing", libc::ENOENT), (".", libc::EISDIR), ("/dev/null", libc::EINVAL)] {
        let path = stage.folder.join(name);
        let fd = stage.efio.ef_open(path, &OpenOptions::new().read(true)).unwrap();
        let error = stage.until(fd, Readiness::OPENED).unwrap();
        assert_eq!(error.raw_os_error(), Some(errno));
    }
    let beneath = stage.efio.ef_open_at(&stage.dir, "hot", &OpenOptions::new().read(true)).unwrap();
    assert_eq!(stage.until(beneath, Readiness::OPENED), None);
    stage.efio.ef_close(beneath).unwrap();
    while stage.efio.ef_close_status(beneath).is_err_and(|error| error.is_would_block()) {
        std::thread::yield_now();
    }
    let outside = stage.efio.ef_open_at(&stage.dir, "../hot", &OpenOptions::new().read(true)).unwrap();
    assert!(stage.until(outside, Readiness::OPENED).is_some());
}

/// Reads from memory and from the disk, in pieces of any size, and seeks.
fn reads(stage: &mut Stage) {
    for (name, piece) in [("cold", 100_000), ("hot", 100_000), ("hot", 4096), ("cold", 1000)] {
        let fd = stage.open(name, &OpenOptions::new().read(true));
        assert_eq!(stage.read(fd, piece), 3 << 20, "{name}");
        assert_eq!(strictly(|| stage.efio.ef_seek(fd, SeekFrom::Start(0))).unwrap(), 0);
        assert_eq!(strictly(|| stage.efio.ef_seek(fd, SeekFrom::Current(0))).unwrap(), 0);
        assert_eq!(stage.read(fd, piece), 3 << 20, "{name}");
        strictly(|| stage.efio.ef_poll(fd)).unwrap();
        strictly(|| stage.efio.ef_progress(fd)).unwrap();
        while stage.efio.ef_seek(fd, SeekFrom::End(-5)).is_err_and(|error| error.is_would_block()) {
            stage.until(fd, Readiness::DONE);
        }
        stage.close(fd);
    }
}

/// Writes until refused, and the calls around writing.
fn writes(stage: &mut Stage) {
    let all = [Durability::None, Durability::Interval, Durability::OnClose, Durability::EveryWrite];
    for (number, durability) in all.into_iter().enumerate() {
        let name = format!("written-{number}");
        let options = OpenOptions::new().read(true).write(true).create(true).memory_limit(256 << 10);
        let fd = stage.open(&name, &options.durability(durability));
        stage.write(fd, 0);
        strictly(|| stage.efio.ef_poll(fd)).unwrap();
        strictly(|| stage.efio.ef_progress(fd)).unwrap();
        stage.efio.ef_sync(fd).unwrap();
        assert_eq!(stage.until(fd, Readiness::SYNCED), None);
        while strictly(|| stage.efio.ef_seek(fd, SeekFrom::Start(0))).is_err() {
            stage.until(fd, Readiness::READABLE);
        }
        assert_eq!(stage.read(fd, 50_000), 3 << 20);
        stage.efio.ef_truncate(fd, 1000).unwrap();
        assert_eq!(stage.until(fd, Readiness::DONE), None);
        stage.efio.ef_preallocate(fd, 0, 100_000, true).unwrap();
        assert_eq!(stage.until(fd, Readiness::DONE), None);
        strictly(|| stage.efio.ef_lock(fd, LockKind::Exclusive, ..)).unwrap();
        stage.until(fd, Readiness::DONE);
        while strictly(|| stage.efio.ef_write_at(fd, b"by offset", 70_000)).is_err() {
            stage.until(fd, Readiness::WRITABLE);
        }
        let mut back = [0; 9];
        while strictly(|| stage.efio.ef_read_at(fd, &mut back, 70_000)).is_err() {
            stage.until(fd, Readiness::READABLE);
        }
        assert_eq!(&back, b"by offset");
        strictly(|| stage.efio.ef_unlock(fd, ..)).unwrap();
        stage.until(fd, Readiness::DONE);
        stage.close(fd);
    }
    let append = stage.open("appended", &OpenOptions::new().append(true).create(true).memory_limit(65536));
    stage.write(append, 0);
    strictly(|| stage.efio.ef_reopen(append, stage.folder.join("rotated"))).unwrap();
    stage.write(append, 0);
    assert_eq!(stage.until(append, Readiness::DONE), None);
    stage.close(append);
    let aborted = stage.open("aborted", &OpenOptions::new().write(true).create(true).atomic(true));
    stage.write(aborted, 2 << 20);
    stage.efio.ef_abort(aborted).unwrap();
    stage.until(aborted, Readiness::CLOSED);
}

/// One call of an owned file that has an answer.
fn retry<R>(stage: &mut Stage, fd: Fd, mut call: impl FnMut() -> std::io::Result<R>) -> R {
    loop {
        match strictly(&mut call) {
            Ok(answer) => return answer,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                stage.until(fd, Readiness::READABLE | Readiness::WRITABLE);
            }
        }
    }
}

/// An owned file: its traits, its ways to end, and back to a descriptor.
fn owned(stage: &mut Stage) {
    let mut lines: File =
        stage.efio.open(stage.folder.join("lines"), &OpenOptions::new().read(true)).unwrap();
    let fd = lines.fd();
    let mut total = 0;
    loop {
        let bytes = retry(stage, fd, || {
            let bytes = lines.fill_buf()?.len();
            lines.consume(bytes);
            Ok(bytes)
        });
        total += bytes;
        if bytes == 0 {
            break;
        }
    }
    assert_eq!(total, 3 << 20);
    assert_eq!(retry(stage, fd, || lines.seek(SeekFrom::Start(10))), 10);
    assert_eq!(retry(stage, fd, || lines.read(&mut [0; 100])), 100);
    drop(lines);
    stage.until(fd, Readiness::CLOSED);
    let mut file =
        stage.efio.open_at(&stage.dir, "owned", &OpenOptions::new().write(true).create(true)).unwrap();
    let fd = file.fd();
    let bytes = std::mem::take(&mut stage.bytes);
    for piece in bytes.chunks(70_000) {
        let mut rest = piece;
        while !rest.is_empty() {
            rest = &rest[retry(stage, fd, || file.write(rest))..];
        }
    }
    retry(stage, fd, || file.flush());
    stage.bytes = bytes;
    file.sync().unwrap();
    stage.until(fd, Readiness::SYNCED);
    assert_eq!(file.progress().unwrap().durable, 3 << 20);
    let fd = file.into_fd();
    let file = stage.efio.from_fd(fd).unwrap();
    file.close().unwrap();
    assert_eq!(stage.until(fd, Readiness::CLOSED), None);
    let file =
        stage.efio.open(stage.folder.join("gone"), &OpenOptions::new().write(true).create(true)).unwrap();
    let fd = file.abort().unwrap();
    stage.until(fd, Readiness::CLOSED);
}

/// The queued metadata calls, and the beginning of the end.
fn names(stage: &mut Stage) {
    let (efio, folder) = (stage.efio.clone(), stage.folder.clone());
    let asked = [efio.ef_stat(folder.join("hot")).unwrap(), efio.ef_stat_at(&stage.dir, "cold").unwrap()];
    for op in asked {
        stage.until(op.fd(), Readiness::DONE);
        let Answer::Metadata(metadata) = efio.take(op).unwrap() else { panic!("no metadata") };
        assert!(metadata.is_file());
    }
    let changed = [
        efio.ef_rename(folder.join("hot"), folder.join("warm")).unwrap(),
        efio.ef_rename_at(&stage.dir, "cold", &stage.dir, "cool").unwrap(),
        efio.ef_unlink(folder.join("lines")).unwrap(),
        efio.ef_unlink_at(&stage.dir, "opened").unwrap(),
    ];
    for op in changed {
        stage.until(op.fd(), Readiness::DONE);
        efio.take(op).unwrap();
    }
    let op = efio.ef_open_dir(&folder).unwrap();
    stage.until(op.fd(), Readiness::DONE);
    // A program that has a folder open keeps it: closing one is a call on it.
    stage.opened = Some(efio.take(op).unwrap());
    let left = stage.open("left", &OpenOptions::new().write(true).create(true));
    strictly(|| efio.ef_write(left, b"left open")).unwrap();
    efio.begin_shutdown();
    assert_eq!(stage.until(left, Readiness::CLOSED), None);
}

fn surface(stage: &mut Stage) {
    opens(stage);
    reads(stage);
    writes(stage);
    owned(stage);
    names(stage);
}

/// What is done on the loop's thread.
type Deed = fn(&mut Stage);

/// Things that a loop must not do: the call that gives them away, and the deed.
const SINS: [(&str, Deed); 8] = [
    ("statx", |stage| drop(std::fs::metadata(stage.folder.join("hot")))),
    ("openat", |stage| drop(std::fs::File::open(stage.folder.join("hot")))),
    ("unlink", |stage| drop(std::fs::remove_file(stage.folder.join("hot")))),
    ("close", |stage| drop(stage.bytes.pop().map(|_| take_open_file()))),
    ("fdatasync", |_| std::mem::forget(take_open_file().sync_data())),
    ("mmap", |_| strictly(|| drop(std::hint::black_box(vec![1_u8; 64 << 20])))),
    ("clone3", |_| {
        // SAFETY: an empty request, which is refused: no thread comes of it.
        strictly(|| unsafe { libc::syscall(libc::SYS_clone3, 0_usize, 0_usize) });
    }),
    ("futex", |_| {
        let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        let word = AtomicU32::new(0);
        // SAFETY: the word outlives the call, which does not sleep: 1 is not its value.
        strictly(|| unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), wait, 1, 0_usize) });
    }),
];

static OPEN_FILE: AtomicI32 = AtomicI32::new(-1);

/// A file that was opened before the watch began.
fn take_open_file() -> std::fs::File {
    // SAFETY: the number was made by `into_raw_fd` and is taken once.
    unsafe { std::fs::File::from_raw_fd(OPEN_FILE.swap(-1, Ordering::SeqCst)) }
}

/// The child: a loop thread, watched.
fn watched(script: fn(&mut Stage)) {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let mut stage = Stage::new(&folder);
    OPEN_FILE.store(std::fs::File::open(folder.join("hot")).unwrap().into_raw_fd(), Ordering::SeqCst);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        SECTION.store(FREE, Ordering::SeqCst);
        hook(panic);
    }));
    let watch = std::thread::spawn(|| {
        while LISTENER.load(Ordering::SeqCst) == -1 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // SAFETY: the loop's thread gave this descriptor up by publishing it.
        let listener = unsafe { OwnedFd::from_raw_fd(LISTENER.load(Ordering::SeqCst)) };
        seccomp::supervise(
            &listener,
            |_, _| SECTION.load(Ordering::SeqCst),
            |name, call| {
                let section =
                    if SECTION.load(Ordering::SeqCst) == LOOP { "the loop" } else { "a read or write" };
                eprintln!("caught: {name} in {section} ({call:?})");
                // SAFETY: takes numbers only; this process is the child, made to be killed here.
                unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            },
        );
    });
    let looping = std::thread::spawn(move || {
        match seccomp::install() {
            Ok(listener) => LISTENER.store(listener.into_raw_fd(), Ordering::SeqCst),
            Err(error) => {
                skip(format_args!("seccomp user notification is refused here: {error}"));
                std::process::exit(0);
            }
        }
        SECTION.store(LOOP, Ordering::SeqCst);
        script(&mut stage);
        SECTION.store(FREE, Ordering::SeqCst);
    });
    looping.join().unwrap();
    watch.join().unwrap();
}

/// Runs a script in a child. `None`: it cannot run here, and that was said.
fn run(test: &str, script: &str) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let output = child(test, SCRIPT, script).env(FOLDER, folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if let Some(reason) = said.lines().find_map(|line| line.strip_prefix("skipped: ")) {
        skip(reason);
        return None;
    }
    Some(output)
}

#[test]
fn no_call_of_the_surface_waits_for_a_disk() {
    if std::env::var_os(SCRIPT).is_some() {
        return watched(surface);
    }
    let Some(output) = run("no_call_of_the_surface_waits_for_a_disk", "surface") else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_supervisor_catches_what_a_loop_must_not_do() {
    if let Ok(script) = std::env::var(SCRIPT) {
        let (_, sin) = SINS.iter().find(|(name, _)| *name == script).unwrap();
        return watched(*sin);
    }
    for (name, _) in SINS {
        let Some(output) = run("the_supervisor_catches_what_a_loop_must_not_do", name) else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name} was not caught");
        assert!(said.contains(&format!("caught: {name} in")), "{name}: {said}");
    }
}
