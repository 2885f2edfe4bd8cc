//! The timer against a writer: no accepted byte is left without someone who will come for it.
//!
//! The real engine's rounds, on a clock that the scenario moves: a file found clean leaves the timer's list while a
//! writer makes it dirty; a file is stamped while a writer arms it; a slot goes from one file to the next while it is on
//! the list. The twin takes the file off its list without the second look.

use crate::config::OpenOptions;
use crate::error::Operation;
use crate::fd::Fd;
use crate::file::state::{Armed, Arming};
use crate::file::write::Caller;
use crate::sync::{Arc, AtomicU32, Ordering, heavy_fence, light_fence, model, thread};
use Ordering::{AcqRel, Relaxed};

use super::module::{Module, Seen};

/// More than any interval.
const LATER_NS: u64 = 3_000_000_000;

impl Module {
    /// A round of the timer, and what comes of it; `round` counts in steps longer than any interval.
    fn timer_comes(&self, round: u64) {
        let _ = self.engine.timer_round(self.start_ns() + round * LATER_NS);
        self.run();
    }

    fn unwritten(&self, fd: Fd) -> u64 {
        self.commons().slot(fd).map_or(0, |slot| slot.write.accepted() - slot.written())
    }
}

#[test]
fn a_file_found_clean_and_made_dirty_is_written() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        assert_eq!(module.commons().write(fd, &[1; 10]).unwrap(), 10);
        module.timer_comes(1);
        module.timer_comes(2);
        assert_eq!(module.unwritten(fd), 0);
        let writer = module.clone();
        let writer = thread::spawn(move || assert_eq!(writer.commons().write(fd, &[2; 10]).unwrap(), 10));
        // It is clean, unless the writer comes first.
        let _ = module.engine.timer_round(module.start_ns() + 3 * LATER_NS);
        writer.join().unwrap();
        module.run();
        (4..=5).for_each(|round| module.timer_comes(round));
        assert_eq!(module.unwritten(fd), 0, "nobody comes for a dirty file");
    });
}

#[test]
fn a_file_armed_during_a_round_is_written() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        let writer = module.clone();
        let writer = thread::spawn(move || {
            for byte in 1..=2 {
                assert_eq!(writer.commons().write(fd, &[byte; 10]).unwrap(), 10);
            }
        });
        let _ = module.engine.timer_round(module.start_ns() + LATER_NS);
        writer.join().unwrap();
        (2..=3).for_each(|round| module.timer_comes(round));
        assert_eq!(module.unwritten(fd), 0, "nobody comes for a dirty file");
    });
}

#[test]
fn the_next_file_of_a_slot_on_the_list_is_written() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        assert_eq!(module.commons().write(fd, &[1; 10]).unwrap(), 10);
        module.commons().close(fd, 0, Operation::Close, Caller::Descriptor).unwrap();
        module.run();
        module.drain(&mut Seen::default());
        let timer = module.clone();
        let timer = thread::spawn(move || {
            let _ = timer.engine.timer_round(timer.start_ns() + LATER_NS);
            let _ = timer.engine.timer_round(timer.start_ns() + 2 * LATER_NS);
        });
        let next = module.begin_open(&OpenOptions::new().append(true));
        module.run();
        assert_eq!(module.commons().write(next, &[2; 10]).unwrap(), 10);
        timer.join().unwrap();
        module.run();
        (3..=4).for_each(|round| module.timer_comes(round));
        assert_eq!(module.unwritten(next), 0, "nobody comes for a dirty file");
    });
}

/// The words alone: a timer that finds the file clean, and a writer.
fn disarm(looks_again: bool) {
    let shared = Arc::new((Armed::new(), AtomicU32::new(0)));
    assert!(shared.0.arm() == Arming::Push);
    shared.0.stamped();
    let writer = shared.clone();
    let writer = thread::spawn(move || {
        let (armed, accepted) = &*writer;
        accepted.store(1, Relaxed);
        light_fence();
        !armed.is_set() && armed.arm() == Arming::Push
    });
    let (armed, accepted) = &*shared;
    armed.disarm();
    heavy_fence();
    let by_timer = looks_again && accepted.load(Relaxed) != 0 && armed.rearm();
    let by_writer = writer.join().unwrap();
    assert!(by_timer != by_writer, "nobody comes for a dirty file");
}

#[test]
fn the_writer_or_the_timer_arms() {
    model(|| disarm(true));
}

#[test]
#[should_panic(expected = "nobody comes for a dirty file")]
fn twin_without_the_second_look() {
    model(|| disarm(false));
}

/// Two writers arm, while the timer forgets the slot for an older stamp.
fn twice_on_the_list(arm: fn(&Armed, &AtomicU32) -> bool, disarm: fn(&Armed, &AtomicU32)) {
    let shared = Arc::new((Armed::new(), AtomicU32::new(0), AtomicU32::new(0)));
    let writer = shared.clone();
    let push = move |shared: &(Armed, AtomicU32, AtomicU32)| {
        if arm(&shared.0, &shared.1) {
            assert_eq!(shared.2.fetch_add(1, AcqRel), 0, "twice on the list");
        }
    };
    let writer = thread::spawn(move || push(&writer));
    disarm(&shared.0, &shared.1);
    push(&shared);
    writer.join().unwrap();
}

#[test]
fn a_slot_is_on_the_list_once() {
    model(|| twice_on_the_list(|armed, _| armed.arm() == Arming::Push, |armed, _| armed.disarm()));
}

#[test]
#[should_panic(expected = "twice on the list")]
fn twin_that_forgets_the_list_with_the_flag() {
    model(|| twice_on_the_list(|_, word| word.swap(1, AcqRel) == 0, |_, word| _ = word.swap(0, AcqRel)));
}
