//! What does it cost to open a file and close it again, events and all?
//!
//! Beside open(2) and close(2) on the caller's own thread: the difference is two hand-overs each way, which is what a loop
//! pays for never waiting. `cargo bench --bench open`.

use criterion::{Criterion, criterion_group, criterion_main};
use efio::{Efio, Events, Fd, OpenOptions, Readiness};
use std::path::Path;

/// Waits until the file has news of this kind.
fn until(efio: &Efio, events: &mut Events, fd: Fd, wanted: Readiness) -> efio::Result<()> {
    loop {
        efio.wait(events, None)?;
        if events.iter().any(|event| event.fd() == fd && event.readiness().intersects(wanted)) {
            return Ok(());
        }
    }
}

fn cycle(efio: &Efio, events: &mut Events, path: &Path) -> efio::Result<()> {
    let fd = efio.ef_open(path, &OpenOptions::new().read(true))?;
    until(efio, events, fd, Readiness::OPENED)?;
    efio.ef_close(fd)?;
    until(efio, events, fd, Readiness::CLOSED)
}

fn opens(criterion: &mut Criterion) -> Result<(), Box<dyn std::error::Error>> {
    let mut group = criterion.benchmark_group("open and close");
    group.sample_size(20).measurement_time(std::time::Duration::from_secs(1));
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("file");
    std::fs::write(&path, b"bytes")?;
    group.bench_function("std::fs::File", |bencher| bencher.iter(|| std::fs::File::open(&path).is_ok()));
    let efio = Efio::new()?;
    let mut events = Events::with_capacity(64);
    group.bench_function("efio", |bencher| bencher.iter(|| cycle(&efio, &mut events, &path).is_ok()));
    group.finish();
    Ok(())
}

fn all(criterion: &mut Criterion) {
    if let Err(error) = opens(criterion) {
        println!("skipped: {error}");
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
