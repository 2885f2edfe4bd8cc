//! The end of a module against an open: no file begins behind it and stays.
//!
//! The real engine, whose end goes through the table while a caller opens. The twin is an open that looks for the end
//! only before it begins.

use crate::config::OpenOptions;
use crate::event::Readiness;
use crate::sync::{model, thread};

use super::module::{Module, Seen};

fn open_against_the_end(looks_again: bool) {
    let module = Module::new();
    let opener = module.clone();
    let opener = thread::spawn(move || {
        // As `Efio::ef_open`.
        if opener.engine.is_ending() {
            return 0;
        }
        let fd = opener.begin_open(&OpenOptions::new().write(true));
        if looks_again {
            opener.engine.end_if_late(fd);
        }
        1
    });
    module.engine.begin_ending();
    module.run();
    let opened = opener.join().unwrap();
    module.run();
    let mut seen = Seen::default();
    module.drain(&mut seen);
    assert_eq!(seen.count(Readiness::CLOSED), opened, "a file goes on behind the end");
    module.assert_idle();
}

#[test]
fn no_file_begins_behind_the_end() {
    model(|| open_against_the_end(true));
}

#[test]
#[should_panic(expected = "a file goes on behind the end")]
fn twin_that_looks_only_before_it_begins() {
    model(|| open_against_the_end(false));
}

#[test]
fn the_end_writes_what_a_call_has_taken() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        let writer = module.clone();
        let writer = thread::spawn(move || writer.commons().write(fd, &[1; 100]).unwrap_or(0));
        module.engine.begin_ending();
        module.run();
        let taken = writer.join().unwrap();
        module.run();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        assert_eq!(seen.count(Readiness::CLOSED), 1, "a file goes on behind the end");
        assert_eq!(module.disk.lock().unwrap().len(), taken, "accepted bytes are not in the file");
        module.assert_idle();
    });
}
