//! Weave: the actor puts the bytes of many threads into the one order of their file.
//!
//! ```text
//!   stripe 0   ──[ taken | new ]──┐
//!   stripe 1   ──[ taken | new ]──┼──►  parts: 0a 1a 1b 0b 2a …  ──► gathered, written, counted off
//!   stripe 2   ──[ taken | new ]──┘     `end`: the bytes in it since the open
//! ```
//!
//! A page that a thread filled becomes a part as it arrives. The filled part of a page that is still open is taken when
//! somebody asks for all that is accepted (the timer, a sync, a close). A part ends where a call ended, and the parts of one
//! stripe follow one another, so each thread's calls stay whole and in their order.
//!
//! What is accepted is counted over all stripes, what is written by its place in the weave. So a target that is set by the
//! first count is moved, once all of it is woven in, to the `end` of the weave.

use std::collections::VecDeque;

use crate::job::{Slice, Slices};
use crate::sync::thread_number::NUMBERS;
use crate::sync::{MutexGuard, lock};

use super::Slot;
use super::commons::Commons;
use super::control::Control;
use super::flush::give_back;
use super::note::Sealed;
use super::stripe::Stripes;
use super::write::page_start;

/// Bytes that follow one another in a page, in their place in the file's order.
#[derive(Clone, Copy, Debug)]
struct Part {
    page: *mut u8,
    from: u32,
    len: u32,
    /// Nothing more of the page comes: it goes back when this is written.
    last: bool,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Weave {
    parts: VecDeque<Part>,
    /// Bytes of the first part that are in the file.
    used: u32,
    /// Pages that arrived and may not be woven in yet.
    held_back: VecDeque<Sealed>,
    /// Per stripe: the bytes that are woven in.
    taken: [u64; NUMBERS],
    /// Per stripe: what was filled when the timer came last.
    seen: [u64; NUMBERS],
    /// All bytes woven in.
    end: u64,
    /// A request waits for its place: per stripe, the bytes that come before it.
    marks: Option<Box<[u64; NUMBERS]>>,
}

impl Default for Weave {
    fn default() -> Self {
        Self {
            parts: VecDeque::new(),
            used: 0,
            held_back: VecDeque::new(),
            taken: [0; NUMBERS],
            seen: [0; NUMBERS],
            end: 0,
            marks: None,
        }
    }
}

impl Weave {
    /// How far a stripe may be woven in.
    fn limit(&self, number: usize) -> u64 {
        self.marks.as_ref().map_or(u64::MAX, |marks| marks[number])
    }

    fn add(&mut self, number: usize, page: *mut u8, start: u64, end: u64, last: bool) {
        // Bytes of the next page may have been woven in before this one arrived, if nothing was left to take of it.
        let from = self.taken[number].min(end);
        debug_assert!(start <= from, "the parts of a stripe follow one another");
        let part = Part { page, from: (from - start) as u32, len: (end - from) as u32, last };
        self.parts.push_back(part);
        self.end += end - from;
        self.taken[number] = self.taken[number].max(end);
    }

    /// Weaves in the pages that arrived, as far as they may be.
    fn take_pages(&mut self) {
        for sealed in std::mem::take(&mut self.held_back) {
            let number = sealed.placement.sequence as usize;
            let (start, end) = (sealed.placement.start, sealed.placement.start + u64::from(sealed.len));
            let limit = self.limit(number);
            if start > self.taken[number] {
                self.held_back.push_back(sealed);
            } else if end <= limit {
                self.add(number, sealed.page, start, end, true);
            } else {
                if limit > self.taken[number] {
                    self.add(number, sealed.page, start, limit, false);
                }
                self.held_back.push_back(sealed);
            }
        }
    }

    /// Weaves in what is filled of open pages. True: nothing that is accepted is left out.
    fn take_parts(&mut self, stripes: &Stripes) -> bool {
        let mut all = true;
        for (number, stripe) in stripes.used() {
            let (limit, filled) = (self.limit(number), stripe.filled());
            // A page of this stripe that is on its way comes before the one that is open now.
            let part = stripe.part().filter(|part| part.start <= self.taken[number]);
            if let Some(part) = part.filter(|part| part.end.min(limit) > self.taken[number]) {
                self.add(number, part.page, part.start, part.end.min(limit), false);
            }
            all &= self.taken[number] >= filled;
        }
        all
    }

    /// Gives back the pages of which everything is in the file.
    fn drop_used(&mut self, slot: &Slot, commons: &Commons) -> bool {
        let mut dropped = false;
        while let Some(part) = self.parts.front().filter(|part| part.len == self.used).copied() {
            self.parts.pop_front();
            self.used = 0;
            if part.last {
                give_back(slot, commons, part.page);
                dropped = true;
            }
        }
        dropped
    }

    /// Counts written bytes off.
    pub(super) fn count_off(&mut self, mut bytes: usize, slot: &Slot, commons: &Commons) {
        while let Some(front) = self.parts.front() {
            let step = bytes.min((front.len - self.used) as usize);
            self.used += step as u32;
            bytes -= step;
            if self.used < front.len {
                break;
            }
            self.drop_used(slot, commons);
        }
        debug_assert_eq!(bytes, 0, "no more is written than was woven in");
    }

    /// The next bytes of the file, at most `limit`, and the offset of the first. Ends where a call ended.
    pub(super) fn gather(&self, limit: usize, written: u64) -> (Slices, u64) {
        let mut slices = Slices::new();
        let (mut room, mut used) = (limit, self.used);
        for part in &self.parts {
            let len = (part.len - used) as usize;
            // What a kernel cut short goes on where it was cut; else a part goes out whole.
            if len > room {
                break;
            }
            let start = page_start(part.page).wrapping_add((part.from + used) as usize);
            if len > 0 && !slices.push(Slice { start, len }) {
                break;
            }
            room -= len;
            used = 0;
        }
        (slices, written)
    }

    /// Everything is in the file, and no page is held.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.held_back.is_empty()
    }

    /// Gives up what is not written. Only once no stripe has a page.
    pub(super) fn drop_all(&mut self, slot: &Slot, commons: &Commons) {
        let last = self.parts.drain(..).filter(|part| part.last).map(|part| part.page);
        let held = self.held_back.drain(..).map(|sealed| sealed.page);
        last.chain(held).for_each(|page| give_back(slot, commons, page));
        self.used = 0;
    }

    /// The bytes that must be written before the request that waits; more than there are while not all are woven in.
    pub(super) fn barrier(&self) -> u64 {
        let reached =
            |marks: &[u64; NUMBERS]| marks.iter().zip(&self.taken).all(|(mark, taken)| mark <= taken);
        if self.marks.as_ref().is_some_and(|marks| reached(marks)) { self.end } else { u64::MAX }
    }

    /// The request is done, or has none to wait for.
    pub(super) fn pass_barrier(&mut self) {
        self.marks = None;
    }
}

/// The weave of a file whose threads have an order each; for the actor.
pub(super) fn weave_of(slot: &Slot) -> Option<MutexGuard<'_, Weave>> {
    slot.write.stripes().map(|stripes| lock(stripes.weave()))
}

impl Control {
    /// Takes up what threads have accepted: the pages that are full, and what else is asked for.
    pub(super) fn collect_stripes(&mut self, slot: &Slot, commons: &Commons) {
        let Some(stripes) = slot.write.stripes() else { return };
        let weave = &mut *lock(stripes.weave());
        if stripes.take_wanted() {
            commons.recall_stripes(slot, stripes);
        }
        let waits = slot.meta.has_barrier();
        if waits && weave.marks.is_none() {
            let mut marks = Box::new(weave.taken);
            // What was woven in between the marking and this look came before, too.
            stripes.used().for_each(|(number, stripe)| marks[number] = marks[number].max(stripe.mark()));
            weave.marks = Some(marks);
        }
        let before = weave.end;
        weave
            .held_back
            .extend(slot.write.sealed.take_all(&commons.notes).map(|index| commons.notes.read(index)));
        weave.take_pages();
        let asked = self.flush.target > before || self.sync.target > before;
        if asked || waits {
            let all = weave.take_parts(stripes);
            for target in [&mut self.flush.target, &mut self.sync.target] {
                if *target > before {
                    *target = if all { weave.end } else { weave.end + 1 };
                }
            }
        }
        if !self.busy.write && weave.drop_used(slot, commons) {
            commons.room_made(slot);
            commons.serve_waiters();
        }
    }

    /// The timer came: threads that accepted nothing for an interval give their pages back.
    pub(super) fn recall_idle_stripes(&mut self, slot: &Slot, commons: &Commons) {
        let Some(stripes) = slot.write.stripes() else { return };
        let weave = &mut *lock(stripes.weave());
        let idle = |number: usize| stripes.stripe(number).filled() == weave.seen[number];
        stripes.recall(
            |number, stripe| {
                let idle = idle(number);
                if idle {
                    stripe.cool();
                }
                idle
            },
            |number, stripe| commons.hand_over_stripe(slot, number, stripe),
        );
        stripes.used().for_each(|(number, stripe)| weave.seen[number] = stripe.filled());
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::file::cell::Placement;

    #[test]
    fn a_page_that_arrives_after_bytes_of_the_next_one_were_woven_in_adds_nothing_and_goes_back() {
        let mut memory = [0u8; 16];
        let page = |at: usize, memory: &mut [u8]| memory[at..].as_mut_ptr();
        let (first, second) = (page(0, &mut memory), page(8, &mut memory));
        let mut weave = Weave::default();
        // All of the first page was asked for and woven in; its thread hands it over and goes on in the second one, which is
        // looked at before the first has arrived.
        weave.add(3, first, 0, 8, false);
        weave.add(3, second, 8, 12, false);
        let placement = Placement { sequence: 3, base: 0, start: 0 };
        weave.held_back.push_back(Sealed { page: first, len: 8, placement });
        weave.take_pages();
        assert_eq!((weave.taken[3], weave.end), (12, 12), "no byte is woven in twice");
        let last = weave.parts.back().unwrap();
        assert_eq!((last.page, last.len, last.last), (first, 0, true), "the page goes back");
        weave.add(3, second, 8, 14, false);
        assert_eq!(weave.end, 14);
    }
}
