//! Instance: one module with its handles; how its news is taken, by which thread, and how it ends.
//!
//! Any thread may pump: take efio's events and note on each desk what they say. Who asks for a status pumps first, so that
//! no answer waits for another thread. The instance of ef_io.h has a thread of its own besides, which makes the callbacks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

use efio::{Efio, Events};

use crate::bell::{Bell, lock};
use crate::calls::{Calls, is_inside};
use crate::desk::{Backing, Stage};
use crate::failure::{Answer, Failure, fail};
use crate::news::Descriptor;
use crate::world::{World, left};
use crate::write::UNSET;

/// Events taken at a time.
const BATCH: usize = 256;
/// How long a waiting thread sleeps before it looks for itself, in case the one who pumps is held up.
const LOOK: Duration = Duration::from_millis(5);
/// The most that one file may have read ahead, in bytes.
const READ_AHEAD_MOST: u64 = 4 << 20;

/// The limits of an instance; 0: the default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) memory: u64,
    pub(crate) file_memory: u64,
    pub(crate) write: u64,
    pub(crate) read_ahead: u64,
    pub(crate) flush_interval: u64,
    pub(crate) close_deadline: u64,
    pub(crate) shutdown_deadline: u64,
    pub(crate) files: u32,
    pub(crate) threads: u32,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) world: &'static World,
    pub(crate) seat: u8,
    pub(crate) global: bool,
    pub(crate) efio: Efio,
    events: Mutex<Events>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) calls: Calls,
    /// Handles with events, and their lives; each at most once.
    pub(crate) list: Mutex<VecDeque<(u32, u32)>>,
    /// Somebody takes events.
    pub(crate) listed: AtomicBool,
    pub(crate) descriptor: Arc<Descriptor>,
    /// `UNSET`: each file has its default.
    pub(crate) write_limit: AtomicU64,
    /// The most bytes that efio takes for one file, unless the file has a limit of its own.
    pub(crate) file_memory: u64,
    /// Threads in `ef_wait`.
    pub(crate) waiters: AtomicU32,
    ending: AtomicBool,
    stopping: AtomicBool,
    pub(crate) close_deadline: Duration,
    pub(crate) shutdown_deadline: Duration,
}

/// Microseconds, or the default.
fn time(limit: u64, default: Duration) -> Duration {
    if limit == 0 { default } else { Duration::from_micros(limit) }
}

impl Instance {
    /// Starts a module, and the thread for its callbacks if it is that of ef_io.h.
    pub(crate) fn start(world: &'static World, seat: u8, limits: Limits, global: bool) -> Answer<Arc<Self>> {
        let close_deadline = time(limits.close_deadline, Duration::from_secs(2));
        let shutdown_deadline = time(limits.shutdown_deadline, Duration::from_secs(5));
        let (bell, descriptor) = (Arc::new(Bell::default()), Arc::new(Descriptor::default()));
        if !global {
            descriptor.make()?;
        }
        let (rung, raised) = (Arc::clone(&bell), Arc::clone(&descriptor));
        let mut builder = Efio::builder()
            .whole_write(crate::write::WHOLE)
            .close_deadline(close_deadline)
            .shutdown_deadline(shutdown_deadline)
            .flush_interval(time(limits.flush_interval, Duration::from_secs(1)))
            .wake_with(move || {
                rung.ring();
                // The instance of ef_io.h raises its descriptor when events have been put on the list.
                if !global {
                    raised.raise();
                }
            });
        let bytes = |limit: u64| usize::try_from(limit).or(fail(libc::EINVAL));
        if limits.memory > 0 {
            builder = builder.memory_limit(bytes(limits.memory)?);
        }
        if limits.file_memory > 0 {
            builder = builder.file_memory_limit(bytes(limits.file_memory)?);
        }
        if limits.read_ahead > READ_AHEAD_MOST {
            return fail(libc::EINVAL);
        }
        if limits.read_ahead > 0 {
            builder = builder.read_ahead(bytes(limits.read_ahead)?);
        }
        if limits.files > 0 {
            builder = builder.files_limit(limits.files);
        }
        if limits.threads > 0 {
            builder = builder.threads_limit(limits.threads as usize);
        }
        let write_limit = if limits.write == 0 { UNSET } else { limits.write };
        let efio = builder.build()?;
        let file_memory = efio.info().file_memory_limit;
        let instance = Arc::new(Self {
            world,
            seat,
            global,
            efio,
            events: Mutex::new(Events::with_capacity(BATCH)),
            bell,
            calls: Calls::default(),
            list: Mutex::new(VecDeque::new()),
            listed: AtomicBool::new(!global),
            descriptor,
            write_limit: AtomicU64::new(write_limit),
            file_memory,
            waiters: AtomicU32::new(0),
            ending: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            close_deadline,
            shutdown_deadline,
        });
        if global {
            crate::dispatcher::start(&instance)?;
        }
        Ok(instance)
    }

    /// Nothing more is accepted.
    pub(crate) fn is_ending(&self) -> bool {
        // ORDER: Acquire pairs with the store in `shut_down`.
        self.ending.load(Ordering::Acquire)
    }

    /// The thread for callbacks ends when it has made all of them.
    pub(crate) fn is_stopping(&self) -> bool {
        // ORDER: Acquire pairs with the store in `shut_down`.
        self.stopping.load(Ordering::Acquire)
    }

    /// Takes all news there is.
    pub(crate) fn pump(&self) {
        let lines = self.pump_with(&mut lock(&self.events));
        self.log(lines);
    }

    /// As `pump`, unless another thread is at it, who then does all of it.
    pub(crate) fn pump_unless_pumped(&self) {
        let lines = match self.events.try_lock() {
            Ok(mut events) => self.pump_with(&mut events),
            Err(TryLockError::Poisoned(poisoned)) => self.pump_with(&mut poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => return,
        };
        self.log(lines);
    }

    /// Gives what is to be logged, which is done without the lock: the function of the program may call this library.
    fn pump_with(&self, events: &mut Events) -> Vec<(i32, String)> {
        let mut lines = Vec::new();
        while self.efio.events(events).is_ok_and(|taken| taken > 0) {
            for event in &*events {
                self.meet(event, &mut lines);
            }
        }
        lines
    }

    /// Waits until `look` has an answer, at most until the deadline; pumps meanwhile.
    pub(crate) fn wait_for<T>(
        &self,
        until: Option<Instant>,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        loop {
            let heard = self.bell.rings();
            self.pump();
            if let Some(answer) = look() {
                return Some(answer);
            }
            let left = left(until);
            if left.is_zero() {
                return None;
            }
            self.bell.wait(heard, Some(left.min(LOOK)));
        }
    }

    /// As `end_all`, but not from inside a function of the program that this library has called: that would wait for
    /// itself.
    pub(crate) fn shut_down(&self, deadline: Duration) -> Answer<()> {
        if is_inside() {
            return fail(libc::EDEADLK);
        }
        let until = Instant::now().checked_add(deadline);
        let ended = self.end_all(deadline);
        // The callbacks of what has ended; one that does not return is not waited for beyond the deadline.
        self.wait_for(until, || self.calls.are_made().then_some(()));
        ended
    }

    /// Writes, closes and ends everything within the deadline.
    pub(crate) fn end_all(&self, deadline: Duration) -> Answer<()> {
        let until = Instant::now().checked_add(deadline);
        // ORDER: AcqRel pairs with `is_ending`; the first one ends it.
        if self.ending.swap(true, Ordering::AcqRel) {
            return fail(libc::ESHUTDOWN);
        }
        let mine = || self.world.cells.iter().filter(|(_, cell)| self.owns(&cell.desk()));
        let lives: Vec<_> = mine().map(|(handle, cell)| (handle, cell.desk().life)).collect();
        for (handle, cell) in mine() {
            // What is in no page yet, and what has no module behind it.
            self.close_for_the_end(handle, cell);
        }
        let is_left = |stream: bool| {
            mine().any(|(_, cell)| {
                let desk = cell.desk();
                if stream { matches!(desk.backing, Backing::Stream(_)) } else { !desk.backlog.is_empty() }
            })
        };
        let flowed = self.wait_for(until, || (!is_left(false) && !is_left(true)).then_some(()));
        let ended = self.efio.shutdown(left(until));
        self.pump();
        let (mut lost, mut late) = (false, flowed.is_none());
        for (handle, cell) in self.world.cells.iter() {
            let mut desk = cell.desk();
            if self.owns(&desk) {
                late = true;
                let stream = match &desk.backing {
                    Backing::Stream(stream) => Some(Arc::clone(stream)),
                    _ => None,
                };
                self.end(&mut desk, handle, cell, None, libc::ETIMEDOUT);
                let life = desk.life;
                drop(desk);
                if let Some(stream) = stream {
                    // Its thread ends, and gives the descriptor back.
                    stream.close(true);
                }
                self.world.ended(handle, life);
            }
        }
        for (handle, life) in lives {
            let Some(cell) = self.world.cells.get(handle as i32) else { continue };
            let desk = cell.desk();
            lost |= desk.life == life && desk.notes.lost > 0 && !desk.notes.aborted;
        }
        // ORDER: Release pairs with `is_stopping`.
        self.stopping.store(true, Ordering::Release);
        self.bell.ring();
        // Who waits for events without end is to see that there will be no more.
        self.descriptor.raise();
        if let Err(error) = ended {
            late |= error.kind() == efio::ErrorKind::TimedOut;
            lost |= error.kind() == efio::ErrorKind::Os;
        }
        match (late, lost) {
            (true, _) => fail(libc::ETIMEDOUT),
            (false, true) => Err(Failure::Errno(libc::EIO)),
            (false, false) => Ok(()),
        }
    }

    /// A desk has a file of this instance that has not ended.
    pub(crate) fn owns(&self, desk: &crate::desk::Desk) -> bool {
        let ours = desk.instance.as_ref().is_some_and(|instance| std::ptr::eq(Arc::as_ptr(instance), self));
        ours && !matches!(desk.stage, Stage::Unused | Stage::Ended)
    }
}

impl Instance {
    /// Every handle of this instance that has ended is free: nobody will ask about it.
    pub(crate) fn forget_handles(&self) {
        for (handle, cell) in self.world.cells.iter() {
            let mut desk = cell.desk();
            if desk.stage == Stage::Ended && desk.notes.seat == self.seat {
                desk.notes.asked = true;
                self.world.free_if_done(&mut desk, handle);
            }
        }
    }
}
