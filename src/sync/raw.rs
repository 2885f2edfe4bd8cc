//! The locks of this folder as raw locks of `lock_api`, for the guards and maps of others.
//!
//! With the feature `lock_api`. Names collide neither way: the methods of our own trait are called
//! through it.

#![allow(unsafe_code, reason = "the promise of a raw lock is an unsafe trait")]

use super::{AtomicU32, RawLock, RawMcs, RawSpin, RawSpinRw, RawTicket};
use lock_api::GuardNoSend;
use std::ptr;

macro_rules! raw_mutex {
    ($($raw:ty),*) => {$(
        // SAFETY: `RawLock` promises the same.
        unsafe impl lock_api::RawMutex for $raw {
            #[allow(clippy::declare_interior_mutable_const, reason = "a start value, copied into each lock")]
            const INIT: Self = <Self as RawLock>::NEW;
            type GuardMarker = GuardNoSend;

            #[inline]
            fn lock(&self) {
                RawLock::lock(self);
            }

            #[inline]
            fn try_lock(&self) -> bool {
                RawLock::try_lock(self)
            }

            #[inline]
            unsafe fn unlock(&self) {
                // SAFETY: the caller holds the lock, as both traits demand.
                unsafe { RawLock::unlock(self) }
            }

            fn is_locked(&self) -> bool {
                RawLock::is_locked(self)
            }
        }
    )*};
}

raw_mutex!(RawSpin, RawTicket, RawMcs);

// SAFETY: every unlock of this lock hands it to the next in line.
unsafe impl lock_api::RawMutexFair for RawTicket {
    unsafe fn unlock_fair(&self) {
        // SAFETY: the caller holds the lock, as both traits demand.
        unsafe { RawLock::unlock(self) }
    }
}

impl RawSpinRw {
    /// The lock that a word of yours is: for words whose place is given, as in a struct that C programs share.
    ///
    /// A zero is a lock that nobody holds. As long as somebody does, nobody may store to the word by other means: the
    /// lock is what its word says.
    ///
    /// ```
    /// use efio::sync::{AtomicU32, RawSpinRw};
    /// use lock_api::RawRwLock;
    ///
    /// static WORD: AtomicU32 = AtomicU32::new(0);
    ///
    /// let lock = RawSpinRw::of(&WORD);
    /// assert!(lock.try_lock_shared());
    /// assert!(!RawSpinRw::of(&WORD).try_lock_exclusive(), "the same lock");
    /// // SAFETY: it was taken above.
    /// unsafe { lock.unlock_shared() };
    /// assert!(lock.try_lock_exclusive());
    /// ```
    #[must_use]
    pub fn of(word: &AtomicU32) -> &Self {
        // SAFETY: the lock is transparent over its word, and every value of the word is one of the lock.
        unsafe { &*ptr::from_ref(word).cast::<Self>() }
    }
}

// SAFETY: WRITER is raised by one thread at a time, which then waits until there are no readers.
unsafe impl lock_api::RawRwLock for RawSpinRw {
    #[allow(clippy::declare_interior_mutable_const, reason = "a start value, copied into each lock")]
    const INIT: Self = Self::new();
    type GuardMarker = GuardNoSend;

    #[inline]
    fn lock_shared(&self) {
        self.wait_until(Self::try_read);
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        self.try_read()
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        self.leave_read();
    }

    #[inline]
    fn lock_exclusive(&self) {
        self.write();
    }

    #[inline]
    fn try_lock_exclusive(&self) -> bool {
        self.try_write()
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        self.leave_write();
    }
}

// SAFETY: one step of the word, so nobody writes in between.
unsafe impl lock_api::RawRwLockDowngrade for RawSpinRw {
    unsafe fn downgrade(&self) {
        self.downgrade_write();
    }
}

// SAFETY: UPGRADABLE is raised by one thread at a time and keeps other writers out.
unsafe impl lock_api::RawRwLockUpgrade for RawSpinRw {
    fn lock_upgradable(&self) {
        self.wait_until(Self::try_upgradable);
    }

    fn try_lock_upgradable(&self) -> bool {
        self.try_upgradable()
    }

    unsafe fn unlock_upgradable(&self) {
        self.leave_upgradable();
    }

    unsafe fn upgrade(&self) {
        RawSpinRw::upgrade(self);
    }

    unsafe fn try_upgrade(&self) -> bool {
        RawSpinRw::try_upgrade(self)
    }
}

// SAFETY: each is one step of the word, so nobody writes in between.
unsafe impl lock_api::RawRwLockUpgradeDowngrade for RawSpinRw {
    unsafe fn downgrade_upgradable(&self) {
        RawSpinRw::downgrade_upgradable(self);
    }

    unsafe fn downgrade_to_upgradable(&self) {
        self.downgrade_write_to_upgradable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting<R: lock_api::RawMutex + Sync>() {
        let lock = lock_api::Mutex::<R, _>::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..1_000).for_each(|_| *lock.lock() += 1));
            }
        });
        let guard = lock.lock();
        assert!(lock.is_locked() && lock.try_lock().is_none());
        assert_eq!(*guard, 2_000);
    }

    #[test]
    fn the_mutex_of_lock_api_works_on_each_of_ours() {
        counting::<RawSpin>();
        counting::<RawTicket>();
        counting::<RawMcs>();
    }

    #[test]
    fn a_word_of_zero_is_a_lock_and_free_again_it_is_zero() {
        use lock_api::RawRwLock;

        let word = AtomicU32::new(0);
        let lock = RawSpinRw::of(&word);
        lock.lock_shared();
        assert!(lock.try_lock_shared() && !lock.try_lock_exclusive());
        // SAFETY: each was taken above.
        unsafe {
            lock.unlock_shared();
            lock.unlock_shared();
            assert_eq!(word.load(crate::sync::Ordering::Relaxed), 0);
            lock.lock_exclusive();
            assert!(!RawSpinRw::of(&word).try_lock_shared());
            lock.unlock_exclusive();
        }
        assert_eq!(word.into_inner(), 0);
    }

    #[test]
    fn the_rwlock_of_lock_api_works_on_ours() {
        let lock = lock_api::RwLock::<RawSpinRw, _>::new(1);
        let upgradable = lock.upgradable_read();
        assert!(lock.try_read().is_some() && lock.try_write().is_none());
        let mut write = lock_api::RwLockUpgradableReadGuard::upgrade(upgradable);
        *write += 1;
        let read = lock_api::RwLockWriteGuard::downgrade(write);
        assert!(*read == 2 && lock.try_write().is_none());
        drop(read);
        assert!(lock.try_write().is_some());
    }
}
