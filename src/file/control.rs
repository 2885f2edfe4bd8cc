//! Control: what a file's actor knows, and one step of it.
//!
//! A step takes the hints and the finished jobs, then asks each concern in turn what it can begin: writing, syncing,
//! filling, the request, closing. Each looks at the words and decides anew; the hints only say that a look is worth while.
//! So a step may come too often and does no harm.

use std::path::Path;

use crate::error::{Error, ErrorKind, Operation};
use crate::event::Readiness;
use crate::job::{Done, Fault, Handle, Job, Kind, Name, Outcome, Work};

use super::Slot;
use super::close::Rare;
use super::commons::Commons;
use super::fill::Fill;
use super::flush::Flush;
use super::journal::Change;
use super::lease::PollRight;
use super::open::Setup;
use super::places::Places;
use super::retain::Retained;
use super::state::{Phase, flag, mail, want};
use super::sync::Syncing;

/// Which of the embedded jobs are out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Busy {
    pub(super) fill: bool,
    pub(super) write: bool,
    /// The write may wait for what was written before, and hear of its errors in place of a sync.
    pub(super) settling: bool,
    pub(super) sync: bool,
    pub(super) meta: bool,
    pub(super) close: bool,
    /// A bit for each read by offset.
    pub(super) fetches: u8,
    /// The request out is a truncate or asks for the size: no write may pass it.
    pub(super) barrier: bool,
}

impl Busy {
    pub(super) fn any(self) -> bool {
        self.fill || self.write || self.sync || self.meta || self.close || self.fetches != 0
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// There is a file, or an op, that has not ended.
    pub(super) alive: bool,
    pub(super) failed_open: bool,
    pub(super) poisoned: bool,
    pub(super) busy: Busy,
    pub(super) setup: Setup,
    pub(super) handle: Option<Handle>,
    pub(super) device: u64,
    pub(super) path: Option<Box<Path>>,
    /// Where the file's name is, while it is not durable.
    pub(super) name: Option<Box<Name>>,
    pub(super) flush: Flush,
    pub(super) sync: Syncing,
    pub(super) fill: Fill,
    /// Of a file that keeps what is not durable.
    pub(super) retained: Option<Box<Retained>>,
    pub(super) rare: Option<Box<Rare>>,
}

/// A slot that the timer is to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Later {
    pub(crate) slot: u32,
    pub(crate) at_ns: u64,
    /// It is on the list of dirty files with a stamp of its last life.
    pub(crate) renew: bool,
}

/// What a poll asks of the engine.
#[derive(Debug, Default)]
pub(crate) struct Polled {
    /// Nanoseconds of the engine's clock at the begin of the poll.
    pub(crate) now_ns: u64,
    /// Jobs to run.
    pub(crate) jobs: Vec<Job>,
    /// Slots to be looked at again, and when.
    pub(crate) later: Vec<Later>,
}

impl Polled {
    pub(super) fn job(&mut self, slot: &Slot, device: u64, kind: Kind, work: Work) {
        self.jobs.push(Job { slot: slot.index, kind, device, work });
    }

    pub(super) fn look_again(&mut self, slot: &Slot, at_ns: u64) {
        self.later.push(Later { slot: slot.index, at_ns, renew: false });
    }

    /// The slot's entry on the timer's list is an old one: it is to be stamped anew.
    pub(super) fn renew(&mut self, slot: &Slot) {
        self.later.push(Later { slot: slot.index, at_ns: self.now_ns, renew: true });
    }
}

impl Commons {
    /// Polls a slot until its mail is empty. The caller has the right to.
    pub(crate) fn poll(&self, slot: &Slot, right: PollRight, out: &mut Polled) {
        debug_assert_eq!(slot.index, right.slot(), "a right is for one slot");
        loop {
            let hints = slot.mail.take();
            slot.with_control(&right, |control| control.step(hints, slot, self, out));
            if slot.mail.rest() {
                return;
            }
        }
    }
}

impl Control {
    fn step(&mut self, hints: u32, slot: &Slot, commons: &Commons, out: &mut Polled) {
        let request = if hints & mail::OPEN != 0 { slot.take_request() } else { None };
        if let Some(request) = request {
            self.begin(*request, slot, out);
        }
        if hints & mail::DONE != 0 {
            for done in slot.take_dones() {
                self.finish(done, slot, commons, out);
            }
        }
        if !self.alive || slot.state.load().phase() == Phase::Op {
            return;
        }
        self.hear(hints, slot, commons);
        if hints & mail::IDLE != 0 {
            self.let_go(slot, commons);
            // An idle file holds no page, retained ones neither.
            self.squeeze(slot);
        }
        self.drive(slot, commons, out);
    }

    /// Takes up what the hints and the words ask for.
    fn hear(&mut self, hints: u32, slot: &Slot, commons: &Commons) {
        if hints & (mail::FLUSH | mail::TIMER) != 0 {
            self.flush.target = self.flush.target.max(slot.write.accepted());
        }
        if hints & mail::TIMER != 0 {
            self.timer_came(slot, commons);
        }
        if hints & mail::FILL != 0 {
            self.fill.ended = false;
        }
        if hints & mail::SQUEEZE != 0 {
            self.squeeze(slot);
        }
        self.hear_sync(slot);
    }

    fn drive(&mut self, slot: &Slot, commons: &Commons, out: &mut Polled) {
        let seen = slot.state.load();
        if self.poisoned && seen.phase() == Phase::Open {
            self.shut_cells(slot, commons);
        }
        if seen.phase() == Phase::Closing {
            self.drive_close(slot, commons, out);
            return;
        }
        if self.handle.is_some() {
            if Self::asks_size(slot) {
                self.drive_meta(slot, commons, out);
            }
            self.drive_write(slot, commons, out);
            self.drive_meta(slot, commons, out);
            self.drive_sync(slot, commons, out);
            self.drive_fill(slot, commons, out);
            self.drive_fetches(slot, commons, out);
        } else if self.failed_open {
            self.drive_close(slot, commons, out);
        }
    }

    fn finish(&mut self, done: Done, slot: &Slot, commons: &Commons, out: &mut Polled) {
        match done.kind {
            Kind::Fill => self.busy.fill = false,
            Kind::Write => (self.busy.write, self.busy.settling) = (false, false),
            Kind::Sync => self.busy.sync = false,
            Kind::Meta => self.busy.meta = false,
            Kind::Close => self.busy.close = false,
            Kind::Fetch(place) => self.busy.fetches &= !(1 << place),
        }
        match done.outcome {
            Outcome::Opened(result) => self.opened(result, slot, commons),
            Outcome::Filled { bytes, end, fault, dropping } => {
                self.found_dropping(dropping, commons);
                match done.kind {
                    Kind::Fetch(place) => self.fetched(place, bytes, end, fault, slot, commons),
                    _ => self.filled(bytes, end, fault, slot, commons),
                }
            }
            Outcome::Written { bytes, fault, traces } => {
                self.traced(traces, commons);
                self.wrote(bytes, fault, slot, commons, out);
            }
            Outcome::Synced(result) => self.synced(result, slot, commons),
            Outcome::Changed(result) => self.changed(result, slot, commons),
            Outcome::Reopened(result) => self.swapped(result, slot, commons),
            Outcome::Published(result) => self.published(result, slot, commons),
            Outcome::Closed(result) => self.closed(result, slot, commons),
            Outcome::Stat(result) if slot.state.load().phase() != Phase::Op => {
                self.looked_at(result, slot, commons);
            }
            answer @ (Outcome::Stat(_) | Outcome::Renamed(_) | Outcome::Folder(_) | Outcome::Named(_)) => {
                self.answered(answer, slot, commons);
            }
            Outcome::Panicked => self.panicked(done.kind, slot, commons),
        }
    }

    /// A job panicked: what it did is not known, so the file is poisoned.
    fn panicked(&mut self, kind: Kind, slot: &Slot, commons: &Commons) {
        if slot.state.load().phase() == Phase::Op {
            self.answer_panic(slot, commons);
            return;
        }
        let error = Error::plain(ErrorKind::Panicked, operation_of(kind), Some(slot.fd()));
        match kind {
            Kind::Fill => self.fill_panicked(slot, commons),
            Kind::Fetch(place) => self.fetch_panicked(place, slot, commons),
            Kind::Write => self.flush.in_flight = 0,
            Kind::Meta if self.handle.is_none() => {
                self.fail_open(error, slot, commons);
                return;
            }
            Kind::Meta if self.closing().publishing => self.closing().publish_done = true,
            Kind::Meta => {
                self.busy.barrier = false;
                self.drop_request(slot);
                // Who asked is told, whether the file is poisoned by this or was before.
                self.poison(error, slot, commons);
                commons.raise(slot, (Readiness::DONE | Readiness::ERROR).bits());
                return;
            }
            Kind::Close => self.closing().closed = true,
            Kind::Sync => {}
        }
        self.poison(error, slot, commons);
    }

    /// The first error stands from here on: nothing more is accepted, and nothing more is written.
    pub(super) fn poison(&mut self, error: Error, slot: &Slot, commons: &Commons) {
        if self.poisoned {
            return;
        }
        self.poisoned = true;
        slot.with_report(|report| report.error.get_or_insert(error).kind());
        commons.totals.poisons.add(1);
        self.tell(slot, Change::Poisoned);
        slot.state.set(flag::POISONED);
        let mut bits = Readiness::ERROR;
        if self.sync.is_owed() {
            bits |= Readiness::SYNCED;
            self.sync.settle_all();
        }
        if slot.want.take(want::WRITE | want::TURN | want::LEND) != 0 {
            bits |= Readiness::WRITABLE;
        }
        if slot.read.take_want() || slot.places().is_some_and(Places::take_want) {
            bits |= Readiness::READABLE;
        }
        // Before it is told: who knows of it finds no page that still takes bytes.
        self.shut_cells(slot, commons);
        commons.raise(slot, bits.bits());
    }

    /// An error from the platform at a place in the file.
    pub(super) fn poison_by(&mut self, fault: Fault, offset: Option<u64>, slot: &Slot, commons: &Commons) {
        let error = self.error_of(slot, fault, offset);
        self.poison(error, slot, commons);
    }

    /// Closes both cells, and the stripes, to further writes. True: no writer is in one, and none is being opened.
    pub(super) fn shut_cells(&mut self, slot: &Slot, commons: &Commons) -> bool {
        let generation = slot.state.load().generation();
        // Set before the look, so that an opener or a writer met now tells the actor when it is done.
        slot.want.set(want::SHUT);
        let mut quiet = true;
        for cell in &slot.write.cells {
            commons.seal(slot, cell, generation);
            quiet &= cell.load().is_empty();
        }
        if let Some(stripes) = slot.write.stripes() {
            quiet &= commons.recall_stripes(slot, stripes);
        }
        quiet
    }
}

const fn operation_of(kind: Kind) -> Operation {
    match kind {
        Kind::Fill | Kind::Fetch(_) => Operation::Read,
        Kind::Write => Operation::Write,
        Kind::Sync => Operation::Sync,
        Kind::Meta => Operation::Open,
        Kind::Close => Operation::Close,
    }
}
