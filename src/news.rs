//! News: one consumer of events; the slots that have some, and how their consumer is woken.
//!
//! A slot is in the list at most once, so the list needs no bound of its own. The wake-up is sent when the list goes
//! from empty to not empty and the flag goes up; the consumer lowers the flag, then drains. What a drain leaves stays
//! in order and wakes the consumer again.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, TryLockError};
use std::time::Duration;

use crate::queue::{IndexList, Links, Taken};
use crate::sync::{
    AtomicBool, AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering, Sleeper, SpinRwLock, WakeFlag,
};

mod inboxes;

pub(crate) use inboxes::{Binding, DEFAULT_INBOX, INBOXES_LIMIT, Inboxes};

/// A function that wakes the consumer, or takes its mark away; must not block.
pub(crate) type Call = Box<dyn Fn() + Send + Sync>;

/// Who drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consumer {
    /// A loop, which may have been called by a mark that has to be taken away.
    Loop,
    /// A thread in `wait`, which looks at the list whatever it was woken by.
    Sleeper,
}

/// How the consumer of an inbox is woken.
pub(crate) struct Calls {
    /// Called on the thread that has the news.
    pub(crate) wake: Call,
    /// Called on the consumer's, before each drain.
    pub(crate) lower: Call,
    /// The mark is for whoever looks for news and of no use beside a thread that is woken out of `wait`. A function of the
    /// program's own is called whoever is awake.
    pub(crate) mark: bool,
}

/// The ready list of one inbox and its wake-up.
pub(crate) struct News {
    ready: IndexList,
    flag: WakeFlag,
    sleeper: Sleeper,
    /// `None` while nobody is to be woken: the inbox is gone.
    calls: SpinRwLock<Option<Arc<Calls>>>,
    /// The oldest slot of what the last drain left.
    left: Mutex<Option<u32>>,
    /// A drain met another one at work.
    missed: AtomicBool,
    /// Slots of other inboxes may stand in the list.
    strays: AtomicBool,
    /// Last answers taken outside the drain.
    taken: AtomicU32,
    wakes: AtomicU64,
    /// Panics of the program's own functions, contained.
    panics: AtomicU64,
}

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ORDER: Relaxed: a figure for people.
        let wakes = self.wakes.load(Ordering::Relaxed);
        f.debug_struct("News").field("wakes", &wakes).field("panics", &self.panics()).finish_non_exhaustive()
    }
}

impl News {
    pub(crate) fn new(calls: Calls) -> Self {
        Self { calls: SpinRwLock::new(Some(Arc::new(calls))), ..Self::mute() }
    }

    /// A list of whose news nobody is told yet.
    fn mute() -> Self {
        Self {
            ready: IndexList::new(),
            flag: WakeFlag::new(),
            sleeper: Sleeper::new(),
            calls: SpinRwLock::new(None),
            left: Mutex::new(None),
            missed: AtomicBool::new(false),
            strays: AtomicBool::new(false),
            taken: AtomicU32::new(0),
            wakes: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }

    /// Puts a slot that is not in the list on it.
    pub(crate) fn push(&self, links: &impl Links, index: u32) {
        if self.ready.push(links, index).0 {
            self.call();
        }
    }

    fn call(&self) {
        // Whatever the flag says: who sleeps has looked at the list and not at the flag, which may still be up from news
        // that a drain found before its pusher came to raise it.
        let woken = self.sleeper.wake();
        // Who is woken out of `wait` drains before anything else, so it needs no mark.
        let enough = woken && self.calls().is_none_or(|calls| calls.mark);
        let raised = !enough && self.flag.raise();
        if woken || raised {
            // ORDER: Relaxed: a count.
            self.wakes.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(calls) = raised.then(|| self.calls()).flatten() {
            self.contain(&calls.wake);
        }
    }

    fn calls(&self) -> Option<Arc<Calls>> {
        self.calls.read().clone()
    }

    /// From here on another consumer is woken, or nobody; a call to the one before may be under way.
    fn set_calls(&self, calls: Option<Calls>) {
        let before = std::mem::replace(&mut *self.calls.write(), calls.map(Arc::new));
        // The program's own functions are dropped outside the lock.
        drop(before);
        // What was called before, nobody heard.
        self.flag.lower();
        if self.has_news() {
            self.call();
        }
    }

    /// Calls a function of the program's own; one that panics ends nothing of ours and is counted.
    pub(crate) fn contain(&self, function: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(function)).is_err() {
            // ORDER: Relaxed: a count.
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A last answer was taken outside the drain; gives how many were before.
    pub(crate) fn count_taken(&self) -> u32 {
        // ORDER: Relaxed: a count.
        self.taken.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes slots out of the list that are not for its consumer, as `is_over` says; the others stay. A sweep that meets
    /// a drain at work does nothing.
    pub(crate) fn sweep(&self, links: &impl Links, is_over: impl FnMut(u32) -> bool) {
        let Some(left) = self.try_left() else { return };
        self.sweep_locked(left, links, is_over);
    }

    fn sweep_locked(
        &self,
        mut left: MutexGuard<'_, Option<u32>>,
        links: &impl Links,
        mut is_over: impl FnMut(u32) -> bool,
    ) {
        let mut kept = Vec::new();
        let older = Taken::resume(&self.ready, links, left.take());
        kept.extend(older.filter(|index| !is_over(*index)));
        kept.extend(self.ready.take_all(links).filter(|index| !is_over(*index)));
        // Under the lock still: who looks for a slot while it is in no list leaves word, and is made up for.
        for index in kept {
            self.push(links, index);
        }
        drop(left);
        self.make_up();
    }

    /// Sweeps slots of other inboxes out, for sure: if a drain or a sweep is at work, it finds by `take_strays` at its end
    /// that it has to.
    pub(crate) fn forward(&self, links: &impl Links, mut is_stray: impl FnMut(u32) -> bool) {
        loop {
            // ORDER: AcqRel: before the try of the lock; pairs with the swap in `take_strays`, as in `drain`.
            self.strays.swap(true, Ordering::AcqRel);
            let Some(left) = self.try_left() else { return };
            let _ = self.take_strays();
            self.sweep_locked(left, links, &mut is_stray);
            if !self.take_strays() {
                return;
            }
        }
    }

    /// After the lock was let go: whether somebody who met it taken has slots of other inboxes swept out.
    #[must_use]
    pub(crate) fn take_strays(&self) -> bool {
        // ORDER: AcqRel: pairs with the swap in `forward`.
        self.strays.swap(false, Ordering::AcqRel)
    }

    /// Hands the slots that have news to `visit`, oldest first, until it returns false (that slot counts as visited).
    /// A drain that meets another one at work gets nothing, and the other one calls the consumer again.
    pub(crate) fn drain(&self, links: &impl Links, who: Consumer, mut visit: impl FnMut(u32) -> bool) {
        let mut left = self.try_left();
        if left.is_none() {
            // ORDER: AcqRel: seen by the other drain once it has let go; if it has by now, this one goes on.
            self.missed.swap(true, Ordering::AcqRel);
            left = self.try_left();
        }
        let Some(left) = left else { return };
        self.drain_locked(left, links, who, &mut visit);
        self.make_up();
    }

    /// After the lock was let go: calls the consumer for a drain that met it taken.
    fn make_up(&self) {
        // ORDER: AcqRel: after the lock was let go; pairs with the swap in `drain`.
        if self.missed.swap(false, Ordering::AcqRel) {
            // The call that the other one answered may have been the one for what came meanwhile.
            self.flag.lower();
            if self.has_news() {
                self.call();
            }
        }
    }

    fn try_left(&self) -> Option<MutexGuard<'_, Option<u32>>> {
        match self.left.try_lock() {
            Ok(left) => Some(left),
            Err(TryLockError::Poisoned(left)) => Some(left.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn drain_locked(
        &self,
        mut left: MutexGuard<'_, Option<u32>>,
        links: &impl Links,
        who: Consumer,
        visit: &mut impl FnMut(u32) -> bool,
    ) {
        // A sleeper whom nobody called otherwise has no mark to take away, which is a system call. A call that comes after
        // the look leaves its mark for the next drain.
        if who == Consumer::Loop || self.flag.is_up() {
            self.lower();
        }
        // What was left is older than what came since. What comes during the drain raises the flag anew and waits for
        // the next one, so a drain is bounded by the list it found.
        let older = Taken::resume(&self.ready, links, left.take());
        let mut stopped;
        (*left, stopped) = Self::visit_all(older, visit);
        if !stopped {
            (*left, stopped) = Self::visit_all(self.ready.take_all(links), visit);
        }
        // Stopped by the very last of the older ones, it has not looked at what came since.
        if left.is_some() || stopped && !self.ready.is_empty() {
            self.call();
        }
    }

    fn lower(&self) {
        // The mark of the call first, then the flag: one that is called between the two finds the flag up, and what it
        // pushed is found below. The other way round its mark would be wiped while its flag stays up, and nobody would
        // be called again.
        if let Some(calls) = self.calls() {
            (calls.lower)();
        }
        self.flag.lower();
    }

    /// Visits until told to stop; gives the oldest of what is left, and whether it was told to.
    fn visit_all<L: Links>(
        mut taken: Taken<'_, L>,
        visit: &mut impl FnMut(u32) -> bool,
    ) -> (Option<u32>, bool) {
        while let Some(index) = taken.next() {
            if !visit(index) {
                return (taken.suspend(), true);
            }
        }
        (None, false)
    }

    /// Sleeps until there is news, at most for `timeout`.
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        self.sleeper.prepare();
        if self.has_news() {
            self.sleeper.cancel();
        } else {
            self.sleeper.sleep(timeout);
        }
    }

    pub(crate) fn has_news(&self) -> bool {
        !self.ready.is_empty() || self.left.try_lock().is_ok_and(|left| left.is_some())
    }

    /// Wake-ups sent so far.
    pub(crate) fn wakes(&self) -> u64 {
        // ORDER: Relaxed: a figure.
        self.wakes.load(Ordering::Relaxed)
    }

    /// Panics of the program's own functions so far.
    pub(crate) fn panics(&self) -> u64 {
        // ORDER: Relaxed: a count.
        self.panics.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::sync::AtomicU32;

    struct Two([AtomicU32; 2]);

    impl Links for Two {
        fn link(&self, index: u32) -> &AtomicU32 {
            &self.0[index as usize]
        }
    }

    #[test]
    fn a_wake_function_that_panics_is_counted_and_loses_no_news() {
        let links = Two(std::array::from_fn(|_| AtomicU32::new(0)));
        let wake: Call = Box::new(|| panic!("the wake function's own fault"));
        let news = News::new(Calls { wake, lower: Box::new(|| ()), mark: false });
        for (round, index) in [1, 0].into_iter().enumerate() {
            news.push(&links, index);
            assert_eq!(news.panics(), round as u64 + 1);
            let mut seen = Vec::new();
            news.drain(&links, Consumer::Loop, |index| {
                seen.push(index);
                true
            });
            assert_eq!(seen, [index]);
        }
    }

    #[test]
    fn who_is_woken_out_of_a_wait_needs_no_mark_but_a_function_is_called() {
        for mark in [true, false] {
            let links = Two(std::array::from_fn(|_| AtomicU32::new(0)));
            let marks = Arc::new(AtomicU32::new(0));
            let raised = Arc::clone(&marks);
            let wake: Call = Box::new(move || _ = raised.fetch_add(1, Ordering::Relaxed));
            let news = News::new(Calls { wake, lower: Box::new(|| ()), mark });
            news.sleeper.prepare();
            news.push(&links, 0);
            assert_eq!(marks.load(Ordering::Relaxed), u32::from(!mark), "beside a thread that is woken");
            let mut seen = 0;
            news.drain(&links, Consumer::Sleeper, |_| {
                seen += 1;
                true
            });
            news.push(&links, 1);
            assert_eq!((seen, news.wakes()), (1, 2));
            assert_eq!(marks.load(Ordering::Relaxed), 1 + u32::from(!mark), "nobody waits any more");
        }
    }

    #[test]
    fn a_slot_that_is_rebound_while_a_sweep_puts_it_back_is_handed_on() {
        struct Rebinder {
            news: std::sync::OnceLock<std::sync::Weak<News>>,
            links: Two,
            met: Mutex<Vec<u32>>,
        }
        let links = Two(std::array::from_fn(|_| AtomicU32::new(0)));
        let rebinder = Arc::new(Rebinder { news: std::sync::OnceLock::new(), links, met: Mutex::default() });
        let other = Arc::clone(&rebinder);
        // Called as the first of two slots is back in the list: whoever rebinds the second one comes at this moment.
        let wake = move || {
            if let Some(news) = other.news.get().and_then(std::sync::Weak::upgrade) {
                news.forward(&other.links, |index| {
                    other.met.lock().unwrap().push(index);
                    false
                });
            }
        };
        let news = Arc::new(News::new(Calls { wake: Box::new(wake), lower: Box::new(|| ()), mark: false }));
        news.push(&rebinder.links, 0);
        news.push(&rebinder.links, 1);
        news.flag.lower();
        let _ = rebinder.news.set(Arc::downgrade(&news));
        news.sweep(&rebinder.links, |_| false);
        let found = rebinder.met.lock().unwrap().len() == 2;
        assert!(found || news.take_strays(), "neither the rebinder nor the sweep sees to the second slot");
    }
}
