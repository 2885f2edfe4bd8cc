//! `Sleeper`: the thread that goes to sleep misses no waker.
//!
//! Where the sleep is real, a lost wake is a deadlock, on which loom ends the whole program. The
//! twins therefore stop at the decision to sleep: once the waker is done, the state must be awake.

use crate::sync::{Arc, AtomicU32, Ordering, Sleeper, fence, model, thread};
use Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

#[test]
fn a_sleeper_wakes_for_each_piece_of_work() {
    for wakers in [1, 2] {
        model(move || {
            let shared = Arc::new((Sleeper::new(), AtomicU32::new(0)));
            let threads: Vec<_> = (0..wakers)
                .map(|_| {
                    let shared = shared.clone();
                    thread::spawn(move || {
                        shared.1.fetch_add(1, Release);
                        shared.0.wake();
                    })
                })
                .collect();
            let (sleeper, work) = &*shared;
            loop {
                sleeper.prepare();
                if work.load(Acquire) == wakers {
                    sleeper.cancel();
                    break;
                }
                assert!(sleeper.sleep(None));
            }
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }
}

/// A sleeper that watches before it sleeps, and how it ends the watch.
fn watch(end: fn(&AtomicU32)) {
    const ASLEEP: u32 = 1;
    const WATCHING: u32 = 2;
    let shared = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let waker = shared.clone();
    let waker = thread::spawn(move || {
        let (state, work) = &*waker;
        work.store(1, Release);
        fence(SeqCst);
        if state.load(Relaxed) != 0 {
            state.swap(0, AcqRel);
        }
    });
    let (state, work) = &*shared;
    state.swap(ASLEEP, Relaxed);
    fence(SeqCst);
    let found = work.load(Acquire) == 1;
    if !found && state.compare_exchange(ASLEEP, WATCHING, AcqRel, Acquire).is_ok() {
        let awake = state.load(Acquire) == 0;
        if !awake {
            end(state);
        }
    }
    waker.join().unwrap();
    assert!(found || state.load(Acquire) == 0, "asleep beside the work");
}

#[test]
fn a_watch_that_ends_paints_no_wake_over() {
    model(|| watch(|state| _ = state.compare_exchange(2, 1, AcqRel, Acquire)));
}

#[test]
#[should_panic(expected = "asleep beside the work")]
fn twin_whose_watch_ends_by_a_store() {
    model(|| watch(|state| state.store(1, Release)));
}

#[test]
fn a_sleeper_that_watches_first_wakes_for_each_piece_of_work() {
    // A lost wake would leave it asleep for ever, on which loom ends the program.
    model(|| {
        let shared = Arc::new((Sleeper::new(), AtomicU32::new(0)));
        let other = shared.clone();
        let waker = thread::spawn(move || {
            for _ in 0..2 {
                other.1.fetch_add(1, Release);
                other.0.wake();
            }
        });
        let (sleeper, work) = &*shared;
        loop {
            sleeper.prepare();
            if work.load(Acquire) == 2 {
                sleeper.cancel();
                break;
            }
            if !sleeper.watch(std::time::Duration::from_micros(1)) {
                assert!(sleeper.sleep(None));
            }
        }
        waker.join().unwrap();
    });
}

#[derive(Clone, Copy)]
enum Order {
    PreparesThenLooks,
    LooksThenPrepares,
}

fn decision_to_sleep(order: Order) {
    let shared = Arc::new((Sleeper::new(), AtomicU32::new(0)));
    let waker = shared.clone();
    let waker = thread::spawn(move || {
        waker.1.store(1, Release);
        waker.0.wake();
    });
    let (sleeper, work) = &*shared;
    let found = match order {
        Order::PreparesThenLooks => {
            sleeper.prepare();
            work.load(Acquire) == 1
        }
        Order::LooksThenPrepares => {
            let found = work.load(Acquire) == 1;
            sleeper.prepare();
            found
        }
    };
    waker.join().unwrap();
    assert!(found || !sleeper.wake(), "asleep beside the work");
}

#[test]
fn the_sleeper_sees_the_work_or_the_waker_sees_the_sleeper() {
    model(|| decision_to_sleep(Order::PreparesThenLooks));
}

#[test]
#[should_panic(expected = "asleep beside the work")]
fn twin_that_looks_before_it_prepares() {
    model(|| decision_to_sleep(Order::LooksThenPrepares));
}

/// The words of `Sleeper`, with or without the waker's fence between publishing and looking.
fn hand_written(fenced: bool) {
    let shared = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let waker = shared.clone();
    let waker = thread::spawn(move || {
        let (state, work) = &*waker;
        work.store(1, Release);
        if fenced {
            fence(SeqCst);
        }
        if state.load(Relaxed) == 1 {
            state.swap(0, AcqRel);
        }
    });
    let (state, work) = &*shared;
    state.store(1, Relaxed);
    fence(SeqCst);
    let found = work.load(Acquire) == 1;
    waker.join().unwrap();
    assert!(found || state.load(Acquire) == 0, "asleep beside the work");
}

#[test]
fn a_fence_on_each_side_is_enough() {
    model(|| hand_written(true));
}

#[test]
#[should_panic(expected = "asleep beside the work")]
fn twin_whose_waker_has_no_fence() {
    model(|| hand_written(false));
}

#[test]
fn a_sleep_with_a_limit_tells_a_wake_from_the_end_of_its_time() {
    model(|| {
        let sleeper = Arc::new(Sleeper::new());
        let waker = sleeper.clone();
        let waker = thread::spawn(move || waker.wake());
        sleeper.prepare();
        let woken = sleeper.sleep(Some(std::time::Duration::from_millis(1)));
        let sent = waker.join().unwrap();
        assert!(sent || !woken, "woken by nobody");
        assert!(!sleeper.wake(), "awake after the sleep, however it ended");
    });
}
