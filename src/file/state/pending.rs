//! Pending: the events of a slot that nobody has taken yet, and who gets the last one.
//!
//! ```text
//! word   tag of the generation:16 | OP | QUEUED | TAKEN | WAITER | DELIVERED | event bits:9
//!
//!   raise   adds bits; who finds QUEUED down puts the slot on its inbox's ready list
//!   drain   takes the bits, once the slot has left the list; with CLOSED it also frees the slot
//!   take    claims the last answer (CLOSED of a file, DONE of an op) in place of the drain
//! ```
//!
//! The last answer goes to one: the drain, a taker, or the sleeper who reserved it by WAITER. Whoever has it frees the
//! slot; only a slot that still stands in the ready list is freed by the drain that meets it there. The tag keeps a
//! taker of one life from the answer of the next.

use crate::sync::{AtomicU32, Ordering};

/// The slot holds a queued metadata call rather than a file.
const OP: u32 = 1 << 13;
const QUEUED: u32 = 1 << 12;
const TAKEN: u32 = 1 << 11;
const WAITER: u32 = 1 << 10;
const DELIVERED: u32 = 1 << 9;
const TAG_SHIFT: u32 = 16;
const FLAGS: u32 = (1 << TAG_SHIFT) - 1;
const BITS: u32 = crate::event::Readiness::ALL_BITS;
const CLOSED: u32 = crate::event::Readiness::CLOSED.bits();
const DONE: u32 = crate::event::Readiness::DONE.bits();

/// The part of a generation that tells the answers of one life from those of the next.
const fn tag_of(generation: u32) -> u32 {
    generation << TAG_SHIFT
}

/// What raising an event asks of the one who raised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Raised {
    /// Put the slot on its inbox's ready list.
    pub(crate) enqueue: bool,
    /// Somebody sleeps on the word until the file is closed.
    pub(crate) wake: bool,
}

/// What taking the last answer of a slot came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum LastAnswer {
    /// This caller has it and frees the slot.
    Free,
    /// This caller has it; the drain frees the slot when it meets it in the ready list.
    DrainFrees,
    /// Another had it before.
    Gone,
    /// There is none yet.
    NotYet,
}

/// What the drain does with a slot that it met in the ready list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum DrainEnd {
    /// The slot lives on.
    Nothing,
    /// The closed event is delivered, and the slot freed.
    DeliverAndFree,
    /// The last answer was taken elsewhere; only the slot is left to free.
    Free,
}

/// The events of a slot that no one has taken yet.
#[derive(Debug)]
pub(crate) struct Pending(AtomicU32);

impl Pending {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// A new life begins: answers are for handles of this generation. A late event of the last life may still be in the
    /// list, so the rest of the word stays.
    pub(crate) fn begin(&self, generation: u32, op: bool) {
        // ORDER: Relaxed: a first guess, checked by the exchange.
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let kind = if op { OP } else { 0 };
            let next = seen & (QUEUED | BITS) & !(CLOSED | DONE) | tag_of(generation) | kind;
            // ORDER: AcqRel: ordered among the events of both lives.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Adds event bits. After CLOSED the caller touches the slot no more, but for the list.
    pub(crate) fn raise(&self, bits: u32) -> Raised {
        // ORDER: Release publishes the error and the report to `drain` and `take_last`; Acquire orders this after the
        // drain that took the slot from the list, whose link is then free.
        let before = self.0.fetch_or(bits | QUEUED, Ordering::AcqRel);
        Raised { enqueue: before & QUEUED == 0, wake: bits & CLOSED != 0 && before & WAITER != 0 }
    }

    /// The drain, having taken the slot from the list: the bits, and what it has to do about the last answer. A CLOSED
    /// that a sleeping caller reserved stays in the word for that caller.
    /// Of an op, word stays that its event was delivered: from then on its answer may be taken.
    pub(crate) fn drain(&self) -> (u32, DrainEnd) {
        // ORDER: Acquire pairs with `raise`.
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            let reserved = seen & (WAITER | TAKEN) == WAITER;
            let tag = seen & (!FLAGS | OP);
            let next = if reserved {
                tag | seen & (CLOSED | WAITER)
            } else if seen & OP != 0 && seen & TAKEN == 0 && seen & (DONE | DELIVERED) != 0 {
                tag | DELIVERED
            } else {
                tag
            };
            // ORDER: AcqRel: pairs with `raise`; QUEUED is lowered only after the slot left the list.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if seen & TAKEN != 0 => return (0, DrainEnd::Free),
                Ok(_) if reserved => return (seen & BITS & !CLOSED, DrainEnd::Nothing),
                Ok(_) if seen & CLOSED != 0 => return (seen & BITS, DrainEnd::DeliverAndFree),
                Ok(_) => return (seen & BITS, DrainEnd::Nothing),
                Err(now) => seen = now,
            }
        }
    }

    pub(crate) fn bits(&self) -> u32 {
        // ORDER: Acquire pairs with `raise`.
        self.0.load(Ordering::Acquire) & BITS
    }

    /// The last answer was taken outside the drain, which has not met the slot since.
    pub(crate) fn is_taken(&self) -> bool {
        // ORDER: Acquire pairs with the exchange in `take_last`.
        self.0.load(Ordering::Acquire) & TAKEN != 0
    }

    /// Claims the last answer of a file outside the drain.
    pub(crate) fn take_closed(&self, generation: u32) -> LastAnswer {
        self.take_last(CLOSED, generation)
    }

    /// Claims the answer of an op, before or after its event was drained.
    pub(crate) fn take_answer(&self, generation: u32) -> LastAnswer {
        self.take_last(DONE | DELIVERED, generation)
    }

    fn take_last(&self, last: u32, generation: u32) -> LastAnswer {
        // ORDER: Acquire pairs with `raise`.
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            if seen & TAKEN != 0 || seen & !FLAGS != tag_of(generation) {
                return LastAnswer::Gone;
            }
            if seen & last == 0 {
                return LastAnswer::NotYet;
            }
            let frees = seen & QUEUED == 0;
            let next = if frees { seen & !FLAGS } else { seen | TAKEN };
            // ORDER: AcqRel: as in `drain`; one claimant wins.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if frees => return LastAnswer::Free,
                Ok(_) => return LastAnswer::DrainFrees,
                Err(now) => seen = now,
            }
        }
    }

    /// Reserves the CLOSED to come for a caller about to sleep until then; gives the word to sleep on, or `None` when
    /// it is there already.
    pub(crate) fn reserve_closed(&self) -> Option<u32> {
        // ORDER: AcqRel: seen by the `raise` that follows it, or sees the one before.
        let now = self.0.fetch_or(WAITER, Ordering::AcqRel) | WAITER;
        (now & CLOSED == 0).then_some(now)
    }

    /// The sleeper gives up: the drain may have the answer again. True: it is there now, so the caller still has it.
    pub(crate) fn release_closed(&self) -> bool {
        // ORDER: AcqRel: as in `reserve_closed`.
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            if seen & CLOSED != 0 {
                return true;
            }
            // ORDER: AcqRel: as in `reserve_closed`.
            match self.0.compare_exchange_weak(seen, seen & !WAITER, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return false,
                Err(now) => seen = now,
            }
        }
    }

    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.0
    }
}
