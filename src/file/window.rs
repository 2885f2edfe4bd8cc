//! The read window of a file: pages filled ahead by the actor, emptied by one reader at a time.
//!
//! ```text
//!   actor ──push──► [ page | page | end ] ──front, pop──► the holder of the claim
//!
//!   claim   CLAIMED            one reader, or the actor once the file closes
//!           SECOND             another reader was refused: an event is owed at the release
//!           SHUT               the actor waits for the claim: mail is owed at the release
//! ```
//!
//! Every page carries the epoch of its fill. A seek, a switch to writing and a truncate begin a new epoch, so that what
//! was read ahead for the old place is dropped on arrival. "Nothing there" and "tell me later" are one step, in the ring.
#![allow(unsafe_code, reason = "the ring and the reader's place belong to the holder of the read claim")]

use crate::queue::{Owed, Ring};
use crate::sync::{AtomicU32, AtomicU64, Ordering, UnsafeCell};

const CLAIMED: u32 = 1;
const SECOND: u32 = 1 << 1;
const SHUT: u32 = 1 << 2;

/// Pages of one window.
pub(crate) const WINDOW_PAGES: usize = 4;

/// What one fill brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled {
    /// The page as one word; null once its bytes are used up, or when there were none.
    pub(crate) page: *mut u8,
    pub(crate) len: u32,
    pub(crate) epoch: u32,
    /// The errno of the read that failed behind these bytes, or 0.
    pub(crate) errno: i32,
    /// The file ended behind these bytes.
    pub(crate) end: bool,
}

// SAFETY: a page is a right to memory that is not bound to a thread; the ring hands it from one to another.
unsafe impl Send for Filled {}

/// Where the reader stands: the claim holder's own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    /// The offset in the file of the next byte to give.
    pub(crate) offset: u64,
    /// Bytes used of the front page.
    pub(crate) cursor: u32,
    pub(crate) epoch: u32,
    /// A first try without waiting failed since the last fill.
    pub(crate) nowait_spent: bool,
    /// Fills were asked for in this epoch: the last of them may still be on its way when the actor has stopped.
    pub(crate) asked: bool,
    /// Small reads in a row that a first try answered.
    pub(crate) small_reads: u8,
    /// A call that was refused here waits for what is met here: the mark of the bytes accepted then. 0: nobody does.
    pub(crate) end_asked: u32,
}

/// What releasing the claim asks of the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Released {
    pub(crate) second: bool,
    pub(crate) shut: bool,
}

/// See the head of this file. What a reader changes with each call comes last, behind what the actor changes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct ReadSide {
    ring: Ring<Filled, WINDOW_PAGES>,
    /// The offset at which the fills of the epoch begin; the claim holder's to change.
    start: AtomicU64,
    place: UnsafeCell<Place>,
    claim: AtomicU32,
    /// The claim holder's to change.
    epoch: AtomicU32,
    /// The actor fills ahead, or has been asked to.
    ahead: AtomicU32,
    /// The actor stopped for want of room in the ring.
    paused: AtomicU32,
}

impl ReadSide {
    pub(crate) fn new() -> Self {
        Self {
            ring: Ring::new(),
            start: AtomicU64::new(0),
            place: UnsafeCell::new(Place::default()),
            // Only a file has anything to read: its life opens the claim, and its end keeps it.
            claim: AtomicU32::new(CLAIMED),
            epoch: AtomicU32::new(0),
            ahead: AtomicU32::new(0),
            paused: AtomicU32::new(0),
        }
    }

    /// The right to read; `None`: another has it, and owes an event.
    #[inline]
    pub(crate) fn claim(&self) -> Option<Reader<'_>> {
        // ORDER: Acquire pairs with the Release of `release`: the place is as the last reader left it.
        if self.claim.compare_exchange(0, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return Some(Reader { side: self });
        }
        self.claim_or_leave(SECOND)
    }

    #[cold]
    fn claim_or_leave(&self, word: u32) -> Option<Reader<'_>> {
        // ORDER: Relaxed: a first guess, checked by the exchange.
        let mut seen = self.claim.load(Ordering::Relaxed);
        loop {
            let next = if seen & CLAIMED == 0 { seen | CLAIMED } else { seen | word };
            // ORDER: AcqRel: the claim as above; the word is seen by the holder's `release`.
            match self.claim.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if seen & CLAIMED == 0 => return Some(Reader { side: self }),
                Ok(_) => return None,
                Err(now) => seen = now,
            }
        }
    }

    /// The actor's claim, to end the window. `None`: the holder will post when it is done.
    pub(crate) fn claim_to_shut(&self) -> Option<Reader<'_>> {
        self.claim_or_leave(SHUT)
    }

    /// The reader that an owning `File` is, which holds the claim for as long as it lives.
    ///
    /// # Safety
    ///
    /// The caller claimed it by [`Reader::keep`] and has not given it back, and makes one reader of it at a time.
    #[inline]
    pub(crate) unsafe fn owner(&self) -> Reader<'_> {
        Reader { side: self }
    }

    /// A new life of the slot begins. Only while the slot is the opener's alone.
    pub(crate) fn reset(&self) {
        debug_assert!(self.ring.is_empty(), "the last life gave its pages back");
        self.place.with_mut(|place| {
            // SAFETY: the slot is in nobody else's hands; see above.
            unsafe { *place = Place::default() }
        });
        let _ = self.ring.take_want();
        // ORDER: Relaxed: published with the request to open.
        self.epoch.store(0, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        self.start.store(0, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        self.ahead.store(0, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        self.paused.store(0, Ordering::Relaxed);
        // ORDER: Release: the next life's first claim sees the place.
        self.claim.store(0, Ordering::Release);
    }

    /// The actor: the epoch that is read for, and where it began.
    pub(crate) fn epoch(&self) -> (u32, u64) {
        loop {
            // ORDER: Acquire pairs with the Release in `begin_epoch`.
            let epoch = self.epoch.load(Ordering::Acquire);
            // ORDER: Acquire: read before the second look.
            let start = self.start.load(Ordering::Acquire);
            // ORDER: Relaxed behind the Acquire above; a change between the two means another round.
            if self.epoch.load(Ordering::Relaxed) == epoch {
                return (epoch, start);
            }
        }
    }

    /// The actor gives the reader something. True: the reader was refused and is owed an event.
    pub(crate) fn push(&self, filled: Filled) -> bool {
        // SAFETY: the actor is the only producer, by the right to poll.
        match unsafe { self.ring.push(filled) } {
            Ok(Owed(owed)) => owed,
            Err(_) => {
                debug_assert!(false, "the actor fills only what has room");
                false
            }
        }
    }

    /// The actor takes a wish for an event without giving anything (the file is closing or failed).
    pub(crate) fn take_want(&self) -> bool {
        self.ring.take_want()
    }

    pub(crate) fn pages(&self) -> usize {
        self.ring.len()
    }

    /// The actor stops for want of room; false when there is room after all.
    #[must_use]
    pub(crate) fn pause(&self, allowed: usize) -> bool {
        // ORDER: AcqRel: either the reader's swap in `pop` comes later and finds this, or its pop is seen below.
        self.paused.swap(1, Ordering::AcqRel);
        if self.ring.len() >= allowed {
            return true;
        }
        // ORDER: AcqRel: as above.
        self.paused.swap(0, Ordering::AcqRel);
        false
    }

    /// The actor fills no further: the next read may try without waiting, or must ask.
    pub(crate) fn stop_ahead(&self) {
        // ORDER: Release: pairs with `is_ahead`; what was pushed before is found by the reader first.
        self.ahead.store(0, Ordering::Release);
    }

    pub(crate) fn is_ahead(&self) -> bool {
        // ORDER: Acquire pairs with `stop_ahead`.
        self.ahead.load(Ordering::Acquire) != 0
    }
}

/// Where the part that a reader changes begins.
#[cfg(all(not(efio_loom), target_os = "linux", target_pointer_width = "64"))]
pub(super) const READER_PART: usize = std::mem::offset_of!(ReadSide, start);

/// The holder of the read claim.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    side: &'a ReadSide,
}

impl Reader<'_> {
    /// Where the reader stands.
    #[inline]
    pub(crate) fn place(&mut self) -> &mut Place {
        // SAFETY: the claim makes this the only access, and the borrow of `self` makes it one at a time.
        self.side.place.with_mut(|place| unsafe { &mut *place })
    }

    /// The oldest thing in the window, if it is of the present epoch; older ones go to `drop_page`.
    #[inline]
    pub(crate) fn front(&mut self, mut drop_page: impl FnMut(*mut u8)) -> Option<&mut Filled> {
        let epoch = self.place().epoch;
        loop {
            // SAFETY: the claim makes this the only consumer; the pointer is used until the next pop, which needs `self`.
            let front = unsafe { self.side.ring.front()?.as_mut() };
            if front.epoch == epoch {
                return Some(front);
            }
            if let Some(old) = self.pop() {
                drop_page(old.page);
            }
        }
    }

    /// The oldest thing in the window, if it is of the present epoch.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Option<Filled> {
        let epoch = self.place().epoch;
        // SAFETY: the claim makes this the only consumer; the value is copied before anything else happens.
        let front = unsafe { *self.side.ring.front()?.as_ptr() };
        (front.epoch == epoch).then_some(front)
    }

    /// What lies `at` places behind the front, if it continues the bytes of the front: of the same epoch, with no end and
    /// no error between.
    pub(crate) fn behind_front(&mut self, at: usize) -> Option<Filled> {
        let epoch = self.place().epoch;
        let look = |at| {
            // SAFETY: the claim makes this the only consumer; the value is copied before anything else happens.
            let filled = unsafe { *self.side.ring.nth(at)?.as_ptr() };
            (filled.epoch == epoch).then_some(filled)
        };
        let before = look(at.checked_sub(1)?)?;
        let plain = !before.end && before.errno == 0;
        look(at).filter(|filled| plain && filled.len > 0 && !filled.page.is_null())
    }

    /// Takes the oldest thing out of the window.
    pub(crate) fn pop(&mut self) -> Option<Filled> {
        self.place().cursor = 0;
        // SAFETY: the claim makes this the only consumer; no pointer from `front` outlives a borrow of `self`.
        unsafe { self.side.ring.pop() }
    }

    /// After pops: whether the actor waits for the room they made.
    #[must_use]
    pub(crate) fn was_paused(&self) -> bool {
        // ORDER: AcqRel: see `ReadSide::pause`.
        self.side.paused.swap(0, Ordering::AcqRel) != 0
    }

    /// Asks to be told when something arrives; false: something has.
    #[must_use]
    pub(crate) fn want(&mut self) -> bool {
        // SAFETY: the claim makes this the only consumer.
        unsafe { self.side.ring.want() }
    }

    /// Says that the actor is to fill ahead from here; true when it was not doing so.
    #[must_use]
    pub(crate) fn ask_ahead(&mut self) -> bool {
        // ORDER: AcqRel: one asks; ordered after the actor's `stop_ahead`.
        self.side.ahead.swap(1, Ordering::AcqRel) == 0
    }

    /// Moves to another offset: what was read ahead is for the old one.
    pub(crate) fn begin_epoch(&mut self, offset: u64) {
        let place = self.place();
        *place = Place { offset, epoch: place.epoch.wrapping_add(1), ..Place::default() };
        let epoch = place.epoch;
        // ORDER: Relaxed, before the Release of the epoch: an actor that sees that one does not take the wish for the old
        // one for a wish for it. Nobody is asked to fill the new epoch yet.
        self.side.ahead.store(0, Ordering::Relaxed);
        // ORDER: Release: read by `ReadSide::epoch` before its second look.
        self.side.start.store(offset, Ordering::Release);
        // ORDER: Release publishes the start, and that no wish is left.
        self.side.epoch.store(epoch, Ordering::Release);
    }

    /// Gives the claim back.
    #[inline]
    pub(crate) fn release(self) -> Released {
        // ORDER: AcqRel: Release hands the place on; Acquire: what the refused ones wrote before is visible.
        let before = self.side.claim.swap(0, Ordering::AcqRel);
        Released { second: before & SECOND != 0, shut: before & SHUT != 0 }
    }

    /// Keeps the claim beyond this value: the holder is an owning `File`, or the file ends.
    pub(crate) fn keep(self) {}
}
