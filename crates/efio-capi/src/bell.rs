//! Bell: rung when there is news; heard by all who wait for it, also by who was about to.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Counts its rings.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

/// The guard, whether or not a thread panicked while it had it: what is behind the locks here is whole at every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bell {
    /// How often it was rung: to be taken before one looks for news.
    pub(crate) fn rings(&self) -> u64 {
        *lock(&self.rings)
    }

    /// There is news.
    pub(crate) fn ring(&self) {
        *lock(&self.rings) += 1;
        self.rung.notify_all();
    }

    /// Waits until it has been rung more often than `heard`, at most for `limit`.
    pub(crate) fn wait(&self, heard: u64, limit: Option<Duration>) {
        let rings = lock(&self.rings);
        let quiet = |rings: &mut u64| *rings == heard;
        match limit {
            Some(limit) => {
                let waited = self.rung.wait_timeout_while(rings, limit, quiet);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
            None => drop(self.rung.wait_while(rings, quiet).unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_heard() {
        let bell = Bell::default();
        let heard = bell.rings();
        bell.ring();
        bell.wait(heard, None);
        assert_eq!(bell.rings(), heard + 1);
    }

    #[test]
    fn every_ring_wakes_who_waits() {
        let bell = Bell::default();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                for heard in 0..1000 {
                    bell.wait(heard, None);
                }
            });
            while !waiter.is_finished() {
                bell.ring();
            }
        });
    }
}
