//! What does a lock cost alone, and what is left of it when two or eight threads want it?
//!
//! Each line of a table is one lock of `efio::sync` beside std, parking_lot and spin, in the same run and in turns, so that
//! what else the machine does strikes all alike; the median of several turns counts. `cargo bench --all-features --bench
//! locks` prints the tables; with `-- --quick` in a few seconds, with `-- alone`, `-- additions` or `-- looks` one of them.

use criterion::{BenchmarkId, Criterion};
use efio::sync::{Lock, McsLock, RawLock, SpinLock, SpinRwLock, TicketLock};
use std::hint::black_box;
use std::sync::{Barrier, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// One way to add one, and to look.
trait Contender: Sync {
    fn add(&self);
    fn look(&self) -> u64;
}

impl<R: RawLock + Sync> Contender for Lock<R, u64> {
    fn add(&self) {
        *self.lock() += 1;
    }
    fn look(&self) -> u64 {
        *self.lock()
    }
}

impl Contender for Mutex<u64> {
    fn add(&self) {
        *self.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }
    fn look(&self) -> u64 {
        *self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contender for RwLock<u64> {
    fn add(&self) {
        *self.write().unwrap_or_else(PoisonError::into_inner) += 1;
    }
    fn look(&self) -> u64 {
        *self.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The locks of others, and our reader-writer lock, which share the names of their methods.
macro_rules! contenders {
    ($($lock:ty: $add:ident, $look:ident;)*) => {$(
        impl Contender for $lock {
            fn add(&self) {
                *self.$add() += 1;
            }
            fn look(&self) -> u64 {
                *self.$look()
            }
        }
    )*};
}

contenders! {
    SpinRwLock<u64>: write, read;
    parking_lot::Mutex<u64>: lock, lock;
    parking_lot::RwLock<u64>: write, read;
    spin::mutex::SpinMutex<u64>: lock, lock;
    spin::mutex::TicketMutex<u64>: lock, lock;
    spin::RwLock<u64>: write, read;
}

#[cfg(feature = "zerocopy")]
impl Contender for efio::sync::SeqLock<u64> {
    fn add(&self) {
        self.update(|value| *value += 1);
    }
    fn look(&self) -> u64 {
        self.read()
    }
}

type Named = (&'static str, Box<dyn Contender>);

fn mutexes() -> Vec<Named> {
    vec![
        ("SpinLock", Box::new(SpinLock::new(0))),
        ("TicketLock", Box::new(TicketLock::new(0))),
        ("McsLock", Box::new(McsLock::new(0))),
        ("std Mutex", Box::new(Mutex::new(0))),
        ("parking_lot Mutex", Box::new(parking_lot::Mutex::new(0))),
        ("spin SpinMutex", Box::new(spin::mutex::SpinMutex::<u64>::new(0))),
        ("spin TicketMutex", Box::new(spin::mutex::TicketMutex::<u64>::new(0))),
    ]
}

fn readers() -> Vec<Named> {
    vec![
        ("SpinRwLock", Box::new(SpinRwLock::new(0))),
        #[cfg(feature = "zerocopy")]
        ("SeqLock", Box::new(efio::sync::SeqLock::new(0_u64))),
        ("std RwLock", Box::new(RwLock::new(0))),
        ("parking_lot RwLock", Box::new(parking_lot::RwLock::new(0))),
        ("spin RwLock", Box::new(spin::RwLock::<u64>::new(0))),
    ]
}

/// One addition, or look, by one thread; the call through the trait is part of every line.
fn alone(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("alone");
    for (name, lock) in mutexes() {
        group.bench_function(BenchmarkId::new("add", name), |bencher| {
            bencher.iter(|| black_box(&lock).add());
        });
    }
    for (name, lock) in readers() {
        group.bench_function(BenchmarkId::new("look", name), |bencher| {
            bencher.iter(|| black_box(&lock).look());
        });
    }
    group.finish();
}

/// Calls per second of `threads` threads until `time` is over; one in `writes` is an addition, the others are looks.
fn throughput(lock: &dyn Contender, threads: usize, writes: u64, time: Duration) -> f64 {
    let barrier = Barrier::new(threads + 1);
    let (count, taken) = std::thread::scope(|scope| {
        let work = || {
            barrier.wait();
            let (start, mut count) = (Instant::now(), 0);
            while start.elapsed() < time {
                // A look at the clock in every sixteen calls.
                for _ in 0..16 {
                    count += 1;
                    if count % writes == 0 {
                        lock.add()
                    } else {
                        _ = black_box(lock.look())
                    }
                    // A little work of its own, so that the lock is free for a moment.
                    for step in 0..8_u32 {
                        black_box(step);
                    }
                }
            }
            count
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let start = Instant::now();
        barrier.wait();
        let count: u64 = handles.into_iter().map(|handle| handle.join().unwrap_or(0)).sum();
        (count, start.elapsed())
    });
    count as f64 / taken.as_secs_f64()
}

/// The median of what was measured.
fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Prints the median of `turns` turns for each lock, and its ratio to parking_lot's.
fn table(title: &str, locks: fn() -> Vec<Named>, writes: u64, turns: usize, time: Duration) {
    println!("\n{title}\n| lock | 1 thread, M/s | 2 threads | 8 threads | to parking_lot |");
    println!("| --- | --- | --- | --- | --- |");
    let locks = locks();
    let mut rates = vec![[const { Vec::new() }; 3]; locks.len()];
    for _ in 0..turns {
        for ((_, lock), rates) in locks.iter().zip(&mut rates) {
            for (rates, threads) in rates.iter_mut().zip([1, 2, 8]) {
                rates.push(throughput(&**lock, threads, writes, time));
            }
        }
    }
    let rates: Vec<_> = rates.into_iter().map(|rates| rates.map(median)).collect();
    let rival = locks.iter().position(|(name, _)| name.starts_with("parking_lot")).unwrap_or(0);
    for ((name, _), own) in locks.iter().zip(&rates) {
        let [one, two, eight] = own.map(|rate| rate / 1e6);
        let [to_one, to_two, to_eight] = [0, 1, 2].map(|at| own[at] / rates[rival][at]);
        println!("| {name} | {one:.2} | {two:.2} | {eight:.2} | {to_one:.2}, {to_two:.2}, {to_eight:.2} |");
    }
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let parts = ["alone", "additions", "looks"];
    let asked: Vec<_> = std::env::args().filter(|argument| parts.contains(&&**argument)).collect();
    let wants = |part: &str| asked.is_empty() || asked.iter().any(|asked| asked == part);
    if wants("alone") {
        let mut criterion = Criterion::default().configure_from_args();
        alone(&mut criterion);
        criterion.final_summary();
    }
    let (turns, time) = if quick { (3, Duration::from_millis(50)) } else { (7, Duration::from_millis(300)) };
    if wants("additions") {
        table("Additions", mutexes, 1, turns, time);
    }
    if wants("looks") {
        table("Looks, one addition in 100", readers, 100, turns, time);
    }
}
