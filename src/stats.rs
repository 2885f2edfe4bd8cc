//! Stats and Info: what a module has done, holds and found, read without stopping anybody.

use std::fmt;
use std::time::Duration;

use crate::efio::Efio;
use crate::job::Kind;
use crate::news::News;
use crate::sync::fence;

/// What a module is and found at run time: [`Efio::info`].
///
/// ```
/// let info = efio::Efio::new()?.info();
/// assert_eq!((info.backend, info.files_limit), ("threads", 1 << 20));
/// # Ok::<(), efio::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The version of this crate.
    pub version: &'static str,
    /// Who does the jobs: `threads`, or `sim` on a simulated disk.
    pub backend: &'static str,
    /// The kernel reads what is in memory without waiting (`RWF_NOWAIT`), so that cached bytes need no thread.
    pub read_nowait: bool,
    /// The kernel resolves names beneath a folder (`openat2`); without it every component is opened by itself.
    pub resolves_beneath: bool,
    /// The kernel fences for the rare side (`membarrier`), so that a write needs no fence of its own.
    pub membarrier: bool,
    /// The kernel itself drops what the files of this module opened with [`CacheMode::Uncached`](crate::CacheMode::Uncached) bring
    /// into its cache (`RWF_DONTCACHE`). It depends on the file system too: false once one has refused, `None` while there was no
    /// long write and no read of such a file.
    pub dont_cache: Option<bool>,
    /// Bytes of pages of the module, as [`Builder::memory_limit`](crate::Builder::memory_limit) set it, rounded up to whole MiB.
    pub memory_limit: u64,
    /// Bytes of accepted data of one file.
    pub file_memory_limit: u64,
    /// Open files and queued metadata calls.
    pub files_limit: u32,
    /// Engine threads.
    pub threads_limit: usize,
    /// Bytes of one write that are taken whole or not at all.
    pub whole_write: usize,
    /// Bytes read ahead for one file.
    pub read_ahead: usize,
    /// How long an accepted byte stays in memory only.
    pub flush_interval: Duration,
}

/// What a module has done so far and holds now: [`Efio::stats`].
///
/// The figures are taken one after the other while everything goes on, so they fit together as well as a moment's worth
/// of work allows. [`figures`](Self::figures) lists them by name.
///
/// ```
/// let stats = efio::Efio::new()?.stats();
/// assert_eq!((stats.files_open, stats.bytes_accepted), (0, 0));
/// assert!(stats.to_string().starts_with("files_open 0, "));
/// # Ok::<(), efio::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Files that are open, being opened or being closed.
    pub files_open: u64,
    /// Of those, files whose bytes the disk refuses for now.
    pub files_stalled: u64,
    /// Of those, files that have failed.
    pub files_poisoned: u64,
    /// Queued metadata calls whose answers were not taken.
    pub calls_queued: u64,
    /// Files in the queue for a page.
    pub files_waiting: u64,
    /// Files opened since the start.
    pub files_opened: u64,
    /// Files closed since the start.
    pub files_closed: u64,
    /// Bytes taken by writes since the start.
    pub bytes_accepted: u64,
    /// Of those, bytes that are in their files.
    pub bytes_written: u64,
    /// Of those, bytes known to survive a loss of power.
    pub bytes_durable: u64,
    /// Bytes of files that ended without them: told by their closed events, or aborted.
    pub bytes_lost: u64,
    /// How often a disk began to refuse the bytes of a file.
    pub stalls: u64,
    /// How many files have failed for good.
    pub poisons: u64,
    /// Wake-ups sent to the loop.
    pub wake_ups: u64,
    /// Panics of the program's own functions: [`Efio::contained_panics`].
    pub contained_panics: u64,
    /// Jobs done: reads, writes, syncs, opens and metadata, closes.
    pub jobs_fill: u64,
    /// Jobs that wrote.
    pub jobs_write: u64,
    /// Jobs that made bytes durable.
    pub jobs_sync: u64,
    /// Jobs that opened, published, or asked for metadata.
    pub jobs_meta: u64,
    /// Jobs that closed.
    pub jobs_close: u64,
    /// Jobs that read by offset.
    pub jobs_fetch: u64,
    /// Engine threads alive, the timer's not counted.
    pub threads: u64,
    /// Bytes of all pages there can be.
    pub page_bytes_limit: u64,
    /// Bytes of the pages that are taken.
    pub page_bytes_used: u64,
    /// Of those, bytes of pages that hold accepted data.
    pub page_bytes_writing: u64,
    /// Pages that hold what was read ahead.
    pub pages_reading: u64,
    /// Pages of 4 KiB that there are now, free or taken: memory goes from one size to another as it is needed.
    pub pages_small: u64,
    /// Pages of 64 KiB.
    pub pages_medium: u64,
    /// Pages of 1 MiB.
    pub pages_large: u64,
    /// Pages of the reserve, of 4 KiB, for files that hold none.
    pub pages_reserve: u64,
    /// Pages of 4 KiB that are taken.
    pub pages_used_small: u64,
    /// Pages of 64 KiB that are taken.
    pub pages_used_medium: u64,
    /// Pages of 1 MiB that are taken.
    pub pages_used_large: u64,
    /// Pages of the reserve that are taken.
    pub pages_used_reserve: u64,
    /// Free pages of 4 KiB.
    pub pages_free_small: u64,
    /// Free pages of 64 KiB.
    pub pages_free_medium: u64,
    /// Free pages of 1 MiB.
    pub pages_free_large: u64,
    /// Free pages of the reserve.
    pub pages_free_reserve: u64,
    /// Bytes that were not cut into pages yet.
    pub page_bytes_uncut: u64,
}

/// Whether a figure only grows, or is of this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FigureKind {
    /// It only grows.
    Total,
    /// It is of this moment.
    Gauge,
}

impl Stats {
    /// All figures by name, in a fixed order: for a page of statistics, or an exporter.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, FigureKind, u64)> {
        use FigureKind::{Gauge, Total};
        [
            ("files_open", Gauge, self.files_open),
            ("files_stalled", Gauge, self.files_stalled),
            ("files_poisoned", Gauge, self.files_poisoned),
            ("calls_queued", Gauge, self.calls_queued),
            ("files_waiting", Gauge, self.files_waiting),
            ("files_opened", Total, self.files_opened),
            ("files_closed", Total, self.files_closed),
            ("bytes_accepted", Total, self.bytes_accepted),
            ("bytes_written", Total, self.bytes_written),
            ("bytes_durable", Total, self.bytes_durable),
            ("bytes_lost", Total, self.bytes_lost),
            ("stalls", Total, self.stalls),
            ("poisons", Total, self.poisons),
            ("wake_ups", Total, self.wake_ups),
            ("contained_panics", Total, self.contained_panics),
            ("jobs_fill", Total, self.jobs_fill),
            ("jobs_write", Total, self.jobs_write),
            ("jobs_sync", Total, self.jobs_sync),
            ("jobs_meta", Total, self.jobs_meta),
            ("jobs_close", Total, self.jobs_close),
            ("jobs_fetch", Total, self.jobs_fetch),
            ("threads", Gauge, self.threads),
            ("page_bytes_limit", Gauge, self.page_bytes_limit),
            ("page_bytes_used", Gauge, self.page_bytes_used),
            ("page_bytes_writing", Gauge, self.page_bytes_writing),
            ("pages_reading", Gauge, self.pages_reading),
            ("pages_small", Gauge, self.pages_small),
            ("pages_medium", Gauge, self.pages_medium),
            ("pages_large", Gauge, self.pages_large),
            ("pages_reserve", Gauge, self.pages_reserve),
            ("pages_used_small", Gauge, self.pages_used_small),
            ("pages_used_medium", Gauge, self.pages_used_medium),
            ("pages_used_large", Gauge, self.pages_used_large),
            ("pages_used_reserve", Gauge, self.pages_used_reserve),
            ("pages_free_small", Gauge, self.pages_free_small),
            ("pages_free_medium", Gauge, self.pages_free_medium),
            ("pages_free_large", Gauge, self.pages_free_large),
            ("pages_free_reserve", Gauge, self.pages_free_reserve),
            ("page_bytes_uncut", Gauge, self.page_bytes_uncut),
        ]
        .into_iter()
    }
}

impl fmt::Display for Stats {
    /// `name number`, separated by commas, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, _, figure) in self.figures() {
            write!(f, "{separator}{name} {figure}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl Efio {
    /// What the module is and found at run time. It asks the kernel a few questions, so it is for the start of a program,
    /// not for its loop.
    #[must_use]
    pub fn info(&self) -> Info {
        let engine = self.engine();
        let limits = &engine.commons.limits;
        let totals = &engine.commons.totals;
        let found = engine.platform.features();
        Info {
            version: env!("CARGO_PKG_VERSION"),
            backend: if engine.platform.is_virtual() { "sim" } else { "threads" },
            read_nowait: found.read_nowait,
            resolves_beneath: found.resolves_beneath,
            membarrier: fence::is_light(),
            dont_cache: match (totals.dropped_by_hand.get(), totals.dropped_by_kernel.get()) {
                (0, 0) => None,
                (by_hand, _) => Some(by_hand == 0),
            },
            memory_limit: engine.commons.pool.bytes_limit() as u64,
            file_memory_limit: limits.file_memory as u64,
            files_limit: limits.files,
            threads_limit: limits.threads,
            whole_write: limits.whole_write,
            read_ahead: limits.read_ahead,
            flush_interval: limits.flush_interval,
        }
    }

    /// What the module has done so far and holds now. Never waits; it looks at every slot of the table that was ever
    /// used, so with 100,000 open files it takes some milliseconds. Counting costs the reads and writes nothing: engine
    /// threads do it, and what open files have moved is added up here.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let engine = self.engine();
        let commons = &engine.commons;
        let (totals, pool) = (&commons.totals, &commons.pool);
        // The totals first: a file that closes meanwhile is missed rather than counted twice.
        let closed =
            [&totals.accepted, &totals.written, &totals.durable, &totals.lost].map(|total| total.get());
        let census = commons.census();
        let jobs = |kind| totals.job(kind).get();
        let pages = pool.counts();
        let all = pages.map(|(all, _)| u64::from(all));
        let free = pages.map(|(_, free)| u64::from(free));
        let used = pages.map(|(all, free)| u64::from(all.saturating_sub(free)));
        Stats {
            files_open: census.files,
            files_stalled: census.stalled,
            files_poisoned: census.poisoned,
            calls_queued: census.calls,
            files_waiting: commons.waiting() as u64,
            files_opened: totals.opened.get(),
            files_closed: totals.closed.get(),
            bytes_accepted: closed[0] + census.progress.accepted,
            bytes_written: closed[1] + census.progress.written,
            bytes_durable: closed[2] + census.progress.durable,
            bytes_lost: closed[3],
            stalls: totals.stalls.get(),
            poisons: totals.poisons.get(),
            wake_ups: commons.inboxes.iter().map(News::wakes).sum(),
            contained_panics: self.contained_panics(),
            jobs_fill: jobs(Kind::Fill),
            jobs_write: jobs(Kind::Write),
            jobs_sync: jobs(Kind::Sync),
            jobs_meta: jobs(Kind::Meta),
            jobs_close: jobs(Kind::Close),
            jobs_fetch: jobs(Kind::Fetch(0)),
            threads: u64::from(engine.threads()),
            page_bytes_limit: pool.bytes_limit() as u64,
            page_bytes_used: pool.bytes_in_use() as u64,
            page_bytes_writing: census.writing,
            pages_reading: census.reading,
            pages_small: all[0],
            pages_medium: all[1],
            pages_large: all[2],
            pages_reserve: all[3],
            pages_used_small: used[0],
            pages_used_medium: used[1],
            pages_used_large: used[2],
            pages_used_reserve: used[3],
            pages_free_small: free[0],
            pages_free_medium: free[1],
            pages_free_large: free[2],
            pages_free_reserve: free[3],
            page_bytes_uncut: pool.bytes_uncut() as u64,
        }
    }

    /// Publishes [`Efio::stats`] through the `metrics` facade, each figure as `efio_` and its name: totals as counters,
    /// the others as gauges. To be called as often as a fresh figure is wanted, on any thread but the loop's.
    #[cfg(feature = "metrics")]
    pub fn publish_metrics(&self) {
        for (name, kind, figure) in self.stats().figures() {
            let name = format!("efio_{name}");
            match kind {
                FigureKind::Total => metrics::counter!(name).absolute(figure),
                FigureKind::Gauge => metrics::gauge!(name).set(figure as f64),
            }
        }
    }
}
