//! Uncached files: what the jobs of a file tell one another of the page cache, kept between them.

use crate::job::cache::{Dropping, Leaving, Traces, Uncached};

use super::Slot;
use super::commons::Commons;
use super::control::Control;

impl Control {
    /// How a write at `base` is to treat the page cache.
    pub(super) fn uncached_write(&self, base: u64, slot: &Slot) -> Option<Uncached> {
        if !self.setup.uncached {
            return None;
        }
        Some(Uncached {
            grows: self.setup.append || base >= slot.size(),
            // Never beside a sync: see `Uncached`.
            settles: !self.busy.sync && !self.sync.is_due(slot),
            traces: self.rare.as_ref().map_or_else(Traces::default, |rare| rare.traces),
        })
    }

    /// What a write left behind, for the next one.
    pub(super) fn traced(&mut self, traces: Traces, commons: &Commons) {
        if self.setup.uncached {
            let before = std::mem::replace(&mut self.rare().traces, traces);
            Self::count_dropping(before.dropping, traces.dropping, commons);
        }
    }

    /// How a read is to treat the page cache.
    pub(super) fn uncached_fill(&self) -> Option<Dropping> {
        let known = || self.rare.as_ref().map_or(Dropping::Untried, |rare| rare.dropping_reads);
        self.setup.uncached.then(known)
    }

    /// Who drops what reads bring in, as one has found out.
    pub(super) fn found_dropping(&mut self, dropping: Dropping, commons: &Commons) {
        if self.setup.uncached {
            let before = std::mem::replace(&mut self.rare().dropping_reads, dropping);
            Self::count_dropping(before, dropping, commons);
        }
    }

    fn count_dropping(before: Dropping, now: Dropping, commons: &Commons) {
        match now {
            Dropping::Kernel if before != now => commons.totals.dropped_by_kernel.add(1),
            Dropping::ByHand if before != now => commons.totals.dropped_by_hand.add(1),
            _ => {}
        }
    }

    /// Another file, or another opening, is behind the handle.
    pub(super) fn traces_end(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.traces = Traces::default();
            rare.dropping_reads = Dropping::default();
        }
    }

    /// What the close does about the page cache. A file that goes with its close takes its pages along. After any read all is
    /// dropped, also where the kernel drops: not what it has read ahead.
    pub(super) fn leaving(&self, slot: &Slot) -> Leaving {
        let goes = self.rare.as_ref().is_some_and(|rare| rare.staged.is_some());
        let untouched = self.uncached_fill() == Some(Dropping::Untried) && slot.write.accepted() == 0;
        match (self.setup.uncached && !goes && !untouched, slot.write.accepted() > 0) {
            (false, _) => Leaving::Keep,
            (true, false) => Leaving::Forget,
            (true, true) => Leaving::Settle,
        }
    }
}
