//! The shared queues against a sequential oracle: some order of the calls explains every answer.
//!
//! An order must keep each thread's own calls in theirs, and what came before a spawn or after a join; loom's threads have no
//! clock that would tell more. Two answers are free by what the documents say: a queue in parts may find nothing while
//! another's push is under way, so `None` explains itself there; and levels are looked at one after the other, so that the
//! oracle knows only their order within.

use crate::queue::{Lanes, Levels, Mpmc, Shared, Stack, Tickets, Unbounded};
use crate::sync::{Arc, AtomicU32, Ordering, fence, model, thread};
use Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::collections::VecDeque;

/// One call with its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Push(u32, bool),
    Pop(Option<u32>),
}

/// What a sequential queue answers.
#[derive(Clone)]
struct Oracle {
    values: VecDeque<u32>,
    capacity: usize,
    last_in_first_out: bool,
    /// `None` needs no empty queue.
    weak: bool,
}

impl Oracle {
    fn new(capacity: usize) -> Self {
        Self { values: VecDeque::new(), capacity, last_in_first_out: false, weak: false }
    }

    /// Makes the call. False: it would have answered otherwise.
    fn allows(&mut self, call: Call) -> bool {
        match call {
            Call::Push(_, false) => self.values.len() >= self.capacity,
            Call::Push(value, true) => {
                self.values.push_back(value);
                self.values.len() <= self.capacity
            }
            Call::Pop(None) => self.weak || self.values.is_empty(),
            Call::Pop(some) if self.last_in_first_out => self.values.pop_back() == some,
            Call::Pop(some) => self.values.pop_front() == some,
        }
    }

    /// Whether some order of the threads' calls, then those of the end, explains every answer.
    fn explains(&self, threads: &[&[Call]], end: &[Call]) -> bool {
        if threads.iter().all(|calls| calls.is_empty()) {
            let mut oracle = Self { weak: false, ..self.clone() };
            return end.iter().all(|call| oracle.allows(*call));
        }
        threads.iter().enumerate().any(|(index, calls)| {
            let Some((call, rest)) = calls.split_first() else { return false };
            let mut oracle = self.clone();
            let mut threads = threads.to_vec();
            threads[index] = rest;
            oracle.allows(*call) && oracle.explains(&threads, end)
        })
    }
}

fn push<Q: Shared<Item = u32>>(queue: &Q, value: u32) -> Call {
    Call::Push(value, queue.try_push(value).is_ok())
}

fn pop<Q: Shared<Item = u32>>(queue: &Q) -> Call {
    Call::Pop(queue.try_pop())
}

/// Takes what is left, and the `None` behind it.
fn rest<Q: Shared<Item = u32>>(queue: &Q) -> Vec<Call> {
    let mut calls = vec![pop(queue)];
    while calls.last() != Some(&Call::Pop(None)) {
        calls.push(pop(queue));
    }
    calls
}

/// One thread pushes twice, the other pushes and pops.
fn two_threads<Q: Shared<Item = u32> + Send + Sync + 'static>(queue: Q, oracle: &Oracle) {
    let queue = Arc::new(queue);
    let other = queue.clone();
    let other = thread::spawn(move || [push(&*other, 1), push(&*other, 2)]);
    let own = [push(&*queue, 3), pop(&*queue)];
    let theirs = other.join().unwrap();
    let end = rest(&*queue);
    assert!(oracle.explains(&[&own, &theirs], &end), "no order explains {own:?} {theirs:?} {end:?}");
}

/// Two threads pop beside one that pushes.
fn three_threads<Q: Shared<Item = u32> + Send + Sync + 'static>(queue: Q, oracle: &Oracle) {
    let queue = Arc::new(queue);
    let before = push(&*queue, 1);
    let others = [(); 2].map(|()| {
        let queue = queue.clone();
        thread::spawn(move || [pop(&*queue)])
    });
    let own = [push(&*queue, 2)];
    let [first, second] = others.map(|other| other.join().unwrap());
    let end = rest(&*queue);
    let mut oracle = oracle.clone();
    assert!(oracle.allows(before));
    let explained = oracle.explains(&[&own, &first, &second], &end);
    assert!(explained, "no order explains {own:?} {first:?} {second:?} {end:?}");
}

#[test]
fn tickets_are_a_queue() {
    let weak = || Oracle { weak: true, ..Oracle::new(2) };
    model(move || two_threads(Tickets::new(2, 1), &weak()));
    model(move || three_threads(Tickets::new(2, 1), &weak()));
}

#[test]
fn a_stack_is_a_stack() {
    let oracle = || Oracle { last_in_first_out: true, ..Oracle::new(3) };
    model(move || two_threads(Stack::bounded(3), &oracle()));
    model(move || three_threads(Stack::bounded(3), &oracle()));
}

#[test]
fn a_ring_of_turns_is_a_queue() {
    for capacity in 1..=3 {
        model(move || two_threads(Mpmc::new(capacity), &Oracle::new(capacity)));
        model(move || three_threads(Mpmc::new(capacity.max(2)), &Oracle::new(capacity.max(2))));
    }
}

/// A batch claims its places in one step, up to the end of the round: each of its values is a call of its own.
#[test]
fn batches_are_their_values_one_after_the_other() {
    model(|| {
        let queue = Arc::new(Mpmc::new(3));
        let other = queue.clone();
        let other = thread::spawn(move || {
            let left = other.push_batch(vec![1, 2]);
            [1, 2].map(|value| Call::Push(value, !left.contains(&value)))
        });
        let mut seen = Vec::new();
        queue.pop_all(&mut seen, 2);
        let own: Vec<_> =
            seen.iter().map(|value| Call::Pop(Some(*value))).chain([push(&*queue, 3)]).collect();
        let theirs = other.join().unwrap();
        let mut end = Vec::new();
        queue.pop_all(&mut end, 9);
        let end: Vec<_> = end.into_iter().map(|value| Call::Pop(Some(value))).chain([pop(&*queue)]).collect();
        let explained = Oracle::new(3).explains(&[&own, &theirs], &end);
        assert!(explained, "no order explains {own:?} {theirs:?} {end:?}");
    });
}

/// Under loom this is the deque that stands in for crossbeam's: what is checked is the wrapping, and the oracle.
#[test]
fn the_wrapped_queue_is_a_queue() {
    model(|| two_threads(Unbounded::new(), &Oracle::new(usize::MAX)));
}

/// The ring of turns with two cells, whose values are never zero; it says "empty" of the cell, or of both ends.
struct Turns {
    tail: AtomicU32,
    head: AtomicU32,
    cells: [(AtomicU32, AtomicU32); 2],
    looks_at_both_ends: bool,
}

impl Turns {
    fn new(looks_at_both_ends: bool) -> Self {
        let cells = [(); 2].map(|()| (AtomicU32::new(0), AtomicU32::new(0)));
        Self { tail: AtomicU32::new(0), head: AtomicU32::new(0), cells, looks_at_both_ends }
    }

    /// Claims a cell at this end once its turn is twice the round plus `full`. `None`: refused.
    fn claim(&self, end: &AtomicU32, full: u32, meets: impl Fn(u32) -> bool) -> Option<u32> {
        loop {
            let ticket = end.load(Relaxed);
            if self.cells[ticket as usize % 2].0.load(Acquire) == ticket / 2 * 2 + full {
                if end.compare_exchange(ticket, ticket + 1, AcqRel, Relaxed).is_ok() {
                    return Some(ticket);
                }
                continue;
            }
            fence(SeqCst);
            if !self.looks_at_both_ends || meets(ticket) {
                return None;
            }
            thread::yield_now();
        }
    }
}

impl Shared for Turns {
    type Item = u32;

    fn try_push(&self, value: u32) -> Result<(), u32> {
        let meets = |ticket| self.head.load(Relaxed) + 2 == ticket;
        let ticket = self.claim(&self.tail, 0, meets).ok_or(value)?;
        let (turn, cell) = &self.cells[ticket as usize % 2];
        cell.store(value, Relaxed);
        turn.store(ticket / 2 * 2 + 1, Release);
        Ok(())
    }

    fn try_pop(&self) -> Option<u32> {
        let ticket = self.claim(&self.head, 1, |ticket| self.tail.load(Relaxed) == ticket)?;
        let (turn, cell) = &self.cells[ticket as usize % 2];
        let value = cell.load(Relaxed);
        turn.store(ticket / 2 * 2 + 2, Release);
        Some(value)
    }
}

#[test]
fn who_finds_a_cell_not_ready_looks_at_both_ends() {
    model(|| two_threads(Turns::new(true), &Oracle::new(2)));
}

#[test]
#[should_panic(expected = "no order explains")]
fn twin_that_believes_the_cell_alone() {
    model(|| two_threads(Turns::new(false), &Oracle::new(2)));
}

/// A queue of one cell, zero where it is empty, whose steps are two where they should be one.
struct TwoSteps(AtomicU32);

impl Shared for TwoSteps {
    type Item = u32;

    fn try_push(&self, value: u32) -> Result<(), u32> {
        if self.0.load(Acquire) != 0 {
            return Err(value);
        }
        self.0.store(value, Release);
        Ok(())
    }

    fn try_pop(&self) -> Option<u32> {
        let value = self.0.load(Acquire);
        self.0.store(0, Release);
        Some(value).filter(|value| *value != 0)
    }
}

#[test]
#[should_panic(expected = "no order explains")]
fn twin_that_looks_and_pushes_in_two_steps() {
    model(|| two_threads(TwoSteps(AtomicU32::new(0)), &Oracle::new(1)));
}

#[test]
#[should_panic(expected = "no order explains")]
fn twin_that_looks_and_pops_in_two_steps() {
    model(|| three_threads(TwoSteps(AtomicU32::new(0)), &Oracle::new(1)));
}

/// A producer of two values, beside a consumer; it pushes to its own lane, or names none.
fn lanes(own_lane: bool) {
    let queue = Arc::new(Lanes::new(2, 2));
    let other = queue.clone();
    let producer = thread::spawn(move || {
        let lane = other.lane();
        for value in [1, 2] {
            let pushed = if own_lane { lane.push(value) } else { other.try_push(value) };
            assert_eq!(pushed, Ok(()));
        }
    });
    let mut seen: Vec<u32> = (0..2).filter_map(|_| queue.pop()).collect();
    producer.join().unwrap();
    seen.extend(std::iter::from_fn(|| queue.pop()));
    assert_eq!(seen, [1, 2], "out of order");
}

#[test]
fn a_lane_keeps_its_order() {
    model(|| lanes(true));
}

#[test]
#[should_panic(expected = "out of order")]
fn twin_whose_producer_names_no_lane() {
    model(|| lanes(false));
}

/// Two levels of one cell each; where `word` counts, a pop looks only at the levels that a word says are in use.
struct InUse {
    levels: [Mpmc<u32>; 2],
    word: AtomicU32,
}

fn levels(word: bool) {
    let queue = Arc::new(InUse { levels: [Mpmc::new(1), Mpmc::new(1)], word: AtomicU32::new(0) });
    let pop = move |queue: &InUse| {
        (0..2_usize).find_map(|level| {
            let bit = 1 << level;
            if word && queue.word.load(Acquire) & bit == 0 {
                return None;
            }
            let value = queue.levels[level].pop();
            if value.is_none() {
                queue.word.fetch_and(!bit, AcqRel);
            }
            value
        })
    };
    let pusher = queue.clone();
    let pusher = thread::spawn(move || {
        pusher.word.fetch_or(1, AcqRel);
        assert!(pusher.levels[0].push(7).is_ok());
    });
    let first = pop(&queue);
    pusher.join().unwrap();
    assert_eq!(first.or_else(|| pop(&queue)), Some(7), "there, and found by nobody");
}

#[test]
fn every_level_is_looked_at() {
    model(|| levels(false));
}

#[test]
#[should_panic(expected = "there, and found by nobody")]
fn twin_that_keeps_a_word_of_the_levels_in_use() {
    model(|| levels(true));
}

/// Two producers on two levels beside a consumer: each level is first in first out, and nothing is lost.
#[test]
fn each_level_keeps_its_order() {
    model(|| {
        let queue = Arc::new(Levels::new(2, 2));
        let producers: [_; 2] = std::array::from_fn(|level| {
            let queue = queue.clone();
            let level_value = level as u32 * 10;
            thread::spawn(move || {
                assert!(queue.push(level, level_value).is_ok() && queue.push(level, level_value + 1).is_ok());
            })
        });
        let mut seen: Vec<u32> = queue.pop().into_iter().collect();
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        seen.extend(std::iter::from_fn(|| queue.pop()));
        for level in 0..2 {
            let own: Vec<u32> = seen.iter().copied().filter(|value| value / 10 == level).collect();
            assert_eq!(own, [level * 10, level * 10 + 1], "out of order");
        }
    });
}

#[test]
fn the_oracle_knows_an_order_from_none() {
    let oracle = Oracle::new(2);
    let (pushes, pop) = ([Call::Push(1, true), Call::Push(2, true)], |value| [Call::Pop(Some(value))]);
    assert!(oracle.explains(&[&pushes, &pop(1)], &[Call::Pop(Some(2)), Call::Pop(None)]));
    assert!(!oracle.explains(&[&pushes, &pop(2)], &[Call::Pop(Some(1)), Call::Pop(None)]));
    assert!(!oracle.explains(&[&pushes], &[Call::Pop(Some(1)), Call::Pop(None)]), "one lost");
    assert!(!oracle.explains(&[&pushes, &[Call::Push(3, false)][..0]], &[Call::Push(3, true)]), "full");
}
