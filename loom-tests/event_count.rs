//! `EventCount`: no waiter sleeps, and no loop stays armed, beside a condition that came true.
//!
//! A lost wake-up would be a deadlock, on which loom ends the whole program; so the twins are copies of the two words that
//! stop at the decision to sleep.

use crate::sync::{Arc, AtomicU32, EventCount, Ordering, fence, model, thread};
use Ordering::{Acquire, Relaxed, Release, SeqCst};

#[test]
fn each_waiter_gets_one_of_what_is_notified() {
    for waiters in [1, 2] {
        model(move || {
            let shared = Arc::new((EventCount::new(), AtomicU32::new(0)));
            let handles: Vec<_> = (0..waiters)
                .map(|_| {
                    let shared = shared.clone();
                    thread::spawn(move || {
                        let (events, free) = &*shared;
                        events.wait_until(|| {
                            free.fetch_update(Acquire, Relaxed, |free| free.checked_sub(1)).ok()
                        });
                    })
                })
                .collect();
            for _ in 0..waiters {
                shared.1.fetch_add(1, Release);
                shared.0.notify_one();
            }
            for handle in handles {
                handle.join().unwrap();
            }
            assert_eq!(shared.1.load(Relaxed), 0);
        });
    }
}

#[test]
fn a_ticket_is_called_by_what_its_look_did_not_see() {
    model(|| {
        let shared = Arc::new((EventCount::new(), AtomicU32::new(0)));
        let notifier = shared.clone();
        let notifier = thread::spawn(move || {
            notifier.1.store(1, Relaxed);
            notifier.0.notify_all();
        });
        let ticket = shared.0.prepare();
        let seen = shared.1.load(Relaxed) == 1;
        notifier.join().unwrap();
        assert!(seen || ticket.is_called(), "asleep beside the condition");
    });
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The notifier looks for waiters without a fence.
    NoFence,
    /// The waiter looks first and announces itself then.
    LooksFirst,
    /// The waiter reads the epoch after its look.
    EpochLast,
}

/// The words of `EventCount`: waiters, epoch, and the condition.
fn decision_to_sleep(fault: Fault) {
    let shared = Arc::new((AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0)));
    let notifier = shared.clone();
    let notifier = thread::spawn(move || {
        let (waiters, epoch, condition) = &*notifier;
        condition.store(1, Relaxed);
        if fault != Fault::NoFence {
            fence(SeqCst);
        }
        if waiters.load(Relaxed) != 0 {
            epoch.fetch_add(1, Release);
        }
    });
    let (waiters, epoch, condition) = &*shared;
    let mut seen = fault == Fault::LooksFirst && condition.load(Relaxed) == 1;
    waiters.fetch_add(1, Relaxed);
    fence(SeqCst);
    let mut known = epoch.load(Acquire);
    if fault != Fault::LooksFirst {
        seen = condition.load(Relaxed) == 1;
    }
    if fault == Fault::EpochLast {
        known = epoch.load(Acquire);
    }
    notifier.join().unwrap();
    assert!(seen || epoch.load(Acquire) != known, "asleep beside the condition");
}

#[test]
fn a_fence_on_each_side_is_enough() {
    model(|| decision_to_sleep(Fault::None));
}

#[test]
#[should_panic(expected = "asleep beside the condition")]
fn twin_whose_notifier_has_no_fence() {
    model(|| decision_to_sleep(Fault::NoFence));
}

#[test]
#[should_panic(expected = "asleep beside the condition")]
fn twin_that_looks_before_it_announces_itself() {
    model(|| decision_to_sleep(Fault::LooksFirst));
}

#[test]
#[should_panic(expected = "asleep beside the condition")]
fn twin_that_reads_the_epoch_after_its_look() {
    model(|| decision_to_sleep(Fault::EpochLast));
}

/// Two notifiers beside one wish: the signal comes once, unless the look after the wish finds what both changed.
#[test]
fn a_wish_is_answered_once() {
    model(|| {
        let signals = Arc::new(AtomicU32::new(0));
        let count = signals.clone();
        let events = EventCount::with_signal(move || _ = count.fetch_add(1, Relaxed));
        let shared = Arc::new((events, AtomicU32::new(0)));
        let notifiers: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.1.fetch_add(1, Relaxed);
                    shared.0.notify_one();
                })
            })
            .collect();
        shared.0.arm();
        let seen = shared.1.load(Relaxed);
        notifiers.into_iter().for_each(|notifier| notifier.join().unwrap());
        let signals = signals.load(Relaxed);
        assert!(signals <= 1, "two signals for one wish");
        assert!(signals == 1 || seen == 2, "armed beside the condition");
    });
}

/// The wish and its signals; the notifier takes the wish down in one step, or looks and then takes it down.
fn wish(one_step: bool) {
    let shared = Arc::new((AtomicU32::new(1), AtomicU32::new(0)));
    let tell = move |(armed, signals): &(AtomicU32, AtomicU32)| {
        let wished = match one_step {
            true => armed.swap(0, Acquire) != 0,
            false => armed.load(Acquire) != 0,
        };
        if wished {
            armed.store(0, Release);
            signals.fetch_add(1, Relaxed);
        }
    };
    let other = shared.clone();
    let other = thread::spawn(move || tell(&other));
    tell(&shared);
    other.join().unwrap();
    assert_eq!(shared.1.load(Relaxed), 1, "two signals for one wish");
}

#[test]
fn a_wish_taken_down_in_one_step_is_answered_once() {
    model(|| wish(true));
}

#[test]
#[should_panic(expected = "two signals for one wish")]
fn twin_that_looks_for_the_wish_and_then_takes_it_down() {
    model(|| wish(false));
}
