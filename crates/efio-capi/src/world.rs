//! World: all that one process has: the handles, the instances in their seats, the registered functions.
//!
//! It is made by the first call that needs it and lives as long as the process; a child of fork(2) begins with none, so
//! that no lock that another thread of the parent held is ever waited for there. The instance of ef_io.h is never taken out
//! of its seat, so reads and writes go to it without further ado. Every other one counts who is inside before it is freed.
#![allow(
    unsafe_code,
    reason = "the world and the instances are found by atomic pointers; fork and exit have hooks in C"
)]

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use efio::Efio;

use crate::bell::lock;
use crate::calls::{Callback, LogFunction, Purpose, Registration};
use crate::cells::{Cell, Cells, HANDLES, Word};
use crate::desk::{Desk, Stage};
use crate::failure::{Answer, fail};
use crate::instance::{Instance, Limits};
use crate::numbers::Numbers;
use crate::pool::{PoolRef, Pools};

/// Instances at a time: as many as a byte can name, less one that stands for "none".
pub(crate) const SEATS: usize = 255;
/// Threads of one instance are counted in so many places, so that they do not share one.
const STRIPES: usize = 16;

/// The place of an instance.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    instance: AtomicPtr<Instance>,
    /// The instance stays until the process ends, and no other has sat here before.
    permanent: AtomicBool,
    /// Which instance of the process was the last to sit here, counted from 1; 0: none.
    serial: AtomicU32,
    inside: [Stripe; STRIPES],
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe(AtomicU32);

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cells: Cells,
    pub(crate) numbers: Mutex<Numbers>,
    seats: Box<[Seat]>,
    /// Who is about to be the instance of ef_io.h, or to take a seat.
    seating: Mutex<Option<u8>>,
    pub(crate) callbacks: Registration<Callback>,
    pub(crate) log: Registration<LogFunction>,
    /// The pool that makes the callbacks.
    pub(crate) pool: Mutex<Option<PoolRef>>,
    pub(crate) pools: Pools,
}

static WORLD: AtomicPtr<World> = AtomicPtr::new(std::ptr::null_mut());
/// Counts the instances, through fork(2) too: what a child is given is never taken for what its parent had.
static INSTANCES: AtomicU32 = AtomicU32::new(0);
/// The hooks of fork and exit are set.
static HOOKED: AtomicBool = AtomicBool::new(false);

/// The world, if there is one.
#[inline]
pub(crate) fn world() -> Option<&'static World> {
    // ORDER: Acquire pairs with the Release half of the compare-exchange in `make_world`.
    let world = WORLD.load(Ordering::Acquire);
    // SAFETY: a world that was published is never freed.
    unsafe { world.as_ref() }
}

/// The world, made if there is none.
pub(crate) fn make_world() -> Answer<&'static World> {
    if let Some(world) = world() {
        return Ok(world);
    }
    hook();
    let Some(cells) = Cells::new() else { return fail(libc::ENOMEM) };
    let mut seats = Vec::new();
    seats.resize_with(SEATS, Seat::default);
    let fresh = Box::into_raw(Box::new(World {
        cells,
        numbers: Mutex::new(Numbers::new(HANDLES)),
        seats: seats.into_boxed_slice(),
        seating: Mutex::new(None),
        callbacks: Registration::new(Purpose::Callback),
        log: Registration::new(Purpose::Log),
        pool: Mutex::new(None),
        pools: Pools::default(),
    }));
    // ORDER: AcqRel; its Release half pairs with the Acquire load in `world`; on failure Acquire pairs with the winner's.
    let won = WORLD.compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire);
    if won.is_err() {
        // SAFETY: made just above, published nowhere, dropped once.
        drop(unsafe { Box::from_raw(fresh) });
    }
    world().ok_or(crate::failure::Failure::Errno(libc::ENOMEM))
}

fn hook() {
    // ORDER: AcqRel: one thread sets the hooks.
    if HOOKED.swap(true, Ordering::AcqRel) {
        return;
    }
    // SAFETY: the hooks are functions of this library, which stay as long as it does; a refusal for want of memory leaves
    // the process as it would be without them.
    unsafe {
        libc::pthread_atfork(None, None, Some(after_fork));
        libc::atexit(at_exit);
    }
}

/// The child begins with no world; the parent's is left as it is, with whatever was locked in it.
unsafe extern "C" fn after_fork() {
    // ORDER: Release: a child of fork(2) has one thread.
    WORLD.store(std::ptr::null_mut(), Ordering::Release);
}

/// What is left is written and closed, within the deadline of each instance. Callbacks end here: what they use may be gone.
extern "C" fn at_exit() {
    let _ = std::panic::catch_unwind(|| {
        let Some(world) = world() else { return };
        world.callbacks.replace(None);
        world.log.replace(None);
        let begun = Instant::now();
        for instance in world.instances() {
            // All of them together take no longer than the one with the latest deadline. What is lost nobody is left to be
            // told of.
            let _ = instance.end_all(instance.shutdown_deadline.saturating_sub(begun.elapsed()));
        }
    });
}

impl World {
    /// The instance of ef_io.h, started where it is not running. `limits`: refuses with EBUSY where it is.
    pub(crate) fn global(&'static self, limits: Option<Limits>, anew: bool) -> Answer<Arc<Instance>> {
        let mut seating = lock(&self.seating);
        let sitting = seating.and_then(|seat| self.instance_in(usize::from(seat)));
        if let Some(instance) = sitting.filter(|instance| !(anew && instance.is_ending())) {
            return if limits.is_some() { fail(libc::EBUSY) } else { Ok(instance) };
        }
        let (seat, instance) = self.sit(limits.unwrap_or_default(), true)?;
        *seating = Some(seat);
        Ok(instance)
    }

    /// The instance of ef_io.h, if it was started; it may have ended.
    pub(crate) fn running(&'static self) -> Option<Arc<Instance>> {
        let seat = *lock(&self.seating);
        self.instance_in(usize::from(seat?))
    }

    /// A further instance; its seat and its serial.
    pub(crate) fn add(&'static self, limits: Limits) -> Answer<(u8, u32)> {
        let _seating = lock(&self.seating);
        // One seat is kept for the instance of ef_io.h, which may start later.
        if self.instances().filter(|instance| !instance.global).count() >= SEATS - 1 {
            return fail(libc::ENFILE);
        }
        let (seat, _) = self.sit(limits, false)?;
        // ORDER: Relaxed: set by this thread, under the lock.
        Ok((seat, self.seats[usize::from(seat)].serial.load(Ordering::Relaxed)))
    }

    /// By the holder of `seating`.
    fn sit(&'static self, limits: Limits, global: bool) -> Answer<(u8, Arc<Instance>)> {
        // ORDER: Acquire pairs with the swap in `remove`.
        let is_free = |seat: &&Seat| seat.instance.load(Ordering::Acquire).is_null();
        // ORDER: Relaxed: changed under the lock only.
        let is_unused = |seat: &&Seat| seat.serial.load(Ordering::Relaxed) == 0;
        // A thread may still be on its way to an instance that was freed, and a permanent one asks nobody for its word again:
        // so that sits where no other has sat. The others fill up from the other end.
        let unused = self.seats.iter().rposition(|seat| is_unused(&seat)).filter(|_| global);
        let Some(number) = unused.or_else(|| self.seats.iter().position(|seat| is_free(&seat))) else {
            return fail(libc::ENFILE);
        };
        let seat = &self.seats[number];
        let instance = Instance::start(self, number as u8, limits, global)?;
        // ORDER: Relaxed: a counter.
        let serial = INSTANCES.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        // ORDER: Relaxed: under the lock.
        seat.serial.store(serial, Ordering::Relaxed);
        // ORDER: Relaxed: published by the store of the instance.
        seat.permanent.store(unused.is_some(), Ordering::Relaxed);
        // ORDER: Release pairs with the Acquire loads of the instance.
        seat.instance.store(Arc::into_raw(Arc::clone(&instance)).cast_mut(), Ordering::Release);
        Ok((number as u8, instance))
    }

    /// The instance in a seat, as long as the caller keeps it.
    fn instance_in(&self, seat: usize) -> Option<Arc<Instance>> {
        let seat = self.seats.get(seat)?;
        let _inside = Inside::enter(seat);
        // ORDER: SeqCst pairs with the swap in `remove`: the count before it, or the empty seat, is seen.
        let instance = seat.instance.load(Ordering::SeqCst);
        if instance.is_null() {
            return None;
        }
        // SAFETY: the pointer came from `Arc::into_raw`, and the seat's count of it is given up only after everyone inside
        // has left; this call is inside.
        unsafe {
            Arc::increment_strong_count(instance);
            Some(Arc::from_raw(instance))
        }
    }

    /// The instance with this seat and serial.
    pub(crate) fn instance(&self, seat: u8, serial: u32) -> Option<Arc<Instance>> {
        let place = self.seats.get(usize::from(seat))?;
        let instance = self.instance_in(usize::from(seat))?;
        // ORDER: Relaxed: another instance would be another serial, and this one is held.
        (place.serial.load(Ordering::Relaxed) == serial).then_some(instance)
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = Arc<Instance>> {
        (0..SEATS).filter_map(|seat| self.instance_in(seat))
    }

    /// Takes an instance out of its seat, when nobody is inside any more. False: another thread did.
    pub(crate) fn remove(&self, number: u8, serial: u32) -> bool {
        let Some(seat) = self.seats.get(usize::from(number)) else { return false };
        let instance = {
            let _seating = lock(&self.seating);
            // ORDER: Relaxed: under the lock.
            if seat.serial.load(Ordering::Relaxed) != serial {
                return false;
            }
            // ORDER: SeqCst pairs with `Inside::enter` and the load behind it.
            seat.instance.swap(std::ptr::null_mut(), Ordering::SeqCst)
        };
        if instance.is_null() {
            return false;
        }
        // ORDER: SeqCst pairs with the counts of `Inside`.
        while seat.inside.iter().any(|stripe| stripe.0.load(Ordering::SeqCst) > 0) {
            std::thread::sleep(Duration::from_micros(50));
        }
        // SAFETY: the seat's own count of the instance, given up once, by the one who swapped it out.
        drop(unsafe { Arc::from_raw(instance) });
        true
    }

    /// Makes `call` with the module that a word names, unless the handle is another's by now.
    #[inline]
    pub(crate) fn with_file<T>(&self, cell: &Cell, word: Word, call: impl FnOnce(&Efio) -> T) -> Option<T> {
        let seat = self.seats.get(word.seat())?;
        // ORDER: Acquire pairs with the store in `sit`.
        let instance = seat.instance.load(Ordering::Acquire);
        // ORDER: Relaxed: set before the instance.
        if !instance.is_null() && seat.permanent.load(Ordering::Relaxed) {
            // SAFETY: an instance that is permanent is never taken out of its seat.
            return Some(call(unsafe { &(*instance).efio }));
        }
        let _inside = Inside::enter(seat);
        // ORDER: SeqCst pairs with the swap in `remove`, as does `word`: before it every handle of the instance was vacated.
        let instance = seat.instance.load(Ordering::SeqCst);
        if instance.is_null() || cell.word() != Some(word) {
            return None;
        }
        // SAFETY: it was in its seat after this call had counted itself in, so it stays until this call has left.
        Some(call(unsafe { &(*instance).efio }))
    }

    /// A handle for a new file, with its cell.
    pub(crate) fn claim(&self) -> Answer<(u32, &Cell)> {
        loop {
            let taken = lock(&self.numbers).take();
            if let Some(handle) = taken {
                return match self.cells.make(handle) {
                    Some(cell) => Ok((handle, cell)),
                    None => {
                        lock(&self.numbers).give_back(handle);
                        fail(libc::ENOMEM)
                    }
                };
            }
            let oldest = lock(&self.numbers).oldest();
            let Some((handle, life)) = oldest else { return fail(libc::EMFILE) };
            self.time_is_over(handle, life);
        }
    }

    /// A handle has ended. By nobody who holds a desk.
    pub(crate) fn ended(&self, handle: u32, life: u32) {
        let over = lock(&self.numbers).end(handle, life);
        if let Some((handle, life)) = over {
            self.time_is_over(handle, life);
        }
    }

    /// Nobody has asked about an ended handle for long enough.
    fn time_is_over(&self, handle: u32, life: u32) {
        let Some(cell) = self.cells.get(handle as i32) else { return };
        let mut desk = cell.desk();
        if desk.life == life && desk.stage == Stage::Ended {
            desk.notes.asked = true;
            self.free_if_done(&mut desk, handle);
        }
    }

    /// Gives the handle back once its last answer is taken and its callbacks have returned.
    pub(crate) fn free_if_done(&self, desk: &mut Desk, handle: u32) {
        let notes = &mut desk.notes;
        if desk.stage == Stage::Ended && notes.asked && notes.owed == 0 && !notes.freed {
            notes.freed = true;
            notes.news = 0;
            lock(&self.numbers).give_back(handle);
        }
    }
}

/// Counts a thread inside a seat's instance, and out again.
struct Inside<'a>(&'a AtomicU32);

impl<'a> Inside<'a> {
    #[inline]
    fn enter(seat: &'a Seat) -> Self {
        thread_local! {
            static STRIPE: u32 = {
                static NEXT: AtomicU32 = AtomicU32::new(0);
                // ORDER: Relaxed: any number will do.
                NEXT.fetch_add(1, Ordering::Relaxed)
            };
        }
        let stripe = STRIPE.try_with(|stripe| *stripe).unwrap_or_default();
        let count = &seat.inside[stripe as usize % STRIPES].0;
        // ORDER: SeqCst pairs with the swap in `World::remove`: the remover sees the count, or this thread the empty seat.
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // ORDER: Release pairs with the look in `World::remove`: what was done inside is over.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// What is left of a time limit.
pub(crate) fn left(until: Option<Instant>) -> Duration {
    until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_of_ef_io_never_follows_another_in_its_seat() {
        let world = make_world().unwrap();
        let (seat, serial) = world.add(Limits::default()).unwrap();
        world.instance(seat, serial).unwrap().shut_down(Duration::from_secs(5)).unwrap();
        assert!(world.remove(seat, serial));
        let global = world.global(None, false).unwrap();
        let place = &world.seats[usize::from(global.seat)];
        assert_ne!(global.seat, seat);
        assert!(place.permanent.load(Ordering::SeqCst));
        let (again, _) = world.add(Limits::default()).unwrap();
        assert!(again <= seat, "a seat that was left is free for others");
    }
}
