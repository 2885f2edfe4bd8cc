//! `Counter`: two threads in one shard lose nothing, and a sum holds what its reader has heard of.

use crate::sync::{Arc, AtomicU32, AtomicU64, Counter, Ordering, model, thread};
use Ordering::{Acquire, Relaxed, Release};

fn counting(add: fn(&Counter, &AtomicU64), sum: fn(&Counter, &AtomicU64) -> u64) {
    let shared = Arc::new((Counter::new(), AtomicU64::new(0), AtomicU32::new(0)));
    let other = shared.clone();
    let other = thread::spawn(move || {
        add(&other.0, &other.1);
        other.2.store(1, Release);
    });
    add(&shared.0, &shared.1);
    let heard = shared.2.load(Acquire);
    assert!(sum(&shared.0, &shared.1) > u64::from(heard), "less than was heard of");
    other.join().unwrap();
    assert_eq!(sum(&shared.0, &shared.1), 2, "an addition was lost");
}

#[test]
fn nothing_is_lost_in_a_shard_of_two_threads() {
    model(|| counting(|counter, _| counter.add(1), |counter, _| counter.sum()));
}

#[test]
#[should_panic(expected = "was lost")]
fn twin_that_adds_in_two_steps() {
    let add = |_: &Counter, word: &AtomicU64| word.store(word.load(Relaxed) + 1, Relaxed);
    model(move || counting(add, |_, word| word.load(Relaxed)));
}
