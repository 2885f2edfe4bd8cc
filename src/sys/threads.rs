//! The backend for engine threads: a job is done where it is submitted, and handed back at the next reap.
#![allow(unsafe_code, reason = "signal masks and the fork handler")]
//!
//! Each engine thread has one of its own. The waiting is the thread's; nothing is shared here, so there is no lock.
//!
//! The fork generation is the one global of the crate: a child of fork(2) has none of its parent's threads, so every
//! call in it must fail and every drop free nothing. The generation tells the child from the parent without a
//! system call.

use std::mem::MaybeUninit;
use std::thread::{Builder, JoinHandle};

use crate::job::{Done, Job};
use crate::sys::Backend;
use crate::sys::call;
use crate::sys::os::Os;

/// Does each job at once.
#[derive(Debug)]
pub(crate) struct Threads {
    disk: Os,
    finished: Vec<Done>,
}

impl Threads {
    pub(crate) const fn new(disk: Os) -> Self {
        Self { disk, finished: Vec::new() }
    }
}

impl Backend for Threads {
    fn submit(&mut self, job: Job) {
        self.finished.push(call::run(job, &self.disk));
    }

    fn reap(&mut self, done: &mut Vec<Done>) {
        done.append(&mut self.finished);
    }
}

/// Makes a thread in which every signal is blocked.
///
/// A program's handlers run on its own threads, not on ours; a write beyond the limit of file sizes answers `EFBIG`
/// instead of ending the process by SIGXFSZ; and no call of ours is interrupted. The thread that makes it blocks them for
/// that moment, because a thread begins with the mask of its maker: one that blocked them itself would be open to
/// those that come before it gets there.
pub(crate) fn spawn_deaf<T: Send + 'static>(
    builder: Builder,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    let (mut all, mut before) = (MaybeUninit::<libc::sigset_t>::uninit(), MaybeUninit::uninit());
    // SAFETY: `all` and `before` have room for a set each; sigfillset fills the whole of the one, and
    // pthread_sigmask, which refuses nothing but a wrong first argument, the other.
    let before = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    };
    let made = builder.spawn(body);
    // SAFETY: `before` is the mask that this thread had.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    made
}

/// Has the calling thread scheduled as one that computes in the background: waking up, it does not push the program's
/// loop off its processor. A thread that the program runs by another policy keeps it.
#[cfg(target_os = "linux")]
pub(crate) fn give_way() {
    // SAFETY: both calls concern the calling thread alone; the parameter lives through the call.
    unsafe {
        if libc::sched_getscheduler(0) == libc::SCHED_OTHER {
            let parameter: libc::sched_param = std::mem::zeroed();
            // Refused, it is only a little less polite.
            let _ = libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameter);
        }
    }
}

/// As above, where there is no such policy.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn give_way() {}

#[cfg(not(efio_loom))]
mod generation {
    use std::sync::OnceLock;

    use crate::sync::{AtomicU32, Ordering};
    use crate::sys::call::Answer;

    static FORKS: AtomicU32 = AtomicU32::new(0);
    static WATCHED: OnceLock<i32> = OnceLock::new();

    /// Runs in the child between fork and its first instruction, where only an atomic may be touched.
    extern "C" fn forked() {
        // ORDER: Relaxed pairs with the load in `fork_generation`: the child has one thread, which is this one.
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on each fork of this process is counted in the child.
    pub(crate) fn on_fork() -> Answer<()> {
        // SAFETY: the handler is a function of this crate that touches one atomic only, and stays as long as the
        // code does.
        let refused = *WATCHED.get_or_init(|| unsafe { libc::pthread_atfork(None, None, Some(forked)) });
        if refused == 0 { Ok(()) } else { Err(refused) }
    }

    /// How often this process is a fork of one that had called [`on_fork`].
    #[inline]
    pub(crate) fn fork_generation() -> u32 {
        // ORDER: Relaxed pairs with the addition in `forked`, which only the first thread of a child makes.
        FORKS.load(Ordering::Relaxed)
    }
}

/// Loom's atomics cannot be global, and its threads never fork.
#[cfg(efio_loom)]
mod generation {
    pub(crate) fn on_fork() -> crate::sys::call::Answer<()> {
        Ok(())
    }

    pub(crate) fn fork_generation() -> u32 {
        0
    }
}

pub(crate) use generation::{fork_generation, on_fork};
