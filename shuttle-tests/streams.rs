//! The chunked stream end to end: two streams in a row, three threads, every byte once, in order, within the bound.
//!
//! The twin is a bound whose room is looked up and taken in two steps by two who write.

use crate::queue::chunked::{self, State};
use crate::sync::{Arc, AtomicUsize, Ordering, thread};
use Ordering::{AcqRel, Acquire};
use std::io::{ErrorKind, Read};

use super::{catch, explore, join_all};

/// Reads `reader` to its end, sleeping where there is nothing.
fn drain(mut reader: chunked::Reader) -> (Vec<u8>, State) {
    let mut seen = Vec::new();
    loop {
        let mut bytes = [9; 2];
        match reader.read(&mut bytes) {
            Ok(0) => return (seen, reader.state()),
            Ok(count) => seen.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => _ = reader.wait(None),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(28), "the writer's own error");
                return (seen, reader.state());
            }
        }
    }
}

#[test]
fn a_stream_within_its_bound_carries_every_byte_in_order() {
    explore(|| {
        let (mut writer, reader) = chunked::stream(2);
        let thread = thread::spawn(move || {
            for byte in 0..5 {
                assert!(writer.push_wait(vec![byte; 1 + usize::from(byte % 2)], None).is_ok());
            }
            assert!(writer.end() && !writer.end());
        });
        assert_eq!(drain(reader), (vec![0, 1, 1, 2, 3, 3, 4], State::Ended));
        thread.join().unwrap();
    });
}

#[test]
fn what_is_transferred_on_the_way_arrives_in_order() {
    explore(|| {
        let (mut writer, mut middle) = chunked::stream(4);
        let (mut onward, far) = chunked::stream(64);
        let first = thread::spawn(move || {
            for byte in 0..6 {
                assert!(writer.push_wait(vec![byte], None).is_ok());
            }
        });
        let second = thread::spawn(move || {
            loop {
                middle.wait(None);
                let moved = middle.transfer(&mut onward);
                if moved.is_err() || moved == Ok(0) && middle.state() != State::Open {
                    assert!(moved.is_ok(), "the far end has room");
                    break;
                }
            }
            onward.end();
        });
        assert_eq!(drain(far).0, [0, 1, 2, 3, 4, 5]);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn a_failure_comes_behind_the_bytes_before_it() {
    explore(|| {
        let (mut writer, reader) = chunked::stream(1);
        let thread = thread::spawn(move || {
            for byte in 0..3 {
                assert!(writer.push_wait(vec![byte], None).is_ok());
            }
            assert!(writer.fail(&std::io::Error::from_raw_os_error(28)));
        });
        assert_eq!(drain(reader), (vec![0, 1, 2], State::Failed));
        thread.join().unwrap();
    });
}

#[test]
fn a_writer_that_waits_for_room_hears_of_a_reader_that_is_gone() {
    explore(|| {
        let (mut writer, mut reader) = chunked::stream(1);
        let thread = thread::spawn(move || {
            let sent = |byte: &u8| writer.push_wait(vec![*byte], None).is_ok();
            (0..4).take_while(sent).count()
        });
        let seen = usize::from(reader.pop().is_some());
        drop(reader);
        assert!(thread.join().unwrap() <= seen + 1, "it wrote on into nothing");
    });
}

/// Two writers under a bound of one.
fn room(in_one_step: bool) {
    let used = Arc::new(AtomicUsize::new(0));
    let writers = [0; 3].map(|_| {
        let used = used.clone();
        thread::spawn(move || {
            if in_one_step {
                _ = used.fetch_update(AcqRel, Acquire, |used| (used == 0).then_some(1));
            } else if used.load(Acquire) == 0 {
                used.fetch_add(1, AcqRel);
            }
        })
    });
    join_all(writers);
    assert!(used.load(Acquire) <= 1, "beyond the bound");
}

#[test]
fn room_taken_in_one_step_keeps_the_bound() {
    explore(|| room(true));
}

#[test]
#[should_panic(expected = "beyond the bound")]
fn twin_that_takes_room_in_two_steps() {
    catch(|| room(false));
}
