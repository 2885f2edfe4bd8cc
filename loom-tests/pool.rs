//! The pool: a task that was accepted is run, by a thread that was asleep or on its way there, also when the end comes
//! meanwhile; its result reaches who waits for it.
//!
//! Where a sleep is real a lost wake ends the program, so the twins stop at the decision to sleep, or look at what is left.

#![allow(unsafe_code, reason = "a result in a cell, by hand")]

use crate::pool::models::{Model, task};
use crate::sync::{Arc, AtomicBool, AtomicU32, Ordering, UnsafeCell, fence, model, thread};
use Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

#[test]
fn an_accepted_task_is_run_before_the_thread_ends() {
    model(|| {
        let pool = Model::new(1);
        let worker = pool.clone();
        let worker = thread::spawn(move || worker.run(0));
        let ran = Arc::new(AtomicU32::new(0));
        let caller = (pool.clone(), ran.clone());
        let caller = thread::spawn(move || caller.0.submit(&caller.1));
        pool.close();
        let accepted = caller.join().unwrap();
        worker.join().unwrap();
        assert_eq!(ran.load(Acquire), u32::from(accepted), "accepted and run, or refused and not");
        assert_eq!(pool.finished(), u64::from(accepted));
    });
}

#[test]
fn a_thread_asleep_or_on_its_way_there_is_woken_for_a_task() {
    model(|| {
        let pool = Model::new(1);
        let worker = pool.clone();
        let worker = thread::spawn(move || worker.run(0));
        let ran = Arc::new(AtomicU32::new(0));
        assert!(pool.submit(&ran));
        // Only the task's own wake may bring this about: the end comes after it.
        ran.wait_for(1);
        pool.close();
        worker.join().unwrap();
    });
}

/// Loom's yield, until the word has this value.
trait WaitFor {
    fn wait_for(&self, value: u32);
}

impl WaitFor for AtomicU32 {
    fn wait_for(&self, value: u32) {
        while self.load(Acquire) != value {
            thread::yield_now();
        }
    }
}

#[test]
fn an_immediate_end_drops_what_it_does_not_run() {
    model(|| {
        let pool = Model::new(1);
        let worker = pool.clone();
        let ran = Arc::new(AtomicU32::new(0));
        assert!(pool.submit(&ran));
        let worker = thread::spawn(move || worker.run(0));
        let dropped = pool.halt();
        worker.join().unwrap();
        assert_eq!(ran.load(Acquire) as usize + dropped, 1, "run or dropped, not both");
    });
}

/// The rule of CALLING by hand: two submissions, and a thread that ends its search and decides to sleep.
fn calling(lowers_before_the_look: bool) {
    let shared = Arc::new((AtomicBool::new(true), AtomicU32::new(0), AtomicBool::new(false)));
    let caller = shared.clone();
    let caller = thread::spawn(move || {
        let (calling, work, idle) = &*caller;
        work.store(1, Relaxed);
        fence(SeqCst);
        !calling.load(Relaxed) && idle.load(Relaxed)
    });
    let (calling, work, idle) = &*shared;
    let lower = || {
        calling.swap(false, AcqRel);
    };
    if lowers_before_the_look {
        lower();
    }
    idle.store(true, Relaxed);
    fence(SeqCst);
    let found = work.load(Relaxed) != 0;
    if !lowers_before_the_look {
        lower();
    }
    let woken = caller.join().unwrap();
    assert!(found || woken, "asleep beside the work");
}

#[test]
fn a_search_that_ends_before_the_last_look_hides_no_task() {
    model(|| calling(true));
}

#[test]
#[should_panic(expected = "asleep beside the work")]
fn twin_that_looks_before_it_ends_its_search() {
    model(|| calling(false));
}

#[test]
fn a_result_reaches_the_one_who_waits() {
    model(|| {
        let (settle, mut task) = task();
        let pool = thread::spawn(settle);
        assert_eq!(task.wait(None), Ok(7));
        pool.join().unwrap();
    });
}

#[test]
fn a_result_that_nobody_takes_is_dropped_once() {
    model(|| {
        let (settle, mut task) = task();
        let pool = thread::spawn(settle);
        let seen = task.try_take();
        assert!(seen.is_none_or(|result| result == Ok(7)));
        drop(task);
        pool.join().unwrap();
    });
}

/// The hand-over of a result by hand: the word is changed after the result is written, or before.
fn hand_over(writes_first: bool) {
    let shared = Arc::new((AtomicU32::new(0), UnsafeCell::new(0)));
    let pool = shared.clone();
    let pool = thread::spawn(move || {
        let write = || {
            pool.1.with_mut(|place| {
                // SAFETY: loom finds the run in which another access overlaps, which is what the twin is for.
                unsafe { *place = 7 }
            });
        };
        if writes_first {
            write();
            pool.0.fetch_or(1, Release);
        } else {
            pool.0.fetch_or(1, Release);
            write();
        }
    });
    if shared.0.fetch_or(2, AcqRel) & 1 != 0 {
        // SAFETY: as above.
        shared.1.with_mut(|place| unsafe { assert_eq!(*place, 7, "no result") });
    }
    pool.join().unwrap();
}

#[test]
fn a_result_is_there_when_it_is_said_to_be() {
    model(|| hand_over(true));
}

#[test]
#[should_panic]
fn twin_that_says_so_before_the_result_is_there() {
    model(|| hand_over(false));
}
