//! `Parker`: the token is never overlooked, and the taker sees what the bringer wrote.
//!
//! A token overlooked would be a deadlock, on which loom ends the whole program; so the twin is a copy of the word that
//! stops at the decision to sleep.

use crate::sync::{Arc, AtomicU32, Ordering, Parker, model, thread};
use Ordering::{AcqRel, Acquire, Relaxed};

#[test]
fn every_token_ends_a_park() {
    for bringers in [1, 2] {
        model(move || {
            let shared = Arc::new((Parker::new(), AtomicU32::new(0)));
            let handles: Vec<_> = (0..bringers)
                .map(|_| {
                    let shared = shared.clone();
                    thread::spawn(move || {
                        shared.1.fetch_add(1, Relaxed);
                        shared.0.unpark();
                    })
                })
                .collect();
            let (parker, brought) = &*shared;
            while brought.load(Relaxed) < bringers {
                parker.park();
                assert!(brought.load(Relaxed) > 0, "a token without what came with it");
            }
            for handle in handles {
                handle.join().unwrap();
            }
        });
    }
}

#[test]
fn a_park_with_a_limit_leaves_no_mark_behind() {
    model(|| {
        let parker = Arc::new(Parker::new());
        let bringer = parker.clone();
        let bringer = thread::spawn(move || bringer.unpark());
        let took = parker.park_timeout(std::time::Duration::from_millis(1));
        bringer.join().unwrap();
        assert!(took != parker.try_park(), "one token, taken once");
        assert!(!parker.unpark(), "nobody sleeps any more");
    });
}

const EMPTY: u32 = 0;
const TOKEN: u32 = 1;
const PARKED: u32 = 2;

fn decision_to_sleep(by_exchange: bool) {
    let state = Arc::new(AtomicU32::new(EMPTY));
    let bringer = state.clone();
    let bringer = thread::spawn(move || bringer.swap(TOKEN, AcqRel) == PARKED);
    let asleep = if by_exchange {
        state.compare_exchange(EMPTY, PARKED, Relaxed, Relaxed).is_ok()
    } else {
        let empty = state.load(Acquire) == EMPTY;
        if empty {
            state.swap(PARKED, AcqRel);
        }
        empty
    };
    let woken = bringer.join().unwrap();
    assert!(!asleep || woken, "asleep beside the token");
}

#[test]
fn who_parks_by_an_exchange_is_woken() {
    model(|| decision_to_sleep(true));
}

#[test]
#[should_panic(expected = "asleep beside the token")]
fn twin_that_looks_and_then_parks() {
    model(|| decision_to_sleep(false));
}
