//! The shared queues against what a sequential one could answer; the gate: nothing is accepted after an end was told.
//!
//! Real structures, with loom's cells in them; crossbeam's queues are stood in for by a deque behind a mutex.

#![allow(unsafe_code, reason = "the twins share cells")]

use crate::queue::{Gate, Lanes, Levels, Mpmc, PopError, PushError, Shared, Stack, Tickets};
use crate::sync::{
    Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell, heavy_fence, light_fence, model, thread,
};
use Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Two threads push one value each and pop one; then every value has been seen once.
fn each_value_once<Q: Shared<Item = Box<u32>> + Send + Sync + 'static>(queue: Q) {
    let queue = Arc::new(queue);
    let other = queue.clone();
    let turn = |queue: &Q, value: u32| {
        assert!(queue.try_push(Box::new(value)).is_ok(), "two fit");
        queue.try_pop().map_or(0, |value| *value)
    };
    let thread = thread::spawn(move || turn(&other, 1));
    let own = turn(&queue, 2);
    let mut seen = own + thread.join().unwrap();
    while let Some(value) = queue.try_pop() {
        seen += *value;
    }
    assert_eq!(seen, 3, "lost or seen twice");
}

#[test]
fn a_stack_gives_each_value_once() {
    model(|| each_value_once(Stack::bounded(3)));
}

#[test]
fn tickets_give_each_value_once() {
    model(|| each_value_once(Tickets::new(2, 1)));
}

#[test]
fn lanes_give_each_value_once() {
    model(|| each_value_once(Lanes::new(2, 2)));
}

#[test]
fn tickets_keep_one_order() {
    model(|| {
        let queue = Arc::new(Tickets::new(2, 1));
        let pusher = queue.clone();
        let pusher = thread::spawn(move || (0..3).filter(|value| pusher.push(*value).is_ok()).count());
        let seen: Vec<u32> = (0..2).filter_map(|_| queue.pop()).collect();
        let pushed = pusher.join().unwrap();
        let seen: Vec<u32> = seen.into_iter().chain(std::iter::from_fn(|| queue.pop())).collect();
        assert!(seen.len() == pushed && seen.is_sorted(), "out of order: {seen:?}");
    });
}

#[test]
fn what_is_urgent_is_taken_first() {
    model(|| {
        let queue = Arc::new(Levels::new(2, 2));
        assert_eq!(queue.push(1, 1), Ok(()));
        let done = Arc::new(AtomicBool::new(false));
        let (pusher, mark) = (queue.clone(), done.clone());
        let pusher = thread::spawn(move || {
            assert_eq!(pusher.push(0, 0), Ok(()));
            mark.store(true, Release);
        });
        let urgent = done.load(Acquire);
        let first = queue.pop();
        assert!(!urgent || first == Some(0), "later before now");
        pusher.join().unwrap();
        assert_eq!(queue.len(), 1);
    });
}

/// A cell that is taken by a ticket and marked with its turn; the ticket is claimed, or only read.
struct Turn {
    tail: AtomicUsize,
    cells: [UnsafeCell<u32>; 2],
}

// SAFETY: loom checks every access.
unsafe impl Sync for Turn {}

fn turns(claim: fn(&AtomicUsize) -> usize) {
    let shared =
        Arc::new(Turn { tail: AtomicUsize::new(0), cells: [UnsafeCell::new(0), UnsafeCell::new(0)] });
    let other = shared.clone();
    let write = move |turn: &Turn| {
        let ticket = claim(&turn.tail);
        // SAFETY: loom checks that nobody else is here.
        turn.cells[ticket].with_mut(|cell| unsafe { *cell = 1 });
    };
    let thread = thread::spawn(move || write(&other));
    write(&shared);
    thread.join().unwrap();
}

#[test]
fn a_ticket_is_claimed_by_one() {
    model(|| {
        turns(|tail| {
            let mut ticket = tail.load(Relaxed);
            while let Err(now) = tail.compare_exchange(ticket, ticket + 1, Relaxed, Relaxed) {
                ticket = now;
            }
            ticket
        });
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_that_reads_its_ticket_and_then_moves_on() {
    model(|| {
        turns(|tail| {
            let ticket = tail.load(Relaxed);
            tail.store(ticket + 1, Relaxed);
            ticket
        });
    });
}

#[test]
fn a_gate_accepts_nothing_after_it_told_the_end() {
    model(|| {
        let gate = Arc::new(Gate::new(Mpmc::new(1)));
        let pusher = gate.clone();
        let pusher = thread::spawn(move || match pusher.push(7) {
            Ok(()) => true,
            Err(PushError::Closed(value)) => value != 7,
            Err(PushError::Full(_)) => unreachable!("one fits"),
        });
        assert!(gate.close() && !gate.close());
        let taken = match gate.pop_wait(None) {
            Ok(value) => value == 7,
            Err(PopError::Closed) => false,
            Err(PopError::Empty) => unreachable!("it waits without a limit"),
        };
        assert_eq!(pusher.join().unwrap(), taken, "accepted and lost");
    });
}

/// What a copy of the gate's protocol does.
#[derive(Clone, Copy)]
struct Door {
    /// Both fence, between their write and their read.
    fences: bool,
    /// The push counts itself in.
    counts: bool,
}

/// The gate's protocol: inside, closed, one value, by a thread whose word is its own. The twins leave a fence or the count out.
fn gate(door: Door) {
    let shared = Arc::new((AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0)));
    let pusher = shared.clone();
    let pusher = thread::spawn(move || {
        let (inside, closed, value) = &*pusher;
        inside.store(usize::from(door.counts), Release);
        if door.fences {
            light_fence();
        }
        let accepted = !closed.load(Acquire);
        if accepted {
            value.store(1, Relaxed);
        }
        inside.store(0, Release);
        accepted
    });
    let (inside, closed, value) = &*shared;
    closed.swap(true, AcqRel);
    if door.fences {
        heavy_fence();
    }
    let end = inside.load(Acquire) == 0 && value.load(Relaxed) == 0;
    let accepted = pusher.join().unwrap();
    assert!(!(end && accepted), "accepted after the end");
}

/// The way out: a pop that finds a push inside sleeps, and the push, which was refused, wakes it.
fn way_out(fences: bool) {
    let shared = Arc::new((AtomicUsize::new(1), AtomicBool::new(false)));
    let pusher = shared.clone();
    let pusher = thread::spawn(move || {
        let (inside, closed) = &*pusher;
        inside.store(0, Release);
        if fences {
            light_fence();
        }
        closed.load(Acquire)
    });
    let (inside, closed) = &*shared;
    closed.swap(true, AcqRel);
    if fences {
        heavy_fence();
    }
    let sleeps = inside.load(Acquire) != 0;
    let wakes = pusher.join().unwrap();
    assert!(!sleeps || wakes, "nobody wakes it");
}

#[test]
fn a_push_that_leaves_wakes_the_pop_that_waits_for_it() {
    model(|| way_out(true));
}

#[test]
#[should_panic(expected = "nobody wakes it")]
fn twin_that_leaves_without_a_fence() {
    model(|| way_out(false));
}

#[test]
fn a_push_inside_puts_the_end_off() {
    model(|| gate(Door { fences: true, counts: true }));
}

#[test]
#[should_panic(expected = "accepted after the end")]
fn twin_without_the_fences() {
    model(|| gate(Door { fences: false, counts: true }));
}

#[test]
#[should_panic(expected = "accepted after the end")]
fn twin_that_does_not_count_itself_in() {
    model(|| gate(Door { fences: true, counts: false }));
}

/// Two threads pop a stack of two cells and push what they popped; the head is told apart by a tag, or not.
fn stack(tag: usize) {
    // Cell n + 1 is word n + 1: 2 stands on 1. The head is tag * 16 + word.
    let shared =
        Arc::new((AtomicUsize::new(2), [AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(1)]));
    let pop = move |shared: &(AtomicUsize, [AtomicUsize; 3])| {
        let mut head = shared.0.load(Acquire);
        while head % 16 != 0 {
            let below = shared.1[head % 16].load(Relaxed);
            match shared.0.compare_exchange(head, (head / 16 + tag) * 16 + below, AcqRel, Acquire) {
                Ok(_) => return head % 16,
                Err(now) => head = now,
            }
        }
        0
    };
    let other = shared.clone();
    let thread = thread::spawn(move || {
        // Pops both, and puts the first one back.
        let (first, second) = (pop(&other), pop(&other));
        if first != 0 && second != 0 {
            let mut head = other.0.load(Relaxed);
            loop {
                other.1[first].store(head % 16, Relaxed);
                match other.0.compare_exchange(head, (head / 16 + tag) * 16 + first, Release, Relaxed) {
                    Ok(_) => return second,
                    Err(now) => head = now,
                }
            }
        }
        first.max(second)
    });
    let own = pop(&shared);
    let held = thread.join().unwrap();
    assert!(own == 0 || own != held);
    let mut left = [0; 3];
    for _ in 0..3 {
        left[pop(&shared)] += 1;
    }
    assert!(held == 0 || left[held] == 0, "a cell with two owners");
}

#[test]
fn a_tag_tells_a_head_that_came_back() {
    model(|| stack(1));
}

#[test]
#[should_panic(expected = "a cell with two owners")]
fn twin_without_a_tag() {
    model(|| stack(0));
}
