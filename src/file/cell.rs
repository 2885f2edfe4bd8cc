//! Cell: one page that is open for appending; below its position bytes never change, above it the writers work.
//!
//! ```text
//! word     generation:32 | flags:3 | page:2 | writers:6 | position:21
//!
//! EMPTY ──claim──► OPENING ──open──► OPEN ──seal──► OPEN|SEALED ──writers 0──► EMPTY (position kept)
//!   ▲                 │               │ ▲               ▲
//!   └────── undo ─────┘          lend ▼ │ give_back     │
//!                                    OPEN|LENT ─────────┘
//! ```
//!
//! - *Reserve* is one compare-exchange: it checks generation, OPEN and not SEALED, moves the position and counts the
//!   writer in. *Commit* counts it out. Nobody waits for another writer: a writer that is held up keeps its page from
//!   being handed over, and nothing else.
//! - The one who brings the writers of a sealed cell to 0 is its *completer* and takes the page out; the one who seals
//!   a cell without writers is it at once. So there is exactly one.
//! - OPENING is a right of one thread: it fills in the plain fields, then publishes them by OPEN. Until then no close can
//!   end, so the slot stays this file's.
//! - LENT gives the room above the position to one caller, who alone changes the word until it gives the room back. What
//!   lies below stands still meanwhile, so the flusher goes on. (The bit is OPENING's: a page is never being opened twice.)
//! - The position stays in the word after completion: the next opener reads from it where this page ended.
//!
//! An owning `File` writes the word by plain stores, since no one else moves its position: see
//! [`owner_publish`](Cell::owner_publish).

use crate::page::Class;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

const POSITION: u64 = (1 << 21) - 1;
const WRITER: u64 = 1 << 21;
const WRITERS: u64 = 0x3f << 21;
/// The size of the open page: 0 for none, else its class, from 1.
const PAGE: u64 = 3 << PAGE_SHIFT;
const PAGE_SHIFT: u32 = 27;
const SEALED: u64 = 1 << 29;
const OPENING: u64 = 1 << 30;
/// Of an open page: the room above its position is lent.
const LENT: u64 = OPENING;
/// The page is the owning `File`'s alone.
const OWNER: u64 = 1 << 31;
const FLAGS: u64 = PAGE | SEALED | OPENING | OWNER;
/// The bytes of a page, by what the word says of its size.
const SIZES: [u32; 4] =
    [0, Class::Small.bytes() as u32, Class::Medium.bytes() as u32, Class::Large.bytes() as u32];

/// One reading of a cell's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    #[inline]
    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(crate) const fn position(self) -> u32 {
        (self.0 & POSITION) as u32
    }

    #[inline]
    pub(crate) const fn writers(self) -> u32 {
        ((self.0 & WRITERS) >> 21) as u32
    }

    /// Has a page, sealed or not.
    pub(crate) const fn is_open(self) -> bool {
        self.0 & PAGE != 0
    }

    /// The bytes of the page, 0 without one.
    #[inline]
    pub(crate) const fn capacity(self) -> u32 {
        SIZES[(self.0 >> PAGE_SHIFT & 3) as usize]
    }

    /// Takes writes by descriptor.
    #[inline]
    pub(crate) const fn takes_writes(self) -> bool {
        self.is_open() && self.0 & (SEALED | OWNER | LENT) == 0
    }

    /// Its page is open, and the room in it is lent.
    pub(crate) const fn is_lent(self) -> bool {
        self.is_open() && self.0 & LENT != 0
    }

    /// Is the open page of an owning `File`.
    pub(crate) const fn is_owners(self) -> bool {
        self.is_open() && self.0 & OWNER != 0
    }

    /// Somebody is setting the cell up.
    pub(crate) const fn is_opening(self) -> bool {
        !self.is_open() && self.0 & OPENING != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 & FLAGS == 0
    }

    const fn empty(generation: u32, position: u32) -> Self {
        Self((generation as u64) << 32 | position as u64)
    }
}

/// What a reservation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Reserve {
    /// `bytes` at `position` are the caller's to fill and then to commit.
    Granted { position: u32, bytes: u32 },
    /// The handle belongs to another life of the slot.
    Stale,
    /// The page has no room for it.
    Full,
    /// There is no page open here.
    NotOpen,
    /// 63 writers are at work in this page.
    Crowded,
}

/// What asking for the room of a page came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Lend {
    /// The room above the position is the caller's until it gives it back.
    Granted,
    /// The handle belongs to another life of the slot.
    Stale,
    /// The page has less room.
    Full,
    /// There is no page open here, or it is lent already.
    NotOpen,
    /// A writer is at work in the page.
    Busy,
}

/// Whether the caller has become the completer of the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Completer {
    Yes,
    No,
}

/// Where the bytes of a cell lie: set under OPENING, read by anyone who saw OPEN, and by the next opener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Placement {
    /// The number of the page in its file's order, from 1.
    pub(crate) sequence: u32,
    /// The offset in the file of the page's first byte; without meaning for an append file.
    pub(crate) base: u64,
    /// The bytes accepted before the page's first.
    pub(crate) start: u64,
}

/// One append cell.
#[derive(Debug)]
pub(crate) struct Cell {
    word: AtomicU64,
    page: AtomicPtr<u8>,
    capacity: AtomicU32,
    sequence: AtomicU32,
    base: AtomicU64,
    start: AtomicU64,
}

impl Cell {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            page: AtomicPtr::new(std::ptr::null_mut()),
            capacity: AtomicU32::new(0),
            sequence: AtomicU32::new(0),
            base: AtomicU64::new(0),
            start: AtomicU64::new(0),
        }
    }

    /// A new life of the slot begins: empty, at position 0. Only while the slot is OPENING and has no page.
    pub(crate) fn reset(&self, generation: u32, placement: Placement) {
        self.place(placement);
        // ORDER: AcqRel: publishes the placement to the first opener; a swap, since a late claim of the last life may come
        // between, which is wiped by this or fails after it.
        self.word.swap(Word::empty(generation, 0).0, Ordering::AcqRel);
    }

    #[inline]
    pub(crate) fn load(&self) -> Word {
        // ORDER: Acquire: sees the bytes of every commit up to the position when no writer is in, and the page of OPEN.
        Word(self.word.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn page(&self) -> *mut u8 {
        // ORDER: Relaxed: set before OPEN is published by `open`, which the reader of the word has acquired.
        self.page.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn capacity(&self) -> u32 {
        // ORDER: Relaxed: as `page`.
        self.capacity.load(Ordering::Relaxed)
    }

    pub(crate) fn placement(&self) -> Placement {
        Placement {
            // ORDER: Relaxed: as `page`; a reader that is not the opener checks the word again afterwards.
            sequence: self.sequence.load(Ordering::Relaxed),
            // ORDER: Relaxed: as above.
            base: self.base.load(Ordering::Relaxed),
            // ORDER: Relaxed: as above.
            start: self.start.load(Ordering::Relaxed),
        }
    }

    fn place(&self, placement: Placement) {
        // ORDER: Relaxed: published by the Release of the word that follows.
        self.sequence.store(placement.sequence, Ordering::Relaxed);
        // ORDER: Release pairs with the Acquire fences in `WriteSide::end` and `quiet_part`, which read beside the word:
        // who sees anything stored below sees the new number, and the `current` that its opener had seen.
        fence(Ordering::Release);
        // ORDER: Relaxed: as above.
        self.base.store(placement.base, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        self.start.store(placement.start, Ordering::Relaxed);
    }

    /// Reserves room for `len` bytes; one longer than `whole` takes what room there is.
    #[inline]
    pub(crate) fn reserve(&self, generation: u32, len: usize, whole: usize) -> Reserve {
        // The word alone says what room there is: a capacity read from beside it could be that of an older page whose
        // word looked the same, and the reservation would reach beyond the end of this one.
        // ORDER: Acquire: as the exchange below.
        let mut seen = Word(self.word.load(Ordering::Acquire));
        loop {
            if seen.generation() != generation {
                return Reserve::Stale;
            }
            if !seen.takes_writes() {
                return Reserve::NotOpen;
            }
            if seen.0 & WRITERS == WRITERS {
                return Reserve::Crowded;
            }
            let room = (seen.capacity() - seen.position()) as usize;
            let bytes = if len <= room {
                len
            } else if len <= whole || room == 0 {
                return Reserve::Full;
            } else {
                room
            };
            let next = seen.0 + WRITER + bytes as u64;
            // ORDER: Acquire: sees the page that `open` published. As a read-modify-write it carries on the release
            // sequence of earlier commits, so a reader of a quiet word sees all their bytes.
            match self.word.compare_exchange_weak(seen.0, next, Ordering::Acquire, Ordering::Acquire) {
                // The page holds at most 2^20 bytes, so both fit.
                Ok(_) => return Reserve::Granted { position: seen.position(), bytes: bytes as u32 },
                Err(now) => seen = Word(now),
            }
        }
    }

    /// Counts the writer out again, its bytes being in the page.
    #[inline]
    pub(crate) fn commit(&self) -> Completer {
        // ORDER: Release publishes the bytes to whoever acquires the quiet word; Acquire lets the completer see those
        // of every other writer.
        let before = Word(self.word.fetch_sub(WRITER, Ordering::AcqRel));
        debug_assert!(before.writers() > 0, "a commit follows its reserve");
        if before.writers() == 1 && before.0 & SEALED != 0 { Completer::Yes } else { Completer::No }
    }

    /// Takes the room above the position, of `least` bytes or more, for one caller.
    pub(crate) fn lend(&self, generation: u32, least: usize) -> Lend {
        let mut seen = self.load();
        loop {
            if seen.generation() != generation {
                return Lend::Stale;
            }
            if !seen.takes_writes() {
                return Lend::NotOpen;
            }
            if ((seen.capacity() - seen.position()) as usize) < least {
                return Lend::Full;
            }
            // A writer that left a lent page would have nobody to tell that the page is quiet.
            if seen.writers() > 0 {
                return Lend::Busy;
            }
            // ORDER: AcqRel: sees the page and the commits before it, which `give_back` passes on.
            match self.word.compare_exchange_weak(seen.0, seen.0 | LENT, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Lend::Granted,
                Err(now) => seen = Word(now),
            }
        }
    }

    /// The borrower gives the room back, the first `bytes` of it filled. With `seal` no more is taken here, and the caller
    /// is the completer.
    pub(crate) fn give_back(&self, bytes: u32, seal: bool) {
        let word = self.load();
        debug_assert!(word.is_lent() && word.position() + bytes <= word.capacity(), "only what was lent");
        let next = (word.0 & !LENT | if seal { SEALED } else { 0 }) + u64::from(bytes);
        // ORDER: Release publishes the bytes to whoever acquires the word; the borrower alone changes it while it is lent.
        self.word.store(next, Ordering::Release);
    }

    /// Closes the cell to further writes. `None`: there was no page open to seal.
    pub(crate) fn seal(&self, generation: u32) -> Option<Completer> {
        let mut seen = self.load();
        loop {
            if seen.generation() != generation || !seen.takes_writes() {
                return None;
            }
            // ORDER: AcqRel: carries on the release sequence of the commits; as completer, sees their bytes.
            match self.word.compare_exchange_weak(
                seen.0,
                seen.0 | SEALED,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) if seen.writers() == 0 => return Some(Completer::Yes),
                Ok(_) => return Some(Completer::No),
                Err(now) => seen = Word(now),
            }
        }
    }

    /// EMPTY → OPENING: the right to set up the cell.
    #[must_use]
    pub(crate) fn claim(&self, generation: u32) -> bool {
        let seen = self.load();
        seen.generation() == generation
            && seen.is_empty()
            // ORDER: AcqRel: sees the completion that emptied it, and is ordered before `open` or `undo`.
            && self.word.compare_exchange(seen.0, seen.0 | OPENING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// OPENING → EMPTY: nothing was set up. A claim that came too late, when the slot's life was over, may have been wiped
    /// by the next one, whose word this leaves alone.
    pub(crate) fn undo(&self, generation: u32) {
        let mut seen = self.load();
        while seen.generation() == generation && seen.0 & OPENING != 0 && !seen.is_open() {
            // ORDER: AcqRel: gives the right to the next `claim`.
            match self.word.compare_exchange_weak(
                seen.0,
                seen.0 & !OPENING,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return,
                Err(now) => seen = Word(now),
            }
        }
    }

    /// Under OPENING: where the bytes of this cell begin. From here on it stands at position 0, so that it may become
    /// `current`; `open` or `leave_empty` follows.
    pub(crate) fn prepare(&self, placement: Placement) {
        self.place(placement);
        // ORDER: Release publishes the placement with the position; no one else changes the word under OPENING.
        self.word.store(Word::empty(self.load().generation(), 0).0 | OPENING, Ordering::Release);
    }

    /// OPENING → EMPTY, as prepared: the next page begins there (a seek).
    pub(crate) fn leave_empty(&self) {
        // ORDER: Release publishes the placement to the next opener; no one else changes the word under OPENING.
        self.word.store(Word::empty(self.load().generation(), 0).0, Ordering::Release);
    }

    /// OPENING → OPEN with a page, as prepared.
    pub(crate) fn open(&self, page: *mut u8, class: Class, owner: bool) {
        self.open_as(page, class, if owner { OWNER } else { 0 });
    }

    /// OPENING → OPEN with a page whose room is the opener's own until it gives it back.
    pub(crate) fn open_lent(&self, page: *mut u8, class: Class) {
        self.open_as(page, class, LENT);
    }

    fn open_as(&self, page: *mut u8, class: Class, flags: u64) {
        // ORDER: Relaxed: published by the Release below.
        self.page.store(page, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        self.capacity.store(class.bytes() as u32, Ordering::Relaxed);
        let generation = u64::from(self.load().generation()) << 32;
        let size = (class as u64 + 1) << PAGE_SHIFT;
        // ORDER: Release publishes page, capacity and placement to `reserve`; no one else changes the word under OPENING.
        self.word.store(generation | size | flags, Ordering::Release);
    }

    /// The completer takes the page out: its place, its capacity, its length.
    pub(crate) fn complete(&self) -> (*mut u8, u32, u32) {
        let word = self.load();
        debug_assert!(word.is_open() && word.writers() == 0, "only the completer empties a cell");
        (self.page(), self.capacity(), word.position())
    }

    /// The completer, having handed the page over, lets the cell be opened again.
    pub(crate) fn empty(&self) {
        let word = self.load();
        // ORDER: AcqRel: the swap publishes that the page is gone to the next `claim`; a sealed cell without writers
        // has no other change.
        self.word.swap(Word::empty(word.generation(), word.position()).0, Ordering::AcqRel);
    }

    /// The owning `File` publishes its position by a plain store: it is the only one that moves it.
    #[inline]
    pub(crate) fn owner_publish(&self, high: u64, position: u32) {
        // ORDER: Release publishes the bytes below `position` to the flusher's `load`.
        self.word.store(high | u64::from(position), Ordering::Release);
    }

    /// The owner gives its page up, which makes it the completer; false when it has none here.
    #[must_use]
    pub(crate) fn owner_seal(&self) -> bool {
        let word = self.load();
        if !word.is_owners() {
            return false;
        }
        // ORDER: Release: as `owner_publish`; the owner alone changes the word of its page.
        self.word.store(word.0 & !OWNER | SEALED, Ordering::Release);
        true
    }

    /// The part of the word that stays while the owner's page is open.
    pub(crate) fn owner_high(&self) -> u64 {
        self.load().0 & !(POSITION | WRITERS)
    }
}
