//! A flag that says a thread panicked in here, and the guard that raises it.
//!
//! A panic in the engine's own code may have left a hand-over half done. The flag is raised by the
//! unwinding itself, so no code path can forget it; it is never lowered and keeps nothing else.

use super::{AtomicBool, Ordering};

/// Set once, by a panic; never cleared.
///
/// ```
/// use efio::sync::PoisonFlag;
///
/// let flag = PoisonFlag::new();
/// let outcome = std::panic::catch_unwind(|| {
///     let _guard = flag.guard();
///     panic!("half done");
/// });
/// assert!(outcome.is_err());
/// assert!(flag.is_set());
/// ```
#[derive(Debug)]
pub struct PoisonFlag {
    set: AtomicBool,
}

impl PoisonFlag {
    /// A flag that is not set.
    #[cfg(not(efio_loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { set: AtomicBool::new(false) }
    }

    /// A flag that is not set.
    #[cfg(efio_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { set: AtomicBool::new(false) }
    }

    /// Sets the flag, for a cause other than a panic.
    pub fn set(&self) {
        // ORDER: Release pairs with the Acquire load in `is_set`: who sees the flag also sees what
        // the failed thread had written.
        self.set.store(true, Ordering::Release);
    }

    /// Whether a guard was dropped by a panic, or [`PoisonFlag::set`] was called.
    #[must_use]
    pub fn is_set(&self) -> bool {
        // ORDER: Acquire pairs with the Release store in `set`.
        self.set.load(Ordering::Acquire)
    }

    /// A guard that sets the flag if it is dropped by a panic.
    pub fn guard(&self) -> PoisonGuard<'_> {
        PoisonGuard { flag: self, unwinding: std::thread::panicking() }
    }
}

impl Default for PoisonFlag {
    fn default() -> Self {
        Self::new()
    }
}

/// Sets its [`PoisonFlag`] if it is dropped by a panic that began after it was made.
///
/// See [`PoisonFlag::guard`].
#[derive(Debug)]
#[must_use = "a guard that is dropped at once guards nothing"]
pub struct PoisonGuard<'a> {
    flag: &'a PoisonFlag,
    /// The thread was unwinding already when the guard was made: not a panic in the guarded part.
    unwinding: bool,
}

impl Drop for PoisonGuard<'_> {
    fn drop(&mut self) {
        if !self.unwinding && std::thread::panicking() {
            self.flag.set();
        }
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_guard_that_ends_well_leaves_the_flag_down() {
        let flag = PoisonFlag::new();
        drop(flag.guard());
        assert!(!flag.is_set());
    }

    #[test]
    fn a_guard_made_while_unwinding_does_not_blame_its_own_part() {
        struct OnDrop<'a>(&'a PoisonFlag);
        impl Drop for OnDrop<'_> {
            fn drop(&mut self) {
                drop(self.0.guard());
            }
        }
        let flag = PoisonFlag::new();
        let outcome = std::panic::catch_unwind(|| {
            let _on_drop = OnDrop(&flag);
            panic!("elsewhere");
        });
        assert!(outcome.is_err() && !flag.is_set());
    }
}
