//! Sleep on a word while it has a value; wake who sleeps on it.
//!
//! The contract is that of futex(2): `wait` returns at once if the word differs from `expected`,
//! and that comparison and the going to sleep are one step with respect to a wake. It may also
//! return for no reason (a signal, a stray wake), so every caller looks at its word again.
//!
//! Linux has the system call (this file, `fence` and `region` are the second door to libc, beside `sys/`).
//! Other systems get a small table of mutexes and condition variables, found by the word's
//! address; two words may share an entry, which costs stray wakes and nothing else. Under loom one
//! mutex and one condition variable stand in for the kernel; they end with the model's main thread, so
//! a model joins its threads. Under shuttle each sleeper is known with its word, and no wake is stray.

#![allow(unsafe_code, reason = "the futex system call takes the address of the word")]

pub(crate) use platform::{wait, wake_address, wake_all, wake_one};

#[cfg(all(target_os = "linux", not(efio_loom)))]
mod platform {
    use crate::sync::AtomicU32;
    use std::time::Duration;

    /// The kernel's `timespec` of this call: two longs, whatever the width of `time_t` in libc (a call names the type of libc's
    /// all the same, as an interpreter checks what a variable argument is).
    #[repr(C)]
    struct KernelTime {
        seconds: libc::c_long,
        nanoseconds: libc::c_long,
    }

    impl KernelTime {
        fn from_duration(duration: Duration) -> Self {
            Self {
                seconds: libc::c_long::try_from(duration.as_secs()).unwrap_or(libc::c_long::MAX),
                // Below 1,000,000,000: fits in any long.
                nanoseconds: duration.subsec_nanos() as libc::c_long,
            }
        }
    }

    /// Sleeps while `word` is `expected`, at most for `timeout`.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
        let limit = timeout.map(KernelTime::from_duration);
        let limit_address = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `word` is an aligned, live u32 for the whole call (we hold the reference), and
        // `limit_address` is null or points to `limit`, which lives until the end of this function.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                expected,
                limit_address.cast::<libc::timespec>(),
            );
        }
    }

    /// Wakes one thread that sleeps on `word`, if there is one.
    pub(crate) fn wake_one(word: &AtomicU32) {
        wake(word, 1);
    }

    /// Wakes one thread that sleeps on the word at this address, which may be gone by now.
    pub(crate) fn wake_address(word: *const AtomicU32) {
        wake(word, 1);
    }

    /// Wakes every thread that sleeps on `word`.
    pub(crate) fn wake_all(word: &AtomicU32) {
        wake(word, libc::c_int::MAX);
    }

    fn wake(word: *const AtomicU32, threads: libc::c_int) {
        // SAFETY: the call uses the address as a key, and reads nothing there.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.cast::<u32>(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                threads,
            );
        }
    }
}

#[cfg(all(not(target_os = "linux"), not(efio_loom)))]
mod platform {
    use crate::sync::{AtomicU32, Condvar, Mutex, Ordering, lock};
    use std::time::Duration;

    struct Bed {
        gate: Mutex<()>,
        bell: Condvar,
    }

    const BEDS: usize = 64;
    static TABLE: [Bed; BEDS] = [const { Bed { gate: Mutex::new(()), bell: Condvar::new() } }; BEDS];

    fn bed(word: *const AtomicU32) -> &'static Bed {
        // The low bits are the same in all aligned words of a cache line.
        &TABLE[(word.addr() >> 6) % BEDS]
    }

    /// Sleeps while `word` is `expected`, at most for `timeout`.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
        let bed = bed(word);
        let gate = lock(&bed.gate);
        // ORDER: Acquire pairs with the store that came before the wake; the gate makes the
        // comparison and the going to sleep one step with respect to `wake_all`.
        if word.load(Ordering::Acquire) != expected {
            return;
        }
        match timeout {
            Some(limit) => drop(bed.bell.wait_timeout(gate, limit)),
            None => drop(bed.bell.wait(gate)),
        }
    }

    /// Wakes one thread that sleeps on `word`; as words share beds, all that sleep in its bed.
    pub(crate) fn wake_one(word: &AtomicU32) {
        wake_address(word);
    }

    /// Wakes every thread that sleeps on `word`.
    pub(crate) fn wake_all(word: &AtomicU32) {
        wake_address(word);
    }

    /// Wakes every thread that sleeps on the word at this address, which may be gone by now.
    pub(crate) fn wake_address(word: *const AtomicU32) {
        let bed = bed(word);
        drop(lock(&bed.gate));
        bed.bell.notify_all();
    }
}

#[cfg(all(efio_loom, not(efio_shuttle)))]
mod platform {
    use crate::sync::{AtomicU32, Condvar, Mutex, Ordering, lock, thread};
    use std::time::Duration;

    loom::lazy_static! {
        static ref GATE: Mutex<()> = Mutex::new(());
        static ref BELL: Condvar = Condvar::new();
    }

    /// Sleeps while `word` is `expected`. A wait with a limit may end at once: loom has no clock.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
        if timeout.is_some() {
            thread::yield_now();
            return;
        }
        let gate = lock(&GATE);
        // ORDER: Acquire pairs with the store that came before the wake; the gate makes the
        // comparison and the going to sleep one step with respect to `wake_all`.
        if word.load(Ordering::Acquire) == expected {
            drop(BELL.wait(gate));
        }
    }

    /// Wakes all: every word shares the one bell.
    pub(crate) fn wake_one(word: &AtomicU32) {
        wake_all(word);
    }

    /// Wakes every thread that sleeps on `word`, and on any other.
    pub(crate) fn wake_all(word: &AtomicU32) {
        wake_address(word);
    }

    /// The same, by the address of a word that may be gone by now.
    pub(crate) fn wake_address(_word: *const AtomicU32) {
        drop(lock(&GATE));
        BELL.notify_all();
    }
}

#[cfg(efio_shuttle)]
mod platform {
    use crate::sync::{Arc, AtomicU32, Condvar, Mutex, Ordering, lock, thread};
    use std::time::Duration;

    /// Who sleeps, in the order in which they lay down: the address of the word, and a bell of one's own.
    type Sleepers = Vec<(usize, Arc<Condvar>)>;

    shuttle::lazy_static! {
        static ref SLEEPERS: Mutex<Sleepers> = Mutex::new(Vec::new());
    }

    /// Sleeps while `word` is `expected`. A wait with a limit ends at once: shuttle has no clock.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
        if timeout.is_some() {
            thread::yield_now();
            return;
        }
        let mut sleepers = lock(&SLEEPERS);
        // ORDER: Acquire pairs with the store that came before the wake; the mutex makes the
        // comparison and the going to sleep one step with respect to `wake`.
        if word.load(Ordering::Acquire) != expected {
            return;
        }
        let bell = Arc::new(Condvar::new());
        sleepers.push((std::ptr::from_ref(word).addr(), bell.clone()));
        while sleepers.iter().any(|(_, other)| Arc::ptr_eq(other, &bell)) {
            sleepers = match bell.wait(sleepers) {
                Ok(sleepers) => sleepers,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
    }

    /// Wakes the thread that has slept longest on `word`, if there is one.
    pub(crate) fn wake_one(word: &AtomicU32) {
        wake(word, 1);
    }

    /// Wakes every thread that sleeps on `word`.
    pub(crate) fn wake_all(word: &AtomicU32) {
        wake(word, usize::MAX);
    }

    /// Wakes one thread that sleeps on the word at this address, which may be gone by now.
    pub(crate) fn wake_address(word: *const AtomicU32) {
        wake(word, 1);
    }

    fn wake(word: *const AtomicU32, mut threads: usize) {
        lock(&SLEEPERS).retain(|(address, bell)| {
            let wakes = *address == word.addr() && threads > 0;
            threads -= usize::from(wakes);
            if wakes {
                bell.notify_one();
            }
            !wakes
        });
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::sync::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    #[test]
    fn a_word_with_another_value_is_not_waited_for() {
        wait(&AtomicU32::new(1), 0, None);
    }

    #[test]
    fn a_wait_ends_at_its_limit() {
        let started = Instant::now();
        let limit = Duration::from_millis(20);
        let word = AtomicU32::new(0);
        while started.elapsed() < limit {
            wait(&word, 0, Some(limit));
        }
    }

    #[test]
    fn a_wake_reaches_every_sleeper() {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while word.load(Ordering::Acquire) == 0 {
                        wait(&word, 0, None);
                    }
                });
            }
            word.store(1, Ordering::Release);
            wake_all(&word);
        });
        wake_one(&word);
    }
}
