//! W4: a file that is not in the cache, read from its begin in pieces of 64 KiB by a loop with a tick of one millisecond.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use efio::{Efio, OpenOptions};

use crate::board::{Board, Measure, Verdict, least, median};
use crate::ours::Ours;
use crate::process::{self, Folder};
use crate::tick::{Bell, Tick};
use crate::{Effort, Outcome};

const PIECE: usize = 64 << 10;

const OURS: &str = "efio File";
const POOL: &str = "pool, one piece ahead";
const BLOCKING: &str = "blocking read(2)";

const MEASURES: &[Measure] = &[
    median("GB/s"),
    median("tick p99 us"),
    median("tick p99.9 us"),
    least("tick max us"),
    median("events a MiB"),
    median("CPU s"),
];

/// Who reads, and how.
type Peer = (&'static str, fn(&Path) -> Outcome<Run>);

/// What one run came to.
struct Run {
    sum: u64,
    bytes: u64,
    events: u64,
    tick: Tick,
}

impl Run {
    fn new() -> Self {
        Self { sum: 0, bytes: 0, events: 0, tick: Tick::new() }
    }

    /// Some bytes have come: what a loop does with them, and a look at its timer.
    fn use_up(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().step_by(512) {
            self.sum = self.sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
        self.bytes += bytes.len() as u64;
        self.tick.look();
    }
}

fn blocking(path: &Path) -> Outcome<Run> {
    let (mut file, mut piece) = (File::open(path)?, vec![0; PIECE]);
    let mut run = Run::new();
    loop {
        let bytes = file.read(&mut piece)?;
        if bytes == 0 {
            return Ok(run);
        }
        run.use_up(&piece[..bytes]);
    }
}

fn pooled(path: &Path) -> Outcome<Run> {
    let (file, bell) = (File::open(path)?, Arc::new(Bell::new()?));
    let (ask, asked) = crossbeam_channel::unbounded::<(u64, Vec<u8>)>();
    let (answer, answers) = crossbeam_channel::unbounded::<io::Result<Vec<u8>>>();
    let theirs = Arc::clone(&bell);
    std::thread::spawn(move || {
        for (offset, mut piece) in asked {
            let read = file.read_at(&mut piece, offset);
            let sent = answer.send(read.map(|bytes| {
                piece.truncate(bytes);
                piece
            }));
            if sent.is_err() || theirs.ring().is_err() {
                return;
            }
        }
    });
    let mut run = Run::new();
    ask.send((0, vec![0; PIECE]))?;
    ask.send((PIECE as u64, vec![0; PIECE]))?;
    let mut next = 2 * PIECE as u64;
    loop {
        let Ok(piece) = answers.try_recv() else {
            run.tick.sleep(bell.descriptor());
            bell.silence();
            run.events += 1;
            run.tick.look();
            continue;
        };
        let mut piece = piece?;
        if piece.is_empty() {
            return Ok(run);
        }
        run.use_up(&piece);
        piece.resize(PIECE, 0);
        ask.send((next, piece))?;
        next += PIECE as u64;
    }
}

fn ours(path: &Path) -> Outcome<Run> {
    let mut ours = Ours::new(Efio::builder())?;
    let mut run = Run::new();
    let fd = ours.open(path, &OpenOptions::new().read(true))?;
    let (mut file, inbox) = (ours.efio.from_fd(fd)?, ours.efio.inbox());
    let (mut piece, mut events) = (vec![0; PIECE], efio::Events::with_capacity(16));
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(run),
            Ok(bytes) => run.use_up(&piece[..bytes]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                run.tick.sleep(inbox.as_raw_fd());
                run.events += ours.efio.events(&mut events)? as u64;
                run.tick.look();
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn round(board: &mut Board, peer: &'static str, path: &Path, run: fn(&Path) -> Outcome<Run>) -> Outcome<u64> {
    process::drop_cached(path)?;
    let (before, begin) = (process::usage(), Instant::now());
    let run = run(path)?;
    let (seconds, mib) = (begin.elapsed().as_secs_f64(), run.bytes as f64 / f64::from(1 << 20));
    board.add(peer, "GB/s", run.bytes as f64 / seconds / 1e9);
    board.add(peer, "tick p99 us", run.tick.late_us(0.99));
    board.add(peer, "tick p99.9 us", run.tick.late_us(0.999));
    board.add(peer, "tick max us", run.tick.late_us(1.0));
    board.add(peer, "events a MiB", run.events as f64 / mib);
    board.add(peer, "CPU s", process::usage().cpu_s - before.cpu_s);
    Ok(run.sum)
}

/// Runs the workload.
pub fn run(folder: &Folder, effort: Effort) -> Outcome<Vec<Verdict>> {
    let mut board = Board::new("W4: a cold file read by a loop with a tick of 1 ms", MEASURES);
    let path = folder.file("w4");
    crate::w5::prepare(&path, effort.of(1024, 256))?;
    let peers: [Peer; 3] = [(OURS, ours), (BLOCKING, blocking), (POOL, pooled)];
    for turn in 0..effort.rounds {
        let mut sums = Vec::new();
        // They take turns to be the first.
        for (name, run) in peers.iter().cycle().skip(turn % peers.len()).take(peers.len()) {
            sums.push(round(&mut board, name, &path, *run)?);
        }
        // The pieces of the pool and of the blocking peer are alike; efio's may end where its pages do.
        if sums[1] != sums[2] || sums[0] != sums[1] {
            return Err(format!("peers read different bytes: {sums:?}").into());
        }
    }
    std::fs::remove_file(&path)?;
    board.print();
    let best = if board.get(POOL, "GB/s") > board.get(BLOCKING, "GB/s") { POOL } else { BLOCKING };
    Ok(vec![
        board.at_least("W4", "GB/s", OURS, best, 0.95),
        board.below("W4", "tick p99.9 us", OURS, POOL, 300.0),
        board.below("W4", "events a MiB", OURS, POOL, 1.05),
    ])
}
