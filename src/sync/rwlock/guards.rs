//! The three guards of `SpinRwLock`, and the steps from one to another.
//!
//! Invariant: a guard exists exactly while its thread holds its part of the word; a step from one kind
//! to another forgets the old guard, so that its part is not given back twice.

#![allow(unsafe_code, reason = "a guard is the right to the value in the cell")]

use super::SpinRwLock;
use std::fmt::{self, Debug, Display, Formatter};
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};

/// Declares a guard: its name, how it is given back, and what it may do.
macro_rules! guard {
    ($(#[$attribute:meta])* $name:ident, $leave:ident) => {
        $(#[$attribute])*
        #[must_use = "a guard that is dropped at once guards nothing"]
        pub struct $name<'a, T: ?Sized> {
            lock: &'a SpinRwLock<T>,
            not_send: PhantomData<*const ()>,
        }

        // SAFETY: a shared guard gives out `&T` and nothing else.
        unsafe impl<T: ?Sized + Sync> Sync for $name<'_, T> {}

        impl<'a, T: ?Sized> $name<'a, T> {
            /// For a thread that holds this guard's part of the word.
            #[inline]
            pub(super) fn new(lock: &'a SpinRwLock<T>) -> Self {
                Self { lock, not_send: PhantomData }
            }

            /// Ends the guard without giving its part of the word back.
            #[allow(dead_code, reason = "a reader never turns into anything else")]
            fn into_lock(self) -> &'a SpinRwLock<T> {
                let lock = self.lock;
                mem::forget(self);
                lock
            }
        }

        impl<T: ?Sized> Deref for $name<'_, T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                // SAFETY: while this guard exists nobody else writes (the word says so), and `&self`
                // excludes its own `deref_mut`, if it has one.
                self.lock.value.with(|value| unsafe { &*value })
            }
        }

        impl<T: ?Sized> Drop for $name<'_, T> {
            #[inline]
            fn drop(&mut self) {
                self.lock.raw.$leave();
            }
        }

        impl<T: ?Sized + Debug> Debug for $name<'_, T> {
            fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
                Debug::fmt(&**self, formatter)
            }
        }

        impl<T: ?Sized + Display> Display for $name<'_, T> {
            fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
                Display::fmt(&**self, formatter)
            }
        }
    };
}

guard! {
    /// The right to read the value of a [`SpinRwLock`], together with others.
    ///
    /// It stays on the thread that took it:
    ///
    /// ```compile_fail,E0277
    /// let lock = efio::sync::SpinRwLock::new(1);
    /// let guard = lock.read();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(move || drop(guard));
    /// });
    /// ```
    ReadGuard, leave_read
}

guard! {
    /// The right to read the value of a [`SpinRwLock`], and to be the one that writes next.
    ///
    /// It stays on the thread that took it:
    ///
    /// ```compile_fail,E0277
    /// let lock = efio::sync::SpinRwLock::new(1);
    /// let guard = lock.upgradable();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(move || drop(guard));
    /// });
    /// ```
    UpgradableGuard, leave_upgradable
}

guard! {
    /// The right to the value of a [`SpinRwLock`], alone.
    ///
    /// It stays on the thread that took it:
    ///
    /// ```compile_fail,E0277
    /// let lock = efio::sync::SpinRwLock::new(1);
    /// let guard = lock.write();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(move || drop(guard));
    /// });
    /// ```
    WriteGuard, leave_write
}

impl<'a, T: ?Sized> UpgradableGuard<'a, T> {
    /// Waits until the readers have left, and writes: nobody wrote in between.
    pub fn upgrade(self) -> WriteGuard<'a, T> {
        let lock = self.into_lock();
        lock.raw.upgrade();
        WriteGuard::new(lock)
    }

    /// As [`upgrade`](Self::upgrade), if that needs no wait.
    ///
    /// # Errors
    ///
    /// The guard itself, if there are readers.
    pub fn try_upgrade(self) -> Result<WriteGuard<'a, T>, Self> {
        if self.lock.raw.try_upgrade() { Ok(WriteGuard::new(self.into_lock())) } else { Err(self) }
    }

    /// Goes on as an ordinary reader: nobody wrote in between.
    pub fn downgrade(self) -> ReadGuard<'a, T> {
        let lock = self.into_lock();
        lock.raw.downgrade_upgradable();
        ReadGuard::new(lock)
    }
}

impl<'a, T: ?Sized> WriteGuard<'a, T> {
    /// Goes on as a reader, and lets others read: nobody wrote in between.
    pub fn downgrade(self) -> ReadGuard<'a, T> {
        let lock = self.into_lock();
        lock.raw.downgrade_write();
        ReadGuard::new(lock)
    }

    /// Goes on as the reader that may write again, and lets others read: nobody wrote in between.
    pub fn downgrade_to_upgradable(self) -> UpgradableGuard<'a, T> {
        let lock = self.into_lock();
        lock.raw.downgrade_write_to_upgradable();
        UpgradableGuard::new(lock)
    }
}

impl<T: ?Sized> DerefMut for WriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard's thread is alone in the lock, and `&mut self` excludes `deref`.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_guards_go_together_as_the_table_says() {
        let lock = SpinRwLock::new(1);
        let read = lock.read();
        assert!(lock.try_read().is_some() && lock.try_upgradable().is_some() && lock.try_write().is_none());
        drop(read);
        let upgradable = lock.upgradable();
        assert!(lock.try_read().is_some() && lock.try_upgradable().is_none() && lock.try_write().is_none());
        drop(upgradable);
        let write = lock.write();
        assert!(lock.try_read().is_none() && lock.try_upgradable().is_none() && lock.try_write().is_none());
        assert_eq!(format!("{lock:?} {write:?}"), "SpinRwLock { value: <locked> } 1");
        drop(write);
        assert_eq!(format!("{lock:?}"), "SpinRwLock { value: 1 }");
    }

    #[test]
    fn every_step_from_guard_to_guard_holds_its_part_and_gives_it_back() {
        let lock = SpinRwLock::new(1);
        let read = lock.read();
        let upgradable = lock.upgradable().try_upgrade().unwrap_err();
        drop(read);
        let mut write = upgradable.try_upgrade().unwrap();
        *write += 1;
        let upgradable = write.downgrade_to_upgradable();
        assert!(lock.try_read().is_some() && lock.try_upgradable().is_none());
        let mut write = upgradable.upgrade();
        *write += 1;
        let read = write.downgrade();
        assert!(lock.try_upgradable().is_some() && lock.try_write().is_none());
        drop(read);
        let read = lock.upgradable().downgrade();
        assert!(*read == 3 && lock.try_upgradable().is_some() && lock.try_write().is_none());
        drop(read);
        assert!(lock.try_write().is_some());
    }

    #[test]
    fn a_writer_that_waits_stops_new_readers() {
        let lock = SpinRwLock::new(0);
        let read = lock.read();
        std::thread::scope(|scope| {
            scope.spawn(|| *lock.write() = 1);
            while lock.try_read().is_some() {
                std::thread::yield_now();
            }
            drop(read);
            assert!(*lock.read() <= 1);
        });
        assert_eq!(lock.into_inner(), 1);
    }

    #[test]
    fn a_panic_gives_the_lock_back() {
        let mut lock = SpinRwLock::new(0);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            *lock.write() = 1;
            let _guard = lock.write();
            panic!("while it is held");
        }));
        assert!(outcome.is_err() && *lock.get_mut() == 1 && lock.try_write().is_some());
    }
}
