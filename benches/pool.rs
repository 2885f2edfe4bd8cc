//! How many empty tasks a second go through a pool of threads, ours and its rivals?
//!
//! `cargo bench --bench pool` prints one table for each shape: million tasks a second, the best of five rounds in which all
//! take turns, and the ratio to the best rival. One thread submits; a round ends when every task has run. Rivals are used as their users would:
//! `spawn` of rayon's pool in a scope that waits, `execute` and `join` of threadpool.

use efio::pool::Pool;
use std::cell::RefCell;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const TASKS: usize = 400_000;
/// Places in the bounded queue.
const QUEUE: usize = 4096;

/// One line of a table: ours or a rival, and how to run it once.
struct Line<'a> {
    name: &'a str,
    ours: bool,
    run: RefCell<Box<dyn FnMut() + 'a>>,
}

fn line<'a>(name: &'a str, ours: bool, run: impl FnMut() + 'a) -> Line<'a> {
    Line { name, ours, run: RefCell::new(Box::new(run)) }
}

/// Runs the lines in turn and prints them, as `amount` of `unit` a run.
fn table(title: &str, unit: &str, amount: f64, lines: &[Line<'_>]) {
    let mut best = vec![Duration::MAX; lines.len()];
    for _ in 0..ROUNDS {
        for (line, best) in lines.iter().zip(&mut best) {
            let started = Instant::now();
            (line.run.borrow_mut())();
            *best = started.elapsed().min(*best);
        }
    }
    let rivals = lines.iter().zip(&best).filter(|(line, _)| !line.ours).map(|(_, best)| best.as_secs_f64());
    let fastest = rivals.fold(f64::INFINITY, f64::min);
    println!("\n{title}\n\n| pool | {unit} | to the best rival |\n| --- | ---: | ---: |");
    for (line, best) in lines.iter().zip(&best) {
        let name = if line.ours { format!("**{}**", line.name) } else { line.name.to_owned() };
        let best = best.as_secs_f64();
        println!("| {name} | {:.2} | {:.2} |", amount / best, fastest / best);
    }
}

fn ours(threads: usize, unbounded: bool) -> Pool {
    let builder = Pool::builder().threads(threads);
    let built = if unbounded { builder.unbounded().build() } else { builder.queue(QUEUE).build() };
    match built {
        Ok(pool) => pool,
        Err(error) => panic!("{error}"),
    }
}

/// Submits empty tasks, giving way while the queue is full, and waits until all have run.
fn empty_tasks(pool: &Pool) {
    let until = pool.finished() + TASKS as u64;
    for _ in 0..TASKS {
        while pool.submit(|| ()).is_err() {
            std::thread::yield_now();
        }
    }
    while pool.finished() != until {
        std::thread::yield_now();
    }
}

fn rayon_pool(threads: usize) -> rayon::ThreadPool {
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool,
        Err(error) => panic!("{error}"),
    }
}

fn throughput(threads: usize) {
    let (bounded, unbounded, rayon) = (ours(threads, false), ours(threads, true), rayon_pool(threads));
    let pool = threadpool::ThreadPool::new(threads);
    let lines = [
        line("efio, 4096 places", true, || empty_tasks(&bounded)),
        line("efio, no bound", true, || empty_tasks(&unbounded)),
        line("rayon", false, || {
            rayon.in_place_scope(|scope| (0..TASKS).for_each(|_| scope.spawn(|_| ())));
        }),
        line("threadpool", false, || {
            (0..TASKS).for_each(|_| pool.execute(|| ()));
            pool.join();
        }),
    ];
    let title = format!("Empty tasks from one thread, {threads} workers");
    table(&title, "M tasks/s", TASKS as f64 / 1e6, &lines);
}

/// One task at a time: there, and its result back.
fn round_trips() {
    const TRIPS: usize = 20_000;
    let (pool, rayon) = (ours(2, false), rayon_pool(2));
    let rival = threadpool::ThreadPool::new(2);
    let lines = [
        line("efio, `submit_with` and `wait`", true, || {
            for trip in 0..TRIPS {
                let result = pool.submit_with(move || trip).map(|mut task| task.wait(None));
                assert!(result.is_ok_and(|result| result == Ok(trip)));
            }
        }),
        line("rayon, `install`", false, || {
            (0..TRIPS).for_each(|trip| assert_eq!(rayon.install(|| trip), trip));
        }),
        line("threadpool and a channel", false, || {
            for trip in 0..TRIPS {
                let (sender, receiver) = std::sync::mpsc::sync_channel(1);
                rival.execute(move || _ = sender.send(trip));
                assert_eq!(receiver.recv(), Ok(trip));
            }
        }),
    ];
    table("One task at a time and its result, 2 workers", "M trips/s", TRIPS as f64 / 1e6, &lines);
}

fn main() {
    [1, 2, 4].into_iter().for_each(throughput);
    round_trips();
}
