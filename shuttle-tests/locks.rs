//! The locks with more threads than loom can take: alone inside, everyone gets in, a writer sees no reader.
//!
//! The real locks around a cell that looks whether two accesses overlap. The twins are copies of a word with one step
//! exchanged.

#![allow(unsafe_code, reason = "the twins share cells")]

use crate::sync::{
    Arc, AtomicU32, Lock, Ordering, RawLock, RawMcs, RawSpin, RawTicket, SpinRwLock, UnsafeCell, thread,
};
use Ordering::{AcqRel, Acquire, Release};

use super::{catch, explore, join_all};

/// Four threads, each twice inside; some only try.
fn counting<R: RawLock + Send + Sync + 'static>() {
    let lock = Arc::new(Lock::<R, u32>::new(0));
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let lock = lock.clone();
            thread::spawn(move || {
                let tried = number == 3 && lock.try_lock().map(|mut guard| *guard += 1).is_some();
                for _ in u32::from(tried)..2 {
                    *lock.lock() += 1;
                }
            })
        })
        .collect();
    join_all(threads);
    assert_eq!(*lock.lock(), 8, "an addition was lost");
}

#[test]
fn four_threads_at_a_spin_lock_lose_nothing() {
    explore(counting::<RawSpin>);
}

#[test]
fn four_threads_at_a_ticket_lock_lose_nothing() {
    explore(counting::<RawTicket>);
}

#[test]
fn four_threads_at_an_mcs_lock_lose_nothing() {
    explore(counting::<RawMcs>);
}

#[test]
fn readers_writers_and_an_upgrade_keep_out_of_each_other() {
    explore(|| {
        let lock = Arc::new(SpinRwLock::new([0_u32; 2]));
        let mut threads = Vec::new();
        for number in 0..2 {
            let of_writer = lock.clone();
            threads.push(thread::spawn(move || {
                for _ in 0..2 {
                    if number == 0 {
                        of_writer.write().iter_mut().for_each(|word| *word += 1);
                    } else {
                        let guard = of_writer.upgradable();
                        let seen = guard[0];
                        let mut guard = guard.upgrade();
                        assert_eq!(*guard, [seen; 2], "somebody wrote in between");
                        *guard = [seen + 1; 2];
                    }
                }
            }));
            let of_reader = lock.clone();
            threads.push(thread::spawn(move || {
                let mut last = 0;
                for _ in 0..2 {
                    let seen = *of_reader.read();
                    assert!(seen[0] == seen[1] && seen[0] >= last, "a write half done");
                    last = seen[0];
                }
            }));
        }
        join_all(threads);
        assert_eq!(*lock.read(), [4; 2], "an addition was lost");
        assert!(lock.try_write().is_some(), "nobody is inside, nobody waits");
    });
}

/// One word: the writer at bit 0, readers above it.
struct Word(AtomicU32, UnsafeCell<u32>);

// SAFETY: the cell looks for overlapping accesses.
unsafe impl Sync for Word {}

fn readers_and_writer(writer_waits_after_its_mark: bool) {
    let shared = Arc::new(Word(AtomicU32::new(0), UnsafeCell::new(0)));
    let readers = [0; 3].map(|_| {
        let reader = shared.clone();
        thread::spawn(move || {
            let enter = |word: u32| (word & 1 == 0).then_some(word + 2);
            if reader.0.fetch_update(Acquire, Acquire, enter).is_ok() {
                // SAFETY: the cell looks whether somebody writes.
                reader.1.with(|value| unsafe { *value });
                reader.0.fetch_sub(2, Release);
            }
        })
    });
    let Word(word, value) = &*shared;
    let was_empty = word.load(Acquire) == 0;
    word.fetch_or(1, AcqRel);
    if if writer_waits_after_its_mark { word.load(Acquire) == 1 } else { was_empty } {
        // SAFETY: the cell looks whether somebody else is here.
        value.with_mut(|value| unsafe { *value = 1 });
    }
    join_all(readers);
}

#[test]
fn a_writer_that_looks_after_its_mark_is_alone() {
    explore(|| readers_and_writer(true));
}

#[test]
#[should_panic(expected = "two accesses to a cell overlap")]
fn twin_whose_writer_looks_before_its_mark() {
    catch(|| readers_and_writer(false));
}
