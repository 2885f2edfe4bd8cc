//! When jobs come back: the backend that holds each until its time on the virtual clock.
//!
//! A job is done when it is reaped, not when it is submitted: what happens to the disk in between, happens before it.
//! The jobs themselves stay with the backend, outside the disk's lock, for they may own folders whose dropping takes
//! that lock; the disk knows only their times.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Sim;
use super::names::normal;
use super::state::State;
use crate::job::names::NameWork;
use crate::job::{Done, Handle, Job, Name, Outcome, Work};
use crate::sys::Backend;
use crate::sys::call::run;

/// When a job is due, in nanoseconds of the virtual clock, and its number.
type Due = (u64, u64);

/// The times of all jobs in flight.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    due: BTreeSet<Due>,
    /// Jobs whose time has come while their file hangs, and the paths they wait for.
    stuck: BTreeMap<u64, Vec<u8>>,
    submitted: u64,
    last_due_ns: u64,
}

impl Calendar {
    pub(super) fn in_flight(&self) -> usize {
        self.due.len() + self.stuck.len()
    }
}

impl State {
    /// The time at which the next job can be reaped; now, if one can be already.
    pub(super) fn next_due(&self) -> Option<u64> {
        let released = self.calendar.stuck.values().any(|path| !self.hung.contains(path));
        if released {
            return Some(self.now_ns);
        }
        self.calendar.due.first().map(|(due, _)| (*due).max(self.now_ns))
    }

    fn appoint(&mut self) -> Due {
        let mut due = self.now_ns + self.random.within(&self.options.delay_ns);
        if !self.options.reorder {
            due = due.max(self.calendar.last_due_ns);
            self.calendar.last_due_ns = due;
        }
        self.calendar.submitted += 1;
        let appointment = (due, self.calendar.submitted);
        self.calendar.due.insert(appointment);
        appointment
    }

    /// The path by which a job can be made to hang.
    fn target(&self, work: &Work) -> Vec<u8> {
        let of_handle = |handle: Handle| {
            let node = self.opening(handle).ok().and_then(|opening| self.nodes.get(&opening.node));
            node.map(|node| node.path.clone()).unwrap_or_default()
        };
        let of_name = |name: &Name| match &name.beneath {
            None => normal(name.path.to_bytes()),
            Some(folder) => {
                let mut path = of_handle(folder.handle);
                path.push(b'/');
                path.extend_from_slice(name.path.to_bytes());
                normal(&path)
            }
        };
        match work {
            Work::Open(work) => of_name(&work.name),
            Work::Stat { name, .. } | Work::Unlink { name, .. } | Work::OpenFolder { name } => of_name(name),
            Work::Rename { from, .. } => of_name(from),
            Work::Names(work) => match &**work {
                NameWork::MakeFolder { name, .. }
                | NameWork::Symlink { name, .. }
                | NameWork::ReadLink { name }
                | NameWork::SetMode { name, .. }
                | NameWork::SetTimes { name, .. } => of_name(name),
                NameWork::Link { from, .. } => of_name(from),
                NameWork::StatFolder { folder }
                | NameWork::SyncFolder { folder }
                | NameWork::CloseFolder { folder }
                | NameWork::ReadFolder { folder, .. } => of_handle(folder.handle),
            },
            Work::Handle(work) => match work.handle() {
                Some(handle) => of_handle(handle),
                None => Vec::new(),
            },
            Work::Fill { handle, .. }
            | Work::Write { handle, .. }
            | Work::Sync { handle, .. }
            | Work::Truncate { handle, .. }
            | Work::Preallocate { handle, .. }
            | Work::Size { handle }
            | Work::FileStat { handle }
            | Work::Publish { handle, .. }
            | Work::Close { handle, .. } => of_handle(*handle),
        }
    }
}

/// A backend of the simulated disk.
#[derive(Debug)]
pub(crate) struct SimBackend {
    sim: Sim,
    held: BTreeMap<Due, Job>,
    stuck: BTreeMap<u64, Job>,
}

impl Sim {
    /// A backend for one engine thread.
    pub(crate) fn backend(&self) -> SimBackend {
        SimBackend { sim: self.clone(), held: BTreeMap::new(), stuck: BTreeMap::new() }
    }
}

impl SimBackend {
    /// Takes the jobs whose time has come and whose files do not hang.
    fn take_due(&mut self) -> Vec<Job> {
        let mut state = self.sim.lock();
        let mut ready = Vec::new();
        let released: Vec<u64> = self
            .stuck
            .keys()
            .filter(|number| state.calendar.stuck.get(number).is_none_or(|path| !state.hung.contains(path)))
            .copied()
            .collect();
        for number in released {
            state.calendar.stuck.remove(&number);
            ready.extend(self.stuck.remove(&number));
        }
        while let Some(entry) = self.held.first_entry() {
            let (due, number) = *entry.key();
            if due > state.now_ns {
                break;
            }
            let job = entry.remove();
            state.calendar.due.remove(&(due, number));
            let target = state.target(&job.work);
            if state.hung.contains(&target) {
                state.calendar.stuck.insert(number, target);
                self.stuck.insert(number, job);
            } else {
                ready.push(job);
            }
        }
        ready
    }
}

impl Backend for SimBackend {
    fn submit(&mut self, job: Job) {
        let due = self.sim.lock().appoint();
        self.held.insert(due, job);
    }

    fn reap(&mut self, done: &mut Vec<Done>) {
        for job in self.take_due() {
            let (slot, kind) = (job.slot, job.kind);
            let panicked = |_| Done { slot, kind, outcome: Outcome::Panicked };
            done.push(catch_unwind(AssertUnwindSafe(|| run(job, &self.sim))).unwrap_or_else(panicked));
        }
    }
}

impl Drop for SimBackend {
    /// Jobs that were never done are in flight no more.
    fn drop(&mut self) {
        let mut state = self.sim.lock();
        for due in self.held.keys() {
            state.calendar.due.remove(due);
        }
        for number in self.stuck.keys() {
            state.calendar.stuck.remove(number);
        }
    }
}
