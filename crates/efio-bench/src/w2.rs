//! W2: four threads append to one file, 1.25 million lines of 120 bytes each.
//!
//! A thread that is refused sleeps a little and tries again; every line must be there once, whole, and in the order of its
//! thread.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use efio::{Efio, Fd, OpenOptions, Order};

use crate::board::{Board, Measure, Verdict, least, median};
use crate::histogram::Histogram;
use crate::line::{self, Line};
use crate::ours::Ours;
use crate::process::{self, Folder};
use crate::{Effort, Outcome, stamp};

const THREADS: usize = 4;
const MIB: usize = 1 << 20;

const LIMIT: &str = "limit: memcpy, own buffers";
const LOCKED: &str = "Mutex<BufWriter 1 MiB>";
const OURS: &str = "efio ef_write";
const PER_THREAD: &str = "efio ef_write, per thread";

const MEASURES: &[Measure] = &[
    median("M lines/s"),
    median("p50 ns"),
    median("p99 ns"),
    median("p99.9 ns"),
    least("max us"),
    median("CPU ns"),
    median("peak MiB"),
];

/// Where the lines of several threads go.
trait Sink: Sync {
    /// Takes a line, or refuses it for now.
    fn put(&self, line: &[u8]) -> io::Result<bool>;

    /// Everything put is in the file.
    fn finish(&mut self) -> io::Result<()>;
}

/// A buffer for each thread, written nowhere.
struct Nowhere;

std::thread_local! {
    static BUFFER: std::cell::RefCell<(Vec<u8>, usize)> = std::cell::RefCell::new((vec![1; MIB], 0));
}

impl Sink for Nowhere {
    #[inline]
    fn put(&self, line: &[u8]) -> io::Result<bool> {
        BUFFER.with_borrow_mut(|(buffer, at)| {
            if *at + line.len() > buffer.len() {
                *at = 0;
            }
            buffer[*at..*at + line.len()].copy_from_slice(line);
            *at += line.len();
        });
        Ok(true)
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Mutex<BufWriter<File>> {
    #[inline]
    fn put(&self, line: &[u8]) -> io::Result<bool> {
        self.lock().unwrap_or_else(PoisonError::into_inner).write_all(line).map(|()| true)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.get_mut().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// One file of efio.
struct Pages {
    ours: Ours,
    fd: Fd,
}

impl Sink for Pages {
    #[inline]
    fn put(&self, line: &[u8]) -> io::Result<bool> {
        match self.ours.efio.ef_write(self.fd, line) {
            Ok(_) => Ok(true),
            Err(error) if error.is_would_block() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.ours.efio.ef_close(self.fd)?;
        self.ours.until(|event| event.readiness().is_closed())
    }
}

/// What one thread does.
fn write_lines<S: Sink, const STAMPED: bool>(sink: &S, writer: u8, lines: u64) -> io::Result<Histogram> {
    let (mut line, mut calls) = (Line::new(writer), Histogram::default());
    for number in 0..lines {
        loop {
            let begin = if STAMPED { stamp::now() } else { 0 };
            if sink.put(line.numbered(number))? {
                if STAMPED {
                    calls.add(stamp::now() - begin);
                }
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    Ok(calls)
}

/// All threads; gives the seconds until everything is in the file, and the calls.
fn drive<S: Sink, const STAMPED: bool>(sink: &mut S, lines: u64) -> Outcome<(f64, Histogram)> {
    let begin = Instant::now();
    let shared = &*sink;
    let results: Vec<io::Result<Histogram>> = std::thread::scope(|scope| {
        let start = |writer| scope.spawn(move || write_lines::<S, STAMPED>(shared, writer, lines));
        let threads: Vec<_> = (0..THREADS as u8).map(start).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.map(|result| result.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))).collect()
    });
    let mut calls = Histogram::default();
    for result in results {
        calls.merge(&result?);
    }
    sink.finish()?;
    Ok((begin.elapsed().as_secs_f64(), calls))
}

fn round<S: Sink>(
    board: &mut Board,
    peer: &'static str,
    lines: u64,
    path: Option<&Path>,
    make: impl Fn(&Path) -> Outcome<S>,
) -> Outcome<()> {
    let place = path.unwrap_or(Path::new(""));
    let total = (lines * THREADS as u64) as f64;
    process::forget_peak();
    let before = process::usage();
    let mut sink = make(place)?;
    let (seconds, _) = drive::<S, false>(&mut sink, lines)?;
    board.add(peer, "M lines/s", total / seconds / 1e6);
    board.add(peer, "CPU ns", (process::usage().cpu_s - before.cpu_s) * 1e9 / total);
    board.add(peer, "peak MiB", process::peak_mib());
    drop(sink);
    if path.is_some() {
        line::check(place, THREADS, lines)?;
        std::fs::remove_file(place)?;
    }
    let mut sink = make(place)?;
    let (_, calls) = drive::<S, true>(&mut sink, lines)?;
    for (measure, part) in [("p50 ns", 0.5), ("p99 ns", 0.99), ("p99.9 ns", 0.999)] {
        board.add(peer, measure, stamp::ns(calls.quantile(part)));
    }
    board.add(peer, "max us", stamp::ns(calls.longest()) / 1e3);
    path.map_or(Ok(()), |path| Ok(std::fs::remove_file(path)?))
}

/// A module and an open log whose threads share an order, or have one each.
fn pages(path: &Path, order: Order) -> Outcome<Pages> {
    let mut ours = Ours::new(Efio::builder())?;
    let fd = ours.open(path, &OpenOptions::new().append(true).create(true).order(order))?;
    Ok(Pages { ours, fd })
}

/// Runs the workload.
pub fn run(folder: &Folder, effort: Effort) -> Outcome<Vec<Verdict>> {
    let mut board = Board::new("W2: four threads append to one file", MEASURES);
    let lines = effort.of(1_250_000, 400_000);
    let path = folder.file("w2");
    for _ in 0..effort.rounds {
        round(&mut board, LIMIT, lines, None, |_| Ok(Nowhere))?;
        round(&mut board, OURS, lines, Some(&path), |path| pages(path, Order::One))?;
        round(&mut board, PER_THREAD, lines, Some(&path), |path| pages(path, Order::PerThread))?;
        round(&mut board, LOCKED, lines, Some(&path), |path| {
            Ok(Mutex::new(BufWriter::with_capacity(MIB, File::create(path)?)))
        })?;
    }
    board.print();
    Ok(vec![
        board.at_least("W2", "M lines/s", OURS, LOCKED, 1.4),
        board.at_most("W2", "CPU ns", OURS, LOCKED, 0.75),
        board.below("W2", "p50 ns", OURS, LOCKED, 100.0),
        board.at_least("W2 per thread", "M lines/s", PER_THREAD, LOCKED, 1.6),
        board.at_most("W2 per thread", "CPU ns", PER_THREAD, LOCKED, 1.0 / 3.0),
        board.below("W2 per thread", "p50 ns", PER_THREAD, LOCKED, 30.0),
    ])
}
