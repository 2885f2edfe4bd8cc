//! Every queue under threads: nothing lost, nothing dropped twice, first in first out for each producer.
//!
//! A second by default; EFIO_STRESS_SECONDS is how long each test goes on beyond that. `cargo xtask long --only stress` and
//! `--only asan` (under AddressSanitizer, which also looks for leaks) run it for minutes.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use efio::queue::{Gate, Lanes, Levels, Mpmc, PopError, Stack, Tickets, Unbounded, chunked, mpsc, spsc};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Values for each producer and round.
const VALUES: usize = 2_000;
const PRODUCERS: usize = 3;

/// The rounds of one test: at least `fewest`, and as many as there are in the seconds that the environment gives.
fn rounds(fewest: usize) -> impl Iterator<Item = usize> {
    let seconds = std::env::var("EFIO_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    let (begun, limit) = (Instant::now(), Duration::from_secs(seconds.unwrap_or(0)));
    (0..).take_while(move |round| *round < fewest || begun.elapsed() < limit)
}

/// A value that counts itself: made, and dropped.
#[derive(Debug)]
struct Counted {
    producer: usize,
    number: usize,
    alive: Arc<AtomicUsize>,
}

impl Counted {
    fn new(producer: usize, number: usize, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self { producer, number, alive: alive.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let before = self.alive.fetch_sub(1, Ordering::Relaxed);
        assert!(before != 0 && before < usize::MAX / 2, "dropped twice");
    }
}

/// What one consumer saw: for each producer the last number, which must grow, and how many.
#[derive(Default)]
struct Seen {
    next: [usize; PRODUCERS],
    count: usize,
}

impl Seen {
    fn take(&mut self, value: Counted, in_order: bool) {
        let next = &mut self.next[value.producer];
        assert!(!in_order || value.number >= *next, "{} after {next}", value.number);
        *next = value.number + 1;
        self.count += 1;
    }
}

/// Runs producers and consumers on one queue; `push` and `pop` do one step each, of producer or consumer `n`.
fn many_to_many(
    consumers: usize,
    in_order: bool,
    push: impl Fn(usize, Counted) -> Result<(), Counted> + Sync,
    pop: impl Fn() -> Option<Counted> + Sync,
) {
    let (alive, taken, all) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (alive, push) = (&alive, &push);
            scope.spawn(move || {
                for number in 0..VALUES {
                    let mut value = Counted::new(producer, number, alive);
                    while let Err(back) = push(producer, value) {
                        value = back;
                        std::thread::yield_now();
                    }
                }
            });
        }
        for _ in 0..consumers {
            scope.spawn(|| {
                let mut seen = Seen::default();
                while taken.load(Ordering::Relaxed) < PRODUCERS * VALUES {
                    match pop() {
                        Some(value) => {
                            seen.take(value, in_order);
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                        None => std::thread::yield_now(),
                    }
                }
                all.lock().unwrap().push(seen.count);
            });
        }
    });
    assert_eq!(all.into_inner().unwrap().iter().sum::<usize>(), PRODUCERS * VALUES);
    assert!(pop().is_none());
    assert_eq!(alive.load(Ordering::Relaxed), 0, "leaked");
}

#[test]
fn a_pair_of_halves_moves_everything_in_order_and_drops_the_rest() {
    for round in rounds(3) {
        let alive = Arc::new(AtomicUsize::new(0));
        let (mut producer, mut consumer) = spsc::channel(1 + round % 7);
        std::thread::scope(|scope| {
            let alive = &alive;
            scope.spawn(move || {
                let mut number = 0;
                // The end of the consumer ends this too.
                while number < VALUES && !producer.is_closed() {
                    if number % 3 == 0 {
                        let mut batch = (number..VALUES).map(|number| Counted::new(0, number, alive)).take(5);
                        number += producer.push_all(&mut batch);
                    } else if producer.push(Counted::new(0, number, alive)).is_ok() {
                        number += 1;
                    }
                    if number % 5 == 0 {
                        std::thread::yield_now();
                    }
                }
            });
            let (mut seen, mut batch) = (Seen::default(), Vec::new());
            while seen.count < VALUES - 3 {
                match consumer.pop_wait(None) {
                    Ok(value) => seen.take(value, true),
                    Err(PopError::Closed) => panic!("closed too early"),
                    Err(PopError::Empty) => {}
                }
                consumer.pop_all(&mut batch, 2.min(VALUES - 3 - seen.count));
                batch.drain(..).for_each(|value| seen.take(value, true));
            }
            // What is left is dropped with the ring.
            drop(consumer);
        });
        assert_eq!(alive.load(Ordering::Relaxed), 0, "leaked");
    }
}

#[test]
fn many_senders_lose_nothing() {
    for _ in rounds(3) {
        let (sender, receiver) = mpsc::channel();
        let senders: Vec<_> = (0..PRODUCERS).map(|_| sender.clone()).collect();
        drop(sender);
        let receiver = Mutex::new(receiver);
        let push = |producer: usize, value: Counted| {
            if value.number % 16 < 8 {
                return senders[producer].push(value).map_err(mpsc_value);
            }
            assert!(senders[producer].push_all(vec![value]).is_empty());
            Ok(())
        };
        many_to_many(1, true, push, || receiver.lock().unwrap().pop().ok());
    }
}

fn mpsc_value(refused: efio::queue::PushError<Counted>) -> Counted {
    refused.into_inner()
}

#[test]
fn what_a_receiver_leaves_is_dropped() {
    for left in [0, 1, 62, 63, 64, 200] {
        let alive = Arc::new(AtomicUsize::new(0));
        let (sender, mut receiver) = mpsc::channel();
        for number in 0..left + 3 {
            assert!(sender.push(Counted::new(0, number, &alive)).is_ok());
        }
        for _ in 0..3 {
            assert!(receiver.pop().is_ok());
        }
        drop(receiver);
        assert_eq!(alive.load(Ordering::Relaxed), 0, "{left} leaked");
        assert!(sender.push(Counted::new(0, 0, &alive)).is_err_and(|refused| refused.is_closed()));
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn shared_queues_lose_nothing_and_keep_each_producer_in_order() {
    for _ in rounds(3) {
        let queue = Mpmc::new(7);
        many_to_many(2, true, |_, value| queue.push(value), || queue.pop());
        let queue = Unbounded::new();
        let push = |_, value| {
            queue.push(value);
            Ok(())
        };
        many_to_many(2, true, push, || queue.pop());
        let queue = Tickets::new(4, 2);
        many_to_many(2, true, |_, value| queue.push(value), || queue.pop());
        let queue = Lanes::new(PRODUCERS, 5);
        let lanes: Vec<_> = (0..PRODUCERS).map(|_| queue.lane()).collect();
        many_to_many(1, true, |producer, value| lanes[producer].push(value), || queue.pop());
        let queue = Levels::new(PRODUCERS, 5);
        many_to_many(2, true, |producer, value| queue.push(producer, value), || queue.pop());
        let queue = Gate::new(Mpmc::new(3));
        let push = |_, value| queue.push_wait(value, None).map_err(mpsc_value);
        many_to_many(2, true, push, || queue.pop().ok());
    }
}

#[test]
fn batches_lose_nothing_and_keep_each_producer_in_order() {
    for round in rounds(3) {
        let (alive, taken) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let queue = Mpmc::new(1 + round % 50);
        std::thread::scope(|scope| {
            for producer in 0..PRODUCERS {
                let (alive, queue) = (&alive, &queue);
                scope.spawn(move || {
                    let mut left: Vec<_> =
                        (0..VALUES).map(|number| Counted::new(producer, number, alive)).collect();
                    while !left.is_empty() {
                        let later = left.split_off(left.len().min(40));
                        left = queue.push_batch(left);
                        left.extend(later);
                        std::thread::yield_now();
                    }
                });
            }
            for most in [3, usize::MAX] {
                let (queue, taken) = (&queue, &taken);
                scope.spawn(move || {
                    let (mut seen, mut values) = (Seen::default(), Vec::new());
                    while taken.load(Ordering::Relaxed) < PRODUCERS * VALUES {
                        taken.fetch_add(queue.pop_all(&mut values, most), Ordering::Relaxed);
                        values.drain(..).for_each(|value| seen.take(value, true));
                        std::thread::yield_now();
                    }
                });
            }
        });
        assert_eq!((taken.into_inner(), alive.load(Ordering::Relaxed)), (PRODUCERS * VALUES, 0));
        // What is left in a queue is dropped with it.
        let left = queue.push_batch(vec![Counted::new(0, 0, &alive), Counted::new(0, 1, &alive)]);
        drop((left, queue));
        assert_eq!(alive.load(Ordering::Relaxed), 0, "leaked");
    }
}

#[test]
fn a_stack_loses_nothing_while_it_grows() {
    for _ in rounds(3) {
        let stack = Stack::new();
        many_to_many(2, false, |_, value| stack.push(value), || stack.pop());
        let stack = Stack::bounded(5);
        many_to_many(2, false, |_, value| stack.push(value), || stack.pop());
    }
}

#[test]
fn what_is_left_in_a_shared_queue_is_dropped() {
    let alive = Arc::new(AtomicUsize::new(0));
    let value = |number| Counted::new(0, number, &alive);
    let (tickets, stack) = (Tickets::new(2, 4), Stack::new());
    for number in 0..5 {
        assert!(tickets.push(value(number)).is_ok() && stack.push(value(number)).is_ok());
    }
    drop((tickets.pop(), stack.pop()));
    assert_eq!(alive.load(Ordering::Relaxed), 8);
    drop((tickets, stack));
    assert_eq!(alive.load(Ordering::Relaxed), 0, "leaked");
}

#[test]
fn a_pop_finds_a_value_in_whatever_lane_it_lies() {
    let queue = Lanes::new(3, 4);
    let lanes: Vec<_> = (0..3).map(|_| queue.lane()).collect();
    for lane in [2, 2, 0, 1, 1, 1] {
        assert_eq!(lanes[lane].push(lane), Ok(()));
        assert_eq!((queue.pop(), queue.pop()), (Some(lane), None));
    }
}

#[test]
fn a_push_that_names_no_lane_finds_room_in_any() {
    let gate = Gate::new(Lanes::new(3, 2));
    for number in 0..6 {
        assert_eq!(gate.push(number), Ok(()));
    }
    let mut refused = gate.push(6);
    for _ in 0..6 {
        assert!(refused.is_err_and(|refused| refused.is_full()) && gate.pop().is_ok());
        assert_eq!(gate.push(7), Ok(()), "the place that became free, in whatever lane");
        refused = gate.push(8);
    }
}

#[test]
fn room_in_a_level_wakes_who_waits_for_that_level() {
    let gate = Gate::new(Levels::new(2, 1));
    assert!(gate.push((0, 'a')).is_ok() && gate.push((1, 'b')).is_ok());
    std::thread::scope(|scope| {
        let below = || gate.push_wait((1, 'd'), None).is_err_and(|refused| refused.is_closed());
        let below = [scope.spawn(below), scope.spawn(below)];
        std::thread::sleep(Duration::from_millis(20));
        let urgent = scope.spawn(|| gate.push_wait((0, 'c'), Some(Duration::from_secs(60))));
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(gate.pop(), Ok((0, 'a')));
        assert_eq!(urgent.join().unwrap(), Ok(()), "the others slept before it, and have no room");
        gate.close();
        assert!(below.into_iter().all(|thread| thread.join().unwrap()));
    });
}

#[test]
fn a_closed_gate_ends_every_sleep_and_loses_nothing() {
    for _ in rounds(60) {
        let gate = Gate::new(Mpmc::new(2));
        let (pushed, popped) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while gate.push_wait(1, None).is_ok() {
                        pushed.fetch_add(1, Ordering::Relaxed);
                    }
                });
                scope.spawn(|| {
                    while gate.pop_wait(None).is_ok() {
                        popped.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            while popped.load(Ordering::Relaxed) < 50 {
                std::thread::yield_now();
            }
            assert!(gate.close());
        });
        assert_eq!(pushed.into_inner(), popped.into_inner());
    }
}

#[test]
fn a_stream_frees_every_buffer_wherever_it_is_left() {
    struct Lent(#[allow(dead_code, reason = "counts itself")] Counted);
    impl AsRef<[u8]> for Lent {
        fn as_ref(&self) -> &[u8] {
            b"lent"
        }
    }
    let alive = Arc::new(AtomicUsize::new(0));
    let (mut writer, mut reader) = chunked::stream(1 << 20);
    let (mut onward, far) = chunked::stream(1 << 20);
    for round in 0..4 {
        for number in 0..5 {
            let owner = Lent(Counted::new(0, number, &alive));
            assert!(writer.push(chunked::Buffer::from_owner(owner)).is_ok());
        }
        if round < 2 {
            assert_eq!(reader.transfer(&mut onward), Ok(20), "the rest of this round");
        }
    }
    assert_eq!(reader.erase(6), Ok(()));
    assert_eq!(alive.load(Ordering::Relaxed), 19, "one chunk erased, one begun");
    drop((reader, writer, onward));
    assert_eq!(alive.load(Ordering::Relaxed), 10);
    drop(far);
    assert_eq!(alive.load(Ordering::Relaxed), 0, "leaked");
}
