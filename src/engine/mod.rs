//! The engine: takes what files want done to the platform and brings back what came of it.
//!
//! [`turn`](Engine::turn) is one step of it, with no thread inside; [`threads`] says who calls it and how they sleep;
//! [`timer`] says when; [`lanes`] which job is next; [`notify`] how a loop is woken; [`ending`] how it all stops.

pub(crate) mod ending;
pub(crate) mod lanes;
pub(crate) mod notify;
pub(crate) mod stepping;
pub(crate) mod threads;
pub(crate) mod timer;
pub(crate) mod turn;

use std::fmt;

use crate::file::commons::Commons;
use crate::pool::Crew;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, PoisonFlag};
use crate::sys::Platform;

use ending::LossHook;
use lanes::Lanes;
use timer::Timer;

/// See the head of this file.
pub(crate) struct Engine {
    pub(crate) commons: Commons,
    pub(crate) platform: Platform,
    /// A short lock among engine threads, never held across a job.
    lanes: Mutex<Lanes>,
    timer: Mutex<Timer>,
    /// The engine's threads, the timer's not counted.
    pub(crate) crew: Crew,
    /// Jobs finished so far: whether anything moves.
    finished: AtomicU64,
    /// Changes with each job finished while the module ends: what a shutdown sleeps on.
    turned: AtomicU32,
    /// Set by a panic in the engine's own code.
    poison: PoisonFlag,
    ending: AtomicBool,
    ended: Mutex<Option<ending::Ended>>,
    /// Who turns a module on a virtual clock.
    stepper: Mutex<Option<turn::Worker>>,
    pub(crate) on_loss: Option<LossHook>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("platform", &self.platform)
            .field("threads", &self.threads())
            .finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(commons: Commons, platform: Platform, on_loss: Option<LossHook>) -> Self {
        let now_ns = platform.now_ns();
        let limits = &commons.limits;
        Self {
            crew: Crew::new("efio".into(), limits.threads, Some(limits.thread_idle)),
            lanes: Mutex::new(Lanes::new(limits.threads)),
            timer: Mutex::new(Timer::new(now_ns)),
            commons,
            platform,
            finished: AtomicU64::new(0),
            turned: AtomicU32::new(0),
            poison: PoisonFlag::new(),
            ending: AtomicBool::new(false),
            ended: Mutex::new(None),
            stepper: Mutex::new(None),
            on_loss,
        }
    }

    /// Engine threads alive, the timer's not counted.
    pub(crate) fn threads(&self) -> u32 {
        self.crew.threads()
    }

    /// The engine's own code panicked: nothing more can be promised.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// The module accepts nothing more.
    pub(crate) fn is_ending(&self) -> bool {
        // ORDER: Acquire pairs with `begin_ending`.
        self.ending.load(Ordering::Acquire)
    }

    /// The engine's threads are gone, or going.
    pub(crate) fn is_stopped(&self) -> bool {
        self.crew.is_stopped()
    }
}
