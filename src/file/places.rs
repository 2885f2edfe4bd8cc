//! Places: where a file's reads by offset wait for their bytes.
//!
//! ```text
//!   FREE ──ask──► ASKED ──the actor──► BUSY ──the job is done──► DONE ──taken, or displaced──► FREE
//! ```
//!
//! Who holds the read claim asks and takes; the actor moves a place from ASKED to DONE. A write by offset that overlaps a
//! place in use marks it STALE, whoever makes it: either that write finds the place, or the place's barrier counts the
//! write, since each publishes before a fence and looks behind it. What was read into a stale place is not given out.

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

/// Reads by offset of one file that can be under way at a time.
pub(crate) const PLACES: usize = 4;

const FREE: u32 = 0;
const ASKED: u32 = 1;
const BUSY: u32 = 2;
const DONE: u32 = 3;
const STATE: u32 = 3;
/// Overlapping bytes were accepted since the asking.
const STALE: u32 = 1 << 2;

/// What is read, and what had been accepted when it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) offset: u64,
    pub(crate) len: u32,
    /// How often the place of writing had moved, or the size been changed.
    pub(crate) moves: u32,
    /// The bytes accepted before, which are to be in the file before it is read.
    pub(crate) barrier: u64,
    /// Where in the file the next accepted byte would have gone.
    pub(crate) end: u64,
}

/// What was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetched {
    /// The page as one word, or null.
    pub(crate) page: *mut u8,
    pub(crate) len: u32,
    pub(crate) errno: i32,
}

/// Where a place stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Free,
    Waiting,
    Done { stale: bool },
}

#[derive(Debug)]
struct Place {
    word: AtomicU32,
    len: AtomicU32,
    moves: AtomicU32,
    fetched: AtomicU32,
    errno: AtomicU32,
    offset: AtomicU64,
    barrier: AtomicU64,
    end: AtomicU64,
    page: AtomicPtr<u8>,
}

impl Place {
    fn new() -> Self {
        Self {
            word: AtomicU32::new(FREE),
            len: AtomicU32::new(0),
            moves: AtomicU32::new(0),
            fetched: AtomicU32::new(0),
            errno: AtomicU32::new(0),
            offset: AtomicU64::new(0),
            barrier: AtomicU64::new(0),
            end: AtomicU64::new(0),
            page: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    fn wish(&self) -> Wish {
        Wish {
            // ORDER: Relaxed: published by ASKED, which whoever calls has acquired or set itself.
            offset: self.offset.load(Ordering::Relaxed),
            // ORDER: Relaxed: as above.
            len: self.len.load(Ordering::Relaxed),
            // ORDER: Relaxed: as above.
            moves: self.moves.load(Ordering::Relaxed),
            // ORDER: Relaxed: as above.
            barrier: self.barrier.load(Ordering::Relaxed),
            // ORDER: Relaxed: as above.
            end: self.end.load(Ordering::Relaxed),
        }
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Places {
    places: [Place; PLACES],
    /// A read was refused while its bytes were on their way.
    want: AtomicU32,
    /// How often the place of writing moved, or the size was changed.
    moves: AtomicU32,
    /// The place that makes way next: the claim holder's.
    next: AtomicU32,
}

impl Places {
    pub(crate) fn new() -> Self {
        Self {
            places: std::array::from_fn(|_| Place::new()),
            want: AtomicU32::new(0),
            moves: AtomicU32::new(0),
            next: AtomicU32::new(0),
        }
    }

    /// Writing goes on elsewhere, or the size changes: what was read before is not what the file holds.
    pub(crate) fn moved(&self) {
        // ORDER: AcqRel: a count, seen by whoever is told of the move.
        self.moves.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn moves(&self) -> u32 {
        // ORDER: Acquire pairs with `moved`.
        self.moves.load(Ordering::Acquire)
    }

    /// A write by offset, published by now and followed by a fence (`Slot::overwritten`), which pairs with the one in `ask`:
    /// what was asked for there is stale. Either this finds the place, or its barrier counts the write.
    pub(crate) fn overwritten(&self, offset: u64, len: u64) {
        for place in &self.places {
            // ORDER: Acquire pairs with the Release of ASKED in `ask`: the wish is whole.
            let seen = place.word.load(Ordering::Acquire);
            let wish = place.wish();
            let apart = wish.offset >= offset.saturating_add(len)
                || offset >= wish.offset.saturating_add(u64::from(wish.len));
            if seen & STATE != FREE && !apart {
                // ORDER: AcqRel: seen by `stand`. A place that changed hands meanwhile is read once more, for nothing.
                place.word.fetch_or(STALE, Ordering::AcqRel);
            }
        }
    }

    /// The claim holder: the place in use for `offset`, and how it stands.
    pub(crate) fn find(&self, offset: u64) -> Option<(usize, Stand)> {
        (0..PLACES).find_map(|index| match self.stand(index) {
            Stand::Free => None,
            stand => (self.places[index].wish().offset == offset).then_some((index, stand)),
        })
    }

    /// The claim holder: how a place stands.
    pub(crate) fn stand(&self, index: usize) -> Stand {
        // ORDER: Acquire pairs with `done`: what was read is there.
        let seen = self.places[index].word.load(Ordering::Acquire);
        match seen & STATE {
            FREE => Stand::Free,
            DONE => Stand::Done { stale: seen & STALE != 0 },
            _ => Stand::Waiting,
        }
    }

    pub(crate) fn wish(&self, index: usize) -> Wish {
        self.places[index].wish()
    }

    /// The claim holder: a place for another wish; one whose bytes nobody came for makes way, the next in turn.
    /// `None`: all of them wait for their bytes.
    pub(crate) fn vacate(&self, drop_page: impl Fn(*mut u8)) -> Option<usize> {
        if let Some(free) = (0..PLACES).find(|index| self.stand(*index) == Stand::Free) {
            return Some(free);
        }
        // ORDER: Relaxed: the claim holder's own.
        let from = self.next.load(Ordering::Relaxed) as usize;
        let index = (from..from + PLACES)
            .map(|index| index % PLACES)
            .find(|index| matches!(self.stand(*index), Stand::Done { .. }))?;
        // ORDER: Relaxed: as above.
        self.next.store((index + 1) as u32, Ordering::Relaxed);
        drop_page(self.take(index).page);
        Some(index)
    }

    /// The claim holder: asks. `wish` is called when the place can be found by whoever writes by offset, and says what had
    /// been accepted by then; it gets `offset` and `len` back.
    pub(crate) fn ask(&self, index: usize, offset: u64, len: u32, wish: impl FnOnce() -> Wish) {
        let place = &self.places[index];
        // ORDER: Relaxed: published by the swap below.
        place.offset.store(offset, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        place.len.store(len, Ordering::Relaxed);
        // ORDER: AcqRel: publishes the range to `overwritten`. The actor passes over BUSY.
        place.word.swap(BUSY, Ordering::AcqRel);
        // ORDER: SeqCst pairs with the fence in `Slot::overwritten`.
        fence(Ordering::SeqCst);
        let wish = wish();
        // ORDER: Relaxed: published by ASKED below.
        place.moves.store(wish.moves, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        place.barrier.store(wish.barrier, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        place.end.store(wish.end, Ordering::Relaxed);
        // ORDER: AcqRel: BUSY becomes ASKED; STALE stays.
        place.word.fetch_xor(BUSY ^ ASKED, Ordering::AcqRel);
    }

    /// The claim holder takes what was read.
    pub(crate) fn take(&self, index: usize) -> Fetched {
        let place = &self.places[index];
        // ORDER: Relaxed: published by DONE, which the claim holder has seen.
        let page = place.page.swap(std::ptr::null_mut(), Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        let (len, errno) =
            (place.fetched.load(Ordering::Relaxed), place.errno.load(Ordering::Relaxed) as i32);
        // ORDER: AcqRel: the place is free for the next wish.
        place.word.swap(FREE, Ordering::AcqRel);
        Fetched { page, len, errno }
    }

    /// The actor: the wishes that wait to be begun.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (usize, Wish)> + '_ {
        // ORDER: Acquire pairs with `ask`.
        let is_asked = |place: &Place| place.word.load(Ordering::Acquire) & STATE == ASKED;
        (0..PLACES).filter(move |index| is_asked(&self.places[*index])).map(|index| (index, self.wish(index)))
    }

    /// The actor begins: ASKED → BUSY. The page is its job's until `done`.
    pub(crate) fn begin(&self, index: usize, page: *mut u8) {
        // ORDER: Relaxed: the actor's until DONE.
        self.places[index].page.store(page, Ordering::Relaxed);
        // ORDER: AcqRel: STALE stays.
        self.places[index].word.fetch_xor(BUSY ^ ASKED, Ordering::AcqRel);
    }

    /// The actor: the page of a read under way.
    pub(crate) fn page(&self, index: usize) -> *mut u8 {
        // ORDER: Relaxed: the actor's own.
        self.places[index].page.load(Ordering::Relaxed)
    }

    /// The actor: what was read, or that it could not be. True: a reader was refused and is owed an event.
    pub(crate) fn done(&self, index: usize, fetched: Fetched) -> bool {
        let place = &self.places[index];
        // ORDER: Relaxed: published by DONE below.
        place.page.store(fetched.page, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        place.fetched.store(fetched.len, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        place.errno.store(fetched.errno as u32, Ordering::Relaxed);
        // ORDER: AcqRel: publishes what was read to `stand`.
        place.word.fetch_or(DONE, Ordering::AcqRel);
        self.take_want()
    }

    /// The claim holder was refused. Set before it looks once more.
    pub(crate) fn set_want(&self) {
        // ORDER: SeqCst: before the second look; pairs with `take_want`, which comes behind DONE.
        self.want.swap(1, Ordering::SeqCst);
    }

    /// The actor takes the wish for an event.
    pub(crate) fn take_want(&self) -> bool {
        // ORDER: SeqCst: behind DONE; pairs with `set_want`.
        self.want.swap(0, Ordering::SeqCst) != 0
    }

    /// The actor, holding the claim for good: nothing is in use any more.
    pub(crate) fn clear(&self, drop_page: impl Fn(*mut u8)) {
        for index in 0..PLACES {
            drop_page(self.take(index).page);
        }
        let _ = self.take_want();
    }
}
