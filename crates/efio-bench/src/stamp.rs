//! Stamp: the processor's own clock, which costs ten nanoseconds and no system call.
#![allow(unsafe_code, reason = "reads the time stamp counter")]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Counts now. Only differences mean anything.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Counts now. Only differences mean anything.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Nanoseconds of one count.
pub fn ns_a_count() -> f64 {
    static SCALE: OnceLock<f64> = OnceLock::new();
    *SCALE.get_or_init(|| {
        let (begin, counts) = (Instant::now(), now());
        while begin.elapsed() < Duration::from_millis(50) {}
        let ns = begin.elapsed().as_nanos() as f64;
        ns / (now() - counts) as f64
    })
}

/// Counts as nanoseconds.
pub fn ns(counts: u64) -> f64 {
    counts as f64 * ns_a_count()
}
