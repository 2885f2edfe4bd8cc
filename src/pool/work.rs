//! What is submitted: work alone, or work whose result somebody is owed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::closure::Run;
use super::task::{Receive, TaskError};

/// Work without a result.
pub(super) struct Plain<F>(pub(super) F);

impl<F: FnOnce() + Send + 'static> Run for Plain<F> {
    fn run(self) -> bool {
        (self.0)();
        false
    }
}

/// Work whose result is for `R`.
pub(super) struct Answering<F, T, R: Receive<T>> {
    work: F,
    owed: Owed<T, R>,
}

/// Somebody is owed a result: dropped before the result is there, it says so.
struct Owed<T, R: Receive<T>> {
    receiver: Option<R>,
    result: std::marker::PhantomData<fn(T)>,
}

impl<T, R: Receive<T>> Owed<T, R> {
    fn settle(mut self, result: Result<T, TaskError>) {
        if let Some(receiver) = self.receiver.take() {
            receiver.receive(result);
        }
    }
}

impl<T, R: Receive<T>> Drop for Owed<T, R> {
    fn drop(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            receiver.receive(Err(TaskError::Dropped));
        }
    }
}

impl<F, T, R: Receive<T>> Answering<F, T, R> {
    pub(super) fn new(work: F, receiver: R) -> Self {
        Self { work, owed: Owed { receiver: Some(receiver), result: std::marker::PhantomData } }
    }

    /// The parts again, with nobody told of anything.
    pub(super) fn into_parts(self) -> (F, Option<R>) {
        let Self { work, mut owed } = self;
        (work, owed.receiver.take())
    }
}

impl<F, T, R> Run for Answering<F, T, R>
where
    F: FnOnce() -> T + Send + 'static,
    T: 'static,
    R: Receive<T>,
{
    fn run(self) -> bool {
        let Self { work, owed } = self;
        let outcome = catch_unwind(AssertUnwindSafe(work));
        let panicked = outcome.is_err();
        owed.settle(outcome.map_err(TaskError::of_panic));
        panicked
    }
}

/// A function of the caller's for the result.
pub(super) struct Callback<D>(pub(super) D);

impl<T, D: FnOnce(Result<T, TaskError>) + Send + 'static> Receive<T> for Callback<D> {
    fn receive(self, result: Result<T, TaskError>) {
        (self.0)(result);
    }
}
