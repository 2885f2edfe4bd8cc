//! Totals: what a module has done so far, counted by engine threads only, never by a call.

use crate::event::Progress;
use crate::job::Kind;
use crate::sync::{AtomicU64, Ordering};

use super::commons::Commons;
use super::note::GRANULE;
use super::state::{Phase, flag};

/// One count.
#[derive(Debug)]
pub(crate) struct Count(AtomicU64);

impl Count {
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn add(&self, more: u64) {
        // ORDER: Relaxed: a figure, which orders nothing.
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        // ORDER: Relaxed: a figure.
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts over the life of a module. Those in bytes are of files that are closed.
#[derive(Debug)]
pub(crate) struct Totals {
    /// Bytes accepted by `ef_write`.
    pub(crate) accepted: Count,
    /// Of those, written to the file.
    pub(crate) written: Count,
    /// Of those, known to be durable.
    pub(crate) durable: Count,
    /// Of those, reported as lost by a closed event, or dropped by an abort.
    pub(crate) lost: Count,
    pub(crate) opened: Count,
    pub(crate) closed: Count,
    pub(crate) stalls: Count,
    pub(crate) poisons: Count,
    /// Uncached files whose transfers the kernel drops, and those for which it would not.
    pub(crate) dropped_by_kernel: Count,
    pub(crate) dropped_by_hand: Count,
    /// Finished jobs, by kind.
    pub(crate) jobs: [Count; 6],
}

impl Totals {
    pub(crate) fn new() -> Self {
        Self {
            accepted: Count::new(),
            written: Count::new(),
            durable: Count::new(),
            lost: Count::new(),
            opened: Count::new(),
            closed: Count::new(),
            stalls: Count::new(),
            poisons: Count::new(),
            dropped_by_kernel: Count::new(),
            dropped_by_hand: Count::new(),
            jobs: std::array::from_fn(|_| Count::new()),
        }
    }

    pub(crate) fn job(&self, kind: Kind) -> &Count {
        let place = match kind {
            Kind::Fill => 0,
            Kind::Write => 1,
            Kind::Sync => 2,
            Kind::Meta => 3,
            Kind::Close => 4,
            Kind::Fetch(_) => 5,
        };
        &self.jobs[place]
    }
}

/// What the slots hold at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Census {
    pub(crate) files: u64,
    pub(crate) calls: u64,
    pub(crate) stalled: u64,
    pub(crate) poisoned: u64,
    /// Bytes of pages that hold accepted data.
    pub(crate) writing: u64,
    /// Pages read ahead.
    pub(crate) reading: u64,
    /// Of all open files together.
    pub(crate) progress: Progress,
}

impl Commons {
    /// Looks at every slot that was ever used.
    pub(crate) fn census(&self) -> Census {
        let mut census = Census::default();
        for (_, slot) in self.table.iter() {
            let seen = slot.state.load();
            match seen.phase() {
                Phase::Op => census.calls += 1,
                Phase::Opening | Phase::Open | Phase::Closing => {
                    census.files += 1;
                    census.stalled += u64::from(seen.has(flag::STALLED));
                    census.poisoned += u64::from(seen.has(flag::POISONED));
                    census.writing += u64::from(slot.write.held()) * GRANULE as u64;
                    census.reading += slot.read.pages() as u64;
                    // In this order, none is behind the one after it.
                    census.progress.durable += slot.durable();
                    census.progress.written += slot.written();
                    census.progress.accepted += slot.write.accepted();
                }
                _ => {}
            }
        }
        census
    }
}
