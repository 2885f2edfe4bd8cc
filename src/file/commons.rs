//! Commons: what all files of a module share: the table, the pages, the lists, and the bells that wake others.
//!
//! Everything that a caller's thread may ring is here, and nothing here blocks: a bell is at most one futex wake.

use std::time::Duration;

use crate::config::Limits;
use crate::fd::Fd;
use crate::news::Inboxes;
use crate::page::{Class, Page, Pool};
use crate::queue::{IndexList, Links};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, Seats, Sleeper, fence};
use crate::table::Table;

use super::Slot;
use super::note::Notes;
use super::state::Arming;
use super::totals::Totals;
use super::waiters::Waiters;

/// How long the timer sleeps, for those who wonder whether it must be woken.
const FOR_EVER: u64 = u64::MAX;

/// The timer's bell.
#[derive(Debug)]
pub(crate) struct Clock {
    pub(crate) sleeper: Sleeper,
    /// The nanoseconds that the present sleep lasts at most.
    sleep_ns: AtomicU64,
    /// Somebody wants to know whether more threads are needed.
    growth: AtomicBool,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Commons {
    pub(crate) limits: Limits,
    pub(crate) table: Table<Slot>,
    pub(crate) pool: Pool,
    pub(crate) notes: Notes,
    pub(crate) inboxes: Inboxes,
    /// Rung by each close that somebody sleeps for.
    pub(crate) closings: AtomicU32,
    pub(crate) seats: Seats,
    pub(crate) clock: Clock,
    pub(crate) submissions: IndexList,
    pub(crate) dirty: IndexList,
    pub(crate) waiters: Waiters,
    /// What was done over the module's life.
    pub(crate) totals: Totals,
    /// Stands in for a link that cannot be missing, where statics cannot.
    #[cfg(efio_loom)]
    nowhere: AtomicU32,
}

/// A list's links inside the slots.
#[derive(Debug)]
pub(crate) struct By<'a> {
    table: &'a Table<Slot>,
    pick: fn(&Slot) -> &AtomicU32,
    nowhere: &'a AtomicU32,
}

impl Links for By<'_> {
    fn link(&self, index: u32) -> &AtomicU32 {
        let slot = self.table.get(index);
        debug_assert!(slot.is_some(), "only slots of the table are in lists");
        slot.map_or(self.nowhere, self.pick)
    }
}

/// Stands in for a link that cannot be missing.
#[cfg(not(efio_loom))]
static NOWHERE: AtomicU32 = AtomicU32::new(0);

impl Commons {
    pub(crate) fn new(
        limits: Limits,
        table: Table<Slot>,
        pool: Pool,
        notes: Notes,
        inboxes: Inboxes,
    ) -> Self {
        Self {
            seats: Seats::new(limits.threads),
            limits,
            table,
            pool,
            notes,
            inboxes,
            closings: AtomicU32::new(0),
            clock: Clock {
                sleeper: Sleeper::new(),
                sleep_ns: AtomicU64::new(0),
                growth: AtomicBool::new(false),
            },
            submissions: IndexList::new(),
            dirty: IndexList::new(),
            waiters: Waiters::new(),
            totals: Totals::new(),
            #[cfg(efio_loom)]
            nowhere: AtomicU32::new(0),
        }
    }

    #[cfg(not(efio_loom))]
    fn by(&self, pick: fn(&Slot) -> &AtomicU32) -> By<'_> {
        By { table: &self.table, pick, nowhere: &NOWHERE }
    }

    #[cfg(efio_loom)]
    fn by(&self, pick: fn(&Slot) -> &AtomicU32) -> By<'_> {
        By { table: &self.table, pick, nowhere: &self.nowhere }
    }

    pub(crate) fn by_submission(&self) -> By<'_> {
        self.by(|slot| &slot.links.submission)
    }

    pub(crate) fn by_ready(&self) -> By<'_> {
        self.by(|slot| &slot.links.ready)
    }

    pub(crate) fn by_dirty(&self) -> By<'_> {
        self.by(|slot| &slot.links.dirty)
    }

    pub(crate) fn by_waiter(&self) -> By<'_> {
        self.by(|slot| &slot.links.waiter)
    }

    /// The slot of a handle, whatever life it is in.
    #[inline]
    pub(crate) fn slot(&self, fd: Fd) -> Option<&Slot> {
        self.table.get(fd.index())
    }

    /// Posts hints to a slot and sees to it that it is polled.
    pub(crate) fn post(&self, slot: &Slot, hints: u32) {
        if slot.mail.post(hints) {
            self.submit(slot);
        }
    }

    /// Puts a slot that the caller may poll on the list for an engine thread to poll.
    pub(crate) fn submit(&self, slot: &Slot) {
        if self.submissions.push(&self.by_submission(), slot.index).0 {
            self.ring();
        }
    }

    /// Wakes an engine thread; with all of them at work, tells the timer to see that one comes free.
    pub(crate) fn ring(&self) {
        if !self.seats.wake_one() {
            // ORDER: AcqRel: one of several asks; the timer lowers it before it looks at the work.
            if !self.clock.growth.swap(true, Ordering::AcqRel) {
                self.clock.sleeper.wake();
            }
        }
    }

    /// The timer: whether more threads may be needed.
    pub(crate) fn growth_asked(&self) -> bool {
        // ORDER: Acquire pairs with the swap in `ring`.
        self.clock.growth.load(Ordering::Acquire)
    }

    /// The timer lowers the question, before it looks whether work waits.
    pub(crate) fn growth_answered(&self) {
        // ORDER: AcqRel: the look that follows sees the work of whoever found the flag up.
        self.clock.growth.swap(false, Ordering::AcqRel);
    }

    /// Puts a dirty file on the timer's list, once, and wakes the timer if it would sleep past the file's interval.
    #[cold]
    pub(crate) fn arm(&self, slot: &Slot) {
        match slot.armed.arm() {
            Arming::Already => return,
            Arming::Listed => {}
            Arming::Push => _ = self.dirty.push(&self.by_dirty(), slot.index),
        }
        // ORDER: Relaxed: set when the file was opened, before it could be dirty.
        let interval = slot.write.interval_ns.load(Ordering::Relaxed);
        // ORDER: SeqCst pairs with the fence in `Sleeper::prepare`.
        fence(Ordering::SeqCst);
        // ORDER: Relaxed behind the fence: either the timer's last look sees the list, or this sees how long it sleeps.
        if self.clock.sleep_ns.load(Ordering::Relaxed) > interval {
            self.clock.sleeper.wake();
        }
    }

    /// The timer says how long it is about to sleep, before it announces the sleep.
    pub(crate) fn set_sleep(&self, sleep: Option<Duration>) {
        let ns = sleep.map_or(FOR_EVER, |sleep| u64::try_from(sleep.as_nanos()).unwrap_or(FOR_EVER));
        // ORDER: Relaxed: the fence in `Sleeper::prepare` follows; pairs with `arm`.
        self.clock.sleep_ns.store(ns, Ordering::Relaxed);
    }

    /// Half of the pool is in use: reading ahead holds back.
    pub(crate) fn is_tight(&self) -> bool {
        self.pool.bytes_in_use() > self.pool.bytes_limit() / 2
    }

    /// Takes a page of `class`, or a smaller one that still holds `least` bytes, or a larger one; from the reserve only
    /// for a file that holds none.
    pub(crate) fn take_page(
        &self,
        slot: &Slot,
        class: Class,
        least: usize,
        most: usize,
        holds_none: bool,
    ) -> Option<Page> {
        let fits = |class: &Class| class.bytes() >= least;
        let page = Class::ALL
            .into_iter()
            .rev()
            .filter(|smaller| *smaller <= class)
            .filter(fits)
            .chain(Class::ALL.into_iter().filter(|larger| *larger > class && larger.bytes() <= most))
            .filter(|_| self.may_take(slot))
            .find_map(|class| self.pool.take(class))
            .or_else(|| {
                (holds_none && least <= Class::Small.bytes()).then(|| self.pool.take_floor()).flatten()
            });
        if self.pool.wants_refill() {
            self.ring();
        }
        page
    }

    /// Frees a slot whose last answer was taken.
    pub(crate) fn free(&self, slot: &Slot) {
        slot.state.free();
        self.table.release(slot.index);
    }
}
