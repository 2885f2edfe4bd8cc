//! Waiters: files that were refused for want of a page, first come, first served.
//!
//! A refused caller pushes its slot on a list, which waits for nothing. Engine threads keep the queue: when pages came
//! back they tell as many waiters as there are pages, oldest first, and each is told once for each time it was refused.
//! One that does not use its page leaves it for the next, whom the timer tells within 10 ms.

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
    queue: Mutex<VecDeque<u32>>,
    queued: AtomicU32,
    /// Pages came back on a caller's thread: an engine thread is to look.
    due: AtomicBool,
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self {
            list: IndexList::new(),
            queue: Mutex::new(VecDeque::new()),
            queued: AtomicU32::new(0),
            due: AtomicBool::new(false),
        }
    }

    fn is_empty(&self) -> bool {
        // ORDER: Relaxed: a count; who waits and is in neither place yet looks for a page once more.
        self.list.is_empty() && self.queued.load(Ordering::Relaxed) == 0
    }
}

impl Commons {
    /// Somebody waits for a page.
    pub(crate) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
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
        queue.extend(self.waiters.list.take_all(&self.by_waiter()));
        let (mut pages, mut floor) = (self.pool.pages_free(), self.pool.floor_free());
        for _ in 0..queue.len() {
            let Some(index) = queue.pop_front() else { break };
            // The reserve is for those who hold no page at all.
            let reserved = pages == 0 && floor > 0 && self.table.get(index).is_some_and(Slot::holds_none);
            if pages == 0 && !reserved {
                queue.push_back(index);
            } else if self.tell_waiter(index) {
                if reserved { floor -= 1 } else { pages -= 1 }
            }
        }
        // ORDER: Relaxed: a count, under the lock.
        self.waiters.queued.store(queue.len() as u32, Ordering::Relaxed);
        if !queue.is_empty() {
            self.clock.sleeper.wake();
        }
    }

    /// True: it still wanted a page.
    fn tell_waiter(&self, index: u32) -> bool {
        let Some(slot) = self.table.get(index) else { return false };
        let taken = slot.want.take(want::PAGE | want::WRITE | want::FILL);
        if taken & want::WRITE != 0 {
            self.raise(slot, Readiness::WRITABLE.bits());
        }
        if taken & want::FILL != 0 {
            self.post(slot, mail::FILL);
        }
        taken & (want::WRITE | want::FILL) != 0
    }
}
