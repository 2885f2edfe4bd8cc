//! Lease: the boxes that pass through a slot's pointers, and the right to its control.
#![allow(
    unsafe_code,
    reason = "boxes pass through atomic pointers, and control is lent to the holder of the right to poll"
)]

use crate::job::Done;
use crate::sync::Ordering;

use super::control::Control;
use super::open::Request;
use super::window::Reader;
use super::{DoneNode, Slot};

// SAFETY: every field but `control`, the ring and the reader's place is an atomic or a mutex; `control` is touched only
// through `with_control` by the holder of the right to poll, which passes from thread to thread through `Mail`; the
// ring and the reader's place by the holder of the read claim and by the actor, as `window` argues. The raw pointers
// inside point to pages of the pool or own boxes, none of which is bound to a thread.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl Slot {
    /// Lends the control to the holder of the right to poll.
    pub(crate) fn with_control<R>(&self, _right: &PollRight, action: impl FnOnce(&mut Control) -> R) -> R {
        // SAFETY: a `PollRight` exists once per scheduled slot (`Mail::post` gave it to one thread), and the closure
        // does not poll again, so this is the only reference.
        self.control.with_mut(|control| action(unsafe { &mut *control }))
    }

    /// Puts the request to open; the slot is the caller's until it posts.
    pub(crate) fn put_request(&self, request: Box<Request>) {
        // ORDER: Release pairs with `take_request`.
        let before = self.request.swap(Box::into_raw(request), Ordering::AcqRel);
        debug_assert!(before.is_null(), "the last life's request was taken");
    }

    /// The actor takes it.
    pub(crate) fn take_request(&self) -> Option<Box<Request>> {
        // ORDER: Acquire pairs with `put_request`.
        let request = self.request.swap(std::ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: a pointer that is not null came from `Box::into_raw`, and the swap makes this the only taker.
        (!request.is_null()).then(|| unsafe { Box::from_raw(request) })
    }

    /// The reader that the slot's owning `File` is. For calls of that file only, one at a time: `OWNED` keeps every other
    /// caller out, and the file calls with `&mut self`.
    pub(crate) fn owner_reader(&self) -> Reader<'_> {
        // SAFETY: the claim was kept when the file became owned (`Commons::own`), and is given back when it ends.
        unsafe { self.read.owner() }
    }

    /// Leaves a finished job for the actor.
    pub(crate) fn put_done(&self, done: Done) {
        let node = Box::into_raw(Box::new(DoneNode { done, next: std::ptr::null_mut() }));
        // ORDER: Relaxed: a first guess, checked by the exchange.
        let mut head = self.dones.load(Ordering::Relaxed);
        loop {
            // SAFETY: the node is not shared yet.
            unsafe { (*node).next = head };
            // ORDER: Release pairs with `take_done`; there is no compare with a freed head, as all are taken at once.
            match self.dones.compare_exchange_weak(head, node, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// The actor takes the finished jobs; there are at most five, one of each kind, in no order that matters.
    pub(crate) fn take_dones(&self) -> Vec<Done> {
        // ORDER: Acquire pairs with `put_done`.
        let mut node = self.dones.swap(std::ptr::null_mut(), Ordering::Acquire);
        let mut dones = Vec::new();
        while !node.is_null() {
            // SAFETY: the nodes of a taken list came from `Box::into_raw` and are this caller's alone.
            let taken = unsafe { Box::from_raw(node) };
            node = taken.next;
            dones.push(taken.done);
        }
        dones
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.take_request());
        drop(self.take_dones());
    }
}

/// The right to poll one slot: made by the one whose post found it at rest, given back by `Mail::rest`.
#[derive(Debug)]
pub(crate) struct PollRight {
    slot: u32,
}

impl PollRight {
    /// For the holder: the caller's post found the slot at rest, or it took the slot from the list of submissions.
    pub(crate) fn of(slot: &Slot) -> Self {
        Self { slot: slot.index }
    }

    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }
}
