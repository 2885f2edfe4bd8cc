//! Progress tells the truth at every moment, and what a file no longer needs it gives back.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it stands, also in a function that two tests share"
)]

use std::io::{ErrorKind, Write};
use std::time::Duration;

use efio::{Durability, Efio, Events, OpenOptions};

/// So many looks, with a short wait or some news after each, find out what does not come at all.
const LOOKS: u32 = 4000;

/// Waits, event by event, until `done`; a test that waits for what never comes fails instead of hanging.
fn until(efio: &Efio, what: &str, mut done: impl FnMut() -> bool) {
    let mut events = Events::with_capacity(16);
    for _ in 0..LOOKS {
        if done() {
            return;
        }
        assert!(efio.wait(&mut events, Some(Duration::from_millis(5))).is_ok());
    }
    panic!("waited in vain for: {what}");
}

#[test]
fn the_size_counts_what_is_written_of_a_page_that_is_still_open() {
    let folder = tempfile::tempdir().unwrap();
    let efio = Efio::builder().flush_interval(Duration::from_millis(20)).build().unwrap();
    let options = OpenOptions::new().write(true).create(true);
    let fd = efio.ef_open(folder.path().join("a"), &options).unwrap();
    until(&efio, "the open", || efio.ef_open_status(fd).is_ok());
    for (bytes, size) in [(&b"hello"[..], 5), (b" world", 11)] {
        assert_eq!(efio.ef_write(fd, bytes).unwrap(), bytes.len());
        assert_eq!(efio.ef_progress(fd).unwrap().size, size, "accepted bytes count");
        until(&efio, "the write", || efio.ef_progress(fd).unwrap().written == size);
        assert_eq!(efio.ef_progress(fd).unwrap().size, size, "and still do when they are written");
    }
    efio.ef_close_immediate(fd).unwrap();
}

/// Opens `files` files one after another, writes a byte to each, and leaves them open and idle.
fn idle_files(efio: &Efio, options: &OpenOptions, files: usize) {
    let folder = tempfile::tempdir().unwrap();
    let fds: Vec<_> = (0..files)
        .map(|number| {
            let fd = efio.ef_open(folder.path().join(number.to_string()), options).unwrap();
            until(efio, "the open", || efio.ef_open_status(fd).is_ok());
            until(efio, "a page", || match efio.ef_write(fd, b"x") {
                Err(error) if error.is_would_block() => false,
                answer => answer.unwrap() == 1,
            });
            fd
        })
        .collect();
    for fd in fds {
        assert_eq!(efio.ef_progress(fd).unwrap().accepted, 1);
        efio.ef_close_immediate(fd).unwrap();
    }
}

#[test]
fn idle_files_hold_no_page() {
    // 4 MiB are 1,024 of the smallest pages: without giving back, the last files would wait for ever.
    let builder = || Efio::builder().memory_limit(4 << 20).flush_interval(Duration::from_millis(10));
    let options = OpenOptions::new().write(true).create(true);
    idle_files(&builder().build().unwrap(), &options, 1500);
    idle_files(&builder().build().unwrap(), &options.durability(Durability::EveryWrite), 1500);
}

/// Whether a call of an owned file has its answer.
fn has_come(answer: std::io::Result<()>) -> bool {
    match answer {
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        answer => {
            answer.unwrap();
            true
        }
    }
}

#[test]
fn an_owned_file_that_was_flushed_holds_no_page() {
    let folder = tempfile::tempdir().unwrap();
    let efio = Efio::builder().memory_limit(4 << 20).build().unwrap();
    let options = OpenOptions::new().write(true).create(true);
    let files: Vec<_> = (0..1500)
        .map(|number| {
            let mut file = efio.open(folder.path().join(number.to_string()), &options).unwrap();
            until(&efio, "a page", || has_come(file.write(b"x").map(|taken| assert_eq!(taken, 1))));
            until(&efio, "the flush", || has_come(file.flush()));
            file
        })
        .collect();
    for (number, mut file) in files.into_iter().enumerate() {
        until(&efio, "a page", || has_come(file.write(b"y").map(|taken| assert_eq!(taken, 1))));
        file.blocking().close().unwrap();
        assert_eq!(std::fs::read(folder.path().join(number.to_string())).unwrap(), b"xy");
    }
}
