//! `SeqLock`: a copy is whole, and an update follows on the last one.
//!
//! The real lock, its words four bytes each here. The twins are copies of the words with a step left out.

use crate::sync::{Arc, AtomicU32, Ordering, SeqLock, fence, model, thread};
use Ordering::{Acquire, Relaxed, Release};

#[test]
fn a_copy_is_whole_and_never_older_than_what_was_heard_of() {
    model(|| {
        let lock = Arc::new((SeqLock::new([0_u32; 2]), AtomicU32::new(0)));
        let writer = lock.clone();
        let writer = thread::spawn(move || {
            writer.0.write([1; 2]);
            writer.1.store(1, Release);
            writer.0.write([2; 2]);
        });
        let heard = lock.1.load(Acquire);
        if let Some([left, right]) = lock.0.try_read() {
            assert_eq!(left, right, "a torn copy");
            assert!(left >= heard, "an old copy");
        }
        writer.join().unwrap();
        assert_eq!(lock.0.read(), [2; 2]);
    });
}

#[test]
fn no_update_is_lost() {
    model(|| {
        let lock = Arc::new(SeqLock::new([0_u32; 2]));
        let other = lock.clone();
        let add = |value: &mut [u32; 2]| value.iter_mut().for_each(|word| *word += 1);
        let other = thread::spawn(move || other.update(add));
        lock.update(add);
        other.join().unwrap();
        assert_eq!(lock.read(), [2; 2], "an update was lost");
    });
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The writer stores words without a fence after the odd sequence.
    WriterNoFence,
    /// The reader looks at the sequence again without a fence after its copy.
    ReaderNoFence,
    /// The reader does not look whether the sequence is odd.
    ReadsBesideAWriter,
}

fn copying(fault: Fault) {
    let shared = Arc::new((AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0)));
    let writer = shared.clone();
    let writer = thread::spawn(move || {
        let (sequence, left, right) = &*writer;
        sequence.store(1, Relaxed);
        if fault != Fault::WriterNoFence {
            fence(Release);
        }
        left.store(1, Relaxed);
        right.store(1, Relaxed);
        sequence.store(2, Release);
    });
    let (sequence, left, right) = &*shared;
    let before = sequence.load(Acquire);
    let copy = (left.load(Relaxed), right.load(Relaxed));
    if fault != Fault::ReaderNoFence {
        fence(Acquire);
    }
    let whole = sequence.load(Relaxed) == before;
    if whole && (before % 2 == 0 || fault == Fault::ReadsBesideAWriter) {
        assert_eq!(copy.0, copy.1, "a torn copy");
    }
    writer.join().unwrap();
}

#[test]
fn a_fence_on_each_side_is_enough() {
    model(|| copying(Fault::None));
}

#[test]
#[should_panic(expected = "a torn copy")]
fn twin_whose_writer_has_no_fence() {
    model(|| copying(Fault::WriterNoFence));
}

#[test]
#[should_panic(expected = "a torn copy")]
fn twin_whose_reader_has_no_fence() {
    model(|| copying(Fault::ReaderNoFence));
}

#[test]
#[should_panic(expected = "a torn copy")]
fn twin_that_reads_beside_a_writer() {
    model(|| copying(Fault::ReadsBesideAWriter));
}
