//! `McsLock`: one thread at a time is inside, and nobody is left behind in the queue.
//!
//! The real lock, whose waiters sleep after one yield here and whose head closes the door at its first sleep. A lost wake
//! would be a deadlock, on which loom ends the whole program; so the twins are copies of one hand-over each.

use super::spin_lock::counting;
use crate::sync::{Arc, AtomicU32, Ordering, RawMcs, model, thread};
use Ordering::{AcqRel, Acquire, Relaxed, Release};

#[test]
fn one_thread_at_a_time_is_inside_and_everyone_comes_out() {
    model(|| counting::<RawMcs>(2));
    model(|| counting::<RawMcs>(3));
}

const BEHIND: u32 = 0;
const ASLEEP: u32 = 1;
const HEAD: u32 = 2;

/// One lies down in the queue while another makes it the head.
fn lying_down(by_exchange: bool) {
    let state = Arc::new(AtomicU32::new(BEHIND));
    let leaver = state.clone();
    let leaver = thread::spawn(move || leaver.swap(HEAD, AcqRel) == ASLEEP);
    let asleep = if by_exchange {
        state.compare_exchange(BEHIND, ASLEEP, Relaxed, Acquire).is_ok()
    } else {
        let behind = state.load(Acquire) == BEHIND;
        if behind {
            state.store(ASLEEP, Relaxed);
        }
        behind
    };
    let woken = leaver.join().unwrap();
    assert!(!asleep || woken && state.load(Acquire) == HEAD, "asleep at the head");
}

#[test]
fn a_node_that_lies_down_by_an_exchange_is_woken() {
    model(|| lying_down(true));
}

#[test]
#[should_panic(expected = "asleep at the head")]
fn twin_that_lies_down_by_a_load_and_a_store() {
    model(|| lying_down(false));
}

/// The last in the queue leaves while another comes: nodes 1 and 2 of a queue by index.
fn leaving(by_exchange: bool) {
    let shared = Arc::new((AtomicU32::new(1), AtomicU32::new(0)));
    let comer = shared.clone();
    let comer = thread::spawn(move || {
        let (tail, next) = &*comer;
        let before = tail.swap(2, AcqRel);
        if before == 1 {
            next.store(2, Release);
        }
        before == 0
    });
    let (tail, next) = &*shared;
    let mut heir = next.load(Acquire);
    if heir == 0 {
        let gone = if by_exchange {
            tail.compare_exchange(1, 0, Release, Relaxed).is_ok()
        } else {
            tail.store(0, Release);
            true
        };
        while !gone && heir == 0 {
            thread::yield_now();
            heir = next.load(Acquire);
        }
    }
    let is_head = comer.join().unwrap();
    assert!(is_head != (heir == 2), "left behind in the queue");
}

#[test]
fn who_leaves_the_queue_hands_its_head_on() {
    model(|| leaving(true));
}

#[test]
#[should_panic(expected = "left behind in the queue")]
fn twin_that_leaves_without_a_look_at_the_tail() {
    model(|| leaving(false));
}

/// The head lies down on the word while the holder gives the lock back: bit 0 held, bit 2 asleep.
fn head_lies_down(by_exchange: bool) {
    let word = Arc::new(AtomicU32::new(1));
    let holder = word.clone();
    let holder = thread::spawn(move || {
        holder.compare_exchange(1, 0, Release, Relaxed).is_err() && holder.fetch_and(!5, Release) & 4 != 0
    });
    let asleep = if by_exchange {
        word.compare_exchange(1, 5, Relaxed, Relaxed).is_ok()
    } else {
        let held = word.load(Relaxed) == 1;
        word.fetch_or(4, Relaxed);
        held
    };
    let woken = holder.join().unwrap();
    assert!(!asleep || woken, "asleep beside a free lock");
}

#[test]
fn a_head_that_lies_down_by_an_exchange_is_woken() {
    model(|| head_lies_down(true));
}

#[test]
#[should_panic(expected = "asleep beside a free lock")]
fn twin_of_a_head_that_looks_and_then_lies_down() {
    model(|| head_lies_down(false));
}
