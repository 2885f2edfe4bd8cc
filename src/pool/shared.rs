//! What a pool's threads share: the queue, whom to wake for it, and the counts.
//!
//! ```text
//!  submit:   push (an update, so a fence) ── CALLING up, or nobody asleep? done : raise CALLING, wake one
//!  worker:   nothing there ── raise CALLING, look a little longer ── lower it ── sleep (announce, fence, look)
//!            found, or woken ── lower CALLING ── fence ── two or more there? wake one more
//! ```
//!
//! A wake-up costs more than most tasks, so at most one is on its way: CALLING says that a thread is looking for work, or is
//! being woken to look for it, and then no submission wakes another. Invariant: whoever finds CALLING up has pushed
//! before; whoever lowers it looks at the queue afterwards, past a fence. So either the submission finds it down, or the
//! look finds the task. A task alone is taken by the one who looks; for each further one another thread is called. And a
//! thread on its way to sleep lowers it first, announces its sleep, and looks last: the seats' own rule.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::queue::{self, Gate, Mpmc, PopError, PushError, Unbounded};
use crate::sync::{
    AtomicBool, AtomicU64, CachePadded, Ordering, Seats, fence, fence_after_update, spin_loop, thread,
};

use super::closure::{Closure, Run};
use super::crew::{Crew, Turned, Work};
use super::task::discard;

/// Tasks of one turn: between two looks at whether the pool is to end.
const TASKS_A_TURN: usize = 32;

/// How many pauses a thread makes before it goes to sleep: about as long as a wake-up takes to be sent. It never yields, which
/// on a busy machine is longer than a sleep.
pub(super) const LOOKS: u32 = if cfg!(efio_loom) || cfg!(miri) { 0 } else { 64 };

/// The queue of tasks.
pub(super) enum Line {
    Bounded(Mpmc<Closure>),
    Unbounded(Unbounded<Closure>),
}

impl Line {
    fn len(&self) -> usize {
        match self {
            Self::Bounded(line) => line.len(),
            Self::Unbounded(line) => line.len(),
        }
    }
}

impl queue::Shared for Line {
    type Item = Closure;

    #[inline]
    fn try_push(&self, closure: Closure) -> Result<(), Closure> {
        match self {
            Self::Bounded(line) => line.push(closure),
            Self::Unbounded(line) => {
                line.push(closure);
                Ok(())
            }
        }
    }

    #[inline]
    fn try_pop(&self) -> Option<Closure> {
        match self {
            Self::Bounded(line) => line.pop(),
            Self::Unbounded(line) => line.pop(),
        }
    }
}

/// What the thread in one seat counts; the next in that seat goes on.
#[derive(Debug)]
struct Tally {
    finished: AtomicU64,
    panicked: AtomicU64,
    busy: AtomicBool,
}

/// See the head of this file.
pub(super) struct Shared {
    gate: Gate<Line>,
    calling: CachePadded<AtomicBool>,
    /// What is queued is not to be run.
    halted: AtomicBool,
    seats: Seats,
    pub(super) crew: Crew,
    tallies: Box<[CachePadded<Tally>]>,
}

/// One thread of the pool.
pub(super) struct Worker {
    seat: usize,
}

impl Shared {
    pub(super) fn new(name: String, threads: usize, line: Line) -> Self {
        let tally = || Tally {
            finished: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            busy: AtomicBool::new(false),
        };
        Self {
            gate: Gate::new(line),
            calling: CachePadded::new(AtomicBool::new(false)),
            halted: AtomicBool::new(false),
            seats: Seats::new(threads),
            crew: Crew::new(name, threads, None),
            tallies: (0..threads).map(|_| CachePadded::new(tally())).collect(),
        }
    }

    /// The pool, as its threads and tasks know it.
    pub(super) fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Puts work at the end of the queue and sees that a thread comes for it.
    #[inline]
    pub(super) fn push<R: Run>(&self, work: R) -> Result<(), PushError<R>> {
        self.pushed(self.gate.push(Closure::new(work)))
    }

    /// As `push`, waiting for room.
    pub(super) fn push_wait<R: Run>(&self, work: R, timeout: Option<Duration>) -> Result<(), PushError<R>> {
        self.pushed(self.gate.push_wait(Closure::new(work), timeout))
    }

    #[inline]
    fn pushed<R: Run>(&self, pushed: Result<(), PushError<Closure>>) -> Result<(), PushError<R>> {
        match pushed {
            Ok(()) => {
                self.call();
                Ok(())
            }
            Err(refused) => refuse(refused),
        }
    }

    /// Wakes a thread for what was pushed, unless one is looking for work already.
    fn call(&self) {
        loop {
            // Each queue's push changes an index by a read-modify-write, and `len` is read off the indices. Pairs with the
            // fences in `lower_calling` and `Sleeper::prepare`.
            fence_after_update();
            // ORDER: Relaxed behind the fence; pairs with the swap in `lower_calling`.
            if self.calling.load(Ordering::Relaxed) || !self.seats.is_any_asleep() {
                return;
            }
            // ORDER: AcqRel: one of several raises it; its Release half pairs with the swap in `lower_calling`.
            if self.calling.swap(true, Ordering::AcqRel) || self.seats.wake_one() {
                return;
            }
            // Nobody sleeps any more. Who trusted in the call meanwhile is answered by one more look.
            if self.lower_calling() == 0 {
                return;
            }
        }
    }

    /// Nobody is on the way to look for work any more; how much there is to find now.
    fn lower_calling(&self) -> usize {
        // ORDER: AcqRel: its Acquire half pairs with the swaps in `call` and `search`: what was pushed before them is seen.
        self.calling.swap(false, Ordering::AcqRel);
        // ORDER: SeqCst pairs with the fence in `call`: this sees the push, or the push sees that nobody is on the way.
        fence(Ordering::SeqCst);
        self.gate.queue().len()
    }

    /// Looks a little longer, as the one thread that does so; true: there is something.
    fn search(&self) -> bool {
        // ORDER: AcqRel: one of several raises it; pairs with the swap in `lower_calling`.
        if self.calling.swap(true, Ordering::AcqRel) {
            return false;
        }
        // Each pause is twice as long as the one before: every look takes the queue's index from who submits.
        let mut pause = 1;
        while pause <= LOOKS / 2 {
            (0..pause).for_each(|_| spin_loop());
            if self.has_work() {
                break;
            }
            pause *= 2;
        }
        self.search_ended()
    }

    /// The look is over: for all but one task that lie there, another thread is called.
    fn search_ended(&self) -> bool {
        let found = self.lower_calling();
        if found > 1 {
            self.call();
        }
        found > 0
    }

    fn run(&self, worker: &Worker, closure: Closure) {
        let tally = &self.tallies[worker.seat];
        // ORDER: Relaxed: a figure.
        tally.busy.store(true, Ordering::Relaxed);
        let panicked = match catch_unwind(AssertUnwindSafe(|| closure.run())) {
            Ok(panicked) => panicked,
            Err(payload) => {
                discard(payload);
                true
            }
        };
        if panicked {
            // ORDER: Release pairs with the load in `panicked`.
            tally.panicked.fetch_add(1, Ordering::Release);
        }
        // ORDER: Relaxed: a figure.
        tally.busy.store(false, Ordering::Relaxed);
        // ORDER: Relaxed: only this thread writes it; the one before left the seat to it.
        let finished = tally.finished.load(Ordering::Relaxed) + 1;
        // ORDER: Release pairs with the load in `finished`: who sees the count sees what the task did.
        tally.finished.store(finished, Ordering::Release);
    }

    /// Accepts nothing more; threads end when nothing is left.
    pub(super) fn close(&self) {
        self.gate.close();
        self.crew.stop(&self.seats);
    }

    /// Accepts nothing more and drops what is queued; how many tasks that were.
    pub(super) fn halt(&self) -> usize {
        // ORDER: Release pairs with the load in `turn`; the pops below need no more, as a task is popped once.
        self.halted.store(true, Ordering::Release);
        self.close();
        let mut dropped = 0;
        loop {
            match self.gate.pop() {
                Ok(closure) => {
                    dropped += 1;
                    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(closure))) {
                        discard(payload);
                    }
                }
                Err(PopError::Closed) => return dropped,
                // A submission that came before the end is on its way.
                Err(PopError::Empty) => thread::yield_now(),
            }
        }
    }

    /// Joins the threads, at most until then; false: some are not done.
    pub(super) fn join(&self, until: Option<Instant>) -> bool {
        self.crew.join(until, || self.seats.wake_all())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.gate.is_closed()
    }

    pub(super) fn queued(&self) -> usize {
        self.gate.queue().len()
    }

    pub(super) fn finished(&self) -> u64 {
        // ORDER: Acquire pairs with the store in `run`.
        self.tallies.iter().map(|tally| tally.finished.load(Ordering::Acquire)).sum()
    }

    pub(super) fn panicked(&self) -> u64 {
        // ORDER: Acquire pairs with the addition in `run`.
        self.tallies.iter().map(|tally| tally.panicked.load(Ordering::Acquire)).sum()
    }

    pub(super) fn running(&self) -> usize {
        // ORDER: Relaxed: a figure.
        self.tallies.iter().filter(|tally| tally.busy.load(Ordering::Relaxed)).count()
    }
}

/// The work that was refused, as it was before it became a closure.
#[cold]
fn refuse<R: Run>(refused: PushError<Closure>) -> Result<(), PushError<R>> {
    let full = refused.is_full();
    match refused.into_inner().into_work() {
        Some(work) if full => Err(PushError::Full(work)),
        Some(work) => Err(PushError::Closed(work)),
        // What comes back is what was given.
        None => Ok(()),
    }
}

impl Work for Shared {
    type Worker = Worker;

    fn crew(&self) -> &Crew {
        &self.crew
    }

    fn seats(&self) -> &Seats {
        &self.seats
    }

    fn begin(&self, seat: usize) -> Worker {
        own::enter(self.id());
        Worker { seat }
    }

    fn turn(&self, worker: &mut Worker) -> Turned {
        for _ in 0..TASKS_A_TURN {
            // ORDER: Acquire pairs with the store in `halt`.
            if self.halted.load(Ordering::Acquire) {
                return Turned::Nothing;
            }
            match self.gate.pop() {
                Ok(closure) => self.run(worker, closure),
                Err(PopError::Closed) => return Turned::Nothing,
                Err(PopError::Empty) if self.gate.is_closed() => {
                    // A submission that came before the end is on its way.
                    thread::yield_now();
                    break;
                }
                Err(PopError::Empty) if self.search() => {}
                Err(PopError::Empty) => return Turned::Nothing,
            }
        }
        Turned::Something
    }

    fn has_work(&self) -> bool {
        // The end wakes every thread by itself, and is looked for beside this. What a halt leaves is no work.
        // ORDER: Acquire pairs with the store in `halt`.
        self.gate.queue().len() > 0 && !self.halted.load(Ordering::Acquire)
    }

    fn woke(&self) {
        let _ = self.search_ended();
    }

    fn pass_on(&self) {
        self.call();
    }

    fn fail(&self) {
        // Tasks are contained where they run, so this is a fault of the pool itself: whoever waits is told.
        let _ = self.halt();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pool")
            .field("threads", &self.crew.threads())
            .field("queued", &self.queued())
            .field("finished", &self.finished())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Which pool the calling thread belongs to.
#[cfg(not(efio_loom))]
mod own {
    use std::cell::Cell;

    std::thread_local! {
        /// The pool's id; 0: none.
        static POOL: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn enter(pool: usize) {
        POOL.with(|own| own.set(pool));
    }

    /// Whether the caller is a thread of this pool.
    pub(in crate::pool) fn is_own_thread(pool: usize) -> bool {
        POOL.with(Cell::get) == pool
    }

    /// Whether the caller is a thread of any pool.
    pub(in crate::pool) fn is_pool_thread() -> bool {
        POOL.with(Cell::get) != 0
    }
}

/// Loom's threads share one of the system's.
#[cfg(efio_loom)]
mod own {
    pub(super) fn enter(_pool: usize) {}

    pub(in crate::pool) fn is_own_thread(_pool: usize) -> bool {
        false
    }

    pub(in crate::pool) fn is_pool_thread() -> bool {
        false
    }
}

pub(super) use own::{is_own_thread, is_pool_thread};
