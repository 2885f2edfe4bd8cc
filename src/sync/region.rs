//! One large run of zeroed memory that costs memory only where it is used.
//!
//! In pages of the system's ordinary size, but for a part for which its user prefers huge ones: a walk through the tables for
//! an address that was not used lately costs as much as forty short copies, and is needed every 4 KiB. With huge pages for
//! all of a large region the ticks of an event loop beside the engine were late by milliseconds: see "Where the time goes"
//! in ARCHITECTURE.md.
//!
//! Asked of the system itself and not of the allocator, which may write the zeroes at once where it has to.

#![allow(unsafe_code, reason = "mapped memory; its rights are handed on by its user")]

use std::ptr::NonNull;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Region {
    mapped: NonNull<u8>,
    mapped_bytes: usize,
    start: NonNull<u8>,
}

impl Region {
    /// `bytes` of zeroes whose first address is a multiple of `alignment`, a power of two. `None`: refused.
    pub(crate) fn new(bytes: usize, alignment: usize) -> Option<Self> {
        debug_assert!(alignment.is_power_of_two() && bytes > 0);
        let mapped_bytes = bytes.checked_add(alignment)?;
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: a new mapping at an address of the system's choice touches no memory that is in use.
        let mapped =
            unsafe { libc::mmap(std::ptr::null_mut(), mapped_bytes, access, kind | NO_RESERVE, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        let mapped = NonNull::new(mapped.cast::<u8>())?;
        let ahead = mapped.addr().get().next_multiple_of(alignment) - mapped.addr().get();
        // SAFETY: less than `alignment` ahead, and so many bytes more than `bytes` are mapped.
        let start = unsafe { mapped.add(ahead) };
        Some(Self { mapped, mapped_bytes, start })
    }

    /// Asks for huge pages for the whole ones among `bytes` bytes from `from` on. A hint: where the system has none, or they are
    /// forbidden, nothing changes.
    pub(crate) fn prefer_huge(&self, from: usize, bytes: usize) {
        let first = from.next_multiple_of(HUGE);
        let end = (from + bytes) / HUGE * HUGE;
        debug_assert!(from + bytes <= self.mapped_bytes, "a part of the region");
        if end > first {
            // SAFETY: `first` is less than `end`, which lies in the mapping.
            advise_huge(unsafe { self.start.add(first) }, end - first);
        }
    }

    /// Its first byte; good for the bytes asked for, while the region lives.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and unmapped once; who uses the memory keeps the region alive.
        unsafe { libc::munmap(self.mapped.as_ptr().cast(), self.mapped_bytes) };
    }
}

// SAFETY: a region only gives out its address.
unsafe impl Send for Region {}
// SAFETY: as for `Send`.
unsafe impl Sync for Region {}

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

#[cfg(all(target_os = "linux", not(miri)))]
fn advise_huge(start: NonNull<u8>, bytes: usize) {
    // SAFETY: the advice touches no memory; a refusal changes nothing.
    unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
}

#[cfg(not(all(target_os = "linux", not(miri))))]
const fn advise_huge(_start: NonNull<u8>, _bytes: usize) {}

/// Address space that is not used is not charged for, where the system can tell.
#[cfg(target_os = "linux")]
const NO_RESERVE: libc::c_int = libc::MAP_NORESERVE;
#[cfg(not(target_os = "linux"))]
const NO_RESERVE: libc::c_int = 0;

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_aligned_and_zero_to_its_last_byte() {
        let (bytes, alignment) = ((5 << 20) + 4096, 2 << 20);
        let region = Region::new(bytes, alignment).unwrap();
        region.prefer_huge(1 << 20, 4 << 20);
        assert_eq!(region.start().addr().get() % alignment, 0);
        for at in (0..bytes).step_by(4096).chain([bytes - 1]) {
            // SAFETY: within the region, which nobody else knows.
            unsafe {
                assert_eq!(region.start().add(at).read(), 0);
                region.start().add(at).write(1);
            }
        }
    }

    #[test]
    fn an_impossible_length_is_refused() {
        assert!(Region::new(usize::MAX / 2, 2 << 20).is_none());
        assert!(Region::new(usize::MAX, 2 << 20).is_none());
    }
}
