//! Folders, links, lists of a folder, modes and times on the simulated disk.
//!
//! A change of names becomes durable by a sync of its folder. Modes and times are not followed that far: they are set.

use std::ffi::CStr;
use std::ops::Bound;

use super::Sim;
use super::disk::MASK;
use super::node::NodeId;
use super::state::State;
use super::walk::Links;
use crate::error::Operation;
use crate::job::Folder;
use crate::job::names::{Batch, Cursor, Times, kind_of};
use crate::sys::call::{Answer, Spot};
use crate::sys::names::NameDisk;

impl State {
    /// A new name for a new node.
    fn make(&mut self, spot: &Spot, operation: Operation, folder: bool, mode: u32) -> Answer<NodeId> {
        let key = self.key(spot).map_err(|errno| if errno == libc::EISDIR { libc::EEXIST } else { errno })?;
        let whole = self.whole_path(&key);
        self.gate(operation, &whole, true)?;
        if self.names.get(&key).is_some() {
            return Err(libc::EEXIST);
        }
        if self.node(key.0)?.links == 0 {
            return Err(libc::ENOENT);
        }
        let id = self.make_node(folder, whole, mode);
        self.node(id)?.links = 1;
        self.names.change(vec![(key, Some(id))]);
        Ok(id)
    }

    /// What a name leads to; beneath a folder a link is not followed but found, or refused.
    pub(super) fn look(&self, spot: &Spot, follow: bool) -> Answer<NodeId> {
        let links = if follow && spot.folder.is_none() { Links::All } else { Links::Way };
        let found = self.walk(self.base(spot.folder.as_ref())?, spot.path.to_bytes(), links)?;
        found.node.ok_or(libc::ENOENT)
    }

    fn read_folder(&mut self, cursor: &mut Cursor, batch: &mut Batch) -> Answer<bool> {
        let folder = self.opening(cursor.folder.handle)?.node;
        self.gate_node(Operation::ReadDir, folder, false)?;
        let short = self.options.short_count_per_mille;
        let from = Bound::Excluded((folder, cursor.after.clone()));
        let inside: Vec<_> = self
            .names
            .live()
            .range((from, Bound::Unbounded))
            .take_while(|((parent, _), _)| *parent == folder)
            .map(|((_, name), id)| (name.clone(), *id))
            .collect();
        for (name, id) in inside {
            let stat = self.stat(id)?;
            let pause = batch.len() > 0 && self.random.chance(short);
            if pause || !batch.push(stat.inode, kind_of(&stat), &name) {
                return Ok(false);
            }
            cursor.after = name;
        }
        Ok(true)
    }
}

impl NameDisk for Sim {
    fn make_folder(&self, spot: &Spot, mode: u32) -> Answer<()> {
        self.lock().make(spot, Operation::MakeDir, true, mode & 0o777 & !MASK).map(drop)
    }

    fn link_name(&self, from: &Spot, to: &Spot) -> Answer<()> {
        let mut state = self.lock();
        let key = state.key(from)?;
        let node = state.names.get(&key).ok_or(libc::ENOENT)?;
        state.link(node, to, Operation::Link)
    }

    fn make_link(&self, target: &CStr, spot: &Spot) -> Answer<()> {
        if target.is_empty() {
            return Err(libc::ENOENT);
        }
        let mut state = self.lock();
        let id = state.make(spot, Operation::Symlink, false, 0o777)?;
        state.node(id)?.target = Some(target.to_bytes().to_vec());
        Ok(())
    }

    fn read_link(&self, spot: &Spot) -> Answer<Vec<u8>> {
        let mut state = self.lock();
        let id = state.look(spot, false)?;
        state.gate_node(Operation::ReadLink, id, false)?;
        state.target_of(id).map(<[u8]>::to_vec).ok_or(libc::EINVAL)
    }

    fn set_mode_of(&self, spot: &Spot, mode: u32) -> Answer<()> {
        let mut state = self.lock();
        let id = state.look(spot, true)?;
        if state.target_of(id).is_some() {
            return Err(libc::ELOOP);
        }
        state.gate_node(Operation::SetMode, id, true)?;
        state.node(id)?.mode = mode;
        Ok(())
    }

    fn set_times_of(&self, spot: &Spot, times: Times, follow: bool) -> Answer<()> {
        let mut state = self.lock();
        let id = state.look(spot, follow)?;
        state.gate_node(Operation::SetTimes, id, true)?;
        let node = state.node(id)?;
        let accessed = node.accessed_ns.unwrap_or(node.modified_ns);
        node.accessed_ns = Some(times.accessed_ns.unwrap_or(accessed));
        node.modified_ns = times.modified_ns.unwrap_or(node.modified_ns);
        Ok(())
    }

    fn open_cursor(&self, folder: &Folder) -> Answer<Cursor> {
        let node = {
            let mut state = self.lock();
            let node = state.opening(folder.handle)?.node;
            state.gate_node(Operation::ReadDir, node, false)?;
            node
        };
        Ok(Cursor { folder: self.keep_folder(node)?, after: Vec::new() })
    }

    fn read_folder(&self, cursor: &mut Cursor, batch: &mut Batch) -> Answer<bool> {
        self.lock().read_folder(cursor, batch)
    }
}
