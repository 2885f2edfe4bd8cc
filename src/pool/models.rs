//! A pool for models: the real gate, calls, turns and results; the threads are the model's own.

use std::sync::Arc;

use crate::queue::Mpmc;
use crate::sync::{Arc as ModelArc, AtomicU32, Ordering};

use super::crew::Crew;
use super::shared::{Line, Shared};
use super::task::{Receive, Task, promise};
use super::work::Plain;

/// A pool without threads.
#[derive(Clone)]
pub(crate) struct Model(Arc<Shared>);

impl Model {
    pub(crate) fn new(threads: usize) -> Self {
        Self(Arc::new(Shared::new("model".into(), threads, Line::Bounded(Mpmc::new(2)))))
    }

    /// What a thread of the pool does, to its end.
    pub(crate) fn run(&self, seat: usize) {
        Crew::run(&*self.0, seat);
    }

    /// Submits a task that counts itself; whether it was accepted.
    pub(crate) fn submit(&self, ran: &ModelArc<AtomicU32>) -> bool {
        let ran = ran.clone();
        self.0.push(Plain(move || _ = ran.fetch_add(1, Ordering::AcqRel))).is_ok()
    }

    pub(crate) fn close(&self) {
        self.0.close();
    }

    pub(crate) fn halt(&self) -> usize {
        self.0.halt()
    }

    pub(crate) fn finished(&self) -> u64 {
        self.0.finished()
    }
}

/// A task, and what gives it the result 7.
pub(crate) fn task() -> (impl FnOnce() + Send + 'static, Task<u32>) {
    let (promise, task) = promise(0);
    (move || promise.receive(Ok(7)), task)
}
