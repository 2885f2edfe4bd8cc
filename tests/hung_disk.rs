//! A disk that hangs for a while, with many files: the others go on, no call waits, memory keeps its limit, nothing is lost.
//!
//! The hung disk is a FUSE file system of the test; the module under test runs in a child, which asks its parent to see
//! that calls hang, and to let them go. How fast the others are is printed, and never judged.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "hands a descriptor to a supervisor, and kills the child that is caught")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/fuse.rs"]
mod fuse;
#[path = "support/seccomp.rs"]
mod seccomp;
mod support;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use efio::{Efio, Event, Events, Fd, OpenOptions, Readiness};
use fuse::{Asked, Fate, Mounted};
use seccomp::{FREE, LOOP, READ_WRITE};
use support::{PATIENCE, child, noise, wait_until};

/// The child's disk.
const PLACE: &str = "EFIO_HUNG_DISK_PLACE";

/// Where the loop's thread is.
static SECTION: AtomicU32 = AtomicU32::new(FREE);
static LISTENER: AtomicI32 = AtomicI32::new(-1);

fn within<R>(section: u32, action: impl FnOnce() -> R) -> R {
    let outside = SECTION.swap(section, Ordering::SeqCst);
    let answer = action();
    SECTION.store(outside, Ordering::SeqCst);
    answer
}

/// The child fails: it cannot end before its disk lets go of it.
fn let_go() {
    SECTION.store(FREE, Ordering::SeqCst);
    // A parent that failed first is gone.
    let _ = writeln!(std::io::stdout(), "ask release");
}

/// Lets a child that panics end.
fn let_go_on_panic() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let_go();
        hook(panic);
    }));
}

/// Runs `script` as an event loop that dies of a call that waits for a disk.
fn watched(script: impl FnOnce() + Send + 'static) {
    let looping = std::thread::spawn(move || {
        match seccomp::install() {
            Ok(listener) => LISTENER.store(listener.into_raw_fd(), Ordering::SeqCst),
            Err(error) => {
                println!("unwatched, since seccomp user notification is refused here: {error}");
                LISTENER.store(-2, Ordering::SeqCst);
            }
        }
        within(LOOP, script);
    });
    while LISTENER.load(Ordering::SeqCst) == -1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let listener = LISTENER.load(Ordering::SeqCst);
    if listener >= 0 {
        // SAFETY: the loop's thread gave this descriptor up by publishing it.
        let listener = unsafe { OwnedFd::from_raw_fd(listener) };
        let caught = |name: &'static str, call: &seccomp::Call| {
            eprintln!("caught: {name} ({call:?})");
            let_go();
            // SAFETY: takes numbers only; this process is the child, made to be killed here.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        };
        seccomp::supervise(&listener, |_, _| SECTION.load(Ordering::SeqCst), caught);
    }
    looping.join().unwrap();
}

/// The child asks its parent for something, and goes on when it is done.
fn ask(what: &str) {
    println!("ask {what}");
    let mut word = String::new();
    std::io::stdin().read_line(&mut word).unwrap();
    assert_eq!(word, "done\n", "the parent is gone");
}

/// The parent: runs the test's child and does what it asks for.
fn serve(test: &str, mounted: &Mounted) {
    let mut command = child(test, PLACE, mounted.path("").to_str().unwrap());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut word = child.stdin.take().unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, asked)) = line.split_once("ask ") else {
            println!("{line}");
            continue;
        };
        match asked.strip_prefix("hung ") {
            Some(calls) => {
                let calls = calls.parse().unwrap();
                wait_until(asked, || mounted.disk.held() == calls);
            }
            None => mounted.disk.release(),
        }
        // A child that is gone says so by its status.
        let _ = word.write_all(b"done\n");
    }
    assert!(child.wait().unwrap().success());
}

/// A disk on which writes to the files of these names hang. `None`, and said so, where there can be none.
fn hanging(names: impl Iterator<Item = String>) -> Option<Mounted> {
    let mounted = Mounted::or_skip()?;
    names.for_each(|name| mounted.disk.ordain(&name, Asked::Write, Fate::Hangs));
    Some(mounted)
}

/// A figure of /proc/self/status.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Files on a loop: the module, and what its calls took.
struct Stage {
    efio: Efio,
    events: Events,
    longest: Duration,
    /// Pieces written to each file.
    pieces: HashMap<Fd, usize>,
    /// Files that were refused a piece: the engine has to make pages first.
    refused: HashSet<Fd>,
}

impl Stage {
    fn new(efio: Efio) -> Self {
        let events = Events::with_capacity(1024);
        let (pieces, refused) = (HashMap::new(), HashSet::new());
        Self { efio, events, longest: Duration::ZERO, pieces, refused }
    }

    /// A call that may neither wait nor start, map or open anything.
    fn call<R>(&mut self, action: impl FnOnce(&Efio) -> R) -> R {
        let begin = Instant::now();
        let answer = within(READ_WRITE, || action(&self.efio));
        self.longest = self.longest.max(begin.elapsed());
        answer
    }

    /// Waits for events until `over`, which is told of each.
    fn until(&mut self, what: &str, mut over: impl FnMut(&mut Self, Fd, Readiness) -> bool) {
        let mut news = Vec::new();
        let mut last = Instant::now();
        loop {
            self.efio.wait(&mut self.events, Some(Duration::from_millis(100))).unwrap();
            for event in &self.events {
                assert!(event.error().is_none() && event.bytes_lost() == 0, "{event:?}");
                news.push((event.fd(), event.readiness()));
            }
            if !news.is_empty() {
                last = Instant::now();
            }
            assert!(last.elapsed() < PATIENCE, "waited in vain for: {what}");
            for (fd, readiness) in news.drain(..) {
                if readiness.is_writable() && self.refused.remove(&fd) {
                    self.write_and_sync(fd);
                }
                if over(self, fd, readiness) {
                    return;
                }
            }
        }
    }

    fn open(&mut self, paths: &[PathBuf], options: &OpenOptions) -> Vec<Fd> {
        let fds: Vec<Fd> = paths.iter().map(|path| self.efio.ef_open(path, options).unwrap()).collect();
        let mut left = fds.len();
        self.until("the opens", |_, _, readiness| {
            left -= usize::from(readiness.is_opened());
            left == 0
        });
        fds
    }

    /// Writes a piece to a file, now or when there is room, and has it made durable.
    fn write_and_sync(&mut self, fd: Fd) {
        match self.call(|efio| efio.ef_write(fd, &[fd.index() as u8; PIECE])) {
            Ok(taken) => {
                assert_eq!(taken, PIECE);
                *self.pieces.entry(fd).or_default() += 1;
                self.efio.ef_sync(fd).unwrap();
            }
            Err(error) => {
                assert!(error.is_would_block(), "{error}");
                self.refused.insert(fd);
            }
        }
    }

    /// Writes a piece to each of these files.
    fn write_each(&mut self, fds: &[Fd]) {
        fds.iter().for_each(|fd| self.write_and_sync(*fd));
        if !self.refused.is_empty() {
            self.until("room", |stage, _, _| stage.refused.is_empty());
        }
    }

    fn close(&mut self, fds: &[Fd]) {
        fds.iter().for_each(|fd| self.efio.ef_close(*fd).unwrap());
        let mut left = fds.len();
        self.until("the closes", |_, _, readiness| {
            left -= usize::from(readiness.is_closed());
            left == 0
        });
    }
}

/// Files that can hang, of 256.
const CAN_HANG: usize = 32;
const PIECE: usize = 5_000;
/// Writes, each made durable, that every file does while others hang.
const ROUNDS: u32 = 15;

/// The name of the file that hangs as the `number`th.
fn hung(number: usize) -> String {
    format!("hung-{number}")
}

/// Has each file write and sync its `piece`, `ROUNDS` times, all of them at once; gives how long it took.
fn work(stage: &mut Stage, files: &[Fd]) -> Duration {
    let start = Instant::now();
    let mut left: HashMap<Fd, u32> = files.iter().map(|fd| (*fd, ROUNDS)).collect();
    files.iter().for_each(|fd| stage.write_and_sync(*fd));
    stage.until("files that do not hang", |stage, fd, readiness| {
        if readiness.contains(Readiness::SYNCED) {
            let rounds = left.get_mut(&fd).unwrap();
            *rounds -= 1;
            match rounds {
                0 => _ = left.remove(&fd),
                _ => stage.write_and_sync(fd),
            }
        }
        left.is_empty()
    });
    start.elapsed()
}

/// The child: 256 files on a loop, some of which hang.
fn among_256(mount: &Path) {
    let elsewhere = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut stage = Stage::new(Efio::new().unwrap());
    let beside = (CAN_HANG..256).map(|number| match number % 2 {
        0 => mount.join(number.to_string()),
        _ => elsewhere.path().join(number.to_string()),
    });
    let paths: Vec<PathBuf> = (0..CAN_HANG).map(|number| mount.join(hung(number))).chain(beside).collect();
    let options = OpenOptions::new().write(true).create(true);
    watched(move || {
        let fds = stage.open(&paths, &options);
        let (can_hang, others) = fds.split_at(CAN_HANG);
        let far: Vec<Fd> = others.iter().copied().skip(1).step_by(2).collect();
        let near: Vec<Fd> = others.iter().copied().step_by(2).collect();
        work(&mut stage, others);
        let undisturbed = [work(&mut stage, others), work(&mut stage, &far)];
        let mut hanging = 0;
        // The threads of one device are half of all, 32: with so many hung, only files elsewhere go on.
        for (count, files, pace) in [(1, others, 0), (8, others, 0), (31, others, 0), (32, &far[..], 1)] {
            stage.write_each(&can_hang[hanging..count]);
            hanging = count;
            ask(&format!("hung {count}"));
            stage.longest = Duration::ZERO;
            let took = work(&mut stage, files);
            for fd in &can_hang[..count] {
                assert_eq!(stage.call(|efio| efio.ef_progress(*fd)).unwrap().written, 0, "it hangs");
                assert!(stage.call(|efio| efio.ef_poll(*fd)).unwrap().is_writable());
            }
            stage.write_each(&can_hang[..count]);
            let threads = within(FREE, || status("Threads:"));
            assert!(threads <= 64 + 5, "{threads} threads: the engine's, its timer, and those of this test");
            let done = files.len() * ROUNDS as usize;
            let ratio = 100.0 * undisturbed[pace].as_secs_f64() / took.as_secs_f64();
            println!(
                "{count} hung: {} others did {done} durable writes at {ratio:.0} % of their pace; longest call {:?}; \
                 {threads} threads",
                files.len(),
                stage.longest,
            );
        }
        // Those beside the hung ones are held up, and nothing more.
        stage.write_each(&near);
        ask("release");
        stage.close(&fds);
        within(FREE, || {
            for (fd, path) in fds.iter().zip(&paths) {
                let found = std::fs::read(path).unwrap();
                assert_eq!(found.len(), stage.pieces[fd] * PIECE, "{}", path.display());
                assert!(found.iter().all(|byte| *byte == fd.index() as u8), "{}", path.display());
            }
            drop(stage);
        });
    });
    drop(elsewhere);
}

#[test]
fn hung_files_among_256_hold_up_no_other_and_no_call_waits() {
    let name = "hung_files_among_256_hold_up_no_other_and_no_call_waits";
    if let Some(mount) = std::env::var_os(PLACE) {
        let_go_on_panic();
        return among_256(Path::new(&mount));
    }
    let Some(mounted) = hanging((0..CAN_HANG).map(hung)) else { return };
    serve(name, &mounted);
}

const FILES: usize = 1000;
const LIMIT: usize = 64 << 20;
/// Bytes of each file: twice as many for all as there may be in memory.
const BYTES: usize = 2 * LIMIT / FILES;

/// What the bytes of all files are parts of.
fn contents() -> Vec<u8> {
    noise(1, BYTES + FILES * 16)
}

/// The bytes of one of the files.
fn content(contents: &[u8], number: usize) -> &[u8] {
    &contents[number * 16..][..BYTES]
}

/// One of the thousand, and how far it is.
#[derive(Default)]
struct Writer {
    number: usize,
    taken: usize,
    refusals: u32,
    told: u32,
}

impl Writer {
    /// Writes until it is refused, or `most` bytes are taken, or all.
    fn write(&mut self, stage: &mut Stage, fd: Fd, contents: &[u8], most: usize) {
        let content = content(contents, self.number);
        let end = BYTES.min(self.taken.saturating_add(most));
        while self.taken < end {
            let piece = &content[self.taken..end.min(self.taken + 3_000)];
            match stage.call(|efio| efio.ef_write(fd, piece)) {
                Ok(taken) => self.taken += taken,
                Err(error) => {
                    assert!(error.is_would_block(), "{error}");
                    self.refusals += 1;
                    return;
                }
            }
        }
    }

    /// Its event has come. One that nobody waits for is a word left by a call that found room at its second look.
    fn go_on(&mut self, stage: &mut Stage, fd: Fd, contents: &[u8]) {
        if self.told < self.refusals {
            self.told += 1;
            self.write(stage, fd, contents, usize::MAX);
        }
    }
}

/// Writes in turns, until each file is refused or has all its bytes.
fn fill(stage: &mut Stage, fds: &[Fd], writers: &mut HashMap<Fd, Writer>, contents: &[u8]) {
    let has_more = |writer: &Writer| writer.refusals == 0 && writer.taken < BYTES;
    while writers.values().any(has_more) {
        for fd in fds {
            let writer = writers.get_mut(fd).unwrap();
            if has_more(writer) {
                writer.write(stage, *fd, contents, 6_000);
            }
        }
    }
}

/// The child: a thousand files written as fast as they are taken, to a disk that hangs.
fn a_thousand(mount: &Path, mut stage: Stage) {
    let paths: Vec<PathBuf> = (0..FILES).map(|number| mount.join(number.to_string())).collect();
    let options = OpenOptions::new().write(true).create(true);
    let fds = stage.open(&paths, &options);
    let contents = contents();
    let mut writers: HashMap<Fd, Writer> = HashMap::new();
    for (number, fd) in fds.iter().enumerate() {
        writers.insert(*fd, Writer { number, ..Writer::default() });
    }
    fill(&mut stage, &fds, &mut writers, &contents);
    ask("hung 32");
    // There may be room after all: pages are made as they are needed.
    let mut looks = 0;
    while looks < 10 {
        looks += 1;
        stage.efio.wait(&mut stage.events, Some(Duration::from_millis(50))).unwrap();
        let writable = stage.events.iter().filter(|event| event.readiness().is_writable());
        for fd in writable.map(Event::fd).collect::<Vec<_>>() {
            looks = 0;
            writers.get_mut(&fd).unwrap().go_on(&mut stage, fd, &contents);
        }
    }
    let accepted: usize = writers.values().map(|writer| writer.taken).sum();
    let mut refused: HashMap<Fd, u32> =
        writers.iter().map(|(fd, writer)| (*fd, writer.refusals - writer.told)).collect();
    refused.retain(|_, waits| *waits > 0);
    println!("{} KiB accepted, {} of {FILES} files refused then", accepted >> 10, refused.len());
    // A page counts whole: of the 64 MiB, 46 files once held a page of 1 MiB each, with at most 131 KiB of theirs in it, while
    // half of all files had 2 KiB accepted. So it is a third of the limit, and not the whole.
    assert!(accepted <= LIMIT && accepted > LIMIT / 8 && refused.len() >= FILES / 2);
    ask("release");
    // Nobody writes before all are told and all is in the files: so each event is for the one refusal.
    let mut told: HashMap<Fd, u32> = HashMap::new();
    let is_written = |stage: &Stage, fd: &Fd| stage.efio.ef_progress(*fd).unwrap().written;
    let mut count = |stage: &Stage| {
        for event in stage.events.iter().filter(|event| event.readiness().is_writable()) {
            *told.entry(event.fd()).or_default() += u32::from(refused.contains_key(&event.fd()));
        }
    };
    let start = Instant::now();
    while !writers.iter().all(|(fd, writer)| is_written(&stage, fd) == writer.taken as u64) {
        assert!(start.elapsed() < PATIENCE, "waited in vain for the accepted bytes");
        stage.efio.wait(&mut stage.events, Some(Duration::from_millis(20))).unwrap();
        count(&stage);
    }
    stage.efio.wait(&mut stage.events, Some(Duration::from_millis(20))).unwrap();
    count(&stage);
    told.retain(|_, events| *events > 0);
    assert!(told == refused, "one event for each refused file");
    for fd in told.keys() {
        writers.get_mut(fd).unwrap().go_on(&mut stage, *fd, &contents);
    }
    stage.until("room", |stage, fd, readiness| {
        if readiness.is_writable() {
            writers.get_mut(&fd).unwrap().go_on(stage, fd, &contents);
        }
        writers.values().all(|writer| writer.taken == BYTES)
    });
    assert!(writers.values().all(|writer| writer.told == writer.refusals));
    let refusals: u32 = writers.values().map(|writer| writer.refusals).sum();
    stage.close(&fds);
    let most = within(FREE, || status("VmHWM:"));
    println!(
        "{refusals} refusals, as many events; {} MiB at most; longest call {:?}",
        most >> 10,
        stage.longest
    );
    assert!(most <= (LIMIT as u64 >> 10) + (32 << 10), "{most} KiB for a limit of 64 MiB");
    within(FREE, || drop(stage));
}

#[test]
fn a_thousand_files_on_a_hung_disk_keep_the_limit_of_memory_and_lose_nothing() {
    let name = "a_thousand_files_on_a_hung_disk_keep_the_limit_of_memory_and_lose_nothing";
    if let Some(mount) = std::env::var_os(PLACE) {
        let_go_on_panic();
        let efio = Efio::builder().memory_limit(LIMIT).build().unwrap();
        return watched(move || a_thousand(Path::new(&mount), Stage::new(efio)));
    }
    let Some(mounted) = hanging((0..FILES).map(|number| number.to_string())) else { return };
    serve(name, &mounted);
    let contents = contents();
    for number in 0..FILES {
        let found = mounted.disk.contents(&number.to_string());
        assert!(found == content(&contents, number), "file {number}");
    }
}
