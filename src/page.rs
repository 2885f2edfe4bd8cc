//! Pages: aligned buffers of a bounded pool, taken and put back without a lock or a system call.
//!
//! ```text
//!  region   | floor: limit/16, small pages only | block | block | block | …        (1 MiB blocks)
//!                                                   │       │       └ unused: only address space
//!                                                   │       └ 16 medium pages of 64 KiB
//!                                                   └ 256 small pages of 4 KiB
//!  free     floor ▼   small ▼   medium ▼   large ▼           one stack each: last put, first taken
//! ```
//!
//! A caller's `take` pops a stack and does nothing else. Memory is touched for the first time by an
//! engine thread, in [`Pool::refill`], which cuts unused blocks for classes that run low; when none
//! is left and a take has failed, it gathers blocks that are wholly free in another class.
//!
//! Invariants:
//! - A page is on one stack or in one [`Page`]; who has the `Page` has the memory, until `put`.
//! - The region begins as zeroes, and what is on a stack has been touched, so taking and filling a page
//!   never waits for the system to find memory.
//! - A block belongs to one class, or to none; only the holder of the `blocks` lock changes that, and
//!   only while every page of the block is in that thread's hands.
//! - Floor pages lie below the `floor` granule and are on no other stack: the reserve cannot be eaten
//!   by a file that already holds a page.

#![allow(unsafe_code, reason = "pages are parts of one region of raw memory")]

use crate::queue::{IndexStack, Links};
use crate::sync::region::Region;
use crate::sync::{AtomicU32, AtomicUsize, CachePadded, Mutex, Ordering, lock, zeroed};
use std::io;
use std::ptr::NonNull;

mod blocks;

use blocks::Blocks;

/// Bytes of a granule, the unit of indexes: the smallest page.
const GRANULE: usize = 4 << 10;
/// Granules of a block, the unit of cutting: the largest page. Small under loom, which tracks each.
const BLOCK: u32 = if cfg!(efio_loom) { 4 } else { 256 };
/// Granules of a medium page.
const MEDIUM: u32 = if cfg!(efio_loom) { 2 } else { 16 };
/// Alignment of the region, in bytes: that of its blocks, and of what the processor can map in one piece.
const REGION_ALIGNMENT: usize = 2 << 20;
/// So many bytes behind the floor are asked for as huge pages: what a few busy files go round in. Not more: see
/// [`Region`].
const HUGE_BYTES: usize = 16 << 20;
/// One part in so many of the region is the floor: a medium page per block, so that what it leaves of
/// its last block can be cut into pages of every class but large.
const FLOOR_SHARE: u32 = BLOCK / MEDIUM;

/// A size of pages. (Under loom medium and large are smaller: ask [`Class::bytes`].)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Class {
    /// 4 KiB.
    Small = 0,
    /// 64 KiB.
    Medium = 1,
    /// 1 MiB.
    Large = 2,
}

impl Class {
    /// All classes, smallest first.
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// Bytes of a page of this class.
    pub(crate) const fn bytes(self) -> usize {
        self.granules() as usize * GRANULE
    }

    const fn granules(self) -> u32 {
        match self {
            Self::Small => 1,
            Self::Medium => MEDIUM,
            Self::Large => BLOCK,
        }
    }

    /// Free pages below which the class is low.
    const fn low_water(self) -> u32 {
        match self {
            _ if cfg!(efio_loom) => 1,
            Self::Small => 32,
            Self::Medium => 4,
            Self::Large => 1,
        }
    }

    /// Free pages at the start: a module whose files hold a few pages is not low from its first write on.
    const fn plenty(self) -> u32 {
        2 * self.low_water()
    }

    const fn from_tag(tag: usize) -> Self {
        match tag & TAG_CLASS {
            0 => Self::Small,
            1 => Self::Medium,
            _ => Self::Large,
        }
    }
}

/// The bits of a raw page that say its class.
const TAG_CLASS: usize = 0b011;
/// The bit of a raw page that says it belongs to the floor.
const TAG_FLOOR: usize = 0b100;

/// One page, the right to its memory. Goes back by [`Pool::put`]; dropped, its memory stays lost
/// to the pool until that ends (and a debug build panics).
#[derive(Debug)]
#[must_use = "a page goes back by Pool::put"]
pub(crate) struct Page {
    memory: NonNull<u8>,
    class: Class,
    floor: bool,
}

// SAFETY: a page is the sole right to its memory, as a Box<[u8]> would be.
unsafe impl Send for Page {}
// SAFETY: a shared page only gives out its address.
unsafe impl Sync for Page {}

impl Page {
    /// The first byte. Good for [`capacity`](Self::capacity) bytes, while the pool lives and the page
    /// is not put back. The bytes are initialised, with whatever the last holder left.
    #[inline]
    pub(crate) fn as_ptr(&self) -> NonNull<u8> {
        self.memory
    }

    /// Bytes of the page.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.class.bytes()
    }

    /// Bytes of the page that a word of [`Page::into_raw`] stands for.
    pub(crate) fn capacity_of(raw: *mut u8) -> usize {
        Class::from_tag(raw.addr() & (TAG_CLASS | TAG_FLOOR)).bytes()
    }

    /// The size of the page.
    #[inline]
    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// The page as one word, for an `AtomicPtr<u8>`; never null. Its low bits are not zero: only
    /// [`from_raw`](Self::from_raw) can make use of it.
    #[inline]
    pub(crate) fn into_raw(self) -> *mut u8 {
        let tag = self.class as usize | if self.floor { TAG_FLOOR } else { 0 };
        let raw = self.memory.as_ptr().map_addr(|address| address | tag);
        std::mem::forget(self);
        raw
    }

    /// The page of a word.
    ///
    /// # Safety
    ///
    /// `raw` came from [`into_raw`](Self::into_raw) and is turned back once.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: *mut u8) -> Self {
        let tag = raw.addr() & (TAG_CLASS | TAG_FLOOR);
        let memory = raw.map_addr(|address| address & !(TAG_CLASS | TAG_FLOOR));
        // SAFETY: it was a NonNull aligned to a granule before `into_raw` set bits below that.
        let memory = unsafe { NonNull::new_unchecked(memory) };
        Self { memory, class: Class::from_tag(tag), floor: tag & TAG_FLOOR != 0 }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        debug_assert!(std::thread::panicking(), "a page was dropped instead of put back");
    }
}

/// How many pages of each class are ready when the pool starts, as far as the limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefill {
    pub(crate) small: u32,
    pub(crate) medium: u32,
    pub(crate) large: u32,
}

impl Default for Prefill {
    fn default() -> Self {
        Self { small: Class::Small.plenty(), medium: Class::Medium.plenty(), large: Class::Large.plenty() }
    }
}

/// The links of free pages, one per granule; a page uses that of its first.
struct Granules(Box<[AtomicU32]>);

impl Links for Granules {
    #[inline]
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.0[index as usize]
    }
}

/// Free pages of one class.
struct Shelf {
    stack: IndexStack,
    /// At least the pages on the stack: added before a push, taken off after a pop.
    free: AtomicU32,
    /// Pages of this shelf that there are, free or not. Only the holder of the `blocks` lock changes it.
    all: AtomicU32,
}

/// The place of the floor among the shelves, after those of the classes.
const FLOOR_SHELF: usize = Class::ALL.len();
/// Free pages of the floor below which it is low.
const FLOOR_LOW_WATER: u32 = if cfg!(efio_loom) { 1 } else { 64 };

/// The bounded pool of pages; see the head of this file.
pub(crate) struct Pool {
    region: Region,
    /// Bytes of the region.
    limit: usize,
    granules: Granules,
    shelves: [CachePadded<Shelf>; FLOOR_SHELF + 1],
    /// The first granule that is not the floor's.
    floor: u32,
    in_use: CachePadded<AtomicUsize>,
    /// Per shelf a LOW bit and a FAILED bit: what `refill` is wanted for.
    wants: CachePadded<AtomicU32>,
    /// Granules never cut, plus those of gathered blocks: is there anything to cut? A hint.
    uncut: AtomicU32,
    uncut_floor: AtomicU32,
    blocks: Mutex<Blocks>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Pool")
            .field("bytes_limit", &self.bytes_limit())
            .field("bytes_in_use", &self.bytes_in_use())
            .finish_non_exhaustive()
    }
}

const fn low_bit(shelf: usize) -> u32 {
    1 << shelf
}

const fn failed_bit(shelf: usize) -> u32 {
    1 << (shelf + 8)
}

impl Pool {
    /// A pool of `limit_bytes`, rounded up to whole MiB, with `initial` pages ready.
    ///
    /// # Errors
    ///
    /// The limit is zero or beyond 1 TiB ([`io::ErrorKind::InvalidInput`]), or the memory is refused
    /// ([`io::ErrorKind::OutOfMemory`]).
    pub(crate) fn new(limit_bytes: usize, initial: Prefill) -> io::Result<Self> {
        let block_bytes = Class::Large.bytes();
        let count = limit_bytes.div_ceil(block_bytes);
        if count == 0 || count > (1 << 20) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let refused = || io::Error::from(io::ErrorKind::OutOfMemory);
        let granules = count as u32 * BLOCK;
        let floor = granules / FLOOR_SHARE;
        let links = zeroed::array(granules as usize).ok_or_else(refused)?;
        let blocks = Blocks::new(granules, floor).ok_or_else(refused)?;
        let limit = count * block_bytes;
        let region = Region::new(limit, REGION_ALIGNMENT).ok_or_else(refused)?;
        let first = floor as usize * GRANULE;
        region.prefer_huge(first, HUGE_BYTES.min(limit - first));
        let pool = Self {
            region,
            limit,
            granules: Granules(links),
            shelves: std::array::from_fn(|_| {
                CachePadded::new(Shelf {
                    stack: IndexStack::new(),
                    free: AtomicU32::new(0),
                    all: AtomicU32::new(0),
                })
            }),
            floor,
            in_use: CachePadded::new(AtomicUsize::new(0)),
            wants: CachePadded::new(AtomicU32::new(0)),
            uncut: AtomicU32::new(granules - floor),
            uncut_floor: AtomicU32::new(floor),
            blocks: Mutex::new(blocks),
        };
        pool.cut_floor(&mut lock(&pool.blocks));
        for (class, wanted) in Class::ALL.into_iter().zip([initial.small, initial.medium, initial.large]) {
            pool.cut(&mut lock(&pool.blocks), class, wanted);
        }
        Ok(pool)
    }

    /// Takes a page of `class`, with whatever bytes its last holder left. Never waits, maps or
    /// touches memory. `None`: none is free now; `refill` is wanted then.
    #[inline]
    pub(crate) fn take(&self, class: Class) -> Option<Page> {
        self.take_from(class as usize, class, class.low_water(), || self.can_cut(class))
    }

    /// Takes a small page of the reserve, for a file that holds no page when the rest is gone.
    pub(crate) fn take_floor(&self) -> Option<Page> {
        let has_more = || {
            // ORDER: Relaxed; a hint, pairs with the store in `cut_floor`.
            self.uncut_floor.load(Ordering::Relaxed) > 0
        };
        self.take_from(FLOOR_SHELF, Class::Small, FLOOR_LOW_WATER, has_more)
    }

    #[inline]
    fn take_from(
        &self,
        place: usize,
        class: Class,
        low_water: u32,
        has_more: impl FnOnce() -> bool,
    ) -> Option<Page> {
        let shelf = &self.shelves[place];
        let Some(index) = shelf.stack.pop(&self.granules) else {
            self.want(failed_bit(place));
            return None;
        };
        // ORDER: Relaxed; a count for hints, after the pop; pairs with the fetch_add in `shelve`.
        if shelf.free.fetch_sub(1, Ordering::Relaxed) <= low_water && has_more() {
            self.want(low_bit(place));
        }
        // ORDER: Relaxed; a count for `bytes_in_use`; pairs with the fetch_sub in `put`.
        self.in_use.fetch_add(class.bytes(), Ordering::Relaxed);
        Some(Page { memory: self.memory_of(index), class, floor: place == FLOOR_SHELF })
    }

    /// Puts a page back, on top: the next take of its class gets it while it is warm.
    pub(crate) fn put(&self, page: Page) {
        let offset = page.memory.addr().get().wrapping_sub(self.region.start().addr().get());
        let index = (offset / GRANULE) as u32;
        debug_assert!(offset < self.limit, "a page of another pool");
        debug_assert_eq!(page.floor, index < self.floor);
        // ORDER: Relaxed; a count for `bytes_in_use`; pairs with the fetch_add in `take_from`.
        self.in_use.fetch_sub(page.capacity(), Ordering::Relaxed);
        self.shelve(if page.floor { FLOOR_SHELF } else { page.class as usize }, index);
        std::mem::forget(page);
    }

    fn shelve(&self, place: usize, index: u32) {
        let shelf = &self.shelves[place];
        // ORDER: Relaxed; before the push, so that the count never falls below zero: the pop that
        // follows the push is ordered after it; pairs with the fetch_sub in `take_from`.
        shelf.free.fetch_add(1, Ordering::Relaxed);
        shelf.stack.push(&self.granules, index);
    }

    /// Whether a take has failed, or left its class low while there is memory to cut, since the last
    /// `refill` began. One load.
    #[inline]
    pub(crate) fn wants_refill(&self) -> bool {
        // ORDER: Relaxed; a hint, pairs with the fetch_or in `want`; who must not miss it (a refused
        // file) looks after its own failed take, in its own order.
        self.wants.load(Ordering::Relaxed) != 0
    }

    #[cold]
    fn want(&self, bit: u32) {
        // ORDER: Relaxed; spares the write below while the bit is up; pairs with the swap in `refill`.
        if bit < failed_bit(0) && self.wants.load(Ordering::Relaxed) & bit != 0 {
            return;
        }
        // ORDER: AcqRel pairs with the AcqRel swap in `refill`; always a write for a failed take, so
        // that the refill that reads it is ordered after that take.
        self.wants.fetch_or(bit, Ordering::AcqRel);
    }

    /// Cuts unused memory for classes that are low, touches it and makes it free; for a take that
    /// failed, also gathers free blocks of other classes. For engine threads: it locks, faults pages
    /// in, and takes a fraction of a millisecond per MiB.
    ///
    /// True: pages are free now that were not when a take failed, or pages were added.
    pub(crate) fn refill(&self) -> bool {
        let mut blocks = lock(&self.blocks);
        // ORDER: AcqRel pairs with the AcqRel fetch_or in `want`: a failed take is answered by this
        // refill or seen by the next.
        let wants = self.wants.swap(0, Ordering::AcqRel);
        let mut added = false;
        for place in 0..self.shelves.len() {
            added |= self.refill_shelf(&mut blocks, wants, place);
        }
        added
    }

    /// The first byte of the region, for side arrays that know a page by its place in it.
    pub(crate) fn base(&self) -> *mut u8 {
        self.region.start().as_ptr()
    }

    /// Bytes of all pages there can be, the floor included.
    pub(crate) fn bytes_limit(&self) -> usize {
        self.limit
    }

    /// Whether a refill would find memory for pages of `class` that was never cut, or was gathered.
    #[inline]
    pub(crate) fn can_cut(&self, class: Class) -> bool {
        // ORDER: Relaxed; a hint, pairs with the store in `cut`.
        self.uncut.load(Ordering::Relaxed) >= class.granules()
    }

    /// Pages that a take would find, the floor's not counted; memory not cut yet counts as medium pages.
    pub(crate) fn pages_free(&self) -> usize {
        // ORDER: Relaxed; counts for hints, pair with those in `take_from`, `shelve` and `cut`.
        let free = Class::ALL.map(|class| self.shelves[class as usize].free.load(Ordering::Relaxed));
        // ORDER: Relaxed; as above.
        let uncut = self.uncut.load(Ordering::Relaxed).div_ceil(MEDIUM);
        (free.into_iter().sum::<u32>() + uncut) as usize
    }

    /// How many pages of each class there are, and of the floor; and how many of them are free.
    pub(crate) fn counts(&self) -> [(u32, u32); FLOOR_SHELF + 1] {
        std::array::from_fn(|place| {
            let Shelf { free, all, .. } = &*self.shelves[place];
            // ORDER: Relaxed; a count, pairs with those in `take_from` and `shelve`. Before the other, which grows first.
            let free = free.load(Ordering::Relaxed);
            // ORDER: Relaxed; a count, pairs with those in `cut`, `cut_floor` and `gather_from`.
            (all.load(Ordering::Relaxed), free)
        })
    }

    /// Bytes that belong to no class yet, or no longer.
    pub(crate) fn bytes_uncut(&self) -> usize {
        // ORDER: Relaxed; a count, pairs with the store in `cut`.
        self.uncut.load(Ordering::Relaxed) as usize * GRANULE
    }

    /// Pages of the floor that a `take_floor` would find.
    pub(crate) fn floor_free(&self) -> usize {
        // ORDER: Relaxed; a count for hints, pairs with those in `take_from` and `shelve`.
        self.shelves[FLOOR_SHELF].free.load(Ordering::Relaxed) as usize
    }

    /// Bytes of the pages that are taken.
    pub(crate) fn bytes_in_use(&self) -> usize {
        // ORDER: Relaxed; a count, pairs with the fetch_add in `take_from` and the fetch_sub in `put`.
        self.in_use.load(Ordering::Relaxed)
    }

    fn memory_of(&self, index: u32) -> NonNull<u8> {
        // SAFETY: every index on a stack is a granule of the region (kept by `cut`, `cut_floor`).
        unsafe { self.region.start().add(index as usize * GRANULE) }
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests;
