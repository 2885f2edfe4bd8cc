//! What does a value cost on its way from thread to thread, in each queue and in its rivals?
//!
//! `cargo bench --bench queues` prints one table for each structure: million values a second, the median of nine
//! rounds in which all take turns, and the ratio to the best rival. A name as argument (`spsc`, `mpsc`, `mpmc`, `chunked`)
//! prints that one. A round lasts from the first thread's start to the last consumer's end, as the threads themselves see
//! it. Threads that find nothing to do look 64 times more and then yield. Rivals are the crates that people would
//! use instead, with the settings that suit them.

use efio::queue::{Gate, Lanes, Mpmc, Stack, Tickets, Unbounded, chunked, mpsc, spsc};
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Odd, for the median.
const ROUNDS: usize = 9;
const CAPACITY: usize = 1024;
/// Values moved at once by the batch calls.
const BATCH: usize = 64;

/// Looks a little, then lets others run.
#[derive(Default)]
struct Patience(u32);

impl Patience {
    fn lose(&mut self) {
        self.0 += 1;
        if self.0 < 64 { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
}

/// Moves `count` values from the pushes to the pops, each on a thread of its own, and says how long that took. A push gets
/// the next value and how many are left, and says how many it pushed; a pop gets how many are left.
fn race<P, C>(count: usize, pushes: Vec<P>, pops: Vec<C>) -> Duration
where
    P: FnMut(u64, usize) -> usize + Send,
    C: FnMut(usize) -> usize + Send,
{
    let start = Barrier::new(pushes.len() + pops.len() + 1);
    let (producers, consumers) = (pushes.len(), pops.len());
    std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(producers + consumers);
        for mut push in pushes {
            let start = &start;
            threads.push(scope.spawn(move || {
                start.wait();
                let started = Instant::now();
                let (mut next, mut left) = (0_u64, count / producers);
                let mut patience = Patience::default();
                while left != 0 {
                    match push(next, left) {
                        0 => patience.lose(),
                        pushed => {
                            next += pushed as u64;
                            left -= pushed;
                            patience = Patience::default();
                        }
                    }
                }
                // The last consumer ends later.
                (started, started)
            }));
        }
        for mut pop in pops {
            let start = &start;
            threads.push(scope.spawn(move || {
                start.wait();
                let started = Instant::now();
                let mut left = count / consumers;
                let mut patience = Patience::default();
                while left != 0 {
                    match pop(left) {
                        0 => patience.lose(),
                        popped => {
                            left -= popped;
                            patience = Patience::default();
                        }
                    }
                }
                (started, Instant::now())
            }));
        }
        start.wait();
        let mut span: Option<(Instant, Instant)> = None;
        for (started, ended) in threads.into_iter().filter_map(|thread| thread.join().ok()) {
            let (first, last) = span.unwrap_or((started, ended));
            span = Some((first.min(started), last.max(ended)));
        }
        span.map_or(Duration::MAX, |(first, last)| last - first)
    })
}

/// One line of a table: ours or a rival, and how to run it once.
struct Line<'a> {
    name: &'a str,
    ours: bool,
    run: Box<dyn Fn() -> Duration + 'a>,
}

fn ours<'a>(name: &'a str, run: impl Fn() -> Duration + 'a) -> Line<'a> {
    Line { name, ours: true, run: Box::new(run) }
}

fn rival<'a>(name: &'a str, run: impl Fn() -> Duration + 'a) -> Line<'a> {
    Line { name, ours: false, run: Box::new(run) }
}

/// Runs the lines in turn and prints them, as `amount` of `unit` a run.
fn table(title: &str, unit: &str, amount: f64, lines: &[Line<'_>]) {
    let mut rounds = vec![Vec::new(); lines.len()];
    for _ in 0..ROUNDS {
        for (line, seconds) in lines.iter().zip(&mut rounds) {
            seconds.push((line.run)().as_secs_f64());
        }
    }
    let medians: Vec<f64> = rounds
        .into_iter()
        .map(|mut seconds| {
            seconds.sort_by(f64::total_cmp);
            seconds[ROUNDS / 2]
        })
        .collect();
    let fastest = lines.iter().zip(&medians).filter(|(line, _)| !line.ours).map(|(_, median)| *median);
    let fastest = fastest.fold(f64::INFINITY, f64::min);
    println!("\n{title}\n\n| queue | {unit} | to the best rival |\n| --- | ---: | ---: |");
    for (line, median) in lines.iter().zip(&medians) {
        let name = if line.ours { format!("**{}**", line.name) } else { line.name.to_owned() };
        println!("| {name} | {:.1} | {:.2} |", amount / median, fastest / median);
    }
}

/// Runs a queue that all threads share by reference.
fn shared<Q: Sync>(
    count: usize,
    threads: usize,
    queue: &Q,
    push: fn(&Q, u64) -> bool,
    pop: fn(&Q) -> bool,
) -> Duration {
    let pushes = (0..threads).map(|_| move |value, _| usize::from(push(queue, value))).collect();
    let pops = (0..threads).map(|_| move |_| usize::from(pop(queue))).collect();
    race(count, pushes, pops)
}

fn spsc_table() {
    const COUNT: usize = 4_000_000;
    let lines = [
        ours("spsc::channel", || {
            let (mut producer, mut consumer) = spsc::channel(CAPACITY);
            let push = move |value, _| usize::from(producer.push(value).is_ok());
            race(COUNT, vec![push], vec![move |_| usize::from(black_box(consumer.pop()).is_ok())])
        }),
        ours("spsc::channel, 64 at once", || {
            let (mut producer, mut consumer) = spsc::channel(CAPACITY);
            let mut seen = Vec::with_capacity(BATCH);
            let push = move |value: u64, left: usize| producer.push_all(&mut (value..).take(BATCH.min(left)));
            let pop = move |left: usize| {
                seen.clear();
                consumer.pop_all(black_box(&mut seen), BATCH.min(left))
            };
            race(COUNT, vec![push], vec![pop])
        }),
        rival("rtrb", || {
            let (mut producer, mut consumer) = rtrb::RingBuffer::new(CAPACITY);
            let push = move |value: u64, _| usize::from(producer.push(value).is_ok());
            race(COUNT, vec![push], vec![move |_| usize::from(black_box(consumer.pop()).is_ok())])
        }),
        rival("crossbeam-queue ArrayQueue", || {
            let queue = crossbeam_queue::ArrayQueue::new(CAPACITY);
            shared(COUNT, 1, &queue, |queue, value| queue.push(value).is_ok(), |queue| queue.pop().is_some())
        }),
        rival("crossbeam-channel bounded", || {
            let ends = crossbeam_channel::bounded(CAPACITY);
            shared(
                COUNT,
                1,
                &ends,
                |ends, value| ends.0.try_send(value).is_ok(),
                |ends| ends.1.try_recv().is_ok(),
            )
        }),
        rival("concurrent-queue bounded", || {
            let queue = concurrent_queue::ConcurrentQueue::bounded(CAPACITY);
            shared(COUNT, 1, &queue, |queue, value| queue.push(value).is_ok(), |queue| queue.pop().is_ok())
        }),
        rival("flume bounded", || {
            let ends = flume::bounded(CAPACITY);
            shared(
                COUNT,
                1,
                &ends,
                |ends, value| ends.0.try_send(value).is_ok(),
                |ends| ends.1.try_recv().is_ok(),
            )
        }),
        rival("std sync_channel", || {
            let (sender, receiver) = std::sync::mpsc::sync_channel(CAPACITY);
            let push = move |value: u64, _| usize::from(sender.try_send(value).is_ok());
            race(COUNT, vec![push], vec![move |_| usize::from(receiver.try_recv().is_ok())])
        }),
    ];
    table("One producer, one consumer, 1024 places", "M pairs/s", COUNT as f64 / 1e6, &lines);
}

fn mpsc_table(threads: usize) {
    const COUNT: usize = 2_000_000;
    let lines = [
        ours("mpsc::channel", || {
            let (sender, mut receiver) = mpsc::channel();
            let push = |sender: mpsc::Sender<u64>| move |value, _| usize::from(sender.push(value).is_ok());
            let pushes = (0..threads).map(|_| push(sender.clone())).collect();
            race(COUNT, pushes, vec![move |_| usize::from(black_box(receiver.pop()).is_ok())])
        }),
        rival("crossbeam-queue SegQueue", || {
            let queue = &crossbeam_queue::SegQueue::new();
            let push = |_| {
                move |value: u64, _| {
                    queue.push(value);
                    1
                }
            };
            race(
                COUNT,
                (0..threads).map(push).collect(),
                vec![move |_| usize::from(black_box(queue.pop()).is_some())],
            )
        }),
        rival("crossbeam-channel unbounded", || {
            let (sender, receiver) = crossbeam_channel::unbounded();
            let push = |sender: crossbeam_channel::Sender<u64>| {
                move |value, _| usize::from(sender.send(value).is_ok())
            };
            let pushes = (0..threads).map(|_| push(sender.clone())).collect();
            race(COUNT, pushes, vec![move |_| usize::from(black_box(receiver.try_recv()).is_ok())])
        }),
        rival("concurrent-queue unbounded", || {
            let queue = &concurrent_queue::ConcurrentQueue::unbounded();
            let push = |_| move |value: u64, _| usize::from(queue.push(value).is_ok());
            race(
                COUNT,
                (0..threads).map(push).collect(),
                vec![move |_| usize::from(black_box(queue.pop()).is_ok())],
            )
        }),
        rival("flume unbounded", || {
            let (sender, receiver) = flume::unbounded();
            let push = |sender: flume::Sender<u64>| move |value, _| usize::from(sender.send(value).is_ok());
            let pushes = (0..threads).map(|_| push(sender.clone())).collect();
            race(COUNT, pushes, vec![move |_| usize::from(black_box(receiver.try_recv()).is_ok())])
        }),
        rival("std mpsc", || {
            let (sender, receiver) = std::sync::mpsc::channel();
            let push = |sender: std::sync::mpsc::Sender<u64>| {
                move |value, _| usize::from(sender.send(value).is_ok())
            };
            let pushes = (0..threads).map(|_| push(sender.clone())).collect();
            race(COUNT, pushes, vec![move |_| usize::from(black_box(receiver.try_recv()).is_ok())])
        }),
    ];
    let title = format!("{threads} producers, one consumer, no bound");
    table(&title, "M values/s", COUNT as f64 / 1e6, &lines);
}

fn mpmc_table(threads: usize) {
    const COUNT: usize = 1_000_000;
    let lines = [
        ours("Mpmc", || {
            let queue = Mpmc::new(CAPACITY);
            shared(COUNT, threads, &queue, |q, v| q.push(v).is_ok(), |q| q.pop().is_some())
        }),
        ours("Unbounded", || {
            let queue = Unbounded::new();
            let push = |queue: &Unbounded<u64>, value| {
                queue.push(value);
                true
            };
            shared(COUNT, threads, &queue, push, |q| q.pop().is_some())
        }),
        ours("Tickets, 16 parts", || {
            let queue = Tickets::new(16, CAPACITY / 16);
            shared(COUNT, threads, &queue, |q, v| q.push(v).is_ok(), |q| q.pop().is_some())
        }),
        ours("Lanes, one a producer", || {
            let queue = &Lanes::new(threads, CAPACITY / threads);
            let pushes = (0..threads)
                .map(|_| {
                    let lane = queue.lane();
                    move |value: u64, _: usize| usize::from(lane.push(value).is_ok())
                })
                .collect();
            race(COUNT, pushes, (0..threads).map(|_| move |_| usize::from(queue.pop().is_some())).collect())
        }),
        ours("Stack, bounded", || {
            let queue = Stack::bounded(CAPACITY);
            shared(COUNT, threads, &queue, |q, v| q.push(v).is_ok(), |q| q.pop().is_some())
        }),
        ours("Gate of Mpmc", || {
            let queue = Gate::new(Mpmc::new(CAPACITY));
            shared(COUNT, threads, &queue, |q, v| q.push(v).is_ok(), |q| q.pop().is_ok())
        }),
        rival("crossbeam-queue ArrayQueue", || {
            let queue = crossbeam_queue::ArrayQueue::new(CAPACITY);
            shared(COUNT, threads, &queue, |q, v| q.push(v).is_ok(), |q| q.pop().is_some())
        }),
        rival("crossbeam-channel bounded", || {
            let ends = crossbeam_channel::bounded(CAPACITY);
            shared(COUNT, threads, &ends, |e, v| e.0.try_send(v).is_ok(), |e| e.1.try_recv().is_ok())
        }),
        rival("concurrent-queue bounded", || {
            let queue = concurrent_queue::ConcurrentQueue::bounded(CAPACITY);
            shared(COUNT, threads, &queue, |q, v| q.push(v).is_ok(), |q| q.pop().is_ok())
        }),
        rival("flume bounded", || {
            let ends = flume::bounded(CAPACITY);
            shared(COUNT, threads, &ends, |e, v| e.0.try_send(v).is_ok(), |e| e.1.try_recv().is_ok())
        }),
    ];
    let title = format!("{threads} producers, {threads} consumers, 1024 places");
    table(&title, "M values/s", COUNT as f64 / 1e6, &lines);
}

/// Buffers of 64 KiB there, and empty again back by a ring, so that memory is allocated once.
fn chunked_table() {
    const COUNT: usize = 100_000;
    const BYTES: usize = 64 << 10;
    const BUFFERS: usize = 64;
    let lines = [
        ours("chunked::stream", || {
            let (mut writer, mut reader) = chunked::stream(BUFFERS * BYTES);
            let (mut back, mut empty) = spsc::channel(BUFFERS);
            let filled = back.push_all(&mut (0..BUFFERS).map(|_| vec![7_u8; BYTES]));
            assert_eq!(filled, BUFFERS);
            let push = move |_, _| match empty.pop() {
                Ok(buffer) => usize::from(writer.push(buffer).is_ok()),
                Err(_) => 0,
            };
            let pop = move |_| match reader.pop() {
                Some(buffer) => {
                    // Refused at the end, when nobody wants it any more.
                    drop(back.push(buffer.into_vec()));
                    1
                }
                None => 0,
            };
            race(COUNT, vec![push], vec![pop])
        }),
        rival("crossbeam-channel of Vec", || {
            let (sender, receiver) = crossbeam_channel::bounded(BUFFERS);
            let (back, empty) = crossbeam_channel::bounded(BUFFERS);
            (0..BUFFERS).for_each(|_| assert!(back.send(vec![7_u8; BYTES]).is_ok()));
            let push = move |_, _| match empty.try_recv() {
                Ok(buffer) => usize::from(sender.try_send(buffer).is_ok()),
                Err(_) => 0,
            };
            let pop = move |_| match receiver.try_recv() {
                Ok(buffer) => {
                    drop(back.try_send(buffer));
                    1
                }
                Err(_) => 0,
            };
            race(COUNT, vec![push], vec![pop])
        }),
    ];
    let amount = (COUNT * BYTES) as f64 / 1e9;
    table("Buffers of 64 KiB from one thread to another, and back", "GB/s", amount, &lines);
}

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let asked = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    if asked("spsc") {
        spsc_table();
    }
    for threads in [1, 2, 4] {
        if asked("mpsc") {
            mpsc_table(threads);
        }
    }
    for threads in [1, 2, 4] {
        if asked("mpmc") {
            mpmc_table(threads);
        }
    }
    if asked("chunked") {
        chunked_table();
    }
}
