//! A value that is copied in and out by relaxed atomics, while others do the same.
//!
//! Invariant: while the value is shared it is touched by these atomics only, each place always by one
//! of the same width: eight bytes as long as they go, then single ones.

#![allow(unsafe_code, reason = "atomics over the bytes of a plain value")]

#[cfg(efio_loom)]
pub(super) use model::Words;
#[cfg(not(efio_loom))]
pub(super) use platform::Words;

#[cfg(not(efio_loom))]
mod platform {
    use crate::sync::{AtomicU64, Ordering, UnsafeCell};
    use std::mem::{MaybeUninit, size_of};
    use std::sync::atomic::AtomicU8;
    use zerocopy::{FromBytes, Immutable, IntoBytes};

    /// The bytes of a wide copy.
    const WIDE: usize = size_of::<u64>();

    /// Aligned for the wide copies, whatever the value asks for.
    #[repr(C, align(8))]
    pub(in crate::sync::seqlock) struct Words<T>(UnsafeCell<T>);

    // SAFETY: the value is plain bytes (`T` is `FromBytes + IntoBytes` wherever it is touched), and
    // shared access to it goes by atomics.
    unsafe impl<T: Send> Sync for Words<T> {}

    impl<T> Words<T> {
        pub(in crate::sync::seqlock) const fn new(value: T) -> Self {
            Self(UnsafeCell::new(value))
        }
    }

    impl<T: Copy + FromBytes + IntoBytes + Immutable> Words<T> {
        /// A copy; torn if somebody stores meanwhile, and even then some value of `T`.
        #[inline]
        pub(in crate::sync::seqlock) fn load(&self) -> T {
            let mut copy = MaybeUninit::<T>::uninit();
            let to = copy.as_mut_ptr().cast::<u8>();
            let from = self.0.with_mut(|value| value.cast::<u8>());
            let wide = size_of::<T>() / WIDE * WIDE;
            for at in (0..wide).step_by(WIDE) {
                // SAFETY: `at + 8` is within the value; `from` is aligned to 8; the bytes are initialised
                // (`T` has no padding) and touched by atomics of this width only, as the file's head says.
                let word = unsafe { AtomicU64::from_ptr(from.add(at).cast()) };
                // ORDER: Relaxed; the fence in `try_read` and the sequence say what the copy is worth.
                let word = word.load(Ordering::Relaxed);
                // SAFETY: `at + 8` is within the copy.
                unsafe { to.add(at).cast::<u64>().write_unaligned(word) };
            }
            for at in wide..size_of::<T>() {
                // SAFETY: as above, a byte at a time.
                let byte = unsafe { AtomicU8::from_ptr(from.add(at)) };
                // ORDER: Relaxed, as above.
                let byte = byte.load(Ordering::Relaxed);
                // SAFETY: `at` is within the copy.
                unsafe { to.add(at).write(byte) };
            }
            // SAFETY: every byte is written, and any bytes are a `T` (`FromBytes`).
            unsafe { copy.assume_init() }
        }

        /// Stores `value`; the caller is the only one who stores.
        #[inline]
        pub(in crate::sync::seqlock) fn store(&self, value: &T) {
            let to = self.0.with_mut(|value| value.cast::<u8>());
            let (wide, rest) = value.as_bytes().split_at(size_of::<T>() / WIDE * WIDE);
            for (at, bytes) in wide.chunks_exact(WIDE).enumerate() {
                let mut word = [0; WIDE];
                word.copy_from_slice(bytes);
                // SAFETY: as in `load`.
                let place = unsafe { AtomicU64::from_ptr(to.add(at * WIDE).cast()) };
                // ORDER: Relaxed; between the Release fence in `begin` and the Release store at the end.
                place.store(u64_of(word), Ordering::Relaxed);
            }
            for (at, byte) in rest.iter().enumerate() {
                // SAFETY: as in `load`.
                let place = unsafe { AtomicU8::from_ptr(to.add(wide.len() + at)) };
                // ORDER: Relaxed, as above.
                place.store(*byte, Ordering::Relaxed);
            }
        }
    }

    /// The word whose memory is `bytes`: only a way to carry them.
    #[inline]
    fn u64_of(bytes: [u8; WIDE]) -> u64 {
        zerocopy::transmute!(bytes)
    }
}

#[cfg(efio_loom)]
mod model {
    use crate::sync::{AtomicU32, Ordering};
    use std::marker::PhantomData;
    use zerocopy::{FromBytes, Immutable, IntoBytes};

    /// Four bytes to each of loom's atomics.
    pub(in crate::sync::seqlock) struct Words<T>(Vec<AtomicU32>, PhantomData<T>);

    impl<T: Copy + FromBytes + IntoBytes + Immutable> Words<T> {
        pub(in crate::sync::seqlock) fn new(value: T) -> Self {
            Self(words(&value).map(AtomicU32::new).collect(), PhantomData)
        }

        pub(in crate::sync::seqlock) fn load(&self) -> T {
            let mut copy = T::new_zeroed();
            // SAFETY: any bytes are a `T` without padding, and the copy is ours alone.
            let bytes = unsafe {
                std::slice::from_raw_parts_mut(std::ptr::from_mut(&mut copy).cast::<u8>(), size_of::<T>())
            };
            for (bytes, word) in bytes.chunks_mut(4).zip(&self.0) {
                // ORDER: Relaxed, as on the platform.
                let word: [u8; 4] = zerocopy::transmute!(word.load(Ordering::Relaxed));
                bytes.copy_from_slice(&word[..bytes.len()]);
            }
            copy
        }

        pub(in crate::sync::seqlock) fn store(&self, value: &T) {
            for (place, word) in self.0.iter().zip(words(value)) {
                // ORDER: Relaxed, as on the platform.
                place.store(word, Ordering::Relaxed);
            }
        }
    }

    fn words<T: IntoBytes + Immutable>(value: &T) -> impl Iterator<Item = u32> + '_ {
        value.as_bytes().chunks(4).map(|bytes| {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            zerocopy::transmute!(word)
        })
    }
}
