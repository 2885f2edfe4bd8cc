//! The channels with many threads: each value arrives once and in its sender's order, or comes back; an end is final.

#![allow(unsafe_code, reason = "the twins share cells")]

use crate::queue::{PopError, PushError, mpsc, spsc};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell, thread};
use Ordering::{Acquire, Relaxed, Release};

use super::{catch, explore, join_all};

/// Checks that what one sender's values are among `seen` is `taken` of them, in order. A value is sender * 100 + number.
fn assert_in_order(seen: &[usize], sender: usize, taken: usize) {
    let own: Vec<usize> =
        seen.iter().filter(|value| **value / 100 == sender).map(|value| value % 100).collect();
    assert!(own.iter().copied().eq(0..taken), "sender {sender} had {taken} taken, there came {own:?}");
}

#[test]
fn three_senders_lose_nothing_over_the_ends_of_blocks() {
    explore(|| {
        let (sender, mut receiver) = mpsc::channel::<Box<usize>>();
        let senders: Vec<_> = (0..3)
            .map(|number| {
                let sender = sender.clone();
                thread::spawn(move || {
                    assert!(sender.push(Box::new(number * 100)).is_ok());
                    assert!(
                        sender
                            .push_all((1..4).map(|value| Box::new(number * 100 + value)).collect())
                            .is_empty()
                    );
                    assert!(sender.push(Box::new(number * 100 + 4)).is_ok());
                })
            })
            .collect();
        drop(sender);
        let mut seen = Vec::new();
        loop {
            match receiver.pop_wait(None) {
                Ok(value) => seen.push(*value),
                Err(PopError::Closed) => break,
                Err(PopError::Empty) => {}
            }
        }
        (0..3).for_each(|sender| assert_in_order(&seen, sender, 5));
        join_all(senders);
    });
}

#[test]
fn a_close_among_senders_takes_what_it_accepted_and_gives_back_the_rest() {
    explore(|| {
        let (sender, mut receiver) = mpsc::channel::<Arc<usize>>();
        let alive = Arc::new(0);
        let senders: Vec<_> = (0..3)
            .map(|number| {
                let (sender, _alive) = (sender.clone(), alive.clone());
                thread::spawn(move || {
                    let sent = |value: &usize| match sender.push(Arc::new(number * 100 + value)) {
                        Ok(()) => true,
                        Err(PushError::Closed(back)) => *back != number * 100 + value,
                        Err(PushError::Full(_)) => unreachable!("it has no bound"),
                    };
                    (0..4).take_while(sent).count()
                })
            })
            .collect();
        drop(sender);
        let mut seen = Vec::new();
        seen.extend(receiver.pop().ok().map(|value| *value));
        receiver.close();
        loop {
            match receiver.pop() {
                Ok(value) => seen.push(*value),
                Err(PopError::Closed) => break,
                Err(PopError::Empty) => thread::yield_now(),
            }
        }
        for (number, sender) in senders.into_iter().enumerate() {
            assert_in_order(&seen, number, sender.join().unwrap());
        }
        drop(receiver);
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn a_ring_of_two_places_carries_batches_and_slept_for_values() {
    explore(|| {
        let (mut producer, mut consumer) = spsc::channel::<Box<usize>>(2);
        let writer = thread::spawn(move || {
            let mut values = (0..3).map(Box::new);
            let mut next = values.next();
            while let Some(value) = next.take() {
                assert!(producer.push_wait(value, None).is_ok());
                next = values.next();
            }
            let mut batch = (3..6).map(Box::new).peekable();
            while batch.peek().is_some() {
                if producer.push_all(&mut batch) == 0 {
                    thread::yield_now();
                }
            }
        });
        let (mut seen, mut batch) = (Vec::new(), Vec::new());
        while let Ok(value) = consumer.pop_wait(None) {
            seen.push(*value);
            consumer.pop_all(&mut batch, 2);
            seen.extend(batch.drain(..).map(|value| *value));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
        writer.join().unwrap();
    });
}

/// Places that senders claim and mark; one claims by a load and a store, or by one step.
struct Block {
    claimed: AtomicUsize,
    places: [(AtomicBool, UnsafeCell<usize>); 4],
}

// SAFETY: the cells look for overlapping accesses.
unsafe impl Sync for Block {}

fn claims(in_one_step: bool) {
    let block = Arc::new(Block {
        claimed: AtomicUsize::new(0),
        places: std::array::from_fn(|_| (AtomicBool::new(false), UnsafeCell::new(0))),
    });
    let senders: Vec<_> = (1..4)
        .map(|number| {
            let block = block.clone();
            thread::spawn(move || {
                let place = if in_one_step {
                    block.claimed.fetch_add(1, Relaxed)
                } else {
                    let place = block.claimed.load(Relaxed);
                    block.claimed.store(place + 1, Relaxed);
                    place
                };
                let (written, value) = &block.places[place];
                // SAFETY: the cell looks whether somebody else is here.
                value.with_mut(|value| unsafe { *value = number });
                written.store(true, Release);
            })
        })
        .collect();
    join_all(senders);
    let written = block.places.iter().filter(|(written, _)| written.load(Acquire)).count();
    assert_eq!(written, 3, "a value was lost");
}

#[test]
fn a_place_is_claimed_in_one_step() {
    explore(|| claims(true));
}

#[test]
#[should_panic(expected = "lost")]
fn twin_that_claims_a_place_in_two_steps() {
    catch(|| claims(false));
}
