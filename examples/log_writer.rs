//! Writes a log: lines are taken into memory at once, reach the file within an interval, and are durable when asked.

use std::error::Error;
use std::io::{ErrorKind::WouldBlock, Write};
use std::time::Duration;

use efio::{Efio, Events, File, OpenOptions};

const LINES: usize = 100_000;

/// Shows how far the bytes have got: in efio's pages, in the file, safe on the disk.
fn show(when: &str, file: &File) -> efio::Result<efio::Progress> {
    let progress = file.progress()?;
    println!(
        "{when:<24} accepted {:>8}  written {:>8}  durable {:>8}",
        progress.accepted, progress.written, progress.durable
    );
    Ok(progress)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("service.log");
    let efio = Efio::new()?;
    let mut events = Events::with_capacity(16);

    // No byte stays in memory for longer than the interval, whether its page is full or not.
    let options = OpenOptions::new().append(true).create(true).flush_interval(Duration::from_millis(50));
    let mut log = efio.open(&path, &options)?;

    for number in 0..LINES {
        let line = format!("line {number}: nothing here waits for the disk\n");
        // A line is short enough to be taken whole or not at all, so lines are never torn.
        while let Err(error) = log.write(line.as_bytes()) {
            if error.kind() != WouldBlock {
                return Err(error.into());
            }
            // Not open yet, or the memory of the file is used up: the event says when to go on.
            efio.wait(&mut events, None)?;
        }
    }
    show("when all lines are taken", &log)?;

    // The timer writes the last, half-full page. A program has other things to do meanwhile.
    while log.progress()?.written < log.progress()?.accepted {
        std::thread::sleep(Duration::from_millis(5));
    }
    show("when the timer has come", &log)?;

    log.sync()?;
    'synced: loop {
        efio.wait(&mut events, None)?;
        for event in &events {
            if let Some(error) = event.error() {
                return Err(error.clone().into());
            }
            if event.readiness().is_synced() {
                break 'synced;
            }
        }
    }
    let progress = show("when the sync is done", &log)?;
    assert_eq!(progress.durable, progress.accepted);

    // Closing tells the first error that nothing healed; there was none.
    log.blocking().close()?;
    let text = std::fs::read_to_string(&path)?;
    assert_eq!(text.lines().count(), LINES);
    assert!(text.lines().enumerate().all(|(number, line)| line.starts_with(&format!("line {number}:"))));
    Ok(())
}
