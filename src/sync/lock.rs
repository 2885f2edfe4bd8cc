//! A value behind a lock: the guard, the same for every way of waiting.
//!
//! ```text
//!  Lock<R, T> = R (how to wait: RawSpin, RawTicket, RawMcs) + the value
//! ```
//!
//! Invariant: a guard exists exactly while its thread holds the raw lock, and the value is touched
//! through guards only (or through `&mut Lock`, which proves that there is none). A guard that is
//! forgotten leaves the lock held for good; nothing else is harmed.

#![allow(unsafe_code, reason = "a guard is the right to the value in the cell")]

use super::UnsafeCell;
use std::fmt::{self, Debug, Display, Formatter};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// How a [`Lock`] is taken and given back.
///
/// # Safety
///
/// Of all threads that `lock` or `try_lock` let in, one at a time has not called `unlock`, and what
/// it wrote before is seen by the next one that is let in.
pub unsafe trait RawLock {
    /// A lock that nobody holds.
    #[cfg(not(efio_loom))]
    const NEW: Self;

    /// A lock that nobody holds.
    #[cfg(efio_loom)]
    fn new() -> Self;

    /// Waits until this thread holds the lock.
    fn lock(&self);

    /// Takes the lock if that needs no wait.
    #[must_use = "if true, the lock is held"]
    fn try_lock(&self) -> bool;

    /// Gives the lock back.
    ///
    /// # Safety
    ///
    /// The caller holds the lock.
    unsafe fn unlock(&self);

    /// Whether someone holds the lock; old news by the time it is read.
    fn is_locked(&self) -> bool;
}

/// A value that one thread at a time can reach.
///
/// Used by the names [`SpinLock`](super::SpinLock), [`TicketLock`](super::TicketLock) and
/// [`McsLock`](super::McsLock), which say when to use which.
///
/// # Panics while it is held
///
/// There is no poisoning: a panic that drops the guard gives the lock back, and the next thread sees
/// the value as the panic left it. Where a value can be left half changed, keep a
/// [`PoisonFlag`](super::PoisonFlag) beside it.
///
/// # Locking twice
///
/// A thread that locks what it holds waits for ever, with every lock of this folder.
pub struct Lock<R, T: ?Sized> {
    raw: R,
    value: UnsafeCell<T>,
}

// SAFETY: moving the lock moves the value, and nothing of the lock is bound to a thread.
unsafe impl<R: Send, T: ?Sized + Send> Send for Lock<R, T> {}
// SAFETY: of all threads that share the lock one at a time reaches the value, by its guard: the lock
// sends the value to them, and never shares it between two.
unsafe impl<R: Sync, T: ?Sized + Send> Sync for Lock<R, T> {}

impl<R: RawLock, T> Lock<R, T> {
    /// A lock around `value`, held by nobody.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self { raw: R::NEW, value: UnsafeCell::new(value) }
    }

    /// A lock around `value`, held by nobody.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { raw: R::new(), value: UnsafeCell::new(value) }
    }

    /// The value, out of its lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<R: RawLock, T: ?Sized> Lock<R, T> {
    /// Waits until this thread holds the lock.
    #[inline]
    pub fn lock(&self) -> LockGuard<'_, R, T> {
        self.raw.lock();
        LockGuard { lock: self, not_send: PhantomData }
    }

    /// The guard, if that needs no wait.
    #[inline]
    pub fn try_lock(&self) -> Option<LockGuard<'_, R, T>> {
        self.raw.try_lock().then(|| LockGuard { lock: self, not_send: PhantomData })
    }

    /// Whether someone holds the lock; old news by the time it is read.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// The value, without locking: `&mut self` proves that nobody else is here.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self` excludes every guard and every other borrow.
        self.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<R: RawLock, T: Default> Default for Lock<R, T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<R: RawLock, T> From<T> for Lock<R, T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<R: RawLock, T: ?Sized + Debug> Debug for Lock<R, T> {
    /// Shows the value if the lock is free; never waits.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Lock");
        match self.try_lock() {
            Some(guard) => shown.field("value", &&*guard).finish(),
            None => shown.field("value", &format_args!("<locked>")).finish(),
        }
    }
}

/// The right to the value of a [`Lock`]; dropping it gives the lock back.
///
/// It stays on the thread that took it:
///
/// ```compile_fail,E0277
/// let lock = efio::sync::SpinLock::new(1);
/// let guard = lock.lock();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
///
/// and shares the value only if that can be shared:
///
/// ```compile_fail,E0277
/// let lock = efio::sync::SpinLock::new(std::cell::Cell::new(1));
/// let guard = lock.lock();
/// std::thread::scope(|scope| {
///     scope.spawn(|| guard.set(2));
/// });
/// ```
#[must_use = "a guard that is dropped at once guards nothing"]
pub struct LockGuard<'a, R: RawLock, T: ?Sized> {
    lock: &'a Lock<R, T>,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives out `&T` and nothing else.
unsafe impl<R: RawLock + Sync, T: ?Sized + Sync> Sync for LockGuard<'_, R, T> {}

impl<R: RawLock, T: ?Sized> Deref for LockGuard<'_, R, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard holds the lock, so no other one exists, and `&self` excludes `deref_mut`.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<R: RawLock, T: ?Sized> DerefMut for LockGuard<'_, R, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard holds the lock, so no other one exists, and `&mut self` excludes `deref`.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<R: RawLock, T: ?Sized> Drop for LockGuard<'_, R, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: a guard is made by a successful lock only and dropped once.
        unsafe { self.lock.raw.unlock() }
    }
}

impl<R: RawLock, T: ?Sized + Debug> Debug for LockGuard<'_, R, T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Debug::fmt(&**self, formatter)
    }
}

impl<R: RawLock, T: ?Sized + Display> Display for LockGuard<'_, R, T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&**self, formatter)
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use crate::sync::SpinLock;

    #[test]
    fn a_panic_gives_the_lock_back_with_the_value_as_it_was_left() {
        let lock = SpinLock::new(1);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            *lock.lock() = 2;
            let _guard = lock.lock();
            panic!("while it is held");
        }));
        assert!(outcome.is_err());
        assert_eq!(*lock.try_lock().unwrap(), 2);
    }

    #[test]
    fn debug_never_waits() {
        let mut lock: SpinLock<u32> = 7.into();
        assert_eq!(format!("{lock:?}"), "Lock { value: 7 }");
        let guard = lock.lock();
        assert_eq!(format!("{lock:?} {guard:?} {guard}"), "Lock { value: <locked> } 7 7");
        drop(guard);
        *lock.get_mut() += 1;
        assert_eq!(lock.into_inner(), 8);
    }

    #[test]
    fn a_value_without_a_size_can_be_locked() {
        let lock: Box<SpinLock<[u32]>> = Box::new(SpinLock::new([1, 2, 3]));
        lock.lock()[1] = 5;
        assert_eq!(lock.lock().iter().sum::<u32>(), 9);
    }
}
