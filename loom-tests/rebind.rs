//! Rebinding: an event goes to one of the two inboxes, and none stays in the list of the one that nobody drains any more.
//!
//! The real module with a second inbox. A producer raises an event, the old consumer drains once and goes away, and a
//! third thread rebinds the file and raises another event; in the end only the new inbox is drained. The twins are small
//! copies on the real word and lists, each with one step left out.

use crate::config::OpenOptions;
use crate::event::Readiness;
use crate::file::state::{DrainEnd, Pending, Rebound};
use crate::inbox::Inbox;
use crate::loom_tests::module::{Module, Seen};
use crate::news::{Calls, Consumer, News};
use crate::queue::Links;
use crate::sync::{Arc, AtomicU32, Ordering, fence, model, thread};

const EARLY: Readiness = Readiness::SYNCED;
const LATE: Readiness = Readiness::DONE;

fn calls() -> Calls {
    Calls { wake: Box::new(|| ()), lower: Box::new(|| ()), mark: false }
}

#[test]
fn what_is_raised_beside_a_rebind_reaches_one_of_the_two_inboxes() {
    model(|| {
        let module = Module::new();
        let Some(number) = module.commons().inboxes.add(calls()) else { panic!("there are many") };
        let new = Inbox::new(module.engine.clone(), number, None);
        let fd = module.open(&OpenOptions::new().append(true));
        let producer = module.clone();
        let producer = thread::spawn(move || {
            let slot = producer.commons().slot(fd);
            producer.commons().raise(slot.unwrap(), EARLY.bits());
        });
        let old = module.clone();
        let old = thread::spawn(move || {
            let mut seen = Seen::default();
            old.drain_once(&mut seen);
            seen
        });
        module.commons().rebind(fd, number, &|_, _, _| Err(0)).unwrap();
        module.commons().raise(module.commons().slot(fd).unwrap(), LATE.bits());
        producer.join().unwrap();
        let old = old.join().unwrap();
        let mut seen = Seen::default();
        Module::drain_of(&new, &mut seen);
        assert_eq!(old.count(LATE), 0, "an event after the rebind went to the old inbox");
        assert_eq!(seen.count(LATE), 1, "the event after the rebind is lost");
        assert_eq!(old.count(EARLY) + seen.count(EARLY), 1, "the event beside the rebind is lost");
        assert_eq!(seen.count(Readiness::WRITABLE), 1, "what is ready is not raised anew");
        module
            .commons()
            .close(fd, 0, crate::error::Operation::Close, crate::file::write::Caller::Descriptor)
            .unwrap();
        module.run();
        Module::drain_of(&new, &mut seen);
        assert_eq!(seen.count(Readiness::CLOSED), 1);
        module.assert_idle();
    });
}

/// Two slots and two inboxes, of which the twins leave a step out. Slot 0 is rebound, slot 1 keeps the drain at work.
struct Small {
    links: [AtomicU32; 2],
    pending: [Pending; 2],
    inboxes: [News; 2],
}

impl Links for Small {
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.links[index as usize]
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    TheLookAfterThePush,
    TheSweep,
    TheFlagForADrainAtWork,
}

impl Small {
    fn new() -> Self {
        Self {
            links: [AtomicU32::new(0), AtomicU32::new(0)],
            pending: [Pending::new(), Pending::new()],
            inboxes: [News::new(calls()), News::new(calls())],
        }
    }

    fn enqueue(&self, slot: u32, inbox: u32, without: Without) {
        self.inboxes[inbox as usize].push(self, slot);
        fence(Ordering::SeqCst);
        if without != Without::TheLookAfterThePush && self.pending[slot as usize].inbox() != inbox {
            self.forward(inbox, without);
        }
    }

    fn forward(&self, inbox: u32, without: Without) {
        let mut strays = Vec::new();
        let is_stray = |slot: u32| {
            let stray = self.pending[slot as usize].inbox() != inbox;
            strays.extend(stray.then_some(slot));
            stray
        };
        match without {
            Without::TheFlagForADrainAtWork => self.inboxes[inbox as usize].sweep(self, is_stray),
            _ => self.inboxes[inbox as usize].forward(self, is_stray),
        }
        for slot in strays {
            self.enqueue(slot, self.pending[slot as usize].inbox(), without);
        }
    }

    fn raise(&self, slot: u32, bits: Readiness, without: Without) {
        if let Some(inbox) = self.pending[slot as usize].raise(bits.bits()).enqueue {
            self.enqueue(slot, inbox, without);
        }
    }

    fn rebind(&self, inbox: u32, without: Without) {
        if let Rebound::Forward(from) = self.pending[0].rebind(0, inbox) {
            fence(Ordering::SeqCst);
            if without != Without::TheSweep {
                self.forward(from, without);
            }
        }
    }

    /// The events of slot 0 that this drain brings.
    fn drain(&self, inbox: u32, without: Without) -> u32 {
        let mut seen = 0;
        let news = &self.inboxes[inbox as usize];
        news.drain(self, Consumer::Loop, |slot| {
            let (bits, end) = self.pending[slot as usize].drain(inbox);
            seen |= if slot == 0 { bits } else { 0 };
            if let DrainEnd::HandOn(other) = end {
                self.enqueue(slot, other, without);
            }
            true
        });
        if news.take_strays() {
            self.forward(inbox, without);
        }
        seen
    }
}

fn small(without: Without) {
    model(move || {
        let small = Arc::new(Small::new());
        small.raise(1, LATE, without);
        let (producer, old) = (small.clone(), small.clone());
        let producer = thread::spawn(move || producer.raise(0, EARLY, without));
        let old = thread::spawn(move || old.drain(0, without));
        small.rebind(1, without);
        producer.join().unwrap();
        let seen = old.join().unwrap() | small.drain(1, without);
        assert_eq!(seen, EARLY.bits(), "the event beside the rebind is lost");
    });
}

#[test]
fn the_small_copy_without_a_fault_loses_nothing() {
    small(Without::Nothing);
}

#[test]
#[should_panic(expected = "the event beside the rebind is lost")]
fn twin_that_does_not_look_after_the_push() {
    small(Without::TheLookAfterThePush);
}

#[test]
#[should_panic(expected = "the event beside the rebind is lost")]
fn twin_that_leaves_the_old_list_as_it_is() {
    small(Without::TheSweep);
}

/// One thread raises and rebinds while the old consumer is at work on another slot.
fn at_work(without: Without) {
    model(move || {
        let small = Arc::new(Small::new());
        small.raise(1, LATE, without);
        let other = small.clone();
        let other = thread::spawn(move || {
            other.raise(0, EARLY, without);
            other.rebind(1, without);
            // Touches what the drain is at work on: only there does loom change threads.
            other.raise(1, EARLY, without);
        });
        let early = small.drain(0, without);
        other.join().unwrap();
        let seen = early | small.drain(1, without);
        assert_eq!(seen, EARLY.bits(), "the event beside the rebind is lost");
    });
}

#[test]
fn a_drain_at_work_hands_on_what_came_too_late_for_it() {
    at_work(Without::Nothing);
}

#[test]
#[should_panic(expected = "the event beside the rebind is lost")]
fn twin_that_leaves_no_word_for_a_drain_at_work() {
    at_work(Without::TheFlagForADrainAtWork);
}
