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
    let disk = Scripted::new([Ok(BYTES), Ok(0), Ok(0), Ok(0)]);
    let by_hand = Uncached { traces: left, ..NEW };
    let (_, fault, left) = leave(&disk, HANDLE, Place::At(4 << 20), BYTES, by_hand);
    assert_eq!((fault, left), (None, traces(Dropping::ByHand, 4 << 20, 5 << 20)));
    let calls =
        ["begin 1048576 at 4194304", "begin 4194304 at 0", "wait for 4194304 at 0", "forget 4194304 at 0"];
    assert_eq!(disk.calls()[1..], calls);
}

#[test]
fn beside_a_sync_nobody_waits_and_what_syncs_have_cleaned_is_dropped_each_4_mib() {
    // The error would be told to one of the two alone.
    let disk = Scripted::new([Ok(BYTES), Ok(0)]);
    let beside = |end| Uncached { settles: false, traces: traces(Dropping::ByHand, 100, end), ..NEW };
    let (.., left) = leave(&disk, HANDLE, Place::At(3 << 20), BYTES, beside(3 << 20));
    assert_eq!(left, traces(Dropping::ByHand, 100, 4 << 20), "what is dirty still is known to the next one");
    assert_eq!(disk.calls()[1..], ["begin 1048576 at 3145728", "forget 4194304 at 0"]);
    let disk = Scripted::new([Ok(BYTES), Ok(0)]);
    let (.., left) = leave(&disk, HANDLE, Place::At(4 << 20), BYTES, beside(4 << 20));
    assert_eq!(left, traces(Dropping::ByHand, 100, 5 << 20));
    assert_eq!(disk.calls()[1..], ["begin 1048576 at 4194304"], "not for each write");
    // Elsewhere in the file: where there was little it goes on in one range, where there was much that is dropped.
    let disk = Scripted::new([Ok(10)]);
    let (.., left) = leave(&disk, HANDLE, Place::At(90_000), 10, beside(5000));
    assert_eq!(left, traces(Dropping::ByHand, 100, 90_010));
    assert_eq!(disk.calls(), ["write 10 At(90000)"]);
    let disk = Scripted::new([Ok(10)]);
    let (.., left) = leave(&disk, HANDLE, Place::At(50), 10, beside(9 << 20));
    assert_eq!(left, traces(Dropping::ByHand, 50, 9 << 20));
    assert_eq!(disk.calls(), ["write 10 At(50)", "forget 9437184 at 0"]);
    // The next one that may wait has it all.
    let disk = Scripted::new([Ok(10), Ok(0), Ok(0)]);
    let (.., left) = leave(&disk, HANDLE, Place::At(60), 10, Uncached { traces: left, ..NEW });
    assert_eq!(left, traces(Dropping::ByHand, 8 << 20, 9 << 20));
    let calls = ["write 10 At(60)", "begin 8388608 at 0", "wait for 8388608 at 0", "forget 8388608 at 0"];
    assert_eq!(disk.calls(), calls);
}

#[test]
fn a_write_elsewhere_in_the_file_is_done_with_the_last_place_first() {
    let left = traces(Dropping::ByHand, 100, 5000);
    let disk = Scripted::new([Ok(10), Ok(0), Ok(0)]);
    let (.., left) = leave(&disk, HANDLE, Place::At(90_000), 10, Uncached { traces: left, ..NEW });
    assert_eq!(left, traces(Dropping::ByHand, 90_000, 90_010));
    assert_eq!(
        disk.calls(),
        ["write 10 At(90000)", "begin 8192 at 0", "wait for 8192 at 0", "forget 8192 at 0"]
    );
}

/// What a wait for a write-back may answer: once the disk was asked to begin, each of them was taken from the file.
const TAKEN: [i32; 8] = [
    libc::EIO,
    libc::ENOSPC,
    libc::ENOMEM,
    libc::EPERM,
    libc::EINVAL,
    libc::EOPNOTSUPP,
    libc::ENOSYS,
    libc::ESPIPE,
];

#[test]
fn an_error_on_the_way_to_the_disk_is_that_of_a_sync() {
    let left = traces(Dropping::ByHand, 0, 4 << 20);
    let by_hand = Uncached { traces: left, ..NEW };
    let waits = TAKEN.map(|errno| (errno, vec![Ok(BYTES), Ok(0), Ok(0), Err(errno)]));
    let begins = [(libc::EIO, vec![Ok(BYTES), Err(libc::EIO), Ok(0), Ok(0)])];
    for (errno, script) in waits.into_iter().chain(begins) {
        let disk = Scripted::new(script);
        let (bytes, fault, _) = leave(&disk, HANDLE, Place::At(4 << 20), BYTES, by_hand);
        let wanted = (BYTES, Some(Fault::new(Operation::Sync, errno)));
        assert_eq!((bytes, fault), wanted, "the write itself was one");
        disk.calls();
    }
    // Where there is no such call nothing was lost, and nobody waits.
    let disk = Scripted::new([Ok(BYTES), Err(libc::ENOSYS), Err(libc::ENOSYS)]);
    let (_, fault, _) = leave(&disk, HANDLE, Place::At(4 << 20), BYTES, by_hand);
    assert_eq!(fault, None);
    let calls = ["begin 1048576 at 4194304", "begin 4194304 at 0", "forget 4194304 at 0"];
    assert_eq!(disk.calls()[1..], calls);
}

#[test]
fn an_error_on_the_way_to_the_disk_is_not_hidden_by_that_of_the_write() {
    // A sync after it would not be told of the first: it was told here.
    let disk = Scripted::new([Ok(500_000), Err(libc::ENOSPC), Ok(0), Ok(0), Err(libc::EIO)]);
    let by_hand = Uncached { traces: traces(Dropping::ByHand, 0, 4 << 20), ..NEW };
    let (bytes, fault, _) = leave(&disk, HANDLE, Place::At(4 << 20), BYTES, by_hand);
    assert_eq!((bytes, fault), (500_000, Some(Fault::new(Operation::Sync, libc::EIO))));
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
    let settles = ["begin 0 at 0", "wait for 0 at 0", "forget 0 at 0", "close"];
    let disk = Scripted::new([Ok(0), Ok(0), Ok(0)]);
    close(&disk, Leaving::Settle).unwrap();
    assert_eq!(disk.calls(), settles);
    let disk = Scripted::new([Ok(0)]);
    close(&disk, Leaving::Forget).unwrap();
    assert_eq!(disk.calls(), ["forget 0 at 0", "close"]);
    for errno in TAKEN {
        let disk = Scripted::new([Ok(0), Err(errno), Ok(0)]);
        assert_eq!(close(&disk, Leaving::Settle), Err(Fault::new(Operation::Sync, errno)));
        assert_eq!(disk.calls(), settles, "closed all the same");
    }
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
