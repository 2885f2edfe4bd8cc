//! efio.h: instances with limits of their own, events by a descriptor, atomic files, offsets, errors in words, fork.
#![allow(unsafe_code, reason = "calls C functions")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fs;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::Mutex;

use efio_capi::instances::{self, EfInstance};
use efio_capi::{ef_io, errors, files};
use support::{begin, close, errno, open, read, settle, write};

/// `struct ef_open_options` of efio.h.
#[repr(C)]
struct OpenOptions {
    size: usize,
    flags: c_int,
    mode: c_uint,
    atomic: c_int,
    durability: c_int,
    on_full: c_int,
    order: c_int,
    io_mode: c_int,
    retain: c_int,
    flush_interval: u64,
    memory_limit: u64,
    write_limit: u64,
    data: *mut c_void,
}

/// `struct ef_event` of efio.h.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Event {
    fd: c_int,
    what: c_uint,
    error: c_int,
    reserved: c_int,
    data: *mut c_void,
    lost: u64,
    accepted: u64,
    written: u64,
    durable: u64,
}

/// `struct ef_progress` of efio.h.
#[derive(Default)]
#[repr(C)]
struct Progress {
    size: usize,
    accepted: u64,
    written: u64,
    durable: u64,
    end: u64,
}

const OPENED: c_uint = 1;
const WRITABLE: c_uint = 4;
const SYNCED: c_uint = 8;
const CLOSED: c_uint = 0x100;

fn options(flags: c_int) -> OpenOptions {
    let mut options = std::mem::MaybeUninit::<OpenOptions>::uninit();
    // SAFETY: the room is as large as it says; zeros are such options.
    unsafe {
        instances::ef_options_init(options.as_mut_ptr().cast(), size_of::<OpenOptions>());
        OpenOptions { flags, ..options.assume_init() }
    }
}

fn open_with(instance: *mut EfInstance, path: &Path, options: &OpenOptions) -> Result<c_int, i32> {
    // SAFETY: a path, and a struct with its size.
    errno(unsafe {
        instances::ef_open_with(instance, support::name(path).as_ptr(), std::ptr::from_ref(options).cast())
    })
}

/// Takes one event, waiting for it.
fn next(instance: *mut EfInstance) -> Event {
    let mut event = std::mem::MaybeUninit::<Event>::uninit();
    // SAFETY: room for one event.
    unsafe {
        let room = event.as_mut_ptr().cast();
        assert_eq!(instances::ef_wait(instance, room, size_of::<Event>(), 1, 60_000), 1);
        event.assume_init()
    }
}

/// Takes events of one file until one has all of these bits.
fn wait_for(instance: *mut EfInstance, fd: c_int, what: c_uint) -> Event {
    loop {
        let event = next(instance);
        if event.fd == fd && event.what & what == what {
            return event;
        }
    }
}

fn progress(fd: c_int) -> Progress {
    let mut progress = Progress { size: size_of::<Progress>(), ..Progress::default() };
    // SAFETY: a struct with its size.
    assert_eq!(unsafe { files::ef_progress(fd, (&raw mut progress).cast()) }, 0);
    progress
}

#[test]
fn an_instance_tells_by_a_descriptor_and_ends_with_its_handles() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    // SAFETY: NULL stands for the defaults.
    let instance = unsafe { instances::ef_instance_new(null()) };
    assert!(!instance.is_null());
    let descriptor = instances::ef_notify_fd(instance);
    let fd = open_with(
        instance,
        &path,
        &OpenOptions { data: 77 as *mut c_void, ..options(libc::O_WRONLY | libc::O_CREAT) },
    )
    .unwrap();
    let mut polled = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry.
    assert_eq!(unsafe { libc::poll(&raw mut polled, 1, 60_000) }, 1);
    let opened = next(instance);
    assert_eq!((opened.fd, opened.what, opened.error, opened.data.addr()), (fd, OPENED, 0, 77));
    assert_eq!(write(fd, b"accepted"), Ok(8));
    assert_eq!(ef_io::ef_sync(fd), 0);
    let synced = wait_for(instance, fd, SYNCED);
    assert_eq!((synced.error, synced.durable, progress(fd).durable), (0, 8, 8));
    assert_eq!(ef_io::ef_close(fd), 0);
    let closed = wait_for(instance, fd, CLOSED);
    assert_eq!((closed.error, closed.lost, closed.accepted), (0, 0, 8));

    let left = open_with(instance, &path, &options(libc::O_RDWR)).unwrap();
    settle(|| errno(ef_io::ef_open_status(left))).unwrap();
    assert_eq!(write(left, b"ACC"), Ok(3));
    assert_eq!(instances::ef_instance_free(instance, 5_000_000), 0);
    assert_eq!(fs::read(&path).unwrap(), b"ACCepted");
    assert_eq!(write(left, b"x"), Err(libc::EBADF));
    for gone in [instance, 3 as *mut EfInstance] {
        assert_eq!(errno(instances::ef_notify_fd(gone)), Err(libc::EINVAL));
        assert_eq!(errno(instances::ef_instance_free(gone, 0)), Err(libc::EINVAL));
    }
}

#[test]
fn without_a_write_limit_a_write_that_finds_no_page_is_refused_and_told() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    // SAFETY: NULL stands for the defaults.
    let instance = unsafe { instances::ef_instance_new(null()) };
    let path = folder.path().join("file");
    let small = OpenOptions { memory_limit: 64 << 10, ..options(libc::O_WRONLY | libc::O_CREAT) };
    let fd = open_with(instance, &path, &small).unwrap();
    settle(|| errno(ef_io::ef_open_status(fd))).unwrap();
    let piece = vec![b'p'; 60_000];
    let (mut all, mut refused) = (0, 0);
    while all < 40 * piece.len() {
        match write(fd, &piece).unwrap() {
            0 => {
                refused += 1;
                wait_for(instance, fd, WRITABLE);
            }
            taken => all += taken,
        }
    }
    assert!(refused > 0, "the limit was never met");
    close(fd).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), all as u64);
    assert_eq!(instances::ef_instance_free(instance, 5_000_000), 0);
}

#[test]
fn an_atomic_file_appears_with_its_close_and_an_aborted_one_never_does() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for published in [false, true] {
        // By either of the modes.
        let io_mode = i32::from(published);
        let atomic =
            OpenOptions { atomic: 1, durability: 2, io_mode, ..options(libc::O_WRONLY | libc::O_CREAT) };
        let fd = open_with(null_mut(), &path, &atomic).unwrap();
        settle(|| errno(ef_io::ef_open_status(fd))).unwrap();
        write(fd, b"whole").unwrap();
        ef_io::ef_sync(fd);
        assert!(!path.exists());
        if published {
            close(fd).unwrap();
        } else {
            assert_eq!(files::ef_abort(fd), 0);
            assert_eq!(settle(|| errno(ef_io::ef_close_status(fd))), Ok(0));
        }
        assert_eq!(path.exists(), published);
    }
    assert_eq!(fs::read(&path).unwrap(), b"whole");
    assert_eq!(open_with(null_mut(), &path, &OpenOptions { io_mode: 7, ..options(0) }), Err(libc::ENOTSUP));
    assert_eq!(open_with(null_mut(), &path, &OpenOptions { order: 2, ..options(0) }), Err(libc::EINVAL));
}

#[test]
fn offsets_sizes_and_other_files_behind_a_handle() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let fd = open(&path, libc::O_RDWR | libc::O_CREAT).unwrap();
    write(fd, b"0123456789").unwrap();
    // SAFETY: the bytes and the room are there.
    unsafe {
        assert_eq!(files::ef_write_at(fd, b"AB".as_ptr().cast(), 2, 4), 2);
        let mut room = [0_u8; 4];
        let at = |offset| errno(files::ef_read_at(fd, room.as_mut_ptr().cast(), 4, offset) as i64);
        let mut at = at;
        assert_eq!(settle(|| at(3)), Ok(4));
        assert_eq!(&room, b"3AB6");
    }
    assert_eq!(settle(|| errno(files::ef_truncate(fd, 6))), Ok(0));
    assert_eq!(settle(|| errno(files::ef_seek(fd, 0, libc::SEEK_END))), Ok(6));
    assert_eq!(errno(files::ef_seek(fd, -1, libc::SEEK_SET)), Err(libc::EINVAL));
    assert_eq!(settle(|| errno(files::ef_seek(fd, -2, libc::SEEK_CUR))), Ok(4));
    let mut two = [0; 2];
    assert_eq!((read(fd, &mut two), &two), (Ok(2), b"AB"));
    assert_eq!(settle(|| errno(files::ef_preallocate(fd, 0, 1 << 16, 1))), Ok(0));
    close(fd).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"0123AB");

    let log = open(&path, libc::O_WRONLY | libc::O_APPEND).unwrap();
    write(log, b"|old").unwrap();
    let second = support::name(&folder.path().join("second"));
    // SAFETY: a path with its NUL byte.
    assert_eq!(settle(|| errno(unsafe { files::ef_reopen(log, second.as_ptr()) })), Ok(0));
    write(log, b"new").unwrap();
    close(log).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"0123AB|old");
    assert_eq!(fs::read(folder.path().join("second")).unwrap(), b"new");
}

#[test]
fn failures_are_told_in_words_and_to_the_log() {
    let _turn = support::turn();
    static LINES: Mutex<Vec<(c_int, CString)>> = Mutex::new(Vec::new());
    unsafe extern "C" fn log(level: c_int, line: *const c_char, _: *mut c_void) {
        // SAFETY: a line with its NUL byte.
        LINES.lock().unwrap().push((level, unsafe { CStr::from_ptr(line) }.to_owned()));
    }
    errors::ef_set_log_func(Some(log), null_mut());
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let fd = begin(&missing, libc::O_RDONLY).unwrap();
    assert_eq!(settle(|| errno(ef_io::ef_open_status(fd))), Err(libc::ENOENT));
    // SAFETY: the message stays until the next failure of this thread.
    let message = unsafe { CStr::from_ptr(errors::ef_error_message()) }.to_string_lossy().into_owned();
    assert!(message.contains("ef_open_status") && message.contains("missing"), "{message}");
    support::until("a line of the log", || {
        LINES
            .lock()
            .unwrap()
            .iter()
            .any(|(level, line)| *level == 3 && line.to_string_lossy().contains("missing"))
    });
    errors::ef_set_log_func(None, null_mut());
}

#[test]
fn a_child_of_fork_has_none_of_its_parents_handles_and_may_open_its_own() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let (path, own) = (folder.path().join("file"), folder.path().join("own"));
    let fd = open(&path, libc::O_WRONLY | libc::O_CREAT).unwrap();
    write(fd, b"parent").unwrap();
    // SAFETY: the child makes calls of this library and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut fine = write(fd, b"child") == Err(libc::EBADF);
        fine &= errno(ef_io::ef_close_status(fd)) == Err(libc::EBADF);
        fine &= open(&own, libc::O_WRONLY | libc::O_CREAT)
            .is_ok_and(|own| write(own, b"its own") == Ok(7) && close(own).is_ok());
        // SAFETY: ends the child without what the test runner would do at the end.
        unsafe { libc::_exit(if fine { 0 } else { 1 }) };
    }
    let mut status = -1;
    // SAFETY: waits for the child.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    write(fd, b" again").unwrap();
    close(fd).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"parent again");
    assert_eq!(fs::read(&own).unwrap(), b"its own");
}

#[test]
fn after_a_shutdown_everything_is_written_and_an_init_starts_anew() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let fd = open(&path, libc::O_WRONLY | libc::O_CREAT).unwrap();
    write(fd, b"before").unwrap();
    assert_eq!(instances::ef_shutdown(null_mut(), 10_000_000), 0);
    assert_eq!(fs::read(&path).unwrap(), b"before");
    assert_eq!(begin(&path, libc::O_RDONLY), Err(libc::ESHUTDOWN));
    assert_eq!(errno(ef_io::ef_close_status(fd)), Ok(0));
    assert_eq!(write(fd, b"x"), Err(libc::EBADF));
    ef_io::ef_init();
    let fd = open(&path, libc::O_RDONLY).unwrap();
    let mut bytes = [0; 6];
    assert_eq!((read(fd, &mut bytes), &bytes), (Ok(6), b"before"));
    close(fd).unwrap();
    // SAFETY: NULL stands for the defaults.
    assert_eq!(errno(unsafe { instances::ef_init_with(null()) }), Err(libc::EBUSY));
}
