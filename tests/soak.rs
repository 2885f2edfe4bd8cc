//! Soak: one module in one process under mixed work and faults; its memory, threads and descriptors stay, its books balance.
//!
//! Clients upload, copy, append to one log and open what is not there, some thousand files a minute, while a disk in memory
//! fills up and empties, a FUSE file system fails and hangs, and the limit of file sizes comes and goes. Every few seconds
//! all of it comes to rest, and everything is counted: each file's bytes were accounted for when it was closed; now no
//! descriptor and no thread is there that was not before, and after a warm-up the memory no longer grows.
//!
//! A few seconds by default; `EFIO_SOAK_SECONDS=1800 cargo test --release --test soak` for half an hour, which is what
//! `cargo xtask long --only soak` does. `EFIO_SOAK_SEED` chooses what happens.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "soak/client.rs"]
mod client;
#[path = "support/fuse.rs"]
mod fuse;
#[path = "soak/log.rs"]
mod log;
mod support;
#[path = "soak/weather.rs"]
mod weather;

use std::time::{Duration, Instant};

use client::{Client, Tally};
use efio::{Efio, Events};
use log::Log;
use weather::{Places, Weather};

/// Clients at work at the same time.
const CLIENTS: usize = 48;
/// The module's pages, in bytes.
const MEMORY: usize = 16 << 20;
/// The module's threads.
const THREADS: usize = 16;
/// From one rest to the next.
const STRETCH: Duration = Duration::from_secs(5);
/// Longer than anything takes to come to rest: beyond it something hangs.
const HANGS: Duration = Duration::from_secs(60);
/// How far the memory may lie above the most that the warm-up came to, in KiB: what the allocators keep.
const SPARE_KIB: u64 = 24 << 10;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Numbers that look like nothing in particular.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// What the process takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gauge {
    memory_kib: u64,
    threads: usize,
    descriptors: usize,
}

impl Gauge {
    fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Self {
            memory_kib: memory.split_whitespace().next().unwrap().parse().unwrap(),
            threads: std::fs::read_dir("/proc/self/task").unwrap().count(),
            // One of them is the folder that is just read.
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count() - 1,
        }
    }
}

/// The module, those who use it, and what is kept of them.
struct Soak {
    efio: Efio,
    events: Events,
    clients: Vec<Client>,
    log: Log,
    weather: Weather,
    tally: Tally,
}

impl Soak {
    /// Works for a stretch, with whatever weather there is.
    fn work(&mut self, until: Instant) {
        while Instant::now() < until {
            self.weather.change();
            self.begin();
            self.take_news();
        }
    }

    fn begin(&mut self) {
        for client in &mut self.clients {
            client.begin(&self.efio);
        }
        self.log.write(&self.efio);
    }

    fn take_news(&mut self) {
        self.efio.wait(&mut self.events, Some(Duration::from_millis(2))).unwrap();
        for event in &self.events {
            match usize::try_from(event.token()).ok().and_then(|place| self.clients.get_mut(place)) {
                Some(client) => client.news(&self.efio, event, &mut self.tally),
                None => self.log.news(&self.efio, event),
            }
        }
    }

    /// The sky clears, nobody begins anything, and all that was begun ends.
    fn rest(&mut self) {
        self.weather.clear();
        let begun = Instant::now();
        self.log.close(&self.efio);
        while self.clients.iter().any(Client::is_busy) || !self.log.is_closed() {
            self.take_news();
            // What is refused is asked again by its event; this is for those in the middle of a step.
            self.clients.iter_mut().for_each(|client| client.go_on(&self.efio));
            if begun.elapsed() > HANGS {
                let states = self.clients.iter().filter(|client| client.is_busy());
                let busy: Vec<_> = states.map(|client| client.state(&self.efio)).collect();
                panic!("does not come to rest: {busy:?}, {:?}, {:?}", self.log, self.efio);
            }
        }
        self.log.check();
    }

    /// Counts descriptors and threads, which other threads may still be giving back.
    fn gauge(&self, descriptors: usize, threads: usize) -> Gauge {
        let begun = Instant::now();
        loop {
            let gauge = Gauge::read();
            if gauge.descriptors == descriptors && gauge.threads <= threads {
                return gauge;
            }
            assert!(
                begun.elapsed() < HANGS,
                "{gauge:?}, and it was to be {descriptors} and {threads} at most"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_module_under_mixed_work_and_faults_keeps_its_size_and_balances_its_books() {
    let length = Duration::from_secs(setting("EFIO_SOAK_SECONDS", 4));
    let seed = setting("EFIO_SOAK_SEED", 1);
    let places = Places::new();
    let builder = Efio::builder().memory_limit(MEMORY).file_memory_limit(1 << 20).threads_limit(THREADS);
    let builder = builder.flush_interval(Duration::from_millis(20));
    let efio = builder.close_deadline(Duration::from_millis(200)).build().unwrap();
    let clients = (0..CLIENTS).map(|number| Client::new(number, seed, &places)).collect();
    let mut soak = Soak {
        events: Events::with_capacity(256),
        clients,
        log: Log::new(places.folder(), CLIENTS as u64),
        weather: Weather::new(seed, places.clone()),
        tally: Tally::default(),
        efio,
    };
    let begun = Instant::now();
    let stretch = STRETCH.min(length / 4);
    let (mut gauges, mut warm) = (Vec::new(), 0);
    let before = Gauge::read();
    // The timer and the first thread are there already; a FUSE session may start another of its own.
    let threads = before.threads + THREADS;
    while begun.elapsed() < length {
        soak.work(Instant::now() + stretch);
        soak.rest();
        let gauge = soak.gauge(before.descriptors, threads);
        if begun.elapsed() < length / 4 || gauges.len() < 2 {
            warm = warm.max(gauge.memory_kib);
        } else {
            assert!(
                gauge.memory_kib <= warm + SPARE_KIB,
                "it grows: {gauge:?}, warm at {warm} KiB, {gauges:?}"
            );
        }
        gauges.push(gauge);
    }
    let last = gauges.last().copied().unwrap();
    soak.efio.shutdown(HANGS).unwrap();
    let Tally { files, bytes, lost, refused, .. } = soak.tally;
    assert!(files > 20 && bytes > 1 << 20, "{:?}", soak.tally);
    println!("soak: {files} files, {} MiB, {lost} bytes lost and told, {refused} opens refused", bytes >> 20);
    println!(
        "soak: memory {warm} KiB warm, {} KiB at the end, {} threads, {} descriptors, {} rests",
        last.memory_kib,
        last.threads,
        last.descriptors,
        gauges.len()
    );
    places.say_what_was_missing();
}
