//! Lanes: jobs that wait for an engine thread, and how many of a kind may hold one.
//!
//! A job that waits for a disk holds its thread, perhaps for ever: an open on a dead server, an fsync on a hung disk. So
//! that none of them holds up the others, opens and metadata calls get at most a quarter of the threads, syncs at most
//! half, and the jobs of any one device at most half. Beyond that only jobs of the same lane wait. Within a lane it is
//! first come, first served.

use std::collections::VecDeque;

use crate::error::Operation;
use crate::job::cache::Leaving;
use crate::job::{Job, Kind, Work};

/// What kind of patience a job needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Opens and metadata calls.
    Meta,
    /// Syncs and publishing, and closes that wait for the disk.
    Sync,
    /// Reads, writes, closes.
    Data,
}

const LANES: usize = 3;
/// An empty list of jobs keeps room for so many at most.
pub(super) const KEPT: usize = 256;

impl Lane {
    pub(crate) fn of(job: &Job) -> Self {
        match (job.kind, &job.work) {
            (Kind::Sync, _) | (_, Work::Publish { .. } | Work::Close { leaving: Leaving::Settle, .. }) => {
                Self::Sync
            }
            (_, Work::Handle(work)) if work.syncs() => Self::Sync,
            (_, Work::Names(work)) if work.operation() == Operation::Sync => Self::Sync,
            (Kind::Meta, _) => Self::Meta,
            _ => Self::Data,
        }
    }
}

/// A job that holds a thread: what `finished` has to count down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) slot: u32,
    pub(crate) kind: Kind,
    lane: Lane,
    device: u64,
}

/// Jobs of one device (0: not known yet), by lane.
#[derive(Debug, Default)]
struct Device {
    number: u64,
    running: usize,
    waiting: [VecDeque<Job>; LANES],
}

impl Device {
    fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting.iter().all(VecDeque::is_empty)
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Lanes {
    threads: usize,
    running: [usize; LANES],
    devices: Vec<Device>,
    /// The device that the next look begins with, so that they take turns.
    turn: usize,
    waiting: usize,
    /// Of these, writes; and writes that hold a thread.
    waiting_writes: usize,
    running_writes: usize,
    /// Processors that writes may keep busy without the timer's say: all but the one of the program's loop.
    processors: usize,
}

impl Lanes {
    pub(crate) fn new(threads: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            threads,
            running: [0; LANES],
            devices: Vec::new(),
            turn: 0,
            waiting: 0,
            waiting_writes: 0,
            running_writes: 0,
            processors: (processors - 1).max(1),
        }
    }

    pub(crate) fn push(&mut self, job: Job) {
        let lane = Lane::of(&job) as usize;
        self.waiting_writes += usize::from(job.kind == Kind::Write);
        let device = match self.devices.iter_mut().position(|device| device.number == job.device) {
            Some(place) => place,
            None => {
                self.devices.push(Device { number: job.device, ..Device::default() });
                self.devices.len() - 1
            }
        };
        self.devices[device].waiting[lane].push_back(job);
        self.waiting += 1;
    }

    /// The most jobs of a lane that run at a time.
    fn bound(&self, lane: usize) -> usize {
        match lane {
            lane if lane == Lane::Meta as usize => (self.threads / 4).max(1),
            lane if lane == Lane::Sync as usize => (self.threads / 2).max(1),
            _ => self.threads,
        }
    }

    /// Where the next job that may run waits.
    fn find(&self) -> Option<(usize, usize)> {
        if self.waiting == 0 {
            return None;
        }
        let per_device = (self.threads / 2).max(1);
        let count = self.devices.len();
        (0..count).map(|step| (self.turn + step) % count).find_map(|place| {
            let device = &self.devices[place];
            // Of a device that is not known yet, the lane's own bound is enough.
            if device.number != 0 && device.running >= per_device {
                return None;
            }
            // Data first: it frees pages, and its jobs are the short ones.
            [Lane::Data, Lane::Sync, Lane::Meta]
                .map(|lane| lane as usize)
                .into_iter()
                .find(|lane| self.running[*lane] < self.bound(*lane) && !device.waiting[*lane].is_empty())
                .map(|lane| (place, lane))
        })
    }

    /// Another thread is worth waking at once. A write of pages into the kernel's cache is a copy, and more of those than
    /// processors only take the loop's own; whether they wait for a disk instead shows within the timer's 10 ms.
    pub(crate) fn wants_another(&self) -> bool {
        let others = self.waiting > self.waiting_writes;
        (others || self.running_writes < self.processors) && self.has_runnable()
    }

    /// A job may run now.
    pub(crate) fn has_runnable(&self) -> bool {
        self.find().is_some()
    }

    /// Takes the next job that may run.
    pub(crate) fn take(&mut self) -> Option<(Job, Held)> {
        let (place, lane) = self.find()?;
        let device = &mut self.devices[place];
        let queue = &mut device.waiting[lane];
        let job = queue.pop_front()?;
        if queue.is_empty() && queue.capacity() > KEPT {
            // After a rush, its memory goes back.
            *queue = VecDeque::new();
        }
        device.running += 1;
        self.waiting -= 1;
        self.running[lane] += 1;
        if job.kind == Kind::Write {
            self.waiting_writes -= 1;
            self.running_writes += 1;
        }
        self.turn = place + 1;
        let held = Held { slot: job.slot, kind: job.kind, lane: Lane::of(&job), device: job.device };
        Some((job, held))
    }

    /// A job came back.
    pub(crate) fn finished(&mut self, held: Held) {
        self.running[held.lane as usize] -= 1;
        self.running_writes -= usize::from(held.kind == Kind::Write);
        if let Some(place) = self.devices.iter().position(|device| device.number == held.device) {
            self.devices[place].running -= 1;
            if self.devices.len() > 8 && self.devices[place].is_idle() {
                self.devices.swap_remove(place);
            }
        }
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;
    use crate::job::{Handle, Slices};

    fn job(slot: u32, kind: Kind, device: u64) -> Job {
        let handle = Handle(0);
        let work = match kind {
            Kind::Sync => Work::Sync { handle, name: None },
            Kind::Meta => Work::Size { handle },
            _ => Work::Fill { handle, offset: 0, into: Slices::new(), uncached: None },
        };
        Job { slot, kind, device, work }
    }

    #[test]
    fn hung_opens_leave_three_quarters_of_the_threads() {
        let mut lanes = Lanes::new(8);
        for slot in 0..10 {
            lanes.push(job(slot, Kind::Meta, 0));
        }
        assert!(lanes.take().is_some() && lanes.take().is_some());
        assert!(lanes.take().is_none(), "a quarter of eight is two");
        lanes.push(job(99, Kind::Fill, 1));
        assert_eq!(lanes.take().map(|(job, _)| job.slot), Some(99));
    }

    #[test]
    fn a_hung_device_leaves_half_of_the_threads() {
        let mut lanes = Lanes::new(8);
        for slot in 0..10 {
            lanes.push(job(slot, Kind::Write, 7));
        }
        for _ in 0..4 {
            assert!(lanes.take().is_some());
        }
        assert!(!lanes.has_runnable());
        lanes.push(job(99, Kind::Write, 8));
        assert_eq!(lanes.take().map(|(job, _)| job.slot), Some(99));
    }

    #[test]
    fn hung_syncs_leave_half_of_the_threads() {
        let mut lanes = Lanes::new(8);
        for slot in 0..10 {
            lanes.push(job(slot, Kind::Sync, u64::from(slot) + 1));
        }
        let held: Vec<Held> = std::iter::from_fn(|| lanes.take()).map(|(_, held)| held).collect();
        assert_eq!(held.len(), 4);
        lanes.finished(held[0]);
        assert!(lanes.has_runnable());
    }

    #[test]
    fn jobs_of_one_lane_go_in_the_order_they_came() {
        let mut lanes = Lanes::new(64);
        for slot in 0..5 {
            lanes.push(job(slot, Kind::Fill, 1));
        }
        let order: Vec<u32> = std::iter::from_fn(|| lanes.take()).map(|(job, _)| job.slot).collect();
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }
}
