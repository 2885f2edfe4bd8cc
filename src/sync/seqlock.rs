//! A small value that is read without writing: the reader looks whether a writer came between.
//!
//! ```text
//!  sequence   even: at rest     odd: a writer is at the words
//!
//!  read:   s = sequence (even) ── copy the words ── sequence still s? the copy is whole : again
//!  write:  s ─► s + 1 by exchange ── store the words ── s + 2
//! ```
//!
//! The words are copied by relaxed atomics: reading beside a writer is defined, merely of no use, and
//! the sequence says so. Invariant: words are stored only by who made the sequence odd. A reader that
//! saw a word of that writer passes an Acquire fence before it looks at the sequence again; that fence
//! pairs with the writer's Release fence between its odd sequence and its words, so the reader sees the
//! sequence changed.
//!
//! Source: H.-J. Boehm, "Can Seqlocks Get Along With Programming Language Memory Models?", MSPC 2012.

mod words;

use super::{AtomicUsize, Backoff, Ordering, fence};
use std::fmt::{self, Debug, Formatter};
use words::Words;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A small value that many threads read and few write; reading writes nothing.
///
/// The type has no padding and any bytes are a value of it, as zerocopy's traits prove: integers,
/// arrays of them, structs that derive the traits. With the feature `zerocopy`.
///
/// **Use it** for a few words that belong together and are read all the time: a position with its
/// time, a table's size with its mask. Readers never slow each other or a writer. **Do not use it** for
/// more than a few cache lines, where writes are frequent (readers begin again after each, and may do
/// so for long), or around values that point elsewhere (those the traits refuse).
///
/// A writer that loses its processor in the middle makes others wait: they spin, yield and then nap.
/// No panic can leave the words half written; see [`update`](Self::update).
///
/// ```
/// use efio::sync::SeqLock;
///
/// static POSITION: SeqLock<[u64; 2]> = SeqLock::new([0, 0]);
///
/// POSITION.write([4096, 17]);
/// POSITION.update(|[offset, time]| {
///     *offset += 120;
///     *time += 1;
/// });
/// assert_eq!(POSITION.read(), [4216, 18]);
/// ```
///
/// A type with padding is refused:
///
/// ```compile_fail,E0277
/// let lock = efio::sync::SeqLock::new((1_u8, 2_u32));
/// ```
///
/// and one with values that are not any bytes:
///
/// ```compile_fail,E0277
/// let lock = efio::sync::SeqLock::new(true);
/// ```
pub struct SeqLock<T> {
    sequence: AtomicUsize,
    words: Words<T>,
}

impl<T: Copy + FromBytes + IntoBytes + Immutable> SeqLock<T> {
    /// A lock around `value`.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self { sequence: AtomicUsize::new(0), words: Words::new(value) }
    }

    /// A lock around `value`.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { sequence: AtomicUsize::new(0), words: Words::new(value) }
    }

    /// The value; waits while a writer is at it.
    #[inline]
    pub fn read(&self) -> T {
        if let Some(value) = self.try_read() {
            return value;
        }
        let mut backoff = Backoff::new();
        loop {
            backoff.rest();
            if let Some(value) = self.try_read() {
                return value;
            }
        }
    }

    /// The value, unless a writer is at it or was during the copy.
    #[inline]
    pub fn try_read(&self) -> Option<T> {
        // ORDER: Acquire pairs with the Release store in `end`: the words are at least those of then.
        let before = self.sequence.load(Ordering::Acquire);
        if before % 2 == 1 {
            return None;
        }
        let copy = self.words.load();
        // ORDER: Acquire pairs with the Release fence in `begin`, by any word of that writer in the copy.
        fence(Ordering::Acquire);
        // ORDER: Relaxed; ordered after the copy by the fence.
        (self.sequence.load(Ordering::Relaxed) == before).then_some(copy)
    }

    /// Replaces the value; waits while another writer is at it.
    pub fn write(&self, value: T) {
        let writing = self.begin();
        self.words.store(&value);
        drop(writing);
    }

    /// Changes the value by `change`, which no other writer gets between; waits while one is at it.
    ///
    /// Readers wait until `change` is done, so it should be a few instructions. If it panics, the value
    /// stays as it was.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let writing = self.begin();
        let mut value = self.words.load();
        let answer = change(&mut value);
        self.words.store(&value);
        drop(writing);
        answer
    }

    /// The value, out of its lock.
    pub fn into_inner(self) -> T {
        self.words.load()
    }

    /// Makes the sequence odd.
    fn begin(&self) -> Writing<'_> {
        let mut backoff = Backoff::new();
        loop {
            // ORDER: Relaxed; compared below.
            let before = self.sequence.load(Ordering::Relaxed);
            if before % 2 == 0 {
                // ORDER: Acquire pairs with the Release store in `end`: a writer follows on the last one.
                let taken = self.sequence.compare_exchange_weak(
                    before,
                    before.wrapping_add(1),
                    Ordering::Acquire,
                    Ordering::Relaxed,
                );
                if taken.is_ok() {
                    // ORDER: Release pairs with the Acquire fence in `try_read`.
                    fence(Ordering::Release);
                    return Writing { sequence: &self.sequence, end: before.wrapping_add(2) };
                }
            }
            backoff.rest();
        }
    }
}

/// A writer at the words; its drop, also by a panic, makes the sequence even.
struct Writing<'a> {
    sequence: &'a AtomicUsize,
    end: usize,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        // ORDER: Release pairs with the Acquire load in `try_read` and the exchange in `begin`.
        self.sequence.store(self.end, Ordering::Release);
    }
}

impl<T: Copy + FromBytes + IntoBytes + Immutable + Default> Default for SeqLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Copy + FromBytes + IntoBytes + Immutable + Debug> Debug for SeqLock<T> {
    /// Shows the value if no writer is at it; never waits.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("SeqLock");
        match self.try_read() {
            Some(value) => shown.field("value", &value).finish(),
            None => shown.field("value", &format_args!("<locked>")).finish(),
        }
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_size_comes_back_as_it_went_in() {
        fn check<const N: usize>() {
            let bytes: [u8; N] = std::array::from_fn(|at| at as u8 + 1);
            let lock = SeqLock::new([0; N]);
            lock.write(bytes);
            assert_eq!(lock.read(), bytes);
            assert_eq!(lock.update(|value| std::mem::replace(value, [9; N])), bytes);
            assert_eq!(lock.into_inner(), [9; N]);
        }
        check::<0>();
        check::<1>();
        check::<3>();
        check::<4>();
        check::<7>();
        check::<8>();
        check::<13>();
        check::<64>();
    }

    #[test]
    fn a_panic_in_an_update_leaves_the_value_as_it_was() {
        let lock = SeqLock::new(1_u64);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            lock.update(|value| {
                *value = 2;
                assert_eq!(*value, 3, "in the middle");
            });
        }));
        assert!(outcome.is_err());
        assert_eq!(format!("{lock:?}"), "SeqLock { value: 1 }");
    }

    #[test]
    fn while_a_writer_is_at_it_a_try_gives_none() {
        let lock = SeqLock::new(5_u32);
        let seen = lock.update(|_| (lock.try_read(), format!("{lock:?}")));
        assert_eq!(seen, (None, "SeqLock { value: <locked> }".into()));
    }

    #[test]
    fn the_sequence_goes_on_where_its_number_ends() {
        let lock = SeqLock::new(0_u32);
        lock.sequence.store(usize::MAX - 1, Ordering::Relaxed);
        for round in 1..=3 {
            lock.write(round);
            assert_eq!(lock.read(), round);
        }
    }
}
