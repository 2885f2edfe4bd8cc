//! Idle: a thousand open files, none dirty, nobody waiting: does anything run?

use std::time::Duration;

use efio::{Efio, OpenOptions};

use crate::board::{Board, Measure, Verdict, median};
use crate::ours::Ours;
use crate::process::{self, Folder};
use crate::{Effort, Outcome};

const MEASURES: &[Measure] = &[median("switches"), median("CPU us"), median("MiB")];
const NAME: &str = "efio, 1,000 files";
const NOTHING: &str = "a sleeping thread";

fn watch(board: &mut Board, name: &'static str) {
    let before = process::usage();
    std::thread::sleep(Duration::from_secs(3));
    let after = process::usage();
    board.add(name, "switches", (after.switches - before.switches) as f64);
    board.add(name, "CPU us", (after.cpu_s - before.cpu_s) * 1e6);
    board.add(name, "MiB", process::resident_bytes() / f64::from(1 << 20));
}

/// Runs the workload.
pub fn run(folder: &Folder, _effort: Effort) -> Outcome<Vec<Verdict>> {
    let mut board = Board::new("Idle for 3 s", MEASURES);
    watch(&mut board, NOTHING);
    let mut ours = Ours::new(Efio::builder())?;
    let options = OpenOptions::new().append(true).create(true);
    for number in 0..1000 {
        let fd = ours.open(&folder.file(&format!("idle-{number}")), &options)?;
        ours.efio.ef_write(fd, b"a line\n")?;
        ours.efio.ef_sync(fd)?;
        ours.until(|event| event.fd() == fd && event.readiness().is_synced())?;
    }
    // The flush timer has looked, and threads that have nothing to do are gone.
    std::thread::sleep(Duration::from_secs(12));
    watch(&mut board, NAME);
    board.print();
    Ok(vec![board.below("idle, 3 s", "switches", NAME, NOTHING, board.get(NOTHING, "switches"))])
}
