//! The state words of one slot: bits, pictures, transitions; the only place that touches these atomics.
//!
//! ```text
//! State    generation:32 | flags:24 | phase:8        who the slot belongs to, and what it is allowed to do
//!
//!   FREE ──claim──► OPENING ──opened──► OPEN ──close──► CLOSING ──finished──► CLOSED ──answer taken──► FREE
//!                      └────────────── close ─────────────▲                     ▲
//!                      └────────────── open failed ─────────────────────────────┘
//!
//! Mail     hints for the slot's actor | SCHEDULED    at most one thread polls a slot, and at most one entry of it waits
//! Pending  events, their inbox | QUEUED | TAKEN | …   a slot is in one inbox's list, once; the last answer goes to one
//! Want     who was refused, and for what             each refusal is answered by one event
//! Armed    whether the timer knows that the file is dirty; it outlives the file, as the timer's entry does
//! ```
//!
//! Every transition is one read-modify-write, so each word has one order of changes that all threads agree on.

use crate::fd::Fd;
use crate::sync::{AtomicU16, AtomicU32, AtomicU64, Ordering};

mod pending;

pub(crate) use pending::{DIRECTIONS, DrainEnd, LastAnswer, Pending, Raised, Rebound};

/// Where a slot stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Free = 0,
    Opening = 1,
    Open = 2,
    Closing = 3,
    Closed = 4,
    /// A queued metadata call rather than a file.
    Op = 5,
}

/// The flags of a state word.
pub(crate) mod flag {
    /// The file may be read.
    pub(crate) const READ: u64 = 1 << 8;
    /// The file may be written.
    pub(crate) const WRITE: u64 = 1 << 9;
    /// Writes go to the end, wherever it is.
    pub(crate) const APPEND: u64 = 1 << 10;
    /// An owning `File` has the two sides to itself.
    pub(crate) const OWNED: u64 = 1 << 11;
    /// The first error stands: nothing more is accepted.
    pub(crate) const POISONED: u64 = 1 << 12;
    /// The module is ending: nothing more is accepted.
    pub(crate) const ENDING: u64 = 1 << 13;
    /// Every write is flushed at once.
    pub(crate) const EAGER: u64 = 1 << 14;
    /// The shared offset of a read-write file belongs to the write side at present.
    pub(crate) const WRITING: u64 = 1 << 15;
    /// A first try without waiting is allowed on this file system.
    pub(crate) const NOWAIT: u64 = 1 << 16;
    /// Unwritten bytes are dropped and a staged file is removed.
    pub(crate) const ABORT: u64 = 1 << 17;
    /// The file is staged: an explicit close publishes it.
    pub(crate) const ATOMIC: u64 = 1 << 18;
    /// An explicit close was asked for, so an atomic file is to be published.
    pub(crate) const PUBLISH: u64 = 1 << 19;
    /// The open failed; the first error says why.
    pub(crate) const FAILED: u64 = 1 << 20;
    /// The bytes in the file, as last asked for, have not been used by a seek yet.
    pub(crate) const SIZE_KNOWN: u64 = 1 << 21;
    /// The file was cut: what the window read ahead of that is to be dropped.
    pub(crate) const STALE_WINDOW: u64 = 1 << 23;
    /// The disk refuses the bytes for now.
    pub(crate) const STALLED: u64 = 1 << 22;
    /// The timer makes durable what is written, too.
    pub(crate) const TIMED: u64 = 1 << 24;
    /// Written pages are kept until they are durable.
    pub(crate) const RETAIN: u64 = 1 << 25;
    /// Its reads and writes are to leave nothing in the page cache.
    pub(crate) const UNCACHED: u64 = 1 << 26;
}

/// One reading of a [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

impl Snapshot {
    #[inline]
    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(crate) const fn phase(self) -> Phase {
        match self.0 & 0xff {
            1 => Phase::Opening,
            2 => Phase::Open,
            3 => Phase::Closing,
            4 => Phase::Closed,
            5 => Phase::Op,
            _ => Phase::Free,
        }
    }

    #[inline]
    pub(crate) const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    /// The handle's file is still the one in the slot.
    #[inline]
    pub(crate) const fn is(self, fd: Fd) -> bool {
        self.generation() == fd.generation() && !matches!(self.phase(), Phase::Free)
    }

    /// The file reads and writes by one offset.
    #[inline]
    pub(crate) const fn shares_offset(self) -> bool {
        self.0 & (flag::READ | flag::WRITE | flag::APPEND) == flag::READ | flag::WRITE
    }

    /// Of the flags in `among`, exactly those in `wanted` are set.
    #[inline]
    pub(crate) const fn is_exactly(self, wanted: u64, among: u64) -> bool {
        self.0 & among == wanted
    }

    /// Nothing has changed for an owning `File` that reads: the file is open, its own, readable, and as it was filled.
    #[inline]
    pub(crate) const fn owner_reads_on(self) -> bool {
        const ON: u64 = flag::READ | flag::OWNED | Phase::Open as u64;
        self.0 & (0xff | ON | flag::WRITING | flag::POISONED | flag::STALE_WINDOW) == ON
    }

    /// The file takes writes by descriptor, as far as its flags go.
    #[inline]
    pub(crate) const fn takes_from_threads(self) -> bool {
        const ON: u64 = flag::WRITE | Phase::Open as u64;
        self.0 & (0xff | ON | flag::OWNED | flag::POISONED | flag::ENDING) == ON
    }

    const fn with_phase(self, phase: Phase) -> Self {
        Self(self.0 & !0xff | phase as u64)
    }
}

/// What a close found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum CloseStart {
    /// This caller began it.
    Begun,
    /// It had begun before.
    Already,
    /// An owning `File` has the file.
    Owned,
    /// The handle's file is gone.
    Stale,
}

/// Whose slot it is, and what it may do.
#[derive(Debug)]
pub(crate) struct State(AtomicU64);

impl State {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    pub(crate) fn load(&self) -> Snapshot {
        // ORDER: Acquire pairs with the Release half of every transition below.
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// A look at the flags on the hot path; what depends on more is read again with `load`.
    #[inline]
    pub(crate) fn glance(&self) -> Snapshot {
        // ORDER: Relaxed: the flags that stop a hot path are also set where its slow path meets them (a sealed cell).
        Snapshot(self.0.load(Ordering::Relaxed))
    }

    fn change(&self, mut to: impl FnMut(Snapshot) -> Option<Snapshot>) -> Result<Snapshot, Snapshot> {
        let mut seen = self.load();
        loop {
            let Some(next) = to(seen) else { return Err(seen) };
            // ORDER: AcqRel: each transition sees the one before it and publishes what was written ahead of it.
            match self.0.compare_exchange_weak(seen.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(seen),
                Err(now) => seen = Snapshot(now),
            }
        }
    }

    /// FREE → OPENING or Op, by the one caller that claimed the slot of the table. Gives the new generation.
    pub(crate) fn begin(&self, phase: Phase, flags: u64) -> u32 {
        let generation = self.load().generation();
        // The claim excludes every other transition, so this cannot fail.
        let done = self.change(|_| Some(Snapshot(u64::from(generation) << 32 | flags | phase as u64)));
        debug_assert!(done.is_ok_and(|before| before.phase() == Phase::Free), "a claimed slot is free");
        generation
    }

    /// OPENING → OPEN with the flags that the open found; false when it is being closed already.
    pub(crate) fn opened(&self, flags: u64) -> bool {
        self.change(|seen| match seen.phase() {
            Phase::Opening => Some(Snapshot(seen.with_phase(Phase::Open).0 | flags)),
            Phase::Closing => Some(Snapshot(seen.0 | flags)),
            _ => None,
        })
        .is_ok_and(|before| before.phase() == Phase::Opening)
    }

    /// OPENING or OPEN → CLOSING, with further flags.
    pub(crate) fn close(&self, fd: Fd, flags: u64, owner: bool) -> CloseStart {
        let change = self.change(|seen| {
            let may = seen.is(fd) && matches!(seen.phase(), Phase::Opening | Phase::Open);
            let next = Snapshot(seen.with_phase(Phase::Closing).0 & !flag::OWNED | flags);
            (may && (owner || !seen.has(flag::OWNED))).then_some(next)
        });
        match change {
            Ok(_) => CloseStart::Begun,
            Err(seen) if !seen.is(fd) || seen.phase() == Phase::Op => CloseStart::Stale,
            Err(seen) if matches!(seen.phase(), Phase::Opening | Phase::Open) => CloseStart::Owned,
            Err(_) => CloseStart::Already,
        }
    }

    /// → CLOSED, by the actor.
    pub(crate) fn finish(&self, flags: u64) {
        let done = self.change(|seen| Some(Snapshot(seen.with_phase(Phase::Closed).0 | flags)));
        debug_assert!(done.is_ok(), "nothing refuses to finish");
    }

    /// CLOSED or Op → FREE with the next generation, by the one that took the last answer.
    pub(crate) fn free(&self) {
        let done = self.change(|seen| Some(Snapshot(u64::from(seen.generation().wrapping_add(1)) << 32)));
        debug_assert!(done.is_ok(), "nothing refuses to be freed");
    }

    /// Sets flags; gives the word as it was.
    pub(crate) fn set(&self, flags: u64) -> Snapshot {
        // ORDER: AcqRel: publishes what led to the flags; pairs with `load`.
        Snapshot(self.0.fetch_or(flags, Ordering::AcqRel))
    }

    /// Clears flags; gives the word as it was.
    pub(crate) fn clear(&self, flags: u64) -> Snapshot {
        // ORDER: AcqRel: as in `set`.
        Snapshot(self.0.fetch_and(!flags, Ordering::AcqRel))
    }

    /// Clears flags of a live file of this handle only; false when it is another, or ends.
    pub(crate) fn clear_if(&self, fd: Fd, flags: u64) -> bool {
        self.change(|seen| {
            let may = seen.is(fd) && matches!(seen.phase(), Phase::Opening | Phase::Open);
            may.then_some(Snapshot(seen.0 & !flags))
        })
        .is_ok()
    }

    /// Sets flags on a live file of this handle only; gives the word as it was.
    pub(crate) fn set_if(&self, fd: Fd, flags: u64, absent: u64) -> Result<Snapshot, Snapshot> {
        self.change(|seen| {
            let may =
                seen.is(fd) && matches!(seen.phase(), Phase::Opening | Phase::Open) && !seen.has(absent);
            may.then_some(Snapshot(seen.0 | flags))
        })
    }
}

/// The hints that the actor of a slot gets.
pub(crate) mod mail {
    pub(crate) const OPEN: u32 = 1;
    /// A page is sealed and complete.
    pub(crate) const PAGE: u32 = 1 << 1;
    /// What is accepted now is to be written.
    pub(crate) const FLUSH: u32 = 1 << 2;
    pub(crate) const SYNC: u32 = 1 << 3;
    pub(crate) const FILL: u32 = 1 << 4;
    pub(crate) const META: u32 = 1 << 5;
    pub(crate) const CLOSE: u32 = 1 << 6;
    /// A job is done; its `Done` is in the slot's list.
    pub(crate) const DONE: u32 = 1 << 7;
    /// The flush timer is due, or a retry.
    pub(crate) const TIMER: u32 = 1 << 8;
    /// Nothing was written for a while: the open page is to go back.
    pub(crate) const IDLE: u32 = 1 << 9;
    /// A write was refused by the file's limit while pages are kept until a sync.
    pub(crate) const SQUEEZE: u32 = 1 << 10;
    pub(super) const SCHEDULED: u32 = 1 << 31;
}

/// Who polls the slot, and why.
#[derive(Debug)]
pub(crate) struct Mail(AtomicU32);

impl Mail {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Adds hints. True: the slot was at rest, and this caller must see to it that it is polled.
    #[must_use]
    pub(crate) fn post(&self, hints: u32) -> bool {
        // ORDER: Release publishes what the hints are about to `take`; Acquire lets a poster that now holds the
        // right to poll see what the last holder left (`rest`).
        self.0.fetch_or(hints | mail::SCHEDULED, Ordering::AcqRel) & mail::SCHEDULED == 0
    }

    /// The holder of the right to poll takes the hints that came since.
    pub(crate) fn take(&self) -> u32 {
        // ORDER: AcqRel: pairs with `post`.
        self.0.swap(mail::SCHEDULED, Ordering::AcqRel) & !mail::SCHEDULED
    }

    /// The holder lets go; false when hints came meanwhile, and it still holds the right.
    #[must_use]
    pub(crate) fn rest(&self) -> bool {
        // ORDER: Release hands the slot's control to the next holder's `post`; Relaxed on failure: `take` follows.
        self.0.compare_exchange(mail::SCHEDULED, 0, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

/// The refusals that are owed an event: at most 16 bits.
pub(crate) mod want {
    /// A write was refused.
    pub(crate) const WRITE: u32 = 1;
    /// A read was refused because the write side was being moved.
    pub(crate) const READ: u32 = 1 << 1;
    /// The slot waits in the queue for pages.
    pub(crate) const PAGE: u32 = 1 << 2;
    /// The actor waits for a page to fill.
    pub(crate) const FILL: u32 = 1 << 3;
    /// A write was refused because another thread was at work with the cells.
    pub(crate) const TURN: u32 = 1 << 5;
    /// A write or a seek was refused because the append end was lent.
    pub(crate) const LEND: u32 = 1 << 6;
    /// A page is kept for the slot.
    pub(crate) const PROMISED: u32 = 1 << 8;
    /// The slot is among those who were told that a page is kept for them.
    pub(crate) const TOLD: u32 = 1 << 9;
    /// The actor waits for a cell that somebody is opening, to shut it.
    pub(crate) const SHUT: u32 = 1 << 4;
}

/// Who was refused.
///
/// The refuser sets its bit and then looks again; whoever makes room does so and then takes the bits. Both are
/// read-modify-writes of one word, so whichever comes second sees the other: either the refuser finds the room, or
/// the bit is found.
#[derive(Debug)]
pub(crate) struct Want(AtomicU16);

impl Want {
    pub(crate) fn new() -> Self {
        Self(AtomicU16::new(0))
    }

    /// Sets bits; true when none of them was set before. Whatever it says, the caller looks again.
    pub(crate) fn set(&self, bits: u32) -> bool {
        // ORDER: AcqRel: after the `take` before it (whose room is then visible), or before the next one.
        self.0.fetch_or(bits as u16, Ordering::AcqRel) & bits as u16 == 0
    }

    /// Whether one of `bits` is set now.
    pub(crate) fn has(&self, bits: u32) -> bool {
        // ORDER: Acquire pairs with `set`.
        u32::from(self.0.load(Ordering::Acquire)) & bits != 0
    }

    /// Takes those of `bits` that are set.
    pub(crate) fn take(&self, bits: u32) -> u32 {
        // ORDER: AcqRel: publishes the room that was made; pairs with `set`.
        u32::from(self.0.fetch_and(!bits as u16, Ordering::AcqRel)) & bits
    }
}

/// The timer knows that the file is dirty.
const ARMED: u16 = 1;
/// The slot stands in the dirty list, and the timer has not stamped it yet.
const LISTED: u16 = 1 << 1;

/// What arming asks of the one who armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Arming {
    /// Nothing: it was armed.
    Already,
    /// It stands in the dirty list since before; the timer may have to be woken.
    Listed,
    /// Put it on the dirty list.
    Push,
}

/// Whether the timer has the slot on its list.
#[derive(Debug)]
pub(crate) struct Armed(AtomicU16);

impl Armed {
    pub(crate) fn new() -> Self {
        Self(AtomicU16::new(0))
    }

    /// The hot path's look, after its bytes are published and a light fence.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        // ORDER: Relaxed behind `light_fence`; pairs with `disarm` + `heavy_fence` in the timer: either this sees the
        // flag lowered, or the timer's second look sees the bytes.
        self.0.load(Ordering::Relaxed) & ARMED != 0
    }

    /// Arms, unless it is armed.
    pub(crate) fn arm(&self) -> Arming {
        // ORDER: Relaxed: a first guess, checked by the exchange.
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            if seen & ARMED != 0 {
                return Arming::Already;
            }
            // ORDER: AcqRel: one of several arms; ordered after the `disarm` and the `stamped` before it.
            match self.0.compare_exchange_weak(seen, ARMED | LISTED, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if seen & LISTED != 0 => return Arming::Listed,
                Ok(_) => return Arming::Push,
                Err(now) => seen = now,
            }
        }
    }

    /// The timer has taken the slot off the dirty list, whose link is free for the next `arm`.
    pub(crate) fn stamped(&self) {
        // ORDER: AcqRel: pairs with `arm`.
        self.0.fetch_and(!LISTED, Ordering::AcqRel);
    }

    /// The timer, which has just disarmed the slot, keeps it after all; false: a writer was first.
    #[must_use]
    pub(crate) fn rearm(&self) -> bool {
        // ORDER: AcqRel: one of several arms.
        self.0.fetch_or(ARMED, Ordering::AcqRel) & ARMED == 0
    }

    /// The timer forgets the slot; a heavy fence and a second look follow. It may have a further stamp of a slot that went
    /// from one file to the next, so the slot may stand in the dirty list at this moment, and stays marked so.
    pub(crate) fn disarm(&self) {
        // ORDER: AcqRel: before the next `arm`.
        self.0.fetch_and(!ARMED, Ordering::AcqRel);
    }
}
