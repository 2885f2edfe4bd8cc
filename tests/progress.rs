//! Progress tells the truth at every moment, and what a file no longer needs it gives back.

use std::time::Duration;

use efio::{Efio, Events, OpenOptions};

/// Waits, event by event, until `done`.
fn until(efio: &Efio, mut done: impl FnMut() -> bool) {
    let mut events = Events::with_capacity(16);
    while !done() {
        assert!(efio.wait(&mut events, Some(Duration::from_millis(5))).is_ok());
    }
}

#[test]
fn the_size_counts_what_is_written_of_a_page_that_is_still_open() {
    let folder = tempfile::tempdir().unwrap();
    let efio = Efio::builder().flush_interval(Duration::from_millis(20)).build().unwrap();
    let options = OpenOptions::new().write(true).create(true);
    let fd = efio.ef_open(folder.path().join("a"), &options).unwrap();
    until(&efio, || efio.ef_open_status(fd).is_ok());
    for (bytes, size) in [(&b"hello"[..], 5), (b" world", 11)] {
        assert_eq!(efio.ef_write(fd, bytes).unwrap(), bytes.len());
        assert_eq!(efio.ef_progress(fd).unwrap().size, size, "accepted bytes count");
        until(&efio, || efio.ef_progress(fd).unwrap().written == size);
        assert_eq!(efio.ef_progress(fd).unwrap().size, size, "and still do when they are written");
    }
    efio.ef_close_immediate(fd).unwrap();
}
