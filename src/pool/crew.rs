//! A crew: threads that share one kind of work, sleep in seats while there is none, retire, stop and are joined.
//!
//! ```text
//!   begin ── turn ──► something: turn again
//!              │
//!              └────► nothing ── stopping since before the turn? ──► the thread ends
//!                        │
//!                        └─ sleep in the seat ──► woken: turn again ; time is up, and not the last: retire
//! ```
//!
//! A crew knows nothing of the work: [`Work`] says what a turn is. It never adds a thread by itself; whoever watches the
//! work does. Invariant: a thread ends only by a turn that found nothing *and began after the stop*, so what was there
//! before the stop has been seen by a turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, Seats, lock};
use crate::sys::threads::spawn_deaf;

/// What a turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Turned {
    /// Something: turn again.
    Something,
    /// Nothing is to be done now.
    Nothing,
}

/// What the threads of a crew do.
pub(crate) trait Work: Send + Sync + 'static {
    /// What one thread keeps from turn to turn.
    type Worker;

    /// Who does it.
    fn crew(&self) -> &Crew;

    /// Where they sleep; who brings work wakes them there.
    fn seats(&self) -> &Seats;

    /// On a thread of the crew, before its first turn.
    fn begin(&self, seat: usize) -> Self::Worker;

    /// Does something that is to be done.
    fn turn(&self, worker: &mut Self::Worker) -> Turned;

    /// Something waits for a thread.
    fn has_work(&self) -> bool;

    /// The next work is expected at once, so the thread may watch for it before it sleeps.
    fn expects_more(&self, _worker: &Self::Worker) -> bool {
        false
    }

    /// A thread's sleep has ended, whatever ended it.
    fn woke(&self) {}

    /// Work has to find another thread than the caller, who retires.
    fn pass_on(&self);

    /// A turn panicked; its thread ends.
    fn fail(&self);
}

/// How often the end of the threads is looked for, at first and at last.
const LOOK_FIRST: Duration = Duration::from_micros(200);
const LOOK_LAST: Duration = Duration::from_millis(5);

/// Threads that are merely on their way out get a moment even past the deadline.
const GRACE: Duration = Duration::from_millis(50);

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Crew {
    /// Threads are called this, with the number of their seat.
    name: String,
    /// The most threads.
    most: usize,
    /// A thread without work for so long retires, unless it is the last.
    idle: Option<Duration>,
    /// Threads alive.
    threads: AtomicU32,
    seats_taken: AtomicU64,
    stop: AtomicBool,
    joins: Mutex<Vec<JoinHandle<()>>>,
}

impl Crew {
    pub(crate) fn new(name: String, most: usize, idle: Option<Duration>) -> Self {
        Self {
            name,
            most,
            idle,
            threads: AtomicU32::new(0),
            seats_taken: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            joins: Mutex::new(Vec::new()),
        }
    }

    /// Threads alive.
    pub(crate) fn threads(&self) -> u32 {
        // ORDER: Relaxed: a figure.
        self.threads.load(Ordering::Relaxed)
    }

    /// The threads are gone, or going.
    pub(crate) fn is_stopped(&self) -> bool {
        // ORDER: Acquire pairs with the store in `stop`.
        self.stop.load(Ordering::Acquire)
    }

    /// Tells all threads to end when they have nothing to do.
    pub(crate) fn stop(&self, seats: &Seats) {
        // ORDER: Release: what was decided before is seen by the threads' last turn.
        self.stop.store(true, Ordering::Release);
        seats.wake_all();
    }

    /// Adds a thread, if there is a seat for it.
    pub(crate) fn add<W: Work>(work: &Arc<W>) -> std::io::Result<()> {
        let crew = work.crew();
        let Some(seat) = crew.begin() else { return Ok(()) };
        let its = Arc::clone(work);
        let thread = Builder::new().name(format!("{}-{seat}", crew.name));
        match spawn_deaf(thread, move || Self::run(&*its, seat)) {
            Ok(join) => {
                crew.adopt(join);
                Ok(())
            }
            Err(error) => {
                crew.leave(seat);
                Err(error)
            }
        }
    }

    /// The seat of a thread that is about to begin, and that counts from here on; `None`: there are as many as may be.
    pub(crate) fn begin(&self) -> Option<usize> {
        let seat = self.take_seat()?;
        // ORDER: Relaxed: a figure; counted before the thread can retire.
        self.threads.fetch_add(1, Ordering::Relaxed);
        Some(seat)
    }

    /// Has a thread joined with those of the crew.
    pub(crate) fn adopt(&self, join: JoinHandle<()>) {
        let mut joins = lock(&self.joins);
        joins.retain(|join| !join.is_finished());
        joins.push(join);
    }

    /// The life of one thread.
    pub(crate) fn run<W: Work>(work: &W, seat: usize) {
        let crew = work.crew();
        let mut worker = work.begin(seat);
        loop {
            let stopping = crew.is_stopped();
            match catch_unwind(AssertUnwindSafe(|| work.turn(&mut worker))) {
                Ok(Turned::Something) => continue,
                Ok(Turned::Nothing) => {}
                Err(_) => {
                    work.fail();
                    break;
                }
            }
            if stopping {
                break;
            }
            let timeout = crew.idle.filter(|_| crew.threads() > 1);
            let look = || work.has_work() || crew.is_stopped();
            let woken = match work.expects_more(&worker) {
                true => work.seats().watch(seat, timeout, look),
                false => work.seats().sleep(seat, timeout, look),
            };
            work.woke();
            if !woken && crew.retire() {
                crew.leave_seat(seat);
                // Work that came while this thread was counted as able to take it finds another.
                if work.has_work() {
                    work.pass_on();
                }
                return;
            }
        }
        crew.leave(seat);
    }

    fn take_seat(&self) -> Option<usize> {
        // ORDER: Relaxed: a first guess, checked by the exchange.
        let mut taken = self.seats_taken.load(Ordering::Relaxed);
        loop {
            let seat = (!taken).trailing_zeros() as usize;
            if seat >= self.most {
                return None;
            }
            // ORDER: AcqRel: the seat's last thread left it by `leave_seat`.
            match self.seats_taken.compare_exchange_weak(
                taken,
                taken | 1 << seat,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(seat),
                Err(now) => taken = now,
            }
        }
    }

    fn leave_seat(&self, seat: usize) {
        // ORDER: AcqRel: pairs with `take_seat`.
        self.seats_taken.fetch_and(!(1 << seat), Ordering::AcqRel);
    }

    fn leave(&self, seat: usize) {
        // ORDER: Relaxed: a figure.
        self.threads.fetch_sub(1, Ordering::Relaxed);
        self.leave_seat(seat);
    }

    /// Counts the calling thread out, unless it is the last.
    fn retire(&self) -> bool {
        // ORDER: Relaxed: a first guess, checked by the exchange.
        let mut threads = self.threads.load(Ordering::Relaxed);
        while threads > 1 {
            // ORDER: AcqRel: of two that would retire together, one sees the other's count.
            match self.threads.compare_exchange_weak(
                threads,
                threads - 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => threads = now,
            }
        }
        false
    }

    /// Joins the threads that end by the deadline, and says whether all did; `nudge` wakes those asleep. Those left can be
    /// joined by another call.
    pub(crate) fn join(&self, until: Option<Instant>, nudge: impl Fn()) -> bool {
        let mut pause = LOOK_FIRST;
        loop {
            let mut joins = lock(&self.joins);
            let (done, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut *joins).into_iter().partition(JoinHandle::is_finished);
            let all = rest.is_empty();
            *joins = rest;
            drop(joins);
            for join in done {
                // A panic in a thread was told to its work already.
                let _ = join.join();
            }
            if all {
                return true;
            }
            if until.is_some_and(|until| until.elapsed() > GRACE) {
                return false;
            }
            nudge();
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK_LAST);
        }
    }
}
