//! Transfers that leave nothing in the page cache: by the kernel's own means, else by hand.
//!
//! ```text
//!   new blocks, 64 KiB or more:  write(RWF_DONTCACHE)      the kernel begins with them, and drops them when they are there
//!   all others:                  write, begin ── 4 MiB ──► wait, drop      whole blocks, so that none goes out twice
//! ```
//!
//! Over blocks that the file had before, RWF_DONTCACHE is slow, and on ext4 nothing is dropped: its mark is lost where a
//! write-back ends in an interrupt. A short write would have the kernel drop a block that the next one has to read again.
//! So these go the second way. What such writes have left behind is handed from job to job, as [`Traces`].
//!
//! Waiting for a write-back (sync_file_range(2)) promises nothing of a loss of power. But **it takes the error of the file**: a later
//! fsync of the same opening would say that all is well. So its error, whatever its number, is a failed sync's, and poisons; and it
//! never runs beside a sync, which would miss the error instead. Only the call that has the disk begin, which takes nothing, may
//! find that there is no such call here.

use crate::error::Operation;
use crate::job::cache::{Dropping, Leaving, Traces, Uncached};
use crate::job::{Fault, Handle, Outcome, Place, Slices};
use crate::sys::call::{Answer, Disk, again, read_with, uninterrupted, write_with};

/// Blocks of the page cache, in bytes.
const BLOCK: u64 = 4096;
/// A write shorter than this goes out by hand.
const LONG: usize = 64 << 10;
/// The most that writes leave behind before one waits for what is on its way, and what it leaves then.
const LEFT_MAX: u64 = 4 << 20;
const LEFT_AFTER: u64 = 1 << 20;

/// The steps; each is one system call or stands for one.
pub(crate) trait CacheDisk {
    /// [`Disk::read`], after which the kernel drops what it brought in; `EOPNOTSUPP` or `EINVAL` where that is not known.
    fn read_uncached(&self, handle: Handle, into: &Slices, offset: u64) -> Answer<usize>;
    /// [`Disk::write`], with which the kernel begins at once and which it drops then; errors as for reading.
    fn write_uncached(&self, handle: Handle, from: &Slices, place: Place) -> Answer<usize>;
    /// Where the last write at the end of the file ended.
    fn write_end(&self, handle: Handle) -> Answer<u64>;
    /// Has the disk begin with these bytes; waits for nothing but room in its queue.
    fn begin_writeback(&self, handle: Handle, start: u64, bytes: u64) -> Answer<()>;
    /// Waits until these bytes are on the disk, its own cache left aside; 0 bytes: to the end of the file. Takes the file's error.
    fn end_writeback(&self, handle: Handle, start: u64, bytes: u64) -> Answer<()>;
    /// Drops these bytes from the page cache where they are on the disk; 0 bytes: to the end of the file.
    fn forget(&self, handle: Handle, start: u64, bytes: u64);
}

const fn floor(offset: u64) -> u64 {
    offset - offset % BLOCK
}

/// The kernel, or this file system, has no such call, or will not be asked.
const fn unknown(errno: i32) -> bool {
    matches!(errno, libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS | libc::ESPIPE | libc::EPERM)
}

/// Has the disk begin with a range. False: there is no such call here; as nothing is taken by it, nothing is lost.
fn begin_with(disk: &impl Disk, handle: Handle, start: u64, bytes: u64) -> Result<bool, Fault> {
    match uninterrupted(|| disk.begin_writeback(handle, start, bytes)) {
        Ok(()) | Err(libc::ENOMEM) => Ok(true),
        Err(errno) if unknown(errno) => Ok(false),
        Err(errno) => Err(Fault::new(Operation::Sync, errno)),
    }
}

/// Waits for a range and drops it.
fn settle(disk: &impl Disk, handle: Handle, start: u64, bytes: u64) -> Result<(), Fault> {
    let answer = begin_with(disk, handle, start, bytes).and_then(|known| match known {
        true => uninterrupted(|| disk.end_writeback(handle, start, bytes))
            .map_err(|errno| Fault::new(Operation::Sync, errno)),
        false => Ok(()),
    });
    disk.forget(handle, start, bytes);
    answer
}

/// Reads; what is dropped by hand is what was read, and the whole block in which an earlier read ended.
pub(crate) fn fill(
    disk: &impl Disk,
    handle: Handle,
    offset: u64,
    into: &Slices,
    mut dropping: Dropping,
) -> Outcome {
    let outcome = read_with(offset, into, |rest, at| {
        if dropping != Dropping::ByHand {
            match again(disk, || disk.read_uncached(handle, rest, at)) {
                Err(errno) if unknown(errno) => dropping = Dropping::ByHand,
                answer => {
                    dropping = Dropping::Kernel;
                    return answer;
                }
            }
        }
        again(disk, || disk.read(handle, rest, at))
    });
    let Outcome::Filled { bytes, end, fault, .. } = outcome else { return outcome };
    if dropping == Dropping::ByHand && bytes > 0 {
        let (start, last) = (floor(offset), offset + bytes as u64);
        let last = if end { last.next_multiple_of(BLOCK) } else { floor(last) };
        if last > start {
            disk.forget(handle, start, last - start);
        }
    }
    Outcome::Filled { bytes, end, fault, dropping }
}

/// Writes, and sees to what this write and those before it leave behind.
pub(crate) fn write(
    disk: &impl Disk,
    handle: Handle,
    place: Place,
    from: &Slices,
    uncached: Uncached,
) -> Outcome {
    let Uncached { grows, settles, mut traces } = uncached;
    let mut by_kernel = grows && from.bytes() >= LONG && traces.dropping != Dropping::ByHand;
    let outcome = write_with(disk, handle, place, from, |rest, here| {
        if by_kernel {
            match again(disk, || disk.write_uncached(handle, rest, here)) {
                Err(errno) if unknown(errno) => {
                    by_kernel = false;
                    traces.dropping = Dropping::ByHand;
                }
                answer => {
                    traces.dropping = Dropping::Kernel;
                    return answer;
                }
            }
        }
        again(disk, || disk.write(handle, rest, here))
    });
    let Outcome::Written { bytes, fault, .. } = outcome else { return outcome };
    let end = match place {
        Place::At(offset) => offset.checked_add(bytes as u64),
        Place::End | Place::SyncedEnd => disk.write_end(handle).ok(),
    };
    let begin = end.and_then(|end| end.checked_sub(bytes as u64));
    let behind = match (begin, end) {
        (Some(begin), Some(end)) if bytes > 0 && by_kernel => {
            if traces.start < begin && begin <= traces.end {
                // The block that was begun by hand is complete now.
                traces.end = begin.next_multiple_of(BLOCK).min(end);
            }
            Ok(())
        }
        (Some(begin), Some(end)) if bytes > 0 => leave(disk, handle, begin, end, settles, &mut traces),
        _ => Ok(()),
    };
    // What was found behind is told by nobody else any more.
    Outcome::Written { bytes, fault: behind.err().or(fault), traces }
}

/// The bytes from `begin` to `end` were written by hand.
fn leave(
    disk: &impl Disk,
    handle: Handle,
    begin: u64,
    end: u64,
    settles: bool,
    traces: &mut Traces,
) -> Result<(), Fault> {
    let mut answer = Ok(());
    let none = traces.start == traces.end;
    let elsewhere = begin < traces.start || begin > traces.end;
    if none || elsewhere && settles {
        // What lies there is done with.
        let (start, bytes) = (floor(traces.start), traces.end.next_multiple_of(BLOCK) - floor(traces.start));
        if !none {
            answer = settle(disk, handle, start, bytes);
        }
        (traces.start, traces.end) = (begin, begin);
    }
    let before = traces.end;
    // Elsewhere beside a sync: all of it is one range until a write may wait.
    (traces.start, traces.end) = (traces.start.min(begin), before.max(end));
    let (first, last) = (floor(begin), floor(end));
    if last > first {
        answer = answer.and(begin_with(disk, handle, first, last - first).map(drop));
    }
    let (start, last) = (floor(traces.start), floor(traces.end));
    let left = last.saturating_sub(start);
    if settles && left > LEFT_MAX {
        traces.start = last - LEFT_AFTER;
        answer = answer.and(settle(disk, handle, start, traces.start - start));
    } else if !settles && left >= LEFT_MAX {
        // What the syncs have cleaned goes; the rest is dirty still, and remains noted.
        let grown = left / LEFT_MAX > floor(before).saturating_sub(start) / LEFT_MAX;
        if grown || begin < before {
            disk.forget(handle, start, left);
        }
    }
    answer
}

/// Before a file is closed, or another one is put in its place.
pub(crate) fn depart(disk: &impl Disk, handle: Handle, leaving: Leaving) -> Result<(), Fault> {
    match leaving {
        Leaving::Keep => Ok(()),
        Leaving::Forget => {
            disk.forget(handle, 0, 0);
            Ok(())
        }
        Leaving::Settle => settle(disk, handle, 0, 0),
    }
}
