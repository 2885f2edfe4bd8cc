//! More bytes than pages: they are taken whole up to the limit, refused with 0 beyond it, and all arrive in order.
#![allow(unsafe_code, reason = "calls C functions")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::ptr::null_mut;
use std::sync::{MutexGuard, Once};

use efio_capi::{ef_io, files, instances};
use support::{Told, close, errno, open, read, settle, until, write};

const MIB: usize = 1 << 20;

/// `struct ef_instance_options` of efio.h.
#[repr(C)]
struct Options {
    size: usize,
    memory_limit: u64,
    file_memory_limit: u64,
    write_limit: u64,
    read_ahead: u64,
    flush_interval: u64,
    close_deadline: u64,
    shutdown_deadline: u64,
    files_limit: u32,
    threads_limit: u32,
}

/// Starts the library with as few pages as it can have.
fn start() -> MutexGuard<'static, ()> {
    let turn = support::turn();
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let mut options = std::mem::MaybeUninit::<Options>::uninit();
        // SAFETY: the room is as large as it says; zeros are such options.
        unsafe {
            instances::ef_options_init(options.as_mut_ptr().cast(), size_of::<Options>());
            let least = Options {
                memory_limit: 4 * MIB as u64,
                file_memory_limit: 64 << 10,
                ..options.assume_init()
            };
            assert_eq!(instances::ef_init_with((&raw const least).cast()), 0);
        }
    });
    turn
}

fn piece(round: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n % 251 + round) as u8).collect()
}

#[test]
fn all_of_it_arrives_in_order_and_what_comes_behind_waits_its_turn() {
    let _turn = start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    static TOLD: Told = Told::new();
    TOLD.listen();
    let handle = open(&path, libc::O_RDWR | libc::O_CREAT).unwrap();
    let mut all = Vec::new();
    for round in 0..60 {
        // Small ones, some that just fit a page, and some larger than efio takes in one call.
        let bytes = piece(round, [100, 60_000, 3 * MIB / 2][round % 3]);
        assert_eq!(write(handle, &bytes), Ok(bytes.len()));
        all.extend_from_slice(&bytes);
    }
    assert_eq!(ef_io::ef_sync(handle), 0);
    assert_eq!(ef_io::ef_poll(handle) & 1, 1);
    // A read waits for what was written before it, and is told.
    assert_eq!(read(handle, &mut [0; 10]), Ok(0), "the offset is behind what was written");
    assert_eq!(settle(|| errno(files::ef_seek(handle, 100, libc::SEEK_SET))), Ok(100));
    let mut ten = [0; 10];
    assert_eq!((read(handle, &mut ten), &ten[..]), (Ok(10), &all[100..110]));
    let end = all.len() as i64;
    assert_eq!(settle(|| errno(files::ef_seek(handle, 0, libc::SEEK_END))), Ok(end));
    let last = piece(7, 2 * MIB);
    assert_eq!(write(handle, &last), Ok(last.len()));
    all.extend_from_slice(&last);
    assert_eq!(ef_io::ef_close(handle), 0);
    until("the CLOSE", || TOLD.count(handle, 2) == 1);
    assert_eq!(errno(ef_io::ef_close_status(handle)), Ok(0));
    assert!(fs::read(&path).unwrap() == all, "bytes are missing or out of order");
    ef_io::ef_unset_cb_func();
}

#[test]
fn threads_that_write_at_once_have_their_calls_whole() {
    let _turn = start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let handle = open(&path, libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND).unwrap();
    let (threads, calls, bytes) = (4, 60, 50_000);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for _ in 0..calls {
                    assert_eq!(write(handle, &vec![b'a' + thread; bytes]), Ok(bytes));
                }
            });
        }
    });
    close(handle).unwrap();
    let all = fs::read(&path).unwrap();
    assert_eq!(all.len(), usize::from(threads) * calls * bytes);
    assert!(all.chunks(bytes).all(|call| call.iter().all(|byte| *byte == call[0])), "calls are mixed");
}

#[test]
fn beyond_the_limit_nothing_is_taken_until_there_is_room() {
    let _turn = start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let handle = open(&path, libc::O_WRONLY | libc::O_CREAT).unwrap();
    assert_eq!(instances::ef_set_write_limit(null_mut(), 3 * MIB as u64), 0);
    let bytes = piece(0, MIB);
    let (mut taken, mut refused) = (0, 0);
    while taken < 100 {
        match write(handle, &bytes).unwrap() {
            0 => {
                refused += 1;
                until("room", || ef_io::ef_poll(handle) == 1);
            }
            all => {
                assert_eq!(all, bytes.len());
                taken += 1;
            }
        }
    }
    assert!(refused > 0, "the limit was never met");
    let huge = piece(1, 4 * MIB);
    let part = settle(|| match write(handle, &huge) {
        Ok(0) => Err(libc::EAGAIN),
        answer => answer,
    });
    assert_eq!(part, Ok(3 * MIB), "one call above the whole limit");
    close(handle).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 103 * MIB as u64);
    assert_eq!(instances::ef_set_write_limit(null_mut(), 1 << 30), 0);
}
