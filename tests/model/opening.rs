//! Opening: every combination of options, what it must come to, and handles that outlive their files.

use std::collections::VecDeque;
use std::time::Duration;

use efio::{CacheMode, Durability, ErrorKind, Fd, OnFull, OpenOptions, Progress};

use crate::ensure;
use crate::news::within;
use crate::stream::{Act, Stream};
use crate::world::{Check, Flavour, Hand, No, Phase, World, libc_errno};

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
enum Way {
    Path,
    /// Beneath the folder of all names.
    Beneath,
    /// It was opened elsewhere.
    Adopt,
}

impl World {
    pub fn call_open(&mut self) -> Check {
        let free: Vec<usize> = (0..self.targets.len()).filter(|at| !self.targets[*at].busy).collect();
        if free.is_empty() {
            return Ok(());
        }
        let target = free[self.random.below(free.len())];
        let mut hand = self.choose_hand(target);
        let folder = self.random.chance(2);
        let path = if folder { "/d".to_string() } else { self.targets[target].path.clone() };
        let sensible = is_sensible(&hand);
        // Options keep their inbox from going, so a hand does not.
        let mut options = hand.options.clone();
        if self.random.chance(40) {
            options = options.inbox(&self.inboxes[1]);
        }
        let plain = !hand.creates && !hand.truncate && !hand.atomic && !folder && sensible;
        let way = match self.random.below(10) {
            0..=2 if plain && self.targets[target].now.is_some() => Way::Adopt,
            // A job that panics may leave the folder open.
            3..=4 if !folder && self.flavour != Flavour::Hang => Way::Beneath,
            _ => Way::Path,
        };
        let mut answer = self.open_by(way, &path, &options)?;
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::TableFull) {
            // Files whose last answer was taken keep their place until the drain has met them.
            self.drain_all()?;
            answer = self.open_by(way, &path, &options)?;
        }
        self.note(|| format!("open {path} by {way:?} {:?} -> {answer:?}", shape(&hand)));
        match answer {
            Ok(fd) => {
                ensure!(sensible, "options without sense were taken");
                hand.fd = fd;
            }
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                ensure!(!sensible, "sensible options were refused: {error}");
                return Ok(());
            }
            Err(error) => {
                let used = self.hands.len() + self.queued.len();
                ensure!(error.kind() == ErrorKind::TableFull, "an open was refused: {error}");
                ensure!(used >= self.files_limit, "the table was full with {used} of {}", self.files_limit);
                return Ok(());
            }
        }
        ensure!(self.hand_of(hand.fd).is_none() && !self.gone.contains(&hand.fd), "a handle was given twice");
        let exists = self.targets[target].now.is_some();
        hand.fails = match () {
            () if folder && hand.create_new => Some(libc_errno::EEXIST),
            () if folder => Some(libc_errno::EISDIR),
            () if hand.create_new && exists => Some(libc_errno::EEXIST),
            () if !hand.creates && !exists => Some(libc_errno::ENOENT),
            () => None,
        };
        if self.random.chance(20) {
            let owned = self.efio.from_fd(hand.fd);
            ensure!(owned.is_ok(), "a new file cannot be owned: {owned:?}");
            hand.file = owned.ok();
            self.note(|| "  as an owned file".into());
        }
        self.targets[target].busy = true;
        self.hands.push(hand);
        Ok(())
    }

    fn open_by(&self, way: Way, path: &str, options: &OpenOptions) -> Result<efio::Result<Fd>, String> {
        Ok(match (way, &self.dir) {
            (Way::Adopt, _) => {
                let opened = self.sim.descriptor(path, options).map_err(|error| error.to_string())?;
                self.efio.ef_adopt(opened, options)
            }
            (Way::Beneath, Some(dir)) => self.efio.ef_open_at(dir, within(path), options),
            _ => self.efio.ef_open(path, options),
        })
    }

    fn choose_hand(&mut self, target: usize) -> Hand {
        let random = &mut self.random;
        let (mut read, mut write, mut append) = match random.below(6) {
            0 => (true, false, false),
            1 => (false, true, false),
            2 | 3 => (true, true, false),
            4 => (false, false, true),
            _ => (true, false, true),
        };
        let mut truncate = random.chance(15);
        let mut create = random.chance(70);
        let create_new = random.chance(10);
        let mut atomic = random.chance(15);
        if random.chance(90) {
            atomic &= write;
            create |= atomic;
            create &= write || append;
            truncate &= write && !append;
        } else {
            (read, write, append) = (random.chance(50), random.chance(50), random.chance(50));
        }
        let durability = random.pick(&[
            Durability::None,
            Durability::None,
            Durability::Interval,
            Durability::OnClose,
            Durability::EveryWrite,
        ]);
        self.numbers += 1;
        let mut options = OpenOptions::new()
            .read(read)
            .write(write)
            .append(append)
            .truncate(truncate)
            .create(create)
            .create_new(create_new)
            .atomic(atomic)
            .durability(durability)
            .token(self.numbers);
        if self.flavour != Flavour::Space && random.chance(30) {
            options = options.on_full(OnFull::Fail);
        }
        if random.chance(40) {
            options = options.memory_limit(random.pick(&[4096, 8192, 70_000, 1 << 20]));
        }
        if random.chance(30) {
            options = options.flush_interval(Duration::from_micros(random.pick(&[10, 3000, 10_000_000])));
        }
        let retains = random.chance(35);
        options = options.retain_until_durable(retains);
        if random.chance(35) {
            options = options.cache(CacheMode::Uncached);
        }
        let number = self.numbers;
        Hand {
            read,
            write: write || append,
            append,
            truncate,
            creates: create || create_new,
            create_new,
            atomic,
            durability,
            ..unopened(number, target, options)
        }
    }

    /// The open has succeeded.
    pub fn opened(&mut self, at: usize) -> Check {
        let hand = &mut self.hands[at];
        ensure!(hand.fails.is_none(), "an open that must fail has not: {:?}", hand.fails);
        if hand.phase == Phase::Opening {
            hand.phase = Phase::Open;
        }
        let target = &mut self.targets[hand.target];
        if hand.atomic {
            self.streams.push(Stream::new(Vec::new()));
            hand.stream = self.streams.len() - 1;
            return Ok(());
        }
        hand.stream = match target.now {
            Some(stream) => stream,
            None => {
                self.streams.push(Stream::new(Vec::new()));
                target.absent = true;
                target.now = Some(self.streams.len() - 1);
                self.streams.len() - 1
            }
        };
        let stream = &mut self.streams[hand.stream];
        hand.start = stream.bytes;
        if hand.truncate && !stream.content.is_empty() {
            stream.resize(Act::Size(0), true);
        }
        Ok(())
    }

    /// The open has failed: the handle is gone.
    pub fn open_failed(&mut self, at: usize, no: &No) -> Check {
        let hand = self.remove_hand(at);
        ensure!(hand.fails.map(No::Os) == Some(no.clone()) || self.is_allowed(no), "an open failed: {no:?}");
        let target = &mut self.targets[hand.target];
        let live = self.sim.read(&target.path);
        match (target.now, live) {
            (None, Some(live)) => {
                // The name was made before the open failed.
                ensure!(
                    live.is_empty() && hand.creates && !hand.atomic,
                    "a failed open wrote {} bytes",
                    live.len()
                );
                self.streams.push(Stream::new(live));
                target.now = Some(self.streams.len() - 1);
                target.absent = true;
            }
            (Some(stream), Some(live)) => {
                let stream = &mut self.streams[stream];
                if live.is_empty() && hand.truncate && !hand.atomic && !stream.content.is_empty() {
                    stream.resize(Act::Size(0), true);
                }
                ensure!(stream.content == live, "a failed open changed the file");
            }
            (Some(_), None) => return Err("a failed open removed the file".into()),
            (None, None) => {}
        }
        Ok(())
    }

    /// Takes a hand off the lists; its handle is stale from here on.
    pub fn remove_hand(&mut self, at: usize) -> Hand {
        let hand = self.hands.swap_remove(at);
        self.targets[hand.target].busy = false;
        self.gone.push(hand.fd);
        hand
    }

    /// Asks for the state of an open; the hand may be gone afterwards.
    pub fn call_open_status(&mut self, at: usize) -> Check {
        let answer = self.efio.ef_open_status(self.hands[at].fd).map_err(No::from);
        self.note(|| format!("open_status #{} -> {answer:?}", self.hands[at].number));
        match (self.hands[at].phase, answer) {
            (Phase::Opening, Ok(())) => self.opened(at),
            (Phase::Open, Ok(())) | (Phase::Opening, Err(No::WouldBlock)) => Ok(()),
            (Phase::Closing { .. }, Err(No::Kind(ErrorKind::Stale))) => Ok(()),
            (Phase::Opening, Err(no)) if self.hands[at].file.is_some() => {
                // The owner's end is still to come, unless the open had failed before it was owned.
                let fd = self.hands[at].fd;
                if self.efio.ef_open_status(fd).is_err_and(|error| error.kind() == ErrorKind::Stale) {
                    self.hands[at].file = None;
                    return self.open_failed(at, &no);
                }
                Ok(())
            }
            (Phase::Opening, Err(no)) => self.open_failed(at, &no),
            (Phase::Closing { .. }, Err(no @ No::Os(_))) => {
                self.hands[at].file = None;
                self.open_failed(at, &no)
            }
            (phase, answer) => Err(format!("{phase:?}: the open's status is {answer:?}")),
        }
    }

    /// No call reaches a file through a handle whose file is gone.
    pub fn call_stale(&mut self) -> Check {
        if self.gone.is_empty() {
            return Ok(());
        }
        let fd = self.gone[self.random.below(self.gone.len())];
        self.note(|| format!("stale calls by {fd:?}"));
        let efio = &self.efio;
        let answers = [
            efio.ef_read(fd, &mut [0; 8]).err(),
            efio.ef_write(fd, b"stale").err(),
            efio.ef_seek(fd, std::io::SeekFrom::Start(1)).err(),
            efio.ef_sync(fd).err(),
            efio.ef_poll(fd).err(),
            efio.ef_progress(fd).err(),
            efio.ef_truncate(fd, 0).err(),
            efio.ef_preallocate(fd, 0, 1, true).err(),
            efio.ef_open_status(fd).err(),
            efio.ef_close_status(fd).err(),
            efio.ef_close(fd).err(),
            efio.ef_abort(fd).err(),
            efio.ef_close_immediate(fd).err(),
            efio.from_fd(fd).err(),
        ];
        for (which, answer) in answers.into_iter().enumerate() {
            let kind = answer.as_ref().map(efio::Error::kind);
            ensure!(kind == Some(ErrorKind::Stale), "stale call {which} by {fd:?}: {answer:?}");
        }
        Ok(())
    }
}

thread_local! {
    /// Stands in for a handle until there is one; of a module of its own, so that it is nobody's.
    static PLACEHOLDER: efio::Fd = {
        let sim = efio::sim::Sim::new(0);
        let efio = efio::Efio::builder().sim(&sim).memory_limit(4 << 20).build().ok();
        let fd = efio.and_then(|efio| efio.ef_open("/x", &OpenOptions::new().read(true)).ok());
        fd.unwrap_or_else(|| unreachable!("a module opens a file"))
    };
}

/// A hand that has done nothing yet.
fn unopened(number: u64, target: usize, options: OpenOptions) -> Hand {
    Hand {
        waits: [None, None],
        unopened: false,
        number,
        fd: PLACEHOLDER.with(|fd| *fd),
        file: None,
        target,
        stream: usize::MAX,
        options,
        read: false,
        write: false,
        append: false,
        truncate: false,
        creates: false,
        create_new: false,
        atomic: false,
        durability: Durability::None,
        phase: Phase::Opening,
        fails: None,
        start: 0,
        accepted: 0,
        offset: 0,
        owed_read: false,
        read_at: None,
        tainted_here: false,
        owed_write: false,
        asked: None,
        spare: false,
        doubled: false,
        syncs: VecDeque::new(),
        more_syncs: 0,
        poison: None,
        synced: false,
        sync_failed: false,
        panicked: false,
        stalled: false,
        last: Progress::default(),
    }
}

fn is_sensible(hand: &Hand) -> bool {
    let writes = hand.write;
    (writes || hand.read && !hand.creates && !hand.truncate)
        && !(hand.atomic && (hand.append || !hand.creates))
        && !(hand.append && hand.truncate)
}

fn shape(hand: &Hand) -> String {
    let flags = [
        (hand.read, "read"),
        (hand.write, "write"),
        (hand.append, "append"),
        (hand.truncate, "truncate"),
        (hand.creates, "create"),
        (hand.create_new, "new"),
        (hand.atomic, "atomic"),
    ];
    let flags: Vec<&str> = flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
    format!("#{} {} {:?}", hand.number, flags.join("+"), hand.durability)
}
