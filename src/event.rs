//! Event and Readiness: what your loop receives.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

use crate::error::Error;
use crate::fd::Fd;

/// What a file has news of: a set of flags.
///
/// Readiness is edge-like, as in mio: after a [`READABLE`](Self::READABLE) read until `WouldBlock`, after a
/// [`WRITABLE`](Self::WRITABLE) write until `WouldBlock`. Spurious events are allowed, lost ones are not.
///
/// ```
/// use efio::Readiness;
/// let both = Readiness::READABLE | Readiness::WRITABLE;
/// assert!(both.contains(Readiness::READABLE));
/// assert!(both.is_readable() && !both.is_closed());
/// assert_eq!(format!("{both:?}"), "READABLE | WRITABLE");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Readiness(u32);

impl Readiness {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The open is done: ask `ef_open_status`.
    pub const OPENED: Self = Self(1);
    /// A read that was refused is worth trying again.
    pub const READABLE: Self = Self(1 << 1);
    /// A write that was refused is worth trying again.
    pub const WRITABLE: Self = Self(1 << 2);
    /// A sync is done; the event's progress says up to which byte the file is durable.
    pub const SYNCED: Self = Self(1 << 3);
    /// A truncate, a preallocation or a seek from the end is done, or a queued metadata call has its answer.
    pub const DONE: Self = Self(1 << 4);
    /// The disk refuses the bytes for now (full, over quota, out of memory): they are kept and tried again.
    pub const STALLED: Self = Self(1 << 5);
    /// The disk takes the bytes again.
    pub const RESUMED: Self = Self(1 << 6);
    /// Something failed; the event carries the error.
    pub const ERROR: Self = Self(1 << 7);
    /// The file is closed. No event of this handle follows.
    pub const CLOSED: Self = Self(1 << 8);

    const NAMES: [(Self, &'static str); 9] = [
        (Self::OPENED, "OPENED"),
        (Self::READABLE, "READABLE"),
        (Self::WRITABLE, "WRITABLE"),
        (Self::SYNCED, "SYNCED"),
        (Self::DONE, "DONE"),
        (Self::STALLED, "STALLED"),
        (Self::RESUMED, "RESUMED"),
        (Self::ERROR, "ERROR"),
        (Self::CLOSED, "CLOSED"),
    ];

    pub(crate) const ALL_BITS: u32 = (1 << 9) - 1;

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL_BITS)
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// True when every flag of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when at least one flag of `other` is set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// True when no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Has [`OPENED`](Self::OPENED).
    #[must_use]
    pub const fn is_opened(self) -> bool {
        self.contains(Self::OPENED)
    }

    /// Has [`READABLE`](Self::READABLE).
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.contains(Self::READABLE)
    }

    /// Has [`WRITABLE`](Self::WRITABLE).
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.contains(Self::WRITABLE)
    }

    /// Has [`SYNCED`](Self::SYNCED).
    #[must_use]
    pub const fn is_synced(self) -> bool {
        self.contains(Self::SYNCED)
    }

    /// Has [`DONE`](Self::DONE).
    #[must_use]
    pub const fn is_done(self) -> bool {
        self.contains(Self::DONE)
    }

    /// Has [`STALLED`](Self::STALLED).
    #[must_use]
    pub const fn is_stalled(self) -> bool {
        self.contains(Self::STALLED)
    }

    /// Has [`RESUMED`](Self::RESUMED).
    #[must_use]
    pub const fn is_resumed(self) -> bool {
        self.contains(Self::RESUMED)
    }

    /// Has [`ERROR`](Self::ERROR).
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.contains(Self::ERROR)
    }

    /// Has [`CLOSED`](Self::CLOSED).
    #[must_use]
    pub const fn is_closed(self) -> bool {
        self.contains(Self::CLOSED)
    }
}

impl BitOr for Readiness {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Readiness {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for Readiness {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = " | ";
            }
        }
        if separator.is_empty() { f.write_str("NONE") } else { Ok(()) }
    }
}

/// What a task waits for: a set of flags, each in one of three directions.
///
/// | direction | flags |
/// | --- | --- |
/// | reading | `READABLE` |
/// | writing | `WRITABLE` |
/// | answers | `OPENED`, `SYNCED`, `DONE`, `STALLED`, `RESUMED`, `CLOSED` |
///
/// A file has one task waker for each direction, so that one task may read while another writes and a third waits for a
/// sync. See [`Efio::poll_ready`](crate::Efio::poll_ready).
///
/// ```
/// use efio::Interest;
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert_eq!(format!("{both:?}"), "READABLE | WRITABLE");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(Readiness);

impl Interest {
    /// A read that was refused is worth trying again.
    pub const READABLE: Self = Self(Readiness::READABLE);
    /// A write or a flush that was refused is worth trying again.
    pub const WRITABLE: Self = Self(Readiness::WRITABLE);
    /// The open is done.
    pub const OPENED: Self = Self(Readiness::OPENED);
    /// A sync is done.
    pub const SYNCED: Self = Self(Readiness::SYNCED);
    /// A request of the file, or a queued metadata call, is done.
    pub const DONE: Self = Self(Readiness::DONE);
    /// The disk refuses the bytes for now.
    pub const STALLED: Self = Self(Readiness::STALLED);
    /// The disk takes the bytes again.
    pub const RESUMED: Self = Self(Readiness::RESUMED);
    /// The file is closed; its answer waits for `ef_close_status`.
    pub const CLOSED: Self = Self(Readiness::CLOSED);

    pub(crate) const fn bits(self) -> u32 {
        self.0.bits()
    }
}

impl BitOr for Interest {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far the bytes of one file have got, all in bytes since the open. None of them ever goes back.
///
/// `accepted >= written >= durable` always holds.
///
/// ```
/// let progress = efio::Progress::default();
/// assert_eq!((progress.accepted, progress.written, progress.durable), (0, 0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Taken by `ef_write`: copied into a page.
    pub accepted: u64,
    /// Given to the kernel: every process can read them, and they survive the death of this one.
    pub written: u64,
    /// Made safe by a sync: they survive a loss of power.
    pub durable: u64,
    /// The size of the file as last seen, accepted bytes included.
    pub size: u64,
}

/// News of one file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    pub(crate) fd: Fd,
    pub(crate) token: u64,
    pub(crate) readiness: Readiness,
    pub(crate) error: Option<Error>,
    pub(crate) lost: u64,
    pub(crate) progress: Progress,
}

impl Event {
    /// The file, or the queued metadata call ([`Op::fd`](crate::Op::fd) names it likewise).
    #[must_use]
    pub fn fd(&self) -> Fd {
        self.fd
    }

    /// The token given to the open, 0 unless set.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.token
    }

    /// What there is news of.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness
    }

    /// The error, with [`Readiness::ERROR`]. On the closed event: the first one that nothing has healed since,
    /// whether it was shown before or not.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// On the closed event: how many accepted bytes never reached the file.
    #[must_use]
    pub fn bytes_lost(&self) -> u64 {
        self.lost
    }

    /// How far the file had got when the event was drained.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }
}

/// A buffer for events with a fixed capacity; what does not fit stays in the inbox, which wakes its consumer again.
///
/// ```
/// let efio = efio::Efio::new()?;
/// let mut events = efio::Events::with_capacity(64);
/// assert_eq!(efio.events(&mut events)?, 0);
/// for event in &events {
///     println!("{:?} {:?}", event.fd(), event.readiness());
/// }
/// # Ok::<(), efio::Error>(())
/// ```
#[derive(Debug)]
pub struct Events {
    list: Vec<Event>,
    capacity: usize,
}

impl Events {
    /// Room for `capacity` events at a time, at least one.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { list: Vec::with_capacity(capacity), capacity }
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    pub(crate) fn push(&mut self, event: Event) {
        debug_assert!(!self.is_full(), "the drain stops at the capacity");
        self.list.push(event);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= self.capacity
    }

    /// How many events the last drain brought.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True when the last drain brought none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The events of the last drain, oldest file first.
    pub fn iter(&self) -> std::slice::Iter<'_, Event> {
        self.list.iter()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = std::slice::Iter<'a, Event>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
