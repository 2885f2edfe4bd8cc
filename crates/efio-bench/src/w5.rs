//! W5: a cached file of 256 MiB read from its begin in pieces of 100 bytes.
//!
//! Two figures: what a call costs that finds its bytes (a driver that is refused waits with its clock stopped), and the
//! whole run with its waits. Every peer's bytes are summed up and compared.
#![allow(unsafe_code, reason = "a peer maps the file")]

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::time::Instant;

use efio::{Efio, Fd, OpenOptions};

use crate::board::{Board, Measure, Verdict, least, median};
use crate::histogram::Histogram;
use crate::ours::Ours;
use crate::process::{self, Folder};
use crate::{Effort, Outcome, stamp};

const PIECE: usize = 100;
const MIB: usize = 1 << 20;

const LIMIT: &str = "limit: copy from 1 MiB";
const MAPPED: &str = "mmap + memcpy";
const BUFFERED: &str = "BufReader 1 MiB";
const OWNED: &str = "efio File";
const DESCRIPTOR: &str = "efio ef_read";

const MEASURES: &[Measure] = &[
    median("ns a call"),
    median("run ns a read"),
    median("p50 ns"),
    median("p99 ns"),
    median("p99.9 ns"),
    least("max us"),
    median("CPU ns"),
];

/// Where bytes come from.
trait Source {
    /// Bytes, or none for now.
    fn get(&mut self, into: &mut [u8]) -> io::Result<Option<usize>>;

    /// Waits until a refused read may find some.
    fn wait(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<R: Read> Source for BufReader<R> {
    #[inline]
    fn get(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        self.read(into).map(Some)
    }
}

/// A file without a buffer.
struct Direct(File);

impl Source for Direct {
    #[inline]
    fn get(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        self.0.read(into).map(Some)
    }
}

/// Bytes in memory: those of a mapped file, or the same MiB over and over.
struct Memory<B> {
    bytes: B,
    at: usize,
    left: usize,
}

impl<B: AsRef<[u8]>> Source for Memory<B> {
    #[inline]
    fn get(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let bytes = self.bytes.as_ref();
        let len = into.len().min(self.left).min(bytes.len() - self.at);
        into[..len].copy_from_slice(&bytes[self.at..self.at + len]);
        self.left -= len;
        self.at = (self.at + len) % bytes.len();
        Ok(Some(len))
    }
}

/// efio, by a descriptor or an owning file.
struct Pages<F> {
    ours: Ours,
    file: F,
}

fn found(answer: efio::Result<usize>) -> io::Result<Option<usize>> {
    match answer {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_would_block() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Source for Pages<Fd> {
    #[inline]
    fn get(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        found(self.ours.efio.ef_read(self.file, into))
    }

    fn wait(&mut self) -> io::Result<()> {
        self.ours.until(|event| event.readiness().is_readable())
    }
}

impl Source for Pages<efio::File> {
    #[inline]
    fn get(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match self.file.read(into) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        self.ours.until(|event| event.readiness().is_readable())
    }
}

fn pages(path: &Path) -> io::Result<Pages<Fd>> {
    let mut ours = Ours::new(Efio::builder())?;
    let file = ours.open(path, &OpenOptions::new().read(true))?;
    Ok(Pages { ours, file })
}

fn owned(path: &Path) -> io::Result<Pages<efio::File>> {
    let Pages { ours, file } = pages(path)?;
    Ok(Pages { file: ours.efio.from_fd(file)?, ours })
}

/// What one run came to.
struct Run {
    reads: u64,
    sum: u64,
    thread_ns: f64,
    calls: Histogram,
}

fn drive<S: Source, const STAMPED: bool>(source: &mut S) -> io::Result<Run> {
    let (mut piece, mut filled) = ([0; PIECE], 0);
    let (mut reads, mut sum, mut thread) = (0, 0_u64, 0);
    let mut calls = Histogram::default();
    'run: loop {
        let burst = process::thread_ns();
        let mut last = if STAMPED { stamp::now() } else { 0 };
        while let Some(bytes) = source.get(&mut piece[filled..])? {
            if STAMPED {
                let now = stamp::now();
                calls.add(now - last);
                last = stamp::now();
            }
            if bytes == 0 {
                thread += process::thread_ns() - burst;
                break 'run;
            }
            filled += bytes;
            if filled == PIECE {
                sum =
                    sum.wrapping_mul(31).wrapping_add(u64::from(piece[0]) << 8 | u64::from(piece[PIECE - 1]));
                filled = 0;
                reads += 1;
            }
        }
        thread += process::thread_ns() - burst;
        source.wait()?;
    }
    Ok(Run { reads, sum, thread_ns: thread as f64, calls })
}

/// One round of one peer: a run without stamps, and one with. Gives the sum of its bytes.
fn round<S: Source>(board: &mut Board, peer: &'static str, make: impl Fn() -> Outcome<S>) -> Outcome<u64> {
    let before = process::usage();
    // The module's start is not the file's, so it is not in the run.
    let mut source = make()?;
    let begin = Instant::now();
    let run = drive::<S, false>(&mut source)?;
    let reads = run.reads as f64;
    board.add(peer, "run ns a read", begin.elapsed().as_nanos() as f64 / reads);
    board.add(peer, "ns a call", run.thread_ns / reads);
    board.add(peer, "CPU ns", (process::usage().cpu_s - before.cpu_s) * 1e9 / reads);
    let sum = run.sum;
    drop(source);
    let run = drive::<S, true>(&mut make()?)?;
    for (measure, part) in [("p50 ns", 0.5), ("p99 ns", 0.99), ("p99.9 ns", 0.999)] {
        board.add(peer, measure, stamp::ns(run.calls.quantile(part)));
    }
    board.add(peer, "max us", stamp::ns(run.calls.longest()) / 1e3);
    if run.sum != sum { Err(format!("{peer}: two runs read different bytes").into()) } else { Ok(sum) }
}

/// Writes the file and reads it once, so that it is cached.
pub fn prepare(path: &Path, mib: u64) -> Outcome<()> {
    let mut file = File::create(path)?;
    let mut block = vec![0_u8; MIB];
    for number in 0..mib {
        for (place, word) in block.chunks_exact_mut(8).enumerate() {
            let value = (number * MIB as u64 + place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            word.copy_from_slice(&value.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    file.sync_all()?;
    io::copy(&mut File::open(path)?, &mut io::sink())?;
    Ok(())
}

/// Runs the workload.
pub fn run(folder: &Folder, effort: Effort) -> Outcome<Vec<Verdict>> {
    let mut board = Board::new("W5: reads of 100 bytes from a cached file", MEASURES);
    let path = folder.file("w5");
    let mib = effort.of(256, 128);
    prepare(&path, mib)?;
    let bytes = mib as usize * MIB;
    for number in 0..effort.rounds {
        round(&mut board, LIMIT, || Ok(Memory { bytes: vec![1; MIB], at: 0, left: bytes }))?;
        let mut sums = vec![
            round(&mut board, OWNED, || Ok(owned(&path)?))?,
            round(&mut board, BUFFERED, || Ok(BufReader::with_capacity(MIB, File::open(&path)?)))?,
            round(&mut board, DESCRIPTOR, || Ok(pages(&path)?))?,
            round(&mut board, MAPPED, || {
                // SAFETY: nobody changes the file while it is mapped.
                let bytes_mapped = unsafe { memmap2::Mmap::map(&File::open(&path)?)? };
                Ok(Memory { bytes: bytes_mapped, at: 0, left: bytes })
            })?,
            round(&mut board, "BufReader 8 KiB", || Ok(BufReader::new(File::open(&path)?)))?,
        ];
        if number == 0 {
            sums.push(round(&mut board, "read(2) a piece", || Ok(Direct(File::open(&path)?)))?);
        }
        if sums.iter().any(|sum| *sum != sums[0]) {
            return Err("peers read different bytes".into());
        }
    }
    std::fs::remove_file(&path)?;
    board.print();
    let p999 = board.get(BUFFERED, "p99.9 ns");
    Ok(vec![
        board.at_most("W5 `File`", "ns a call", OWNED, LIMIT, 2.0),
        board.at_most("W5 `ef_read`", "ns a call", DESCRIPTOR, LIMIT, 6.0),
        board.at_most("W5 `File`", "run ns a read", OWNED, BUFFERED, 0.8),
        board.below("W5 `File`", "p99.9 ns", OWNED, BUFFERED, p999),
    ])
}
