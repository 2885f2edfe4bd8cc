//! Random programs on a gate before each of the shared queues, of every public call.

use super::watch::Watch;
use efio::queue::{Gate, Lanes, Levels, Mpmc, PopError, PushError, Shared, Stack, Tickets, Unbounded};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
enum Call {
    Push,
    PushWait,
    PushAll(usize),
    ArmPush,
    Pop,
    PopWait,
    PopAll(usize),
    ArmPop,
    Close,
}

fn call() -> impl Strategy<Value = Call> {
    let calls = prop_oneof![
        Just(Call::Push),
        Just(Call::PushWait),
        (0..6_usize).prop_map(Call::PushAll),
        Just(Call::ArmPush),
        Just(Call::Pop),
        Just(Call::PopWait),
        (0..6_usize).prop_map(Call::PopAll),
        Just(Call::ArmPop),
    ];
    prop_oneof![40 => calls, 1 => Just(Call::Close)]
}

/// What is behind the gate: how a value is made of a number, and which of those that are there comes first.
struct Behind<Q: Shared> {
    item: fn(u32) -> Q::Item,
    first: fn(&[u32]) -> usize,
    /// How many it takes whatever they are; it may refuse before if `exact` is false.
    capacity: usize,
    exact: bool,
}

struct Program<Q: Shared> {
    gate: Gate<Q>,
    behind: Behind<Q>,
    there: Vec<u32>,
    next: u32,
    closed: bool,
    values: Watch,
    room: Watch,
}

impl<Q: Shared> Program<Q>
where
    Q::Item: PartialEq + std::fmt::Debug,
{
    fn new(queue: Q, behind: Behind<Q>) -> Self {
        let (values, room) = (Watch::default(), Watch::default());
        let gate = Gate::with_signals(queue, values.signal(), room.signal());
        Self { gate, behind, there: Vec::new(), next: 0, closed: false, values, room }
    }

    fn refused(&self, refused: PushError<Q::Item>, number: u32) {
        assert_eq!(refused.is_closed(), self.closed);
        let full = self.there.len() == self.behind.capacity;
        assert!(self.closed || full || !self.behind.exact && !self.there.is_empty(), "refused with room");
        assert_eq!(refused.into_inner(), (self.behind.item)(number), "the value comes back");
    }

    fn pushed(&mut self, number: u32, answer: Result<(), PushError<Q::Item>>) {
        match answer {
            Ok(()) => {
                assert!(!self.closed && self.there.len() < self.behind.capacity);
                self.there.push(number);
            }
            Err(refused) => self.refused(refused, number),
        }
    }

    fn popped(&mut self, answer: Result<Q::Item, PopError>) {
        if self.there.is_empty() {
            return assert_eq!(answer, Err(if self.closed { PopError::Closed } else { PopError::Empty }));
        }
        let number = self.there.remove((self.behind.first)(&self.there));
        assert_eq!(answer, Ok((self.behind.item)(number)));
    }

    fn call(&mut self, call: Call) {
        let (len, closed, number, item) = (self.there.len(), self.closed, self.next, self.behind.item);
        match call {
            Call::Push => self.pushed(number, self.gate.push(item(number))),
            Call::PushWait => self.pushed(number, self.gate.push_wait(item(number), Some(Duration::ZERO))),
            Call::PushAll(count) => {
                let mut source = (number..number + count as u32).map(item);
                let answer = self.gate.push_all(&mut source);
                let taken = (count - source.len() - usize::from(answer.is_err())) as u32;
                self.there.extend(number..number + taken);
                assert!(answer.is_err() || taken as usize == count);
                if let Err(refused) = answer {
                    self.refused(refused, number + taken);
                }
            }
            Call::ArmPush => {
                self.room.arm();
                self.gate.arm_push();
            }
            Call::Pop => self.popped(self.gate.pop()),
            Call::PopWait => self.popped(self.gate.pop_wait(Some(Duration::ZERO))),
            Call::PopAll(most) => {
                let mut target = Vec::new();
                assert_eq!(self.gate.pop_all(&mut target, most), most.min(len));
                target.into_iter().for_each(|value| self.popped(Ok(value)));
            }
            Call::ArmPop => {
                self.values.arm();
                self.gate.arm_pop();
            }
            Call::Close => {
                assert_eq!(self.gate.close(), !self.closed);
                self.closed = true;
            }
        }
        self.next += 6;
        self.values.check(self.there.len() > len || self.closed != closed);
        self.room.check(self.there.len() < len || self.closed != closed);
        assert_eq!(self.gate.is_closed(), self.closed);
    }
}

fn run<Q: Shared>(queue: Q, behind: Behind<Q>, calls: &[Call])
where
    Q::Item: PartialEq + std::fmt::Debug,
{
    let mut program = Program::new(queue, behind);
    calls.iter().for_each(|call| program.call(*call));
}

/// The most urgent level first, of three.
fn urgent(there: &[u32]) -> usize {
    let levels = there.iter().map(|number| number % 3);
    levels.enumerate().min_by_key(|(place, level)| (*level, *place)).map_or(0, |(place, _)| place)
}

proptest! {
    #[test]
    fn a_gate_lets_through_what_its_queue_takes(calls in prop::collection::vec(call(), 1..80), asked in 0..6_usize) {
        let (item, capacity) = (|number| number, asked.max(1));
        run(Mpmc::new(asked), Behind { item, first: |_| 0, capacity, exact: true }, &calls);
        let rounded = capacity.next_power_of_two();
        run(Tickets::new(2, asked), Behind { item, first: |_| 0, capacity: 2 * rounded, exact: true }, &calls);
        run(Unbounded::new(), Behind { item, first: |_| 0, capacity: usize::MAX, exact: true }, &calls);
        let last = |there: &[u32]| there.len() - 1;
        run(Stack::bounded(asked), Behind { item, first: last, capacity, exact: true }, &calls);
        run(Lanes::new(0, asked), Behind { item, first: |_| 0, capacity, exact: true }, &calls);
        let item = |number| (number as usize % 3, number);
        run(Levels::new(3, asked), Behind { item, first: urgent, capacity: 3 * capacity, exact: false }, &calls);
    }
}
