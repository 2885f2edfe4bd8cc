//! Reads and writes by offset: a write against a read that is under way, an answer against its reader, a page against the
//! close.
//!
//! The real places, and the real files in a small module. Checked: what was read before a write is not given out behind it;
//! a refused reader gets an event and its bytes; a page by offset is written or never accepted when the file closes, and
//! accepted before it is written. The twins look for readers before they publish, leave word after their look, let the
//! cell go before the page is in the list, and list the page before it counts.

use crate::config::{OpenOptions, Order};
use crate::error::Operation;
use crate::event::Readiness;
use crate::fd::Fd;
use crate::file::cell::{Cell, Placement};
use crate::file::places::{Fetched, Places, Stand, Wish};
use crate::file::state::{CloseStart, Phase, State, mail};
use crate::file::write::{Caller, WriteSide};
use crate::sync::{Arc, AtomicU32, AtomicU64, Ordering, fence, model, thread};
use Ordering::{Acquire, Relaxed, Release, SeqCst};

use super::module::{Module, Seen};

const NOTHING: Fetched = Fetched { page: std::ptr::null_mut(), len: 0, errno: 0 };

/// A write by offset of bytes 0 to 8, published by `accepted`, and a read of them that is under way: it is made of the file
/// as of its barrier.
fn overwritten(publishes_first: bool) {
    let shared = Arc::new((Places::new(), AtomicU64::new(0)));
    let writer = shared.clone();
    let writer = thread::spawn(move || {
        let (places, accepted) = &*writer;
        if publishes_first {
            accepted.store(8, Release);
            fence(SeqCst);
            places.overwritten(0, 8);
        } else {
            fence(SeqCst);
            places.overwritten(0, 8);
            accepted.store(8, Release);
        }
    });
    let (places, accepted) = &*shared;
    places.ask(0, 0, 100, || Wish { barrier: accepted.load(Acquire), len: 100, ..Wish::default() });
    // The actor.
    let sees_the_write = places.asked().any(|(_, wish)| wish.barrier == 8);
    places.begin(0, std::ptr::null_mut());
    assert!(!places.done(0, NOTHING), "nobody left word");
    writer.join().unwrap();
    // The write is done by now, so the reader is to see it.
    let Some((0, Stand::Done { stale })) = places.find(0) else { panic!("the read is done") };
    assert!(stale || sees_the_write, "bytes of before a write are given out behind it");
}

#[test]
fn what_was_read_before_a_write_is_not_given_out_behind_it() {
    model(|| overwritten(true));
}

#[test]
#[should_panic(expected = "bytes of before a write are given out behind it")]
fn twin_that_looks_for_readers_before_it_publishes() {
    model(|| overwritten(false));
}

/// A reader finds its bytes on their way, and the actor brings them.
fn answered(leaves_word_first: bool) {
    let places = Arc::new(Places::new());
    places.ask(0, 0, 8, Wish::default);
    places.begin(0, std::ptr::null_mut());
    let actor = places.clone();
    let actor = thread::spawn(move || actor.done(0, NOTHING));
    let waits = |places: &Places| places.stand(0) == Stand::Waiting;
    let refused = if leaves_word_first {
        places.set_want();
        waits(&places)
    } else {
        let refused = waits(&places);
        places.set_want();
        refused
    };
    let told = actor.join().unwrap();
    assert!(!refused || told, "a refused reader waits for ever");
}

#[test]
fn a_reader_that_comes_while_its_bytes_do_is_told() {
    model(|| answered(true));
}

#[test]
#[should_panic(expected = "a refused reader waits for ever")]
fn twin_that_leaves_word_after_its_look() {
    model(|| answered(false));
}

impl Module {
    /// `None`: refused.
    fn read_at(&self, fd: Fd, into: &mut [u8], offset: u64) -> Option<usize> {
        match self.commons().read_at(fd, into, offset, &|_, _, _| Err(11)) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                assert!(error.is_would_block());
                None
            }
        }
    }

    fn write_at(&self, fd: Fd, bytes: &[u8], offset: u64) -> bool {
        let from = [std::io::IoSlice::new(bytes)];
        self.commons().write_at(fd, &from, offset, Caller::Descriptor).is_ok()
    }
}

#[test]
fn a_refused_read_by_offset_gets_one_event_and_its_bytes() {
    model(|| {
        let module = Module::new();
        *module.disk.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = (0..100).collect();
        let fd = module.open(&OpenOptions::new().read(true));
        let reader = module.clone();
        let reader = thread::spawn(move || reader.read_at(fd, &mut [0; 10], 50));
        module.run();
        assert_eq!(reader.join().unwrap(), None, "nothing is in memory");
        module.run();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        assert_eq!(seen.count(Readiness::READABLE), 1);
        let mut bytes = [0; 10];
        assert_eq!(module.read_at(fd, &mut bytes, 50), Some(10));
        assert_eq!(bytes, [50, 51, 52, 53, 54, 55, 56, 57, 58, 59]);
        assert_eq!(module.commons().pool.bytes_in_use(), 0, "a page was lost");
    });
}

#[test]
fn a_write_by_offset_beside_a_close_is_written_or_refused() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        let writer = module.clone();
        let writer = thread::spawn(move || writer.write_at(fd, b"by offset", 3));
        let closed = module.commons().close(fd, 0, Operation::Close, Caller::Descriptor);
        assert!(closed.is_ok());
        module.run();
        let accepted = writer.join().unwrap();
        module.run();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        assert_eq!(seen.count(Readiness::CLOSED), 1, "the close waits for ever");
        let disk = module.disk.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        assert_eq!(disk, if accepted { b"\0\0\0by offset".to_vec() } else { Vec::new() });
        module.assert_idle();
    });
}

/// The writer lets the cell go before its page is in the list, or behind that; the closer ends once no cell is in use.
fn closed(lists_first: bool) {
    let state = State::new();
    let fd = Fd::new(0, state.begin(Phase::Opening, 0));
    assert!(state.opened(0));
    let shared = Arc::new((state, Cell::new(), AtomicU32::new(0)));
    shared.1.reset(fd.generation(), Placement::default());
    let writer = shared.clone();
    // True: accepted.
    let writer = thread::spawn(move || {
        let (state, cell, list) = &*writer;
        if !cell.claim(fd.generation()) {
            return false;
        }
        if state.set(0).phase() != Phase::Open {
            cell.undo(fd.generation());
            return false;
        }
        if lists_first {
            list.store(1, Relaxed);
            cell.leave_empty();
        } else {
            cell.leave_empty();
            list.store(1, Relaxed);
        }
        true
    });
    let (state, cell, list) = &*shared;
    assert!(state.close(fd, 0, false) == CloseStart::Begun);
    let quiet = cell.load().is_empty();
    let taken = list.load(Relaxed) == 1;
    let accepted = writer.join().unwrap();
    assert!(!(quiet && accepted) || taken, "a page was left behind");
}

#[test]
fn a_closer_that_finds_no_cell_in_use_finds_the_page() {
    model(|| closed(true));
}

#[test]
#[should_panic(expected = "a page was left behind")]
fn twin_that_lets_the_cell_go_first() {
    model(|| closed(false));
}

/// A page of 100 bytes is accepted and listed; the actor, which finds it in the list, writes it.
fn counted(lists_first: bool) {
    let shared = Arc::new((WriteSide::new(), AtomicU32::new(0)));
    shared.0.reset(0, 4096, 0, Order::One);
    let writer = shared.clone();
    let writer = thread::spawn(move || {
        let (write, listed) = &*writer;
        assert!(write.cell(1).claim(0));
        let behind = Placement { sequence: 1, base: 0, start: 100 };
        if lists_first {
            listed.store(100, Release);
            write.advance(0, behind);
        } else {
            write.advance(0, behind);
            listed.store(100, Release);
        }
        write.cell(1).leave_empty();
    });
    let (write, listed) = &*shared;
    let written = u64::from(listed.load(Acquire));
    assert!(written <= write.accepted(), "more is written than is accepted");
    writer.join().unwrap();
}

#[test]
fn a_page_counts_as_accepted_before_it_is_written() {
    model(|| counted(false));
}

#[test]
#[should_panic(expected = "more is written than is accepted")]
fn twin_that_lists_the_page_before_it_counts() {
    model(|| counted(true));
}

#[test]
fn a_write_by_offset_is_never_written_more_than_accepted() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        let writer = module.clone();
        let writer = thread::spawn(move || writer.write_at(fd, b"by offset", 3));
        let Some(slot) = module.commons().slot(fd) else { panic!("it is open") };
        // As a sync of what was accepted would.
        module.commons().post(slot, mail::FLUSH);
        module.run();
        assert!(slot.written() <= slot.write.accepted(), "more is written than is accepted");
        assert!(writer.join().unwrap(), "nothing refuses it");
        module.run();
        assert!(module.commons().close(fd, 0, Operation::Close, Caller::Descriptor).is_ok());
        module.run();
        module.drain(&mut Seen::default());
        module.assert_idle();
    });
}

/// Somebody is at work with the cell that a page by offset needs: who is refused for that is told when it is free, not by
/// the page that it gives back itself.
#[test]
fn a_refused_write_by_offset_does_not_tell_itself() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        let Some(slot) = module.commons().slot(fd) else { panic!("it is open") };
        let next = slot.write.cell(slot.write.current().wrapping_add(1));
        assert!(next.claim(fd.generation()));
        assert!(!module.write_at(fd, b"by offset", 3), "there is no cell for it");
        let mut seen = Seen::default();
        module.drain(&mut seen);
        assert_eq!(seen.count(Readiness::WRITABLE), 0, "told before anything changed");
        next.undo(fd.generation());
        module.commons().turn_over(slot);
        module.drain(&mut seen);
        assert_eq!(seen.count(Readiness::WRITABLE), 1, "never told");
        assert!(module.write_at(fd, b"by offset", 3));
        assert!(module.commons().close(fd, 0, Operation::Close, Caller::Descriptor).is_ok());
        module.run();
        module.drain(&mut seen);
        module.assert_idle();
    });
}
