//! The read window: a refused reader gets one event and finds its bytes, and a full window goes on.
//!
//! The real files in a small module, with readers against the actor that fills. Checked: a refusal against a fill; a
//! window that is full against a reader that makes room; two readers of one file. The twins are copies of the words;
//! a move of the reader against a fill in flight is checked in such a copy only.

use crate::config::{Limits, OpenOptions};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::page::Class;
use crate::sync::{Arc, AtomicU32, Ordering, model, thread};
use Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::module::{Module, Seen};

/// The byte at an offset of the file: each 1,000 have their own.
fn byte_at(offset: usize) -> u8 {
    (offset / 1000) as u8
}

fn module_with(bytes: usize) -> (Module, Fd) {
    let module = Module::with(Limits {
        memory: 12 * Class::Large.bytes(),
        file_memory: Class::Large.bytes(),
        files: 1,
        threads: 1,
        whole_write: Class::Small.bytes(),
        ..Limits::default()
    });
    *module.disk.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
        (0..bytes).map(byte_at).collect();
    let fd = module.open(&OpenOptions::new().read(true));
    (module, fd)
}

impl Module {
    /// Reads up to `most` bytes and checks that they are those of `offset`; `None`: refused.
    fn read(&self, fd: Fd, offset: usize, most: usize) -> Option<usize> {
        let mut into = vec![255; most];
        match self.commons().read(fd, &mut into, &|_, _, _| Err(11)) {
            Ok(bytes) => {
                let right =
                    into[..bytes].iter().enumerate().all(|(place, byte)| *byte == byte_at(offset + place));
                assert!(right, "bytes of another place");
                Some(bytes)
            }
            Err(error) => {
                assert!(error.is_would_block());
                None
            }
        }
    }

    /// Reads from `offset` to the end as a loop does: again only after an event.
    fn read_to_end(&self, fd: Fd, mut offset: usize, end: usize, most: usize) {
        loop {
            match self.read(fd, offset, most) {
                Some(0) => break,
                Some(bytes) => offset += bytes,
                None => {
                    self.run();
                    let mut seen = Seen::default();
                    self.drain(&mut seen);
                    assert!(seen.count(Readiness::READABLE) > 0, "the reader waits for ever");
                }
            }
        }
        assert_eq!(offset, end, "the end came early");
    }
}

#[test]
fn a_refused_reader_gets_one_event_and_its_bytes() {
    model(|| {
        let (module, fd) = module_with(3000);
        let reader = module.clone();
        let reader = thread::spawn(move || (reader.read(fd, 0, 5000), reader.read(fd, 0, 0)).0);
        module.run();
        let read = reader.join().unwrap();
        module.run();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        match read {
            None => assert_eq!(seen.count(Readiness::READABLE), 1, "one event for a refusal"),
            Some(bytes) => assert_eq!((bytes, seen.count(Readiness::READABLE)), (3000, 0)),
        }
        module.read_to_end(fd, read.unwrap_or(0), 3000, 5000);
    });
}

#[test]
fn a_full_window_goes_on_when_there_is_room() {
    model(|| {
        let large = Class::Large.bytes();
        let (module, fd) = module_with(8 * large);
        assert!(module.read(fd, 0, 500).is_none());
        module.run();
        let reader = module.clone();
        let reader = thread::spawn(move || {
            // Uses up the first page, and begins the second.
            let first = reader.read(fd, 0, large).unwrap_or(0);
            first + reader.read(fd, first, 1).unwrap_or(0)
        });
        // The actor is told to look although there may be no room.
        let Some(slot) = module.commons().slot(fd) else { panic!("it is open") };
        module.commons().post(slot, crate::file::state::mail::FILL);
        module.run();
        let read = reader.join().unwrap();
        module.drain(&mut Seen::default());
        module.read_to_end(fd, read, 8 * large, large);
    });
}

#[test]
fn of_two_readers_the_refused_one_is_told() {
    model(|| {
        let (module, fd) = module_with(1000);
        assert!(module.read(fd, 0, 500).is_none());
        module.run();
        module.drain(&mut Seen::default());
        let reader = module.clone();
        let reader = thread::spawn(move || reader.read(fd, 0, 300));
        let mine = module.read(fd, 0, 300);
        let other = reader.join().unwrap();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        let refused = [mine, other].iter().filter(|read| read.is_none()).count();
        assert!(refused == seen.count(Readiness::READABLE), "a refused reader waits for ever");
        assert!(refused <= 1 && mine.unwrap_or(300) + other.unwrap_or(300) == 600);
    });
}

/// The actor checks the epoch of what it brings, and the reader that of what it takes, or not.
fn epochs(reader_checks: bool) {
    // In the window: the epoch of what was brought, plus one; 0 for nothing.
    let shared = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let actor = shared.clone();
    let actor = thread::spawn(move || {
        let (epoch, window) = &*actor;
        // Filled for epoch 0.
        if epoch.load(Acquire) == 0 {
            window.store(1, Release);
        }
    });
    let (epoch, window) = &*shared;
    // The reader moves: drops what is there, and takes what comes.
    epoch.store(1, Release);
    window.swap(0, AcqRel);
    actor.join().unwrap();
    let front = window.load(Acquire);
    let taken = front != 0 && (!reader_checks || front == 2);
    assert!(!taken, "bytes of another place");
}

#[test]
fn the_reader_checks_what_it_takes() {
    model(|| epochs(true));
}

#[test]
#[should_panic(expected = "bytes of another place")]
fn twin_whose_reader_takes_what_is_there() {
    model(|| epochs(false));
}

/// The actor stops for want of room: marks it and looks again, or looks and marks it.
fn pause(marks_first: bool) {
    let shared = Arc::new((AtomicU32::new(0), AtomicU32::new(4)));
    let reader = shared.clone();
    let reader = thread::spawn(move || {
        let (paused, pages) = &*reader;
        pages.fetch_sub(1, Relaxed);
        // True: the actor is told.
        paused.swap(0, AcqRel) != 0
    });
    let (paused, pages) = &*shared;
    let stopped = if marks_first {
        paused.swap(1, AcqRel);
        pages.load(Relaxed) == 4
    } else {
        let full = pages.load(Relaxed) == 4;
        paused.swap(1, AcqRel);
        full
    };
    let told = reader.join().unwrap();
    assert!(!stopped || told, "the actor waits for ever");
}

#[test]
fn an_actor_that_stops_is_told_of_room() {
    model(|| pause(true));
}

#[test]
#[should_panic(expected = "the actor waits for ever")]
fn twin_that_looks_before_it_marks() {
    model(|| pause(false));
}

/// A claim with two who want it: the holder releases, the closer leaves word.
fn claim(in_one_step: bool) {
    const CLAIMED: u32 = 1;
    const SHUT: u32 = 2;
    let word = Arc::new(AtomicU32::new(CLAIMED));
    let holder = word.clone();
    // True: the closer is told.
    let holder = thread::spawn(move || holder.swap(0, AcqRel) & SHUT != 0);
    let mine = if in_one_step {
        let before = word.fetch_update(AcqRel, Acquire, |seen| {
            Some(if seen & CLAIMED == 0 { CLAIMED } else { seen | SHUT })
        });
        before.is_ok_and(|before| before & CLAIMED == 0)
    } else if word.compare_exchange(0, CLAIMED, AcqRel, Acquire).is_ok() {
        true
    } else {
        word.fetch_or(SHUT, AcqRel);
        false
    };
    let told = holder.join().unwrap();
    assert!(mine || told, "the closer waits for ever");
}

#[test]
fn the_closer_has_the_claim_or_is_told() {
    model(|| claim(true));
}

#[test]
#[should_panic(expected = "the closer waits for ever")]
fn twin_that_leaves_word_in_a_second_step() {
    model(|| claim(false));
}
