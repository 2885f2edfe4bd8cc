//! What does a call cost that takes 120 bytes in?
//!
//! By an owning `File`, by descriptor, and, to compare, into a `BufWriter` over nothing. A caller that never pauses is
//! refused now and then and waits for its event; that wait is in the mean. `cargo bench --bench write`.

use criterion::{Criterion, criterion_group, criterion_main};
use efio::{Efio, Events, OpenOptions};
use std::hint::black_box;
use std::io::{self, BufWriter, Write};

const LINE: [u8; 120] = [b'x'; 120];

fn options() -> OpenOptions {
    OpenOptions::new().write(true).create(true).memory_limit(4 << 20)
}

fn lines(criterion: &mut Criterion) -> Result<(), Box<dyn std::error::Error>> {
    let mut group = criterion.benchmark_group("120 bytes");
    group.sample_size(20).measurement_time(std::time::Duration::from_secs(1));
    let mut buffer = BufWriter::with_capacity(1 << 20, io::sink());
    group.bench_function("BufWriter over nothing", |bencher| {
        bencher.iter(|| buffer.write_all(black_box(&LINE)).is_ok());
    });
    let folder = tempfile::tempdir()?;
    let efio = Efio::new()?;
    let mut events = Events::with_capacity(64);
    let mut file = efio.open(folder.path().join("file"), &options())?;
    group.bench_function("File", |bencher| {
        bencher.iter(|| {
            while file.append(black_box(&LINE)).is_err_and(|error| error.is_would_block()) {
                let _ = efio.wait(&mut events, None);
            }
        });
    });
    drop(file);
    let fd = efio.ef_open(folder.path().join("descriptor"), &options())?;
    group.bench_function("ef_write", |bencher| {
        bencher.iter(|| {
            while efio.ef_write(fd, black_box(&LINE)).is_err_and(|error| error.is_would_block()) {
                let _ = efio.wait(&mut events, None);
            }
        });
    });
    group.finish();
    Ok(())
}

fn all(criterion: &mut Criterion) {
    if let Err(error) = lines(criterion) {
        println!("skipped: {error}");
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
