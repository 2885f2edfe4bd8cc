//! Handles of the simulated disk: another file behind the same number, locks of an opening.

use super::Sim;
use super::node::NodeId;
use super::state::{Opening, State};
use crate::error::Operation;
use crate::job::handles::Lock;
use crate::job::{Handle, OpenWork};
use crate::sys::call::Answer;
use crate::sys::handles::HandleDisk;

/// A range that one opening of a file has locked; `end` is not in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    node: NodeId,
    handle: Handle,
    start: u64,
    end: u64,
    exclusive: bool,
}

impl State {
    /// The locks of an opening end with it.
    pub(super) fn drop_locks(&mut self, handle: Handle) {
        self.locks.retain(|held| held.handle != handle);
    }

    fn lock_range(&mut self, handle: Handle, lock: Lock) -> Answer<()> {
        let opening = self.opening(handle)?;
        self.gate_node(Operation::Lock, opening.node, false)?;
        let end = if lock.len == 0 { u64::MAX } else { lock.start.saturating_add(lock.len) };
        match lock.exclusive {
            Some(true) if !opening.write => return Err(libc::EBADF),
            Some(false) if !opening.read => return Err(libc::EBADF),
            _ => {}
        }
        let meets = |held: &Held| held.node == opening.node && held.start < end && lock.start < held.end;
        let mut others = self.locks.iter().filter(|held| meets(held) && held.handle != handle);
        if let Some(exclusive) = lock.exclusive
            && others.any(|held| exclusive || held.exclusive)
        {
            return Err(libc::EAGAIN);
        }
        // What this opening had of the range gives way; the rest stays.
        let (mine, others): (Vec<Held>, Vec<Held>) =
            self.locks.iter().partition(|held| meets(held) && held.handle == handle);
        self.locks = others;
        for held in mine {
            let before = Held { end: lock.start, ..held };
            let behind = Held { start: end, ..held };
            self.locks.extend([before, behind].into_iter().filter(|held| held.start < held.end));
        }
        if let Some(exclusive) = lock.exclusive {
            self.locks.push(Held { node: opening.node, handle, start: lock.start, end, exclusive });
        }
        Ok(())
    }
}

impl HandleDisk for Sim {
    fn replace(&self, old: Handle, new: Handle) -> Answer<()> {
        self.lock().replace_handle(old, new)
    }

    fn open_same(&self, handle: Handle, work: &OpenWork) -> Answer<Handle> {
        let mut state = self.lock();
        let node = state.opening(handle)?.node;
        state.gate_node(Operation::Open, node, false)?;
        state.open_handle(Opening { node, read: work.read, write: true, data_sync: work.data_sync })
    }

    fn set_append(&self, _handle: Handle) -> Answer<()> {
        Ok(())
    }

    fn lock_range(&self, handle: Handle, lock: Lock) -> Answer<()> {
        self.lock().lock_range(handle, lock)
    }
}
