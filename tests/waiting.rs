//! Files that were refused for want of memory get it before files that never waited, on the simulated disk.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test fails where it stands, also in a function that several share")]

use std::time::Duration;

use efio::sim::Sim;
use efio::{Efio, Events, Fd, OpenOptions};

/// Writes until it is refused; gives how many bytes were taken.
fn fill(efio: &Efio, fd: Fd) -> usize {
    let (piece, mut taken) = (vec![7; 4096], 0);
    loop {
        match efio.ef_write(fd, &piece) {
            Ok(bytes) => taken += bytes,
            Err(error) => {
                assert!(error.is_would_block(), "{error}");
                return taken;
            }
        }
    }
}

fn open(efio: &Efio, path: &str) -> Fd {
    let fd = efio.ef_open(path, &OpenOptions::new().append(true).create(true)).unwrap();
    while efio.ef_open_status(fd).is_err() {
        assert!(efio.step());
    }
    fd
}

/// A module whose memory is held by a file on a disk that hangs, and a second file that was refused.
fn full_module(sim: &Sim) -> (Efio, Fd, Fd) {
    let builder = Efio::builder().sim(sim).memory_limit(4 << 20).flush_interval(Duration::from_secs(3600));
    let efio = builder.build().unwrap();
    let (hog, waiter) = (open(&efio, "/hog"), open(&efio, "/waiter"));
    sim.hang("/hog");
    // What it holds stays with it too, or it would have a page from the reserve.
    sim.hang("/waiter");
    assert!(efio.ef_write(waiter, &[1; 4096]).is_ok());
    assert!(fill(&efio, hog) > 2 << 20);
    fill(&efio, waiter);
    (efio, hog, waiter)
}

/// Steps until there is an event for `fd` that says it may write.
fn until_writable(efio: &Efio, fd: Fd) {
    let mut events = Events::with_capacity(64);
    loop {
        efio.events(&mut events).unwrap();
        if events.iter().any(|event| event.fd() == fd && event.readiness().is_writable()) {
            return;
        }
        assert!(efio.step(), "nothing is left to happen, and the file was never told");
    }
}

#[test]
fn a_page_that_was_promised_is_not_taken_by_a_file_that_never_waited() {
    let sim = Sim::new(3);
    let (efio, _, waiter) = full_module(&sim);
    let stranger = open(&efio, "/stranger");
    sim.release("/hog");
    until_writable(&efio, waiter);
    assert!(fill(&efio, stranger) > 0, "there is more than what was promised");
    assert!(efio.ef_write(waiter, &[2; 4096]).is_ok(), "a stranger took the page");
}

#[test]
fn a_promise_that_is_not_used_ends() {
    let sim = Sim::new(4);
    let (efio, _, waiter) = full_module(&sim);
    let stranger = open(&efio, "/stranger");
    sim.release("/hog");
    until_writable(&efio, waiter);
    fill(&efio, stranger);
    // The waiter does nothing. The stranger, who waits now, gets the page that was kept.
    until_writable(&efio, stranger);
    assert!(fill(&efio, stranger) > 0);
}

#[test]
fn everyone_who_waits_is_served_in_the_end() {
    let sim = Sim::new(5);
    let (efio, hog, waiter) = full_module(&sim);
    let files: Vec<Fd> = (0..20).map(|number| open(&efio, &format!("/{number}"))).collect();
    files.iter().for_each(|fd| _ = fill(&efio, *fd));
    sim.release("/hog");
    sim.release("/waiter");
    let mut waiting: Vec<Fd> = files.into_iter().chain([waiter, hog]).collect();
    let mut events = Events::with_capacity(64);
    while !waiting.is_empty() {
        efio.events(&mut events).unwrap();
        for event in events.iter().filter(|event| event.readiness().is_writable()) {
            if fill(&efio, event.fd()) > 0 {
                waiting.retain(|fd| *fd != event.fd());
            }
        }
        assert!(efio.step() || waiting.is_empty(), "{} files are never served", waiting.len());
    }
}
