//! Failure: what a call answers where it fails; errno, the last failure of a thread, and the border that no panic crosses.
#![allow(unsafe_code, reason = "errno is a location of the C library")]

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind};

use efio::{Error, ErrorKind};

/// Why a call fails: the errno, and more where more is known.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The number says it all.
    Errno(i32),
    /// efio said it.
    Efio(Error),
}

/// What a call of the C interface comes to.
pub(crate) type Answer<T> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Efio(error)
    }
}

impl Failure {
    /// The errno that the caller sees.
    pub(crate) fn errno(&self) -> i32 {
        match self {
            Self::Errno(errno) => *errno,
            Self::Efio(error) => errno_of(error),
        }
    }
}

/// Fails with an errno.
pub(crate) fn fail<T>(errno: i32) -> Answer<T> {
    Err(Failure::Errno(errno))
}

/// The errno of an error of efio.
pub(crate) fn errno_of(error: &Error) -> i32 {
    if let Some(errno) = error.raw_os_error() {
        return errno;
    }
    match error.kind() {
        ErrorKind::WouldBlock => libc::EAGAIN,
        ErrorKind::Stale | ErrorKind::NotPermitted | ErrorKind::Forked => libc::EBADF,
        ErrorKind::Busy => libc::EBUSY,
        ErrorKind::InvalidInput | ErrorKind::NotRegular => libc::EINVAL,
        ErrorKind::TableFull => libc::EMFILE,
        ErrorKind::Shutdown => libc::ESHUTDOWN,
        ErrorKind::TimedOut => libc::ETIMEDOUT,
        ErrorKind::Deadlock => libc::EDEADLK,
        _ => libc::EIO,
    }
}

/// The calling thread's errno.
#[inline]
pub(crate) fn errno() -> i32 {
    // SAFETY: the C library gives each thread a location of its own, good for as long as the thread.
    unsafe { *libc::__errno_location() }
}

/// Sets the calling thread's errno.
#[inline]
pub(crate) fn set_errno(errno: i32) {
    // SAFETY: as in `errno`.
    unsafe { *libc::__errno_location() = errno };
}

/// The last failure of a thread.
#[derive(Debug)]
pub(crate) struct Last {
    pub(crate) errno: i32,
    pub(crate) handle: i32,
    pub(crate) offset: i64,
    pub(crate) operation: CString,
    pub(crate) message: CString,
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// Looks at the last failure of this thread; `None` when nothing has failed, or the thread is about to end.
pub(crate) fn with_last<T>(look: impl FnOnce(&Last) -> T) -> Option<T> {
    let look = |last: &RefCell<Option<Last>>| last.try_borrow().ok()?.as_ref().map(look);
    LAST.try_with(look).ok().flatten()
}

/// Text for C: what follows a NUL byte is left out.
pub(crate) fn text(words: &str) -> CString {
    let words = words.split('\0').next().unwrap_or_default();
    CString::new(words).unwrap_or_default()
}

/// Keeps a failure for `ef_last_error`. `operation`: the name of the C function.
#[cold]
fn keep(operation: &'static CStr, handle: i32, failure: &Failure) {
    let errno = failure.errno();
    let offset = match failure {
        Failure::Efio(error) => error.offset().and_then(|offset| i64::try_from(offset).ok()),
        Failure::Errno(_) => None,
    };
    let words = match failure {
        Failure::Efio(error) => error.to_string(),
        Failure::Errno(errno) => std::io::Error::from_raw_os_error(*errno).to_string(),
    };
    let name = operation.to_string_lossy();
    let message = text(&format!("{name}: {words}"));
    let operation = match failure {
        Failure::Efio(error) => text(error.operation().name()),
        Failure::Errno(_) => text(name.trim_start_matches("ef_")),
    };
    let last = Last { errno, handle, offset: offset.unwrap_or(-1), operation, message };
    // A thread that is about to end has no last failure any more.
    let _ = LAST.try_with(|place| place.try_borrow_mut().map(|mut place| *place = Some(last)));
}

/// Every exported function runs in here: no panic leaves it, errno is set where it fails and as before where it does not.
#[inline]
pub(crate) fn border<T>(
    operation: &'static CStr,
    handle: i32,
    failed: T,
    call: impl FnOnce() -> Answer<T>,
) -> T {
    let before = errno();
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(answer)) => {
            set_errno(before);
            answer
        }
        Ok(Err(failure)) => {
            let errno = failure.errno();
            if errno != libc::EAGAIN {
                keep(operation, handle, &failure);
            }
            // A panic of the drop is no news either.
            drop(failure);
            set_errno(errno);
            failed
        }
        Err(payload) => {
            // Its drop may panic again.
            std::mem::forget(payload);
            set_errno(libc::EIO);
            failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_errno_and_success_leaves_errno_alone() {
        set_errno(libc::ENOTTY);
        assert_eq!(border(c"ef_test", -1, -1, || Ok(7)), 7);
        assert_eq!(errno(), libc::ENOTTY);
        assert_eq!(border(c"ef_test", -1, -1, || panic!("inside")), -1);
        assert_eq!(errno(), libc::EIO);
        assert_eq!(border(c"ef_test", 5, -1, || fail(libc::EBADF)), -1);
        assert_eq!(errno(), libc::EBADF);
        let (errno, handle) = with_last(|last| (last.errno, last.handle)).unwrap();
        assert_eq!((errno, handle), (libc::EBADF, 5));
        let message = with_last(|last| last.message.to_string_lossy().into_owned()).unwrap();
        assert!(message.starts_with("ef_test: "), "{message}");
    }

    #[test]
    fn not_now_is_no_failure_to_remember() {
        assert_eq!(border(c"ef_test", 1, -1, || fail::<i32>(libc::EAGAIN)), -1);
        assert_eq!(errno(), libc::EAGAIN);
        assert!(with_last(|_| ()).is_none());
    }
}
