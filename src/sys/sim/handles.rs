//! Handles of the simulated disk: another file behind the same number, locks of an opening, descriptors to adopt.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use super::Sim;
use super::names::ROOT;
use super::node::NodeId;
use super::state::{Opening, State};
use crate::config::{Durability, OpenOptions};
use crate::error::Operation;
use crate::job::handles::Lock;
use crate::job::{Handle, OpenWork};
use crate::sys::call::Answer;
use crate::sys::handles::{HandleDisk, OpenFlags};

/// A range that one opening of a file has locked; `end` is not in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    node: NodeId,
    handle: Handle,
    start: u64,
    end: u64,
    exclusive: bool,
}

/// A file opened elsewhere, behind a descriptor that stands for it until it is adopted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elsewhere {
    descriptor: RawFd,
    node: NodeId,
    flags: OpenFlags,
}

impl Sim {
    /// A descriptor that stands for this file, opened elsewhere for what these options ask: for
    /// [`Efio::ef_adopt`](crate::Efio::ef_adopt) of a module on this disk, and for nothing else.
    ///
    /// ```
    /// use efio::{Efio, OpenOptions, sim::Sim};
    /// let sim = Sim::new(1);
    /// sim.put("/file", b"there");
    /// let reading = OpenOptions::new().read(true);
    /// let efio = Efio::builder().sim(&sim).build()?;
    /// let fd = efio.ef_adopt(sim.descriptor("/file", &reading)?, &reading)?;
    /// while efio.step() {}
    /// efio.ef_open_status(fd)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When there is no such file, or the process can open no further descriptor.
    pub fn descriptor(&self, path: impl AsRef<Path>, options: &OpenOptions) -> io::Result<OwnedFd> {
        let flags = OpenFlags {
            read: options.read,
            write: options.write || options.append,
            append: options.append,
            data_sync: options.durability == Durability::EveryWrite,
            odd: false,
        };
        let held = OwnedFd::from(File::open("/dev/null")?);
        let descriptor = held.as_raw_fd();
        let mut state = self.lock();
        let node = state.find(ROOT, path.as_ref().as_os_str().as_encoded_bytes());
        let node = node.map_err(io::Error::from_raw_os_error)?;
        // A number that was given out before and is again was closed meanwhile.
        state.elsewhere.retain(|before| before.descriptor != descriptor);
        state.elsewhere.push(Elsewhere { descriptor, node, flags });
        Ok(held)
    }
}

impl State {
    fn adopt(&mut self, descriptor: RawFd) -> Answer<(Handle, OpenFlags)> {
        if self.dead {
            return Err(libc::EIO);
        }
        let at = self.elsewhere.iter().position(|held| held.descriptor == descriptor);
        let Elsewhere { node, flags, .. } = self.elsewhere.swap_remove(at.ok_or(libc::EBADF)?);
        let OpenFlags { read, write, data_sync, .. } = flags;
        Ok((self.open_handle(Opening { node, read, write, data_sync })?, flags))
    }

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
        let refused = |exclusive: bool| others.any(|held| exclusive || held.exclusive);
        if lock.exclusive.is_some_and(refused) {
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
    fn adopt(&self, descriptor: OwnedFd) -> Answer<(Handle, OpenFlags)> {
        self.lock().adopt(descriptor.as_raw_fd())
    }

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
