//! What is left in a queue is dropped with it, all of it, also where the drop of one value panics.
#![allow(unsafe_code, reason = "the ring asks for one thread on each side")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use efio::queue::{Lanes, Levels, Mpmc, Ring, Stack, Tickets, Unbounded, mpsc, spsc};

/// More than a block of the unbounded channel holds.
const VALUES: u32 = 200;

/// Counts its drop; one of them panics.
struct Value {
    number: u32,
    dropped: Rc<Cell<u32>>,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.dropped.set(self.dropped.get() + 1);
        assert!(self.number != 7, "the drop of this one panics");
    }
}

/// `fill` makes a queue of these values; dropping it must drop each once, and tell the panic.
fn all_go<Q>(fill: impl FnOnce(&mut dyn Iterator<Item = Value>) -> Q) {
    let dropped = Rc::new(Cell::new(0));
    let mut values = (0..VALUES).map(|number| Value { number, dropped: Rc::clone(&dropped) });
    let queue = fill(&mut values);
    assert_eq!((values.len(), dropped.get()), (0, 0), "all are in the queue");
    let told = catch_unwind(AssertUnwindSafe(|| drop(queue)));
    assert!(told.is_err(), "the panic is not swallowed");
    assert_eq!(dropped.get(), VALUES, "dropped once each");
    assert_eq!(Rc::strong_count(&dropped), 1, "none is left anywhere");
}

#[test]
fn a_ring_for_all_drops_the_rest_after_a_panic() {
    all_go(|values| {
        let queue = Mpmc::new(VALUES as usize);
        values.for_each(|value| assert!(queue.push(value).is_ok()));
        queue
    });
}

#[test]
fn a_ring_of_two_halves_drops_the_rest_after_a_panic() {
    all_go(|values| {
        let (mut producer, consumer) = spsc::channel(VALUES as usize);
        values.for_each(|value| assert!(producer.push(value).is_ok()));
        (producer, consumer)
    });
    all_go(|values| {
        let ring = Ring::<Value, 256>::new();
        // SAFETY: one thread.
        values.for_each(|value| assert!(unsafe { ring.push(value) }.is_ok()));
        ring
    });
}

#[test]
fn a_channel_without_a_bound_drops_the_rest_after_a_panic() {
    all_go(|values| {
        let (sender, receiver) = mpsc::channel();
        values.for_each(|value| assert!(sender.push(value).is_ok()));
        (receiver, sender)
    });
}

#[test]
fn a_stack_and_tickets_drop_the_rest_after_a_panic() {
    all_go(|values| {
        let stack = Stack::new();
        values.for_each(|value| assert!(stack.push(value).is_ok()));
        stack
    });
    all_go(|values| {
        let queue = Tickets::new(4, VALUES as usize);
        values.for_each(|value| assert!(queue.push(value).is_ok()));
        queue
    });
}

#[test]
fn a_queue_of_blocks_drops_the_rest_after_a_panic() {
    all_go(|values| {
        let queue = Unbounded::new();
        values.for_each(|value| queue.push(value));
        queue
    });
}

#[test]
fn levels_and_lanes_drop_the_rest_after_a_panic() {
    all_go(|values| {
        let queue = Levels::new(4, VALUES as usize);
        values.enumerate().for_each(|(number, value)| assert!(queue.push(number % 4, value).is_ok()));
        queue
    });
    all_go(|values| {
        let queue = Lanes::new(1, VALUES as usize);
        values.for_each(|value| assert!(queue.lane().push(value).is_ok()));
        queue
    });
}
