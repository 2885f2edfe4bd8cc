//! File: one open file as its slot in the table; which side owns which field, and when.
//!
//! A file is an actor. Callers never touch what it is about to do: they copy bytes into its open cell, take bytes from
//! its window, set a request in a word, and *post* a hint. At most one thread at a time *polls* the slot (see
//! [`Mail`](state::Mail)); a poll is short, does no I/O and yields [`Job`](crate::job::Job)s. Whoever runs a job brings
//! its `Done` back and polls again.
//!
//! | field | who | when |
//! | --- | --- | --- |
//! | `state`, `mail`, `pending`, `want`, `armed` | anyone | by the transitions of [`state`] |
//! | `write` | writers; the flusher below the position | as [`cell`] says |
//! | `read` | the holder of the read claim; the actor fills its ring | as [`window`] says |
//! | `control` | the holder of the right to poll | between `Mail::post` and `Mail::rest` |
//! | `request` | a caller puts it, the actor takes it | swapped |
//! | `report`, `answer` | the actor until CLOSED is raised, then the taker of the last answer | |
//!
//! A slot is never freed or moved, so a late handle reads words, finds another generation in them, and is told so.

pub(crate) mod answer;
pub(crate) mod cell;
pub(crate) mod close;
pub(crate) mod commons;
pub(crate) mod control;
pub(crate) mod events;
pub(crate) mod fill;
pub(crate) mod flush;
pub(crate) mod gather;
mod journal;
pub(crate) mod lease;
pub(crate) mod lend;
pub(crate) mod meta;
pub(crate) mod note;
pub(crate) mod offset;
pub(crate) mod open;
pub(crate) mod opener;
pub(crate) mod per_thread;
pub(crate) mod places;
pub(crate) mod poll;
pub(crate) mod read;
pub(crate) mod read_at;
pub(crate) mod retain;
pub(crate) mod state;
pub(crate) mod stripe;
pub(crate) mod swap;
pub(crate) mod sync;
pub(crate) mod tasks;
pub(crate) mod totals;
pub(crate) mod uncached;
pub(crate) mod waiters;
pub(crate) mod weave;
pub(crate) mod window;
pub(crate) mod write;
pub(crate) mod write_at;

use crate::error::Error;
use crate::fd::Fd;
use crate::job::{Done, Handle, Stat};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Mutex, Ordering, UnsafeCell};

use control::Control;
use meta::MetaRequest;
use open::Request;
use places::Places;
use state::{Armed, Mail, Pending, State, Want};
use window::ReadSide;
use write::WriteSide;

/// The links by which a slot can be in the lists of the module, each at most once.
#[derive(Debug)]
pub(crate) struct SlotLinks {
    pub(crate) submission: AtomicU32,
    pub(crate) ready: AtomicU32,
    pub(crate) dirty: AtomicU32,
    pub(crate) waiter: AtomicU32,
}

/// One place of the table.
///
/// In the order of who touches what, by cache lines: an engine thread that takes a page in or brings one back changes none of the
/// lines that a caller looks at or changes with each call, so that those stay with its processor.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    // Looked at by callers, changed seldom.
    pub(crate) state: State,
    pub(crate) token: AtomicU64,
    request: AtomicPtr<Request>,
    /// For reads by offset; made by the first that needs it, and kept for the next life.
    places: AtomicPtr<Places>,
    pub(crate) meta: MetaRequest,
    /// Syncs asked for: generation:32 | count:32.
    pub(crate) sync_asked: AtomicU64,
    pub(crate) index: u32,
    pub(crate) armed: Armed,
    pub(crate) want: Want,
    // Changed by writers; `write` ends with what engine threads change.
    /// The first error that nothing has healed. A short lock, only taken where a file has failed or ends.
    pub(crate) report: Mutex<Option<Box<Report>>>,
    pub(crate) write: WriteSide,
    pub(crate) pending: Pending,
    pub(crate) links: SlotLinks,
    /// Bytes since the open that are in the file, and that are durable.
    pub(crate) written: AtomicU64,
    pub(crate) durable: AtomicU64,
    /// The size of the file as last seen.
    pub(crate) size: AtomicU64,
    pub(crate) mail: Mail,
    /// What the platform calls the file, for a first try without waiting.
    pub(crate) handle: AtomicU32,
    dones: AtomicPtr<DoneNode>,
    pub(crate) control: UnsafeCell<Control>,
    // What a reader changes is at the end of it.
    pub(crate) read: ReadSide,
}

/// How a file ended, or an op was answered; and which tasks wait for it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) error: Option<Error>,
    /// The error of the last event, where it is not the first one (a failed truncate).
    pub(crate) news: Option<Error>,
    /// Accepted bytes that are not known to be in the file.
    pub(crate) lost: u64,
    pub(crate) answer: Option<answer::Answered>,
    /// Of the tasks that wait, by direction.
    pub(crate) wakers: tasks::Wakers,
    /// The metadata of the open file, until it is taken.
    pub(crate) stat: Option<crate::error::Result<Box<Stat>>>,
}

#[derive(Debug)]
struct DoneNode {
    done: Done,
    next: *mut DoneNode,
}

// A million open files are to fit, and lines are as `Slot` says.
#[cfg(all(not(efio_loom), target_os = "linux", target_pointer_width = "64"))]
const _: () = {
    use std::mem::offset_of;
    const LINE: usize = 64;
    assert!(std::mem::size_of::<Slot>() <= 640, "a slot is at most 640 bytes");
    assert!(offset_of!(Slot, write) > LINE, "writers' lines are not those that callers look at");
    assert!((offset_of!(Slot, write) + write::ENGINE_PART) % LINE == 0, "nor those of the engine");
    assert!(offset_of!(Slot, read) + window::READER_PART >= 640 - LINE, "a reader's line is the last");
};

impl Slot {
    pub(crate) fn new(index: u32) -> Self {
        Self {
            state: State::new(),
            token: AtomicU64::new(0),
            request: AtomicPtr::new(std::ptr::null_mut()),
            places: AtomicPtr::new(std::ptr::null_mut()),
            meta: MetaRequest::new(),
            sync_asked: AtomicU64::new(0),
            index,
            armed: Armed::new(),
            want: Want::new(),
            report: Mutex::default(),
            write: WriteSide::new(),
            pending: Pending::new(),
            links: SlotLinks {
                submission: AtomicU32::new(0),
                ready: AtomicU32::new(0),
                dirty: AtomicU32::new(0),
                waiter: AtomicU32::new(0),
            },
            written: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            size: AtomicU64::new(0),
            mail: Mail::new(),
            handle: AtomicU32::new(0),
            dones: AtomicPtr::new(std::ptr::null_mut()),
            control: UnsafeCell::new(Control::default()),
            read: ReadSide::new(),
        }
    }

    /// The handle of the file that is in the slot now.
    pub(crate) fn fd(&self) -> Fd {
        Fd::new(self.index, self.state.load().generation())
    }

    /// What the platform calls the file, once it is open.
    pub(crate) fn handle(&self) -> Handle {
        // ORDER: Acquire: set by the actor before the file was open.
        Handle(self.handle.load(Ordering::Acquire) as i32)
    }

    pub(crate) fn written(&self) -> u64 {
        // ORDER: Acquire pairs with `set_written`: what is counted is in the file.
        self.written.load(Ordering::Acquire)
    }

    pub(crate) fn durable(&self) -> u64 {
        // ORDER: Acquire pairs with `set_durable`.
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn set_written(&self, bytes: u64) {
        // ORDER: Release pairs with `written`. The actor alone stores.
        self.written.store(bytes, Ordering::Release);
    }

    pub(crate) fn set_durable(&self, bytes: u64) {
        // ORDER: Release pairs with `durable`. The actor alone stores.
        self.durable.store(bytes, Ordering::Release);
    }

    pub(crate) fn size(&self) -> u64 {
        // ORDER: Acquire pairs with `set_size`.
        self.size.load(Ordering::Acquire)
    }

    pub(crate) fn set_size(&self, bytes: u64) {
        // ORDER: Release pairs with `size`.
        self.size.store(bytes, Ordering::Release);
    }

    pub(crate) fn token(&self) -> u64 {
        // ORDER: Relaxed: set before the handle exists.
        self.token.load(Ordering::Relaxed)
    }

    /// No page of the pool is this file's: neither accepted bytes nor a window.
    pub(crate) fn holds_none(&self) -> bool {
        self.read.pages() == 0 && self.write.held() == 0
    }

    /// A look at the report, made when it is first needed: most files never do.
    pub(crate) fn with_report<R>(&self, action: impl FnOnce(&mut Report) -> R) -> R {
        action(crate::sync::lock(&self.report).get_or_insert_default())
    }

    /// The first error that stands, as the answer to an operation.
    pub(crate) fn first_error(&self) -> Option<Error> {
        self.with_report(|report| report.error.clone())
    }
}
