//! Queues: what waits between two threads, without locks and with a bound on each.
//!
//! | queue | joins | bound | when it is full |
//! | --- | --- | --- | --- |
//! | [`IndexList`] | calls to the engine (submissions, dirty files), engine to an inbox (ready files), pool to refused files | the table: an object is in a list at most once | cannot be |
//! | [`IndexStack`] | the engine to the writers: free pages | the pool: a page is free at most once | cannot be |
//! | [`Ring`] | one file's fills to its one reader | its `N` | the push gives the value back; the filler stops until a pop |
//! | [`Mpmc`] | callers to workers, any to any | its capacity | the push gives the value back; the caller says so |
//!
//! The two index queues hold numbers of objects that live elsewhere (slots of a table, pages of a
//! pool), and the link to the next number lies in the object itself: a push allocates nothing and
//! cannot fail. What the number stands for is reached through [`Links`].
//!
//! # Queues of values
//!
//! | queue | producers, consumers | bound | order | closes |
//! | --- | --- | --- | --- | --- |
//! | [`spsc::channel`] | one, one | its capacity | first in first out; batches, slices lent in place | by either half |
//! | [`mpsc::channel`] | many, one | memory | as claimed; of each sender first in first out | by the receiver, or with the last sender |
//! | [`Mpmc`], [`Unbounded`] | many, many | capacity; memory | first in first out | behind a [`Gate`] |
//! | [`Tickets`] | many, many | parts times depth | first in first out | behind a [`Gate`] |
//! | [`Lanes`] | many, many | depth of each lane | of each producer | behind a [`Gate`] |
//! | [`Levels`] | many, many | depth of each level | urgent first, then first in first out | behind a [`Gate`] |
//! | [`Stack`] | many, many | its capacity | last in first out | behind a [`Gate`] |
//! | [`chunked::stream`] | one, one | bytes | a stream of bytes, never copied | [`end`](chunked::Writer::end), [`fail`](chunked::Writer::fail) |
//! | [`buffered::Writer`] | one, one | bytes | `Write` over such a stream, framed in place | [`finish`](buffered::Writer::finish) |
//!
//! [`Unbounded`] is crossbeam-queue's `SegQueue`; [`Mpmc`] is a ring of our own. The halves, and every queue behind a
//! [`Gate`], can be slept at (`pop_wait`, `push_wait`) and watched by an event loop: one [`Signal`]
//! for each wish (`arm`), sent by the push or pop that fulfils it; [`LoopSignal`](crate::LoopSignal) is one that is an
//! event descriptor, and says in which order a turn of the loop goes.
//!
//! Bad use has an answer, the same everywhere: a capacity of zero is one; a second close changes nothing and says so; a
//! push after a close gives the value back as [`PushError::Closed`]; a pop takes what is left, then says
//! [`PopError::Closed`]; an erase of more bytes than there are erases none. What is left in a queue is dropped with it.
//!
//! # Speed
//!
//! `cargo bench --bench queues` prints these tables. All rows are medians of one run on two processors; 1.00 is the best
//! rival of the row. Rows move by a quarter and more from run to run; we take it that this depends on how the threads are
//! spread over the processors, as threads that share one meet no cache misses: then many queues are alike, as they are here.
//!
//! | threads | ours | rivals |
//! | --- | --- | --- |
//! | 1 to 1, a value at a time | [`spsc::channel`] 1.41 | rtrb 1.00, concurrent-queue 0.45, crossbeam-channel 0.45, [`ArrayQueue`][1] 0.38, std 0.35, flume 0.08 |
//! | 1 to 1, 64 at a time | [`spsc::channel`] 3.27 | (rtrb, a value at a time, 1.00) |
//! | 1 to 1, no bound | [`mpsc::channel`] 1.91 | `SegQueue` 1.00, std 0.98, flume 0.97, concurrent-queue 0.92, crossbeam-channel 0.90 |
//! | 2 to 1, no bound | [`mpsc::channel`] 1.78 | `SegQueue` 1.00, flume 0.97, std 0.96, concurrent-queue 0.92, crossbeam-channel 0.88 |
//! | 4 to 1, no bound | [`mpsc::channel`] 1.59 | `SegQueue` 1.00, std 0.96, concurrent-queue 0.93, flume 0.91, crossbeam-channel 0.90 |
//! | 1 to 1, shared | [`Mpmc`] 1.02, [`Tickets`] 1.02, [`Lanes`] 1.01, [`Gate`] 1.01, [`Unbounded`] 0.93, [`Stack`] 0.73 | concurrent-queue 1.00, [`ArrayQueue`][1] 0.99, crossbeam-channel 0.98, flume 0.80 |
//! | 2 to 2, shared | [`Tickets`] 0.95, [`Mpmc`] 0.94, [`Gate`] 0.93, [`Unbounded`] 0.85, [`Lanes`] 0.84, [`Stack`] 0.68 | [`ArrayQueue`][1] 1.00, concurrent-queue 0.99, crossbeam-channel 0.89, flume 0.73 |
//! | 4 to 4, shared | [`Mpmc`] 1.09, [`Tickets`] 0.94, [`Gate`] 0.93, [`Unbounded`] 0.86, [`Stack`] 0.68, [`Lanes`] 0.63 | [`ArrayQueue`][1] 1.00, concurrent-queue 1.00, crossbeam-channel 1.00, flume 0.73 |
//! | 64 KiB there and back | [`chunked::stream`] 0.93 (470 GB/s) | crossbeam-channel of `Vec` 1.00 |
//!
//! In the run before, in which they were not alike, [`Mpmc`] had 0.89, 1.15 and 1.90 with 1, 2 and 4
//! threads on each side, [`Gate`] 1.01, 1.24 and 1.83, [`ArrayQueue`][1] 0.69, 0.96 and 0.96. [`Unbounded`] is crossbeam-queue's
//! `SegQueue`; its rows are what a queue without a bound costs beside bounded ones.
//!
//! [1]: https://docs.rs/crossbeam-queue

pub mod buffered;
pub mod chunked;
mod gate;
mod levels;
mod mpmc;
pub mod mpsc;
mod partitioned;
mod ready;
mod refusal;
pub mod spsc;
mod stack;
mod unbounded;
mod values;

pub use gate::{Gate, Shared};
pub use levels::Levels;
pub use mpmc::Mpmc;
pub use partitioned::{Lane, Lanes, Tickets};
pub use ready::{IndexList, Taken, WasEmpty};
pub use refusal::{PopError, PushError};
pub use spsc::{Owed, Ring};
pub use stack::{IndexStack, TakenStack};
pub use unbounded::Unbounded;
pub use values::Stack;

pub use crate::sync::Signal;

use crate::sync::AtomicU32;

/// Where the links of an index queue live.
///
/// `u32::MAX` is not an index: it has no word in a link. An index in a queue uses the link of its own object and no other; an object that can be in two
/// queues at a time has two links, and each queue is always given the same one. The queue keeps
/// its own encoding in the link: its value means nothing to others, and needs no reset.
///
/// ```
/// use efio::queue::{IndexList, Links};
/// use efio::sync::AtomicU32;
///
/// struct Files(Vec<(AtomicU32, &'static str)>);
///
/// impl Links for Files {
///     fn link(&self, index: u32) -> &AtomicU32 {
///         &self.0[index as usize].0
///     }
/// }
///
/// let files = Files(vec![(AtomicU32::new(0), "log"), (AtomicU32::new(0), "upload")]);
/// let ready = IndexList::new();
/// let _ = ready.push(&files, 1);
/// let names: Vec<_> = ready.take_all(&files).map(|index| files.0[index as usize].1).collect();
/// assert_eq!(names, ["upload"]);
/// ```
pub trait Links {
    /// The link of the object `index`.
    fn link(&self, index: u32) -> &AtomicU32;
}

/// Links in an array of their own; the index is the place in the array.
///
/// # Panics
///
/// An index beyond the array panics.
impl Links for [AtomicU32] {
    #[inline]
    fn link(&self, index: u32) -> &AtomicU32 {
        &self[index as usize]
    }
}

/// Repeats `drop_next`, which drops a value or says that none is left. Where a drop panics the rest is dropped first, as in
/// the collections of std; a second panic meanwhile ends the process.
fn drop_all(drop_next: impl FnMut() -> bool) {
    struct Rest<F: FnMut() -> bool>(F);
    impl<F: FnMut() -> bool> Drop for Rest<F> {
        fn drop(&mut self) {
            while (self.0)() {}
        }
    }
    let mut rest = Rest(drop_next);
    while (rest.0)() {}
}

/// The word for "no index"; an index is kept as itself plus one, so that zeroed memory is empty.
const NONE: u32 = 0;

/// The word for `index`.
#[inline]
fn word_of(index: u32) -> u32 {
    debug_assert!(index != u32::MAX, "the last index has no word");
    index.wrapping_add(1)
}

/// The index that `word` stands for.
#[inline]
fn index_of(word: u32) -> Option<u32> {
    word.checked_sub(1)
}
