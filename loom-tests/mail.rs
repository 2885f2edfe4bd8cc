//! `Mail`: no hint is lost, and never do two threads poll one slot.
//!
//! Two that post, each of which polls if that falls to it; the slot's control is a cell of loom's, so that two who poll at
//! once end the run. The twin lets go by a plain store, whatever came meanwhile.

#![allow(unsafe_code, reason = "the control is reached by the holder of the right to poll")]

use crate::file::state::{Mail, mail};
use crate::sync::{Arc, AtomicU32, Ordering, UnsafeCell, model, thread};
use Ordering::{AcqRel, Relaxed, Release};

/// A word that carries hints and the right to poll; the twin has it too.
trait Letters: Send + Sync + 'static {
    fn post(&self, hints: u32) -> bool;
    fn take(&self) -> u32;
    fn rest(&self) -> bool;
}

impl Letters for Mail {
    fn post(&self, hints: u32) -> bool {
        Mail::post(self, hints)
    }

    fn take(&self) -> u32 {
        Mail::take(self)
    }

    fn rest(&self) -> bool {
        Mail::rest(self)
    }
}

const SCHEDULED: u32 = 1 << 31;

struct Forgetful(AtomicU32);

impl Letters for Forgetful {
    fn post(&self, hints: u32) -> bool {
        self.0.fetch_or(hints | SCHEDULED, AcqRel) & SCHEDULED == 0
    }

    fn take(&self) -> u32 {
        self.0.swap(SCHEDULED, AcqRel) & !SCHEDULED
    }

    fn rest(&self) -> bool {
        self.0.store(0, Release);
        true
    }
}

struct Slot<M> {
    mail: M,
    /// What the hints are about.
    asked: [AtomicU32; 2],
    /// What the actor has heard of.
    control: UnsafeCell<[u32; 2]>,
}

// SAFETY: loom checks every access to the control.
unsafe impl<M: Sync> Sync for Slot<M> {}

impl<M: Letters> Slot<M> {
    fn ask(&self, place: usize) {
        self.asked[place].fetch_add(1, Relaxed);
        if self.mail.post([mail::SYNC, mail::FILL][place]) {
            self.poll();
        }
    }

    fn poll(&self) {
        loop {
            let hints = self.mail.take();
            // SAFETY: loom checks that nobody else polls.
            self.control.with_mut(|heard| unsafe {
                for (place, hint) in [mail::SYNC, mail::FILL].into_iter().enumerate() {
                    if hints & hint != 0 {
                        (*heard)[place] = self.asked[place].load(Relaxed);
                    }
                }
            });
            if self.mail.rest() {
                return;
            }
        }
    }
}

fn scenario<M: Letters>(mail: M) {
    let asked = std::array::from_fn(|_| AtomicU32::new(0));
    let slot = Arc::new(Slot { mail, asked, control: UnsafeCell::new([0; 2]) });
    let other = slot.clone();
    let other = thread::spawn(move || {
        other.ask(0);
        other.ask(1);
    });
    slot.ask(1);
    other.join().unwrap();
    // SAFETY: as above.
    let heard = slot.control.with(|heard| unsafe { *heard });
    assert_eq!(heard, [1, 2], "a hint was lost");
}

#[test]
fn no_hint_is_lost_and_one_polls_at_a_time() {
    model(|| scenario(Mail::new()));
}

#[test]
#[should_panic(expected = "a hint was lost")]
fn twin_that_lets_go_whatever_came() {
    model(|| scenario(Forgetful(AtomicU32::new(0))));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_that_polls_whoever_posts() {
    model(|| {
        let slot = Arc::new(Slot {
            mail: Mail::new(),
            asked: std::array::from_fn(|_| AtomicU32::new(0)),
            control: UnsafeCell::new([0; 2]),
        });
        let other = slot.clone();
        let other = thread::spawn(move || {
            let _ = other.mail.post(mail::SYNC);
            other.poll();
        });
        let _ = slot.mail.post(mail::FILL);
        slot.poll();
        other.join().unwrap();
    });
}
