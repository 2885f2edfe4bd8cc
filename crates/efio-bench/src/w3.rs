//! W3: 64 uploads of 32 MiB in pieces of 64 KiB through one loop with a tick of one millisecond.
//!
//! The loop gives each upload a piece in turn and looks at its timer after every second piece. The tick is watched until
//! everything is in the files; then everything is made durable.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use efio::{CacheMode, Efio, Events, Fd, OpenOptions};

use crate::board::{Board, Measure, Verdict, least, median};
use crate::ours::Ours;
use crate::process::{self, Folder};
use crate::tick::{Bell, Tick};
use crate::{Effort, Outcome};

const UPLOADS: usize = 64;
const PIECE: usize = 64 << 10;
/// Pieces of a MiB.
const LARGE: usize = (1 << 20) / PIECE;
const WORKERS: usize = 4;

const OURS: &str = "efio";
const UNCACHED: &str = "efio, uncached";
const DEVICE: &str = "limit: device";
const POOL: &str = "pool of 4 threads";
const BLOCKING: &str = "blocking write(2)";

const MEASURES: &[Measure] = &[
    median("GB/s in file"),
    median("GB/s durable"),
    median("tick p99 us"),
    median("tick p99.9 us"),
    least("tick max us"),
    median("CPU s"),
    median("peak MiB"),
    median("pages cached"),
];

/// What one run came to.
struct Run {
    written_s: f64,
    durable_s: f64,
    tick: Tick,
}

fn blocking(paths: &[PathBuf], pieces: usize, piece: &[u8]) -> Outcome<Run> {
    let files: Vec<File> = paths.iter().map(File::create).collect::<io::Result<_>>()?;
    let (begin, mut tick) = (Instant::now(), Tick::new());
    for _ in 0..pieces {
        for (number, mut file) in files.iter().enumerate() {
            file.write_all(piece)?;
            if number % 2 == 1 {
                tick.look();
            }
        }
    }
    let written_s = begin.elapsed().as_secs_f64();
    for file in &files {
        file.sync_data()?;
    }
    Ok(Run { written_s, durable_s: begin.elapsed().as_secs_f64(), tick })
}

/// One thread without a loop, in pieces of a MiB that the kernel begins with at once and drops.
fn device(paths: &[PathBuf], pieces: usize, piece: &[u8]) -> Outcome<Run> {
    let files: Vec<File> = paths.iter().map(File::create).collect::<io::Result<_>>()?;
    let large = piece.repeat(LARGE);
    let (begin, tick) = (Instant::now(), Tick::new());
    for _ in 0..pieces / LARGE {
        files.iter().try_for_each(|file| process::write_uncached(file, &large))?;
    }
    let written_s = begin.elapsed().as_secs_f64();
    files.iter().try_for_each(File::sync_data)?;
    Ok(Run { written_s, durable_s: begin.elapsed().as_secs_f64(), tick })
}

/// What the loop asks of the pool: a piece for an upload, or, without one, its sync.
type Job = (usize, Option<Vec<u8>>);

fn pooled(paths: &[PathBuf], pieces: usize, piece: &[u8]) -> Outcome<Run> {
    let files: Arc<Vec<File>> = Arc::new(paths.iter().map(File::create).collect::<io::Result<_>>()?);
    let bell = Arc::new(Bell::new()?);
    let (jobs, todo) = crossbeam_channel::unbounded::<Job>();
    let (done, finished) = crossbeam_channel::unbounded::<(usize, io::Result<Vec<u8>>)>();
    for _ in 0..WORKERS {
        let (files, bell, todo, done) = (Arc::clone(&files), Arc::clone(&bell), todo.clone(), done.clone());
        std::thread::spawn(move || {
            for (number, bytes) in todo {
                let result = match &bytes {
                    Some(bytes) => (&files[number]).write_all(bytes),
                    None => files[number].sync_data(),
                };
                let sent = done.send((number, result.map(|()| bytes.unwrap_or_default())));
                if sent.is_err() || bell.ring().is_err() {
                    return;
                }
            }
        });
    }
    let mut idle: Vec<(usize, Vec<u8>)> = (0..UPLOADS).map(|number| (number, vec![0; PIECE])).collect();
    let (begin, mut tick) = (Instant::now(), Tick::new());
    let (mut left, mut open) = (vec![pieces; UPLOADS], UPLOADS);
    while open > 0 {
        for (turn, (number, mut buffer)) in std::mem::take(&mut idle).into_iter().enumerate() {
            // What a loop does with bytes that came from a socket.
            buffer.copy_from_slice(piece);
            left[number] -= 1;
            jobs.send((number, Some(buffer)))?;
            if turn % 2 == 1 {
                tick.look();
            }
        }
        tick.sleep(bell.descriptor());
        bell.silence();
        tick.look();
        for (number, result) in finished.try_iter() {
            let buffer = result?;
            if left[number] > 0 {
                idle.push((number, buffer));
            } else {
                open -= 1;
            }
        }
    }
    let written_s = begin.elapsed().as_secs_f64();
    (0..UPLOADS).try_for_each(|number| jobs.send((number, None)))?;
    for _ in 0..UPLOADS {
        finished.recv()?.1?;
    }
    Ok(Run { written_s, durable_s: begin.elapsed().as_secs_f64(), tick })
}

/// The uploads of efio's loop.
struct Uploads {
    efio: Efio,
    fds: Vec<Fd>,
    left: Vec<usize>,
    /// Uploads that may be given a piece.
    ready: Vec<usize>,
}

impl Uploads {
    /// A piece for each that is ready; the timer is looked at in between.
    fn turn(&mut self, piece: &[u8], tick: &mut Tick) -> Outcome<()> {
        let mut on = Vec::with_capacity(self.ready.len());
        for (turn, number) in self.ready.drain(..).enumerate() {
            match self.efio.ef_write(self.fds[number], piece) {
                Ok(_) => {
                    self.left[number] -= 1;
                    if self.left[number] > 0 {
                        on.push(number);
                    }
                }
                Err(error) if error.is_would_block() => {}
                Err(error) => return Err(error.into()),
            }
            if turn % 2 == 1 {
                tick.look();
            }
        }
        self.ready = on;
        Ok(())
    }
}

fn buffered(paths: &[PathBuf], pieces: usize, piece: &[u8]) -> Outcome<Run> {
    ours(paths, pieces, piece, CacheMode::Buffered)
}

fn uncached(paths: &[PathBuf], pieces: usize, piece: &[u8]) -> Outcome<Run> {
    ours(paths, pieces, piece, CacheMode::Uncached)
}

fn ours(paths: &[PathBuf], pieces: usize, piece: &[u8], cache: CacheMode) -> Outcome<Run> {
    let mut ours = Ours::new(Efio::builder())?;
    let options = OpenOptions::new().write(true).create(true).truncate(true).cache(cache);
    let open = |(number, path): (usize, &PathBuf)| ours.open(path, &options.clone().token(number as u64));
    let fds: Vec<Fd> = paths.iter().enumerate().map(open).collect::<io::Result<_>>()?;
    let inbox = ours.efio.inbox();
    let mut events = Events::with_capacity(128);
    let efio = ours.efio.clone();
    let mut uploads = Uploads { efio, fds, left: vec![pieces; UPLOADS], ready: (0..UPLOADS).collect() };
    let (begin, mut tick) = (Instant::now(), Tick::new());
    while uploads.left.iter().any(|left| *left > 0) {
        if uploads.ready.is_empty() {
            tick.sleep(inbox.as_raw_fd());
            tick.look();
        }
        ours.efio.events(&mut events)?;
        for event in &events {
            if let Some(error) = event.error() {
                return Err(error.clone().into());
            }
            let number = event.token() as usize;
            if event.readiness().is_writable() && uploads.left[number] > 0 && !uploads.ready.contains(&number)
            {
                uploads.ready.push(number);
            }
        }
        uploads.turn(piece, &mut tick)?;
    }
    let total = (pieces * PIECE) as u64;
    uploads.fds.iter().try_for_each(|fd| ours.efio.ef_sync(*fd))?;
    let (mut written_s, mut synced) = (0.0, 0);
    while synced < UPLOADS {
        if written_s == 0.0 {
            tick.sleep(inbox.as_raw_fd());
            tick.look();
            ours.efio.events(&mut events)?;
        } else {
            // The tick is not watched any more, as for the peers.
            inbox.wait(&mut events, None)?;
        }
        synced += events.iter().filter(|event| event.readiness().is_synced()).count();
        let progress = |fd: &Fd| ours.efio.ef_progress(*fd).is_ok_and(|progress| progress.written == total);
        if written_s == 0.0 && uploads.fds.iter().all(progress) {
            written_s = begin.elapsed().as_secs_f64();
        }
    }
    Ok(Run { written_s, durable_s: begin.elapsed().as_secs_f64(), tick })
}

fn round(
    board: &mut Board,
    peer: &'static str,
    paths: &[PathBuf],
    pieces: usize,
    piece: &[u8],
    run: fn(&[PathBuf], usize, &[u8]) -> Outcome<Run>,
) -> Outcome<()> {
    process::forget_peak();
    let before = process::usage();
    let run = run(paths, pieces, piece)?;
    let bytes = (UPLOADS * pieces * PIECE) as f64;
    board.add(peer, "GB/s in file", bytes / run.written_s / 1e9);
    board.add(peer, "GB/s durable", bytes / run.durable_s / 1e9);
    if peer != DEVICE {
        board.add(peer, "tick p99 us", run.tick.late_us(0.99));
        board.add(peer, "tick p99.9 us", run.tick.late_us(0.999));
        board.add(peer, "tick max us", run.tick.late_us(1.0));
    }
    board.add(peer, "CPU s", process::usage().cpu_s - before.cpu_s);
    board.add(peer, "peak MiB", process::peak_mib());
    let cached = paths.iter().map(|path| process::pages_cached(path)).sum::<io::Result<f64>>()?;
    board.add(peer, "pages cached", cached);
    check(paths, pieces, piece)
}

/// Each file has its pieces, and nothing else; then it is removed.
fn check(paths: &[PathBuf], pieces: usize, piece: &[u8]) -> Outcome<()> {
    for path in paths {
        let whole = |path: &Path| -> io::Result<bool> {
            let bytes = std::fs::read(path)?;
            Ok(bytes.len() == pieces * PIECE && bytes.chunks(PIECE).all(|chunk| chunk == piece))
        };
        if !whole(path)? {
            return Err("an upload is not what was sent".into());
        }
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// Runs the workload.
pub fn run(folder: &Folder, effort: Effort) -> Outcome<Vec<Verdict>> {
    let mut board = Board::new("W3: 64 uploads through one loop with a tick of 1 ms", MEASURES);
    let pieces = effort.of(512, 128) as usize;
    let paths: Vec<PathBuf> = (0..UPLOADS).map(|number| folder.file(&format!("w3-{number}"))).collect();
    let piece: Vec<u8> = (0..PIECE).map(|place| (place * 7 + place / 251) as u8).collect();
    for _ in 0..effort.rounds {
        // Refused by kernels and file systems that do not know it; then there is no such limit to be held against.
        if process::knows_uncached(&paths[0]) {
            round(&mut board, DEVICE, &paths, pieces, &piece, device)?;
        }
        round(&mut board, OURS, &paths, pieces, &piece, buffered)?;
        round(&mut board, UNCACHED, &paths, pieces, &piece, uncached)?;
        round(&mut board, POOL, &paths, pieces, &piece, pooled)?;
        round(&mut board, BLOCKING, &paths, pieces, &piece, blocking)?;
    }
    board.print();
    Ok(vec![
        board.at_least("W3", "GB/s durable", OURS, POOL, 0.95),
        board.below("W3", "tick p99 us", OURS, POOL, 100.0),
        board.below("W3", "tick p99.9 us", OURS, POOL, 1000.0),
        board.at_least("W3 uncached", "GB/s durable", UNCACHED, DEVICE, 0.95),
        board.below("W3 uncached", "tick p99 us", UNCACHED, POOL, 100.0),
        board.below("W3 uncached", "tick p99.9 us", UNCACHED, POOL, 1000.0),
        board.below("W3 uncached", "pages cached", UNCACHED, POOL, 0.0),
    ])
}
