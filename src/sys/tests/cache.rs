//! Transfers that leave nothing in the page cache: which way they go, what is dropped when, and whose error it is.

use super::scripted::Scripted;
use super::*;
use crate::error::Operation;
use crate::job::cache::{Dropping, Traces, Uncached};

const HANDLE: Handle = Handle(3);
const BYTES: usize = 1 << 20;

/// Writes so many bytes; what was written, the fault, and what is left behind.
fn leave(
    disk: &impl Disk,
    handle: Handle,
    place: Place,
    bytes: usize,
    uncached: Uncached,
) -> (usize, Option<Fault>, Traces) {
    let mut bytes = vec![7; bytes];
    let from = slices(&mut bytes, 1 << 20);
    match outcome(disk, Kind::Write, Work::Write { handle, place, from, uncached: Some(uncached) }) {
        Outcome::Written { bytes, fault, traces } => (bytes, fault, traces),
        other => panic!("{other:?}"),
    }
}

fn read(
    disk: &impl Disk,
    handle: Handle,
    offset: u64,
    bytes: usize,
    dropping: Dropping,
) -> (usize, Dropping) {
    let mut memory = vec![0; bytes];
    let into = slices(&mut memory, bytes);
    match outcome(disk, Kind::Fill, Work::Fill { handle, offset, into, uncached: Some(dropping) }) {
        Outcome::Filled { bytes, dropping, .. } => (bytes, dropping),
        other => panic!("{other:?}"),
    }
}

fn traces(dropping: Dropping, start: u64, end: u64) -> Traces {
    Traces { dropping, start, end }
}

const NEW: Uncached =
    Uncached { grows: true, settles: true, traces: Traces { dropping: Dropping::Untried, start: 0, end: 0 } };

#[test]
fn long_writes_of_new_blocks_are_left_to_the_kernel() {
    let disk = Scripted::new([Ok(BYTES - 5), Ok(5)]);
    let (bytes, fault, left) = leave(&disk, HANDLE, Place::At(0), BYTES, NEW);
    assert_eq!((bytes, fault, left), (BYTES, None, traces(Dropping::Kernel, 0, 0)));
    assert_eq!(disk.calls(), ["write uncached 1048576 At(0)", "write uncached 5 At(1048571)"]);
}

#[test]
fn what_the_kernel_refuses_is_written_by_hand_at_once_and_from_then_on() {
    let disk = Scripted::new([Err(libc::EOPNOTSUPP), Ok(BYTES), Ok(0), Ok(BYTES), Ok(0)]);
    let (bytes, fault, left) = leave(&disk, HANDLE, Place::At(0), BYTES, NEW);
    assert_eq!((bytes, fault, left), (BYTES, None, traces(Dropping::ByHand, 0, 1 << 20)));
    let (_, _, left) = leave(&disk, HANDLE, Place::At(1 << 20), BYTES, Uncached { traces: left, ..NEW });
    assert_eq!(left, traces(Dropping::ByHand, 0, 2 << 20));
    assert_eq!(
        disk.calls(),
        [
            "write uncached 1048576 At(0)",
            "write 1048576 At(0)",
            "begin 1048576 at 0",
            "write 1048576 At(1048576)",
            "begin 1048576 at 1048576"
        ]
    );
}

#[test]
fn blocks_that_were_there_before_and_short_writes_go_by_hand_in_whole_blocks() {
    let disk = Scripted::new([Ok(100_000), Ok(0)]);
    let (.., left) = leave(&disk, HANDLE, Place::At(5000), 100_000, Uncached { grows: false, ..NEW });
    assert_eq!(left, traces(Dropping::Untried, 5000, 105_000));
    assert_eq!(disk.calls(), ["write 100000 At(5000)", "begin 98304 at 4096"]);
    // Within a block there is nothing to begin with; at the end of the file the place is asked for.
    let disk = Scripted::new([Ok(10), Ok(8300)]);
    let (.., left) = leave(&disk, HANDLE, Place::End, 10, NEW);
    assert_eq!(left, traces(Dropping::Untried, 8290, 8300));
    assert_eq!(disk.calls(), ["write 10 End", "end"]);
}

#[test]
fn what_is_left_behind_is_waited_for_and_dropped_once_it_is_much() {
    let left = traces(Dropping::ByHand, 100, 4 << 20);
    let disk = Scripted::new([Ok(BYTES), Ok(0), Ok(0)]);
    let by_hand = Uncached { traces: left, ..NEW };
    let (_, fault, left) = leave(&disk, HANDLE, Place::At(4 << 20), BYTES, by_hand);
    assert_eq!((fault, left), (None, traces(Dropping::ByHand, 4 << 20, 5 << 20)));
    let calls = ["begin 1048576 at 4194304", "wait for 4194304 at 0", "forget 4194304 at 0"];
    assert_eq!(disk.calls()[1..], calls);
    // Beside a sync nobody waits: the error would be told to one of the two alone.
    let disk = Scripted::new([Ok(BYTES), Ok(0)]);
    let (.., left) = leave(&disk, HANDLE, Place::At(4 << 20), BYTES, Uncached { settles: false, ..by_hand });
    assert_eq!(left, traces(Dropping::ByHand, 100, 5 << 20));
    assert_eq!(disk.calls()[1..], ["begin 1048576 at 4194304"]);
}

#[test]
fn a_write_elsewhere_in_the_file_is_done_with_the_last_place_first() {
    let left = traces(Dropping::ByHand, 100, 5000);
    let disk = Scripted::new([Ok(10), Ok(0)]);
    let (.., left) = leave(&disk, HANDLE, Place::At(90_000), 10, Uncached { traces: left, ..NEW });
    assert_eq!(left, traces(Dropping::ByHand, 90_000, 90_010));
    assert_eq!(disk.calls(), ["write 10 At(90000)", "wait for 8192 at 0", "forget 8192 at 0"]);
}

#[test]
fn an_error_on_the_way_to_the_disk_is_that_of_a_sync() {
    let left = traces(Dropping::ByHand, 0, 4 << 20);
    for (begun, waited) in [(Err(libc::EIO), None), (Ok(0), Some(Err(libc::EIO)))] {
        let disk = Scripted::new(
            [Ok(BYTES), begun].into_iter().chain(waited).chain(waited.is_none().then_some(Ok(0))),
        );
        let by_hand = Uncached { traces: left, ..NEW };
        let (bytes, fault, _) = leave(&disk, HANDLE, Place::At(4 << 20), BYTES, by_hand);
        assert_eq!(
            (bytes, fault),
            (BYTES, Some(Fault::new(Operation::Sync, libc::EIO))),
            "the write itself was one"
        );
        disk.calls();
    }
    // Where there is no such call nothing was lost.
    let disk = Scripted::new([Ok(BYTES), Err(libc::ENOSYS), Err(libc::ENOSYS)]);
    let (_, fault, _) = leave(&disk, HANDLE, Place::At(4 << 20), BYTES, Uncached { traces: left, ..NEW });
    assert_eq!(fault, None);
    disk.calls();
}

#[test]
fn reads_are_left_to_the_kernel_or_dropped_behind_the_reader() {
    let disk = Scripted::new([Ok(70_000), Ok(30_000)]);
    assert_eq!(read(&disk, HANDLE, 0, 100_000, Dropping::Untried), (100_000, Dropping::Kernel));
    assert_eq!(disk.calls(), ["read uncached 100000 at 0", "read uncached 30000 at 70000"]);
    let disk = Scripted::new([Err(libc::EINVAL), Ok(100_000), Ok(50_000), Ok(0)]);
    assert_eq!(read(&disk, HANDLE, 5000, 100_000, Dropping::Untried), (100_000, Dropping::ByHand));
    assert_eq!(read(&disk, HANDLE, 105_000, 100_000, Dropping::ByHand), (50_000, Dropping::ByHand));
    let calls = [
        "read uncached 100000 at 5000",
        "read 100000 at 5000",
        "forget 98304 at 4096",
        "read 100000 at 105000",
        "read 50000 at 155000",
        // At the end the last block too.
        "forget 53248 at 102400",
    ];
    assert_eq!(disk.calls(), calls);
}

#[test]
fn a_close_waits_for_what_was_written_and_tells_its_error() {
    let close = |disk: &Scripted, leaving| match outcome(
        disk,
        Kind::Close,
        Work::Close { handle: HANDLE, staged: None, leaving },
    ) {
        Outcome::Closed(answer) => answer,
        other => panic!("{other:?}"),
    };
    let disk = Scripted::new([Ok(0), Ok(0)]);
    close(&disk, Leaving::Settle).unwrap();
    assert_eq!(disk.calls(), ["wait for 0 at 0", "forget 0 at 0", "close"]);
    let disk = Scripted::new([Ok(0)]);
    close(&disk, Leaving::Forget).unwrap();
    assert_eq!(disk.calls(), ["forget 0 at 0", "close"]);
    let disk = Scripted::new([Err(libc::EIO), Ok(0)]);
    assert_eq!(close(&disk, Leaving::Settle), Err(Fault::new(Operation::Sync, libc::EIO)));
    assert_eq!(disk.calls(), ["wait for 0 at 0", "forget 0 at 0", "close"], "closed all the same");
}

/// The same on a disk: bytes come back whole, by whichever way it goes.
fn round_trip(disk: &impl Disk, name: Name) {
    let handle = opened(disk, OpenWork { uncached: true, ..creating(name) }).unwrap().handle;
    let (bytes, fault, left) = leave(disk, handle, Place::At(0), 300_001, NEW);
    assert_eq!((bytes, fault), (300_001, None));
    let over = Uncached { grows: false, traces: left, ..NEW };
    let (bytes, fault, _) = leave(disk, handle, Place::At(100), 200_000, over);
    assert_eq!((bytes, fault), (200_000, None));
    let (bytes, dropping) = read(disk, handle, 1, 400_000, Dropping::Untried);
    assert_eq!(bytes, 300_000);
    assert_ne!(dropping, Dropping::Untried);
    let work = Work::Close { handle, staged: None, leaving: Leaving::Settle };
    assert!(matches!(outcome(disk, Kind::Close, work), Outcome::Closed(Ok(()))));
}

#[test]
fn bytes_are_whole_by_either_way_on_the_operating_system() {
    for drops in [true, false] {
        let bench = Bench::on(Os { drops, ..Os::new() });
        round_trip(&bench.disk, bench.name("file"));
        assert_eq!(std::fs::read(bench.path("file")).unwrap(), vec![7; 300_001]);
    }
}

#[cfg(feature = "sim")]
#[test]
fn bytes_are_whole_by_either_way_on_the_simulated_disk() {
    for dont_cache in [true, false] {
        let options = crate::sys::sim::SimOptions { dont_cache, ..Default::default() };
        let sim = crate::sys::sim::Sim::with_options(3, options);
        round_trip(&sim, plain(Path::new("/file")));
        assert_eq!(sim.read("/file").unwrap(), vec![7; 300_001]);
    }
}
