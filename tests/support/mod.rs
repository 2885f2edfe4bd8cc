//! What several tests share: a small loop that waits for one piece of news, children, and saying why a test cannot run.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::fmt::Display;
use std::process::Command;
use std::time::{Duration, Instant};

use efio::{Efio, Error, Event, Events, Fd, OpenOptions, Readiness};

/// Longer than anything here takes; only a test that fails ever waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Says why a test cannot prove its claim here; the tally counts it as skipped.
pub fn skip(reason: impl Display) {
    println!("skipped: {reason}");
}

/// Bytes that look like nothing in particular, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Waits until `is` is true.
pub fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// This test binary again, running one test, with a variable set that tells it that it is the child.
pub fn child(test: &str, variable: &str, value: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test binary"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(variable, value);
    command
}

/// A module and the news of its files that nobody has asked for yet.
pub struct Loop {
    pub efio: Efio,
    events: Events,
    kept: Vec<(Event, Readiness)>,
}

impl Loop {
    pub fn new(efio: Efio) -> Self {
        Self { efio, events: Events::with_capacity(256), kept: Vec::new() }
    }

    /// Takes the news there is, waiting for it for a moment.
    pub fn gather(&mut self, timeout: Duration) {
        self.efio.wait(&mut self.events, Some(timeout)).expect("the wait is this thread's");
        self.kept.extend(self.events.iter().map(|event| (event.clone(), event.readiness())));
    }

    /// The first news of `fd` with any of `wanted`, which is used up by this.
    pub fn look_for(&mut self, fd: Fd, wanted: Readiness) -> Option<Event> {
        let place = self.kept.iter().position(|(event, left)| event.fd() == fd && left.intersects(wanted))?;
        let event = self.kept[place].0.clone();
        self.kept[place].1 = self.kept[place].1 - wanted;
        if self.kept[place].1.is_empty() {
            self.kept.remove(place);
        }
        Some(event)
    }

    /// Waits for news of `fd` with any of `wanted`.
    pub fn until(&mut self, fd: Fd, wanted: Readiness) -> Event {
        let start = Instant::now();
        loop {
            if let Some(event) = self.look_for(fd, wanted) {
                return event;
            }
            assert!(start.elapsed() < PATIENCE, "{fd} has no {wanted:?}; there is {:?}", self.kept);
            self.gather(Duration::from_millis(100));
        }
    }

    /// Opens a file and waits for it; a refused open is its error.
    pub fn open(&mut self, path: impl AsRef<std::path::Path>, options: &OpenOptions) -> Result<Fd, Error> {
        let fd = self.efio.ef_open(path, options)?;
        let event = self.until(fd, Readiness::OPENED);
        event.error().cloned().map_or(Ok(fd), Err)
    }

    /// Writes all of `bytes`, waiting for room where there is none.
    pub fn write(&mut self, fd: Fd, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.efio.ef_write(fd, bytes) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if error.is_would_block() => {
                    self.until(fd, Readiness::WRITABLE | Readiness::ERROR);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One read that has an answer: bytes, or none at the end.
    pub fn read_some(&mut self, fd: Fd, into: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.efio.ef_read(fd, into) {
                Err(error) if error.is_would_block() => {
                    self.until(fd, Readiness::READABLE);
                }
                answer => return answer,
            }
        }
    }

    /// Reads to the end.
    pub fn read(&mut self, fd: Fd) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        let mut part = vec![0; 70_000];
        loop {
            match self.read_some(fd, &mut part)? {
                0 => return Ok(all),
                bytes => all.extend_from_slice(&part[..bytes]),
            }
        }
    }

    /// Seeks, waiting for the size where that is needed.
    pub fn seek(&mut self, fd: Fd, to: std::io::SeekFrom) -> Result<u64, Error> {
        loop {
            match self.efio.ef_seek(fd, to) {
                Err(error) if error.is_would_block() => self.gather(Duration::from_millis(1)),
                answer => return answer,
            }
        }
    }

    /// Makes everything accepted durable.
    pub fn sync(&mut self, fd: Fd) -> Result<(), Error> {
        self.efio.ef_sync(fd)?;
        let event = self.until(fd, Readiness::SYNCED);
        event.error().cloned().map_or(Ok(()), Err)
    }

    /// Closes and gives the closed event.
    pub fn close(&mut self, fd: Fd) -> Event {
        self.efio.ef_close(fd).expect("the handle is good");
        self.until(fd, Readiness::CLOSED)
    }
}

/// A module on a simulated disk whose page cache is empty, so that each first read is refused.
#[cfg(feature = "sim")]
pub fn simulated() -> (efio::sim::Sim, Efio) {
    let options = efio::sim::SimOptions { nowait_per_mille: 0, ..Default::default() };
    let sim = efio::sim::Sim::with_options(7, options);
    let efio = Efio::builder().sim(&sim).build().unwrap();
    (sim, efio)
}

/// Steps a simulated module until nothing is left to do.
#[cfg(feature = "sim")]
pub fn run(efio: &Efio) {
    while efio.step() {}
}
