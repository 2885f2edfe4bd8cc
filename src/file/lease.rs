//! Lease: the boxes that pass through a slot's pointers, and the right to its control.
#![allow(
    unsafe_code,
    reason = "boxes pass through atomic pointers, and control is lent to the holder of the right to poll"
)]

use crate::job::Done;
use crate::sync::{AtomicPtr, Ordering, fence};

use super::control::Control;
use super::open::Request;
use super::places::Places;
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

    /// The places of reads by offset, once there are any. They stay as long as the slot does.
    pub(crate) fn places(&self) -> Option<&Places> {
        // ORDER: Acquire pairs with `places_made`.
        let places = self.places.load(Ordering::Acquire);
        // SAFETY: a pointer that is not null came from `Box::into_raw`, and is freed with the slot only.
        unsafe { places.as_ref() }
    }

    /// The places, made by the first who needs them: a holder of the read claim.
    pub(crate) fn places_made(&self) -> &Places {
        if let Some(places) = self.places() {
            return places;
        }
        let made = Box::into_raw(Box::new(Places::new()));
        // ORDER: AcqRel publishes the places; pairs with `places`.
        let before =
            self.places.compare_exchange(std::ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire);
        match before {
            // SAFETY: published just now, and freed with the slot only.
            Ok(_) => unsafe { &*made },
            Err(there) => {
                // SAFETY: the box was not shared.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: as in `places`.
                unsafe { &*there }
            }
        }
    }

    /// Writing goes on elsewhere, or the size is to change.
    pub(crate) fn moved(&self) {
        if let Some(places) = self.places() {
            places.moved();
        }
    }

    /// Bytes by offset were accepted.
    pub(crate) fn overwritten(&self, offset: u64, len: u64) {
        // ORDER: SeqCst pairs with the fence in `Places::ask`: who makes the places after this look counts these bytes.
        fence(Ordering::SeqCst);
        if let Some(places) = self.places() {
            places.overwritten(offset, len);
        }
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
        // ORDER: Relaxed: the slot is the dropper's alone.
        let places = self.places.swap(std::ptr::null_mut(), Ordering::Relaxed);
        if !places.is_null() {
            // SAFETY: a pointer that is not null came from `Box::into_raw`, and nobody reaches the slot any more.
            drop(unsafe { Box::from_raw(places) });
        }
    }
}

/// A box on its way from a caller to the actor.
#[derive(Debug)]
pub(crate) struct Parcel<T>(AtomicPtr<T>);

impl<T> Parcel<T> {
    pub(crate) fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// Leaves a box; one that nobody took goes.
    pub(crate) fn put(&self, parcel: Box<T>) {
        // ORDER: AcqRel pairs with `take`.
        let before = self.0.swap(Box::into_raw(parcel), Ordering::AcqRel);
        if !before.is_null() {
            // SAFETY: it came from `Box::into_raw`, and the swap makes this the only taker.
            drop(unsafe { Box::from_raw(before) });
        }
    }

    /// Takes the box out.
    pub(crate) fn take(&self) -> Option<Box<T>> {
        // ORDER: AcqRel pairs with `put`.
        let parcel = self.0.swap(std::ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: a pointer that is not null came from `Box::into_raw`, and the swap makes this the only taker.
        (!parcel.is_null()).then(|| unsafe { Box::from_raw(parcel) })
    }

    /// A look inside, for the actor, who alone takes boxes out while the file lives.
    pub(super) fn with<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        // ORDER: Acquire pairs with `put`.
        let parcel = self.0.load(Ordering::Acquire);
        // SAFETY: a pointer that is not null came from `Box::into_raw`; the caller is the one that could take it out.
        unsafe { parcel.as_ref() }.map(look)
    }
}

impl<T> Drop for Parcel<T> {
    fn drop(&mut self) {
        drop(self.take());
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
