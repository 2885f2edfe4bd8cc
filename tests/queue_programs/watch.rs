//! Who asked for a signal: told once, no later than by the change, and never without having asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One side's wish, and the signals that came.
#[derive(Default)]
pub struct Watch {
    signals: Arc<AtomicUsize>,
    seen: usize,
    asked: bool,
}

impl Watch {
    /// What the queue is given.
    pub fn signal(&self) -> impl Fn() + Send + Sync + 'static {
        let signals = self.signals.clone();
        move || _ = signals.fetch_add(1, Ordering::Relaxed)
    }

    /// The side is about to ask; to ask twice is one wish.
    pub fn arm(&mut self) {
        self.asked = true;
    }

    /// After a call: if it `changed` what was asked for, the signal is there. It may come for less.
    pub fn check(&mut self, changed: bool) {
        let came = self.signals.load(Ordering::Relaxed) - self.seen;
        assert!(came <= usize::from(self.asked), "{came} signals nobody asked for");
        assert!(!(self.asked && changed) || came == 1, "the wish was not fulfilled");
        self.asked &= came == 0;
        self.seen += came;
    }
}
