//! `SpinRwLock`: a writer is alone, an upgrade follows on what it read, and everyone gets in.
//!
//! The real lock around one of loom's cells: an access that is not ordered ends the run. The twin is a copy of the word
//! whose writer looks for readers before it stops new ones.

#![allow(unsafe_code, reason = "the value of the twin lies in a bare cell")]

use crate::sync::{Arc, AtomicU32, Ordering, SpinRwLock, UnsafeCell, model, thread};
use Ordering::{AcqRel, Acquire, Release};

#[test]
fn a_writer_is_alone_beside_a_reader() {
    model(|| {
        let lock = Arc::new(SpinRwLock::new(0));
        let writer = lock.clone();
        let writer = thread::spawn(move || *writer.write() += 1);
        assert!(*lock.read() <= 1);
        if let Some(mut guard) = lock.try_write() {
            *guard += 10;
        }
        writer.join().unwrap();
        let sum = *lock.read();
        assert!(sum == 1 || sum == 11, "an addition was lost");
        assert!(lock.try_write().is_some(), "nobody is inside, nobody waits");
    });
}

#[test]
fn two_writers_lose_nothing() {
    model(|| {
        let lock = Arc::new(SpinRwLock::new(0));
        let writer = lock.clone();
        let writer = thread::spawn(move || *writer.write() += 1);
        *lock.write() += 1;
        writer.join().unwrap();
        assert_eq!(*lock.read(), 2, "an addition was lost");
        assert!(lock.try_upgradable().is_some(), "nobody waits any more");
    });
}

#[test]
fn an_upgrade_follows_on_what_it_read() {
    model(|| {
        let lock = Arc::new(SpinRwLock::new(0));
        let other = lock.clone();
        let other = thread::spawn(move || {
            let guard = other.upgradable();
            let seen = *guard;
            *guard.upgrade() = seen + 1;
        });
        let guard = lock.upgradable();
        let seen = *guard;
        let mut guard = guard.upgrade();
        *guard = seen + 1;
        assert!(*guard.downgrade() > seen);
        other.join().unwrap();
        assert_eq!(*lock.read(), 2, "an addition was lost");
    });
}

/// One word: the writer at bit 0, readers above it.
struct Word(AtomicU32, UnsafeCell<u32>);

// SAFETY: loom checks every access.
unsafe impl Sync for Word {}
// SAFETY: as above.
unsafe impl Send for Word {}

fn reader_and_writer(writer_waits_after_its_mark: bool) {
    let shared = Arc::new(Word(AtomicU32::new(0), UnsafeCell::new(0)));
    let reader = shared.clone();
    let reader = thread::spawn(move || {
        let enter = |word: u32| (word & 1 == 0).then_some(word + 2);
        if reader.0.fetch_update(Acquire, Acquire, enter).is_ok() {
            // SAFETY: loom checks that nobody writes.
            reader.1.with(|value| unsafe { *value });
            reader.0.fetch_sub(2, Release);
        }
    });
    let Word(word, value) = &*shared;
    let was_empty = word.load(Acquire) == 0;
    word.fetch_or(1, AcqRel);
    let alone = if writer_waits_after_its_mark { word.load(Acquire) == 1 } else { was_empty };
    if alone {
        // SAFETY: loom checks that nobody else is here.
        value.with_mut(|value| unsafe { *value = 1 });
    }
    reader.join().unwrap();
}

#[test]
fn a_writer_that_looks_after_its_mark_is_alone() {
    model(|| reader_and_writer(true));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_whose_writer_looks_before_its_mark() {
    model(|| reader_and_writer(false));
}
