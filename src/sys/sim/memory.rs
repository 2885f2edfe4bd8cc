//! Bytes between a job's slices and the simulated disk.
#![allow(unsafe_code, reason = "copies to and from the raw slices of jobs")]

use crate::job::Slices;

/// Copies the first `bytes` of the slices.
pub(super) fn gather(from: &Slices, bytes: usize) -> Vec<u8> {
    let mut gathered = Vec::with_capacity(bytes.min(from.bytes()));
    for slice in from.as_slice() {
        let count = slice.len.min(bytes - gathered.len());
        // SAFETY: the job's file keeps the slice's memory, and its bytes unchanged, until the `Done`; `count` is within.
        gathered.extend_from_slice(unsafe { std::slice::from_raw_parts(slice.start, count) });
    }
    gathered
}

/// Fills the slices from the front; what is too long for them is left out. The bytes copied.
pub(super) fn scatter(into: &Slices, bytes: &[u8]) -> usize {
    let mut copied = 0;
    for slice in into.as_slice() {
        let count = slice.len.min(bytes.len() - copied);
        // SAFETY: the job's file has given the slice's memory up until the `Done`; `count` is within both sides, which
        // do not overlap: one is the simulated disk's own.
        unsafe { std::ptr::copy_nonoverlapping(bytes[copied..].as_ptr(), slice.start, count) };
        copied += count;
    }
    copied
}
