//! The page cache of the simulated disk: which transfers it refuses, and what a write-back finds out.
//!
//! What lies in that cache is not kept account of. Waiting for a write-back fails as a sync does, with the same loss, and promises
//! nothing: a cut of power may leave any part of what was written, waited for or not.

use super::Sim;
use crate::error::Operation;
use crate::job::{Handle, Place, Slices};
use crate::sys::cache::CacheDisk;
use crate::sys::call::{Answer, Disk};

impl CacheDisk for Sim {
    fn read_uncached(&self, handle: Handle, into: &Slices, offset: u64) -> Answer<usize> {
        if !self.lock().options.dont_cache {
            return Err(libc::EOPNOTSUPP);
        }
        Disk::read(self, handle, into, offset)
    }

    fn write_uncached(&self, handle: Handle, from: &Slices, place: Place) -> Answer<usize> {
        if !self.lock().options.dont_cache {
            return Err(libc::EOPNOTSUPP);
        }
        Disk::write(self, handle, from, place)
    }

    fn write_end(&self, handle: Handle) -> Answer<u64> {
        let mut state = self.lock();
        let node = state.opening(handle)?.node;
        Ok(state.node(node)?.live().len() as u64)
    }

    fn begin_writeback(&self, _handle: Handle, _start: u64, _bytes: u64) -> Answer<()> {
        Ok(())
    }

    fn end_writeback(&self, handle: Handle, _start: u64, _bytes: u64) -> Answer<()> {
        let mut state = self.lock();
        let id = state.opening(handle)?.node;
        let answer = state.gate_node(Operation::Sync, id, false);
        let dead = state.dead;
        if answer.is_err_and(|errno| errno != libc::EINTR) && !dead {
            state.node(id)?.lose();
        }
        answer
    }

    fn forget(&self, _handle: Handle, _start: u64, _bytes: u64) {}
}
