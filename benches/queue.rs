//! What does one hand-over between two threads cost, beside a mutex around a deque?
//!
//! Each line is one value in and out again on one thread: the cost without contention, which is
//! what a read or a write pays on its way. `cargo bench --bench queue`.

#![allow(unsafe_code, reason = "the ring's two ends are unsafe to call")]

use criterion::{Criterion, criterion_group, criterion_main};
use efio::queue::{IndexList, IndexStack, Mpmc, Ring};
use efio::sync::{AtomicU32, Sleeper, WakeFlag};
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

fn values(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one value in and out");
    let deque = Mutex::new(VecDeque::with_capacity(8));
    let locked = || deque.lock().unwrap_or_else(PoisonError::into_inner);
    group.bench_function("mutex and deque", |bencher| {
        bencher.iter(|| {
            locked().push_back(black_box(7_u64));
            locked().pop_front()
        });
    });
    let mpmc = Mpmc::new(8);
    group.bench_function("Mpmc", |bencher| {
        bencher.iter(|| (mpmc.push(black_box(7_u64)), mpmc.pop()));
    });
    let ring = Ring::<u64, 8>::new();
    group.bench_function("Ring", |bencher| {
        // SAFETY: this thread is the ring's only producer and only consumer.
        bencher.iter(|| unsafe { (ring.push(black_box(7)), ring.pop()) });
    });
    // SAFETY: as above.
    let pushed = unsafe { ring.push(1) };
    assert!(pushed.is_ok());
    group.bench_function("Ring, a look at the front", |bencher| {
        // SAFETY: as above; the pointer is not used.
        bencher.iter(|| unsafe { black_box(&ring).front() });
    });
    group.finish();
}

fn indexes(criterion: &mut Criterion) {
    let links: Vec<AtomicU32> = (0..64).map(|_| AtomicU32::new(0)).collect();
    let mut group = criterion.benchmark_group("one index in and out");
    let stack = IndexStack::new();
    group.bench_function("IndexStack", |bencher| {
        bencher.iter(|| {
            stack.push(&links[..], black_box(7));
            stack.pop(&links[..])
        });
    });
    let list = IndexList::new();
    group.bench_function("IndexList", |bencher| {
        bencher.iter(|| {
            let _ = black_box(list.push(&links[..], black_box(7)));
            list.take_all(&links[..]).sum::<u32>()
        });
    });
    group.bench_function("IndexList, 64 at a time", |bencher| {
        bencher.iter(|| {
            for index in 0..64 {
                let _ = black_box(list.push(&links[..], index));
            }
            list.take_all(&links[..]).sum::<u32>()
        });
    });
    group.finish();
}

fn wake_ups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a wake-up that is not needed");
    let flag = WakeFlag::new();
    group.bench_function("WakeFlag, up already", |bencher| bencher.iter(|| flag.raise()));
    let sleeper = Sleeper::new();
    group.bench_function("Sleeper, nobody sleeps", |bencher| bencher.iter(|| sleeper.wake()));
    group.finish();
}

criterion_group!(benches, values, indexes, wake_ups);
criterion_main!(benches);
