//! The tick: a timer of 1 ms in the loop, and how late the loop ever came to it.
//!
//! This is how a stall is seen: a loop that waits for a disk, even once, is late by as much. The timer is a
//! descriptor in the loop's own poll, for epoll's timeout counts in whole milliseconds; lateness is taken from the
//! clock, whenever the loop looks.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use mio::Registry;

const PERIOD: Duration = Duration::from_millis(1);

/// The timer and what was seen of it.
#[derive(Debug)]
pub struct Tick {
    source: source::Source,
    next: Instant,
    lateness: Histogram,
}

impl Tick {
    /// Starts the timer; `registry` learns of it under `token`.
    ///
    /// # Errors
    /// The system's own, when it gives no timer.
    pub fn start(registry: &Registry, token: mio::Token) -> io::Result<Self> {
        // Taken before the timer starts: an expiry that came before `next` would find nothing due.
        let next = Instant::now() + PERIOD;
        let source = source::Source::start(registry, token, PERIOD)?;
        Ok(Self { source, next, lateness: Histogram::default() })
    }

    /// The timer's descriptor is readable.
    pub fn on_edge(&self) {
        self.source.drain();
    }

    /// The loop is free to see to its timers: takes down how late it is, if a tick is due.
    pub fn look(&mut self, now: Instant) {
        let Some(late) = now.checked_duration_since(self.next) else { return };
        self.lateness.add(late);
        // Ticks that fell into the same delay are not counted again: a tick is one look that was due.
        let periods = u32::try_from(late.as_nanos() / PERIOD.as_nanos()).unwrap_or(u32::MAX - 1);
        self.next += PERIOD * (periods + 1);
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = &self.lateness;
        write!(
            f,
            "ticks {}, late by p50 {} us, p99 {} us, p99.9 {} us, worst {} us",
            late.count,
            late.quantile(0.5).as_micros(),
            late.quantile(0.99).as_micros(),
            late.quantile(0.999).as_micros(),
            late.worst.as_micros()
        )
    }
}

/// Durations counted in classes that are at most 1/16 wide.
#[derive(Debug)]
struct Histogram {
    classes: Vec<u64>,
    count: u64,
    worst: Duration,
}

const STEPS: u64 = 16;
const CLASSES: usize = 64 * 16;

impl Default for Histogram {
    fn default() -> Self {
        Self { classes: vec![0; CLASSES], count: 0, worst: Duration::ZERO }
    }
}

impl Histogram {
    fn add(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(class) = self.classes.get_mut(class_of(nanoseconds)) {
            *class += 1;
        }
        self.count += 1;
        self.worst = self.worst.max(duration);
    }

    /// The duration that the given share of all stays within: the upper end of its class, or the worst.
    fn quantile(&self, share: f64) -> Duration {
        let rank = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (class, count) in self.classes.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_end(class)).min(self.worst);
            }
        }
        self.worst
    }
}

/// Below 16 each number has a class; above, each power of two has 16.
fn class_of(number: u64) -> usize {
    let class = match number.checked_ilog2() {
        None | Some(0..4) => number,
        Some(power) => u64::from(power - 3) * STEPS + ((number >> (power - 4)) & (STEPS - 1)),
    };
    usize::try_from(class).unwrap_or(CLASSES - 1)
}

fn upper_end(class: usize) -> u64 {
    let class = class as u64;
    match class / STEPS {
        0 => class,
        group => {
            let width = 1u64 << (group - 1);
            ((STEPS + class % STEPS) * width).saturating_add(width - 1)
        }
    }
}

#[cfg(target_os = "linux")]
mod source {
    //! A timerfd: exact, and in the poll like any socket.

    use std::io;
    use std::os::fd::{AsFd, AsRawFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

    /// The timer's descriptor.
    #[derive(Debug)]
    pub struct Source(TimerFd);

    impl Source {
        /// A timer that comes again every `period`.
        pub fn start(registry: &Registry, token: Token, period: Duration) -> io::Result<Self> {
            let timer =
                TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
            timer.set(Expiration::Interval(period.into()), TimerSetTimeFlags::empty())?;
            registry.register(&mut SourceFd(&timer.as_fd().as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self(timer))
        }

        /// Takes the expirations, so that the next one is an edge again.
        pub fn drain(&self) {
            // `WouldBlock`: taken already.
            let _ = self.0.wait();
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod source {
    //! Elsewhere nothing wakes the loop for a tick: lateness is only seen while the loop is awake.

    use std::io;
    use std::time::Duration;

    use mio::{Registry, Token};

    /// No timer.
    #[derive(Debug)]
    pub struct Source;

    impl Source {
        /// Nothing to start.
        pub fn start(_: &Registry, _: Token, _: Duration) -> io::Result<Self> {
            Ok(Self)
        }

        /// Nothing to take.
        pub fn drain(&self) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_every_number_without_gaps() {
        let mut last = 0;
        for number in (0..100_000).chain((17..64).flat_map(|power| [(1u64 << power) - 1, 1 << power])) {
            let class = class_of(number);
            assert!(class >= last && class < CLASSES, "{number}");
            assert!(upper_end(class) >= number && upper_end(class) <= number + number / 16, "{number}");
            last = class;
        }
        assert!(class_of(u64::MAX) < CLASSES);
    }

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        let mut histogram = Histogram::default();
        for number in 1..=1000 {
            histogram.add(Duration::from_micros(number));
        }
        let micros = |share| histogram.quantile(share).as_micros();
        assert!((500..=532).contains(&micros(0.5)), "{}", micros(0.5));
        assert!((990..=1000).contains(&micros(0.99)), "{}", micros(0.99));
        assert_eq!((micros(1.0), histogram.worst.as_micros()), (1000, 1000));
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn a_late_look_is_one_late_tick() {
        let start = Instant::now();
        let poll = mio::Poll::new().expect("a poll");
        let mut tick = Tick::start(poll.registry(), mio::Token(0)).expect("a timer");
        tick.next = start + PERIOD;
        tick.look(start);
        assert_eq!(tick.lateness.count, 0);
        tick.look(start + Duration::from_micros(5500));
        assert_eq!((tick.lateness.count, tick.lateness.worst), (1, Duration::from_micros(4500)));
        assert_eq!(tick.next, start + Duration::from_millis(6));
        assert!(tick.to_string().starts_with("ticks 1, late by p50 4500 us"), "{tick}");
    }
}
