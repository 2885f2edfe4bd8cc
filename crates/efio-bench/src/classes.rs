//! Classes: what the sizes of pages cost and save where files write much, little, and many at a time.
//!
//! No peers: the figures are those of the rule by which a file goes from pages of 4 KiB to 64 KiB and 1 MiB. Another rule is
//! tried by building this program with it and running both in turns. Only calls are timed, in processor time of the
//! thread that makes them; the processor time is that of all threads, the memory how much the resident memory
//! of the process grew at most. The flush interval is 100 ms.

use std::time::{Duration, Instant};

use efio::{Builder, Efio, Fd, OpenOptions};

use crate::board::{Board, Measure, Verdict, median};
use crate::line::Line;
use crate::ours::Ours;
use crate::process::{self, Folder};
use crate::{Effort, Outcome};

const MEASURES: &[Measure] = &[
    median("ns a call"),
    median("refusals"),
    median("wall ms"),
    median("CPU ms"),
    median("resident MiB"),
    median("KiB a write"),
    median("writes"),
];

const FAST: &str = "a log at full speed";
const PACED: &str = "a log of 5,000 lines a second";
const STEADY: &str = "a log of 100,000 lines a second";
const MANY: &str = "1,000 files, a line each in turn";
const UPLOADS: &str = "64 files, 64 KiB each in turn";

/// How one piece of work is put to the module.
struct Work {
    name: &'static str,
    files: usize,
    /// Bytes of a call; a line where it is 0.
    piece: usize,
    calls: u64,
    /// Calls that are made together, and the time from one such group to the next.
    pace: Option<(u64, Duration)>,
}

/// Calls of `work` from number `first` on, to its files in turn; the nanoseconds of the calls, and how many were refused.
fn calls(work: &Work, ours: &mut Ours, fds: &[Fd], first: u64, count: u64) -> Outcome<(u64, u64)> {
    let (mut line, piece) = (Line::new(0), vec![b'p'; work.piece]);
    let (mut spent, mut refused, mut begin) = (0, 0, process::thread_ns());
    for call in first..first + count {
        let fd = fds[(call % fds.len() as u64) as usize];
        let mut bytes = if work.piece == 0 { &line.numbered(call)[..] } else { &piece };
        while !bytes.is_empty() {
            match ours.efio.ef_write(fd, bytes) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if error.is_would_block() => {
                    spent += process::thread_ns() - begin;
                    refused += 1;
                    ours.until(|event| event.fd() == fd && event.readiness().is_writable())?;
                    begin = process::thread_ns();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok((spent + process::thread_ns() - begin, refused))
}

fn drive(work: &Work, ours: &mut Ours, fds: &[Fd]) -> Outcome<(u64, u64)> {
    let (group, pause) = work.pace.unwrap_or((work.calls, Duration::ZERO));
    let (mut spent, mut refused, mut groups, begin) = (0, 0, 0_u32, Instant::now());
    while u64::from(groups) * group < work.calls {
        let answer = calls(work, ours, fds, u64::from(groups) * group, group)?;
        (spent, refused, groups) = (spent + answer.0, refused + answer.1, groups + 1);
        std::thread::sleep((begin + pause * groups).saturating_duration_since(Instant::now()));
    }
    Ok((spent, refused))
}

fn measure(board: &mut Board, folder: &Folder, work: &Work, builder: Builder) -> Outcome<()> {
    process::forget_peak();
    let before = process::resident_bytes() / f64::from(1 << 20);
    let mut ours = Ours::new(builder)?;
    let options = OpenOptions::new().write(true).create(true).truncate(true);
    let mut fds = Vec::with_capacity(work.files);
    for number in 0..work.files {
        fds.push(ours.open(&folder.file(&format!("classes-{number}")), &options)?);
    }
    let (begin, cpu, start) = (Instant::now(), process::usage().cpu_s, ours.efio.stats());
    let (spent, refused) = drive(work, &mut ours, &fds)?;
    for fd in &fds {
        ours.efio.ef_close_immediate(*fd)?;
    }
    let end = ours.efio.stats();
    board.add(work.name, "wall ms", begin.elapsed().as_secs_f64() * 1e3);
    board.add(work.name, "CPU ms", (process::usage().cpu_s - cpu) * 1e3);
    board.add(work.name, "ns a call", spent as f64 / work.calls as f64);
    board.add(work.name, "refusals", refused as f64);
    board.add(work.name, "resident MiB", process::peak_mib() - before);
    let writes = (end.jobs_write - start.jobs_write) as f64;
    board.add(work.name, "writes", writes);
    board.add(work.name, "KiB a write", (end.bytes_written - start.bytes_written) as f64 / 1024.0 / writes);
    ours.efio.shutdown(Duration::from_secs(30))?;
    for number in 0..work.files {
        std::fs::remove_file(folder.file(&format!("classes-{number}")))?;
    }
    Ok(())
}

/// Runs the workload.
pub fn run(folder: &Folder, effort: Effort) -> Outcome<Vec<Verdict>> {
    let mut board = Board::new("Sizes of pages", MEASURES);
    let step = Duration::from_millis(10);
    let works = [
        Work { name: FAST, files: 1, piece: 0, calls: effort.of(5_000_000, 1_000_000), pace: None },
        Work { name: PACED, files: 1, piece: 0, calls: effort.of(20_000, 5_000), pace: Some((50, step)) },
        Work {
            name: STEADY,
            files: 1,
            piece: 0,
            calls: effort.of(400_000, 100_000),
            pace: Some((1_000, step)),
        },
        Work {
            name: MANY,
            files: 1_000,
            piece: 0,
            calls: effort.of(1_000_000, 300_000),
            pace: Some((10_000, step * 3)),
        },
        Work { name: UPLOADS, files: 64, piece: 64 << 10, calls: effort.of(16_384, 4_096), pace: None },
    ];
    for _ in 0..effort.rounds {
        for work in &works {
            measure(&mut board, folder, work, Efio::builder().flush_interval(Duration::from_millis(100)))?;
        }
    }
    board.print();
    Ok(Vec::new())
}
