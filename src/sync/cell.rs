//! `UnsafeCell` with the two calls that loom's has, so that one source serves both builds.
//!
//! Nothing here is unsafe: the closures get raw pointers, and whoever dereferences one names the
//! invariant that makes it sound.

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
