//! The steps of a disk, on the simulated one.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use super::Sim;
use super::memory::{gather, scatter};
use super::names::ROOT;
use super::node::NodeId;
use super::state::{Opening, State};
use super::walk::Links;
use crate::error::Operation;
use crate::job::{Folder, Handle, Name, OpenWork, Place, Slices, Stat};
use crate::sys::call::{Answer, Disk, Facts, Spot, TRANSFER_MAX};
use crate::sys::path::{check_beneath, split_last};
use crate::sys::publish::is_hidden_name;

/// The mask that the simulated process has.
pub(super) const MASK: u32 = 0o022;

/// Gives a folder's handle back.
struct Keeper {
    sim: Sim,
    handle: Handle,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // A folder has nothing to lose by closing.
        let _ = self.sim.lock().close_handle(self.handle);
    }
}

impl Sim {
    pub(super) fn keep_folder(&self, node: NodeId) -> Answer<Folder> {
        let opening = Opening { node, read: true, write: false, data_sync: false };
        let handle = self.lock().open_handle(opening)?;
        Ok(Folder { handle, keeper: Arc::new(Keeper { sim: self.clone(), handle }) })
    }

    fn find_folder(&self, beneath: Option<&Folder>, path: &[u8]) -> Answer<NodeId> {
        let mut state = self.lock();
        let base = state.base(beneath)?;
        let links = if beneath.is_some() { Links::Refuse } else { Links::All };
        let node = state.walk(base, path, links)?.node.ok_or(libc::ENOENT)?;
        state.gate_node(Operation::Open, node, false)?;
        if state.target_of(node).is_some() {
            return Err(libc::ELOOP);
        }
        if state.is_folder(node) { Ok(node) } else { Err(libc::ENOTDIR) }
    }
}

impl State {
    /// The node of a folder; the root, where relative paths begin, for none.
    pub(super) fn base(&self, folder: Option<&Folder>) -> Answer<NodeId> {
        folder.map_or(Ok(ROOT), |folder| Ok(self.opening(folder.handle)?.node))
    }

    pub(super) fn key(&self, spot: &Spot) -> Answer<(NodeId, Vec<u8>)> {
        self.resolve(self.base(spot.folder.as_ref())?, spot.path.to_bytes())
    }

    fn open(&mut self, work: &OpenWork) -> Answer<Handle> {
        let base = self.base(work.name.beneath.as_ref())?;
        let path = work.name.path.to_bytes();
        let creates = work.create || work.create_new;
        let links = match (&work.name.beneath, work.create_new) {
            (Some(_), _) => Links::Refuse,
            (None, true) => Links::Way,
            (None, false) => Links::All,
        };
        let found = self.walk(base, path, links)?;
        let node = match found.node {
            Some(_) if work.create_new => return Err(libc::EEXIST),
            Some(node) if self.target_of(node).is_some() => return Err(libc::ELOOP),
            Some(node) => {
                self.gate_node(Operation::Open, node, false)?;
                node
            }
            None if creates => {
                let key = found.key.ok_or(libc::EISDIR)?;
                let whole = self.whole_path(&key);
                self.gate(Operation::Open, &whole, true)?;
                let node = self.make_node(false, whole, work.mode & 0o7777 & !MASK);
                self.node(node)?.links = 1;
                self.names.change(vec![(key, Some(node))]);
                node
            }
            None => return Err(libc::ENOENT),
        };
        let writes = work.write || work.append;
        if self.is_folder(node) && (writes || creates) {
            return Err(libc::EISDIR);
        }
        self.open_handle(Opening { node, read: work.read, write: writes, data_sync: work.data_sync })
    }

    /// A new file of mode 0600 that is to become `target`, with a name or without.
    fn stage(
        &mut self,
        folder: &Folder,
        name: Option<&CStr>,
        target: &CStr,
        work: &OpenWork,
    ) -> Answer<Handle> {
        let folder = self.base(Some(folder))?;
        let whole = self.whole_path(&(folder, target.to_bytes().to_vec()));
        self.gate(Operation::Open, &whole, true)?;
        let key = name.map(|name| (folder, name.to_bytes().to_vec()));
        if key.as_ref().is_some_and(|key| self.names.get(key).is_some()) {
            return Err(libc::EEXIST);
        }
        let node = self.make_node(false, whole, 0o600);
        if let Some(key) = key {
            self.node(node)?.links = 1;
            self.names.change(vec![(key, Some(node))]);
        }
        self.open_handle(Opening { node, read: work.read, write: true, data_sync: work.data_sync })
    }

    fn write(&mut self, handle: Handle, from: &Slices, place: Place) -> Answer<usize> {
        let opening = self.opening(handle)?;
        if !opening.write {
            return Err(libc::EBADF);
        }
        self.gate_node(Operation::Write, opening.node, true)?;
        let size = self.node(opening.node)?.live().len() as u64;
        let offset = if let Place::At(offset) = place { offset } else { size };
        let mut count = from.bytes().min(TRANSFER_MAX) as u64;
        if count > 1 && self.random.chance(self.options.short_count_per_mille) {
            count = 1 + self.random.below(count - 1);
        }
        if count == 0 {
            return Ok(0);
        }
        if offset >= self.options.file_size_max {
            return Err(libc::EFBIG);
        }
        count = count.min(self.options.file_size_max - offset);
        let room = self.take_room(opening.node, offset + count)?.max(size);
        if room <= offset {
            return Err(libc::ENOSPC);
        }
        count = count.min(room - offset);
        let bytes = gather(from, count as usize);
        let now = self.now_ns;
        let node = self.node(opening.node)?;
        node.write(offset as usize, bytes);
        node.modified_ns = i128::from(now);
        if opening.data_sync {
            node.sync();
        }
        Ok(count as usize)
    }

    fn read(&mut self, opening: Opening, offset: u64, most: usize) -> Answer<&[u8]> {
        if !opening.read {
            return Err(libc::EBADF);
        }
        if self.is_folder(opening.node) {
            return Err(libc::EISDIR);
        }
        let offset = usize::try_from(offset).map_err(|_| libc::EINVAL)?;
        let size = self.node(opening.node)?.live().len();
        let mut count = most.min(TRANSFER_MAX).min(size.saturating_sub(offset));
        if count > 1 && self.random.chance(self.options.short_count_per_mille) {
            count = 1 + self.random.below(count as u64 - 1) as usize;
        }
        let live = self.node(opening.node)?.live();
        Ok(live.get(offset..).and_then(|rest| rest.get(..count)).unwrap_or_default())
    }

    /// Makes a change of names that moves `from` to `to`, whatever was there before.
    fn rename(&mut self, from: &Spot, to: &Spot, replace: bool) -> Answer<()> {
        let (from, to) = (self.key(from)?, self.key(to)?);
        let hidden = is_hidden_name(&from.1);
        let operation = if hidden { Operation::Publish } else { Operation::Rename };
        if !replace && !self.options.rename_new {
            return Err(libc::EINVAL);
        }
        let whole = self.whole_path(if hidden { &to } else { &from });
        self.gate(operation, &whole, true)?;
        let moved = self.names.get(&from).ok_or(libc::ENOENT)?;
        let replaced = self.names.get(&to);
        if self.leads_into(moved, to.0) {
            return Err(libc::EINVAL);
        }
        if replaced == Some(moved) {
            return if replace { Ok(()) } else { Err(libc::EEXIST) };
        }
        if let Some(replaced) = replaced {
            self.replaceable(moved, replaced, replace)?;
        }
        let path = self.whole_path(&to);
        let old = self.whole_path(&from);
        self.names.change(vec![(from, None), (to, Some(moved))]);
        self.moved(moved, &old, path);
        if let Some(replaced) = replaced {
            self.unlinked(replaced);
        }
        Ok(())
    }

    fn replaceable(&self, moved: NodeId, replaced: NodeId, replace: bool) -> Answer<()> {
        let folder = self.is_folder(moved);
        match self.is_folder(replaced) {
            _ if !replace => Err(libc::EEXIST),
            true if !folder => Err(libc::EISDIR),
            false if folder => Err(libc::ENOTDIR),
            true if !self.names.is_empty(replaced) => Err(libc::ENOTEMPTY),
            _ => Ok(()),
        }
    }

    /// Tells a node, and those in it if it is a folder, their new paths.
    fn moved(&mut self, id: NodeId, old: &[u8], new: Vec<u8>) {
        let inside = [old, b"/"].concat();
        if self.nodes.get(&id).is_some_and(|node| node.folder) {
            for node in self.nodes.values_mut() {
                if let Some(rest) = node.path.strip_prefix(inside.as_slice()) {
                    node.path = [new.as_slice(), b"/", rest].concat();
                }
            }
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.path = new;
        }
    }

    /// Gives a node a further name.
    pub(super) fn link(&mut self, id: NodeId, to: &Spot, operation: Operation) -> Answer<()> {
        let key = self.key(to)?;
        self.gate_node(operation, id, true)?;
        if self.names.get(&key).is_some() {
            return Err(libc::EEXIST);
        }
        let node = self.node(id)?;
        if node.folder {
            return Err(libc::EPERM);
        }
        node.links += 1;
        self.names.change(vec![(key, Some(id))]);
        Ok(())
    }

    fn unlink(&mut self, spot: &Spot, folder: bool) -> Answer<()> {
        let key = self.key(spot)?;
        let whole = self.whole_path(&key);
        self.gate(Operation::Unlink, &whole, true)?;
        let id = self.names.get(&key).ok_or(libc::ENOENT)?;
        match self.is_folder(id) {
            true if !folder => return Err(libc::EISDIR),
            false if folder => return Err(libc::ENOTDIR),
            true if !self.names.is_empty(id) => return Err(libc::ENOTEMPTY),
            _ => {}
        }
        self.names.change(vec![(key, None)]);
        self.unlinked(id);
        Ok(())
    }

    fn sync_data(&mut self, handle: Handle) -> Answer<()> {
        let id = self.opening(handle)?.node;
        let answer = self.gate_node(Operation::Sync, id, true);
        let dead = self.dead;
        let node = self.node(id)?;
        match answer {
            Ok(()) => node.sync(),
            // Interrupted before it began, or the disk is gone: nothing happened.
            Err(libc::EINTR) => {}
            Err(_) if dead => {}
            Err(_) => node.lose(),
        }
        answer
    }

    fn resize(&mut self, id: NodeId, size: u64) -> Answer<()> {
        if size > self.options.file_size_max {
            return Err(libc::EFBIG);
        }
        let now = self.now_ns;
        let node = self.node(id)?;
        node.resize(size as usize);
        node.modified_ns = i128::from(now);
        Ok(())
    }

    fn allocate(&mut self, handle: Handle, offset: u64, bytes: u64, keep_size: bool) -> Answer<()> {
        let id = self.opening(handle)?.node;
        self.gate_node(Operation::Preallocate, id, true)?;
        let end = offset.checked_add(bytes).ok_or(libc::EFBIG)?;
        if end > self.options.file_size_max {
            return Err(libc::EFBIG);
        }
        if bytes == 0 {
            return Err(libc::EINVAL);
        }
        let size = self.node(id)?.live().len() as u64;
        let before = self.node(id)?.taken;
        if self.take_room(id, end)? < end {
            self.give_room(id, before)?;
            return Err(libc::ENOSPC);
        }
        if keep_size || end <= size { Ok(()) } else { self.resize(id, end) }
    }
}

impl Disk for Sim {
    fn locate(&self, name: &Name) -> Answer<Spot> {
        if name.beneath.is_none() {
            return Ok(Spot { folder: None, path: name.path.clone() });
        }
        let (folder, path) = self.parent(name)?;
        Ok(Spot { folder: Some(folder), path })
    }

    fn parent(&self, name: &Name) -> Answer<(Folder, CString)> {
        let (way, last) = split_last(name)?;
        match (&name.beneath, way) {
            (Some(folder), b"") => Ok((folder.clone(), last)),
            (beneath, way) => {
                let way = if way.is_empty() { b"." } else { way };
                let node = self.find_folder(beneath.as_ref(), way)?;
                Ok((self.keep_folder(node)?, last))
            }
        }
    }

    fn open_folder(&self, name: &Name) -> Answer<Folder> {
        if name.beneath.is_some() {
            check_beneath(&name.path)?;
        }
        let node = self.find_folder(name.beneath.as_ref(), name.path.to_bytes())?;
        self.keep_folder(node)
    }

    fn open(&self, work: &OpenWork) -> Answer<Handle> {
        if work.name.beneath.is_some() {
            check_beneath(&work.name.path)?;
        }
        self.lock().open(work)
    }

    fn open_unnamed(&self, folder: &Folder, target: &CStr, work: &OpenWork) -> Answer<Handle> {
        let mut state = self.lock();
        if !state.options.unnamed {
            return Err(libc::EOPNOTSUPP);
        }
        state.stage(folder, None, target, work)
    }

    fn open_hidden(&self, folder: &Folder, hidden: &CStr, target: &CStr, work: &OpenWork) -> Answer<Handle> {
        self.lock().stage(folder, Some(hidden), target, work)
    }

    fn facts(&self, handle: Handle) -> Answer<Facts> {
        let state = self.lock();
        if state.dead {
            return Err(libc::EIO);
        }
        let stat = state.stat(state.opening(handle)?.node)?;
        Ok(Facts { stat, device: stat.device, nowait: true })
    }

    fn settle(&self, _handle: Handle, _read: bool, _size: u64) -> Answer<()> {
        Ok(())
    }

    fn close(&self, handle: Handle) -> Answer<()> {
        let mut state = self.lock();
        let node = state.opening(handle)?.node;
        let answer = state.gate_node(Operation::Close, node, false);
        state.close_handle(handle)?;
        answer
    }

    fn read(&self, handle: Handle, into: &Slices, offset: u64) -> Answer<usize> {
        let mut state = self.lock();
        let opening = state.opening(handle)?;
        state.gate_node(Operation::Read, opening.node, false)?;
        let most = into.bytes();
        Ok(scatter(into, state.read(opening, offset, most)?))
    }

    fn write(&self, handle: Handle, from: &Slices, place: Place) -> Answer<usize> {
        self.lock().write(handle, from, place)
    }

    fn sync_data(&self, handle: Handle) -> Answer<()> {
        self.lock().sync_data(handle)
    }

    fn sync_folder(&self, folder: &Folder) -> Answer<()> {
        let mut state = self.lock();
        let node = state.opening(folder.handle)?.node;
        state.gate_node(Operation::Sync, node, true)?;
        state.names.sync(node);
        Ok(())
    }

    fn truncate(&self, handle: Handle, size: u64) -> Answer<()> {
        let mut state = self.lock();
        let opening = state.opening(handle)?;
        if !opening.write {
            return Err(libc::EINVAL);
        }
        state.gate_node(Operation::Truncate, opening.node, true)?;
        state.give_room(opening.node, size)?;
        state.resize(opening.node, size)
    }

    fn allocate(&self, handle: Handle, offset: u64, bytes: u64, keep_size: bool) -> Answer<()> {
        self.lock().allocate(handle, offset, bytes, keep_size)
    }

    fn mask(&self) -> u32 {
        MASK
    }

    fn set_mode(&self, handle: Handle, mode: u32) -> Answer<()> {
        let mut state = self.lock();
        let node = state.opening(handle)?.node;
        state.gate_node(Operation::Publish, node, true)?;
        state.node(node)?.mode = mode;
        Ok(())
    }

    fn link_unnamed(&self, handle: Handle, to: &Spot) -> Answer<()> {
        let mut state = self.lock();
        let node = state.opening(handle)?.node;
        state.link(node, to, Operation::Publish)
    }

    fn link(&self, from: &Spot, to: &Spot) -> Answer<()> {
        let mut state = self.lock();
        let key = state.key(from)?;
        let operation = if is_hidden_name(&key.1) { Operation::Publish } else { Operation::Rename };
        let node = state.names.get(&key).ok_or(libc::ENOENT)?;
        state.link(node, to, operation)
    }

    fn rename(&self, from: &Spot, to: &Spot, replace: bool) -> Answer<()> {
        self.lock().rename(from, to, replace)
    }

    fn unlink(&self, spot: &Spot, folder: bool) -> Answer<()> {
        self.lock().unlink(spot, folder)
    }

    fn stat(&self, spot: &Spot, follow: bool) -> Answer<Stat> {
        let mut state = self.lock();
        let node = state.look(spot, follow)?;
        state.gate_node(Operation::Stat, node, false)?;
        if follow && state.target_of(node).is_some() {
            return Err(libc::ELOOP);
        }
        state.stat(node)
    }

    fn random(&self) -> u64 {
        self.lock().random.next()
    }

    /// There is no one to wait for: the virtual clock moves only when a test moves it.
    fn pause(&self) {}
}

impl Sim {
    /// What of the file is in memory, by chance; `EAGAIN` else.
    pub(crate) fn read_nowait(&self, handle: Handle, offset: u64, into: &mut [u8]) -> Answer<usize> {
        let mut state = self.lock();
        if state.dead {
            return Err(libc::EIO);
        }
        let opening = state.opening(handle)?;
        let chance = state.options.nowait_per_mille;
        let hangs = state.nodes.get(&opening.node).is_some_and(|node| state.hung.contains(&node.path));
        if hangs || !state.random.chance(chance) {
            return Err(libc::EAGAIN);
        }
        let bytes = state.read(opening, offset, into.len())?;
        into[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}
