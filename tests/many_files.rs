//! More files than there is room for: the table says so at once, the kernel by an event, and places come back.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::VecDeque;
use std::time::Duration;

use efio::{Efio, ErrorKind, Fd, OpenOptions, Readiness};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{Loop, child};

const CHILD: &str = "EFIO_MANY_FILES_CHILD";

fn new_file() -> OpenOptions {
    OpenOptions::new().write(true).create(true)
}

fn limited(files: u32) -> Loop {
    Loop::new(Efio::builder().files_limit(files).build().unwrap())
}

/// As many descriptors as a table of 1,000 needs.
fn raise_descriptor_limit() -> bool {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most.min(4096), most).unwrap();
    most >= 2048
}

#[test]
fn five_thousand_files_pass_through_a_table_of_a_thousand() {
    if !raise_descriptor_limit() {
        return support::skip("fewer than 2,048 descriptors are allowed here");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut all = limited(1000);
    let mut open: VecDeque<Fd> = VecDeque::new();
    let mut full = 0;
    for number in 0..5000 {
        let path = folder.path().join(number.to_string());
        let fd = loop {
            match all.efio.ef_open(&path, &new_file()) {
                Ok(fd) => break fd,
                Err(error) => {
                    assert_eq!((error.kind(), error.path()), (ErrorKind::TableFull, Some(path.as_path())));
                    assert_eq!(
                        open.len(),
                        1000,
                        "the table is full when a thousand files are open, not before"
                    );
                    full += 1;
                    for fd in open.drain(..200) {
                        assert!(all.close(fd).error().is_none());
                    }
                }
            }
        };
        open.push_back(fd);
        all.until(fd, Readiness::OPENED);
        all.write(fd, number.to_string().as_bytes()).unwrap();
    }
    assert!(full > 0);
    all.efio.shutdown(Duration::from_secs(20)).unwrap();
    for number in 0..5000 {
        let text = std::fs::read_to_string(folder.path().join(number.to_string())).unwrap();
        assert_eq!(text, number.to_string());
    }
}

#[test]
fn the_lowest_free_place_is_given_first_and_an_old_handle_never_reaches_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = limited(100);
    let open = |all: &mut Loop, name: String| all.open(folder.path().join(name), &new_file()).unwrap();
    let old: Vec<Fd> = (0..100).map(|number| open(&mut all, format!("old-{number}"))).collect();
    assert!(old.iter().enumerate().all(|(place, fd)| fd.index() as usize == place));
    let freed = [70, 3, 41, 99, 0];
    for place in freed {
        all.close(old[place]);
    }
    let new: Vec<Fd> = (0..5).map(|number| open(&mut all, format!("new-{number}"))).collect();
    assert_eq!(new.iter().map(|fd| fd.index()).collect::<Vec<_>>(), [0, 3, 41, 70, 99]);
    let stale = freed.map(|place| all.efio.ef_write(old[place], b"lost").unwrap_err().kind());
    assert_eq!(stale, [ErrorKind::Stale; 5]);
    assert!(freed.iter().all(|place| all.efio.ef_close(old[*place]).is_err()));
    for fd in new {
        assert_eq!(all.close(fd).progress().accepted, 0);
    }
}

#[test]
fn a_place_is_not_given_before_the_last_answer_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = limited(1);
    let first = all.open(folder.path().join("first"), &new_file()).unwrap();
    all.efio.ef_close(first).unwrap();
    support::wait_until("the close", || all.efio.ef_poll(first).is_ok_and(Readiness::is_closed));
    let refused = all.efio.ef_open(folder.path().join("second"), &new_file()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TableFull);
    all.until(first, Readiness::CLOSED);
    all.open(folder.path().join("second"), &new_file()).unwrap();
}

/// The child: a process that may have few descriptors.
fn with_few_descriptors() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 100, most).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut all = Loop::new(Efio::new().unwrap());
    let asked: Vec<Fd> = (0..300)
        .map(|number| all.efio.ef_open(folder.path().join(number.to_string()), &new_file()).unwrap())
        .collect();
    let mut open = Vec::new();
    for fd in asked {
        let event = all.until(fd, Readiness::OPENED);
        match event.error() {
            None => open.push(fd),
            Some(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                assert!(event.readiness().contains(Readiness::ERROR | Readiness::CLOSED));
                assert_eq!(all.efio.ef_open_status(fd).unwrap_err().kind(), ErrorKind::Stale);
            }
        }
    }
    assert!(open.len() > 20 && open.len() < 100, "{} are open", open.len());
    for fd in &open {
        all.write(*fd, b"still well").unwrap();
    }
    let count = open.len();
    for fd in open {
        assert!(all.close(fd).error().is_none());
    }
    for number in 0..count {
        let fd = all.open(folder.path().join(format!("again-{number}")), &new_file());
        fd.unwrap();
    }
}

#[test]
fn more_files_than_the_kernel_allows_are_error_events_and_harm_no_other() {
    if std::env::var_os(CHILD).is_some() {
        return with_few_descriptors();
    }
    let name = "more_files_than_the_kernel_allows_are_error_events_and_harm_no_other";
    let output = child(name, CHILD, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
