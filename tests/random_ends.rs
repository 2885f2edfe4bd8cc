//! A program ends at any moment and in any way: clean ways lose nothing, others leave a prefix, nothing is written twice.
//!
//! Each round is a child that writes to some files and ends at a moment taken from a seed, and before that it may fork a
//! process that ends in a way of its own, with its parent's files in its memory. A failure names the seed.
//! `EFIO_ENDS_ROUNDS` sets how many rounds there are (48 unless set: each way with each way of the fork), `EFIO_ENDS_SEED`
//! the first seed.
#![cfg(unix)]
#![allow(unsafe_code, reason = "forks, and ends processes without their destructors")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use efio::{Efio, ErrorKind, Fd, File, OpenOptions};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use support::{Loop, child, noise};

const CHILD: &str = "EFIO_ENDS_CHILD";

/// How a program ends. The first four run the drop or the shutdown of the module.
const WAYS: [&str; 8] = ["return", "shutdown", "SIGTERM", "panic", "exit", "_exit", "abort", "SIGKILL"];
const CLEAN: usize = 4;
/// How a fork of it ends before.
const FORK_WAYS: [&str; 6] = ["no fork", "drop", "exit", "_exit", "panic", "abort"];

/// The files; each has a stream of its own.
const NAMES: [&str; 3] = ["appended", "written", "owned"];
/// A process that does not end is ended after so many seconds, and fails its round.
const PATIENCE_S: u32 = 60;

/// Line `number` of the stream of a file: mostly short, now and then larger than a small page.
fn line(file: usize, number: u64) -> Vec<u8> {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| noise(1, 60_000));
    let size = match number % 50 {
        7 => 5_000,
        8 => 50_000,
        rest => 20 + rest as usize * 3,
    };
    let mut line = format!("{file} {number} ").into_bytes();
    line.extend(&noise[number as usize % 9_000..][..size]);
    line.push(b'\n');
    line
}

/// The moments of a round.
struct Moments {
    /// The line before which it forks.
    fork: u64,
    /// The line before which it ends, unless a signal ends it.
    end: u64,
    /// When the signal comes.
    signal: Duration,
}

fn moments(seed: u64) -> Moments {
    let random = noise(seed.wrapping_mul(0x9E37_79B9), 32);
    let number = |place: usize| u64::from(u16::from_le_bytes([random[place], random[place + 1]]));
    let end = number(16) % 1200;
    Moments { fork: number(18) % (end + 1), end, signal: Duration::from_micros(number(20)) }
}

static TERMINATED: AtomicBool = AtomicBool::new(false);

extern "C" fn terminate(_: i32) {
    TERMINATED.store(true, Ordering::SeqCst);
}

/// What a child writes to.
struct Streams {
    owned: File,
    /// Never published.
    _atomic: File,
    fds: [Fd; 2],
    all: Loop,
    lines: u64,
}

impl Streams {
    fn new(folder: &Path) -> Self {
        let builder = Efio::builder().flush_interval(Duration::from_millis(3));
        let mut all = Loop::new(builder.shutdown_deadline(Duration::from_secs(30)).build().unwrap());
        let new = || OpenOptions::new().write(true).create(true);
        let append = OpenOptions::new().append(true).create(true);
        let fds = [
            all.open(folder.join(NAMES[0]), &append).unwrap(),
            all.open(folder.join(NAMES[1]), &new()).unwrap(),
        ];
        let owned = all.efio.open(folder.join(NAMES[2]), &new()).unwrap();
        let mut atomic = all.efio.open(folder.join("atomic"), &new().atomic(true)).unwrap();
        atomic.blocking().write_all(&line(3, 8)).unwrap();
        Self { owned, _atomic: atomic, fds, all, lines: 0 }
    }

    /// The next line of each stream.
    fn write(&mut self) {
        for (file, fd) in self.fds.into_iter().enumerate() {
            self.all.write(fd, &line(file, self.lines)).unwrap();
        }
        self.owned.blocking().write_all(&line(2, self.lines)).unwrap();
        self.lines += 1;
    }

    /// Says, as the last thing, how many lines were accepted and how many bytes of each stream were written by then.
    fn say(&self) {
        let written = |fd: Fd| self.all.efio.ef_progress(fd).unwrap().written;
        let [first, second] = self.fds.map(written);
        let words = format!("accepted {} {first} {second} {}\n", self.lines, written(self.owned.fd()));
        std::io::stderr().write_all(words.as_bytes()).unwrap();
    }
}

/// Ends a process that hangs.
fn limit_life() {
    // SAFETY: takes a number.
    unsafe { libc::alarm(PATIENCE_S) };
}

/// The forked process: no call does anything, and its end writes nothing.
fn end_fork(way: &str, mut streams: Streams) {
    limit_life();
    let refused = streams.fds.iter().all(|fd| {
        streams.all.efio.ef_write(*fd, b"twice").is_err_and(|error| error.kind() == ErrorKind::Forked)
    });
    if !refused || streams.owned.write(b"twice").is_ok() {
        std::io::stderr().write_all(b"the fork could write\n").unwrap();
    }
    match way {
        "drop" => drop(streams),
        "exit" => std::process::exit(0),
        "panic" => std::panic::resume_unwind(Box::new("an end of the fork")),
        "abort" => std::process::abort(),
        _ => {}
    }
    // SAFETY: ends this process.
    unsafe { libc::_exit(0) };
}

/// Forks; gives the streams back to the one that forked.
fn fork(way: &str, streams: Streams) -> Streams {
    // SAFETY: the forked process has this thread alone, makes no call but those under test, and ends.
    let forked = unsafe { libc::fork() };
    assert!(forked >= 0);
    if forked == 0 {
        end_fork(way, streams);
        unreachable!("it has ended");
    }
    streams
}

/// The child: writes, forks, ends.
fn write_and_end(task: &str) {
    limit_life();
    setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap();
    let words: Vec<&str> = task.splitn(4, ',').collect();
    let [way, fork_way, seed, folder] = words[..] else { panic!("four words: {task}") };
    let moments = moments(seed.parse().unwrap());
    let action = SigAction::new(SigHandler::Handler(terminate), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler stores to an atomic and does nothing else.
    unsafe { sigaction(Signal::SIGTERM, &action) }.unwrap();
    let mut streams = Streams::new(Path::new(folder));
    std::io::stderr().write_all(b"begun\n").unwrap();
    let signalled = way.starts_with("SIG");
    while !TERMINATED.load(Ordering::SeqCst) && (signalled || streams.lines < moments.end) {
        if streams.lines == moments.fork && fork_way != FORK_WAYS[0] {
            streams = fork(fork_way, streams);
        }
        streams.write();
    }
    streams.say();
    match way {
        "return" => {}
        "panic" => std::panic::resume_unwind(Box::new("an end")),
        "exit" => std::process::exit(0),
        // SAFETY: ends this process.
        "_exit" => unsafe { libc::_exit(0) },
        "abort" => std::process::abort(),
        _ => streams.all.efio.shutdown(Duration::from_secs(30)).unwrap(),
    }
}

/// What a child left: how it ended, what it said, and what is in its files.
struct Left {
    status: ExitStatus,
    said: String,
    files: Vec<Vec<u8>>,
    names: Vec<String>,
}

/// Runs one child to its end, and to that of its fork.
fn run(mut command: Command, way: &str, signal: Duration, folder: &Path) -> Left {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    if let Some(number) = [("SIGTERM", libc::SIGTERM), ("SIGKILL", libc::SIGKILL)]
        .into_iter()
        .find_map(|(name, number)| (name == way).then_some(number))
    {
        std::thread::sleep(signal);
        // SAFETY: takes numbers; the child is not waited for yet, so the number is its own.
        unsafe { libc::kill(child.id() as i32, number) };
    }
    // The end of the stream is the end of both.
    stderr.read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    let files = NAMES.map(|name| std::fs::read(folder.join(name)).unwrap_or_default()).into();
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    Left { status, said, files, names }
}

/// The stream of a file, as far as `lines` go or `len` bytes are there.
fn stream(file: usize, lines: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..lines {
        if bytes.len() >= len {
            break;
        }
        bytes.extend(line(file, number));
    }
    bytes
}

fn judge(way: usize, left: &Left, round: &str) {
    let Left { status, said, files, names } = left;
    let ended = match WAYS[way] {
        "panic" => status.code() == Some(101),
        "abort" | "SIGKILL" => status.code().is_none(),
        _ => status.success(),
    };
    assert!(ended, "{round}: {status:?}: {said}");
    assert!(!said.contains("panicked") && !said.contains("the fork could"), "{round}: {said}");
    assert!(!names.iter().any(|name| name == "atomic"), "{round}: published by an end: {names:?}");
    let report = said.lines().find_map(|line| line.strip_prefix("accepted "));
    let report: Vec<u64> =
        report.map_or(Vec::new(), |report| report.split(' ').map(|number| number.parse().unwrap()).collect());
    let lines = report.first().copied().unwrap_or(u64::MAX);
    for (file, found) in files.iter().enumerate() {
        let name = NAMES[file];
        if way < CLEAN {
            let whole = stream(file, lines, usize::MAX);
            assert!(*found == whole, "{round}, {name}: {} bytes of {} accepted", found.len(), whole.len());
        } else {
            let begin = stream(file, lines, found.len());
            assert!(begin.starts_with(found), "{round}, {name}: {} bytes are no prefix", found.len());
            let written = report.get(file + 1).copied().unwrap_or(0);
            assert!(found.len() as u64 >= written, "{round}, {name}: {} of {written} bytes", found.len());
        }
    }
    if way < CLEAN {
        let mut expected = NAMES.to_vec();
        expected.sort_unstable();
        assert_eq!(*names, expected, "{round}: what a clean end leaves");
    }
}

fn variable(name: &str, unless_set: u64) -> u64 {
    std::env::var(name).map_or(unless_set, |value| value.parse().unwrap())
}

#[test]
fn every_end_at_any_moment_leaves_what_it_should_and_nothing_twice() {
    if let Ok(task) = std::env::var(CHILD) {
        return write_and_end(&task);
    }
    let name = "every_end_at_any_moment_leaves_what_it_should_and_nothing_twice";
    let (rounds, first) = (variable("EFIO_ENDS_ROUNDS", 48), variable("EFIO_ENDS_SEED", 1));
    let mut bytes = [0; WAYS.len()];
    for seed in first..first + rounds {
        let way = ((seed - first) % WAYS.len() as u64) as usize;
        let fork_way = FORK_WAYS[((seed - first) / WAYS.len() as u64) as usize % FORK_WAYS.len()];
        let round = format!("seed {seed}: {}, fork: {fork_way}", WAYS[way]);
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().into();
        let task = format!("{},{fork_way},{seed},{}", WAYS[way], path.display());
        let left = run(child(name, CHILD, &task), WAYS[way], moments(seed).signal, &path);
        bytes[way] += left.files.iter().map(Vec::len).sum::<usize>();
        judge(way, &left, &round);
    }
    println!("seeds {first} to {}: {WAYS:?} left {bytes:?} bytes", first + rounds - 1);
    assert!(rounds < 48 || bytes.iter().all(|bytes| *bytes > 0), "some way came before anything was written");
}
