//! Ending: flush, close and join within a deadline; what is lost by then is told, and hung threads are left behind.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Operation};
use crate::event::{Event, Readiness};
use crate::fd::Fd;
use crate::file::Slot;
use crate::file::state::{Phase, flag, mail};
use crate::sync::{Ordering, fence, futex, lock};

use super::Engine;

/// Accepted bytes of one file that did not reach it, or an error that nobody took, as the module ended.
///
/// ```
/// let efio = efio::Efio::builder().on_loss(|loss| eprintln!("{loss}")).build()?;
/// # Ok::<(), efio::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loss {
    /// The file's handle.
    pub fd: Fd,
    /// The token given to the open.
    pub token: u64,
    /// Accepted bytes that are not known to be in the file.
    pub bytes: u64,
    /// The path as it was given to the open, where the error knows it.
    pub path: Option<PathBuf>,
    /// The first error that nothing healed; `None` when the deadline alone cut the file short.
    pub error: Option<Error>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}", path.display())?,
            None => write!(f, "{}", self.fd)?,
        }
        write!(f, ": {} bytes lost", self.bytes)?;
        match &self.error {
            Some(error) => write!(f, ": {error}"),
            None => write!(f, " at the deadline"),
        }
    }
}

/// Told of each loss, on the thread that ends the module.
pub(crate) type LossHook = Box<dyn Fn(&Loss) + Send + Sync>;

/// How the end of a module went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) in_time: bool,
    pub(crate) bytes_lost: u64,
    pub(crate) files_lost: u64,
}

impl Engine {
    /// From here on nothing is accepted; every file begins to close, but for those that a `File` owns, which are
    /// flushed.
    pub(crate) fn begin_ending(&self) {
        // ORDER: Release pairs with `is_ending`.
        self.ending.store(true, Ordering::Release);
        // ORDER: SeqCst pairs with the fence in `end_if_late`: this finds the file, or its opener finds the end begun.
        fence(Ordering::SeqCst);
        for (_, slot) in self.commons.table.iter() {
            self.end_slot(slot);
        }
    }

    /// Ends a file whose open passed the look for the end just before that began, and which the end may not have met.
    pub(crate) fn end_if_late(&self, fd: Fd) {
        // ORDER: SeqCst pairs with the fence in `begin_ending`.
        fence(Ordering::SeqCst);
        if self.is_ending() {
            if let Some(slot) = self.commons.slot(fd) {
                self.end_slot_if_new(slot);
            }
        }
    }

    fn end_slot(&self, slot: &Slot) {
        let seen = slot.state.load();
        if !matches!(seen.phase(), Phase::Opening | Phase::Open) {
            return;
        }
        slot.state.set(flag::ENDING);
        if seen.has(flag::OWNED) {
            self.commons.post(slot, mail::FLUSH);
            return;
        }
        let flags = if seen.has(flag::ATOMIC) { flag::ABORT } else { 0 };
        // A close by someone else that came first is as good.
        let _ = slot.state.close(slot.fd(), flags, false);
        self.commons.post(slot, mail::CLOSE);
    }

    /// Flushes, closes, joins, once: a call that finds it done, or meanwhile waits for it, has the same answer.
    pub(crate) fn end(&self, deadline: Duration) -> Ended {
        let mut ended = lock(&self.ended);
        *ended.get_or_insert_with(|| self.end_once(deadline))
    }

    fn end_once(&self, deadline: Duration) -> Ended {
        self.begin_ending();
        let until = Instant::now().checked_add(deadline);
        let in_time = self.wait_until_quiet(until, deadline);
        self.stop_threads();
        let joined = self.join_threads(until);
        let mut ended = self.tell_losses();
        ended.in_time = in_time && joined;
        ended
    }

    /// Nothing is left to end. `from` is where the last look met something that was: what lies before that was quiet then,
    /// and is looked at again once the rest is, for the sake of files opened by a race. So ending many files does not look
    /// at all of them for each.
    fn is_quiet(&self, from: &mut u32) -> bool {
        let busy = |first: u32| {
            let mut slots = self.commons.table.iter_from(first);
            slots.find(|(_, slot)| !self.is_slot_quiet(slot)).map(|(index, _)| index)
        };
        let found = busy(*from).or_else(|| if *from > 0 { busy(0) } else { None });
        *from = found.unwrap_or(0);
        found.is_none()
    }

    fn is_slot_quiet(&self, slot: &Slot) -> bool {
        // A file opened by a race with the beginning of the end.
        self.end_slot_if_new(slot);
        let seen = slot.state.load();
        match seen.phase() {
            Phase::Free | Phase::Closed => true,
            Phase::Op => slot.pending.is_taken() || slot.with_report(|report| report.answer.is_some()),
            // It ends with its `File`, and nothing of it is left to do before.
            Phase::Opening if seen.has(flag::FAILED) => true,
            Phase::Open if seen.has(flag::OWNED) => {
                seen.has(flag::POISONED | flag::STALLED) || slot.write.accepted() <= slot.written()
            }
            _ => false,
        }
    }

    fn end_slot_if_new(&self, slot: &Slot) {
        let seen = slot.state.load();
        if matches!(seen.phase(), Phase::Opening | Phase::Open) && !seen.has(flag::ENDING) {
            self.end_slot(slot);
        }
    }

    /// Waits for the files; on a virtual clock it turns the engine itself, moving the clock as far as the deadline.
    fn wait_until_quiet(&self, until: Option<Instant>, deadline: Duration) -> bool {
        let mut from = 0;
        if self.platform.is_virtual() {
            let deadline_ns = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
            let until_ns = self.platform.now_ns().saturating_add(deadline_ns);
            let _ = self.turn_until(|| self.is_quiet(&mut from) || self.platform.now_ns() >= until_ns);
            return self.is_quiet(&mut 0);
        }
        if self.is_poisoned() {
            return false;
        }
        loop {
            // ORDER: Acquire pairs with the count in `reap`: a job finished after this look changes the word.
            let seen = self.turned.load(Ordering::Acquire);
            if self.is_quiet(&mut from) {
                return true;
            }
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            // The files that end without a job of their own are seen at the next look.
            futex::wait(&self.turned, seen, Some(left.min(Duration::from_millis(20))));
        }
    }

    /// Joins the threads that end by the deadline; the others are left to their disks.
    fn join_threads(&self, until: Option<Instant>) -> bool {
        self.crew.join(until, || self.nudge_threads())
    }

    /// Tells the hook what was lost, and counts it.
    fn tell_losses(&self) -> Ended {
        let mut ended = Ended::default();
        for (_, slot) in self.commons.table.iter() {
            let seen = slot.state.load();
            let loss = match seen.phase() {
                Phase::Free | Phase::Op => None,
                Phase::Closed if seen.has(flag::FAILED) => None,
                Phase::Closed => {
                    let (lost, error) = slot.with_report(|report| (report.lost, report.error.clone()));
                    (lost > 0 && !seen.has(flag::ABORT) || error.is_some()).then_some((lost, error))
                }
                // An owned file outlives the module: what it holds is written when it is dropped.
                Phase::Open if seen.has(flag::OWNED) && !seen.has(flag::POISONED | flag::STALLED) => None,
                _ => {
                    let left = slot.write.accepted().saturating_sub(slot.written());
                    let error = slot.first_error();
                    (left > 0 && !seen.has(flag::ABORT) || error.is_some()).then_some((left, error))
                }
            };
            if let Some((bytes, error)) = loss {
                ended.bytes_lost += bytes;
                ended.files_lost += 1;
                self.tell(slot, bytes, error);
            }
        }
        ended
    }

    /// Tells the hook of a closed event that nobody else takes, if anything was lost.
    pub(crate) fn tell_of(&self, event: &Event) {
        let error = event.error().cloned().filter(|error| error.operation() != Operation::Open);
        if event.bytes_lost() > 0 || error.is_some() {
            self.tell_loss(event.fd(), event.token(), event.bytes_lost(), error);
        }
    }

    fn tell(&self, slot: &Slot, bytes: u64, error: Option<Error>) {
        self.tell_loss(slot.fd(), slot.token(), bytes, error);
    }

    fn tell_loss(&self, fd: Fd, token: u64, bytes: u64, error: Option<Error>) {
        let Some(hook) = &self.on_loss else { return };
        let path = error.as_ref().and_then(|error| error.path().map(PathBuf::from));
        let loss = Loss { fd, token, bytes, path, error };
        // A hook that panics ends nothing: the losses are counted all the same.
        self.commons.inboxes.default().contain(|| hook(&loss));
    }

    /// The engine's own code panicked: every file answers so from here on, and its loop is told.
    pub(super) fn fail_all(&self) {
        for (_, slot) in self.commons.table.iter() {
            if !matches!(slot.state.load().phase(), Phase::Opening | Phase::Open | Phase::Closing) {
                continue;
            }
            let error = Error::plain(ErrorKind::Panicked, Operation::Poll, Some(slot.fd()));
            slot.with_report(|report| report.error.get_or_insert(error).kind());
            slot.state.set(flag::POISONED);
            let bits = Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE;
            self.commons.raise(slot, bits.bits());
        }
    }

    /// Ends what the last drop of a module ends.
    pub(crate) fn end_on_drop(self: &Arc<Self>) {
        if !self.is_stopped() {
            self.end(self.commons.limits.shutdown_deadline);
        }
    }
}
