//! `Seats`: no work lies there while everybody sleeps; one that retires leaves none behind.
//!
//! A worker that takes work, looks again once its sleep is announced, and sleeps; two that bring work. Where the sleep is
//! real a lost wake ends the program, so the twins stop at the decision to sleep, or to go.

use std::time::Duration;

use crate::sync::{Arc, AtomicBool, AtomicU32, Ordering, Seats, Sleeper, fence, model, thread};
use Ordering::{AcqRel, Relaxed, SeqCst};

struct Desk {
    seats: Seats,
    work: AtomicU32,
    /// All are at work: the timer is asked for another thread.
    asked: AtomicBool,
}

impl Desk {
    fn new() -> Self {
        Self { seats: Seats::new(1), work: AtomicU32::new(0), asked: AtomicBool::new(false) }
    }

    /// As `Commons::submit` and `ring`. Relaxed: the seats alone order the work and the look.
    fn submit(&self) {
        if self.work.fetch_add(1, Relaxed) == 0 {
            self.ring();
        }
    }

    fn ring(&self) {
        if !self.seats.wake_one() {
            self.asked.swap(true, AcqRel);
        }
    }

    fn has_work(&self) -> bool {
        self.work.load(Relaxed) != 0
    }
}

#[test]
fn a_worker_sleeps_only_while_there_is_no_work() {
    model(|| {
        let desk = Arc::new(Desk::new());
        let callers = [0; 2].map(|_| {
            let desk = desk.clone();
            thread::spawn(move || desk.submit())
        });
        let mut done = 0;
        while done < 2 {
            done += desk.work.swap(0, Relaxed);
            if done < 2 {
                desk.seats.sleep(0, None, || desk.has_work());
            }
        }
        for caller in callers {
            caller.join().unwrap();
        }
    });
}

/// A worker whose time is up goes for good, and looks once more on its way or not.
fn retire(looks_again: bool) {
    let desk = Arc::new(Desk::new());
    let caller = desk.clone();
    let caller = thread::spawn(move || caller.submit());
    let mut gone = false;
    while !gone && desk.work.swap(0, Relaxed) == 0 {
        // With a limit, loom ends the sleep at any time.
        let woken = desk.seats.sleep(0, Some(Duration::from_millis(1)), || desk.has_work());
        gone = !woken;
    }
    if gone && looks_again && desk.has_work() {
        desk.ring();
    }
    caller.join().unwrap();
    assert!(!gone || !desk.has_work() || desk.asked.load(Relaxed), "work is left and nobody knows");
}

#[test]
fn a_worker_that_retires_leaves_no_work_behind() {
    model(|| retire(true));
}

#[test]
#[should_panic(expected = "work is left and nobody knows")]
fn twin_that_retires_without_a_last_look() {
    model(|| retire(false));
}

/// One seat by hand: its bit and its sleeper. A worker that decides to sleep, and one that brings work.
fn by_hand(looks_last: bool) {
    let shared = Arc::new((AtomicU32::new(0), Sleeper::new(), AtomicU32::new(0)));
    let caller = shared.clone();
    let caller = thread::spawn(move || {
        let (idle, sleeper, work) = &*caller;
        work.store(1, Relaxed);
        fence(SeqCst);
        if idle.swap(0, AcqRel) != 0 {
            sleeper.wake();
        }
    });
    let (idle, sleeper, work) = &*shared;
    let early = work.load(Relaxed);
    idle.fetch_or(1, AcqRel);
    sleeper.prepare();
    let found = if looks_last { work.load(Relaxed) } else { early };
    caller.join().unwrap();
    assert!(found != 0 || !sleeper.wake(), "asleep beside the work");
}

#[test]
fn the_look_after_the_announcement_finds_the_work() {
    model(|| by_hand(true));
}

#[test]
#[should_panic(expected = "asleep beside the work")]
fn twin_that_looks_before_it_announces() {
    model(|| by_hand(false));
}
