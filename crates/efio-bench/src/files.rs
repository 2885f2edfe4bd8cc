//! Open files: what opening one and a call on one cost with few and with many open, and the memory of each.
//!
//! The modules with few and with many are there at the same time and take turns, in many short rounds: one round each, one
//! behind the other, differed by a fifth for no other reason than what else the machine did.
//!
//! Real files as many as the limit of this process allows, up to 15,000; then 100,000 and 1,048,576 on the simulated disk,
//! all of one name, so that they bring little memory of that disk's own (a handle each, which is counted).

use std::path::Path;
use std::time::{Duration, Instant};

use efio::{Efio, Events, Fd, OpenOptions, Readiness};

use crate::board::{Board, Measure, Verdict, median};
use crate::ours::Ours;
use crate::process::{self, Folder};
use crate::{Effort, Outcome};

const MEASURES: &[Measure] =
    &[median("open us"), median("cycle us"), median("write ns"), median("bytes a file")];

/// Writes to a file, again and again; nanoseconds a call.
fn writes(efio: &Efio, fd: Fd) -> Outcome<f64> {
    const CALLS: u32 = 200_000;
    let begin = process::thread_ns();
    for _ in 0..CALLS {
        match efio.ef_write(fd, b"sixteen bytes..\n") {
            Ok(_) => {}
            Err(error) if error.is_would_block() => std::thread::sleep(Duration::from_micros(100)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((process::thread_ns() - begin) as f64 / f64::from(CALLS))
}

/// Opens, writes, reads back, closes; microseconds.
fn cycles(ours: &mut Ours, path: &Path) -> Outcome<f64> {
    const CYCLES: u32 = 60;
    let options = OpenOptions::new().read(true).write(true).create(true);
    let begin = Instant::now();
    for _ in 0..CYCLES {
        let fd = ours.open(path, &options)?;
        ours.efio.ef_write(fd, b"bytes")?;
        ours.efio.ef_seek(fd, std::io::SeekFrom::Start(0))?;
        let mut bytes = [0; 5];
        while let Err(error) = ours.efio.ef_read(fd, &mut bytes) {
            if !error.is_would_block() {
                return Err(error.into());
            }
            ours.until(|event| event.fd() == fd && event.readiness().is_readable())?;
        }
        if &bytes != b"bytes" {
            return Err("what was written was not read back".into());
        }
        ours.efio.ef_close(fd)?;
        ours.until(|event| event.fd() == fd && event.readiness().is_closed())?;
    }
    Ok(begin.elapsed().as_secs_f64() * 1e6 / f64::from(CYCLES))
}

/// Opens real files until there are `count`.
fn open_real(ours: &mut Ours, folder: &Folder, fds: &mut Vec<Fd>, count: usize) -> Outcome<()> {
    let options = OpenOptions::new().read(true).write(true).create(true);
    while fds.len() < count {
        // A few at a time, so that the memory of requests under way is not counted for files.
        let mut opened = fds.len();
        for number in fds.len()..count.min(fds.len() + 64) {
            fds.push(ours.efio.ef_open(folder.file(&format!("files-{number}")), &options)?);
        }
        while opened < fds.len() {
            ours.until(|event| {
                opened += usize::from(event.readiness().is_opened());
                true
            })?;
        }
    }
    Ok(())
}

fn real(board: &mut Board, folder: &Folder, counts: &[(usize, &'static str)]) -> Outcome<()> {
    const ROUNDS: usize = 15;
    let path = folder.file("files-cycle");
    let mut modules = Vec::new();
    for (count, name) in counts {
        let (mut ours, mut fds) = (Ours::new(Efio::builder())?, Vec::new());
        cycles(&mut ours, &path)?;
        let (before, begin) = (process::resident_bytes(), Instant::now());
        open_real(&mut ours, folder, &mut fds, *count)?;
        board.add(name, "open us", begin.elapsed().as_secs_f64() * 1e6 / *count as f64);
        if *count > 500 {
            board.add(name, "bytes a file", (process::resident_bytes() - before) / *count as f64);
        }
        modules.push((*name, ours, fds[fds.len() - 1]));
    }
    // The first round warms up.
    for round in 0..=ROUNDS {
        for (name, ours, last) in &mut modules {
            let (cycle, write) = (cycles(ours, &path)?, writes(&ours.efio, *last)?);
            if round > 0 {
                board.add(name, "cycle us", cycle);
                board.add(name, "write ns", write);
            }
        }
    }
    Ok(())
}

fn simulated(board: &mut Board, count: usize, name: &'static str) -> Outcome<()> {
    let sim = efio::sim::Sim::new(1);
    let efio = Efio::builder().sim(&sim).build()?;
    let options = OpenOptions::new().read(true).write(true).create(true);
    let mut events = Events::with_capacity(4096);
    let (before, begin) = (process::resident_bytes(), Instant::now());
    let (mut last, mut opened) = (None, 0);
    for number in 0..count {
        // One name for all: the disk's memory is not what is measured.
        last = Some(efio.ef_open("/file", &options)?);
        if number % 64 == 63 || number + 1 == count {
            while efio.step() && opened <= number {
                efio.events(&mut events)?;
                opened += events.iter().filter(|event| event.readiness().contains(Readiness::OPENED)).count();
            }
        }
    }
    board.add(name, "open us", begin.elapsed().as_secs_f64() * 1e6 / count as f64);
    board.add(name, "bytes a file", (process::resident_bytes() - before) / count as f64);
    let Some(last) = last else { return Ok(()) };
    // Some rounds to warm up, then each a page's worth; what the engine has to do comes between them.
    const ROUNDS: usize = 60;
    const CALLS: u32 = 200;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begin = process::thread_ns();
        for _ in 0..CALLS {
            efio.ef_write(last, b"sixteen bytes..\n")?;
        }
        rounds.push((process::thread_ns() - begin) as f64 / f64::from(CALLS));
        while efio.turn() {}
    }
    rounds[10..].iter().for_each(|ns| board.add(name, "write ns", *ns));
    Ok(())
}

/// Runs the workload.
pub fn run(folder: &Folder, effort: Effort) -> Outcome<Vec<Verdict>> {
    let mut board = Board::new("Open files", MEASURES);
    // Those of the other modules are open beside them.
    let most = (process::raise_files_limit() as usize).saturating_sub(1_600).min(15_000);
    if most <= 1_000 {
        println!("skipped: open files: too low a limit of descriptors, {} is the least", 1_600 + 1_001);
        return Ok(Vec::new());
    }
    let count = format!("{},{:03}", most / 1_000, most % 1_000);
    let counts =
        [(10, "10 real files"), (1_000, "1,000 real files"), (most, &*format!("{count} real files").leak())];
    real(&mut board, folder, &counts)?;
    simulated(&mut board, 10, "10 on sim")?;
    simulated(&mut board, 100_000, "100,000 on sim")?;
    if !effort.quick {
        simulated(&mut board, 1_048_576, "1,048,576 on sim")?;
    }
    board.print();
    let many = if effort.quick { "100,000 on sim" } else { "1,048,576 on sim" };
    let real = format!("open files, {count} beside 10");
    Ok(vec![
        board.at_most(&real, "write ns", counts[2].1, counts[0].1, 1.2),
        board.at_most(&real, "cycle us", counts[2].1, counts[0].1, 1.2),
        board.at_most("open files, many beside 10 on sim", "write ns", many, "10 on sim", 1.2),
        board.at_most("open files, many beside 100,000 on sim", "open us", many, "100,000 on sim", 1.2),
        board.below("open files", "bytes a file", many, counts[2].1, 640.0),
    ])
}
