//! The calls as a test wants them: with errno, and with waits for what comes later.
#![allow(unsafe_code, dead_code, reason = "calls C functions; not every test file needs every call")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ffi::{CString, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use efio_capi::ef_io;

/// Nothing that a test waits for takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The library is the process's, and so are its handles, callbacks and limits: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer with errno, if it is below 0.
pub fn errno<T: Into<i64> + Copy>(answer: T) -> Result<T, i32> {
    if answer.into() >= 0 { Ok(answer) } else { Err(std::io::Error::last_os_error().raw_os_error().unwrap()) }
}

/// Waits until `look` has an answer other than `EAGAIN`.
pub fn settle<T>(mut look: impl FnMut() -> Result<T, i32>) -> Result<T, i32> {
    let begun = Instant::now();
    loop {
        match look() {
            Err(libc::EAGAIN) if begun.elapsed() < PATIENCE => std::thread::yield_now(),
            answer => return answer,
        }
    }
}

/// Waits until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn name(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

pub fn begin(path: &Path, flags: c_int) -> Result<c_int, i32> {
    // SAFETY: a path with its NUL byte.
    errno(unsafe { ef_io::ef_open(name(path).as_ptr(), flags, 0o644) })
}

/// Opens, and waits until it is open.
pub fn open(path: &Path, flags: c_int) -> Result<c_int, i32> {
    let handle = begin(path, flags)?;
    settle(|| errno(ef_io::ef_open_status(handle)))
}

pub fn write(handle: c_int, bytes: &[u8]) -> Result<usize, i32> {
    // SAFETY: the bytes are there.
    let answer = unsafe { ef_io::ef_write(handle, bytes.as_ptr().cast(), bytes.len()) };
    errno(answer as i64).map(|count| count as usize)
}

pub fn try_read(handle: c_int, into: &mut [u8]) -> Result<usize, i32> {
    // SAFETY: the room is there.
    let answer = unsafe { ef_io::ef_read(handle, into.as_mut_ptr().cast(), into.len()) };
    errno(answer as i64).map(|count| count as usize)
}

/// Reads once, waiting for it.
pub fn read(handle: c_int, into: &mut [u8]) -> Result<usize, i32> {
    settle(|| try_read(handle, into))
}

/// Reads to the end.
pub fn read_all(handle: c_int) -> Result<Vec<u8>, i32> {
    let (mut all, mut piece) = (Vec::new(), vec![0; 100_000]);
    loop {
        match read(handle, &mut piece)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&piece[..count]),
        }
    }
}

pub fn close(handle: c_int) -> Result<c_int, i32> {
    errno(ef_io::ef_close_immediate(handle))
}

/// What the callbacks of a test have told.
#[derive(Default)]
pub struct Told(Mutex<Vec<(c_int, c_int)>>);

impl Told {
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// How many closes were told.
    pub fn closes(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|(_, oper)| *oper == 2).count()
    }

    /// Registers a function that writes to this.
    pub fn listen(&'static self) {
        unsafe extern "C" fn tell(handle: c_int, oper: c_int, data: *mut c_void) {
            // SAFETY: `listen` gave it, and it lives as long as the process.
            let told: &Told = unsafe { &*data.cast() };
            told.0.lock().unwrap().push((handle, oper));
        }
        ef_io::ef_set_cb_func(Some(tell), std::ptr::from_ref(self).cast_mut().cast());
    }

    /// The opers of a handle, in order.
    pub fn of(&self, handle: c_int) -> Vec<c_int> {
        self.0.lock().unwrap().iter().filter(|(of, _)| *of == handle).map(|(_, oper)| *oper).collect()
    }

    /// How much each of the first handles was told.
    pub fn lengths(&self) -> Vec<usize> {
        (0..64).map(|handle| self.of(handle).len()).collect()
    }

    pub fn count(&self, handle: c_int, oper: c_int) -> usize {
        self.of(handle).into_iter().filter(|told| *told == oper).count()
    }
}
