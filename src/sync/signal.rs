//! What is told that something is worth another look: an eventfd, a waker, a function.

/// Something to be told when a queue, or whatever else an [`EventCount`](super::EventCount) stands beside, is worth another
/// look.
///
/// It is called by the thread that pushes (or pops), so it must not wait. Every function without arguments is one;
/// [`LoopSignal`](crate::LoopSignal) is one that an event loop watches.
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
