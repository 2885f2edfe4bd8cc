//! `EventCount`: no waiter sleeps beside a condition that came true.
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
    let mut known = epoch.load(Acquire);
    fence(SeqCst);
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
