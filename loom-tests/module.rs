//! A small module for models: the real table, pool, files and inbox, with the models' own disk and no engine thread.
//!
//! A scenario builds one, opens a file, lets its threads call, and calls [`Module::run`] where an engine thread would
//! be at work: that polls what was submitted and does the jobs at once, until nothing is left to do.

#![allow(unsafe_code, reason = "the disk reads and writes the bytes of pages")]

use std::sync::{Arc, Mutex};

use crate::config::{Limits, OpenOptions};
use crate::engine::Engine;
use crate::event::{Events, Readiness};
use crate::fd::Fd;
use crate::file::Slot;
use crate::file::commons::Commons;
use crate::file::control::Polled;
use crate::file::lease::PollRight;
use crate::file::note::Notes;
use crate::file::state::mail;
use crate::inbox::Inbox;
use crate::job::cache::{Dropping, Traces};
use crate::job::{Done, Handle, Job, Name, Opened, Outcome, Place, Slices, Work};
use crate::news::{Calls, DEFAULT_INBOX, Inboxes};
use crate::page::{Class, Pool, Prefill};
use crate::sys::Platform;
use crate::table::Table;

/// Events as a consumer has seen them.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) bits: Vec<(Fd, Readiness)>,
}

impl Seen {
    /// How many events had this bit.
    pub(super) fn count(&self, bit: Readiness) -> usize {
        self.bits.iter().filter(|(_, readiness)| readiness.intersects(bit)).count()
    }
}

#[derive(Clone)]
pub(super) struct Module {
    pub(super) engine: Arc<Engine>,
    inbox: Inbox,
    /// The bytes of the one file on the disk.
    pub(super) disk: Arc<Mutex<Vec<u8>>>,
    start_ns: u64,
}

impl Module {
    pub(super) fn new() -> Self {
        Self::with(Limits {
            memory: 2 * Class::Large.bytes(),
            file_memory: Class::Large.bytes(),
            files: 1,
            threads: 1,
            whole_write: Class::Small.bytes(),
            ..Limits::default()
        })
    }

    pub(super) fn with(limits: Limits) -> Self {
        let Some(table) = Table::new(limits.files, Slot::new) else { panic!("memory") };
        let Ok(pool) = Pool::new(limits.memory, Prefill { small: 2, medium: 0, large: 0 }) else {
            panic!("memory")
        };
        let Some(notes) = Notes::new(pool.base(), pool.bytes_limit()) else { panic!("memory") };
        let calls = Calls { wake: Box::new(|| ()), lower: Box::new(|| ()), mark: false };
        let commons = Commons::new(limits, table, pool, notes, Inboxes::new(calls));
        let engine = Arc::new(Engine::new(commons, Platform::Os, None));
        let start_ns = engine.platform.now_ns();
        Self {
            inbox: Inbox::new(engine.clone(), DEFAULT_INBOX, None),
            engine,
            disk: Arc::default(),
            start_ns,
        }
    }

    /// The engine's clock when the module was made, from where a scenario counts.
    pub(super) fn start_ns(&self) -> u64 {
        self.start_ns
    }

    pub(super) fn commons(&self) -> &Commons {
        &self.engine.commons
    }

    pub(super) fn begin_open(&self, options: &OpenOptions) -> Fd {
        self.begin_open_awaited(options, Readiness::NONE)
    }

    /// As `begin_open`, where a task awaits these events from the start.
    pub(super) fn begin_open_awaited(&self, options: &OpenOptions, awaited: Readiness) -> Fd {
        let name = Name { beneath: None, path: c"file".into() };
        let opened = self.commons().open(name, "file".into(), options, DEFAULT_INBOX, awaited.bits(), None);
        let Ok(fd) = opened else { panic!("a place is free") };
        fd
    }

    /// Opens the file, and takes the event.
    pub(super) fn open(&self, options: &OpenOptions) -> Fd {
        let fd = self.begin_open(options);
        self.run();
        let mut seen = Seen::default();
        self.drain(&mut seen);
        assert_eq!(seen.count(Readiness::OPENED), 1);
        fd
    }

    /// What an engine thread does, until nothing is left to do.
    pub(super) fn run(&self) {
        let commons = self.commons();
        while !commons.submissions.is_empty() || commons.pool.wants_refill() || commons.waiters_due() {
            if commons.pool.wants_refill() && commons.pool.refill() || commons.waiters_due() {
                commons.serve_waiters();
            }
            for index in commons.submissions.take_all(&commons.by_submission()) {
                let Some(slot) = commons.table.get(index) else { continue };
                self.poll(slot);
            }
        }
    }

    fn poll(&self, slot: &Slot) {
        let mut out = Polled { now_ns: 1, ..Polled::default() };
        self.commons().poll(slot, PollRight::of(slot), &mut out);
        for job in std::mem::take(&mut out.jobs) {
            let Job { slot: index, kind, work, .. } = job;
            let outcome = self.carry_out(work);
            slot.put_done(Done { slot: index, kind, outcome });
            if slot.mail.post(mail::DONE) {
                self.poll(slot);
            }
        }
    }

    fn carry_out(&self, work: Work) -> Outcome {
        let Ok(mut disk) = self.disk.lock() else { panic!("a disk that panicked") };
        match work {
            Work::Open(_) => Outcome::Opened(Ok(Opened {
                handle: Handle(3),
                size: disk.len() as u64,
                device: 1,
                nowait: false,
                staged: None,
            })),
            Work::Write { place, from, .. } => {
                let at = match place {
                    Place::At(offset) => offset as usize,
                    Place::End | Place::SyncedEnd => disk.len(),
                };
                let size = disk.len().max(at + from.bytes());
                disk.resize(size, 0);
                copy(&from, &mut disk[at..], |page, disk| disk.copy_from_slice(page));
                Outcome::Written { bytes: from.bytes(), fault: None, traces: Traces::default() }
            }
            Work::Fill { offset, into, .. } => {
                let left = disk.get_mut(offset as usize..).unwrap_or_default();
                let bytes = left.len().min(into.bytes());
                copy(&into, &mut left[..bytes], |page, disk| page.copy_from_slice(disk));
                Outcome::Filled { bytes, end: bytes < into.bytes(), fault: None, dropping: Dropping::Untried }
            }
            Work::Close { .. } => Outcome::Closed(Ok(())),
            Work::Sync { .. } => Outcome::Synced(Ok(())),
            _ => Outcome::Changed(Ok(0)),
        }
    }

    pub(super) fn drain(&self, seen: &mut Seen) {
        Self::drain_of(&self.inbox, seen);
    }

    /// Takes what a further inbox has.
    pub(super) fn drain_of(inbox: &Inbox, seen: &mut Seen) {
        let mut events = Events::with_capacity(8);
        while inbox.drain(&mut events) > 0 {
            seen.bits.extend(events.iter().map(|event| (event.fd(), event.readiness())));
        }
    }

    /// As a loop that drains once and ends.
    pub(super) fn drain_once(&self, seen: &mut Seen) {
        let mut events = Events::with_capacity(8);
        self.inbox.drain(&mut events);
        seen.bits.extend(events.iter().map(|event| (event.fd(), event.readiness())));
    }

    /// Ends the scenario: nothing holds a page or a place any more.
    pub(super) fn assert_idle(&self) {
        assert_eq!(self.commons().pool.bytes_in_use(), 0, "a page was lost");
        assert_eq!(self.commons().table.used(), 0, "a place was lost");
    }
}

/// Goes through the pieces of a page and the bytes of the disk that belong to each.
fn copy(pieces: &Slices, mut disk: &mut [u8], action: impl Fn(&mut [u8], &mut [u8])) {
    for piece in pieces.as_slice() {
        let bytes = piece.len.min(disk.len());
        let (now, later) = std::mem::take(&mut disk).split_at_mut(bytes);
        disk = later;
        // SAFETY: the file keeps the pages of a job for as long as the job is out.
        action(unsafe { std::slice::from_raw_parts_mut(piece.start, bytes) }, now);
    }
}
