//! Handles: their numbers, their answers in each state, what any other number is answered, and what files do behind them.
#![allow(unsafe_code, reason = "calls C functions")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;

use efio_capi::ef_io;
use support::{Told, begin, close, errno, open, read, read_all, settle, try_read, write};

const WRITING: i32 = libc::O_WRONLY | libc::O_CREAT;

#[test]
fn a_number_that_is_no_handle_is_a_bad_one_for_every_call() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let one = open(&folder.path().join("one"), WRITING).unwrap();
    for wrong in [-1, i32::MIN, i32::MAX, one + 1, 63, 64, 1 << 20, -4096] {
        let answers = [
            errno(ef_io::ef_open_status(wrong)),
            errno(ef_io::ef_close(wrong)),
            errno(ef_io::ef_close_status(wrong)),
            errno(ef_io::ef_close_immediate(wrong)),
            errno(ef_io::ef_poll(wrong)),
            errno(ef_io::ef_sync(wrong)),
            errno(ef_io::ef_file_ready_for_read(wrong) as i64).map(|count| count as i32),
            write(wrong, b"x").map(|count| count as i32),
            try_read(wrong, &mut [0]).map(|count| count as i32),
        ];
        assert_eq!(answers, [Err(libc::EBADF); 9], "{wrong}");
    }
    close(one).unwrap();
}

#[test]
fn the_answer_of_a_close_stays_until_its_number_is_used_again_and_that_is_the_next_open() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let handle = open(&path, WRITING).unwrap();
    assert_eq!(errno(ef_io::ef_close_status(handle)), Err(libc::EINVAL), "no close was begun");
    write(handle, b"bytes").unwrap();
    assert_eq!(ef_io::ef_close(handle), 0);
    let again = errno(ef_io::ef_close(handle));
    assert!(matches!(again, Err(libc::EBUSY | libc::EBADF)), "{again:?}");
    assert_eq!(settle(|| errno(ef_io::ef_close_status(handle))), Ok(0));
    for _ in 0..3 {
        assert_eq!(errno(ef_io::ef_close_status(handle)), Ok(0), "asked again");
    }
    assert_eq!(errno(ef_io::ef_open_status(handle)), Err(libc::EBADF));
    assert_eq!(write(handle, b"x"), Err(libc::EBADF));
    assert_eq!(fs::read(&path).unwrap(), b"bytes");
    assert_eq!(begin(&path, libc::O_RDONLY).unwrap(), handle, "the lowest free number");
    close(handle).unwrap();
    assert_eq!(begin(&path, libc::O_RDONLY).unwrap(), handle);
    close(handle).unwrap();
}

#[test]
fn an_open_that_fails_is_told_and_its_number_is_free_when_asked_or_closed() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let handle = begin(&missing, libc::O_RDONLY).unwrap();
    assert_eq!(settle(|| errno(ef_io::ef_open_status(handle))), Err(libc::ENOENT));
    assert_eq!(errno(ef_io::ef_open_status(handle)), Err(libc::ENOENT), "asked again");
    assert_eq!(begin(&missing, libc::O_RDONLY).unwrap(), handle);
    // Nobody asks this time, but closes it, as a destructor would.
    support::until("the failure", || ef_io::ef_poll(handle) < 0);
    assert_eq!(errno(ef_io::ef_close(handle)), Err(libc::EBADF));
    assert_eq!(begin(&missing, libc::O_RDONLY).unwrap(), handle);
    let folder = begin(folder.path(), libc::O_RDONLY).unwrap();
    assert_eq!(settle(|| errno(ef_io::ef_open_status(folder))), Err(libc::EISDIR));
}

#[test]
fn handles_that_nobody_asks_about_are_used_again_in_the_end() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, b"x").unwrap();
    static TOLD: Told = Told::new();
    TOLD.listen();
    let mut highest = 0;
    for round in 0..6000 {
        let handle = begin(&path, libc::O_RDONLY).unwrap();
        highest = highest.max(handle);
        assert_eq!(ef_io::ef_close(handle), 0);
        // One at a time. A CLOSE that has not returned keeps its handle for a moment longer.
        support::until("the CLOSE", || TOLD.closes() > round);
    }
    ef_io::ef_unset_cb_func();
    assert!((4096..4200).contains(&highest), "an answer is kept for 4,096 closes: {highest}");
    assert_eq!(errno(ef_io::ef_close_status(highest)), Ok(0));
}

#[test]
fn many_files_are_open_at_a_time() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let handles: Vec<i32> =
        (0..300).map(|n| begin(&folder.path().join(n.to_string()), WRITING).unwrap()).collect();
    for (n, handle) in handles.iter().enumerate() {
        assert_eq!(settle(|| errno(ef_io::ef_open_status(*handle))), Ok(*handle));
        write(*handle, format!("file {n}").as_bytes()).unwrap();
    }
    for (n, handle) in handles.iter().enumerate() {
        close(*handle).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join(n.to_string())).unwrap(), format!("file {n}"));
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused_and_errno_is_left_alone_otherwise() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    // SAFETY: NULL is a wrong path, and an empty one is a string.
    unsafe {
        assert_eq!(errno(ef_io::ef_open(std::ptr::null(), libc::O_RDONLY, 0)), Err(libc::EINVAL));
        assert_eq!(errno(ef_io::ef_open(c"".as_ptr(), libc::O_RDONLY, 0)), Err(libc::EINVAL));
    }
    assert_eq!(begin(&path, libc::O_APPEND), Err(libc::EINVAL));
    assert_eq!(begin(&path, libc::O_ACCMODE), Err(libc::EINVAL));
    let handle = open(&path, libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC | libc::O_SYNC).unwrap();
    // SAFETY: NULL and lengths that there are not are refused before anybody looks.
    unsafe {
        let mut byte = 0_u8;
        let place = (&raw mut byte).cast();
        for (buf, len) in [(std::ptr::null_mut(), 1), (place, 0), (place, usize::MAX)] {
            assert_eq!(errno(ef_io::ef_read(handle, buf, len) as i64), Err(libc::EINVAL));
            assert_eq!(errno(ef_io::ef_write(handle, buf, len) as i64), Err(libc::EINVAL));
        }
        *libc::__errno_location() = libc::ENOTTY;
    }
    assert_eq!(write(handle, b"line").unwrap(), 4);
    assert!(ef_io::ef_poll(handle) & 1 == 1);
    assert_eq!(ef_io::ef_sync(handle), 0);
    assert_eq!(ef_io::ef_close_immediate(handle), 0);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENOTTY));
}

#[test]
fn one_offset_for_reads_and_writes_and_the_end_for_what_appends() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, b"0123456789").unwrap();
    let handle = open(&path, libc::O_RDWR).unwrap();
    let mut four = [0; 4];
    assert_eq!((read(handle, &mut four), &four), (Ok(4), b"0123"));
    write(handle, b"XY").unwrap();
    assert_eq!((read(handle, &mut four), &four), (Ok(4), b"6789"));
    close(handle).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"0123XY6789");

    let handle = open(&path, libc::O_RDWR | libc::O_APPEND).unwrap();
    assert_eq!((read(handle, &mut four), &four), (Ok(4), b"0123"));
    write(handle, b"ab").unwrap();
    assert_eq!(read(handle, &mut four), Ok(0), "after an append the offset is the end");
    close(handle).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"0123XY6789ab");

    let log = libc::O_TRUNC | libc::O_APPEND | libc::O_WRONLY | libc::O_CREAT;
    let handle = open(&path, log).unwrap();
    assert_eq!(try_read(handle, &mut four), Err(libc::EBADF));
    write(handle, b"new").unwrap();
    close(handle).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn what_a_read_would_say_is_said_and_the_end_is_told_by_the_read_too() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, vec![b'x'; 3 << 20]).unwrap();
    let handle = open(&path, libc::O_RDONLY).unwrap();
    let ready = || settle(|| errno(ef_io::ef_file_ready_for_read(handle) as i64));
    assert_eq!(ready(), Ok(1));
    assert_eq!(read_all(handle).unwrap().len(), 3 << 20);
    assert_eq!(ready(), Ok(0));
    assert_eq!(ready(), Ok(0), "asked again");
    assert_eq!(ef_io::ef_poll(handle), 2);
    assert_eq!(try_read(handle, &mut [0; 9]), Ok(0), "the end that was told");
    fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut fs::OpenOptions::new().append(true).open(&path).unwrap(), b"more")
        .unwrap();
    assert_eq!(read_all(handle).unwrap(), b"more", "the file has grown");
    close(handle).unwrap();
}

#[test]
fn a_write_of_any_size_is_taken_whole_and_all_of_it_is_in_the_file() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let handle = open(&path, WRITING).unwrap();
    let piece: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut all = Vec::new();
    for round in 0..40 {
        let bytes = &piece[..piece.len() - round];
        assert_eq!(write(handle, bytes), Ok(bytes.len()));
        assert_eq!(write(handle, b"|"), Ok(1));
        all.extend_from_slice(bytes);
        all.push(b'|');
    }
    assert_eq!(ef_io::ef_sync(handle), 0);
    close(handle).unwrap();
    assert!(fs::read(&path).unwrap() == all, "bytes are missing or out of order");
}

#[test]
fn a_file_that_may_not_grow_fails_its_close_with_the_reason_and_nothing_aborts() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let handle = open(&folder.path().join("file"), WRITING).unwrap();
    let before = limit(100_000);
    for _ in 0..8 {
        let taken = write(handle, &[7; 60_000]);
        assert!(matches!(taken, Ok(60_000) | Err(libc::EFBIG)), "{taken:?}");
    }
    assert_eq!(ef_io::ef_close(handle), 0);
    assert_eq!(settle(|| errno(ef_io::ef_close_status(handle))), Err(libc::EFBIG));
    assert_eq!(errno(ef_io::ef_close_status(handle)), Err(libc::EFBIG), "asked again");
    limit(before);
}

/// Sets the largest size of a file, and gives the one before.
fn limit(bytes: u64) -> u64 {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads and sets the limits of this process. SIGXFSZ goes to the thread that writes, where it is blocked.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limits);
        let before = std::mem::replace(&mut limits.rlim_cur, bytes);
        libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limits);
        before
    }
}
