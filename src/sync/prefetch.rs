//! Prefetch: asks for the cache lines that will be written next, so that they are here by then.
//!
//! An atomic read-modify-write waits until every store before it has left the processor. A copy into lines that are not
//! in the cache is therefore paid in full by the commit that follows it; lines asked for some calls ahead cost nothing.

#![allow(unsafe_code, reason = "the instruction has no safe wrapper")]

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the lines of `[start, start + bytes)`, to be written soon. A hint: any address is allowed, and nothing happens
/// where there is no such instruction.
#[inline(always)]
pub(crate) fn prefetch_for_write(start: *mut u8, bytes: usize) {
    let mut line = 0;
    while line < bytes {
        prefetch_line(start.wrapping_add(line));
        line += LINE;
    }
}

#[cfg(all(target_arch = "x86_64", not(miri), not(efio_loom)))]
#[inline(always)]
fn prefetch_line(line: *mut u8) {
    // SAFETY: the instruction faults on no address and changes no memory or register; processors without it pass over it.
    unsafe { std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly)) };
}

#[cfg(not(all(target_arch = "x86_64", not(miri), not(efio_loom))))]
#[inline(always)]
fn prefetch_line(_line: *mut u8) {}
