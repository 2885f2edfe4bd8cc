//! `Pending`: the last answer goes to one, and the slot is freed once, never while it stands in the ready list.
//!
//! The real word and the real list. An actor raises a first event and then CLOSED; a consumer drains; another caller
//! takes the answer, or sleeps for it. The twin frees a slot without a look at the list.

use crate::event::Readiness;
use crate::file::state::{DrainEnd, LastAnswer, Pending};
use crate::news::DEFAULT_INBOX;
use crate::queue::IndexList;
use crate::sync::{Arc, AtomicU32, Ordering, model, thread};
use Ordering::{AcqRel, Relaxed};

const CLOSED: u32 = Readiness::CLOSED.bits();
const LIFE: u32 = 0;

struct Slot {
    pending: Pending,
    list: IndexList,
    links: [AtomicU32; 1],
    /// In the list, or about to be.
    queued: AtomicU32,
    answers: AtomicU32,
    freed: AtomicU32,
}

impl Slot {
    fn new() -> Self {
        Self {
            pending: Pending::new(),
            list: IndexList::new(),
            links: [AtomicU32::new(0)],
            queued: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            freed: AtomicU32::new(0),
        }
    }

    fn raise(&self, bits: u32) {
        if self.pending.raise(bits).enqueue.is_some() {
            assert_eq!(self.queued.fetch_add(1, AcqRel), 0, "twice in the list");
            let _ = self.list.push(&self.links[..], 0);
        }
    }

    fn free(&self) {
        assert_eq!(self.queued.load(Relaxed), 0, "freed while it is in the list");
        assert_eq!(self.freed.fetch_add(1, AcqRel), 0, "freed twice");
    }

    fn drain(&self) {
        for _ in self.list.take_all(&self.links[..]) {
            self.queued.fetch_sub(1, AcqRel);
            match self.pending.drain(DEFAULT_INBOX) {
                (bits, DrainEnd::DeliverAndFree) => {
                    assert!(bits & CLOSED != 0, "an answer without its event");
                    self.answers.fetch_add(1, AcqRel);
                    self.free();
                }
                (_, DrainEnd::Free) => self.free(),
                (_, DrainEnd::HandOn(_)) => unreachable!("there is one inbox"),
                (bits, DrainEnd::Nothing) => assert!(bits & CLOSED == 0, "two have the answer"),
            }
        }
    }

    /// True: the caller has the answer.
    fn take(&self, looks_at_the_list: bool) -> bool {
        match self.pending.take_closed(LIFE) {
            LastAnswer::Free => self.free(),
            LastAnswer::DrainFrees if !looks_at_the_list => self.free(),
            LastAnswer::DrainFrees => {}
            LastAnswer::Gone | LastAnswer::NotYet => return false,
        }
        self.answers.fetch_add(1, AcqRel);
        true
    }

    fn assert_ended(&self) {
        assert_eq!(self.answers.load(Relaxed), 1, "not one answer");
        assert_eq!(self.freed.load(Relaxed), 1, "not freed once");
    }
}

fn taker(looks_at_the_list: bool) {
    let slot = Arc::new(Slot::new());
    let (actor, taker) = (slot.clone(), slot.clone());
    let actor = thread::spawn(move || {
        actor.raise(Readiness::SYNCED.bits());
        actor.raise(CLOSED);
    });
    let taker = thread::spawn(move || taker.take(looks_at_the_list));
    slot.drain();
    actor.join().unwrap();
    taker.join().unwrap();
    slot.drain();
    slot.assert_ended();
}

#[test]
fn the_last_answer_goes_to_one() {
    model(|| taker(true));
}

#[test]
#[should_panic(expected = "freed while it is in the list")]
fn twin_that_frees_without_a_look_at_the_list() {
    model(|| taker(false));
}

/// A caller reserves the answer, sleeps for a while, and gives up or takes it.
#[test]
fn a_sleeper_has_its_answer_or_leaves_it_to_the_drain() {
    model(|| {
        let slot = Arc::new(Slot::new());
        let (actor, sleeper) = (slot.clone(), slot.clone());
        let actor = thread::spawn(move || {
            actor.raise(Readiness::SYNCED.bits());
            actor.raise(CLOSED);
        });
        let sleeper = thread::spawn(move || {
            let reserved = sleeper.pending.reserve_closed();
            if sleeper.pending.release_closed() {
                // What was there at the reservation may have been drained before; what came since may not.
                let taken = sleeper.take(true);
                assert!(taken || !reserved, "a reserved answer went elsewhere");
            }
        });
        slot.drain();
        actor.join().unwrap();
        sleeper.join().unwrap();
        slot.drain();
        slot.assert_ended();
    });
}
