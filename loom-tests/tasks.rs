//! A task's waker against an event: whichever comes first, the task has the event, and the inbox has not.
//!
//! The real module: one thread polls as a task and sleeps until it is woken, another raises the event, and a drain of the
//! inbox may be under way. A lost wake leaves the task asleep for ever, on which loom ends the program. The twin says that
//! it waits before its waker is in its place.

use std::task::{Wake, Waker};

use crate::config::OpenOptions;
use crate::event::Readiness;
use crate::fd::Fd;
use crate::file::state::Pending;
use crate::loom_tests::module::{Module, Seen};
use crate::sync::{Arc, AtomicU32, Mutex, Ordering, Sleeper, lock, model, thread};

const SYNCED: Readiness = Readiness::SYNCED;

/// A task that sleeps on its thread.
struct Task {
    sleeper: Sleeper,
    woken: AtomicU32,
}

impl Wake for Task {
    fn wake(self: std::sync::Arc<Self>) {
        self.woken.swap(1, Ordering::AcqRel);
        self.sleeper.wake();
    }
}

impl Task {
    fn new() -> (std::sync::Arc<Self>, Waker) {
        let task = std::sync::Arc::new(Self { sleeper: Sleeper::new(), woken: AtomicU32::new(0) });
        (task.clone(), task.into())
    }

    fn sleep(&self) {
        while self.woken.swap(0, Ordering::AcqRel) == 0 {
            self.sleeper.prepare();
            if self.woken.load(Ordering::Acquire) == 0 {
                self.sleeper.sleep(None);
            } else {
                self.sleeper.cancel();
            }
        }
    }
}

fn wait(module: &Module, fd: Fd) -> Readiness {
    let (task, waker) = Task::new();
    loop {
        let ready = module.commons().poll_ready(fd, SYNCED.bits(), &waker, &|_, _, _| Err(0)).unwrap();
        if !ready.is_empty() {
            return ready;
        }
        task.sleep();
    }
}

#[test]
fn a_task_is_woken_by_the_event_it_waits_for() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().append(true));
        let raiser = module.clone();
        let raiser = thread::spawn(move || {
            raiser.commons().raise(raiser.commons().slot(fd).unwrap(), SYNCED.bits());
        });
        assert!(wait(&module, fd).is_synced());
        raiser.join().unwrap();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        assert_eq!(seen.bits, [], "the inbox has it too");
        module
            .commons()
            .close(fd, 0, crate::error::Operation::Close, crate::file::write::Caller::Descriptor)
            .unwrap();
        module.run();
        module.drain(&mut seen);
        module.assert_idle();
    });
}

#[test]
fn what_a_task_was_told_and_gave_up_reaches_the_inbox() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().append(true));
        let raiser = module.clone();
        let raiser = thread::spawn(move || {
            raiser.commons().raise(raiser.commons().slot(fd).unwrap(), SYNCED.bits());
        });
        let (_task, waker) = Task::new();
        let ready = module.commons().poll_ready(fd, SYNCED.bits(), &waker, &|_, _, _| Err(0)).unwrap();
        if ready.is_empty() {
            module.commons().forget_task(fd, SYNCED.bits());
        }
        raiser.join().unwrap();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        assert_eq!(
            seen.count(SYNCED) + usize::from(ready.is_synced()),
            1,
            "the event is lost, or came twice"
        );
        module
            .commons()
            .close(fd, 0, crate::error::Operation::Close, crate::file::write::Caller::Descriptor)
            .unwrap();
        module.run();
        module.drain(&mut seen);
        module.assert_idle();
    });
}

/// Opens as a task that awaits the news of its open, from the start or from its first look; a drain is under way.
fn open_as_a_task(from_the_start: bool) {
    model(move || {
        let module = Module::new();
        let awaited = if from_the_start { Readiness::OPENED | Readiness::CLOSED } else { Readiness::NONE };
        let fd = module.begin_open_awaited(&OpenOptions::new().append(true), awaited);
        let engine = module.clone();
        let engine = thread::spawn(move || engine.run());
        let loops = module.clone();
        let loops = thread::spawn(move || {
            let mut seen = Seen::default();
            loops.drain(&mut seen);
            seen
        });
        let (task, waker) = Task::new();
        loop {
            let told = module.commons().attend(fd, Readiness::OPENED.bits(), &waker).unwrap();
            if told.is_opened() || module.commons().open_status(fd).is_ok() {
                break;
            }
            task.sleep();
        }
        engine.join().unwrap();
        let mut seen = loops.join().unwrap();
        module.drain(&mut seen);
        assert_eq!(seen.bits, [], "an inbox hears of a task's file");
    });
}

#[test]
fn what_is_awaited_from_the_start_never_reaches_the_inbox() {
    open_as_a_task(true);
}

#[test]
#[should_panic(expected = "an inbox hears of a task's file")]
fn twin_that_awaits_only_when_it_looks() {
    open_as_a_task(false);
}

/// The word and the waker's place alone, and a task that looks once.
fn small(waker_first: bool) {
    model(move || {
        let shared = Arc::new((Pending::new(), Mutex::new(None::<Waker>)));
        let raiser = shared.clone();
        let raiser = thread::spawn(move || {
            if raiser.0.raise(SYNCED.bits()).tasks != 0 {
                let waker = lock(&raiser.1).take();
                waker.into_iter().for_each(Waker::wake);
            }
        });
        let (task, waker) = Task::new();
        if waker_first {
            *lock(&shared.1) = Some(waker.clone());
        }
        let told = shared.0.attend(0, SYNCED.bits()) != Some(0);
        if !waker_first {
            *lock(&shared.1) = Some(waker.clone());
        }
        raiser.join().unwrap();
        assert!(told || task.woken.load(Ordering::Acquire) != 0, "asleep beside its event");
    });
}

#[test]
fn the_waker_is_in_its_place_before_the_word_says_so() {
    small(true);
}

#[test]
#[should_panic(expected = "asleep beside its event")]
fn twin_that_says_so_before_the_waker_is_in_its_place() {
    small(false);
}
