//! `IndexList` and `WakeFlag` together, as an inbox uses them: no event is lost, no file queued twice.

use crate::queue::{IndexList, Links, WasEmpty};
use crate::sync::{Arc, AtomicU32, Ordering, WakeFlag, model, thread};
use Ordering::{AcqRel, Relaxed};

const SLOTS: usize = 2;
const QUEUED: u32 = 1 << 31;

struct Inbox {
    list: IndexList,
    flag: WakeFlag,
    sent: AtomicU32,
    links: [AtomicU32; SLOTS],
    /// Per slot its pending events, and QUEUED while it is in the list.
    pending: [AtomicU32; SLOTS],
}

impl Links for Inbox {
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.links[index as usize]
    }
}

impl Inbox {
    fn new() -> Self {
        Self {
            list: IndexList::new(),
            flag: WakeFlag::new(),
            sent: AtomicU32::new(0),
            links: std::array::from_fn(|_| AtomicU32::new(0)),
            pending: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    fn raise(&self, slot: u32, event: u32) {
        let old = self.pending[slot as usize].fetch_or(event | QUEUED, AcqRel);
        if old & QUEUED == 0 {
            let WasEmpty(was_empty) = self.list.push(self, slot);
            if was_empty && self.flag.raise() {
                self.sent.fetch_add(1, Relaxed);
            }
        }
    }

    fn take_events(&self, slot: u32) -> u32 {
        self.pending[slot as usize].swap(0, AcqRel) & !QUEUED
    }

    /// The drain as it is.
    fn drain(&self, seen: &mut [u32; SLOTS]) {
        for slot in self.list.take_all(self) {
            seen[slot as usize] |= self.take_events(slot);
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Consumer {
    LowersThenDrains,
    DrainsThenLowers,
    DrainsOneOfTwo,
}

fn scenario(consumer: Consumer) {
    let inbox = Arc::new(Inbox::new());
    let producers = [vec![(0, 1), (0, 2)], vec![(1, 1)]].map(|events| {
        let inbox = inbox.clone();
        thread::spawn(move || {
            for (slot, event) in events {
                inbox.raise(slot, event);
            }
        })
    });
    let (mut seen, mut woken) = ([0; SLOTS], 0);
    for _ in 0..2 {
        let sent = inbox.sent.load(Relaxed);
        assert!(sent - woken <= 1, "two wake-ups in flight");
        if sent == woken {
            continue;
        }
        woken += 1;
        if consumer != Consumer::DrainsThenLowers {
            inbox.flag.lower();
        }
        if consumer == Consumer::DrainsOneOfTwo {
            if let Some(slot) = inbox.list.take_all(&*inbox).next() {
                seen[slot as usize] |= inbox.take_events(slot);
            }
        } else {
            inbox.drain(&mut seen);
        }
        if consumer == Consumer::DrainsThenLowers {
            inbox.flag.lower();
        }
    }
    for producer in producers {
        producer.join().unwrap();
    }
    if inbox.sent.load(Relaxed) == woken {
        assert_eq!(seen, [3, 1], "an event was lost");
    } else {
        inbox.flag.lower();
        inbox.drain(&mut seen);
        assert_eq!(seen, [3, 1], "an event was lost in the list");
    }
}

#[test]
fn an_event_is_seen_or_a_wake_up_is_on_its_way() {
    model(|| scenario(Consumer::LowersThenDrains));
}

#[test]
#[should_panic(expected = "an event was lost")]
fn twin_that_lowers_after_the_drain() {
    model(|| scenario(Consumer::DrainsThenLowers));
}

#[test]
#[should_panic(expected = "an event was lost")]
fn twin_that_drains_one_of_two() {
    model(|| scenario(Consumer::DrainsOneOfTwo));
}

/// Both slots are queued; one gets a second event while the drain hands it out.
fn pushed_again(drain: fn(&Inbox, &mut [u32; SLOTS])) {
    let inbox = Arc::new(Inbox::new());
    inbox.raise(0, 1);
    inbox.raise(1, 1);
    let producer = inbox.clone();
    let producer = thread::spawn(move || producer.raise(0, 2));
    let mut seen = [0; SLOTS];
    drain(&inbox, &mut seen);
    producer.join().unwrap();
    inbox.drain(&mut seen);
    assert_eq!(seen, [3, 1], "an event was lost in the list");
}

#[test]
fn a_slot_may_be_pushed_again_while_it_is_handed_out() {
    model(|| pushed_again(Inbox::drain));
}

#[test]
#[should_panic(expected = "an event was lost in the list")]
fn twin_that_reads_the_link_after_it_hands_the_slot_out() {
    model(|| {
        pushed_again(|inbox, seen| {
            // The chain comes oldest first out of `suspend`; from there on by hand.
            let mut next = inbox.list.take_all(inbox).suspend();
            while let Some(slot) = next {
                seen[slot as usize] |= inbox.take_events(slot);
                next = inbox.link(slot).load(Relaxed).checked_sub(1);
            }
        });
    });
}
