//! A closure of any type as a value of one size: inline where it is small, else boxed.
//!
//! ```text
//!  ┌──────────────────────────────┬───────┐
//!  │ 48 bytes: the closure itself │ verbs │      56 bytes; with the queue's stamp a place is one cache line
//!  │ or the address of its box    │       │
//!  └──────────────────────────────┴───────┘
//! ```
//!
//! Invariant: `verbs` are those of the type that lies in the room, from `new` to the one call that takes it out.

#![allow(unsafe_code, reason = "the closure's type is known to its verbs alone")]

use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};

/// What a pool's thread calls, once.
pub(super) trait Run: Send + 'static {
    /// Does the work; true: something of it panicked, and was contained. May panic.
    fn run(self) -> bool;
}

/// Room for a closure.
type Room = MaybeUninit<[u64; 6]>;

struct Verbs {
    run: unsafe fn(*mut Room) -> bool,
    drop: unsafe fn(*mut Room),
    of: fn() -> TypeId,
}

/// See the head of this file.
pub(super) struct Closure {
    room: Room,
    verbs: &'static Verbs,
}

// SAFETY: what lies in the room is a `Run`, or the box of one, and so `Send`.
unsafe impl Send for Closure {}

/// Whether an `R` lies in the room itself.
const fn fits<R>() -> bool {
    size_of::<R>() <= size_of::<Room>() && align_of::<R>() <= align_of::<Room>()
}

struct VerbsOf<R>(PhantomData<R>);

impl<R: Run> VerbsOf<R> {
    const VERBS: &'static Verbs = &Verbs { run: Self::run, drop: Self::drop, of: TypeId::of::<R> };

    /// Moves the closure out.
    ///
    /// # Safety
    ///
    /// `room` holds an `R` as `Closure::new` put it there, and is not used again.
    unsafe fn take(room: *mut Room) -> R {
        if fits::<R>() {
            // SAFETY: by the contract an `R` lies here, which is aligned since it fits; it is read once.
            unsafe { room.cast::<R>().read() }
        } else {
            // SAFETY: by the contract the address of a box lies here; it is read once.
            *unsafe { Box::from_raw(room.cast::<*mut R>().read()) }
        }
    }

    /// # Safety
    ///
    /// As `take`.
    unsafe fn run(room: *mut Room) -> bool {
        // SAFETY: the caller keeps the contract.
        unsafe { Self::take(room) }.run()
    }

    /// # Safety
    ///
    /// As `take`.
    unsafe fn drop(room: *mut Room) {
        // SAFETY: the caller keeps the contract.
        drop(unsafe { Self::take(room) });
    }
}

impl Closure {
    pub(super) fn new<R: Run>(work: R) -> Self {
        let mut room = Room::uninit();
        if fits::<R>() {
            // SAFETY: the room is large enough and aligned for an `R`.
            unsafe { room.as_mut_ptr().cast::<R>().write(work) };
        } else {
            // SAFETY: an address fits in the room.
            unsafe { room.as_mut_ptr().cast::<*mut R>().write(Box::into_raw(Box::new(work))) };
        }
        Self { room, verbs: VerbsOf::<R>::VERBS }
    }

    /// Runs it.
    pub(super) fn run(self) -> bool {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: the verbs are those of what lies in the room, which is not touched again: `this` is not dropped.
        unsafe { (this.verbs.run)(&raw mut this.room) }
    }

    /// The work that was made into this closure; None if that was no `R`.
    pub(super) fn into_work<R: Run>(self) -> Option<R> {
        if (self.verbs.of)() != TypeId::of::<R>() {
            return None;
        }
        let mut this = ManuallyDrop::new(self);
        // SAFETY: an `R` lies in the room, which is not touched again: `this` is not dropped.
        Some(unsafe { VerbsOf::<R>::take(&raw mut this.room) })
    }
}

impl Drop for Closure {
    fn drop(&mut self) {
        // SAFETY: the verbs are those of what lies in the room, which nobody has taken: who takes it forgets the rest.
        unsafe { (self.verbs.drop)(&raw mut self.room) }
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Work<const BYTES: usize> {
        _alive: Arc<()>,
        bytes: [u8; BYTES],
    }

    impl<const BYTES: usize> Run for Work<BYTES> {
        fn run(self) -> bool {
            self.bytes.iter().all(|&byte| byte == 7)
        }
    }

    fn each_way_drops_it_once<const BYTES: usize>() {
        let alive = Arc::new(());
        let make = || Closure::new(Work { _alive: alive.clone(), bytes: [7; BYTES] });
        assert!(make().run());
        assert_eq!(Arc::strong_count(&alive), 1);
        drop(make());
        assert_eq!(Arc::strong_count(&alive), 1);
        let work = make().into_work::<Work<BYTES>>();
        assert_eq!(Arc::strong_count(&alive), 2);
        assert!(work.is_some_and(|work| work.bytes == [7; BYTES]));
        assert!(make().into_work::<Work<3>>().is_none(), "another type");
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[test]
    fn a_closure_inline_or_boxed_is_dropped_once() {
        each_way_drops_it_once::<0>();
        each_way_drops_it_once::<40>();
        each_way_drops_it_once::<41>();
        each_way_drops_it_once::<1000>();
    }

    #[test]
    fn a_place_in_the_queue_is_one_cache_line() {
        assert_eq!(size_of::<Closure>() + size_of::<usize>(), 64);
        assert!(fits::<[u64; 6]>() && !fits::<[u64; 7]>() && !fits::<u128>() || align_of::<u128>() <= 8);
    }
}
