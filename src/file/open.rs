//! Opening: a caller claims a slot and leaves a request; the actor opens and sets the file up.

use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::{CacheMode, Durability, OnFull, OpenOptions};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::job::handles::HandleWork;
use crate::job::names::NameWork;
use crate::job::{Fault, Kind, Name, OpenWork, Opened, Work};
use crate::sync::{Ordering, lock};

use super::Slot;
use super::commons::Commons;
use super::control::{Control, Polled};
use super::journal::Change;
use super::state::{Phase, flag, mail, want};

/// What a caller leaves for the actor of a new slot.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it passes through the slot in a box")]
pub(crate) enum Request {
    Open(OpenRequest),
    /// A queued metadata call.
    Op(Work),
}

/// A file to be opened.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) work: Box<OpenWork>,
    pub(crate) setup: Setup,
    pub(crate) path: PathBuf,
    /// The timer still has the slot on its list, from a file that was not in such a hurry.
    pub(crate) sooner: bool,
    /// Opened elsewhere, to be taken over.
    pub(crate) adopted: Option<OwnedFd>,
}

/// What the actor has to remember of the options.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) durability: Durability,
    pub(crate) on_full: OnFull,
    pub(crate) append: bool,
    pub(crate) atomic: bool,
    /// The file may have been made by this open, so its name is not durable yet.
    pub(crate) creates: bool,
    /// Written pages are kept until they are durable.
    pub(crate) retain: bool,
    /// Its reads and writes are to leave nothing in the page cache.
    pub(crate) uncached: bool,
}

/// The mode and the flags of most files.
pub(super) const DEFAULT_OPEN: (u32, i32) = (0o666, 0);

impl Commons {
    /// `ef_open`: claims the lowest free slot and leaves the request. What is `awaited` is for a task, and not for the inbox.
    pub(crate) fn open(
        &self,
        name: Name,
        path: PathBuf,
        options: &OpenOptions,
        inbox: u32,
        awaited: u32,
        adopted: Option<OwnedFd>,
    ) -> Result<Fd> {
        options.check().map_err(|error| error.with_path(&path))?;
        let Some(slot) = self.claim() else {
            return Err(Error::plain(ErrorKind::TableFull, Operation::Open, None).with_path(&path));
        };
        let write = options.write || options.append;
        let mut flags = 0;
        for (chosen, flag) in [
            (options.read, flag::READ),
            (write, flag::WRITE),
            (options.append, flag::APPEND),
            (options.durability == Durability::EveryWrite, flag::EAGER),
            (options.durability == Durability::Interval, flag::TIMED),
            (options.atomic, flag::ATOMIC),
            (options.retain && write, flag::RETAIN),
            (options.cache == CacheMode::Uncached, flag::UNCACHED),
        ] {
            flags |= if chosen { flag } else { 0 };
        }
        let interval = options.flush_interval.unwrap_or(self.limits.flush_interval);
        let limit = options.memory_limit.unwrap_or(self.limits.file_memory);
        let generation = slot.state.load().generation();
        self.begin_life(slot, Life { generation, token: options.token, op: false, inbox, awaited });
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let eager = options.durability == Durability::EveryWrite;
        let sooner = slot.armed.is_set() && (eager || interval_ns < slot.write.interval_ns());
        slot.write.reset(generation, limit, interval_ns, options.order);
        slot.put_request(Box::new(Request::Open(OpenRequest {
            work: Box::new(work_of(options, name)),
            setup: Setup {
                durability: options.durability,
                on_full: options.on_full,
                append: options.append,
                atomic: options.atomic,
                creates: options.create || options.create_new,
                retain: options.retain && write,
                uncached: options.cache == CacheMode::Uncached,
            },
            path,
            sooner,
            adopted,
        })));
        slot.state.begin(Phase::Opening, flags);
        self.post(slot, mail::OPEN);
        Ok(Fd::new(slot.index, generation))
    }

    /// A queued metadata call: the same table, a slot of its own. The work is taken if there is one.
    pub(crate) fn op(&self, work: &mut Option<Work>, token: u64, inbox: u32) -> Option<Fd> {
        let slot = self.claim()?;
        let work = work.take()?;
        let generation = slot.state.load().generation();
        self.begin_life(slot, Life { generation, token, op: true, inbox, awaited: 0 });
        slot.put_request(Box::new(Request::Op(work)));
        slot.state.begin(Phase::Op, 0);
        self.post(slot, mail::OPEN);
        Some(Fd::new(slot.index, generation))
    }

    fn claim(&self) -> Option<&Slot> {
        let index = self.table.claim()?;
        self.table.get(index)
    }

    /// `ef_open_status`.
    pub(crate) fn open_status(&self, fd: Fd) -> Result<()> {
        let stale = || Error::stale(Operation::Open, fd);
        let slot = self.slot(fd).ok_or_else(stale)?;
        let seen = slot.state.load();
        match seen.phase() {
            _ if !seen.is(fd) => Err(stale()),
            // The owner is told of it; by the handle it is the last answer, which comes with the end.
            Phase::Opening if seen.has(flag::FAILED) && seen.has(flag::OWNED) => {
                Err(slot.first_error().unwrap_or_else(stale))
            }
            Phase::Opening => Err(Error::would_block(Operation::Open, fd)),
            Phase::Open => Ok(()),
            Phase::Closed if seen.has(flag::FAILED) => {
                match self.take_closed(slot, fd) {
                    // Its event is on the way.
                    None => Err(Error::would_block(Operation::Open, fd)),
                    Some(answer) => answer.and_then(|()| Err(stale())),
                }
            }
            _ => Err(stale()),
        }
    }
}

fn path_of(name: &Name) -> Box<Path> {
    Path::new(OsStr::from_bytes(name.path.to_bytes())).into()
}

/// The name that a queued call is about, for its error.
fn name_in(work: &Work) -> Option<&Name> {
    match work {
        Work::Stat { name, .. } | Work::Unlink { name, .. } | Work::OpenFolder { name } => Some(name),
        Work::Rename { from, .. } => Some(from),
        Work::Names(work) => match &**work {
            NameWork::MakeFolder { name, .. }
            | NameWork::Symlink { name, .. }
            | NameWork::ReadLink { name }
            | NameWork::SetMode { name, .. }
            | NameWork::SetTimes { name, .. } => Some(name),
            NameWork::Link { from, .. } => Some(from),
            NameWork::StatFolder { .. }
            | NameWork::SyncFolder { .. }
            | NameWork::CloseFolder { .. }
            | NameWork::ReadFolder { .. } => None,
        },
        _ => None,
    }
}

/// The part of the options that the platform needs.
fn work_of(options: &OpenOptions, name: Name) -> OpenWork {
    OpenWork {
        name,
        read: options.read,
        write: options.write || options.append,
        append: options.append,
        create: options.create,
        create_new: options.create_new,
        truncate: options.truncate,
        data_sync: options.durability == Durability::EveryWrite,
        atomic: options.atomic,
        block_device: options.block_device,
        uncached: options.cache == CacheMode::Uncached,
        look_first: options.look_first,
        mode: options.mode,
        custom_flags: options.custom_flags,
    }
}

/// What a new life of a slot begins with.
struct Life {
    generation: u32,
    token: u64,
    op: bool,
    inbox: u32,
    awaited: u32,
}

impl Commons {
    /// Sets up what both a file and an op begin with; the slot is the claimer's alone.
    fn begin_life(&self, slot: &Slot, life: Life) {
        let Life { generation, token, op, inbox, awaited } = life;
        let rebound = slot.pending.begin(generation, op, inbox, awaited);
        self.settle_rebound(rebound);
        // PAGE stays: the slot may still stand in the queue for pages from its last life.
        slot.want.take(want::WRITE | want::TURN | want::LEND | want::READ | want::FILL | want::SHUT);
        slot.set_written(0);
        slot.set_durable(0);
        slot.set_size(0);
        // ORDER: Relaxed: published with the request.
        slot.token.store(token, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        slot.sync_asked.store(u64::from(generation) << 32, Ordering::Relaxed);
        slot.meta.reset(generation);
        if !op {
            slot.read.reset();
        }
        // Wakers of the last life, which are the program's own, are dropped outside the lock.
        let before = lock(&slot.report).take();
        drop(before);
    }
}

impl Control {
    /// The actor meets a new life of its slot.
    pub(super) fn begin(&mut self, request: Request, slot: &Slot, out: &mut Polled) {
        *self = Self::default();
        self.alive = true;
        match request {
            Request::Open(open) => {
                self.setup = open.setup;
                self.path = Some(open.path.into_boxed_path());
                self.sync.name_owed = open.setup.creates && !open.setup.atomic;
                if self.sync.name_owed {
                    self.keep_name(&open.work.name);
                }
                if open.sooner {
                    out.renew(slot);
                }
                // A file that was cut is not durably empty before a sync.
                self.sync.metadata_changed = open.work.truncate;
                self.busy.meta = true;
                let with = (open.work.mode, open.work.custom_flags);
                if with != DEFAULT_OPEN {
                    self.rare().opened_with = Some(with);
                }
                if self.setup.retain {
                    self.retained = Some(Box::default());
                }
                let work = match open.adopted {
                    Some(descriptor) => {
                        self.path = None;
                        Work::Handle(Box::new(HandleWork::Adopt { descriptor, work: open.work }))
                    }
                    None => Work::Open(open.work),
                };
                out.job(slot, self.device, Kind::Meta, work);
            }
            Request::Op(work) => {
                self.path = name_in(&work).map(path_of);
                self.busy.meta = true;
                out.job(slot, 0, Kind::Meta, work);
            }
        }
    }

    /// The open is done.
    pub(super) fn opened(
        &mut self,
        result: std::result::Result<Opened, Fault>,
        slot: &Slot,
        commons: &Commons,
    ) {
        match result {
            Ok(opened) => {
                self.handle = Some(opened.handle);
                self.device = opened.device;
                if opened.staged.is_some() {
                    self.rare().staged = opened.staged;
                }
                slot.set_size(opened.size);
                self.set_append_end(opened.size);
                // ORDER: Release: read by a first try once the state says OPEN.
                slot.handle.store(opened.handle.0 as u32, Ordering::Release);
                if self.setup.durability == Durability::EveryWrite && self.sync.name_owed {
                    // Its writes are durable by themselves; its name is made so once, now.
                    self.sync.want(0);
                }
                commons.totals.opened.add(1);
                self.tell(slot, Change::Opened);
                if slot.state.opened(if opened.nowait { flag::NOWAIT } else { 0 }) {
                    let mut bits = Readiness::OPENED;
                    let taken = slot.want.take(want::WRITE | want::READ);
                    bits |= if taken & want::WRITE != 0 { Readiness::WRITABLE } else { Readiness::NONE };
                    bits |= if taken & want::READ != 0 { Readiness::READABLE } else { Readiness::NONE };
                    commons.raise(slot, bits.bits());
                }
            }
            Err(fault) => {
                let error = self.error_of(slot, fault, None);
                self.fail_open(error, slot, commons);
            }
        }
    }

    /// The open failed. A descriptor's file ends at once; one that is owned by then ends when its `File` does, so its
    /// owner is told now.
    pub(super) fn fail_open(&mut self, error: Error, slot: &Slot, commons: &Commons) {
        slot.with_report(|report| report.error = Some(error));
        self.failed_open = true;
        self.tell(slot, Change::NotOpened);
        slot.state.set(flag::FAILED);
        slot.want.take(want::WRITE | want::READ);
        if !self.shut_window(slot, commons) {
            commons.raise(slot, (Readiness::OPENED | Readiness::ERROR).bits());
        }
    }

    /// Remembers where the file's name is until that is durable: beneath a folder, or by its path, which a change of
    /// the process's own folder does not move. One of the two is enough.
    pub(super) fn keep_name(&mut self, name: &Name) {
        if name.beneath.is_some() {
            self.name = Some(Box::new(name.clone()));
        } else {
            self.path = Some(path_of(name));
        }
    }

    /// The name that is to be made durable.
    pub(super) fn owed_name(&self) -> Option<Name> {
        if !self.sync.name_owed {
            return None;
        }
        self.name.as_deref().cloned().or_else(|| {
            let path = CString::new(self.path.as_deref()?.as_os_str().as_bytes()).ok()?;
            Some(Name { beneath: None, path })
        })
    }

    /// What a fault is to the user.
    pub(super) fn error_of(&self, slot: &Slot, fault: Fault, offset: Option<u64>) -> Error {
        let mut error = if fault.note.is_empty() {
            Error::os(fault.operation, fault.errno)
        } else {
            Error::refused(fault.operation, fault.errno, fault.note)
        };
        error = error.with_fd(slot.fd());
        if let Some(path) = &self.path {
            error = error.with_path(path);
        }
        match offset {
            Some(offset) => error.with_offset(offset),
            None => error,
        }
    }
}
