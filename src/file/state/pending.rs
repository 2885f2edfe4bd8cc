//! Pending: the events of a slot that nobody has taken yet, whose inbox they are for, and who gets the last one.
//!
//! ```text
//! word   tag of the generation:16 | inbox:8 | OP | DELIVERED | WAITER | TAKEN | QUEUED | awaited:11 | told:11 | events:11
//!
//!   raise    adds events; who finds QUEUED down puts the slot on the ready list of its inbox. What a task awaits is told
//!            to the task instead, and its waker taken: awaited goes down, told up, and no list is touched
//!   await    a task says what it waits for, and takes what it was told; what the inbox has not drained yet, too
//!   drain    takes the events, once the slot has left the list; with CLOSED it also frees the slot
//!   take     claims the last answer (CLOSED of a file, DONE of an op) in place of the drain
//!   rebind   names another inbox; a slot that stands in the old one's list is handed on from there
//! ```
//!
//! The last answer goes to one: the drain, a taker, or the sleeper who reserved it by WAITER. Whoever has it frees the
//! slot; only a slot that still stands in the ready list is freed by the drain that meets it there. The tag keeps a
//! taker of one life from the answer of the next. The inbox is part of the word, so that an event and the list that it
//! goes to are chosen in one step: no drain of the old inbox takes what was raised after a rebind.

use crate::sync::{AtomicU64, Ordering};

const BITS: u64 = (1 << 11) - 1;
const TOLD_SHIFT: u32 = 11;
const TOLD: u64 = BITS << TOLD_SHIFT;
const AWAITED_SHIFT: u32 = 22;
const AWAITED: u64 = BITS << AWAITED_SHIFT;
const QUEUED: u64 = 1 << 33;
const TAKEN: u64 = 1 << 34;
const WAITER: u64 = 1 << 35;
const DELIVERED: u64 = 1 << 36;
/// The slot holds a queued metadata call rather than a file.
const OP: u64 = 1 << 37;
const INBOX_SHIFT: u32 = 38;
const INBOX: u64 = 0xff << INBOX_SHIFT;
const TAG_SHIFT: u32 = 48;
const TAG: u64 = 0xffff << TAG_SHIFT;
const CLOSED: u64 = crate::event::Readiness::CLOSED.bits() as u64;
const DONE: u64 = crate::event::Readiness::DONE.bits() as u64;
const ERROR: u64 = crate::event::Readiness::ERROR.bits() as u64;

/// The directions of a file: each has one task waker.
pub(crate) const DIRECTIONS: [u32; 3] = [READ, WRITE, ANSWERS];
const READ: u32 = crate::event::Readiness::READABLE.bits();
const WRITE: u32 = crate::event::Readiness::WRITABLE.bits();
const ANSWERS: u32 = crate::event::Readiness::ALL_BITS & !(READ | WRITE);

/// All events of the directions that have one of these.
const fn directions_of(events: u64) -> u64 {
    let (mut all, mut number) = (0, 0);
    while number < DIRECTIONS.len() {
        if DIRECTIONS[number] as u64 & events != 0 {
            all |= DIRECTIONS[number] as u64;
        }
        number += 1;
    }
    all
}

const fn told_in(word: u64) -> u64 {
    (word & TOLD) >> TOLD_SHIFT
}

const fn awaited_in(word: u64) -> u64 {
    (word & AWAITED) >> AWAITED_SHIFT
}

/// The events of a word, whoever is to hear of them.
const fn all_in(word: u64) -> u64 {
    word & BITS | told_in(word)
}

const _: () =
    assert!(crate::event::Readiness::ALL_BITS as u64 & !BITS == 0, "the word has room for each event");
const _: () = assert!(crate::news::INBOXES_LIMIT <= 1 << 8, "the word has room for each inbox");

/// The part of a generation that tells the answers of one life from those of the next.
const fn tag_of(generation: u32) -> u64 {
    (generation as u64) << TAG_SHIFT
}

const fn inbox_of(word: u64) -> u32 {
    ((word & INBOX) >> INBOX_SHIFT) as u32
}

const fn of_inbox(inbox: u32) -> u64 {
    (inbox as u64) << INBOX_SHIFT & INBOX
}

/// What raising an event asks of the one who raised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Raised {
    /// Put the slot on the ready list of this inbox.
    pub(crate) enqueue: Option<u32>,
    /// Somebody sleeps until the file is closed.
    pub(crate) wake: bool,
    /// Wake the tasks of the directions that these events are of.
    pub(crate) tasks: u32,
}

/// The word after events were raised, and what that asks for.
fn with_events(seen: u64, events: u64) -> (u64, Raised) {
    let awaited = awaited_in(seen);
    let mut told = events & awaited;
    let mut plain = events & !awaited;
    if told != 0 && events & ERROR != 0 {
        // An error goes where the rest goes.
        told |= if told & ANSWERS as u64 != 0 { ERROR } else { 0 };
        plain &= if plain == ERROR { 0 } else { BITS };
    }
    // A task that waits on a file that fails or ends looks again, whatever it waits for.
    let woken = if events & (ERROR | CLOSED) != 0 { directions_of(awaited) } else { directions_of(told) };
    let woken = if awaited == 0 { 0 } else { woken };
    let queued = if plain != 0 { QUEUED } else { 0 };
    let next = (seen | plain | told << TOLD_SHIFT | queued) & !(woken << AWAITED_SHIFT);
    let raised = Raised {
        enqueue: (plain != 0 && seen & QUEUED == 0).then_some(inbox_of(seen)),
        wake: events & CLOSED != 0 && seen & WAITER != 0,
        tasks: woken as u32,
    };
    (next, raised)
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
    /// Its events are for this other inbox: hand the slot on to its list.
    HandOn(u32),
}

/// What a change of the inbox asks of the one who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Rebound {
    /// Nothing: no event waits.
    Quiet,
    /// The slot stands in the list of this inbox, or is about to: see to it that it is handed on.
    Forward(u32),
    /// It is not as the caller thinks: another life, or another inbox.
    Refused,
}

/// The events of a slot that no one has taken yet.
#[derive(Debug)]
pub(crate) struct Pending(AtomicU64);

impl Pending {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A new life begins: answers are for handles of this generation, events for this inbox, but for those that a task
    /// awaits from the start, whose waker is yet to come. A late event of the last life may still be in a list, so the rest of
    /// the word stays.
    pub(crate) fn begin(&self, generation: u32, op: bool, inbox: u32, awaited: u32) -> Rebound {
        // ORDER: Relaxed: a first guess, checked by the exchange.
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let kind = if op { OP } else { 0 };
            let kept = seen & (QUEUED | BITS) & !(CLOSED | DONE);
            let awaited = u64::from(awaited) << AWAITED_SHIFT;
            let next = kept | tag_of(generation) | kind | of_inbox(inbox) | awaited;
            // ORDER: AcqRel: ordered among the events of both lives.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if seen & QUEUED != 0 && inbox_of(seen) != inbox => {
                    return Rebound::Forward(inbox_of(seen));
                }
                Ok(_) => return Rebound::Quiet,
                Err(now) => seen = now,
            }
        }
    }

    /// Adds event bits. After CLOSED the caller touches the slot no more, but for the list.
    pub(crate) fn raise(&self, bits: u32) -> Raised {
        // ORDER: Acquire orders this after the drain that took the slot from the list, whose link is then free.
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            let (next, raised) = with_events(seen, u64::from(bits));
            // ORDER: Release publishes the error and the report to `drain`, `take_last` and `attend`.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return raised,
                Err(now) => seen = now,
            }
        }
    }

    /// As `raise`, while the slot is still in this life; without CLOSED.
    pub(crate) fn raise_for(&self, generation: u32, bits: u32) -> Option<Raised> {
        // ORDER: Acquire pairs with `raise`.
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            if seen & TAKEN != 0 || seen & TAG != tag_of(generation) {
                return None;
            }
            let (next, raised) = with_events(seen, u64::from(bits));
            // ORDER: AcqRel: as in `raise`.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(raised),
                Err(now) => seen = now,
            }
        }
    }

    /// A task, whose waker is in its place, waits for these events from here on. Gives what it was told since it last
    /// asked, and what of these the inbox has not drained; `None` when the handle's file is gone. A last answer stays
    /// until it is taken.
    pub(crate) fn attend(&self, generation: u32, events: u32) -> Option<u32> {
        let events = u64::from(events);
        // ORDER: Acquire pairs with `raise`.
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            if seen & TAKEN != 0 || seen & TAG != tag_of(generation) {
                return None;
            }
            let told = told_in(seen) | seen & events;
            let hears = events | if events & u64::from(ANSWERS) != 0 { ERROR } else { 0 };
            let last = CLOSED | if seen & OP != 0 { DONE } else { 0 };
            let heard = told & hears;
            let awaited = awaited_in(seen) & !directions_of(events) | events;
            let left = told & !(heard & !last);
            let rest = seen & !(TOLD | AWAITED | events);
            let next = rest | left << TOLD_SHIFT | awaited << AWAITED_SHIFT;
            // ORDER: AcqRel: what is raised later finds the waker; what was raised before is seen by the caller's look.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(heard as u32),
                Err(now) => seen = now,
            }
        }
    }

    /// The task of these directions waits no more; what it was told stays its own.
    pub(crate) fn leave(&self, generation: u32, events: u32) {
        self.stop_waiting(generation, events, |next, _| next);
    }

    /// The task of these directions is gone: what it was told goes to the inbox.
    pub(crate) fn give_back(&self, generation: u32, events: u32) -> Option<Raised> {
        let (before, after) = self.stop_waiting(generation, events, |next, directions| {
            let told = told_in(next) & directions;
            let queued = if told != 0 { QUEUED } else { 0 };
            next & !(told << TOLD_SHIFT) | told | queued
        })?;
        let enqueue = ((before ^ after) & QUEUED != 0).then_some(inbox_of(after));
        Some(Raised { enqueue, wake: false, tasks: 0 })
    }

    fn stop_waiting(&self, generation: u32, events: u32, to: impl Fn(u64, u64) -> u64) -> Option<(u64, u64)> {
        let directions = directions_of(u64::from(events));
        // ORDER: Acquire pairs with `raise`.
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            if seen & TAKEN != 0 || seen & TAG != tag_of(generation) {
                return None;
            }
            let next = to(seen & !(directions << AWAITED_SHIFT), directions);
            // ORDER: AcqRel: as in `raise`.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some((seen, next)),
                Err(now) => seen = now,
            }
        }
    }

    /// From here on the events of this life go to another inbox, those that wait among them.
    pub(crate) fn rebind(&self, generation: u32, inbox: u32) -> Rebound {
        self.change_inbox(inbox, |seen| seen & TAKEN == 0 && seen & TAG == tag_of(generation))
    }

    /// As `rebind`, whatever life it is, if its events go to `from`.
    pub(crate) fn rebind_from(&self, from: u32, inbox: u32) -> Rebound {
        self.change_inbox(inbox, |seen| inbox_of(seen) == from)
    }

    fn change_inbox(&self, inbox: u32, may: impl Fn(u64) -> bool) -> Rebound {
        // ORDER: Acquire pairs with `raise`.
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            if !may(seen) {
                return Rebound::Refused;
            }
            let next = seen & !INBOX | of_inbox(inbox);
            // ORDER: AcqRel: as in `raise`; a drain of the old inbox comes before it, or finds the new one.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if seen & QUEUED != 0 && inbox_of(seen) != inbox => {
                    return Rebound::Forward(inbox_of(seen));
                }
                Ok(_) => return Rebound::Quiet,
                Err(now) => seen = now,
            }
        }
    }

    /// The inbox that the events are for.
    pub(crate) fn inbox(&self) -> u32 {
        // ORDER: Acquire pairs with the exchange in `rebind`.
        inbox_of(self.0.load(Ordering::Acquire))
    }

    /// The drain of an inbox, having taken the slot from the list: the bits, and what it has to do about the last answer.
    /// A CLOSED that a sleeping caller reserved stays in the word for that caller.
    /// Of an op, word stays that its event was delivered: from then on its answer may be taken.
    pub(crate) fn drain(&self, inbox: u32) -> (u32, DrainEnd) {
        // ORDER: Acquire pairs with `raise`.
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            if inbox_of(seen) != inbox {
                return (0, DrainEnd::HandOn(inbox_of(seen)));
            }
            let reserved = seen & (WAITER | TAKEN) == WAITER;
            let kept = seen & (TAG | INBOX | OP | TOLD | AWAITED);
            let next = if reserved {
                kept | seen & (CLOSED | WAITER)
            } else if seen & OP != 0 && seen & TAKEN == 0 && seen & (DONE | DELIVERED) != 0 {
                kept | DELIVERED
            } else {
                kept
            };
            let bits = (seen & BITS) as u32;
            // ORDER: AcqRel: pairs with `raise`; QUEUED is lowered only after the slot left the list.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if seen & TAKEN != 0 => return (0, DrainEnd::Free),
                Ok(_) if reserved => return (bits & !(CLOSED as u32), DrainEnd::Nothing),
                Ok(_) if seen & CLOSED != 0 => return (bits, DrainEnd::DeliverAndFree),
                Ok(_) => return (bits, DrainEnd::Nothing),
                Err(now) => seen = now,
            }
        }
    }

    pub(crate) fn bits(&self) -> u32 {
        // ORDER: Acquire pairs with `raise`.
        let seen = self.0.load(Ordering::Acquire);
        let delivered = if seen & DELIVERED != 0 { DONE } else { 0 };
        (all_in(seen) | delivered) as u32
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

    fn take_last(&self, last: u64, generation: u32) -> LastAnswer {
        // ORDER: Acquire pairs with `raise`.
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            if seen & TAKEN != 0 || seen & TAG != tag_of(generation) {
                return LastAnswer::Gone;
            }
            if (seen | told_in(seen)) & last == 0 {
                return LastAnswer::NotYet;
            }
            let frees = seen & QUEUED == 0;
            let next = if frees { seen & TAG } else { seen | TAKEN };
            // ORDER: AcqRel: as in `drain`; one claimant wins.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if frees => return LastAnswer::Free,
                Ok(_) => return LastAnswer::DrainFrees,
                Err(now) => seen = now,
            }
        }
    }

    /// Reserves the CLOSED to come for a caller about to sleep until then; false: it is there already.
    #[must_use]
    pub(crate) fn reserve_closed(&self) -> bool {
        // ORDER: AcqRel: seen by the `raise` that follows it, or sees the one before.
        all_in(self.0.fetch_or(WAITER, Ordering::AcqRel)) & CLOSED == 0
    }

    /// The sleeper gives up: the drain may have the answer again. True: it is there now, so the caller still has it.
    pub(crate) fn release_closed(&self) -> bool {
        // ORDER: AcqRel: as in `reserve_closed`.
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            if all_in(seen) & CLOSED != 0 {
                return true;
            }
            // ORDER: AcqRel: as in `reserve_closed`.
            match self.0.compare_exchange_weak(seen, seen & !WAITER, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return false,
                Err(now) => seen = now,
            }
        }
    }
}
