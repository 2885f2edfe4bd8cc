//! World: a module on a simulated disk, its open files, and what is expected of each.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use efio::sim::{Sim, SimOptions};
use efio::{Durability, Efio, Error, ErrorKind, Fd, File, Op, OpenOptions, Progress};

use crate::random::{POOL, Random};
use crate::stream::Stream;

/// A check that failed says so in words.
pub type Check = Result<(), String>;

/// What is done to the disk of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Sound,
    Faults,
    Space,
    Crash,
    Hang,
}

impl Flavour {
    pub const ALL: [Self; 5] = [Self::Sound, Self::Faults, Self::Space, Self::Crash, Self::Hang];
}

/// An answer that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum No {
    WouldBlock,
    Os(i32),
    Kind(ErrorKind),
}

impl From<Error> for No {
    fn from(error: Error) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (ErrorKind::WouldBlock, _) => Self::WouldBlock,
            (ErrorKind::Os | ErrorKind::NotRegular, Some(errno)) => Self::Os(errno),
            (kind, _) => Self::Kind(kind),
        }
    }
}

impl From<io::Error> for No {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::WouldBlock {
            return Self::WouldBlock;
        }
        if let Some(errno) = error.raw_os_error() {
            return Self::Os(errno);
        }
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        inner.map_or(Self::Kind(ErrorKind::Os), |inner| Self::from(inner.clone()))
    }
}

/// Where a hand stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Opening,
    Open,
    Closing { publish: bool, abort: bool },
}

/// The one request that can be under way.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Truncate { before: Vec<u8> },
    Extend,
    Reserve,
    Size,
    Stat,
    Lock,
    Reopen,
    Recover,
}

/// One open file as its user sees it.
#[derive(Debug)]
pub struct Hand {
    pub number: u64,
    pub fd: Fd,
    pub file: Option<File>,
    pub target: usize,
    /// The stream that it writes: the target's, or for an atomic file its own until it is published.
    pub stream: usize,
    pub options: OpenOptions,
    pub read: bool,
    pub write: bool,
    pub append: bool,
    pub truncate: bool,
    pub creates: bool,
    pub create_new: bool,
    pub atomic: bool,
    pub durability: Durability,
    pub phase: Phase,
    /// The errno that the open must end with.
    pub fails: Option<i32>,
    /// Bytes of the stream at the open.
    pub start: u64,
    pub accepted: u64,
    pub offset: u64,
    pub owed_read: bool,
    /// Where the last read by offset was refused.
    pub read_at: Option<usize>,
    pub owed_write: bool,
    pub asked: Option<Asked>,
    /// An event of an earlier request may still come; one came while it might.
    pub spare: bool,
    pub doubled: bool,
    pub syncs: VecDeque<u64>,
    /// Events of syncs that one event answered together, and that may still come.
    pub more_syncs: usize,
    pub poison: Option<No>,
    pub synced: bool,
    pub sync_failed: bool,
    /// It is this file's failed sync after which it is not known what survives.
    pub tainted_here: bool,
    pub panicked: bool,
    pub stalled: bool,
    pub last: Progress,
    /// The tasks that wait for it: one for reading and writing, one for answers.
    pub waits: [Option<crate::tasks::Waits>; 2],
    /// Its user has heard that the open failed.
    pub unopened: bool,
}

/// One name on the disk.
#[derive(Debug)]
pub struct Target {
    pub path: String,
    /// The stream that has the name now.
    pub now: Option<usize>,
    /// Streams that may have it again after a cut of power.
    pub older: Vec<usize>,
    /// After a cut nothing may have it.
    pub absent: bool,
    /// A hand or a queued call is at it.
    pub busy: bool,
}

/// A queued metadata call.
#[derive(Debug)]
pub struct Queued {
    pub op: Op,
    pub what: OpKind,
    pub first: usize,
    pub second: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    Stat,
    Unlink,
    Rename,
}

/// See the head of this file.
pub struct World {
    pub flavour: Flavour,
    pub random: Random,
    pub sim: Sim,
    pub efio: Efio,
    /// The folder of all names, until the end.
    pub dir: Option<efio::Dir>,
    /// The module's own, and a further one.
    pub inboxes: Vec<efio::Inbox>,
    pub memory: usize,
    pub whole_write: usize,
    pub certain_cache: bool,
    pub files_limit: usize,
    pub hands: Vec<Hand>,
    pub queued: Vec<Queued>,
    pub gone: Vec<Fd>,
    pub targets: Vec<Target>,
    pub streams: Vec<Stream>,
    /// Errnos that the disk was told to give.
    pub allowed: Vec<i32>,
    pub panics: bool,
    /// Bytes do not get through at present, or some calls fail.
    pub ill: bool,
    pub crashed: bool,
    pub lossy: bool,
    /// Bytes of files that have ended: accepted, and told to be lost; `None` once some answer did not say.
    pub ended: u64,
    pub lost: Option<u64>,
    pub numbers: u64,
    pub trace: Option<std::sync::Arc<std::sync::Mutex<Vec<String>>>>,
}

/// Ends a check unless it holds.
#[macro_export]
macro_rules! ensure {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            return Err(format!($($words)*));
        }
    };
}

fn options(random: &mut Random, flavour: Flavour) -> SimOptions {
    SimOptions {
        delay_ns: [1..2, 1_000..100_000, 0..50_000_000][random.below(3)].clone(),
        short_count_per_mille: random.pick(&[0, 100, 500]),
        interrupt_per_mille: random.pick(&[0, 20, 300]),
        nowait_per_mille: random.pick(&[0, 500, 1000]),
        reorder: random.chance(60),
        file_size_max: if flavour == Flavour::Faults { random.pick(&[1 << 30, 300_000]) } else { 1 << 30 },
        unnamed: random.chance(60),
        rename_new: random.chance(60),
        dont_cache: random.chance(70),
    }
}

impl World {
    pub fn new(seed: u64, flavour: Flavour) -> Result<Self, String> {
        let mut random = Random::new(seed);
        let options = options(&mut random, flavour);
        let certain_cache = options.nowait_per_mille != 500;
        let mut allowed = Vec::new();
        if options.file_size_max < 1 << 30 {
            allowed.push(libc_errno::EFBIG);
        }
        let sim = Sim::with_options(seed, options);
        sim.put_folder("/d");
        let whole_write = random.pick(&[100, 4096, 64 << 10, 64 << 10]);
        let memory = random.pick(&[4 << 20, 4 << 20, 8 << 20]);
        let files_limit = random.pick(&[3, 8, 64]);
        let efio = Efio::builder()
            .sim(&sim)
            .memory_limit(memory)
            .file_memory_limit(random.pick(&[64 << 10, 256 << 10, 64 << 20]))
            .files_limit(files_limit as u32)
            .whole_write(whole_write)
            .read_ahead(random.pick(&[1 << 20, 4 << 20]))
            .flush_interval(random.pick(&[Duration::from_millis(1), Duration::from_secs(1)]))
            .build()
            .map_err(|error| error.to_string())?;
        let mut world = Self {
            flavour,
            random,
            sim,
            inboxes: vec![efio.inbox()],
            dir: Some(efio.dir("/d").map_err(|error| error.to_string())?),
            efio,
            memory,
            whole_write,
            certain_cache,
            files_limit,
            hands: Vec::new(),
            queued: Vec::new(),
            gone: Vec::new(),
            targets: Vec::new(),
            streams: Vec::new(),
            allowed,
            panics: false,
            ill: false,
            crashed: false,
            lossy: false,
            ended: 0,
            lost: Some(0),
            numbers: 0,
            trace: None,
        };
        world.add_targets();
        world.call_new_inbox()?;
        Ok(world)
    }

    fn add_targets(&mut self) {
        for name in ["a", "b", "c", "e", "f"] {
            let path = format!("/d/{name}");
            let now = self.random.chance(60).then(|| {
                let len = self.random.size(150_000);
                let source = crate::random::source(&mut self.random, len);
                let base = POOL[source..source + len].to_vec();
                self.sim.put(&path, &base);
                self.streams.push(Stream::new(base));
                self.streams.len() - 1
            });
            self.targets.push(Target { path, now, older: Vec::new(), absent: now.is_none(), busy: false });
        }
    }

    pub fn note(&self, words: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace
            && let Ok(mut trace) = trace.lock()
        {
            trace.push(words());
        }
    }

    pub fn hand_of(&self, fd: Fd) -> Option<usize> {
        self.hands.iter().position(|hand| hand.fd == fd)
    }

    /// Whether the disk was told to fail like this.
    pub fn is_allowed(&self, no: &No) -> bool {
        match no {
            No::Os(errno) => self.allowed.contains(errno),
            No::Kind(ErrorKind::Panicked) => self.panics,
            No::Kind(ErrorKind::TimedOut) => !self.allowed.is_empty(),
            _ => false,
        }
    }

    /// Steps until nothing is left to happen; a disk that is ill may never come to that.
    pub fn step_to_idle(&mut self) -> Check {
        let most = if self.ill { 200 } else { 200_000 };
        for _ in 0..most {
            if !self.efio.step() {
                return Ok(());
            }
        }
        ensure!(self.ill, "the module never comes to rest");
        Ok(())
    }
}

/// The numbers of the errors that a disk gives.
pub mod libc_errno {
    pub const ENOENT: i32 = 2;
    pub const EIO: i32 = 5;
    pub const ENOMEM: i32 = 12;
    pub const EACCES: i32 = 13;
    pub const EEXIST: i32 = 17;
    pub const EISDIR: i32 = 21;
    pub const EMFILE: i32 = 24;
    pub const EFBIG: i32 = 27;
    pub const ENOSPC: i32 = 28;
    pub const EDQUOT: i32 = 122;
}
