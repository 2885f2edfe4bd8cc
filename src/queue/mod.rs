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

mod bell;
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
mod values;

pub use bell::Signal;
pub use gate::{Gate, Shared};
pub use levels::Levels;
pub use mpmc::{Mpmc, Unbounded};
pub use partitioned::{Lane, Lanes, Tickets};
pub use ready::{IndexList, Taken, WasEmpty};
pub use refusal::{PopError, PushError};
pub use spsc::{Owed, Ring};
pub use stack::{IndexStack, TakenStack};
pub use values::Stack;

use crate::sync::AtomicU32;

/// Where the links of an index queue live.
///
/// An index in a queue uses the link of its own object and no other; an object that can be in two
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
