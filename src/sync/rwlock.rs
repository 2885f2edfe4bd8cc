//! Many readers or one writer, in one word.
//!
//! ```text
//!  word = readers : 29 | WAITING | UPGRADABLE | WRITER
//!
//!  read         neither WRITER nor WAITING      ── + 1 reader
//!  upgradable   none of the three               ── UPGRADABLE      (readers may be there and may come)
//!  write        neither WRITER nor UPGRADABLE   ── WRITER, WAITING down, then wait for 0 readers
//!  upgrade      UPGRADABLE becomes WRITER       ── then wait for 0 readers
//! ```
//!
//! A writer raises WRITER while readers are still inside: from then on no new reader comes, so it waits
//! for those there are and no longer. A writer that finds another one raises WAITING, with the same
//! effect after that one leaves; each writer that gets in takes WAITING down, and those who still wait
//! raise it again. So WAITING is up only while a writer waits, as no writer ever gives up waiting.
//!
//! Invariant: who raised WRITER and then saw 0 readers is alone; nobody else changes the bits of
//! WRITER and UPGRADABLE until it takes its own down.

#![allow(unsafe_code, reason = "a guard is the right to the value in the cell")]

mod guards;

pub use guards::{ReadGuard, UpgradableGuard, WriteGuard};

use super::{AtomicU32, Backoff, Ordering, UnsafeCell};
use std::fmt::{self, Debug, Formatter};

const WRITER: u32 = 1;
const UPGRADABLE: u32 = 2;
const WAITING: u32 = 4;
const READER: u32 = 8;
/// With so many readers a further one is refused: guards were forgotten by the million.
const READERS_MAX: u32 = u32::MAX - READER;

/// A value that many threads read at a time or one thread writes, behind one word.
///
/// A writer that waits stops new readers: writers do not starve, readers may under writers that never
/// cease. **Use it** where reads take a little while, are many and hardly ever meet a writer. **Do not
/// use it** for reads of a few instructions (the readers still meet in the word: a
/// [`SpinLock`](super::SpinLock) is as fast, a `SeqLock` faster), or around anything
/// that can wait: those who wait spin, yield and then nap for up to 1.6 milliseconds, and are not
/// called. `std::sync::RwLock` calls them.
///
/// A thread that holds it must not wait for it again, not even to read twice: a writer that comes
/// between the two makes it wait for itself.
///
/// # Panics while it is held
///
/// There is no poisoning: a panic gives the lock back, and the value is what the panic left.
///
/// ```
/// use efio::sync::SpinRwLock;
///
/// static NAMES: SpinRwLock<Vec<&str>> = SpinRwLock::new(Vec::new());
///
/// let names = NAMES.upgradable();
/// if !names.contains(&"log") {
///     names.upgrade().push("log");
/// }
/// assert_eq!(*NAMES.read(), ["log"]);
/// ```
pub struct SpinRwLock<T: ?Sized> {
    raw: RawSpinRw,
    value: UnsafeCell<T>,
}

// SAFETY: moving the lock moves the value, and nothing of the lock is bound to a thread.
unsafe impl<T: ?Sized + Send> Send for SpinRwLock<T> {}
// SAFETY: readers share the value between threads, writers take it to their own.
unsafe impl<T: ?Sized + Send + Sync> Sync for SpinRwLock<T> {}

impl<T> SpinRwLock<T> {
    /// A lock around `value`, held by nobody.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self { raw: RawSpinRw::new(), value: UnsafeCell::new(value) }
    }

    /// A lock around `value`, held by nobody.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { raw: RawSpinRw::new(), value: UnsafeCell::new(value) }
    }

    /// The value, out of its lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> SpinRwLock<T> {
    /// Waits until this thread may read.
    #[inline]
    pub fn read(&self) -> ReadGuard<'_, T> {
        self.raw.wait_until(RawSpinRw::try_read);
        ReadGuard::new(self)
    }

    /// The right to read, if that needs no wait.
    #[inline]
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        self.raw.try_read().then(|| ReadGuard::new(self))
    }

    /// Waits until this thread may read, and is the one that may go on to write.
    #[inline]
    pub fn upgradable(&self) -> UpgradableGuard<'_, T> {
        self.raw.wait_until(RawSpinRw::try_upgradable);
        UpgradableGuard::new(self)
    }

    /// As [`upgradable`](Self::upgradable), if that needs no wait.
    #[inline]
    pub fn try_upgradable(&self) -> Option<UpgradableGuard<'_, T>> {
        self.raw.try_upgradable().then(|| UpgradableGuard::new(self))
    }

    /// Waits until this thread may write.
    #[inline]
    pub fn write(&self) -> WriteGuard<'_, T> {
        self.raw.write();
        WriteGuard::new(self)
    }

    /// The right to write, if that needs no wait.
    #[inline]
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        self.raw.try_write().then(|| WriteGuard::new(self))
    }

    /// The value, without locking: `&mut self` proves that nobody else is here.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self` excludes every guard and every other borrow.
        self.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: Default> Default for SpinRwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for SpinRwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + Debug> Debug for SpinRwLock<T> {
    /// Shows the value if it can be read at once; never waits.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("SpinRwLock");
        match self.try_read() {
            Some(guard) => shown.field("value", &&*guard).finish(),
            None => shown.field("value", &format_args!("<locked>")).finish(),
        }
    }
}

/// The word of a [`SpinRwLock`], without a value: a zero is a word that nobody holds.
#[derive(Debug)]
#[repr(transparent)]
pub struct RawSpinRw {
    word: AtomicU32,
}

impl RawSpinRw {
    /// A word that nobody holds.
    #[cfg(not(efio_loom))]
    pub(crate) const fn new() -> Self {
        Self { word: AtomicU32::new(0) }
    }

    #[cfg(efio_loom)]
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(0) }
    }

    /// Waits until `enter` is let in.
    #[inline]
    pub(crate) fn wait_until(&self, enter: fn(&Self) -> bool) {
        let mut backoff = Backoff::new();
        while !enter(self) {
            backoff.rest();
        }
    }

    /// Exchanges the word for what `step` makes of it, until that succeeds or `step` refuses.
    #[inline]
    fn transition(&self, step: impl Fn(u32) -> Option<u32>) -> bool {
        // ORDER: Acquire pairs with the Release steps that let others in: `leave_*`, `downgrade_*`.
        self.word.fetch_update(Ordering::Acquire, Ordering::Relaxed, step).is_ok()
    }

    #[inline]
    pub(crate) fn try_read(&self) -> bool {
        self.transition(|word| (word & (WRITER | WAITING) == 0 && word < READERS_MAX).then(|| word + READER))
    }

    #[inline]
    pub(crate) fn leave_read(&self) {
        // ORDER: Release pairs with the Acquire loads in `wait_for_readers` and steps of `transition`.
        self.word.fetch_sub(READER, Ordering::Release);
    }

    #[inline]
    pub(crate) fn try_upgradable(&self) -> bool {
        self.transition(|word| (word & (WRITER | UPGRADABLE | WAITING) == 0).then_some(word | UPGRADABLE))
    }

    #[inline]
    pub(crate) fn leave_upgradable(&self) {
        // ORDER: Release, as in `leave_read`.
        self.word.fetch_sub(UPGRADABLE, Ordering::Release);
    }

    #[inline]
    pub(crate) fn try_write(&self) -> bool {
        // WAITING stays as it is: whoever waits is not forgotten.
        self.transition(|word| (word & !WAITING == 0).then_some(word | WRITER))
    }

    #[inline]
    pub(crate) fn write(&self) {
        let mut backoff = Backoff::new();
        let enter = |word: u32| (word & (WRITER | UPGRADABLE) == 0).then_some((word | WRITER) & !WAITING);
        while !self.transition(enter) {
            // ORDER: Relaxed; the bit carries no data.
            if self.word.load(Ordering::Relaxed) & WAITING == 0 {
                // ORDER: as above.
                self.word.fetch_or(WAITING, Ordering::Relaxed);
            }
            backoff.rest();
        }
        self.wait_for_readers();
    }

    #[inline]
    pub(crate) fn leave_write(&self) {
        // ORDER: Release pairs with the Acquire steps of `transition`.
        self.word.fetch_and(!WRITER, Ordering::Release);
    }

    /// The holder of UPGRADABLE becomes the writer.
    pub(crate) fn upgrade(&self) {
        // ORDER: Relaxed; `wait_for_readers` acquires. UPGRADABLE is ours, so WRITER is down.
        self.word.fetch_add(WRITER.wrapping_sub(UPGRADABLE), Ordering::Relaxed);
        self.wait_for_readers();
    }

    /// As `upgrade`, if there are no readers.
    pub(crate) fn try_upgrade(&self) -> bool {
        self.transition(|word| (word & !WAITING == UPGRADABLE).then(|| word - UPGRADABLE + WRITER))
    }

    /// The writer becomes a reader.
    pub(crate) fn downgrade_write(&self) {
        // ORDER: Release, as in `leave_write`.
        self.word.fetch_add(READER - WRITER, Ordering::Release);
    }

    /// The writer becomes the holder of UPGRADABLE.
    pub(crate) fn downgrade_write_to_upgradable(&self) {
        // ORDER: Release, as in `leave_write`.
        self.word.fetch_add(UPGRADABLE - WRITER, Ordering::Release);
    }

    /// The holder of UPGRADABLE becomes a reader.
    pub(crate) fn downgrade_upgradable(&self) {
        // ORDER: Release, as in `leave_read`.
        self.word.fetch_add(READER - UPGRADABLE, Ordering::Release);
    }

    #[inline]
    fn wait_for_readers(&self) {
        let mut backoff = Backoff::new();
        // ORDER: Acquire pairs with the Release subtractions of the readers that left.
        while self.word.load(Ordering::Acquire) >= READER {
            backoff.rest();
        }
    }
}
