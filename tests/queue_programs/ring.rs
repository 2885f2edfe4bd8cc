//! Random programs on a ring and on a channel without a bound, of every public call, against a deque.

#![allow(unsafe_code, reason = "a commit promises that the places are written")]

use super::watch::Watch;
use efio::queue::{PopError, PushError, mpsc, spsc};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::Duration;

/// One call on either.
#[derive(Clone, Copy, Debug)]
enum Call {
    Push,
    PushWait,
    PushAll(usize),
    PushSlice(usize),
    WriteSlots(usize),
    ArmProducer,
    CloseProducer,
    DropProducer,
    Pop,
    PopWait,
    PopAll(usize),
    PopSlice(usize),
    ReadSlots(usize),
    Front,
    ArmConsumer,
    CloseConsumer,
    DropConsumer,
}

fn call() -> impl Strategy<Value = Call> {
    let count = || 0..12_usize;
    let calls = prop_oneof![
        Just(Call::Push),
        Just(Call::PushWait),
        count().prop_map(Call::PushAll),
        count().prop_map(Call::PushSlice),
        count().prop_map(Call::WriteSlots),
        Just(Call::ArmProducer),
        Just(Call::Pop),
        Just(Call::PopWait),
        count().prop_map(Call::PopAll),
        count().prop_map(Call::PopSlice),
        count().prop_map(Call::ReadSlots),
        Just(Call::Front),
        Just(Call::ArmConsumer),
    ];
    let ends = prop_oneof![
        Just(Call::CloseProducer),
        Just(Call::DropProducer),
        Just(Call::CloseConsumer),
        Just(Call::DropConsumer)
    ];
    prop_oneof![60 => calls, 1 => ends]
}

/// What both kinds have in common: the values that are there, who has closed, and who asked to be told.
#[derive(Default)]
struct Oracle {
    values: VecDeque<u32>,
    next: u32,
    /// The producer said that this is all, or is gone.
    ended: bool,
    /// The consumer takes no more, or is gone.
    refused: bool,
    arrived: Watch,
    room: Watch,
}

impl Oracle {
    fn fresh(&mut self, count: usize) -> Vec<u32> {
        let values = (self.next..).take(count).collect();
        self.next += count as u32;
        values
    }

    fn pushed(&mut self, free: usize, value: u32, answer: Result<(), PushError<u32>>) {
        match answer {
            Ok(()) => {
                assert!(!self.ended && !self.refused && free != 0);
                self.values.push_back(value);
            }
            Err(PushError::Closed(back)) => assert!(back == value && (self.ended || self.refused)),
            Err(PushError::Full(back)) => {
                assert!(back == value && free == 0 && !self.ended && !self.refused);
            }
        }
    }

    fn popped(&mut self, over: bool, answer: Result<u32, PopError>) {
        let nothing = if over { PopError::Closed } else { PopError::Empty };
        assert_eq!(answer, self.values.pop_front().ok_or(nothing));
    }

    fn take(&mut self, taken: &[u32], most: usize) {
        let expected: Vec<u32> = self.values.drain(..most.min(self.values.len())).collect();
        assert_eq!(taken, expected);
    }
}

/// One call on a ring of `capacity` places; an end that is gone answers nothing.
fn on_a_ring(
    call: Call,
    oracle: &mut Oracle,
    capacity: usize,
    producing: &mut Option<spsc::Producer<u32>>,
    consuming: &mut Option<spsc::Consumer<u32>>,
) {
    let free = capacity - oracle.values.len();
    let open = if oracle.ended || oracle.refused { 0 } else { free };
    match (call, &mut *producing, &mut *consuming) {
        (Call::Push, Some(producer), _) => {
            let value = oracle.fresh(1)[0];
            oracle.pushed(free, value, producer.push(value));
        }
        (Call::PushWait, Some(producer), _) => {
            let value = oracle.fresh(1)[0];
            oracle.pushed(free, value, producer.push_wait(value, Some(Duration::ZERO)));
        }
        (Call::PushAll(count), Some(producer), _) => push_all(oracle, producer, count, open),
        (Call::PushSlice(count), Some(producer), _) => {
            let values = oracle.fresh(count);
            assert_eq!(producer.push_slice(&values), count.min(open));
            oracle.values.extend(&values[..count.min(open)]);
        }
        (Call::WriteSlots(count), Some(producer), _) => write_slots(oracle, producer, count, open),
        (Call::ArmProducer, Some(producer), _) => {
            oracle.room.arm();
            assert_eq!(producer.arm(), free == 0 && !oracle.ended && !oracle.refused);
        }
        (Call::CloseProducer, Some(producer), _) => {
            assert_eq!(producer.close(), !oracle.ended);
            oracle.ended = true;
        }
        (Call::DropProducer, _, _) => {
            *producing = None;
            oracle.ended = true;
        }
        (Call::Pop, _, Some(consumer)) => oracle.popped(oracle.ended, consumer.pop()),
        (Call::PopWait, _, Some(consumer)) => {
            oracle.popped(oracle.ended, consumer.pop_wait(Some(Duration::ZERO)));
        }
        (Call::PopAll(most), _, Some(consumer)) => {
            let mut taken = vec![u32::MAX];
            assert_eq!(consumer.pop_all(&mut taken, most), taken.len() - 1);
            oracle.take(&taken[1..], most);
        }
        (Call::PopSlice(most), _, Some(consumer)) => {
            let mut target = vec![0; most];
            let count = consumer.pop_slice(&mut target);
            oracle.take(&target[..count], most);
        }
        (Call::ReadSlots(most), _, Some(consumer)) => {
            let slots = consumer.read_slots();
            let (first, second) = slots.as_slices();
            let taken = [first, second].concat();
            assert!(taken.iter().eq(&oracle.values) && taken.is_empty() == slots.is_empty());
            let count = slots.consume(most);
            oracle.take(&taken[..count], most);
        }
        (Call::Front, _, Some(consumer)) => assert_eq!(consumer.front(), oracle.values.front()),
        (Call::ArmConsumer, _, Some(consumer)) => {
            oracle.arrived.arm();
            assert_eq!(consumer.arm(), oracle.values.is_empty() && !oracle.ended);
        }
        (Call::CloseConsumer, _, Some(consumer)) => {
            assert_eq!(consumer.close(), !oracle.refused);
            oracle.refused = true;
        }
        (Call::DropConsumer, _, _) => {
            *consuming = None;
            oracle.refused = true;
        }
        _ => {}
    }
}

fn push_all(oracle: &mut Oracle, producer: &mut spsc::Producer<u32>, count: usize, open: usize) {
    let values = oracle.fresh(count);
    let mut source = values.iter().copied();
    let pushed = producer.push_all(&mut source);
    assert_eq!((pushed, source.len()), (count.min(open), count - count.min(open)));
    oracle.values.extend(&values[..pushed]);
}

fn write_slots(oracle: &mut Oracle, producer: &mut spsc::Producer<u32>, count: usize, open: usize) {
    let mut slots = producer.write_slots();
    assert_eq!((slots.len(), slots.is_empty()), (open, open == 0));
    let values = oracle.fresh(count.min(open));
    let (first, second) = slots.as_mut_slices();
    first.iter_mut().chain(second).zip(&values).for_each(|(place, value)| _ = place.write(*value));
    // SAFETY: as many places are written as there are values.
    unsafe { slots.commit(values.len()) };
    oracle.values.extend(values);
}

/// One call on a channel without a bound, of those that it has.
fn on_a_channel(
    call: Call,
    oracle: &mut Oracle,
    senders: &mut Vec<mpsc::Sender<u32>>,
    receiving: &mut Option<mpsc::Receiver<u32>>,
) {
    let over = oracle.ended || oracle.refused;
    match (call, senders.last(), &mut *receiving) {
        (Call::Push | Call::PushWait, Some(sender), _) => {
            let value = oracle.fresh(1)[0];
            oracle.pushed(1, value, sender.push(value));
        }
        (Call::PushAll(count) | Call::PushSlice(count), Some(sender), _) => {
            let values = oracle.fresh(count * 20);
            let back = sender.push_all(values.clone());
            assert_eq!(back, if oracle.refused { &values[..] } else { &[] });
            oracle.values.extend(if oracle.refused { &[] } else { &values[..] });
        }
        (Call::CloseProducer, Some(sender), _) => {
            let another = sender.clone();
            senders.push(another);
        }
        (Call::DropProducer, _, _) => {
            senders.pop();
            oracle.ended = senders.is_empty();
        }
        (Call::Pop | Call::Front, _, Some(receiver)) => oracle.popped(over, receiver.pop()),
        (Call::PopWait, _, Some(receiver)) => {
            oracle.popped(over, receiver.pop_wait(Some(Duration::ZERO)));
        }
        (Call::PopAll(most) | Call::PopSlice(most) | Call::ReadSlots(most), _, Some(receiver)) => {
            let mut taken = vec![u32::MAX];
            assert_eq!(receiver.pop_all(&mut taken, most * 20), taken.len() - 1);
            oracle.take(&taken[1..], most * 20);
        }
        (Call::ArmConsumer, _, Some(receiver)) => {
            oracle.arrived.arm();
            assert_eq!(receiver.arm(), oracle.values.is_empty() && !over);
        }
        (Call::CloseConsumer, _, Some(receiver)) => {
            assert_eq!(receiver.close(), !oracle.refused);
            oracle.refused = true;
        }
        (Call::DropConsumer, _, _) => {
            *receiving = None;
            oracle.refused = true;
            oracle.values.clear();
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn a_ring_is_its_values(asked in 0..9_usize, calls in prop::collection::vec(call(), 1..120)) {
        let (capacity, mut oracle) = (asked.max(1), Oracle::default());
        let signals = (oracle.arrived.signal(), oracle.room.signal());
        let (producer, consumer) = spsc::channel_with_signals(asked, signals.0, signals.1);
        let (mut producer, mut consumer) = (Some(producer), Some(consumer));
        for call in calls {
            let before = (oracle.values.len(), oracle.ended, oracle.refused);
            on_a_ring(call, &mut oracle, capacity, &mut producer, &mut consumer);
            let (len, ended, refused) = before;
            oracle.arrived.check(oracle.values.len() > len || oracle.ended != ended);
            oracle.room.check(oracle.values.len() < len || oracle.refused != refused);
            let (len, closed) = (oracle.values.len(), oracle.ended || oracle.refused);
            if let Some(producer) = &mut producer {
                let seen = (producer.capacity(), producer.room(), producer.is_closed());
                prop_assert_eq!(seen, (capacity, capacity - len, closed));
            }
            if let Some(consumer) = &mut consumer {
                let seen = (consumer.len(), consumer.is_empty(), consumer.is_closed());
                prop_assert_eq!(seen, (len, len == 0, closed));
            }
        }
    }

    #[test]
    fn a_channel_is_its_values(calls in prop::collection::vec(call(), 1..120)) {
        let mut oracle = Oracle::default();
        let (sender, receiver) = mpsc::channel_with_signal(oracle.arrived.signal());
        let (mut senders, mut receiver) = (vec![sender], Some(receiver));
        for call in calls {
            let before = (oracle.values.len(), oracle.ended);
            on_a_channel(call, &mut oracle, &mut senders, &mut receiver);
            oracle.arrived.check(oracle.values.len() > before.0 || oracle.ended != before.1);
            let len = oracle.values.len();
            if let Some(sender) = senders.last() {
                prop_assert_eq!((sender.len(), sender.is_empty(), sender.is_closed()), (len, len == 0, oracle.refused));
            }
            if let Some(receiver) = &receiver {
                let seen = (receiver.len(), receiver.is_empty(), receiver.is_closed());
                prop_assert_eq!(seen, (len, len == 0, oracle.refused || oracle.ended));
            }
        }
    }
}
