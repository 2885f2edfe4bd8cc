//! Tick: a loop's timer of one millisecond, and how late it was looked at; and the loop's sleep.
#![allow(unsafe_code, reason = "ppoll and eventfd have no safe wrapper here")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::time::{Duration, Instant};

use crate::histogram::Histogram;

const PERIOD: Duration = Duration::from_millis(1);

/// The timer of one loop.
#[derive(Debug)]
pub struct Tick {
    due: Instant,
    /// How late it was, in nanoseconds.
    pub late: Histogram,
}

impl Tick {
    /// First due in a millisecond.
    pub fn new() -> Self {
        Self { due: Instant::now() + PERIOD, late: Histogram::default() }
    }

    /// Looks whether it is due; each millisecond that was missed counts for itself.
    pub fn look(&mut self) {
        let now = Instant::now();
        while now >= self.due {
            self.late.add((now - self.due).as_nanos() as u64);
            self.due += PERIOD;
        }
    }

    /// Sleeps until the descriptor is readable or the tick is due.
    pub fn sleep(&self, descriptor: RawFd) {
        let left = self.due.saturating_duration_since(Instant::now());
        let time = libc::timespec { tv_sec: 0, tv_nsec: left.as_nanos() as i64 };
        let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        // SAFETY: both structures live through the call.
        unsafe { libc::ppoll(&raw mut poll, 1, &raw const time, std::ptr::null()) };
    }

    /// Microseconds that `part` of the ticks were late at most.
    pub fn late_us(&self, part: f64) -> f64 {
        self.late.quantile(part) as f64 / 1e3
    }
}

/// A descriptor by which the threads of a peer wake its loop.
#[derive(Debug)]
pub struct Bell(File);

impl Bell {
    /// A silent one.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes integers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { File::from_raw_fd(descriptor) }))
    }

    /// Wakes the loop.
    pub fn ring(&self) -> io::Result<()> {
        (&self.0).write_all(&1_u64.to_ne_bytes())
    }

    /// Is silent again.
    pub fn silence(&self) {
        // Nothing to read means that it is silent already.
        let _ = (&self.0).read(&mut [0; 8]);
    }

    /// For the sleep.
    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
