//! What does a call cost that finds its bytes in memory?
//!
//! 100 bytes and 64 KiB from a cached file of 16 MiB, over and over, by an owning `File`, by descriptor, and by a
//! `BufReader`. A reader that outruns the filling waits for its event; that wait is in the mean. `cargo bench --bench read`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use efio::{Efio, Events, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom};

const BYTES: usize = 16 << 20;

fn reads(criterion: &mut Criterion, piece: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut group = criterion.benchmark_group(format!("{piece} bytes of a cached file"));
    group.sample_size(20).measurement_time(std::time::Duration::from_secs(1));
    group.throughput(Throughput::Bytes(piece as u64));
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("file");
    std::fs::write(&path, vec![7; BYTES])?;
    let mut buffer = vec![0; piece];
    let mut buffered = BufReader::with_capacity(1 << 20, std::fs::File::open(&path)?);
    group.bench_function("BufReader 1 MiB", |bencher| {
        bencher.iter(|| {
            if buffered.read(&mut buffer).is_ok_and(|bytes| bytes == 0) {
                let _ = buffered.seek(SeekFrom::Start(0));
            }
        });
    });
    let efio = Efio::new()?;
    let mut events = Events::with_capacity(64);
    let options = OpenOptions::new().read(true);
    let mut file = efio.open(&path, &options)?;
    group.bench_function("File", |bencher| {
        bencher.iter(|| {
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => {
                        let _ = file.seek(SeekFrom::Start(0));
                    }
                    Ok(bytes) => break bytes,
                    Err(_) => {
                        let _ = efio.wait(&mut events, None);
                    }
                }
            }
        });
    });
    drop(file);
    let fd = efio.ef_open(&path, &options)?;
    group.bench_function("ef_read", |bencher| {
        bencher.iter(|| {
            loop {
                match efio.ef_read(fd, &mut buffer) {
                    Ok(0) => {
                        let _ = efio.ef_seek(fd, SeekFrom::Start(0));
                    }
                    Ok(bytes) => break bytes,
                    Err(_) => {
                        let _ = efio.wait(&mut events, None);
                    }
                }
            }
        });
    });
    group.finish();
    Ok(())
}

fn all(criterion: &mut Criterion) {
    for piece in [100, 64 << 10] {
        if let Err(error) = reads(criterion, piece) {
            println!("skipped: {error}");
        }
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
