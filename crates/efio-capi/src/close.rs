//! Closing: begun by one call, answered by another, or waited for.

use std::time::{Duration, Instant};

use crate::calls::Oper;
use crate::cells::Cell;
use crate::desk::{Backing, Desk, Stage};
use crate::failure::{Answer, Failure, fail};
use crate::instance::Instance;
use crate::meet::level;
use crate::news::bits;
use crate::world::{World, world};

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// What was taken goes out, an atomic file gets its name.
    Close,
    /// What is not written is dropped.
    Abort,
}

fn find(handle: i32) -> Answer<(&'static World, &'static Cell)> {
    let found = world().and_then(|world| Some((world, world.cells.get(handle)?)));
    found.ok_or(Failure::Errno(libc::EBADF))
}

/// `ef_close` and `ef_abort`.
pub(crate) fn close(handle: i32, manner: Manner) -> Answer<i32> {
    let (world, cell) = find(handle)?;
    let mut guard = cell.desk();
    let desk = &mut *guard;
    match desk.stage {
        Stage::Opening | Stage::Open => begin(desk, cell, manner)?,
        Stage::Closing => return fail(libc::EBUSY),
        Stage::Ended if desk.notes.unopened => {
            desk.notes.asked = true;
            desk.notes.news = 0;
            world.free_if_done(desk, handle as u32);
            return fail(libc::EBADF);
        }
        _ => return fail(libc::EBADF),
    }
    let stream = match &desk.backing {
        Backing::Stream(stream) => Some(std::sync::Arc::clone(stream)),
        _ => None,
    };
    drop(guard);
    if let Some(stream) = stream {
        stream.close(manner == Manner::Abort);
    }
    Ok(0)
}

/// The close begins. A stream is told by the caller, without the desk.
fn begin(desk: &mut Desk, cell: &Cell, manner: Manner) -> Answer<()> {
    let Some(instance) = Instance::of(desk) else { return fail(libc::EBADF) };
    cell.vacate();
    if let Backing::File(fd) = desk.backing {
        let begun = match manner {
            Manner::Close if !desk.backlog.is_empty() => {
                desk.notes.close_wanted = true;
                let stalled = instance.efio.ef_poll(fd).is_ok_and(|now| now.is_stalled());
                if stalled {
                    instance.give_up_backlog(desk);
                }
                Ok(())
            }
            Manner::Close => instance.efio.ef_close(fd),
            Manner::Abort => {
                desk.backlog.clear();
                instance.efio.ef_abort(fd)
            }
        };
        // Stale, busy: the open has just failed, or the instance ends; the event is on its way.
        let ends =
            |error: &efio::Error| matches!(error.kind(), efio::ErrorKind::Stale | efio::ErrorKind::Busy);
        if let Some(error) = begun.err().filter(|error| !ends(error)) {
            instance.refresh(desk, cell);
            return Err(error.into());
        }
    }
    desk.stage = Stage::Closing;
    desk.notes.aborted = manner == Manner::Abort;
    Ok(())
}

/// The last answer, if it is there; it makes the handle free.
fn answer(world: &World, desk: &mut Desk, handle: i32) -> Option<Answer<i32>> {
    match desk.stage {
        Stage::Unused => Some(fail(libc::EBADF)),
        Stage::Ended if desk.notes.unopened => Some(fail(libc::EBADF)),
        Stage::Opening | Stage::Open => Some(fail(libc::EINVAL)),
        Stage::Closing => None,
        Stage::Ended => {
            let errno = desk.notes.answer;
            let error = desk.notes.error.clone();
            desk.notes.asked = true;
            desk.notes.news = 0;
            world.free_if_done(desk, handle as u32);
            Some(match (errno, error) {
                (0, _) => Ok(0),
                (_, Some(error)) => Err(Failure::Efio(error)),
                (errno, None) => fail(errno),
            })
        }
    }
}

/// `ef_close_status`.
pub(crate) fn status(handle: i32) -> Answer<i32> {
    let (world, cell) = find(handle)?;
    let mut desk = cell.desk();
    if let Some(answer) = answer(world, &mut desk, handle) {
        return answer;
    }
    let instance = Instance::of(&desk);
    drop(desk);
    if let Some(instance) = instance {
        instance.pump_unless_pumped();
    }
    answer(world, &mut cell.desk(), handle).unwrap_or(fail(libc::EAGAIN))
}

/// `ef_close_immediate`.
pub(crate) fn immediately(handle: i32) -> Answer<i32> {
    let (world, cell) = find(handle)?;
    match close(handle, Manner::Close) {
        Ok(_) => {}
        Err(failure) if failure.errno() == libc::EBUSY => {}
        Err(failure) => return Err(failure),
    }
    let (instance, life) = {
        let mut desk = cell.desk();
        match Instance::of(&desk) {
            Some(instance) => (instance, desk.life),
            None => return answer(world, &mut desk, handle).unwrap_or(fail(libc::EAGAIN)),
        }
    };
    let limit = instance.close_deadline + instance.shutdown_deadline;
    let until = Instant::now().checked_add(limit);
    let taken = instance.wait_for(until, || {
        let mut desk = cell.desk();
        // Another thread had the answer, and the handle is another file's.
        if desk.life != life {
            return Some(fail(libc::EBADF));
        }
        answer(world, &mut desk, handle)
    });
    taken.unwrap_or(fail(libc::ETIMEDOUT))
}

impl Instance {
    /// The instance ends: what is kept is written and a stream is closed; the files themselves efio closes.
    pub(crate) fn close_for_the_end(&self, handle: u32, cell: &Cell) {
        let (stream, kept) = {
            let desk = cell.desk();
            let stream = matches!(desk.backing, Backing::Stream(_)) && desk.stage != Stage::Closing;
            (stream, !desk.backlog.is_empty() && desk.stage == Stage::Open)
        };
        if stream || kept {
            // It may have ended meanwhile, which is as well.
            let _ = close(handle as i32, Manner::Close);
        }
    }

    /// A stream is done: opened, readable, writable or closed.
    pub(crate) fn meet_stream(&self, handle: u32, life: u32, what: u32, errno: i32, lost: u64) {
        let Some(cell) = self.world.cells.get(handle as i32) else { return };
        let mut guard = cell.desk();
        let desk = &mut *guard;
        if desk.life != life || !self.owns(desk) {
            return;
        }
        if what & bits::OPENED != 0 && errno == 0 {
            self.opened(desk, handle, cell);
        }
        if what & bits::READABLE != 0 {
            self.tell(desk, handle, Oper::Read);
            self.raise(desk, handle, bits::READABLE, 0);
        }
        if what & bits::WRITABLE != 0 {
            self.raise(desk, handle, bits::WRITABLE, 0);
        }
        if what & bits::CLOSED != 0 {
            desk.notes.lost += lost;
            if let Backing::Stream(stream) = &desk.backing {
                desk.notes.progress = stream.progress();
            }
            if what & bits::OPENED != 0 && desk.stage == Stage::Opening {
                self.fail_open(desk, handle, cell, None, errno);
            } else {
                let errno = if what & bits::OPENED != 0 { 0 } else { errno };
                self.end(desk, handle, cell, None, errno);
            }
            let (errno, lost) = (desk.notes.answer, desk.notes.lost);
            let failed = errno != 0 && !desk.notes.aborted;
            let line = failed.then(|| {
                let (path, why) =
                    (desk.notes.path.to_string_lossy(), std::io::Error::from_raw_os_error(errno));
                (level::ERROR, format!("{path}: {why}; {lost} bytes lost"))
            });
            drop(guard);
            self.world.ended(handle, life);
            self.log(line.into_iter().collect());
        }
    }
}

/// How long the close of a stream waits for somebody to take its bytes.
pub(crate) fn stream_deadline(instance: &Instance) -> Option<Instant> {
    let limit: Duration = instance.close_deadline;
    Instant::now().checked_add(limit)
}
