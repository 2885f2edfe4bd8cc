//! Which parts of the region belong to no class of pages yet, or no longer; cutting and gathering.
//!
//! A *span* is a block, or what the floor leaves of its last block. It is whole here, or cut into
//! pages of one class. Everything in this file runs under the lock on [`Blocks`], on engine threads
//! and in `Pool::new`.

#![allow(unsafe_code, reason = "touches memory that no page covers yet")]

use super::{BLOCK, Class, FLOOR_LOW_WATER, FLOOR_SHELF, Granules, Pool, Shelf, failed_bit, low_bit};
use crate::queue::Links;
use crate::sync::Ordering;

/// A run of granules that belongs to no class, inside one block.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u32,
    granules: u32,
    /// Its memory was written before.
    touched: bool,
}

/// The uncut memory of a pool.
#[derive(Debug)]
pub(super) struct Blocks {
    /// The first granule of the first block never cut.
    next: u32,
    /// The end of the region, in granules.
    end: u32,
    floor: u32,
    /// The first granule of the floor never cut.
    floor_next: u32,
    /// Spans given back by a gathering, and the rest of the floor's last block. Never reallocated.
    spare: Vec<Span>,
    /// Per block: its free granules, while a gathering counts them.
    counts: Vec<u16>,
}

/// Mark of a block whose pages a gathering keeps.
const CHOSEN: u16 = u16::MAX;

impl Blocks {
    /// All of a region of `end` granules, of which the first `floor` are the floor. `None`: no memory.
    pub(super) fn new(end: u32, floor: u32) -> Option<Self> {
        let count = (end / BLOCK) as usize;
        let (mut spare, mut counts) = (Vec::new(), Vec::new());
        spare.try_reserve_exact(count).ok()?;
        counts.try_reserve_exact(count).ok()?;
        counts.resize(count, 0);
        let next = floor.next_multiple_of(BLOCK);
        if next > floor {
            spare.push(Span { first: floor, granules: next - floor, touched: false });
        }
        Some(Self { next, end, floor, floor_next: 0, spare, counts })
    }

    /// The span that `block` is when it is whole.
    fn whole(&self, block: u32) -> Span {
        let first = (block * BLOCK).max(self.floor);
        Span { first, granules: (block + 1) * BLOCK - first, touched: true }
    }

    /// A span for pages of `class`: a spare one that fits, else a block never cut.
    fn pick(&mut self, class: Class) -> Option<Span> {
        let fits = |span: &Span| span.granules >= class.granules();
        if let Some(place) = self.spare.iter().rposition(fits) {
            return Some(self.spare.swap_remove(place));
        }
        if self.next == self.end {
            return None;
        }
        let span = Span { first: self.next, granules: BLOCK, touched: false };
        self.next += BLOCK;
        Some(span)
    }

    /// Granules that belong to no class.
    fn uncut(&self) -> u32 {
        self.end - self.next + self.spare.iter().map(|span| span.granules).sum::<u32>()
    }
}

impl Pool {
    /// What `refill` does for one shelf of `wants`, the floor's or a class's.
    pub(super) fn refill_shelf(&self, blocks: &mut Blocks, wants: u32, place: usize) -> bool {
        let failed = wants & failed_bit(place) != 0;
        if !failed && wants & low_bit(place) == 0 {
            return false;
        }
        if failed && !self.shelves[place].stack.is_empty() {
            // Put back, or on its way through a gathering, since the take failed.
            return true;
        }
        let Some(class) = Class::ALL.get(place).copied() else {
            return self.cut_floor(blocks);
        };
        // Far above the mark, so that the next takes do not leave the class low again.
        let added = self.cut(blocks, class, 2 * class.plenty());
        if failed && !added { self.gather(blocks, class) } else { added }
    }

    /// Cuts spans into pages of `class` until `wanted` are free; true if there were any to cut.
    pub(super) fn cut(&self, blocks: &mut Blocks, class: Class, wanted: u32) -> bool {
        let place = class as usize;
        let mut added = false;
        // ORDER: Relaxed; a count for hints, pairs with the counts in `take_from` and `shelve`.
        while self.shelves[place].free.load(Ordering::Relaxed) < wanted {
            let Some(span) = blocks.pick(class) else { break };
            if !span.touched {
                self.touch(span.first, span.granules);
            }
            let pages = span.granules / class.granules();
            // ORDER: Relaxed; a count, under the lock; pairs with the load in `counts`.
            self.shelves[place].all.fetch_add(pages, Ordering::Relaxed);
            // Backwards, so that pages are taken in the order of their addresses.
            for page in (0..pages).rev() {
                self.shelve(place, span.first + page * class.granules());
            }
            added = true;
        }
        // ORDER: Relaxed; a hint, pairs with the load in `take`.
        self.uncut.store(blocks.uncut(), Ordering::Relaxed);
        added
    }

    /// Makes the next granules of the floor free, up to a block of them; true if there were any.
    pub(super) fn cut_floor(&self, blocks: &mut Blocks) -> bool {
        let first = blocks.floor_next;
        let granules = (blocks.floor - first).min(BLOCK.max(FLOOR_LOW_WATER));
        self.touch(first, granules);
        // ORDER: Relaxed; a count, under the lock; pairs with the load in `counts`.
        self.shelves[FLOOR_SHELF].all.fetch_add(granules, Ordering::Relaxed);
        for index in (first..first + granules).rev() {
            self.shelve(FLOOR_SHELF, index);
        }
        blocks.floor_next = first + granules;
        // ORDER: Relaxed; a hint, pairs with the load in `take_floor`.
        self.uncut_floor.store(blocks.floor - blocks.floor_next, Ordering::Relaxed);
        granules > 0
    }

    /// Takes wholly free blocks from the other classes for `class`; true if it got one.
    ///
    /// A take of another class may fail meanwhile, since its pages are in this thread's hands. That
    /// take wants a refill, and the next one answers it.
    fn gather(&self, blocks: &mut Blocks, class: Class) -> bool {
        let wanted = (class.plenty() * class.granules()).div_ceil(BLOCK);
        let mut donors = Class::ALL.map(|donor| {
            // ORDER: Relaxed; a hint, pairs with the counts in `take_from` and `shelve`.
            let free = self.shelves[donor as usize].free.load(Ordering::Relaxed);
            (free.saturating_mul(donor.granules()), donor)
        });
        donors.sort_unstable_by(|one, other| other.cmp(one));
        let mut missing = wanted;
        for (_, donor) in donors.into_iter().filter(|(_, donor)| *donor != class) {
            missing = missing.saturating_sub(self.gather_from(blocks, donor, class, missing));
        }
        missing < wanted && self.cut(blocks, class, 2 * class.plenty())
    }

    /// Moves up to `wanted` wholly free blocks of `donor` that fit `class` to the spare ones.
    fn gather_from(&self, blocks: &mut Blocks, donor: Class, class: Class, wanted: u32) -> u32 {
        if wanted == 0 {
            return 0;
        }
        let Granules(links) = &self.granules;
        let Shelf { stack, free, all } = &*self.shelves[donor as usize];
        blocks.counts.fill(0);
        let mut chosen = 0;
        // First pass: count per block, and turn the chain round to keep its order in the second.
        let mut previous = None;
        for index in stack.take_all(&self.granules) {
            let block = index / BLOCK;
            let whole = blocks.whole(block);
            let count = &mut blocks.counts[block as usize];
            *count += donor.granules() as u16;
            let complete = u32::from(*count) == whole.granules;
            if complete && chosen < wanted && whole.granules >= class.granules() {
                *count = CHOSEN;
                chosen += 1;
                // ORDER: Relaxed; a count, under the lock; pairs with the load in `counts`.
                all.fetch_sub(whole.granules / donor.granules(), Ordering::Relaxed);
                blocks.spare.push(whole);
            }
            // ORDER: Relaxed; the page is this thread's, which alone reads the link below.
            links[index as usize].store(previous.map_or(0, |below: u32| below + 1), Ordering::Relaxed);
            previous = Some(index);
        }
        // Second pass, from the bottom: what is not chosen goes back.
        while let Some(index) = previous {
            // ORDER: Relaxed; stored by this thread, above.
            previous = self.granules.link(index).load(Ordering::Relaxed).checked_sub(1);
            if blocks.counts[(index / BLOCK) as usize] == CHOSEN {
                // ORDER: Relaxed; a count for hints, pairs with the fetch_add in `shelve`.
                free.fetch_sub(1, Ordering::Relaxed);
            } else {
                stack.push(&self.granules, index);
            }
        }
        chosen
    }

    /// Writes a zero into each of granules that no page covers: their memory is there from now on. The rest of them is
    /// zero as the region came.
    fn touch(&self, first: u32, granules: u32) {
        for granule in first..first + granules {
            // SAFETY: the granule lies in the region and belongs to no page (kept by the lock on `Blocks`,
            // from whose uncut part the caller took it).
            unsafe { self.memory_of(granule).write_volatile(0) };
        }
    }
}
