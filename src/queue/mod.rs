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
//! `cargo bench --bench queues` prints these tables. All rows are of one run on two processors that had nothing else to
//! do; from run to run a row moves by a quarter. 1.00 is the best rival of the row.
//!
//! | threads | ours | rivals |
//! | --- | --- | --- |
//! | 1 to 1, a value at a time | [`spsc::channel`] 0.84 | rtrb 1.00, [`ArrayQueue`][1] 0.18, concurrent-queue 0.17, flume 0.03 |
//! | 1 to 1, 64 at a time | [`spsc::channel`] 1.92 | (rtrb, a value at a time, 1.00) |
//! | 1 to 1, no bound | [`mpsc::channel`] 2.03 | concurrent-queue 1.00, `SegQueue` 0.95, std 0.92, crossbeam-channel 0.87 |
//! | 2 to 1, no bound | [`mpsc::channel`] 1.35 | `SegQueue` 1.00, concurrent-queue 0.90, crossbeam-channel 0.89, std 0.65 |
//! | 4 to 1, no bound | [`mpsc::channel`] 0.61 | `SegQueue` 1.00, crossbeam-channel 0.91, concurrent-queue 0.86, std 0.60 |
//! | 1 to 1, shared | [`Lanes`] 0.99, [`Mpmc`] 0.74, [`Tickets`] 0.69, [`Gate`] 0.21, [`Stack`] 0.09 | crossbeam-channel 1.00, concurrent-queue 0.85, [`ArrayQueue`][1] 0.76 |
//! | 2 to 2, shared | [`Mpmc`] 0.77, [`Tickets`] 0.74, [`Lanes`] 0.35, [`Gate`] 0.08, [`Stack`] 0.06 | crossbeam-channel 1.00, [`ArrayQueue`][1] 0.90, concurrent-queue 0.77 |
//! | 4 to 4, shared | [`Mpmc`] 1.12, [`Tickets`] 0.92, [`Lanes`] 0.19, [`Gate`] 0.10, [`Stack`] 0.09 | concurrent-queue 1.00, crossbeam-channel 0.95, [`ArrayQueue`][1] 0.69 |
//! | 64 KiB there and back | [`chunked::stream`] 0.68 (263 GB/s) | crossbeam-channel of `Vec` 1.00 |
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
