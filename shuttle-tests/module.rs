//! A whole module on shuttle's threads: the real table, pool, files, inbox, lanes, workers and timer, on a simulated disk.
//!
//! Workers run the engine's own loop; one that is missing is added as the timer says. The timer runs its own loop too; where
//! it would sleep for a while, the virtual clock moves on instead. The scenario's first thread is the program's loop: it
//! drains the inbox, hands the news to those who wait for them, and sleeps on a parker that the module's wake-up unparks.
//! So whatever is lost on the way shows as a deadlock.

use std::ffi::CString;
use std::time::Duration;

use crate::config::{Limits, OpenOptions};
use crate::engine::Engine;
use crate::error::Operation;
use crate::event::{Events, Readiness};
use crate::fd::Fd;
use crate::file::Slot;
use crate::file::commons::Commons;
use crate::file::note::Notes;
use crate::file::write::Caller;
use crate::inbox::Inbox;
use crate::job::Name;
use crate::news::{Calls, DEFAULT_INBOX, Inboxes};
use crate::page::{Class, Pool, Prefill};
use crate::pool::{Crew, Turned};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Arc, Mutex, Parker, lock};
use crate::sys::Platform;
use crate::sys::sim::{Sim, SimOptions};
use crate::table::Table;

/// What is wrong with a module, for twins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// A worker does not look for work once its sleep is announced; and no timer wakes it.
    WorkerSleepsBlind,
    /// A worker that had nothing to do goes, without a look at what came meanwhile; and no timer adds one.
    WorkerGoesBlind,
    /// Nobody serves the timer.
    NoTimer,
    /// The loop tells of news only those who wait at that moment.
    LoopForgets,
}

/// Events as the loop has seen them.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<(Fd, Readiness)>);

impl Seen {
    /// How many events of this file had this bit.
    pub(super) fn count(&self, fd: Fd, bit: Readiness) -> usize {
        self.0.iter().filter(|(of, readiness)| *of == fd && readiness.intersects(bit)).count()
    }

    /// How many events of any file had this bit.
    pub(super) fn all(&self, bit: Readiness) -> usize {
        self.0.iter().filter(|(_, readiness)| readiness.intersects(bit)).count()
    }
}

/// One who calls a file and waits for its news.
#[derive(Debug)]
pub(super) struct Waiter {
    parker: Parker,
    waits: Mutex<bool>,
}

/// See the head of this file.
#[derive(Clone)]
pub(super) struct Module {
    pub(super) engine: Arc<Engine>,
    pub(super) sim: Sim,
    inbox: Inbox,
    fault: Fault,
    loop_parker: Arc<Parker>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// Limits of a small module: pages for `blocks` large ones.
pub(super) fn limits(blocks: usize, files: u32) -> Limits {
    Limits {
        memory: blocks * Class::Large.bytes(),
        file_memory: Class::Large.bytes(),
        files,
        threads: 2,
        whole_write: Class::Small.bytes(),
        ..Limits::default()
    }
}

impl Module {
    /// A module with one worker and its timer at work.
    pub(super) fn new(limits: Limits, fault: Fault) -> Self {
        let options = SimOptions { delay_ns: 0..1, interrupt_per_mille: 0, ..SimOptions::default() };
        let sim = Sim::with_options(7, options);
        let Some(table) = Table::new(limits.files, Slot::new) else { panic!("memory") };
        let Ok(pool) = Pool::new(limits.memory, Prefill { small: 2, medium: 0, large: 0 }) else {
            panic!("memory")
        };
        let Some(notes) = Notes::new(pool.base(), pool.bytes_limit()) else { panic!("memory") };
        let loop_parker = Arc::new(Parker::new());
        let wake = loop_parker.clone();
        let calls = Calls { wake: Box::new(move || _ = wake.unpark()), lower: Box::new(|| ()), mark: false };
        let commons = Commons::new(limits, table, pool, notes, Inboxes::new(calls));
        let engine = Arc::new(Engine::new(commons, Platform::Sim(sim.clone()), None));
        let inbox = Inbox::new(engine.clone(), DEFAULT_INBOX, None);
        let module = Self { engine, sim, inbox, fault, loop_parker, threads: Arc::default() };
        module.add_worker();
        if matches!(fault, Fault::None | Fault::LoopForgets) {
            let timer = module.clone();
            module.keep(thread::spawn(move || timer.keep_time()));
        }
        module
    }

    pub(super) fn commons(&self) -> &Commons {
        &self.engine.commons
    }

    fn keep(&self, thread: JoinHandle<()>) {
        lock(&self.threads).push(thread);
    }

    fn add_worker(&self) {
        let Some(seat) = self.engine.crew.begin() else { return };
        let module = self.clone();
        self.keep(thread::spawn(move || match module.fault {
            Fault::WorkerSleepsBlind | Fault::WorkerGoesBlind => module.work_badly(seat),
            _ => Crew::run(&*module.engine, seat),
        }));
    }

    /// As the engine's own loop, with one step left out.
    fn work_badly(&self, seat: usize) {
        let mut worker = self.engine.worker();
        while !self.engine.is_stopped() {
            while self.engine.turn(&mut worker) == Turned::Something {}
            if self.fault == Fault::WorkerGoesBlind {
                return;
            }
            self.commons().seats.sleep(seat, None, || self.engine.is_stopped());
        }
    }

    fn keep_time(&self) {
        let sleep = |time: Option<Duration>| {
            if let Some(time) = time {
                self.sim.advance(time);
            }
            self.commons().clock.sleeper.sleep(time);
        };
        self.engine.keep_time(|| self.add_worker(), sleep);
    }

    /// As `Efio::ef_open`.
    pub(super) fn open(&self, path: &str, options: &OpenOptions) -> Result<Fd, crate::Error> {
        let Ok(text) = CString::new(path) else { panic!("a name") };
        let fd = self.commons().open(
            Name { beneath: None, path: text },
            path.into(),
            options,
            DEFAULT_INBOX,
            0,
            None,
        )?;
        self.engine.end_if_late(fd);
        Ok(fd)
    }

    pub(super) fn close(&self, fd: Fd) {
        self.commons().close(fd, 0, Operation::Close, Caller::Descriptor).unwrap();
    }

    /// Wakes the loop for a reason of the scenario's own.
    pub(super) fn call_loop(&self) {
        self.loop_parker.unpark();
    }

    /// The program's loop, until `done`: what it sees, and who is told of it (those of the file's place in the list).
    pub(super) fn run_loop(
        &self,
        waiters: &[Arc<Waiter>],
        seen: &mut Seen,
        mut done: impl FnMut(&Seen) -> bool,
    ) {
        let mut events = Events::with_capacity(4);
        loop {
            while self.inbox.drain(&mut events) > 0 {
                seen.0.extend(events.iter().map(|event| (event.fd(), event.readiness())));
                waiters.iter().for_each(|waiter| waiter.tell(self.fault));
            }
            if done(seen) {
                return;
            }
            self.loop_parker.park();
        }
    }

    /// Runs the loop until a file has this news.
    pub(super) fn until(&self, fd: Fd, bit: Readiness, seen: &mut Seen) {
        self.run_loop(&[], seen, |seen| seen.count(fd, bit) > 0);
    }

    /// Ends the threads; nothing holds a page or a place any more, nothing is open.
    pub(super) fn finish(self) {
        self.engine.stop_threads();
        loop {
            let Some(thread) = lock(&self.threads).pop() else { break };
            thread.join().unwrap();
        }
        assert_eq!(self.commons().pool.bytes_in_use(), 0, "a page was lost");
        assert_eq!(self.commons().table.used(), 0, "a place was lost");
        assert_eq!(self.sim.open_handles(), 0, "a handle was lost");
    }
}

impl Waiter {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { parker: Parker::new(), waits: Mutex::new(false) })
    }

    /// Waits for news of any file.
    pub(super) fn wait(&self) {
        // From the refusal to here others come in between, not only by chance.
        thread::yield_now();
        thread::yield_now();
        *lock(&self.waits) = true;
        self.parker.park();
        *lock(&self.waits) = false;
    }

    fn tell(&self, fault: Fault) {
        if fault != Fault::LoopForgets || *lock(&self.waits) {
            self.parker.unpark();
        }
    }
}
