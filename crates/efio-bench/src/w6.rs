//! W6: durable appends of 4 KiB to a growing file, 1, 16 and 128 in flight, beside a group commit written by hand.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use efio::{Efio, Fd, OpenOptions};

use crate::board::{Board, Measure, Verdict, median};
use crate::histogram::Histogram;
use crate::ours::Ours;
use crate::process::{self, Folder};
use crate::{Effort, Outcome};

const RECORD: usize = 4096;

const MEASURES: &[Measure] =
    &[median("records/s"), median("p50 us"), median("p99.9 us"), median("CPU us a record")];

/// Who makes records durable.
trait Journal {
    /// Accepts a record.
    fn put(&mut self, record: &[u8]) -> io::Result<()>;

    /// Waits until more records are durable; how many are in all.
    fn wait(&mut self) -> io::Result<u64>;
}

/// One thread that writes and syncs together whatever has come meanwhile.
struct Group {
    records: Option<crossbeam_channel::Sender<Vec<u8>>>,
    durable: crossbeam_channel::Receiver<io::Result<u64>>,
    spare: crossbeam_channel::Receiver<Vec<u8>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Group {
    fn new(path: &Path) -> io::Result<Self> {
        let mut file = File::options().append(true).open(path)?;
        let (records, queue) = crossbeam_channel::unbounded::<Vec<u8>>();
        let (told, durable) = crossbeam_channel::unbounded();
        let (back, spare) = crossbeam_channel::unbounded();
        let thread = std::thread::spawn(move || {
            let (mut batch, mut count) = (Vec::new(), 0);
            while let Ok(first) = queue.recv() {
                batch.clear();
                for record in std::iter::once(first).chain(queue.try_iter()) {
                    batch.extend_from_slice(&record);
                    count += 1;
                    // Whoever does not take buffers back makes new ones.
                    let _ = back.send(record);
                }
                let result = file.write_all(&batch).and_then(|()| file.sync_data());
                if told.send(result.map(|()| count)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { records: Some(records), durable, spare, thread: Some(thread) })
    }
}

impl Journal for Group {
    fn put(&mut self, record: &[u8]) -> io::Result<()> {
        let mut buffer = self.spare.try_recv().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(record);
        let sent = self.records.as_ref().is_some_and(|records| records.send(buffer).is_ok());
        if sent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    fn wait(&mut self) -> io::Result<u64> {
        self.durable.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.records = None;
        // A thread that panicked has been seen by `wait`.
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// efio: a sync for what was accepted since the last one.
struct Pages {
    ours: Ours,
    fd: Fd,
    synced: bool,
}

impl Journal for Pages {
    fn put(&mut self, record: &[u8]) -> io::Result<()> {
        self.synced = false;
        while let Err(error) = self.ours.efio.ef_write(self.fd, record) {
            if !error.is_would_block() {
                return Err(error.into());
            }
            self.ours.until(|event| event.readiness().is_writable())?;
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<u64> {
        if !std::mem::replace(&mut self.synced, true) {
            self.ours.efio.ef_sync(self.fd)?;
        }
        let mut durable = 0;
        self.ours.until(|event| {
            durable = event.progress().durable;
            event.readiness().is_synced()
        })?;
        Ok(durable / RECORD as u64)
    }
}

fn drive<J: Journal>(journal: &mut J, depth: usize, records: u64) -> io::Result<(f64, Histogram)> {
    let (record, mut calls) = (vec![b'r'; RECORD], Histogram::default());
    let (mut put, mut durable, mut begun) = (0, 0, VecDeque::new());
    let begin = Instant::now();
    while durable < records {
        while put < records && put - durable < depth as u64 {
            begun.push_back(Instant::now());
            journal.put(&record)?;
            put += 1;
        }
        durable = journal.wait()?.max(durable);
        let ended = (begun.len() as u64 + durable).saturating_sub(put);
        for begun in begun.drain(..ended as usize) {
            calls.add(begun.elapsed().as_nanos() as u64);
        }
    }
    Ok((begin.elapsed().as_secs_f64(), calls))
}

fn round<J: Journal>(
    board: &mut Board,
    peer: &'static str,
    path: &Path,
    depth: usize,
    records: u64,
    make: impl FnOnce(&Path) -> Outcome<J>,
) -> Outcome<()> {
    process::settle(path)?;
    let mut journal = make(path)?;
    let before = process::usage();
    let (seconds, calls) = drive(&mut journal, depth, records)?;
    let count = records as f64;
    board.add(peer, "records/s", count / seconds);
    board.add(peer, "p50 us", calls.quantile(0.5) as f64 / 1e3);
    board.add(peer, "p99.9 us", calls.quantile(0.999) as f64 / 1e3);
    board.add(peer, "CPU us a record", (process::usage().cpu_s - before.cpu_s) * 1e6 / count);
    drop(journal);
    let bytes = std::fs::read(path)?;
    if bytes.len() as u64 != records * RECORD as u64 || bytes.iter().any(|byte| *byte != b'r') {
        return Err("the journal is not what was put".into());
    }
    Ok(std::fs::remove_file(path)?)
}

/// Runs the workload.
pub fn run(folder: &Folder, effort: Effort) -> Outcome<Vec<Verdict>> {
    let mut board = Board::new("W6: durable appends of 4 KiB to a growing file", MEASURES);
    let path = folder.file("w6");
    let depths = [
        (1, effort.of(5_000, 1_000), "efio, 1 in flight", "group commit, 1"),
        (16, effort.of(50_000, 10_000), "efio, 16 in flight", "group commit, 16"),
        (128, effort.of(100_000, 20_000), "efio, 128 in flight", "group commit, 128"),
    ];
    for turn in 0..effort.rounds {
        for (depth, records, mine, theirs) in depths {
            // They take turns to be the first.
            for first in [turn % 2 == 0, turn % 2 == 1] {
                if first {
                    round(&mut board, mine, &path, depth, records, |path| {
                        let mut ours = Ours::new(Efio::builder())?;
                        let fd = ours.open(path, &OpenOptions::new().append(true))?;
                        Ok(Pages { ours, fd, synced: true })
                    })?;
                } else {
                    round(&mut board, theirs, &path, depth, records, |path| Ok(Group::new(path)?))?;
                }
            }
        }
    }
    board.print();
    let verdict = |(_, _, mine, theirs): (usize, u64, &'static str, &'static str)| {
        board.at_least("W6", "records/s", mine, theirs, 1.0)
    };
    Ok(depths.into_iter().map(verdict).collect())
}
