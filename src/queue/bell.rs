//! How one who waits for a queue learns that it is worth another look: asleep, or by a signal to a loop.
//!
//! ```text
//!  who waits:    announce ── heavy fence ── look again ── nothing? sleep, or back to the loop
//!  who changes:  publish  ── light fence ── announced? wake one, or send the signal
//! ```
//!
//! Of two such fences one comes first, so either the look finds what was published, or the publisher finds the
//! announcement. While nobody waits, a ring is one load.
//!
//! The word: ARMED:1 | threads:31. Threads count themselves in for the whole of their wait and sleep on `turns`, which
//! every ring that finds them moves on; a thread reads `turns` before its look, so that a ring after the look ends the
//! sleep at once. ARMED is a loop's wish for one signal; the ring that takes it down sends it.

use crate::sync::{AtomicU32, Ordering, fence, futex, heavy_fence, light_fence, spin_loop};
use std::fmt;
use std::time::{Duration, Instant};

/// Something to be told when a queue is worth another look: an eventfd, a `mio::Waker`, a function.
///
/// It is called by the thread that pushes (or pops), so it must not wait. Every function without arguments is one.
///
/// ```
/// use efio::queue::{Signal, mpsc};
/// use efio::sync::{Arc, AtomicU32, Ordering};
///
/// let signals = Arc::new(AtomicU32::new(0));
/// let count = signals.clone();
/// let (sender, mut receiver) = mpsc::channel_with_signal(move || {
///     count.fetch_add(1, Ordering::Relaxed);
/// });
/// assert!(sender.push('a').is_ok());
/// assert_eq!(signals.load(Ordering::Relaxed), 0, "nobody asked for a signal");
/// assert_eq!(receiver.pop(), Ok('a'));
/// assert!(receiver.pop().is_err() && receiver.arm(), "empty: a signal will come");
/// assert!(sender.push('b').is_ok() && sender.push('c').is_ok());
/// assert_eq!(signals.load(Ordering::Relaxed), 1, "one signal for one wish");
/// ```
pub trait Signal: Send + Sync {
    /// Says that it is worth another look. Must not wait.
    fn signal(&self);
}

impl<F: Fn() + Send + Sync> Signal for F {
    fn signal(&self) {
        self();
    }
}

/// A loop wants one signal.
const ARMED: u32 = 1 << 31;
/// How often a thread looks before it goes to sleep: about as long as a wake-up takes to be sent.
const LOOKS: u32 = if cfg!(efio_loom) || cfg!(miri) { 0 } else { 64 };

/// Who waits for one kind of news of a queue: threads, and at most one loop.
pub(crate) struct Bell {
    waiting: AtomicU32,
    turns: AtomicU32,
    signal: Option<Box<dyn Signal>>,
}

impl Bell {
    pub(crate) fn new(signal: Option<Box<dyn Signal>>) -> Self {
        fence::register();
        Self { waiting: AtomicU32::new(0), turns: AtomicU32::new(0), signal }
    }

    /// Tells one waiting thread, and the loop, of what the caller has published.
    #[inline]
    pub(crate) fn ring(&self) {
        light_fence();
        // ORDER: Relaxed; the fence orders it after the publishing. Pairs with the read-modify-writes in `arm` and `wait`.
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.tell(futex::wake_one);
        }
    }

    /// Tells every waiting thread, and the loop.
    #[inline]
    pub(crate) fn ring_all(&self) {
        light_fence();
        // ORDER: Relaxed, as in `ring`.
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.tell(futex::wake_all);
        }
    }

    #[cold]
    fn tell(&self, wake: fn(&AtomicU32)) {
        // ORDER: AcqRel pairs with the read-modify-writes in `arm`: of several ringers one takes the wish down.
        let waiting = self.waiting.fetch_and(!ARMED, Ordering::AcqRel);
        if waiting & !ARMED != 0 {
            // ORDER: AcqRel; its Release half pairs with the Acquire load in `wait`.
            self.turns.fetch_add(1, Ordering::AcqRel);
            wake(&self.turns);
        }
        if let (true, Some(signal)) = (waiting & ARMED != 0, &self.signal) {
            signal.signal();
        }
    }

    /// Asks for one signal. The caller then looks once more.
    pub(crate) fn arm(&self) {
        // ORDER: AcqRel pairs with the read-modify-write in `tell`.
        self.waiting.fetch_or(ARMED, Ordering::AcqRel);
        heavy_fence();
    }

    /// Looks, and sleeps between the looks, until one finds something or the time is up.
    pub(crate) fn wait<R>(
        &self,
        timeout: Option<Duration>,
        mut look: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        for _ in 0..=LOOKS {
            if let Some(found) = look() {
                return Some(found);
            }
            spin_loop();
        }
        let deadline = timeout.and_then(|limit| Instant::now().checked_add(limit));
        // ORDER: AcqRel; seen by `ring` if its fence comes after the one below.
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let _present = Present(self);
        heavy_fence();
        loop {
            // ORDER: Acquire pairs with the Release half of the addition in `tell`: a turn seen here is seen by the look.
            let turn = self.turns.load(Ordering::Acquire);
            if let Some(found) = look() {
                return Some(found);
            }
            // A deadline too far for the clock is none.
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            futex::wait(&self.turns, turn, left);
        }
    }
}

/// Counts a waiting thread out, also if its look panics.
struct Present<'a>(&'a Bell);

impl Drop for Present<'_> {
    fn drop(&mut self) {
        // ORDER: AcqRel; one of the read-modify-writes of this word.
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ORDER: Relaxed; for the eye only.
        let waiting = self.waiting.load(Ordering::Relaxed);
        formatter
            .debug_struct("Bell")
            .field("threads", &(waiting & !ARMED))
            .field("armed", &(waiting & ARMED != 0))
            .finish_non_exhaustive()
    }
}
