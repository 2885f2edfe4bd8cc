//! `TicketLock`: one thread at a time is inside, and no call of a sleeping ticket is lost.
//!
//! The real lock, whose waiters sleep after one yield here. A lost call would be a deadlock, on which loom ends the whole
//! program; so the twin is a copy of the words that stops at the decision to sleep.

use super::spin_lock::counting;
use crate::sync::{Arc, AtomicU32, Ordering, RawTicket, model, thread};
use Ordering::{AcqRel, Acquire, Relaxed, Release};

#[test]
fn one_thread_at_a_time_is_inside_and_every_call_is_heard() {
    model(|| counting::<RawTicket>(2));
    model(|| counting::<RawTicket>(3));
}

const CALL: u32 = 16;

/// Ticket 1 lies down while ticket 0 gives the lock back.
fn decision_to_sleep(reads_the_bed_first: bool) {
    let shared = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let holder = shared.clone();
    let holder = thread::spawn(move || {
        let (serving, bed) = &*holder;
        if serving.fetch_add(CALL, AcqRel) % CALL != 0 {
            bed.fetch_add(1, Release);
        }
    });
    let (serving, bed) = &*shared;
    let mut seen = bed.load(Relaxed);
    let called = serving.fetch_add(1, AcqRel) / CALL == 1;
    if !reads_the_bed_first {
        seen = bed.load(Relaxed);
    }
    holder.join().unwrap();
    assert!(called || bed.load(Acquire) != seen, "asleep though called");
}

#[test]
fn a_bed_read_before_the_count_changes_with_the_call() {
    model(|| decision_to_sleep(true));
}

#[test]
#[should_panic(expected = "asleep though called")]
fn twin_that_counts_itself_before_it_reads_the_bed() {
    model(|| decision_to_sleep(false));
}
