//! Desk: what is known of one handle beside its word; whoever holds it decides what becomes of the file.
//!
//! ```text
//!   UNUSED ─ ef_open ─► OPENING ─► OPEN ─ ef_close ─► CLOSING ─► ENDED ─ ef_open ─► OPENING (the next life) …
//!                          └───────── ef_close ─────────┘          ▲
//!                          └───────── the open failed ─────────────┘
//! ```
//!
//! Locks: a desk, then the numbers, the lists of calls and events, or a stream. Never two desks.

use std::collections::VecDeque;
use std::sync::Arc;

use efio::{Error, Fd, Progress};

use crate::failure::errno_of;
use crate::instance::Instance;
use crate::stream::Stream;

/// Where a handle is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Unused,
    Opening,
    Open,
    Closing,
    Ended,
}

/// What stands behind a handle.
#[derive(Debug, Default)]
pub(crate) enum Backing {
    #[default]
    None,
    /// A file of the instance.
    File(Fd),
    /// A pipe or a device.
    Stream(Arc<Stream>),
}

/// What the file was opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
}

impl Access {
    /// After a write the offset is the end of the file, which only the desk keeps account of.
    pub(crate) fn moves_to_end(self) -> bool {
        self.read && self.append
    }
}

/// The bytes of short calls are put together up to so many.
const TOGETHER: usize = 64 << 10;

/// Bytes that efio had no page for, in the order of their calls.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pieces: VecDeque<Vec<u8>>,
    /// Of the first piece, what has gone.
    gone: usize,
    pub(crate) bytes: u64,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Copies bytes behind the others; false when there is no memory.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let fits = |last: &&mut Vec<u8>| last.len() + bytes.len() <= TOGETHER;
        if let Some(last) = self.pieces.back_mut().filter(fits) {
            if last.try_reserve(bytes.len()).is_err() {
                return false;
            }
            last.extend_from_slice(bytes);
            self.bytes += bytes.len() as u64;
            return true;
        }
        let mut piece = Vec::new();
        if piece.try_reserve_exact(bytes.len()).is_err() || self.pieces.try_reserve(1).is_err() {
            return false;
        }
        piece.extend_from_slice(bytes);
        self.bytes += bytes.len() as u64;
        self.pieces.push_back(piece);
        true
    }

    /// What goes next.
    pub(crate) fn front(&self) -> Option<&[u8]> {
        self.pieces.front().and_then(|piece| piece.get(self.gone..))
    }

    /// The first `bytes` of the front have gone.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.gone += bytes;
        self.bytes = self.bytes.saturating_sub(bytes as u64);
        if self.pieces.front().is_some_and(|piece| piece.len() <= self.gone) {
            self.pieces.pop_front();
            self.gone = 0;
        }
    }

    /// Drops everything; gives how many bytes that were.
    pub(crate) fn clear(&mut self) -> u64 {
        std::mem::take(self).bytes
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Counts the files that had this handle.
    pub(crate) life: u32,
    pub(crate) stage: Stage,
    pub(crate) instance: Option<Arc<Instance>>,
    pub(crate) backing: Backing,
    pub(crate) access: Access,
    pub(crate) notes: Notes,
    pub(crate) backlog: Backlog,
}

/// What is noted of one life; the next one begins with none of it.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The open failed.
    pub(crate) unopened: bool,
    /// The last answer: 0, or the errno.
    pub(crate) answer: i32,
    pub(crate) error: Option<Error>,
    pub(crate) lost: u64,
    pub(crate) progress: Progress,
    /// Somebody has the last answer, or nobody asked for long enough.
    pub(crate) asked: bool,
    /// The handle has been given back.
    pub(crate) freed: bool,
    pub(crate) told_open: bool,
    pub(crate) read_queued: bool,
    /// Callbacks that tell of the open and the close, and have not returned.
    pub(crate) owed: u32,
    /// `ef_file_ready_for_read` met the end; the next read tells it.
    pub(crate) end_seen: bool,
    /// `ef_file_ready_for_read` met an error of the disk, which is told once; the next read tells it.
    pub(crate) fault_seen: Option<Error>,
    /// Written since the offset was last brought to the end of an append file.
    pub(crate) appended: bool,
    /// A read or a seek waits for what is done to be told.
    pub(crate) read_owed: bool,
    /// A write was refused because of the limit.
    pub(crate) room_owed: bool,
    /// A sync was begun to learn when there is room; nobody else has asked for one since.
    pub(crate) own_sync: bool,
    pub(crate) sync_wanted: bool,
    pub(crate) close_wanted: bool,
    /// What is not written is lost on purpose.
    pub(crate) aborted: bool,
    pub(crate) write_limit: Option<u64>,
    /// Where neither the file nor the instance has one.
    pub(crate) default_limit: u64,
    /// The most bytes that efio takes for the file.
    pub(crate) pages: u64,
    pub(crate) data: usize,
    /// Events that nobody has taken.
    pub(crate) news: u32,
    pub(crate) news_error: i32,
    /// From the root, by the folder that the process was in at the open.
    pub(crate) path: std::ffi::CString,
    pub(crate) flags: i32,
    pub(crate) mode: u32,
    /// That of the instance, also after the end.
    pub(crate) seat: u8,
}

impl Desk {
    /// A new life of the handle.
    pub(crate) fn begin(&mut self, instance: Arc<Instance>, access: Access, notes: Notes) {
        self.life = self.life.wrapping_add(1);
        self.stage = Stage::Opening;
        self.instance = Some(instance);
        self.backing = Backing::None;
        self.access = access;
        self.notes = notes;
        self.backlog = Backlog::default();
    }

    /// The life that never was: the open was refused at once.
    pub(crate) fn undo(&mut self) {
        *self = Self { life: self.life, ..Self::default() };
    }

    /// The file has ended.
    pub(crate) fn end(&mut self, error: Option<Error>, answer: i32) {
        let notes = &mut self.notes;
        notes.lost += self.backlog.clear();
        notes.answer = match &error {
            Some(error) => errno_of(error),
            None if answer == 0 && notes.lost > 0 && !notes.unopened && !notes.aborted => libc::EIO,
            None => answer,
        };
        notes.error = error;
        self.stage = Stage::Ended;
        self.backing = Backing::None;
        self.instance = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_gives_back_its_bytes_in_order() {
        let mut backlog = Backlog::default();
        assert!(backlog.is_empty() && backlog.front().is_none());
        assert!(backlog.push(b"abc") && backlog.push(b"de"));
        assert_eq!(backlog.bytes, 5);
        backlog.advance(2);
        assert_eq!(backlog.front(), Some(&b"cde"[..]));
        backlog.advance(1);
        assert_eq!((backlog.front(), backlog.bytes), (Some(&b"de"[..]), 2));
        assert_eq!(backlog.clear(), 2);
        assert!(backlog.is_empty());
    }

    #[test]
    fn short_calls_are_kept_together_and_long_ones_for_themselves() {
        let mut backlog = Backlog::default();
        let bytes: Vec<u8> = (0..TOGETHER + TOGETHER / 2).map(|n| (n % 251) as u8).collect();
        for ten in bytes.chunks(10) {
            assert!(backlog.push(ten));
        }
        assert_eq!(backlog.pieces.len(), 2);
        assert!(backlog.push(&bytes));
        assert_eq!((backlog.pieces.len(), backlog.bytes), (3, 2 * bytes.len() as u64));
        let mut got = Vec::new();
        while let Some(front) = backlog.front() {
            let some = front.len().min(777);
            got.extend_from_slice(&front[..some]);
            backlog.advance(some);
        }
        assert_eq!((got, backlog.bytes), (bytes.repeat(2), 0));
    }

    #[test]
    fn lost_bytes_without_an_error_are_an_error_all_the_same() {
        let mut desk = Desk { stage: Stage::Closing, ..Desk::default() };
        assert!(desk.backlog.push(b"left"));
        desk.end(None, 0);
        assert_eq!((desk.stage, desk.notes.answer, desk.notes.lost), (Stage::Ended, libc::EIO, 4));
    }
}
