//! Queues watched by an event loop: whatever is pushed while the loop sleeps, lowers, pops or arms, no wake-up is lost.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use efio::LoopSignal;
use efio::queue::{Gate, Mpmc, PopError, Signal, chunked, mpsc, spsc};
use mio::{Events, Interest, Poll, Token};
use std::os::fd::AsFd;
use std::time::Duration;

const VALUES: u32 = 100_000;
/// A turn that waits as long as this has lost its wake-up; none is this long otherwise.
const LOST: Duration = Duration::from_secs(60);

/// A loop that sleeps whenever `turn`, called after the lowering, says that a signal will come; until it says `None`.
fn watch(signal: &mut LoopSignal, mut turn: impl FnMut() -> Option<bool>) -> u32 {
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(4));
    poll.registry().register(signal, Token(0), Interest::READABLE).unwrap();
    let mut sleeps = 0;
    loop {
        signal.lower().unwrap();
        match turn() {
            None => return sleeps,
            Some(false) => {}
            Some(true) => {
                sleeps += 1;
                poll.poll(&mut events, Some(LOST)).unwrap();
                assert!(!events.is_empty(), "a wake-up was lost");
            }
        }
    }
}

/// One turn: pops until nothing is there, then arms.
fn turn(
    next: &mut u32,
    mut pop: impl FnMut() -> Result<u32, PopError>,
    arm: impl FnOnce() -> bool,
) -> Option<bool> {
    loop {
        match pop() {
            Ok(value) => {
                assert_eq!(value, *next);
                *next += 1;
            }
            Err(PopError::Closed) => return None,
            Err(PopError::Empty) => return Some(arm()),
        }
    }
}

#[test]
fn a_loop_that_watches_a_channel_misses_no_value() {
    let mut signal = LoopSignal::new().unwrap();
    let (sender, receiver) = mpsc::channel_with_signal(signal.clone());
    let receiver = std::cell::RefCell::new(receiver);
    let producer = std::thread::spawn(move || {
        for value in 0..VALUES {
            assert!(sender.push(value).is_ok());
            // Now and then the loop gets time to fall asleep, while the next value is on its way.
            while value % 32 == 0 && !sender.is_empty() {
                std::thread::yield_now();
            }
        }
    });
    let mut next = 0;
    let sleeps = watch(&mut signal, || {
        turn(&mut next, || receiver.borrow_mut().pop(), || receiver.borrow_mut().arm())
    });
    producer.join().unwrap();
    assert_eq!(next, VALUES);
    assert!(sleeps != 0, "the loop never slept: nothing was shown");
}

#[test]
fn a_loop_on_each_side_of_a_small_ring_misses_neither_value_nor_room() {
    let (mut values, mut room) = (LoopSignal::new().unwrap(), LoopSignal::new().unwrap());
    let (mut producer, consumer) = spsc::channel_with_signals(7, values.clone(), room.clone());
    let consumer = std::cell::RefCell::new(consumer);
    let producing = std::thread::spawn(move || {
        let mut source = 0..VALUES;
        watch(&mut room, || {
            producer.push_all(&mut source);
            if source.is_empty() { None } else { Some(producer.arm()) }
        })
    });
    let mut next = 0;
    watch(&mut values, || turn(&mut next, || consumer.borrow_mut().pop(), || consumer.borrow_mut().arm()));
    producing.join().unwrap();
    assert_eq!(next, VALUES);
}

#[test]
fn a_loop_that_watches_a_gate_misses_neither_value_nor_end() {
    let mut signal = LoopSignal::new().unwrap();
    let gate = Gate::with_signals(Mpmc::new(16), signal.clone(), || ());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in 0..VALUES {
                assert!(gate.push_wait(value, None).is_ok());
            }
            assert!(gate.close());
        });
        let mut next = 0;
        watch(&mut signal, || match turn(&mut next, || gate.pop(), || true) {
            // A gate is armed first and looked at after that.
            Some(_) => {
                gate.arm_pop();
                Some(gate.queue().is_empty() && !gate.is_closed())
            }
            None => None,
        });
        assert_eq!(next, VALUES);
    });
}

#[test]
fn a_loop_that_watches_a_stream_misses_neither_byte_nor_end() {
    let (mut bytes, mut room) = (LoopSignal::new().unwrap(), LoopSignal::new().unwrap());
    let (mut writer, mut reader) = chunked::stream_with_signals(100, bytes.clone(), room.clone());
    let producing = std::thread::spawn(move || {
        let mut left = VALUES;
        watch(&mut room, || {
            while left != 0 && writer.push(vec![left.to_le_bytes()[0]]).is_ok() {
                left -= 1;
            }
            if left == 0 { None } else { Some(writer.arm(1)) }
        });
        assert!(writer.end());
    });
    let mut left = VALUES;
    watch(&mut bytes, || {
        while let Some(chunk) = reader.pop() {
            assert_eq!(*chunk, [left.to_le_bytes()[0]]);
            left -= 1;
        }
        match reader.arm() {
            true => Some(true),
            false if reader.is_empty() && reader.state() == chunked::State::Ended => None,
            false => Some(false),
        }
    });
    producing.join().unwrap();
    assert_eq!(left, 0);
}

/// One turn, step by step, with a value that comes before the step `at`: the lowering, the pops, the wish, the sleep.
#[test]
fn a_value_that_comes_at_any_step_of_a_turn_is_found_without_a_sleep_for_ever() {
    for at in 0..4 {
        let mut signal = LoopSignal::new().unwrap();
        let (sender, mut receiver) = mpsc::channel_with_signal(signal.clone());
        let (mut step, mut found) = (0, 0);
        let mut come = || {
            if step == at {
                assert!(sender.push(at).is_ok());
            }
            step += 1;
        };
        assert!(receiver.arm(), "as the turn before left it");
        come();
        watch(&mut signal, || {
            come();
            while receiver.pop().is_ok() {
                found += 1;
            }
            come();
            let armed = receiver.arm();
            come();
            if found == 1 { None } else { Some(armed) }
        });
        assert_eq!(found, 1);
    }
}

#[test]
fn a_signal_is_readable_until_it_is_lowered() {
    let mut signal = LoopSignal::new().unwrap();
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(4));
    let other = signal.clone();
    poll.registry().register(&mut signal, Token(7), Interest::READABLE).unwrap();
    other.signal();
    other.signal();
    poll.poll(&mut events, Some(LOST)).unwrap();
    assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(7)]);
    assert!(other.as_fd().try_clone_to_owned().is_ok());
    signal.lower().unwrap();
    poll.registry().reregister(&mut signal, Token(8), Interest::READABLE).unwrap();
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.is_empty(), "lowered: however many there were, they are answered");
    signal.signal();
    poll.registry().deregister(&mut signal).unwrap();
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.is_empty());
}

#[test]
fn what_was_pushed_before_its_source_panicked_is_known_to_who_sleeps() {
    let gate = Gate::new(Mpmc::new(8));
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| (gate.pop_wait(None), gate.pop_wait(None)));
        let mut source = (0..3).inspect(|number| assert!(*number < 2, "no third number"));
        let pushing = std::panic::AssertUnwindSafe(|| gate.push_all(&mut source));
        assert!(std::panic::catch_unwind(pushing).is_err());
        assert_eq!(sleeper.join().unwrap(), (Ok(0), Ok(1)));
    });
}

#[test]
fn a_source_may_wait_for_what_becomes_of_an_earlier_value() {
    let gate = Gate::new(Mpmc::new(8));
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let gate = &gate;
        scope.spawn(move || {
            while let Ok(number) = gate.pop_wait(None) {
                send.send(number).unwrap();
            }
        });
        let mut source = (0..3).inspect(|number| {
            if *number > 0 {
                assert_eq!(receive.recv().unwrap(), number - 1);
            }
        });
        assert!(gate.push_all(&mut source).is_ok());
        assert!(gate.close());
    });
}

#[test]
#[should_panic(expected = "beyond what memory can hold")]
fn a_ring_beyond_all_memory_is_refused() {
    let _ = efio::queue::spsc::channel::<u8>(usize::MAX);
}

#[test]
#[should_panic(expected = "beyond what memory can hold")]
fn tickets_beyond_all_memory_are_refused() {
    let _ = efio::queue::Tickets::<u8>::new(1 << 33, 1 << 33);
}
