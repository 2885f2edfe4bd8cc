//! Large arrays of zero atomics that cost memory only where they are used.
//!
//! A table for a million files and a pool of a quarter gigabyte need side arrays whose larger part
//! is never touched. Memory asked for zeroed and not written stays with the system until then.

#![allow(unsafe_code, reason = "an array of atomics made of zeroed memory")]

use super::{AtomicPtr, AtomicU32, AtomicU64};

/// An atomic that has a zero.
///
/// # Safety
///
/// In a build without loom, memory of zero bytes must be a valid value: zero, or the null pointer.
pub(crate) unsafe trait Zero: Sized {
    /// The value of zero bytes.
    #[cfg(efio_loom)]
    fn zero() -> Self;
}

// SAFETY: `AtomicU32` has the representation of `u32`.
unsafe impl Zero for AtomicU32 {
    #[cfg(efio_loom)]
    fn zero() -> Self {
        Self::new(0)
    }
}

// SAFETY: `AtomicU64` has the representation of `u64`.
unsafe impl Zero for AtomicU64 {
    #[cfg(efio_loom)]
    fn zero() -> Self {
        Self::new(0)
    }
}

// SAFETY: `AtomicPtr<T>` has the representation of `*mut T`, whose zero bytes are the null pointer.
unsafe impl<T> Zero for AtomicPtr<T> {
    #[cfg(efio_loom)]
    fn zero() -> Self {
        Self::new(std::ptr::null_mut())
    }
}

/// An array of `length` zeroes; `None` if the memory is refused.
#[cfg(not(efio_loom))]
pub(crate) fn array<A: Zero>(length: usize) -> Option<Box<[A]>> {
    use std::alloc::{Layout, alloc_zeroed};

    let layout = Layout::array::<A>(length).ok()?;
    if layout.size() == 0 {
        return Some(Box::default());
    }
    // SAFETY: the size of the layout is not zero, checked above.
    let memory = unsafe { alloc_zeroed(layout) }.cast::<A>();
    if memory.is_null() {
        return None;
    }
    // SAFETY: the memory is ours alone, comes from the global allocator with the layout of
    // `[A; length]`, and its zero bytes are `length` valid values, as `Zero` demands.
    Some(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(memory, length)) })
}

/// An array of `length` zeroes, each known to loom.
#[cfg(efio_loom)]
pub(crate) fn array<A: Zero>(length: usize) -> Option<Box<[A]>> {
    Some((0..length).map(|_| A::zero()).collect())
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn every_element_is_zero_and_its_own() {
        let words = array::<AtomicU32>(100_000).unwrap();
        words[99_999].store(7, Ordering::Relaxed);
        assert_eq!(words.iter().map(|word| word.load(Ordering::Relaxed)).sum::<u32>(), 7);
        assert!(array::<AtomicU64>(0).unwrap().is_empty());
        assert!(array::<AtomicPtr<u8>>(3).unwrap()[2].load(Ordering::Relaxed).is_null());
    }

    #[test]
    fn an_impossible_length_is_refused() {
        assert!(array::<AtomicU64>(usize::MAX / 4).is_none());
    }
}
