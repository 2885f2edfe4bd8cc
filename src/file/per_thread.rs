//! Per thread: the write side of a file to which each thread appends in its own page, in an order of its own.
//!
//! Such a file has no page that threads share: a call copies into the page of its thread's stripe and returns. When that is
//! full, or was recalled, the page goes to the actor, who alone puts the bytes of all threads into the one order of the
//! file. So a byte's place in the file is not known before that, and such a file has no offset to seek to.
#![allow(unsafe_code, reason = "copies the caller's bytes into a page that is its thread's")]

use std::io::IoSlice;

use crate::error::{Error, Operation};
use crate::fd::Fd;
use crate::page::{Class, Page};
use crate::sync::thread_number::{NUMBERS, OWN, thread_number};

use super::Slot;
use super::cell::Placement;
use super::commons::Commons;
use super::note::{GRANULE, Sealed};
use super::opener::{PAGES_AT_LEAST, Patience, Room, larger, smaller};
use super::state::mail;
use super::stripe::{Found, Stripe, Stripes};
use super::write::{Caller, page_start, prefetch_first, prefetch_next, refusal};
use super::write_at::copy_all;

impl Commons {
    /// `ef_write` to such a file.
    #[inline]
    pub(crate) fn write_striped(
        &self,
        slot: &Slot,
        stripes: &Stripes,
        fd: Fd,
        bytes: &[u8],
    ) -> crate::error::Result<usize> {
        let number = thread_number();
        let stripe = stripes.stripe(number);
        if number < OWN && slot.state.glance().takes_from_threads() && stripe.enter() {
            match stripe.look(fd.generation()) {
                Found::Page { position, room } if bytes.len() <= room => {
                    copy_in(stripe, position, bytes);
                    if stripe.leave() {
                        self.hand_over_stripe(slot, number, stripe);
                    }
                    self.note_dirty(slot);
                    return Ok(bytes.len());
                }
                _ => {}
            }
            if stripe.leave() {
                self.hand_over_stripe(slot, number, stripe);
            }
        }
        self.write_striped_slowly(slot, stripes, fd, &[IoSlice::new(bytes)], Caller::Descriptor)
    }

    /// The same for a call that meets anything unusual: no page, a full one, a file that is not open, another thread.
    #[cold]
    pub(crate) fn write_striped_slowly(
        &self,
        slot: &Slot,
        stripes: &Stripes,
        fd: Fd,
        from: &[IoSlice<'_>],
        caller: Caller,
    ) -> crate::error::Result<usize> {
        let total: usize = from.iter().map(|slice| slice.len()).sum();
        let mut patience = Patience::new();
        loop {
            if let Some(error) = refusal(slot, slot.state.load(), fd, caller) {
                return Err(self.refuse_unless_open(slot, error));
            }
            if total == 0 {
                return Ok(0);
            }
            let room = match stripes.enter(thread_number()) {
                None => Room::Contended,
                Some(number) => {
                    let stripe = stripes.stripe(number);
                    let answer = self.write_inside(slot, stripes, number, fd, from, caller);
                    if stripe.leave() {
                        self.hand_over_stripe(slot, number, stripe);
                    }
                    if number >= OWN {
                        // Another thread may have found this one inside.
                        self.turn_over(slot);
                    }
                    match answer {
                        Ok(taken) => {
                            self.note_dirty(slot);
                            return Ok(taken);
                        }
                        Err(room) => room,
                    }
                }
            };
            let goes_on = patience.try_again(self, slot, room);
            if matches!(room, Room::FileFull | Room::PoolEmpty) {
                self.want_stripes(slot, stripes);
            }
            if !goes_on {
                return Err(Error::would_block(Operation::Write, fd));
            }
        }
    }

    /// What a thread does inside its stripe.
    fn write_inside(
        &self,
        slot: &Slot,
        stripes: &Stripes,
        number: usize,
        fd: Fd,
        from: &[IoSlice<'_>],
        caller: Caller,
    ) -> Result<usize, Room> {
        let stripe = stripes.stripe(number);
        let total: usize = from.iter().map(|slice| slice.len()).sum();
        loop {
            match stripe.look(fd.generation()) {
                Found::Page { position, room } => {
                    let whole = total <= self.limits.whole_write;
                    if total <= room || room > 0 && !whole {
                        let taken = total.min(room);
                        let start = page_start(stripe.page()).wrapping_add(position);
                        // The caller is inside and found so much room, so these bytes of the page are its own.
                        copy_all(from, start, taken);
                        stripe.fill(taken);
                        return Ok(taken);
                    }
                    stripe.grow(larger(stripe.class()));
                    if stripe.take_out() {
                        self.hand_over_stripe(slot, number, stripe);
                    }
                }
                Found::Recalled => {
                    if stripe.take_out() {
                        self.hand_over_stripe(slot, number, stripe);
                    }
                }
                Found::Nothing => self.open_stripe(slot, stripes, number, fd, total, caller)?,
                Found::Busy => return Err(Room::Contended),
            }
        }
    }

    /// Opens a page for the stripe that the caller is inside of.
    fn open_stripe(
        &self,
        slot: &Slot,
        stripes: &Stripes,
        number: usize,
        fd: Fd,
        len: usize,
        caller: Caller,
    ) -> Result<(), Room> {
        let stripe = stripes.stripe(number);
        stripes.use_stripe(number);
        if !stripe.begin(fd.generation()) {
            return Err(Room::Contended);
        }
        // A read-modify-write of the state: either the closer's own comes later and meets this gate, or this sees it.
        let seen = slot.state.set(0);
        let page = match refusal(slot, seen, fd, caller) {
            None => self.page_for_stripe(slot, stripe, len),
            Some(_) => Err(Room::Contended),
        };
        let answer = match page {
            Ok(page) => {
                let capacity = page.capacity();
                stripe.open(page.into_raw(), capacity);
                Ok(())
            }
            Err(room) => {
                stripe.undo();
                Err(room)
            }
        };
        self.turn_over(slot);
        answer
    }

    /// A page for the next `len` bytes of a thread, within the file's limit.
    fn page_for_stripe(&self, slot: &Slot, stripe: &Stripe, len: usize) -> Result<Page, Room> {
        let whole = len.min(self.limits.whole_write);
        let mut class = stripe.class();
        while class.bytes() < whole {
            class = larger(class);
        }
        let held = slot.write.held() as usize * GRANULE;
        let limit = slot.write.limit_bytes();
        // With pages short, or a limit that the open pages of many threads would use up, they are smaller.
        let scarce = self.is_tight() || Class::Large.bytes() * NUMBERS > limit;
        if class == Class::Large && scarce && whole <= Class::Medium.bytes() {
            class = Class::Medium;
        }
        while class.bytes() * PAGES_AT_LEAST > limit
            && class != Class::Small
            && smaller(class).bytes() >= whole
        {
            class = smaller(class);
        }
        // What is left of the limit is used, down to what `has_stripe_room` calls room.
        while held > 0
            && held + class.bytes() > limit
            && class != Class::Small
            && smaller(class).bytes() >= whole
        {
            class = smaller(class);
        }
        // A file that holds nothing gets one page, whatever its limit.
        if held > 0 && held + class.bytes() > limit {
            return Err(Room::FileFull);
        }
        let least = if held == 0 { whole } else { smaller(class).bytes().max(whole) };
        let page = self.take_page(slot, class, least, limit.saturating_sub(held), held == 0);
        let page = page.ok_or(Room::PoolEmpty)?;
        prefetch_first(&page, len);
        self.keep_promise(slot);
        let before = slot.write.hold(&page) as usize * GRANULE;
        if before > 0 && before + page.capacity() > limit {
            // Threads open their pages beside one another, and others were first.
            slot.write.let_go(&page);
            self.page_back(page);
            self.room_made(slot);
            return Err(Room::FileFull);
        }
        Ok(page)
    }

    /// Whether this thread's next write of one byte would be taken.
    pub(super) fn has_stripe_room(&self, slot: &Slot, stripes: &Stripes) -> bool {
        // The look is not from inside: what it says may be over by the time of the call.
        if stripes.stripe(thread_number()).room() > 0 {
            return true;
        }
        let held = slot.write.held() as usize * GRANULE;
        if held > 0 && held + Class::Small.bytes() > slot.write.limit_bytes() {
            return false;
        }
        self.take_page(slot, Class::Small, 1, 0, held == 0).is_some_and(|page| {
            self.page_back(page);
            true
        })
    }

    /// A thread finds no page: the others' are asked for, unless more are on their way back than these could give.
    pub(crate) fn want_stripes(&self, slot: &Slot, stripes: &Stripes) {
        let open: usize =
            stripes.used().filter_map(|(_, stripe)| stripe.part().map(|_| stripe.capacity())).sum();
        if 2 * open >= slot.write.held() as usize * GRANULE {
            stripes.want_pages();
            self.post(slot, mail::FLUSH);
        }
    }

    /// Gives a page that was taken out to the actor, and the stripe to whoever writes next.
    pub(crate) fn hand_over_stripe(&self, slot: &Slot, number: usize, stripe: &Stripe) {
        let out = stripe.taken_out();
        let index = self.notes.write(Sealed {
            page: out.page,
            len: (out.end - out.start) as u32,
            placement: Placement { sequence: number as u32, base: 0, start: out.start },
        });
        let _ = slot.write.sealed.push(&self.notes, index);
        stripe.empty();
        self.turn_over(slot);
        self.post(slot, mail::PAGE);
    }

    /// Takes back all pages of stripes, but for those whose threads are inside. True: none is left.
    pub(crate) fn recall_stripes(&self, slot: &Slot, stripes: &Stripes) -> bool {
        stripes.recall(|_, _| true, |number, stripe| self.hand_over_stripe(slot, number, stripe));
        stripes.are_empty()
    }
}

/// Copies into the page of the stripe that the caller is inside of; there is room.
#[inline]
fn copy_in(stripe: &Stripe, position: usize, bytes: &[u8]) {
    let start = page_start(stripe.page()).wrapping_add(position);
    // SAFETY: the caller is inside the stripe and found its page open with so much room, so nobody else writes to it, and it
    // is not taken out before the caller leaves; the actor reads only below `filled`.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
    prefetch_next(start, bytes.len());
    stripe.fill(bytes.len());
}
