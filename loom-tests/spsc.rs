//! `Ring`: a refused reader gets exactly one event, and sees whole contents in order.

#![allow(unsafe_code, reason = "the ring's two ends are unsafe to call")]

use crate::queue::{Owed, Ring};
use crate::sync::{Arc, AtomicBool, AtomicU32, Ordering, model, thread};
use Ordering::{AcqRel, Acquire, Relaxed, Release};

/// What the reader and the writer do with a ring; the twin has it too.
trait Ends: Send + Sync + 'static {
    fn push(&self, value: u32) -> bool;
    fn pop(&self) -> Option<u32>;
    fn want(&self) -> bool;
}

impl Ends for Ring<u32, 2> {
    fn push(&self, value: u32) -> bool {
        // SAFETY: one thread of the scenario pushes.
        let Ok(Owed(owed)) = (unsafe { self.push(value) }) else { unreachable!("two fit") };
        owed
    }

    fn pop(&self) -> Option<u32> {
        // SAFETY: one thread of the scenario reads; the pointer ends before the pop.
        unsafe {
            let front = self.front().map(|value| *value.as_ref());
            let popped = self.pop();
            assert!(front.is_none() || front == popped);
            popped
        }
    }

    fn want(&self) -> bool {
        // SAFETY: one thread of the scenario reads.
        unsafe { self.want() }
    }
}

/// Looks whether it is empty and asks to be told, in two steps.
struct TwoSteps {
    ring: Ring<u32, 2>,
    wanted: AtomicBool,
}

impl Ends for TwoSteps {
    fn push(&self, value: u32) -> bool {
        Ends::push(&self.ring, value);
        self.wanted.swap(false, AcqRel)
    }

    fn pop(&self) -> Option<u32> {
        Ends::pop(&self.ring)
    }

    fn want(&self) -> bool {
        if !self.ring.is_empty() {
            return false;
        }
        self.wanted.swap(true, AcqRel);
        true
    }
}

fn scenario<E: Ends>(ring: E) {
    let shared = Arc::new((ring, AtomicU32::new(0)));
    let writer = shared.clone();
    let writer = thread::spawn(move || {
        for value in 0..2 {
            if writer.0.push(value) {
                writer.1.fetch_add(1, Release);
            }
        }
    });
    let (ring, events) = &*shared;
    let (mut expected, mut refusals) = (0, 0);
    while expected < 2 && events.load(Acquire) == refusals {
        match ring.pop() {
            Some(value) => {
                assert_eq!(value, expected);
                expected += 1;
            }
            None if ring.want() => refusals += 1,
            None => {}
        }
        // Refused and no event yet: an event-driven reader does nothing until it comes.
        if events.load(Acquire) < refusals {
            break;
        }
    }
    writer.join().unwrap();
    assert_eq!(events.load(Relaxed), refusals, "one event per refusal");
    while let Some(value) = ring.pop() {
        assert_eq!(value, expected);
        expected += 1;
    }
    assert_eq!(expected, 2);
}

#[test]
fn a_refused_reader_gets_exactly_one_event() {
    model(|| scenario(Ring::<u32, 2>::new()));
}

#[test]
#[should_panic(expected = "one event per refusal")]
fn twin_that_looks_and_asks_in_two_steps() {
    model(|| scenario(TwoSteps { ring: Ring::new(), wanted: AtomicBool::new(false) }));
}

/// The end of the file is news without a value: written down, then the wish taken down.
fn end_of_file(ask_first: bool) {
    let shared = Arc::new((Ring::<u32, 2>::new(), AtomicBool::new(false), AtomicU32::new(0)));
    let writer = shared.clone();
    let writer = thread::spawn(move || {
        writer.1.store(true, Relaxed);
        if writer.0.take_want() {
            writer.2.fetch_add(1, Relaxed);
        }
    });
    let (ring, ended, events) = &*shared;
    let early = !ask_first && ended.load(Relaxed);
    let asked = Ends::want(ring);
    assert!(asked);
    let seen = if ask_first { ended.load(Relaxed) } else { early };
    writer.join().unwrap();
    assert!(seen || events.load(Relaxed) == 1, "the end was neither seen nor told");
}

#[test]
fn the_end_is_seen_or_told() {
    model(|| end_of_file(true));
}

#[test]
#[should_panic(expected = "neither seen nor told")]
fn twin_that_looks_for_the_end_before_it_asks() {
    model(|| end_of_file(false));
}

/// A full ring of one cell: the cell is written again only after its value was read.
#[test]
fn a_cell_is_used_again_only_when_it_is_empty() {
    model(|| {
        let ring = Arc::new(Ring::<u32, 1>::new());
        let writer = ring.clone();
        // SAFETY: this thread pushes first, the other only after the spawn.
        assert_eq!(unsafe { ring.push(0) }, Ok(Owed(false)));
        let writer = thread::spawn(move || {
            // SAFETY: from here on this thread is the only producer.
            unsafe { writer.push(1) }.is_ok()
        });
        // SAFETY: this thread is the only consumer.
        let (first, second) = unsafe { (ring.pop(), ring.pop()) };
        let pushed = writer.join().unwrap();
        assert_eq!(first, Some(0));
        // SAFETY: this thread is the only one left.
        let last = second.or(unsafe { ring.pop() });
        assert_eq!(last, pushed.then_some(1));
    });
}
