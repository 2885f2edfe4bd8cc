//! W1: a log appended by one thread, five million lines of 120 bytes.
//!
//! The mean and the durable total come from runs without a stamp in the loop, the percentiles from runs with one. Only
//! calls are timed, in processor time of the thread that makes them: a driver that is refused waits for its event with its
//! clock stopped. The limit is the copy alone, in the same driver, over as many pages: four MiB stay in the cache, the 64
//! MiB that a file may hold unless set otherwise do not.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use efio::CacheMode::{self, Buffered, Uncached};
use efio::{Efio, Fd, OpenOptions};

use crate::board::{Board, Measure, Verdict, least, median};
use crate::histogram::Histogram;
use crate::line::{self, Line};
use crate::ours::Ours;
use crate::process::{self, Folder};
use crate::{Effort, Outcome, stamp};

const LIMIT: &str = "limit: memcpy";
const BUFFERED: &str = "BufWriter 1 MiB";
const OWNED: &str = "efio File, 4 MiB";
const DESCRIPTOR: &str = "efio ef_write, 4 MiB";
const LIMIT_COLD: &str = "memcpy over 64 MiB";
const OWNED_COLD: &str = "efio File, 64 MiB";
const DESCRIPTOR_COLD: &str = "efio ef_write, 64 MiB";

const OWNED_UNCACHED: &str = "efio File, uncached, 4 MiB";
const DESCRIPTOR_UNCACHED: &str = "efio ef_write, uncached, 4 MiB";

const MIB: usize = 1 << 20;

const MEASURES: &[Measure] = &[
    median("ns a call"),
    median("wall ns"),
    median("p50 ns"),
    median("p99 ns"),
    median("p99.9 ns"),
    least("max us"),
    median("durable s"),
    median("CPU ns"),
    median("peak MiB"),
    median("pages cached"),
];

/// Where lines go.
trait Sink {
    /// Takes a line, or refuses it for now.
    fn put(&mut self, line: &[u8]) -> io::Result<bool>;

    /// Waits until a refused line may be taken.
    fn wait(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Everything put is durable.
    fn finish(&mut self) -> io::Result<()>;
}

/// Copies into a buffer, over and over.
struct Copy(Vec<u8>, usize);

impl Sink for Copy {
    #[inline]
    fn put(&mut self, line: &[u8]) -> io::Result<bool> {
        if self.1 + line.len() > self.0.len() {
            self.1 = 0;
        }
        self.0[self.1..self.1 + line.len()].copy_from_slice(line);
        self.1 += line.len();
        std::hint::black_box(&mut self.0);
        Ok(true)
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for BufWriter<File> {
    #[inline]
    fn put(&mut self, line: &[u8]) -> io::Result<bool> {
        self.write_all(line).map(|()| true)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        self.get_ref().sync_data()
    }
}

/// One write(2) a line.
struct Direct(File);

impl Sink for Direct {
    #[inline]
    fn put(&mut self, line: &[u8]) -> io::Result<bool> {
        self.0.write_all(line).map(|()| true)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// A channel to a thread with a buffer.
struct Channel {
    sender: Option<crossbeam_channel::Sender<Box<[u8]>>>,
    thread: Option<std::thread::JoinHandle<io::Result<()>>>,
}

impl Channel {
    fn new(path: &Path) -> io::Result<Self> {
        let (sender, receiver) = crossbeam_channel::bounded::<Box<[u8]>>(8192);
        let mut file = BufWriter::with_capacity(MIB, File::create(path)?);
        let thread = std::thread::spawn(move || {
            for line in receiver {
                file.write_all(&line)?;
            }
            file.flush()?;
            file.get_ref().sync_data()
        });
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }
}

impl Sink for Channel {
    #[inline]
    fn put(&mut self, line: &[u8]) -> io::Result<bool> {
        Ok(self.sender.as_ref().is_some_and(|sender| sender.send(line.into()).is_ok()))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sender = None;
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or(Err(io::ErrorKind::Other.into()))
    }
}

/// tracing's writer on a thread of its own, waiting rather than losing lines.
struct Appender {
    writer: tracing_appender::non_blocking::NonBlocking,
    guard: Option<tracing_appender::non_blocking::WorkerGuard>,
    file: File,
}

impl Appender {
    fn new(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        let builder = tracing_appender::non_blocking::NonBlockingBuilder::default().lossy(false);
        let (writer, guard) = builder.finish(file.try_clone()?);
        Ok(Self { writer, guard: Some(guard), file })
    }
}

impl Sink for Appender {
    #[inline]
    fn put(&mut self, line: &[u8]) -> io::Result<bool> {
        self.writer.write_all(line).map(|()| true)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.guard = None;
        self.file.sync_data()
    }
}

/// efio, by a descriptor or an owning file.
struct Pages<F> {
    ours: Ours,
    file: F,
}

/// A module and an open file; `limit` is the most bytes of pages that the file may hold.
fn pages(path: &Path, limit: Option<usize>, cache: CacheMode) -> io::Result<Pages<Fd>> {
    let mut ours = Ours::new(Efio::builder())?;
    let options = OpenOptions::new().append(true).create(true).cache(cache);
    let options = limit.into_iter().fold(options, OpenOptions::memory_limit);
    let file = ours.open(path, &options)?;
    Ok(Pages { ours, file })
}

fn owned(path: &Path, limit: Option<usize>, cache: CacheMode) -> io::Result<Pages<efio::File>> {
    let Pages { ours, file } = pages(path, limit, cache)?;
    Ok(Pages { file: ours.efio.from_fd(file)?, ours })
}

fn taken(answer: efio::Result<usize>) -> io::Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.is_would_block() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Sink for Pages<Fd> {
    #[inline]
    fn put(&mut self, line: &[u8]) -> io::Result<bool> {
        taken(self.ours.efio.ef_write(self.file, line))
    }

    fn wait(&mut self) -> io::Result<()> {
        self.ours.until(|event| event.readiness().is_writable())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.ours.efio.ef_sync(self.file)?;
        self.ours.until(|event| event.readiness().is_synced())
    }
}

impl Sink for Pages<efio::File> {
    #[inline]
    fn put(&mut self, line: &[u8]) -> io::Result<bool> {
        taken(self.file.append(line))
    }

    fn wait(&mut self) -> io::Result<()> {
        self.ours.until(|event| event.readiness().is_writable())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.ours.until(|event| event.readiness().is_synced())
    }
}

/// What one run came to.
struct Run {
    busy_ns: f64,
    thread_ns: f64,
    durable_s: f64,
    calls: Histogram,
}

fn drive<S: Sink, const STAMPED: bool>(sink: &mut S, lines: u64) -> io::Result<Run> {
    let (mut line, mut done, mut busy, mut thread) = (Line::new(0), 0, 0, 0);
    let mut calls = Histogram::default();
    let begin = Instant::now();
    while done < lines {
        let (burst_thread, burst) = (process::thread_ns(), stamp::now());
        let mut last = burst;
        while done < lines {
            if !sink.put(line.numbered(done))? {
                break;
            }
            done += 1;
            if STAMPED {
                let now = stamp::now();
                calls.add(now - last);
                last = stamp::now();
            }
        }
        busy += stamp::now() - burst;
        thread += process::thread_ns() - burst_thread;
        if done < lines {
            sink.wait()?;
        }
    }
    sink.finish()?;
    Ok(Run {
        busy_ns: stamp::ns(busy),
        thread_ns: thread as f64,
        durable_s: begin.elapsed().as_secs_f64(),
        calls,
    })
}

/// One round of one peer: a run without stamps, and one with.
fn round<S: Sink>(
    board: &mut Board,
    peer: &'static str,
    lines: u64,
    path: Option<&Path>,
    make: impl Fn(&Path) -> Outcome<S>,
) -> Outcome<()> {
    let place = path.unwrap_or(Path::new(""));
    let remove = || path.map_or(Ok(()), std::fs::remove_file);
    process::forget_peak();
    let before = process::usage();
    let mut sink = make(place)?;
    let run = drive::<S, false>(&mut sink, lines)?;
    let cpu_s = process::usage().cpu_s - before.cpu_s;
    board.add(peer, "wall ns", run.busy_ns / lines as f64);
    board.add(peer, "ns a call", run.thread_ns / lines as f64);
    board.add(peer, "CPU ns", cpu_s * 1e9 / lines as f64);
    board.add(peer, "peak MiB", process::peak_mib());
    drop(sink);
    if path.is_some() {
        board.add(peer, "durable s", run.durable_s * 5e6 / lines as f64);
        board.add(peer, "pages cached", process::pages_cached(place)?);
        line::check(place, 1, lines)?;
        remove()?;
    }
    let mut sink = make(place)?;
    let run = drive::<S, true>(&mut sink, lines)?;
    drop(sink);
    remove()?;
    for (measure, part) in [("p50 ns", 0.5), ("p99 ns", 0.99), ("p99.9 ns", 0.999)] {
        board.add(peer, measure, stamp::ns(run.calls.quantile(part)));
    }
    board.add(peer, "max us", stamp::ns(run.calls.longest()) / 1e3);
    Ok(())
}

/// Runs the workload.
pub fn run(folder: &Folder, effort: Effort) -> Outcome<Vec<Verdict>> {
    let mut board = Board::new("W1: one thread appends lines of 120 bytes", MEASURES);
    let (lines, slow) = (effort.of(5_000_000, 1_500_000), effort.of(1_000_000, 100_000));
    let path = folder.file("w1");
    let file = |path: &Path| -> Outcome<File> { Ok(File::create(path)?) };
    for number in 0..effort.rounds {
        let some = Some(path.as_path());
        round(&mut board, LIMIT, lines, None, |_| Ok(Copy(vec![1; MIB], 0)))?;
        round(&mut board, OWNED, lines, some, |path| Ok(owned(path, Some(4 * MIB), Buffered)?))?;
        round(&mut board, BUFFERED, lines, some, |path| Ok(BufWriter::with_capacity(MIB, file(path)?)))?;
        round(&mut board, DESCRIPTOR, lines, some, |path| Ok(pages(path, Some(4 * MIB), Buffered)?))?;
        round(&mut board, OWNED_UNCACHED, lines, some, |path| Ok(owned(path, Some(4 * MIB), Uncached)?))?;
        round(&mut board, DESCRIPTOR_UNCACHED, lines, some, |path| {
            Ok(pages(path, Some(4 * MIB), Uncached)?)
        })?;
        if number < 3 {
            round(&mut board, LIMIT_COLD, lines, None, |_| Ok(Copy(vec![1; 64 * MIB], 0)))?;
            round(&mut board, OWNED_COLD, lines, some, |path| Ok(owned(path, None, Buffered)?))?;
            round(&mut board, DESCRIPTOR_COLD, lines, some, |path| Ok(pages(path, None, Buffered)?))?;
        }
        if number == 0 {
            round(&mut board, "crossbeam + thread", lines, some, |path| Ok(Channel::new(path)?))?;
            round(&mut board, "write(2) a line", slow, some, |path| Ok(Direct(file(path)?)))?;
            round(&mut board, "tracing-appender", slow, some, |path| Ok(Appender::new(path)?))?;
        }
    }
    board.print();
    Ok(vec![
        board.at_most("W1 `File`", "ns a call", OWNED, LIMIT, 1.5),
        board.at_most("W1 `ef_write`", "ns a call", DESCRIPTOR, LIMIT, 4.0),
        board.below("W1 `File`", "p99.9 ns", OWNED, BUFFERED, 100.0),
        board.below("W1 `ef_write`", "p99.9 ns", DESCRIPTOR, BUFFERED, 100.0),
        board.below("W1 `File`", "max us", OWNED, BUFFERED, 100.0),
        board.below("W1 `ef_write`", "max us", DESCRIPTOR, BUFFERED, 100.0),
        board.at_most("W1 `File`, 64 MiB of pages", "ns a call", OWNED_COLD, LIMIT_COLD, 1.5),
        board.at_most("W1 `ef_write`, 64 MiB of pages", "ns a call", DESCRIPTOR_COLD, LIMIT_COLD, 4.0),
        board.at_most("W1 `File`", "durable s", OWNED, BUFFERED, 1.0),
        board.at_most("W1 `ef_write`", "durable s", DESCRIPTOR, BUFFERED, 1.0),
        board.at_most("W1 `File` uncached", "durable s", OWNED_UNCACHED, BUFFERED, 0.75),
        board.at_most("W1 `ef_write` uncached", "durable s", DESCRIPTOR_UNCACHED, BUFFERED, 0.75),
    ])
}
