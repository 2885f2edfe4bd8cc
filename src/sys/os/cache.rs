//! The page cache of the operating system.

use super::Os;
use crate::job::{Handle, Place, Slices};
use crate::sys::cache::CacheDisk;
use crate::sys::call::Answer;
use crate::sys::raw;

impl CacheDisk for Os {
    fn read_uncached(&self, handle: Handle, into: &Slices, offset: u64) -> Answer<usize> {
        if !self.drops {
            return Err(libc::EOPNOTSUPP);
        }
        raw::cache::read(handle.0, into, offset)
    }

    fn write_uncached(&self, handle: Handle, from: &Slices, place: Place) -> Answer<usize> {
        if !self.drops {
            return Err(libc::EOPNOTSUPP);
        }
        raw::cache::write(handle.0, from, place)
    }

    fn write_end(&self, handle: Handle) -> Answer<u64> {
        raw::cache::place(handle.0)
    }

    fn begin_writeback(&self, handle: Handle, start: u64, bytes: u64) -> Answer<()> {
        raw::cache::write_back(handle.0, start, bytes, false)
    }

    fn end_writeback(&self, handle: Handle, start: u64, bytes: u64) -> Answer<()> {
        raw::cache::write_back(handle.0, start, bytes, true)
    }

    fn forget(&self, handle: Handle, start: u64, bytes: u64) {
        raw::cache::forget(handle.0, start, bytes);
    }
}
