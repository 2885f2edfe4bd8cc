//! Callbacks: which, how often, in which order, by which thread; and the pool that may make them.
#![allow(unsafe_code, reason = "calls C functions")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::ffi::{c_int, c_void};
use std::fs;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};

use efio_capi::{ef_io, pool};
use support::{Told, begin, close, errno, open, settle, try_read, until, write};

const OPEN: c_int = 0;
const READ: c_int = 1;
const CLOSE: c_int = 2;

fn told() -> &'static Told {
    let told: &'static Told = Box::leak(Box::default());
    told.listen();
    told
}

#[test]
fn opens_and_closes_are_told_once_in_order_and_each_refused_read_at_least_once() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let told = told();
    for round in 0..20 {
        let path = folder.path().join(round.to_string());
        fs::write(&path, vec![round as u8; 1 << 20]).unwrap();
        forget(&path);
        let before = told.lengths();
        let handle = begin(&path, libc::O_RDONLY).unwrap();
        let before = before[handle as usize];
        settle(|| errno(ef_io::ef_open_status(handle))).unwrap();
        let mut piece = vec![0; 200_000];
        loop {
            // The READ may come before the call that is refused has returned.
            let heard = told.count(handle, READ);
            match try_read(handle, &mut piece) {
                Ok(0) => break,
                Ok(count) => assert!(piece[..count].iter().all(|byte| *byte == round as u8)),
                Err(errno) => {
                    assert_eq!(errno, libc::EAGAIN);
                    until("a READ", || told.count(handle, READ) > heard);
                }
            }
        }
        match round % 2 {
            0 => drop(close(handle).unwrap()),
            _ => assert_eq!(ef_io::ef_close(handle), 0),
        }
        until("the CLOSE", || told.of(handle)[before..].contains(&CLOSE));
        let opers = told.of(handle)[before..].to_vec();
        assert_eq!((opers.first(), opers.last()), (Some(&OPEN), Some(&CLOSE)), "{opers:?}");
        assert!(opers[1..opers.len() - 1].iter().all(|oper| *oper == READ), "{opers:?}");
        let _ = ef_io::ef_close_status(handle);
    }
    ef_io::ef_unset_cb_func();
}

/// Drops the file from the page cache, where the file system does that.
fn forget(path: &std::path::Path) {
    use std::os::fd::AsRawFd;
    let file = fs::File::open(path).unwrap();
    file.sync_data().unwrap();
    // SAFETY: advice about an open file.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

#[test]
fn each_refused_read_of_a_pipe_is_told() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    // SAFETY: a path with its NUL byte.
    assert_eq!(unsafe { libc::mkfifo(support::name(&path).as_ptr(), 0o600) }, 0);
    let told = told();
    let handle = open(&path, libc::O_RDONLY).unwrap();
    let mut writer = fs::File::options().write(true).open(&path).unwrap();
    for round in 0..200_u8 {
        let heard = told.count(handle, READ);
        assert_eq!(try_read(handle, &mut [0]), Err(libc::EAGAIN), "nothing is there");
        std::io::Write::write_all(&mut writer, &[round]).unwrap();
        until("a READ", || told.count(handle, READ) > heard);
        let mut byte = [0];
        assert_eq!((try_read(handle, &mut byte), byte), (Ok(1), [round]));
    }
    close(handle).unwrap();
    ef_io::ef_unset_cb_func();
}

#[test]
fn an_open_that_fails_is_told_and_a_close_during_the_open_is_told_after_it() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let told = told();
    let handle = begin(&folder.path().join("missing"), libc::O_RDONLY).unwrap();
    until("the OPEN", || told.of(handle) == [OPEN]);
    assert_eq!(errno(ef_io::ef_open_status(handle)), Err(libc::ENOENT));
    let path = folder.path().join("file");
    for _ in 0..50 {
        let before = told.lengths();
        let handle = begin(&path, libc::O_WRONLY | libc::O_CREAT).unwrap();
        let before = before[handle as usize];
        assert_eq!(ef_io::ef_close(handle), 0);
        until("the CLOSE", || told.of(handle).len() >= before + 2);
        assert_eq!(told.of(handle)[before..], [OPEN, CLOSE]);
        assert_eq!(settle(|| errno(ef_io::ef_close_status(handle))), Ok(0));
    }
    ef_io::ef_unset_cb_func();
}

#[test]
fn from_inside_a_callback_every_call_answers() {
    let _turn = support::turn();
    static ANSWERS: [AtomicI32; 3] = [const { AtomicI32::new(-7) }; 3];
    static DONE: AtomicU32 = AtomicU32::new(0);
    unsafe extern "C" fn inside(handle: c_int, oper: c_int, other: *mut c_void) {
        match oper {
            OPEN if handle as usize == other.addr() => {}
            OPEN => {
                ANSWERS[0].store(ef_io::ef_open_status(handle), Ordering::SeqCst);
                // Another file is closed, and waited for, on this very thread.
                ANSWERS[1].store(ef_io::ef_close_immediate(other.addr() as c_int), Ordering::SeqCst);
                ef_io::ef_close(handle);
            }
            CLOSE if handle as usize != other.addr() => {
                ANSWERS[2].store(ef_io::ef_close_status(handle), Ordering::SeqCst);
                ef_io::ef_unset_cb_func();
                DONE.store(1, Ordering::SeqCst);
            }
            _ => {}
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let other = open(&folder.path().join("other"), libc::O_WRONLY | libc::O_CREAT).unwrap();
    write(other, b"kept").unwrap();
    ef_io::ef_set_cb_func(Some(inside), other as usize as *mut c_void);
    let handle = begin(&folder.path().join("file"), libc::O_WRONLY | libc::O_CREAT).unwrap();
    until("the last callback", || DONE.load(Ordering::SeqCst) == 1);
    assert_eq!(ANSWERS.each_ref().map(|answer| answer.load(Ordering::SeqCst)), [handle, 0, 0]);
    assert_eq!(fs::read(folder.path().join("other")).unwrap(), b"kept");
}

#[test]
fn after_unset_none_is_called_though_files_go_on() {
    let _turn = support::turn();
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn count(_: c_int, _: c_int, _: *mut c_void) {
        CALLS.fetch_add(1, Ordering::SeqCst);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for _ in 0..100 {
        ef_io::ef_set_cb_func(Some(count), std::ptr::null_mut());
        let handles: Vec<i32> =
            (0..4).map(|_| begin(&path, libc::O_WRONLY | libc::O_CREAT).unwrap()).collect();
        ef_io::ef_unset_cb_func();
        let calls = CALLS.load(Ordering::SeqCst);
        for handle in handles {
            close(handle).unwrap();
        }
        assert_eq!(CALLS.load(Ordering::SeqCst), calls);
    }
}

#[test]
fn a_pool_of_the_program_makes_the_callbacks_and_runs_its_tasks() {
    let _turn = support::turn();
    static TASKS: AtomicU32 = AtomicU32::new(0);
    static POOLED: AtomicU32 = AtomicU32::new(0);
    fn on_the_pool() -> bool {
        std::thread::current().name().is_some_and(|name| name.starts_with("efio-pool"))
    }
    unsafe extern "C" fn task(by: *mut c_void) {
        TASKS.fetch_add(by.addr() as u32, Ordering::SeqCst);
    }
    unsafe extern "C" fn function(value: *mut c_void) -> *mut c_void {
        (value.addr() + 1) as *mut c_void
    }
    unsafe extern "C" fn done(value: *mut c_void, reference: *mut c_void) {
        TASKS.fetch_add((value.addr() * reference.addr()) as u32, Ordering::SeqCst);
    }
    unsafe extern "C" fn note(_: c_int, oper: c_int, _: *mut c_void) {
        POOLED.fetch_or(u32::from(on_the_pool()) << oper, Ordering::SeqCst);
    }
    let (null, number) = (std::ptr::null_mut(), |n: usize| n as *mut c_void);
    assert!(pool::create_thread_pool(0).is_null());
    let made = pool::create_thread_pool(2);
    ef_io::ef_set_thrpool(made);
    ef_io::ef_set_cb_func(Some(note), null);
    let folder = tempfile::tempdir().unwrap();
    let handle = open(&folder.path().join("file"), libc::O_WRONLY | libc::O_CREAT).unwrap();
    close(handle).unwrap();
    until("callbacks on the pool", || POOLED.load(Ordering::SeqCst) == 1 << OPEN | 1 << CLOSE);
    // SAFETY: the functions take any number.
    unsafe {
        pool::enqueue_task(made, Some(task), number(5));
        pool::enqueue_task_function(made, Some(function), number(6), number(10), Some(done));
        pool::enqueue_task(made, None, null);
        pool::enqueue_task(number(77).cast(), Some(task), number(1000));
    }
    until("both tasks", || TASKS.load(Ordering::SeqCst) == 75);
    // Both callbacks may be made by one task.
    until("their count", || pool::thrpool_get_task_count(made) >= 3);
    assert_eq!(pool::destroy_thread_pool(made), 0);
    assert_eq!(errno(pool::destroy_thread_pool(made)), Err(libc::EINVAL));
    assert_eq!(errno(pool::thrpool_get_task_count(made)), Err(libc::EINVAL));
    POOLED.store(0, Ordering::SeqCst);
    let told = told();
    let handle = open(&folder.path().join("file"), libc::O_RDONLY).unwrap();
    close(handle).unwrap();
    until("callbacks without the pool", || told.of(handle).contains(&CLOSE));
    ef_io::ef_unset_cb_func();
}
