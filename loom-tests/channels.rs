//! The channels: each value arrives once, in order, is never read before it is written; an end is final; no sleep is for ever.
//!
//! The real halves, whose cells loom watches. The twins are small copies of the protocol with one step exchanged.

#![allow(unsafe_code, reason = "the twins share cells")]

use crate::queue::{PopError, PushError, mpsc, spsc};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell, model, thread};
use Ordering::{AcqRel, Acquire, Relaxed, Release};

#[test]
fn a_place_is_written_read_and_written_again() {
    model(|| {
        let (mut producer, mut consumer) = spsc::channel::<Box<u32>>(1);
        let writer = thread::spawn(move || {
            assert_eq!(producer.push(Box::new(0)), Ok(()));
            producer.push(Box::new(1)).is_ok()
        });
        let mut seen = Vec::new();
        let end = loop {
            match consumer.pop() {
                Ok(value) => seen.push(*value),
                Err(PopError::Closed) => break seen.len(),
                Err(PopError::Empty) => thread::yield_now(),
            }
        };
        let second = writer.join().unwrap();
        assert_eq!((seen, end), if second { (vec![0, 1], 2) } else { (vec![0], 1) });
    });
}

#[test]
fn a_batch_appears_whole() {
    model(|| {
        let (mut producer, mut consumer) = spsc::channel(4);
        let writer = thread::spawn(move || assert_eq!(producer.push_all(&mut (0..3)), 3));
        let mut seen = Vec::new();
        let count = consumer.pop_all(&mut seen, 4);
        assert!(count == 0 || seen == [0, 1, 2], "a part of a batch");
        writer.join().unwrap();
    });
}

#[test]
fn a_consumer_that_sleeps_is_woken_by_the_push_and_by_the_end() {
    model(|| {
        let (mut producer, mut consumer) = spsc::channel(1);
        let writer = thread::spawn(move || assert_eq!(producer.push(7), Ok(())));
        assert_eq!(consumer.pop_wait(None), Ok(7));
        assert_eq!(consumer.pop_wait(None), Err(PopError::Closed));
        writer.join().unwrap();
    });
}

#[test]
fn an_armed_consumer_is_signalled_or_sees_the_value() {
    model(|| {
        let signals = Arc::new(AtomicUsize::new(0));
        let count = signals.clone();
        let (sender, mut receiver) = mpsc::channel_with_signal(move || {
            count.fetch_add(1, Release);
        });
        let writer = thread::spawn(move || assert_eq!(sender.push(7), Ok(())));
        let armed = receiver.arm();
        writer.join().unwrap();
        assert!(!armed || signals.load(Acquire) != 0, "neither seen nor told");
        assert_eq!(receiver.pop(), Ok(7));
        assert_eq!(receiver.pop(), Err(PopError::Closed));
    });
}

#[test]
fn a_push_that_knows_of_a_close_is_refused() {
    model(|| {
        let (mut producer, mut consumer) = spsc::channel(1);
        assert_eq!(producer.push(0), Ok(()));
        let reader = thread::spawn(move || {
            assert_eq!(consumer.pop(), Ok(0));
            assert!(consumer.close() && !consumer.close());
            consumer
        });
        // Beside the close: taken, or refused for one reason or the other.
        let taken = producer.push(1).is_ok();
        let mut consumer = reader.join().unwrap();
        assert_eq!(producer.push(2), Err(PushError::Closed(2)));
        assert_eq!(consumer.pop().is_ok(), taken);
        assert!(producer.room() <= 1 && producer.close());
        assert_eq!(producer.push(3), Err(PushError::Closed(3)));
        assert_eq!(consumer.pop(), Err(PopError::Closed));
    });
}

/// The limit of a producer that has pushed once to one place: moved on when the consumer's count has, put behind by a close.
fn limit(one_step: bool) {
    let shared = Arc::new((AtomicUsize::new(1), AtomicUsize::new(0), AtomicBool::new(false)));
    let other = shared.clone();
    let consumer = thread::spawn(move || {
        let (limit, head, closed) = &*other;
        head.store(1, Release);
        closed.store(true, Release);
        limit.swap(0, AcqRel);
    });
    let (limit, head, closed) = &*shared;
    if limit.load(Acquire) <= 1 && !closed.load(Acquire) && head.load(Acquire) == 1 {
        if one_step {
            let _moved = limit.compare_exchange(1, 2, Relaxed, Relaxed).is_ok();
        } else {
            limit.store(2, Relaxed);
        }
    }
    consumer.join().unwrap();
    assert!(limit.load(Acquire) <= 1, "pushed after the close");
}

#[test]
fn a_limit_that_is_moved_from_what_it_was_overwrites_no_close() {
    model(|| limit(true));
}

#[test]
#[should_panic(expected = "pushed after the close")]
fn twin_that_stores_its_limit() {
    model(|| limit(false));
}

/// Two senders over the end of a block (of three places, under loom).
#[test]
fn senders_keep_their_order_over_the_end_of_a_block() {
    model(|| {
        let (sender, mut receiver) = mpsc::channel::<Box<u32>>();
        assert_eq!(sender.push(Box::new(100)), Ok(()));
        let second = sender.clone();
        let writer = thread::spawn(move || {
            assert!(second.push_all(vec![Box::new(0), Box::new(1)]).is_empty());
        });
        assert_eq!(sender.push(Box::new(10)), Ok(()));
        drop(sender);
        let mut seen = Vec::new();
        loop {
            match receiver.pop() {
                Ok(value) => seen.push(*value),
                Err(PopError::Closed) => break,
                Err(PopError::Empty) => thread::yield_now(),
            }
        }
        writer.join().unwrap();
        assert!([[100, 10, 0, 1], [100, 0, 10, 1], [100, 0, 1, 10]].contains(&seen[..].try_into().unwrap()));
    });
}

#[test]
fn a_push_beside_a_close_is_refused_or_taken() {
    model(|| {
        let (sender, mut receiver) = mpsc::channel::<Box<u32>>();
        let writer = thread::spawn(move || match sender.push(Box::new(7)) {
            Ok(()) => true,
            Err(PushError::Closed(value)) => *value != 7,
            Err(PushError::Full(_)) => unreachable!("it has no bound"),
        });
        assert!(receiver.close() && !receiver.close());
        let taken = loop {
            match receiver.pop() {
                Ok(_) => break true,
                Err(PopError::Closed) => break false,
                Err(PopError::Empty) => thread::yield_now(),
            }
        };
        assert_eq!(writer.join().unwrap(), taken, "accepted and lost");
    });
}

/// One place with a mark, as in a block; the value is written first, or the mark is.
struct Marked {
    value: UnsafeCell<u32>,
    written: AtomicBool,
}

// SAFETY: loom checks every access.
unsafe impl Sync for Marked {}

fn marked(mark_first: bool) {
    let place = Arc::new(Marked { value: UnsafeCell::new(0), written: AtomicBool::new(false) });
    let writer = place.clone();
    let writer = thread::spawn(move || {
        if mark_first {
            writer.written.store(true, Release);
        }
        // SAFETY: loom checks that nobody else is here.
        writer.value.with_mut(|value| unsafe { *value = 7 });
        writer.written.store(true, Release);
    });
    if place.written.load(Acquire) {
        // SAFETY: as above.
        assert_eq!(place.value.with(|value| unsafe { *value }), 7);
    }
    writer.join().unwrap();
}

#[test]
fn a_mark_behind_the_value_is_sound() {
    model(|| marked(false));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_that_marks_before_it_writes() {
    model(|| marked(true));
}

/// The last place of a block is claimed: its sender puts the next block there, then says so in the index, or the other way
/// round. A block is one place here, and an odd index says that the next one is being installed.
fn installing(index_first: bool) {
    let shared = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let claim = move |(index, block): &(AtomicUsize, AtomicUsize)| loop {
        let (now, here) = (index.load(Acquire), block.load(Acquire));
        if now % 2 == 0 && index.compare_exchange(now, now + 1, Acquire, Relaxed).is_ok() {
            if index_first {
                index.fetch_add(1, Release);
            }
            block.store(here + 1, Release);
            if !index_first {
                index.fetch_add(1, Release);
            }
            break here;
        }
        thread::yield_now();
    };
    let other = shared.clone();
    let sender = thread::spawn(move || claim(&other));
    let here = claim(&shared);
    assert_ne!(sender.join().unwrap(), here, "two senders in one block of one place");
}

#[test]
fn a_block_that_is_there_before_the_index_says_so_is_claimed_once() {
    model(|| installing(false));
}

#[test]
#[should_panic(expected = "two senders in one block of one place")]
fn twin_that_counts_before_it_installs() {
    model(|| installing(true));
}

/// The end as the consumer sees it: a push, then the end; the consumer looks for both.
fn end(look_again: bool) {
    let shared = Arc::new((AtomicUsize::new(0), AtomicBool::new(false)));
    let writer = shared.clone();
    let writer = thread::spawn(move || {
        writer.0.store(1, Release);
        writer.1.store(true, Release);
    });
    let (tail, ended) = &*shared;
    let empty = tail.load(Acquire) == 0;
    if empty && ended.load(Acquire) {
        let over = !look_again || tail.load(Relaxed) == 0;
        assert!(!over, "ended with a value left");
    }
    writer.join().unwrap();
}

#[test]
fn who_sees_the_end_looks_once_more() {
    model(|| end(true));
}

#[test]
#[should_panic(expected = "ended with a value left")]
fn twin_that_believes_its_first_look() {
    model(|| end(false));
}
