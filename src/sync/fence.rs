//! An asymmetric pair of fences: almost free on the hot side, heavy on the rare side.
//!
//! Two threads that each write one word and then read the other's ("publish, look for the flag"
//! against "clear the flag, look for bytes") need a full fence between write and read on both
//! sides. Where one side runs per call and the other once a second, the kernel can pay for both:
//! membarrier(2) makes every running thread of this process pass a full fence, wherever it stands.
//! So the hot side only has to stop the compiler.
//!
//! ```text
//!  hot:   write A ── light_fence() ── read B        at least one of the two
//!  rare:  write B ── heavy_fence() ── read A        sees the other's write
//! ```
//!
//! Source: Linux membarrier(2), `MEMBARRIER_CMD_PRIVATE_EXPEDITED`; folly's `AsymmetricThreadFence`.
//!
//! Invariant: the choice is made once in the process, by [`register`], before any fence that
//! matters: whoever uses the fences came by a module whose start called it, and that happens before.
//! The one change after that is from light to full, by way of settling, when a sandbox closed later refuses the call.

#![allow(unsafe_code, reason = "membarrier(2) has no safe wrapper")]

#[cfg(not(efio_loom))]
pub(crate) use platform::{fence_after_update, heavy_fence, is_light, light_fence, register};

#[cfg(efio_loom)]
pub(crate) use model::{fence_after_update, heavy_fence, is_light, light_fence, register};

#[cfg(not(efio_loom))]
mod platform {
    use std::sync::Once;
    use std::sync::atomic::{AtomicU8, Ordering, compiler_fence, fence};
    use std::time::Duration;

    static DECIDED: Once = Once::new();
    /// Each side fences for itself.
    const FULL: u8 = 0;
    /// The kernel takes part: `light_fence` need not fence the processor.
    const LIGHT: u8 = 1;
    /// The kernel refuses by now. What was written before a light fence may still be on its way.
    const SETTLING: u8 = 2;
    static KIND: AtomicU8 = AtomicU8::new(FULL);
    /// A write leaves its processor's store buffer in well under this time.
    const SETTLED_AFTER: Duration = Duration::from_millis(1);

    /// Makes the choice; to be called by the start of each module, before its first fence.
    pub(crate) fn register() {
        DECIDED.call_once(|| {
            let available = kernel::register();
            // ORDER: Relaxed; `Once` pairs the end of this closure with every later `register`.
            KIND.store(if available { LIGHT } else { FULL }, Ordering::Relaxed);
        });
    }

    /// The hot side's fence, between its write and its read.
    #[inline(always)]
    pub(crate) fn light_fence() {
        // ORDER: Relaxed; ordered after the store in `register` by the caller's own `register`.
        if KIND.load(Ordering::Relaxed) == LIGHT {
            compiler_fence(Ordering::SeqCst);
        } else {
            // ORDER: SeqCst pairs with the SeqCst fence in `heavy_fence`.
            fence(Ordering::SeqCst);
        }
    }

    /// A full fence between a read-modify-write that this thread has just made and a read.
    ///
    /// Where such an instruction is a full fence by itself this one is free: a second one would wait for whatever was
    /// written in between, which may have to come over from another processor first.
    #[inline(always)]
    pub(crate) fn fence_after_update() {
        // An interpreter knows the language's rules only, and by these it is none.
        if cfg!(all(target_arch = "x86_64", not(miri))) {
            // ORDER: SeqCst: the update itself is the processor's fence, and this keeps the compiler to it.
            compiler_fence(Ordering::SeqCst);
        } else {
            // ORDER: SeqCst pairs with the SeqCst fence of who writes what is read next, and then reads what was updated.
            fence(Ordering::SeqCst);
        }
    }

    /// The kernel fences for the light side.
    pub(crate) fn is_light() -> bool {
        // ORDER: Relaxed: a figure.
        KIND.load(Ordering::Relaxed) == LIGHT
    }

    /// The rare side's fence, between its write and its read. A few microseconds.
    pub(crate) fn heavy_fence() {
        // ORDER: SeqCst pairs with the SeqCst fence in `light_fence`, and orders this thread itself
        // where the kernel does the rest.
        fence(Ordering::SeqCst);
        // ORDER: Relaxed, as in `light_fence`.
        let kind = KIND.load(Ordering::Relaxed);
        if kind == FULL || kind == LIGHT && kernel::run() {
            return;
        }
        // A sandbox closed after `register` refuses the call. From now on the light side fences for itself; for what it wrote
        // just before, everybody who comes now waits.
        if kind == LIGHT {
            // ORDER: Relaxed pairs with the load in `light_fence`. Nobody goes back from full to settling.
            let _ = KIND.compare_exchange(LIGHT, SETTLING, Ordering::Relaxed, Ordering::Relaxed);
        }
        std::thread::sleep(SETTLED_AFTER);
        // ORDER: Relaxed: who reads it reads what was settled before it, by the time that went by.
        KIND.store(FULL, Ordering::Relaxed);
        // ORDER: SeqCst pairs with the SeqCst fence in `light_fence`.
        fence(Ordering::SeqCst);
    }

    #[cfg(target_os = "linux")]
    mod kernel {
        const QUERY: libc::c_int = 0;
        const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
        const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

        fn membarrier(command: libc::c_int) -> libc::c_long {
            let flags: libc::c_uint = 0;
            let processor: libc::c_int = 0;
            // SAFETY: the call takes three integers and touches no memory of ours.
            unsafe { libc::syscall(libc::SYS_membarrier, command, flags, processor) }
        }

        pub(super) fn register() -> bool {
            // Miri has no membarrier, and answers an unknown system call by ending the program.
            if cfg!(miri) {
                return false;
            }
            let wanted = libc::c_long::from(PRIVATE_EXPEDITED | REGISTER_PRIVATE_EXPEDITED);
            let known = membarrier(QUERY);
            known >= 0 && known & wanted == wanted && membarrier(REGISTER_PRIVATE_EXPEDITED) == 0
        }

        pub(super) fn run() -> bool {
            membarrier(PRIVATE_EXPEDITED) == 0
        }
    }

    #[cfg(not(target_os = "linux"))]
    mod kernel {
        pub(super) fn register() -> bool {
            false
        }

        pub(super) fn run() -> bool {
            false
        }
    }
}

#[cfg(efio_loom)]
mod model {
    use crate::sync::{Ordering, fence};

    pub(crate) fn register() {}

    pub(crate) fn is_light() -> bool {
        false
    }

    pub(crate) fn light_fence() {
        // ORDER: SeqCst pairs with the fence in `heavy_fence`.
        fence(Ordering::SeqCst);
    }

    pub(crate) fn heavy_fence() {
        // ORDER: SeqCst pairs with the fence in `light_fence`.
        fence(Ordering::SeqCst);
    }

    pub(crate) fn fence_after_update() {
        // ORDER: SeqCst, as the real one.
        fence(Ordering::SeqCst);
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::sync::{AtomicU32, Ordering, rounds};

    #[test]
    fn one_side_always_sees_the_other() {
        register();
        for _ in 0..rounds(2_000) {
            let (published, flag) = (AtomicU32::new(0), AtomicU32::new(1));
            let (hot, rare) = std::thread::scope(|scope| {
                let hot = scope.spawn(|| {
                    published.store(1, Ordering::Release);
                    light_fence();
                    flag.load(Ordering::Acquire) == 0
                });
                flag.store(0, Ordering::Release);
                heavy_fence();
                let rare = published.load(Ordering::Acquire) == 1;
                (hot.join().unwrap(), rare)
            });
            assert!(hot || rare);
        }
    }
}
