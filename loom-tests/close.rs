//! Closing against calls: no byte is lost, no page is left open, and the closed event comes once.
//!
//! The real files in a small module. Checked: a close against writes that open pages on their way; against an open; a
//! closed event while its consumer drains an older one; a reader with the claim; two that ask for the last answer; a
//! write that comes so late that the slot is another file's. The twins are copies of the steps.

use crate::config::OpenOptions;
use crate::error::{ErrorKind, Operation};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::file::state::{CloseStart, DrainEnd, Pending, Phase, State};
use crate::file::write::Caller;
use crate::news::DEFAULT_INBOX;
use crate::sync::{Arc, model, thread};

use super::module::{Module, Seen};

#[test]
fn a_close_against_writes_loses_no_byte_and_no_page() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        let writer = module.clone();
        let writer = thread::spawn(move || {
            let write = |byte: u8| writer.commons().write(fd, &[byte; 3000]).unwrap_or(0);
            [write(1), write(2)]
        });
        module.commons().close(fd, 0, Operation::Close, Caller::Descriptor).unwrap();
        module.run();
        let taken = writer.join().unwrap();
        module.run();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        assert_eq!(seen.count(Readiness::CLOSED), 1, "not closed");
        let expected: Vec<u8> =
            [1, 2].into_iter().zip(taken).flat_map(|(byte, taken)| vec![byte; taken]).collect();
        assert!(*module.disk.lock().unwrap() == expected, "accepted bytes are not in the file");
        module.assert_idle();
    });
}

#[test]
fn a_closed_event_comes_while_an_older_one_is_taken() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        module.commons().sync(fd).unwrap();
        module.run();
        let consumer = module.clone();
        let consumer = thread::spawn(move || {
            let mut seen = Seen::default();
            consumer.drain(&mut seen);
            seen
        });
        module.commons().close(fd, 0, Operation::Close, Caller::Descriptor).unwrap();
        module.run();
        let mut seen = consumer.join().unwrap();
        module.drain(&mut seen);
        assert_eq!(seen.count(Readiness::CLOSED), 1, "not closed");
        let last = seen.bits.last().copied();
        assert!(last.is_some_and(|(_, readiness)| readiness.is_closed()), "an event after the closed one");
        module.assert_idle();
    });
}

#[test]
fn a_close_waits_for_the_reader_at_work() {
    model(|| {
        let module = Module::new();
        *module.disk.lock().unwrap() = vec![7; 5000];
        let fd = module.open(&OpenOptions::new().read(true));
        let nothing = |_, _, _: &mut [u8]| Err(11);
        assert!(module.commons().read(fd, &mut [0; 10], &nothing).is_err_and(|error| error.is_would_block()));
        module.run();
        let reader = module.clone();
        let reader = thread::spawn(move || {
            let mut into = [0; 10];
            match reader.commons().read(fd, &mut into, &nothing) {
                Ok(bytes) => assert!(bytes == 10 && into == [7; 10], "bytes that were not in the file"),
                Err(error) => assert!(error.kind() == ErrorKind::Stale, "the bytes were there"),
            }
        });
        module.commons().close(fd, 0, Operation::Close, Caller::Descriptor).unwrap();
        module.run();
        reader.join().unwrap();
        module.run();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        assert_eq!(seen.count(Readiness::CLOSED), 1, "not closed");
        module.assert_idle();
    });
}

#[test]
fn a_close_while_the_open_is_on_its_way_ends_the_file() {
    model(|| {
        let module = Module::new();
        let fd = module.begin_open(&OpenOptions::new().read(true).write(true));
        let caller = module.clone();
        let caller = thread::spawn(move || {
            let taken = caller.commons().write(fd, &[1; 10]).unwrap_or(0);
            caller.commons().close(fd, 0, Operation::Close, Caller::Descriptor).unwrap();
            taken
        });
        module.run();
        let taken = caller.join().unwrap();
        module.run();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        assert_eq!(seen.count(Readiness::CLOSED), 1, "not closed");
        assert_eq!(module.disk.lock().unwrap().len(), taken, "accepted bytes are not in the file");
        module.assert_idle();
    });
}

#[test]
fn the_last_answer_goes_to_one_of_two_that_ask() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        module.commons().close(fd, 0, Operation::Close, Caller::Descriptor).unwrap();
        let asker = module.clone();
        let asker = thread::spawn(move || usize::from(asker.commons().close_status(fd).is_ok()));
        module.run();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        let answers = asker.join().unwrap() + seen.count(Readiness::CLOSED);
        // One that asked before the file was closed has had its answer: not yet.
        module.drain(&mut seen);
        assert!(answers == 1, "{answers} answers");
        module.assert_idle();
    });
}

#[test]
fn a_late_write_never_reaches_the_next_file() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        let late = module.clone();
        let late = thread::spawn(move || late.commons().write(fd, &[1; 3000]).unwrap_or(0));
        module.commons().close(fd, 0, Operation::Close, Caller::Descriptor).unwrap();
        module.run();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        if seen.count(Readiness::CLOSED) == 1 {
            let first = module.disk.lock().unwrap().len();
            let next = module.begin_open(&OpenOptions::new().append(true));
            module.run();
            let early = module.commons().write(next, &[2; 1000]).unwrap_or(0);
            assert_eq!(late.join().unwrap(), first, "a write of the last file is in the next one");
            // What the late writer left half done may have held up the open until now.
            module.run();
            assert_eq!(module.commons().write(next, &[2; 3000]).unwrap(), 3000);
            module.commons().close(next, 0, Operation::Close, Caller::Descriptor).unwrap();
            module.run();
            let next = &module.disk.lock().unwrap()[first..];
            assert!(
                next.len() == early + 3000 && next.iter().all(|byte| *byte == 2),
                "not the next file's own bytes"
            );
        } else {
            late.join().unwrap();
            module.run();
        }
        module.drain(&mut seen);
        module.assert_idle();
    });
}

/// The closed event is raised while a drain is at work, which masks what it finds by a phase that it read before or by
/// what the drain came to.
fn masked_by(what_came: bool) {
    let shared = Arc::new((State::new(), Pending::new()));
    let (state, pending) = &*shared;
    let fd = Fd::new(0, state.begin(Phase::Opening, 0));
    assert!(state.close(fd, 0, false) == CloseStart::Begun);
    assert!(pending.raise(Readiness::SYNCED.bits()).enqueue.is_some());
    let actor = shared.clone();
    let actor = thread::spawn(move || {
        actor.0.finish(0);
        actor.1.raise(Readiness::CLOSED.bits()).enqueue
    });
    let drain = || {
        let seen = state.load().phase();
        let (bits, end) = pending.drain(DEFAULT_INBOX);
        let last = end == DrainEnd::DeliverAndFree;
        let masked =
            matches!(seen, Phase::Closing | Phase::Closed) && !(last && (what_came || seen == Phase::Closed));
        bits & Readiness::CLOSED.bits() != 0 && !masked
    };
    let mut delivered = u32::from(drain());
    if actor.join().unwrap().is_some() {
        delivered += u32::from(drain());
    }
    assert_eq!(delivered, 1, "not closed");
}

#[test]
fn a_drain_masks_by_what_it_came_to() {
    model(|| masked_by(true));
}

#[test]
#[should_panic(expected = "not closed")]
fn twin_that_masks_by_the_phase_before() {
    model(|| masked_by(false));
}
