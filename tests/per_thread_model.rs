//! Random programs of several threads, each with its own order, on a simulated disk that fails, fills up and loses power.
//!
//! One thread works at a time, so a program follows from its seed: `EFIO_SIM_SEED=n` runs one again, `EFIO_SIM_PROGRAMS`
//! sets how many are run.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

#[path = "model/random.rs"]
#[allow(dead_code, reason = "the numbers are used here, the bytes elsewhere")]
mod random;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use efio::sim::{FaultRule, Sim, SimOptions};
use efio::{Durability, Efio, Events, Fd, OpenOptions, Operation, Order};
use random::Random;

const WRITERS: usize = 3;
const PATH: &str = "/log";

/// Line `number` of `writer`, whose length follows from the two.
fn line(writer: usize, number: usize) -> Vec<u8> {
    let mut line = format!("{writer} {number} ").into_bytes();
    let padding = match (writer * 31 + number * 17) % 11 {
        0 => 9_000,
        1 => 4_090,
        few => few * 20,
    };
    line.resize(line.len() + padding, b'a' + (number % 26) as u8);
    line.push(b'\n');
    line
}

/// The number of the line after each writer's last, from `first` on. A cut line is allowed at the end only.
fn next_lines(bytes: &[u8], first: &[usize; WRITERS]) -> Result<[usize; WRITERS], String> {
    let (mut next, mut rest) = (*first, bytes);
    while !rest.is_empty() {
        let expected = (0..WRITERS).map(|writer| (writer, line(writer, next[writer])));
        let mut found = None;
        for (writer, line) in expected {
            let shown = rest.len().min(line.len());
            if rest[..shown] == line[..shown] {
                found = Some((writer, line.len()));
                break;
            }
        }
        let Some((writer, len)) = found else {
            let at = bytes.len() - rest.len();
            let text = String::from_utf8_lossy(&rest[..rest.len().min(20)]).into_owned();
            return Err(format!("at {at} of {} stands {text:?}, behind {next:?}", bytes.len()));
        };
        if rest.len() < len {
            break;
        }
        next[writer] += 1;
        rest = &rest[len..];
    }
    Ok(next)
}

/// A thread that writes what it is told to, and says whether it was taken.
struct Writer {
    lines: Option<Sender<Vec<u8>>>,
    answers: Receiver<efio::Result<usize>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.lines = None;
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Writer {
    fn new(efio: &Efio, fd: Fd) -> Self {
        let (lines, orders) = channel::<Vec<u8>>();
        let (answer, answers) = channel();
        let efio = efio.clone();
        let thread = std::thread::spawn(move || {
            for line in orders {
                if answer.send(efio.ef_write(fd, &line)).is_err() {
                    break;
                }
            }
        });
        Self { lines: Some(lines), answers, thread: Some(thread) }
    }

    fn write(&self, line: Vec<u8>) -> efio::Result<usize> {
        self.lines.as_ref().unwrap().send(line).unwrap();
        self.answers.recv().unwrap()
    }
}

/// One program and what is expected of its file.
struct Program {
    random: Random,
    sim: Sim,
    efio: Efio,
    fd: Fd,
    writers: Vec<Writer>,
    /// Lines accepted of each writer; those that a truncate has taken from the begin; those that are durable.
    accepted: [usize; WRITERS],
    first: [usize; WRITERS],
    durable: [usize; WRITERS],
    bytes: u64,
    /// Lines at the syncs whose events have not come, and at the truncate that is under way.
    syncs: Option<[usize; WRITERS]>,
    truncate: Option<[usize; WRITERS]>,
    truncates: bool,
    failed: bool,
}

impl Program {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let sim = Sim::with_options(
            seed,
            SimOptions {
                delay_ns: [1..2, 1_000..100_000, 0..50_000_000][random.below(3)].clone(),
                short_count_per_mille: random.pick(&[0, 100, 500]),
                interrupt_per_mille: random.pick(&[0, 20]),
                ..SimOptions::default()
            },
        );
        let builder = Efio::builder().sim(&sim).memory_limit(4 << 20);
        let efio = builder
            .flush_interval(random.pick(&[Duration::from_millis(1), Duration::from_secs(1)]))
            .whole_write(random.pick(&[16 << 10, 64 << 10]))
            .build()
            .unwrap();
        let durability = random.pick(&[
            Durability::None,
            Durability::Interval,
            Durability::OnClose,
            Durability::EveryWrite,
        ]);
        let options = OpenOptions::new().append(true).create(true).order(Order::PerThread);
        let limit = random.pick(&[4 << 10, 64 << 10, 1 << 20]);
        let fd = efio.ef_open(PATH, &options.durability(durability).memory_limit(limit)).unwrap();
        while efio.ef_open_status(fd).is_err() {
            assert!(efio.step());
        }
        let writers = (0..WRITERS).map(|_| Writer::new(&efio, fd)).collect();
        Self {
            truncates: random.chance(40),
            random,
            sim,
            efio,
            fd,
            writers,
            accepted: [0; WRITERS],
            first: [0; WRITERS],
            durable: [0; WRITERS],
            bytes: 0,
            syncs: None,
            truncate: None,
            failed: false,
        }
    }

    fn write(&mut self) {
        let writer = self.random.below(WRITERS);
        for _ in 0..self.random.pick(&[1, 3, 40]) {
            let line = line(writer, self.accepted[writer]);
            let len = line.len();
            match self.writers[writer].write(line) {
                Ok(taken) => assert_eq!(taken, len, "a line is taken whole"),
                Err(error) if error.is_would_block() => return,
                Err(error) => {
                    assert!(self.failed, "{error}");
                    return;
                }
            }
            self.accepted[writer] += 1;
            self.bytes += len as u64;
        }
    }

    fn take_events(&mut self) {
        let mut events = Events::with_capacity(64);
        self.efio.events(&mut events).unwrap();
        for event in &events {
            let ready = event.readiness();
            if ready.is_synced()
                && let Some(lines) = self.syncs.take()
                && !ready.is_error()
            {
                self.durable = lines;
            }
            // An error that comes along may be that of a stall; only a poisoned file does not truncate.
            if ready.is_done()
                && !self.failed
                && let Some(lines) = self.truncate.take()
            {
                self.first = lines;
            }
        }
    }

    /// What is in the file, and what a loss of power would leave.
    fn check(&mut self) -> Result<(), String> {
        self.take_events();
        let progress = self.efio.ef_progress(self.fd).unwrap();
        assert_eq!(progress.accepted, self.bytes);
        assert!(
            progress.written <= progress.accepted && progress.durable <= progress.written,
            "{progress:?}"
        );
        if self.truncates {
            return Ok(());
        }
        let live = self.sim.read(PATH).unwrap_or_default();
        let there = next_lines(&live, &self.first)?;
        assert!(live.len() as u64 >= progress.written, "less is there than is counted as written");
        assert!((0..WRITERS).all(|writer| there[writer] <= self.accepted[writer]));
        if self.failed {
            // What a failed sync left unwritten is not known.
            return Ok(());
        }
        let seed = self.random.next();
        let image = self.sim.power_cut(seed);
        let left = image.get(PATH.as_bytes()).map_or(&[][..], |bytes| &bytes[..]);
        let there = next_lines(left, &self.first).map_err(|words| format!("cut {seed}: {words}"))?;
        for writer in 0..WRITERS {
            if there[writer] < self.durable[writer] {
                return Err(format!("cut {seed}: {:?} lines were durable, {there:?} are left", self.durable));
            }
        }
        Ok(())
    }

    fn act(&mut self) -> Result<(), String> {
        match self.random.below(20) {
            0..=7 => self.write(),
            8..=12 => {
                for _ in 0..self.random.below(6) {
                    let _ = self.efio.step();
                }
            }
            13 if self.syncs.is_none() && self.efio.ef_sync(self.fd).is_ok() => {
                self.syncs = Some(self.accepted)
            }
            14 if self.truncates && self.truncate.is_none() && self.efio.ef_truncate(self.fd, 0).is_ok() => {
                self.truncate = Some(self.accepted);
            }
            15 => self.sim.fail(FaultRule::new(Operation::Write, 28).times(self.random.below(3) as u64 + 1)),
            16 if self.random.chance(10) => {
                self.failed = true;
                self.sim.fail(FaultRule::new(Operation::Sync, 5).times(1));
            }
            17 => {
                // A thread ends, and another one takes its place; it has another order.
                let writer = self.random.below(WRITERS);
                if self.writes_are_done() {
                    self.writers[writer] = Writer::new(&self.efio, self.fd);
                }
            }
            _ => self.check()?,
        }
        Ok(())
    }

    fn writes_are_done(&self) -> bool {
        let progress = self.efio.ef_progress(self.fd).unwrap();
        progress.written == progress.accepted
    }

    fn run(&mut self) -> Result<(), String> {
        for _ in 0..80 {
            self.act()?;
        }
        self.sim.heal();
        self.efio.ef_close(self.fd).unwrap();
        while self.efio.step() {}
        let mut events = Events::with_capacity(64);
        let (mut lost, mut closed) = (0, false);
        self.efio.events(&mut events).unwrap();
        for event in &events {
            let ready = event.readiness();
            // An error that comes along may be that of a stall; only a poisoned file does not truncate.
            if ready.is_done()
                && !self.failed
                && let Some(lines) = self.truncate.take()
            {
                self.first = lines;
            }
            closed |= ready.is_closed();
            lost += event.bytes_lost();
        }
        assert!(closed, "the file never closes");
        let content = self.sim.read(PATH).unwrap_or_default();
        if self.truncate.is_some() {
            return Ok(());
        }
        let there = next_lines(&content, &self.first)?;
        if lost == 0 && there != self.accepted {
            return Err(format!("accepted {:?}, there are {there:?}, and nothing is lost", self.accepted));
        }
        if lost > 0 && !self.failed {
            return Err(format!("{lost} bytes are lost on a disk that healed"));
        }
        Ok(())
    }
}

#[test]
fn each_threads_lines_are_whole_and_in_order_whatever_the_disk_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("EFIO_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("EFIO_SIM_PROGRAMS").unwrap_or(600),
    };
    for seed in seeds {
        let mut program = Program::new(seed);
        if let Err(words) = program.run() {
            panic!("EFIO_SIM_SEED={seed}: {words}");
        }
        let sim = program.sim.clone();
        drop(program);
        assert_eq!(sim.open_handles(), 0, "EFIO_SIM_SEED={seed}: handles are left open");
    }
}
