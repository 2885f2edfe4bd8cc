//! One client of a soak: a file at a time, written or read, in steps as the module lets it; checked when it is closed.

use std::path::PathBuf;

use efio::{Durability, Efio, Event, Fd, OnFull, OpenOptions, Operation, Readiness};

use crate::Random;
use crate::weather::Places;

/// What came of the files closed so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    pub(crate) refused: u64,
    pub(crate) durable: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Writes a new file, to its end or to some point at which it is given up.
    Write { aborts: bool },
    /// Reads back what the last one of this client in the same place wrote.
    Read,
    /// Opens and closes.
    Touch,
}

#[derive(Debug)]
struct Task {
    kind: Kind,
    fd: Fd,
    path: PathBuf,
    seed: u64,
    /// Bytes to write, or to be read.
    wanted: u64,
    /// Bytes accepted, or read.
    done: u64,
    syncs: bool,
    closes: bool,
    aborted: bool,
    /// The disk refused a read: what it says is no longer checked.
    failed: bool,
}

/// See the head of this file.
pub(crate) struct Client {
    number: usize,
    random: Random,
    places: Places,
    task: Option<Task>,
    buffer: Vec<u8>,
    /// The last file that was written to its end, by path, and what is in it: seed and length.
    last: Option<(PathBuf, u64, u64)>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("task", &self.task).finish_non_exhaustive()
    }
}

/// The bytes of a file from an offset on.
fn fill(seed: u64, offset: u64, into: &mut [u8]) {
    for (place, byte) in into.iter_mut().enumerate() {
        let at = offset + place as u64;
        *byte = ((at / 7) ^ (at >> 9) ^ seed) as u8;
    }
}

impl Client {
    pub(crate) fn new(number: usize, seed: u64, places: &Places) -> Self {
        Self {
            number,
            random: Random::new(seed.wrapping_add(number as u64 * 977)),
            places: places.clone(),
            task: None,
            buffer: vec![0; 96 << 10],
            last: None,
        }
    }

    /// What the module has to say of the file that it is at.
    pub(crate) fn state(&self, efio: &Efio) -> String {
        let Some(task) = &self.task else { return String::new() };
        format!("{task:?}: {:?}, {:?}", efio.ef_progress(task.fd), efio.ef_poll(task.fd))
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.task.is_some()
    }

    /// Begins with another file, if there is none.
    pub(crate) fn begin(&mut self, efio: &Efio) {
        if self.task.is_some() {
            return;
        }
        let seed = self.random.below(1 << 40);
        let place = self.random.below(3);
        let mut path = self.places.path(place, &format!("f{}", self.number));
        let mut options = OpenOptions::new().token(self.number as u64);
        // The strange disk lies in this process's own memory.
        let lengths: &[u64] =
            if place == 2 { &[100, 9_000, 99_000] } else { &[100, 5_000, 70_000, 400_000, 1_500_000] };
        let mut wanted = lengths[self.random.below(lengths.len() as u64) as usize];
        let mut of = seed;
        let kind = match (self.random.below(10), self.last.clone()) {
            (0..=2, Some((last, its_seed, length))) => {
                (path, wanted, of) = (last, length, its_seed);
                options = options.read(true);
                Kind::Read
            }
            (3, _) => {
                path.push("nothing/is/here");
                options = options.read(true);
                Kind::Touch
            }
            (4, _) => {
                options = options.read(true).write(true).create(true);
                self.last = None;
                Kind::Touch
            }
            (draw, _) => {
                options = options.write(true).create(true).truncate(true).durability(self.durability());
                if self.random.below(2) == 0 {
                    options = options.on_full(OnFull::Fail);
                }
                self.last = None;
                Kind::Write { aborts: draw == 5 }
            }
        };
        let fd = efio.ef_open(&path, &options).unwrap();
        let syncs = self.random.below(4) == 0;
        let task = Task {
            kind,
            fd,
            path,
            seed: of,
            wanted,
            done: 0,
            syncs,
            closes: false,
            aborted: false,
            failed: false,
        };
        self.task = Some(task);
    }

    fn durability(&mut self) -> Durability {
        let all = [Durability::None, Durability::None, Durability::Interval, Durability::OnClose];
        all[self.random.below(4) as usize]
    }

    /// Goes on with what it is at, as far as it gets.
    pub(crate) fn go_on(&mut self, efio: &Efio) {
        let Some(task) = &mut self.task else { return };
        // A few calls, so that others come in between.
        for _ in 0..4 {
            if task.closes {
                return;
            }
            let left = task.wanted.saturating_sub(task.done);
            let most = (1 + self.random.below(self.buffer.len() as u64)) as usize;
            let answer = match task.kind {
                Kind::Touch => Ok(0),
                Kind::Read => efio.ef_read(task.fd, &mut self.buffer[..most]),
                Kind::Write { .. } if left == 0 => Ok(0),
                Kind::Write { .. } => {
                    let bytes = &mut self.buffer[..most.min(usize::try_from(left).unwrap_or(most))];
                    fill(task.seed, task.done, bytes);
                    efio.ef_write(task.fd, bytes)
                }
            };
            match answer {
                Ok(0) => task.close(efio, &mut self.random),
                Ok(bytes) => {
                    if task.kind == Kind::Read {
                        let mut right = vec![0; bytes];
                        fill(task.seed, task.done, &mut right);
                        assert!(self.buffer[..bytes] == right, "bytes that were not written: {task:?}");
                    }
                    task.done += bytes as u64;
                }
                Err(error) if error.is_would_block() => return,
                Err(_) => {
                    task.failed = true;
                    task.close(efio, &mut self.random);
                }
            }
        }
    }

    /// Something happened to the file.
    pub(crate) fn news(&mut self, efio: &Efio, event: &Event, tally: &mut Tally) {
        let Some(task) = &mut self.task else { panic!("an event after the closed one: {event:?}") };
        assert_eq!(event.fd(), task.fd, "an event of another file");
        if !event.readiness().is_closed() {
            return self.go_on(efio);
        }
        let opened = !event.readiness().contains(Readiness::OPENED) || event.error().is_none();
        let Some(task) = self.task.take() else { return };
        if !opened && !task.closes {
            tally.refused += 1;
            assert!(task.done == 0 || task.kind != Kind::Read);
            return;
        }
        self.check(&task, event, tally);
    }

    /// The books of a file that is closed.
    fn check(&mut self, task: &Task, event: &Event, tally: &mut Tally) {
        let (progress, lost) = (event.progress(), event.bytes_lost());
        tally.files += 1;
        if !matches!(task.kind, Kind::Write { .. }) {
            let whole = task.failed || task.kind != Kind::Read || task.done == task.wanted;
            assert!(whole, "the end came early: {task:?}, {event:?}");
            assert_eq!((progress.accepted, lost), (0, 0), "{event:?}");
            return;
        }
        tally.bytes += progress.accepted;
        tally.lost += lost;
        tally.durable += progress.durable;
        assert_eq!(progress.accepted, task.done, "not what was accepted: {event:?}");
        if task.aborted {
            return;
        }
        // After a sync that failed, what was written since the last good one counts as lost too: nobody knows.
        let unsure = event.error().is_some_and(|error| error.operation() == Operation::Sync);
        let most = if unsure { task.done - progress.durable } else { task.done - progress.written };
        assert!(lost <= most, "more was lost than there was: {task:?}, {event:?}");
        assert!(progress.written + lost >= task.done, "bytes without a trace: {task:?}, {event:?}");
        assert!(lost == 0 || event.error().is_some(), "a loss that nobody explains: {event:?}");
        if event.error().is_none() {
            let mut right = vec![0; usize::try_from(task.done).unwrap()];
            fill(task.seed, 0, &mut right);
            let found = self.places.contents(&task.path);
            assert!(found.is_some_and(|found| found == right), "not what was written: {task:?}, {event:?}");
            if task.done == task.wanted {
                self.last = Some((task.path.clone(), task.seed, task.wanted));
            }
        }
    }
}

impl Task {
    fn close(&mut self, efio: &Efio, random: &mut Random) {
        if self.syncs && !self.failed && self.kind != Kind::Read {
            self.syncs = false;
            // Refused where the file has failed, or cannot be written.
            let _ = efio.ef_sync(self.fd);
        }
        self.closes = true;
        let gone = if self.kind == (Kind::Write { aborts: true }) && random.below(2) == 0 {
            self.aborted = true;
            efio.ef_abort(self.fd)
        } else {
            efio.ef_close(self.fd)
        };
        // A file that could not be opened is closed already, and its event is on its way.
        let _ = gone;
    }
}
