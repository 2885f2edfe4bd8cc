//! Closing and waiting at a shared queue: nobody sleeps on, nothing accepted is lost.
//!
//! The real `Gate` around a bounded queue, with producers that wait for room and consumers that wait for values. The twin is
//! a gate whose sleeper looks before it says that it sleeps.

use crate::queue::{Gate, Lanes, Mpmc, PopError, Tickets};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Condvar, Mutex, Ordering, lock, thread};
use Ordering::{Acquire, Relaxed, Release};

use super::{catch, explore, join_all};

#[test]
fn a_close_ends_every_wait_at_a_gate_and_loses_nothing() {
    explore(|| {
        let shared = Arc::new((Gate::new(Mpmc::new(1)), AtomicUsize::new(0), AtomicUsize::new(0)));
        let mut threads = Vec::new();
        for _ in 0..2 {
            let of_producer = shared.clone();
            threads.push(thread::spawn(move || {
                let (gate, pushed, _) = &*of_producer;
                while pushed.load(Relaxed) < 6 && gate.push_wait(1, None).is_ok() {
                    pushed.fetch_add(1, Relaxed);
                }
            }));
            let of_consumer = shared.clone();
            threads.push(thread::spawn(move || {
                let (gate, _, popped) = &*of_consumer;
                while gate.pop_wait(None).is_ok() {
                    popped.fetch_add(1, Relaxed);
                }
            }));
        }
        let (gate, pushed, popped) = &*shared;
        assert!(gate.close() && !gate.close());
        join_all(threads);
        assert_eq!(pushed.load(Relaxed), popped.load(Relaxed), "accepted and lost");
        assert_eq!(gate.pop(), Err(PopError::Closed));
    });
}

#[test]
fn every_value_at_a_gate_finds_a_sleeper() {
    explore(|| {
        let gate = Arc::new(Gate::new(Mpmc::new(1)));
        let consumers = [0; 3].map(|_| {
            let gate = gate.clone();
            thread::spawn(move || gate.pop_wait(None).unwrap())
        });
        let producer = gate.clone();
        let producer = thread::spawn(move || assert!(producer.push_wait(1, None).is_ok()));
        assert!(gate.push_wait(2, None).is_ok() && gate.push_wait(4, None).is_ok());
        producer.join().unwrap();
        assert_eq!(join_all(consumers).iter().sum::<u32>(), 7);
    });
}

#[test]
fn a_value_behind_a_push_that_is_under_way_finds_its_sleeper_at_a_gate() {
    explore(|| {
        let gate = Arc::new(Gate::new(Tickets::new(1, 2)));
        let consumers = [0; 2].map(|_| {
            let gate = gate.clone();
            thread::spawn(move || gate.pop_wait(None).unwrap())
        });
        let producer = gate.clone();
        let producer = thread::spawn(move || assert!(producer.push(1).is_ok()));
        assert!(gate.push(2).is_ok());
        producer.join().unwrap();
        assert_eq!(join_all(consumers).iter().sum::<u32>(), 3);
    });
}

#[test]
fn tickets_and_lanes_lose_nothing_between_two_producers_and_two_consumers() {
    explore(|| {
        let shared = Arc::new((Tickets::new(2, 1), Lanes::new(2, 1), AtomicUsize::new(0)));
        let mut threads = Vec::new();
        for number in 0..2_usize {
            let of_producer = shared.clone();
            threads.push(thread::spawn(move || {
                let (tickets, lanes, _) = &*of_producer;
                let lane = lanes.lane();
                for value in [1, 10] {
                    let mut left = Some(Box::new(value << (8 * number)));
                    while let Some(value) = left.take() {
                        left = if number == 0 { tickets.push(value).err() } else { lane.push(value).err() };
                        if left.is_some() {
                            thread::yield_now();
                        }
                    }
                }
            }));
            let of_consumer = shared.clone();
            threads.push(thread::spawn(move || {
                let (tickets, lanes, sum) = &*of_consumer;
                while sum.load(Acquire) != 11 + (11 << 8) {
                    let value = tickets.pop().or_else(|| lanes.pop()).map_or(0, |value| *value);
                    sum.fetch_add(value, Release);
                    thread::yield_now();
                }
            }));
        }
        join_all(threads);
        assert!(shared.0.is_empty() && shared.1.is_empty());
    });
}

/// A place for one value: who finds nothing says that it sleeps, then looks again, or looks and says so.
struct Bench {
    value: AtomicBool,
    sleeps: Mutex<bool>,
    bell: Condvar,
}

fn bench(announces_first: bool) {
    let bench =
        Arc::new(Bench { value: AtomicBool::new(false), sleeps: Mutex::new(false), bell: Condvar::new() });
    let consumer = bench.clone();
    let consumer = thread::spawn(move || {
        let Bench { value, sleeps, bell } = &*consumer;
        loop {
            if announces_first {
                *lock(sleeps) = true;
            }
            if value.swap(false, Acquire) {
                break;
            }
            let mut asleep = lock(sleeps);
            *asleep |= !announces_first;
            while *asleep {
                asleep = bell.wait(asleep).unwrap();
            }
        }
    });
    bench.value.store(true, Release);
    if std::mem::take(&mut *lock(&bench.sleeps)) {
        bench.bell.notify_one();
    }
    consumer.join().unwrap();
}

#[test]
fn a_sleeper_that_looks_after_its_announcement_is_woken() {
    explore(|| bench(true));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_looks_before_its_announcement() {
    catch(|| bench(false));
}
