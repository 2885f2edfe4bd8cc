//! What others build on the public calls alone: a chunk file with a rewritten header, callbacks as in C, a rotating log.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use efio::{Dir, Efio, Events, Fd, Op, OpenOptions, PathCall, Readiness, Wake};
use support::{Loop, noise};

/// Bytes before the first record of a chunk: its count of records, of bytes, and a sum over them.
const HEADER: usize = 24;

/// Fletcher's sum of 64 bits, byte by byte: enough to tell a torn chunk.
fn sum(bytes: &[u8], seed: u64) -> u64 {
    let (mut low, mut high) = (seed & 0xFFFF_FFFF, seed >> 32);
    for byte in bytes {
        low = (low + u64::from(*byte)) % 0xFFFF_FFFF;
        high = (high + low) % 0xFFFF_FFFF;
    }
    high << 32 | low
}

/// A chunk that grows by records, and whose header tells how far it is good.
struct Chunk {
    fd: Fd,
    records: u64,
    bytes: u64,
    sum: u64,
}

impl Chunk {
    fn create(all: &mut Loop, path: &Path) -> Self {
        let fd = all.open(path, &OpenOptions::new().read(true).write(true).create(true)).unwrap();
        all.write(fd, &[0; HEADER]).unwrap();
        Self { fd, records: 0, bytes: 0, sum: 0 }
    }

    fn push(&mut self, all: &mut Loop, record: &[u8]) {
        all.write(self.fd, record).unwrap();
        self.records += 1;
        self.bytes += record.len() as u64;
        self.sum = sum(record, self.sum);
    }

    /// The header goes after the records that it speaks of.
    fn commit(&self, all: &mut Loop) {
        let header = [self.records, self.bytes, self.sum].map(u64::to_be_bytes).concat();
        loop {
            match all.efio.ef_write_at(self.fd, &header, 0) {
                Ok(count) => return assert_eq!(count, HEADER, "a short write of a header"),
                Err(error) if error.is_would_block() => _ = all.until(self.fd, Readiness::WRITABLE),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn read_at(all: &mut Loop, fd: Fd, into: &mut [u8], offset: u64) {
    let mut done = 0;
    while done < into.len() {
        match all.efio.ef_read_at(fd, &mut into[done..], offset + done as u64) {
            Ok(0) => panic!("the file ends at {}", offset + done as u64),
            Ok(count) => done += count,
            Err(error) if error.is_would_block() => _ = all.until(fd, Readiness::READABLE),
            Err(error) => panic!("{error}"),
        }
    }
}

/// What the header says, checked against what lies behind it.
fn check(all: &mut Loop, fd: Fd) -> (u64, u64) {
    let mut header = [0; HEADER];
    read_at(all, fd, &mut header, 0);
    let word = |place: usize| u64::from_be_bytes(header[place * 8..place * 8 + 8].try_into().unwrap());
    let mut data = vec![0; word(1) as usize];
    read_at(all, fd, &mut data, HEADER as u64);
    assert_eq!(sum(&data, 0), word(2), "the header speaks of other bytes");
    (word(0), word(1))
}

#[test]
fn a_chunk_file_with_a_rewritten_header_needs_no_private_door() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chunk");
    let mut all = Loop::new(Efio::new().unwrap());
    let mut chunk = Chunk::create(&mut all, &path);
    let source = noise(7, 2_000_000);
    for (number, record) in source.chunks(1_777).enumerate() {
        chunk.push(&mut all, record);
        if number % 100 == 99 {
            // Read back at once: what was accepted is seen.
            chunk.commit(&mut all);
            assert_eq!(check(&mut all, chunk.fd), (chunk.records, chunk.bytes));
        }
    }
    chunk.commit(&mut all);
    all.efio.ef_sync(chunk.fd).unwrap();
    let synced = all.until(chunk.fd, Readiness::SYNCED);
    assert!(synced.error().is_none(), "{synced:?}");
    all.efio.ef_close_immediate(chunk.fd).unwrap();

    let fd = all.open(&path, &OpenOptions::new().read(true)).unwrap();
    assert_eq!(check(&mut all, fd), (chunk.records, source.len() as u64));
    all.efio.ef_close_immediate(fd).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), (HEADER + source.len()) as u64);
}

/// A function and what it is called with, as a C library would keep them.
#[derive(Clone)]
struct Callback {
    function: fn(&Shelf, i32, Readiness),
    data: Arc<Shelf>,
}

/// What the callbacks collect.
#[derive(Default)]
struct Shelf {
    seen: Mutex<Vec<(i32, Readiness)>>,
}

/// Small numbers for handles, and one thread that calls back: what a C interface is made of.
struct Dispatcher {
    efio: Efio,
    shared: Arc<Mutex<HashMap<i32, Callback>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Dispatcher {
    fn start(efio: &Efio, last: i32) -> Self {
        let inbox = efio.new_inbox(Wake::descriptor()).unwrap();
        // Files opened through this handle have their events in the dispatcher's inbox.
        let efio = efio.with_inbox(&inbox).unwrap();
        let shared = Arc::new(Mutex::new(HashMap::<i32, Callback>::new()));
        let callbacks = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut events = Events::with_capacity(64);
            let mut open = true;
            while open {
                inbox.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
                assert!(!events.is_empty(), "nothing came");
                for event in events.iter() {
                    let number = event.token() as i32;
                    let callback = callbacks.lock().unwrap().get(&number).cloned();
                    // Called without a lock, so that it may set and unset callbacks itself.
                    if let Some(callback) = callback {
                        (callback.function)(&callback.data, number, event.readiness());
                    }
                    open &= !(number == last && event.readiness().is_closed());
                }
            }
        });
        Self { efio, shared, thread }
    }

    fn open(&self, number: i32, path: &Path, options: OpenOptions, callback: Callback) -> Fd {
        self.shared.lock().unwrap().insert(number, callback);
        self.efio.ef_open(path, &options.token(number as u64)).unwrap()
    }
}

#[test]
fn a_dispatcher_of_callbacks_needs_no_private_door() {
    let folder = tempfile::tempdir().unwrap();
    let efio = Efio::new().unwrap();
    let (files, last) = (20, 20);
    let dispatcher = Dispatcher::start(&efio, last);
    let shelf = Arc::new(Shelf::default());
    let record = |shelf: &Shelf, number: i32, readiness: Readiness| {
        shelf.seen.lock().unwrap().push((number, readiness))
    };
    let callback = Callback { function: record, data: shelf.clone() };
    let mut fds = Vec::new();
    for number in 0..files {
        let path = folder.path().join(number.to_string());
        std::fs::write(&path, [number as u8; 100]).unwrap();
        fds.push(dispatcher.open(number, &path, OpenOptions::new().read(true), callback.clone()));
    }
    // The contract of a callback: at least one READ after each refusal.
    let mut refused = [false; 20];
    for (fd, refused) in fds.iter().zip(&mut refused) {
        let read = efio.ef_read(*fd, &mut [0; 10]);
        *refused = read.as_ref().is_err_and(|error| error.is_would_block());
        assert!(*refused || read.as_ref().is_ok_and(|count| *count == 10), "{read:?}");
    }
    let told = |number: i32, what: Readiness| {
        let seen = shelf.seen.lock().unwrap();
        seen.iter().any(|(of, readiness)| *of == number && readiness.intersects(what))
    };
    for (number, refused) in refused.iter().enumerate() {
        if *refused {
            support::wait_until("a readable event", || told(number as i32, Readiness::READABLE));
        }
    }
    for fd in fds {
        efio.ef_close(fd).unwrap();
    }
    for number in 0..files {
        support::wait_until("a closed event", || told(number, Readiness::CLOSED));
    }
    // A callback that is unset is called no more.
    let before = shelf.seen.lock().unwrap().len();
    let unset = dispatcher.open(
        last,
        &folder.path().join("0"),
        OpenOptions::new().read(true),
        Callback { function: record, data: shelf.clone() },
    );
    dispatcher.shared.lock().unwrap().remove(&last);
    let seen = shelf.seen.lock().unwrap().len();
    assert!(seen - before <= 1, "at most its opening was told before");
    efio.ef_close(unset).unwrap();
    dispatcher.thread.join().unwrap();
    let seen_last = shelf.seen.lock().unwrap().len();
    assert!(!told(last, Readiness::CLOSED) && seen_last <= seen + 1);
}

/// A log that gives its file another name once enough is in it, and goes on in a new one. It never waits for that.
struct RotatingLog {
    folder: Dir,
    path: PathBuf,
    fd: Fd,
    step: Step,
    /// Bytes since the last rotation.
    filled: usize,
    /// Files that were filled.
    number: usize,
}

enum Step {
    Filling,
    Renaming(Op),
    Reopening,
    Removing(Op),
}

impl RotatingLog {
    /// A file is full from here on.
    const LIMIT: usize = 10_000;
    /// So many full files are kept.
    const KEPT: usize = 3;

    fn open(all: &mut Loop, folder: &Path) -> Self {
        let path = folder.join("log");
        let fd = all.open(&path, &OpenOptions::new().append(true).create(true)).unwrap();
        let folder = all.efio.dir(folder).unwrap();
        Self { folder, path, fd, step: Step::Filling, filled: 0, number: 0 }
    }

    fn write(&mut self, all: &mut Loop, line: &[u8]) {
        all.write(self.fd, line).unwrap();
        self.filled += line.len();
        self.turn(all);
    }

    fn queue(&self, all: &Loop, call: PathCall) -> Op {
        all.efio.ef_queue(&call.beneath(&self.folder)).unwrap()
    }

    /// Does what can be done now.
    fn turn(&mut self, all: &mut Loop) {
        self.step = match std::mem::replace(&mut self.step, Step::Filling) {
            Step::Filling if self.filled >= Self::LIMIT => {
                self.number += 1;
                Step::Renaming(self.queue(all, PathCall::rename("log", format!("log.{}", self.number))))
            }
            Step::Renaming(op) => match all.efio.take(op) {
                Err(error) if error.is_would_block() => Step::Renaming(op),
                answer => {
                    answer.unwrap();
                    all.efio.ef_reopen(self.fd, &self.path).unwrap();
                    Step::Reopening
                }
            },
            Step::Reopening => match all.look_for(self.fd, Readiness::DONE) {
                None => Step::Reopening,
                Some(done) => {
                    assert!(done.error().is_none(), "{done:?}");
                    self.filled = 0;
                    match self.number.checked_sub(Self::KEPT).filter(|oldest| *oldest > 0) {
                        Some(oldest) => {
                            Step::Removing(self.queue(all, PathCall::unlink(format!("log.{oldest}"))))
                        }
                        None => Step::Filling,
                    }
                }
            },
            Step::Removing(op) => match all.efio.take(op) {
                Err(error) if error.is_would_block() => Step::Removing(op),
                answer => answer.map(|_| Step::Filling).unwrap(),
            },
            step @ Step::Filling => step,
        };
    }
}

#[test]
fn a_log_that_rotates_needs_no_private_door() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Loop::new(Efio::builder().flush_interval(Duration::from_millis(1)).build().unwrap());
    let mut log = RotatingLog::open(&mut all, folder.path());
    let mut lines = 0;
    while log.number < 8 || !matches!(log.step, Step::Filling) {
        log.write(&mut all, format!("line {lines}\n").as_bytes());
        lines += 1;
        // What an event loop does between two records.
        all.gather(Duration::ZERO);
    }
    assert!(all.close(log.fd).error().is_none());
    let name = |number| folder.path().join(format!("log.{number}"));
    assert!((1..=5).all(|number| !name(number).exists()), "only three are kept");
    let files: Vec<String> =
        (6..=8).map(name).chain([log.path]).map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert!(files[..3].iter().all(|text| text.len() >= RotatingLog::LIMIT && text.ends_with('\n')));
    // No line is torn, missing or there twice, from the first that is kept to the last.
    let kept = files.concat();
    let first = kept.lines().next().unwrap().strip_prefix("line ").unwrap().parse().unwrap();
    assert!(kept.lines().eq((first..lines).map(|line| format!("line {line}"))));
}
