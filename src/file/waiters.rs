//! Waiters: files that were refused for want of a page, first come, first served.
//!
//! A refused caller pushes its slot on a list, which waits for nothing. Engine threads keep the queue: when pages came
//! back they tell as many waiters as there are pages, oldest first, and each is told once for each time it was refused.
//! Who is told has a page promised, for 10 ms or until it takes one: files that never waited leave as many pages as are
//! promised, or waited for. What was not used by then is the next one's; the timer sees to that.

use std::collections::VecDeque;

use crate::event::Readiness;
use crate::page::Page;
use crate::queue::IndexList;
use crate::sync::{AtomicBool, AtomicU32, Mutex, Ordering, fence, lock};

use super::Slot;
use super::commons::Commons;
use super::state::{mail, want};

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Waiters {
    /// Slots that wait and are not in the queue yet; a slot is in one of the two at most once (`want::PAGE`).
    list: IndexList,
    /// A lock among engine threads.
    queue: Mutex<Queue>,
    queued: AtomicU32,
    /// Pages that those who were told have not taken yet.
    promised: AtomicU32,
    /// Pages came back on a caller's thread: an engine thread is to look.
    due: AtomicBool,
}

/// How long a page is kept for one who was told.
const PROMISE_NS: u64 = 10_000_000;

/// Who waits, and who was told: each slot is in either at most once.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<u32>,
    /// With the time at which the timer met it there.
    told: VecDeque<(u32, Option<u64>)>,
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self {
            list: IndexList::new(),
            queue: Mutex::default(),
            queued: AtomicU32::new(0),
            promised: AtomicU32::new(0),
            due: AtomicBool::new(false),
        }
    }

    fn is_empty(&self) -> bool {
        // ORDER: Relaxed: a count; who waits and is in neither place yet looks for a page once more.
        self.list.is_empty() && self.queued.load(Ordering::Relaxed) == 0
    }

    fn promised(&self) -> u32 {
        // ORDER: Relaxed: a count.
        self.promised.load(Ordering::Relaxed)
    }
}

impl Commons {
    /// Somebody waits for a page.
    pub(crate) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Somebody waits for a page, or is about to take one.
    pub(crate) fn has_promises(&self) -> bool {
        self.has_waiters() || self.waiters.promised() > 0
    }

    /// Whether a file may take a page before those who wait: one was promised to it, or there are enough for all.
    pub(crate) fn may_take(&self, slot: &Slot) -> bool {
        if !self.has_promises() || slot.want.has(want::PROMISED) {
            return true;
        }
        let (free, promised) = (self.pool.pages_free(), self.waiters.promised() as usize);
        if free > promised + self.waiting() + usize::from(!self.waiters.list.is_empty()) {
            return true;
        }
        if free > promised {
            // This one is about to wait, or does: an engine thread is to tell those whose turn it is.
            // ORDER: Release pairs with `waiters_due`.
            self.waiters.due.store(true, Ordering::Release);
            self.ring();
        }
        false
    }

    /// The slot has taken a page: what was promised to it is given.
    pub(crate) fn keep_promise(&self, slot: &Slot) {
        if self.waiters.promised() > 0 && slot.want.take(want::PROMISED) != 0 {
            // ORDER: Relaxed: a count; the bit was taken, so it is counted off once.
            self.waiters.promised.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes back the promises that were not used in time. For the timer.
    pub(crate) fn end_promises(&self, now_ns: u64) {
        let mut queue = lock(&self.waiters.queue);
        for _ in 0..queue.told.len() {
            let Some((index, since)) = queue.told.pop_front() else { break };
            let Some(slot) = self.table.get(index) else { continue };
            let since = since.unwrap_or(now_ns);
            if slot.want.has(want::PROMISED) && now_ns < since.saturating_add(PROMISE_NS) {
                queue.told.push_back((index, Some(since)));
                continue;
            }
            self.keep_promise(slot);
            slot.want.take(want::TOLD);
        }
    }

    /// Files in the queue for a page.
    pub(crate) fn waiting(&self) -> usize {
        // ORDER: Relaxed: a count.
        self.waiters.queued.load(Ordering::Relaxed) as usize
    }

    /// Pages came back on a caller's thread since the last look.
    pub(crate) fn waiters_due(&self) -> bool {
        // ORDER: Acquire pairs with `page_back`.
        self.waiters.due.load(Ordering::Acquire)
    }

    /// Puts a page back from a caller's thread; an engine thread tells those who wait.
    pub(crate) fn page_back(&self, page: Page) {
        self.pool.put(page);
        // ORDER: SeqCst pairs with the fence in `wait_for_page`.
        fence(Ordering::SeqCst);
        if self.has_waiters() {
            // ORDER: Release: the page is back before the mark is seen.
            self.waiters.due.store(true, Ordering::Release);
            self.ring();
        }
    }

    /// Queues a slot for a page, once. The caller has set what it wants, and looks once more afterwards.
    pub(crate) fn wait_for_page(&self, slot: &Slot) {
        if slot.want.set(want::PAGE) {
            let _ = self.waiters.list.push(&self.by_waiter(), slot.index);
        }
        // ORDER: SeqCst pairs with the fences in `serve_waiters` and `page_back`: either they see the waiter, or its
        // second look sees the pages that went back before.
        fence(Ordering::SeqCst);
        if self.pool.wants_refill() {
            self.ring();
        }
    }

    /// Tells waiters, oldest first, as many as there are pages. For engine threads.
    pub(crate) fn serve_waiters(&self) {
        // ORDER: AcqRel: what comes back after this look marks it anew. Lowered whatever the look finds, or engine threads
        // would go on looking.
        self.waiters.due.swap(false, Ordering::AcqRel);
        // ORDER: SeqCst pairs with the fence in `wait_for_page`.
        fence(Ordering::SeqCst);
        if self.waiters.is_empty() {
            return;
        }
        let mut queue = lock(&self.waiters.queue);
        queue.waiting.extend(self.waiters.list.take_all(&self.by_waiter()));
        let mut pages = self.pool.pages_free().saturating_sub(self.waiters.promised() as usize);
        let mut floor = self.pool.floor_free();
        for _ in 0..queue.waiting.len() {
            let Some(index) = queue.waiting.pop_front() else { break };
            // The reserve is for those who hold no page at all.
            let reserved = pages == 0 && floor > 0 && self.table.get(index).is_some_and(Slot::holds_none);
            if pages == 0 && !reserved {
                queue.waiting.push_back(index);
            } else if self.tell_waiter(index, (!reserved).then_some(&mut queue.told)) {
                if reserved { floor -= 1 } else { pages -= 1 }
            }
        }
        // ORDER: Relaxed: a count, under the lock.
        self.waiters.queued.store(queue.waiting.len() as u32, Ordering::Relaxed);
        if !queue.waiting.is_empty() || !queue.told.is_empty() {
            self.clock.sleeper.wake();
        }
    }

    /// True: it still wanted a page. With a list, one is promised to it.
    fn tell_waiter(&self, index: u32, told: Option<&mut VecDeque<(u32, Option<u64>)>>) -> bool {
        let Some(slot) = self.table.get(index) else { return false };
        let taken = slot.want.take(want::PAGE | want::WRITE | want::FILL);
        if let Some(told) = told.filter(|_| taken & (want::WRITE | want::FILL) != 0) {
            // Counted before the bit is there to be taken.
            // ORDER: Relaxed: a count.
            self.waiters.promised.fetch_add(1, Ordering::Relaxed);
            if !slot.want.set(want::PROMISED) {
                // It has one already.
                // ORDER: Relaxed: as above.
                self.waiters.promised.fetch_sub(1, Ordering::Relaxed);
            }
            if slot.want.set(want::TOLD) {
                told.push_back((index, None));
            }
        }
        if taken & want::WRITE != 0 {
            self.raise(slot, Readiness::WRITABLE.bits());
        }
        if taken & want::FILL != 0 {
            self.post(slot, mail::FILL);
        }
        taken & (want::WRITE | want::FILL) != 0
    }
}
