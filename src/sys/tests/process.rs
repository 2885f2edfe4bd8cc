//! What the platform asks of the process: signals, fork, the descriptor to wait on, the backend of a thread.
#![allow(unsafe_code, reason = "forks, and waits for the child")]

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread::Builder;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};

use super::*;
use crate::sys::Platform;
use crate::sys::notify_fd::EventDescriptor;
use crate::sys::threads::{fork_generation, on_fork, spawn_deaf};

fn is_readable(event: &EventDescriptor) -> bool {
    let mut list = [PollFd::new(event.as_fd(), PollFlags::POLLIN)];
    poll(&mut list, PollTimeout::ZERO).unwrap() == 1
}

#[test]
fn a_raised_descriptor_is_readable_until_it_is_lowered() {
    let event = EventDescriptor::new().unwrap();
    assert!(!is_readable(&event));
    event.lower().unwrap();
    for _ in 0..3 {
        event.raise().unwrap();
    }
    assert!(is_readable(&event));
    event.lower().unwrap();
    assert!(!is_readable(&event));
    assert!(event.as_raw_fd() >= 0);
}

#[test]
fn the_child_of_a_fork_is_told_from_its_parent() {
    on_fork().unwrap();
    on_fork().unwrap();
    let before = fork_generation();
    // SAFETY: the child does nothing but read an atomic and leave without unwinding or running destructors.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let grown = fork_generation() == before + 1;
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(i32::from(!grown)) };
    }
    assert!(child > 0);
    let mut status = -1;
    // SAFETY: `status` has room for what the call writes.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "counted once in the child, however often it was asked for");
    assert_eq!(fork_generation(), before);
}

/// Runs the test again in a process of its own, whose limits it may set; the second time it returns true.
fn alone(name: &str) -> bool {
    if std::env::var_os("EFIO_ALONE").is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("EFIO_ALONE", "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    false
}

#[test]
fn a_file_at_its_size_limit_is_a_fault_and_not_the_end_of_the_process() {
    let name = std::thread::current().name().unwrap().to_owned();
    if !alone(&name) {
        return;
    }
    setrlimit(Resource::RLIMIT_FSIZE, 5000, 5000).unwrap();
    let work = || {
        let bench = Bench::new();
        let opened = bench.open(creating(bench.name("file"))).unwrap();
        let (bytes, fault) = write(&bench.disk, opened.handle, Place::At(0), &[1; 9000]);
        assert_eq!((bytes, fault.unwrap().errno), (5000, libc::EFBIG));
        bench.close(opened);
    };
    spawn_deaf(Builder::new(), work).unwrap().join().unwrap();
}

#[test]
fn a_thread_of_ours_is_deaf_from_its_first_moment_and_its_maker_hears_as_before() {
    let name = std::thread::current().name().unwrap().to_owned();
    if !alone(&name) {
        return;
    }
    let mask = || SigSet::thread_get_mask().unwrap();
    let hears = |mask: &SigSet| Signal::iterator().filter(|&signal| !mask.contains(signal)).count();
    let before = mask();
    let begins = spawn_deaf(Builder::new(), mask).unwrap().join().unwrap();
    // Those two no mask can hold.
    assert_eq!(hears(&begins), 2);
    assert_eq!(mask(), before);
    assert!(hears(&before) > 2);
}

#[test]
fn the_backend_of_a_thread_hands_back_what_it_was_given() {
    let bench = Bench::new();
    fs::write(bench.path("file"), "bytes").unwrap();
    let platform = Platform::Os;
    let mut backend = platform.backend();
    let work = Work::Open(Box::new(reading(bench.name("file"))));
    backend.submit(Job { slot: 9, kind: Kind::Meta, device: 0, work });
    let mut done = Vec::new();
    backend.reap(&mut done);
    let Some(Done { slot: 9, kind: Kind::Meta, outcome: Outcome::Opened(Ok(opened)) }) = done.pop() else {
        panic!("{done:?}")
    };
    backend.reap(&mut done);
    assert!(done.is_empty());
    bench.close(opened);
}

#[test]
fn the_real_clock_goes_on_by_itself() {
    let platform = Platform::Os;
    let before = platform.now_ns();
    std::thread::sleep(std::time::Duration::from_millis(2));
    assert!(platform.now_ns() - before >= 2_000_000 && !platform.is_virtual());
}

#[test]
fn a_folder_is_opened_at_once() {
    let bench = Bench::new();
    let folder = Platform::Os.open_folder(&bench.name(".")).unwrap();
    assert!(folder.handle.0 >= 0);
    fs::write(bench.path("file"), "").unwrap();
    assert_eq!(Platform::Os.open_folder(&bench.name("file")).unwrap_err().errno, libc::ENOTDIR);
    assert_eq!(Platform::Os.open_folder(&bench.name("missing")).unwrap_err().errno, libc::ENOENT);
}
