//! `UnsafeCell` with the two calls that loom's has, so that one source serves both builds.
//!
//! Nothing here is unsafe: the closures get raw pointers, and whoever dereferences one names the
//! invariant that makes it sound. For shuttle, which knows of atomics only, the cell itself looks
//! whether two accesses meet.

#[cfg(efio_shuttle)]
pub use checked::UnsafeCell;

/// A cell whose content is reached through raw pointers only.
///
/// The same as [`std::cell::UnsafeCell`], with the interface of loom's, which checks in models
/// that no two accesses overlap.
///
/// ```
/// let cell = efio::sync::UnsafeCell::new(1_u32);
/// cell.with_mut(|content| {
///     // SAFETY: the cell is not shared, and no reference to its content lives.
///     unsafe { *content = 2 }
/// });
/// assert_eq!(cell.into_inner(), 2);
/// ```
#[cfg(not(efio_loom))]
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct UnsafeCell<T: ?Sized>(std::cell::UnsafeCell<T>);

#[cfg(not(efio_loom))]
impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// The content, out of its cell.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

#[cfg(not(efio_loom))]
impl<T: ?Sized> UnsafeCell<T> {
    /// Calls `action` with a pointer for reading.
    #[inline(always)]
    pub fn with<R>(&self, action: impl FnOnce(*const T) -> R) -> R {
        action(self.0.get())
    }

    /// Calls `action` with a pointer for writing.
    #[inline(always)]
    pub fn with_mut<R>(&self, action: impl FnOnce(*mut T) -> R) -> R {
        action(self.0.get())
    }
}

#[cfg(efio_shuttle)]
mod checked {
    use std::sync::atomic::{AtomicIsize, Ordering};

    /// Who is inside: readers, or -1 for a writer.
    #[derive(Debug, Default)]
    struct Inside(AtomicIsize);

    /// A cell that panics where two accesses overlap, one of them for writing.
    #[derive(Debug, Default)]
    pub struct UnsafeCell<T: ?Sized> {
        inside: Inside,
        value: std::cell::UnsafeCell<T>,
    }

    /// One access; over when it is dropped.
    struct Visit<'a>(&'a Inside, isize);

    impl Inside {
        fn enter(&self, who: isize) -> Visit<'_> {
            // ORDER: Relaxed: shuttle runs one thread at a time; pairs with the addition in `drop`.
            let before = self.0.fetch_add(who, Ordering::Relaxed);
            let alone = if who < 0 { before == 0 } else { before >= 0 };
            let visit = Visit(self, who);
            assert!(alone || std::thread::panicking(), "two accesses to a cell overlap");
            // ORDER: SeqCst, as all of shuttle's atomics; pairs with nothing: another thread gets its chance to come in.
            shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
            visit
        }
    }

    impl Drop for Visit<'_> {
        fn drop(&mut self) {
            // ORDER: Relaxed, as above.
            self.0.0.fetch_sub(self.1, Ordering::Relaxed);
        }
    }

    impl<T> UnsafeCell<T> {
        /// A cell that holds `value`.
        #[must_use]
        pub const fn new(value: T) -> Self {
            Self { inside: Inside(AtomicIsize::new(0)), value: std::cell::UnsafeCell::new(value) }
        }

        /// The content, out of its cell.
        pub fn into_inner(self) -> T {
            self.value.into_inner()
        }
    }

    impl<T: ?Sized> UnsafeCell<T> {
        /// Calls `action` with a pointer for reading.
        pub fn with<R>(&self, action: impl FnOnce(*const T) -> R) -> R {
            let _visit = self.inside.enter(1);
            action(self.value.get())
        }

        /// Calls `action` with a pointer for writing.
        pub fn with_mut<R>(&self, action: impl FnOnce(*mut T) -> R) -> R {
            let _visit = self.inside.enter(-1);
            action(self.value.get())
        }
    }
}
