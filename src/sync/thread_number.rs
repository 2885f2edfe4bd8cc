//! Small numbers for threads: each of the first [`OWN`] threads has one to itself, the rest share what is left.
//!
//! A structure with a part for each number lets a thread with a number of its own use its part without an atomic
//! read-modify-write: nobody else does. A thread takes the lowest free number at its first call and gives it back as it
//! ends; the next thread that takes it is ordered after everything that the last one did.
//!
//! A thread that asks after it gave its number back (from the destructor of a thread-local value that was made before)
//! shares one.

/// How many numbers belong to one thread at a time.
pub(crate) const OWN: usize = if cfg!(efio_loom) { 2 } else { 56 };
/// How many numbers there are: the own ones first, then those that threads share.
pub(crate) const NUMBERS: usize = if cfg!(efio_loom) { 3 } else { 64 };

#[cfg(not(efio_loom))]
pub(crate) use platform::thread_number;

/// Models say themselves which part a thread takes.
#[cfg(efio_loom)]
pub(crate) fn thread_number() -> usize {
    OWN
}

#[cfg(not(efio_loom))]
mod platform {
    use super::{NUMBERS, OWN};
    use crate::sync::{AtomicU32, AtomicU64, Ordering};
    use std::cell::Cell;

    const UNASKED: usize = usize::MAX;

    /// A bit for each number of its own that a thread has.
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    /// Deals out the shared numbers.
    static NEXT_SHARED: AtomicU32 = AtomicU32::new(0);

    std::thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(UNASKED) };
        static KEEPER: Keeper = Keeper::new();
    }

    /// Gives the thread's number back when the thread ends.
    struct Keeper(usize);

    impl Keeper {
        fn new() -> Self {
            // ORDER: Relaxed: a first guess, checked by the exchange.
            let mut taken = TAKEN.load(Ordering::Relaxed);
            loop {
                let free = (!taken).trailing_zeros() as usize;
                if free >= OWN {
                    return Self(shared());
                }
                // ORDER: Acquire pairs with the Release in `drop`: what the number's last thread did is seen.
                match TAKEN.compare_exchange_weak(
                    taken,
                    taken | 1 << free,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Self(free),
                    Err(now) => taken = now,
                }
            }
        }
    }

    impl Drop for Keeper {
        fn drop(&mut self) {
            NUMBER.set(shared());
            if self.0 < OWN {
                // ORDER: Release pairs with the exchange in `new`.
                TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
            }
        }
    }

    fn shared() -> usize {
        // ORDER: Relaxed: only a number, pairs with nothing.
        OWN + NEXT_SHARED.fetch_add(1, Ordering::Relaxed) as usize % (NUMBERS - OWN)
    }

    /// This thread's number, below [`NUMBERS`]; below [`OWN`] no other thread has it.
    #[inline]
    pub(crate) fn thread_number() -> usize {
        let number = NUMBER.get();
        if number == UNASKED { first_number() } else { number }
    }

    #[cold]
    fn first_number() -> usize {
        let number = KEEPER.try_with(|keeper| keeper.0).unwrap_or_else(|_| shared());
        NUMBER.set(number);
        number
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use std::sync::{Barrier, Mutex};

    #[test]
    fn no_two_threads_have_one_number_at_a_time_and_those_of_ended_threads_are_used_again() {
        for _ in 0..3 {
            let (numbers, all) = (Mutex::new(Vec::new()), Barrier::new(OWN + 4));
            std::thread::scope(|scope| {
                for _ in 0..OWN + 4 {
                    scope.spawn(|| {
                        let number = thread_number();
                        assert_eq!(number, thread_number());
                        numbers.lock().unwrap().push(number);
                        // Nobody ends before all have asked.
                        all.wait();
                    });
                }
            });
            let mut numbers = numbers.into_inner().unwrap();
            assert!(numbers.iter().all(|number| *number < NUMBERS));
            numbers.retain(|number| *number < OWN);
            let own = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), own, "two threads have the same number");
            assert!(own > OWN / 2, "numbers of ended threads are not used again: {own}");
        }
    }
}
