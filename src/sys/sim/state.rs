//! All that the simulated disk is, behind one lock: files, names, handles, clock, faults.
//!
//! Invariant: a node is kept as long as a name (live, durable, or possible after a cut) or a handle stands for it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::SimOptions;
use super::calendar::Calendar;
use super::fault::{FaultRule, Faults};
use super::handles::{Elsewhere, Held};
use super::names::{Key, Names, ROOT};
use super::node::{Node, NodeId};
use super::random::Random;
use crate::error::Operation;
use crate::job::{Handle, Stat};
use crate::sys::call::Answer;

/// Handles are numbered from here, so that one that strays to the operating system hits no descriptor.
const HANDLES_START: i32 = 1 << 30;

/// The virtual clock does not begin at 0, which some read as "never".
const CLOCK_START_NS: u64 = 1_000_000_000;

/// A call that is always interrupted would be tried again for ever.
const INTERRUPT_MAX: u32 = 900;

/// A handle: which node, and what for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) node: NodeId,
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) data_sync: bool,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) options: SimOptions,
    pub(super) random: Random,
    pub(super) now_ns: u64,
    pub(super) steps: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) dead: bool,
    pub(super) faults: Faults,
    /// Paths whose jobs do not come back.
    pub(super) hung: BTreeSet<Vec<u8>>,
    /// Bytes that may still be taken up; `None`: no limit.
    pub(super) room: Option<u64>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) names: Names,
    pub(super) calendar: Calendar,
    /// Ranges that openings have locked.
    pub(super) locks: Vec<Held>,
    /// Descriptors that were given out to be adopted.
    pub(super) elsewhere: Vec<Elsewhere>,
    next_node: NodeId,
    handles: Vec<Option<Opening>>,
    free: BinaryHeap<Reverse<usize>>,
}

impl State {
    pub(super) fn new(seed: u64, options: SimOptions) -> Self {
        let mut root = Node::new(true, b"/".to_vec(), 0o755);
        root.links = 1;
        Self {
            options,
            random: Random::new(seed),
            now_ns: CLOCK_START_NS,
            steps: 0,
            crash_at: None,
            dead: false,
            faults: Faults::default(),
            hung: BTreeSet::new(),
            room: None,
            nodes: BTreeMap::from([(ROOT, root)]),
            names: Names::default(),
            calendar: Calendar::default(),
            locks: Vec::new(),
            elsewhere: Vec::new(),
            next_node: ROOT + 1,
            handles: Vec::new(),
            free: BinaryHeap::new(),
        }
    }

    /// Whether this call goes through; `changing`: it can change the disk, so it is a step.
    pub(super) fn gate(&mut self, operation: Operation, path: &[u8], changing: bool) -> Answer<()> {
        self.dead = self.dead || (changing && self.crash_at.is_some_and(|step| self.steps >= step));
        if self.dead {
            return Err(libc::EIO);
        }
        if self.random.chance(self.options.interrupt_per_mille.min(INTERRUPT_MAX)) {
            return Err(libc::EINTR);
        }
        self.steps += u64::from(changing);
        match self.faults.strike(operation, path, &mut self.random) {
            None => Ok(()),
            Some(FaultRule::PANIC) => panic!("a fault rule lets {} panic", operation.name()),
            Some(errno) => Err(errno),
        }
    }

    /// [`State::gate`] for a call on a node.
    pub(super) fn gate_node(&mut self, operation: Operation, node: NodeId, changing: bool) -> Answer<()> {
        let path = self.nodes.get(&node).map(|node| node.path.clone()).unwrap_or_default();
        self.gate(operation, &path, changing)
    }

    pub(super) fn node(&mut self, id: NodeId) -> Answer<&mut Node> {
        self.nodes.get_mut(&id).ok_or(libc::ENOENT)
    }

    pub(super) fn make_node(&mut self, folder: bool, path: Vec<u8>, mode: u32) -> NodeId {
        let id = self.next_node;
        self.next_node += 1;
        let mut node = Node::new(folder, path, mode);
        node.modified_ns = i128::from(self.now_ns);
        self.nodes.insert(id, node);
        id
    }

    /// The whole path of a name, in the form in which paths are compared.
    pub(super) fn whole_path(&self, key: &Key) -> Vec<u8> {
        let mut path = self.nodes.get(&key.0).map(|node| node.path.clone()).unwrap_or_default();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(&key.1);
        path
    }

    pub(super) fn open_handle(&mut self, opening: Opening) -> Answer<Handle> {
        self.node(opening.node)?.handles += 1;
        let index = match self.free.pop() {
            Some(Reverse(index)) => index,
            None => {
                self.handles.push(None);
                self.handles.len() - 1
            }
        };
        self.handles[index] = Some(opening);
        Ok(Handle(HANDLES_START + index as i32))
    }

    fn index(handle: Handle) -> Answer<usize> {
        handle.0.checked_sub(HANDLES_START).and_then(|index| usize::try_from(index).ok()).ok_or(libc::EBADF)
    }

    pub(super) fn opening(&self, handle: Handle) -> Answer<Opening> {
        self.handles.get(Self::index(handle)?).copied().flatten().ok_or(libc::EBADF)
    }

    pub(super) fn open_handles(&self) -> usize {
        self.handles.len() - self.free.len()
    }

    /// Closes; the node goes if this was the last that stood for it.
    pub(super) fn close_handle(&mut self, handle: Handle) -> Answer<NodeId> {
        let node = self.opening(handle)?.node;
        let index = Self::index(handle)?;
        self.drop_locks(handle);
        self.handles[index] = None;
        self.free.push(Reverse(index));
        self.node(node)?.handles -= 1;
        self.collect(node);
        Ok(node)
    }

    /// Puts the file of one handle behind another, which ends the first.
    pub(super) fn replace_handle(&mut self, old: Handle, new: Handle) -> Answer<()> {
        let (before, after) = (self.opening(old)?.node, self.opening(new)?);
        let (index, emptied) = (Self::index(old)?, Self::index(new)?);
        self.drop_locks(old);
        self.handles[index] = Some(after);
        self.handles[emptied] = None;
        self.free.push(Reverse(emptied));
        self.node(before)?.handles -= 1;
        self.collect(before);
        Ok(())
    }

    /// Takes one name from a node.
    pub(super) fn unlinked(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.links = node.links.saturating_sub(1);
        }
        self.collect(id);
    }

    fn collect(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.links > 0 || node.handles > 0 {
            return;
        }
        let taken = std::mem::take(&mut node.taken);
        self.room = self.room.map(|room| room + taken);
        if !self.names.mentions(id) {
            self.nodes.remove(&id);
        }
    }

    /// Takes room so that `node` may be `size` bytes long; the size that there is room for.
    pub(super) fn take_room(&mut self, id: NodeId, size: u64) -> Answer<u64> {
        let room = self.room;
        let node = self.node(id)?;
        let growth = size.saturating_sub(node.taken).min(room.unwrap_or(u64::MAX));
        node.taken += growth;
        let got = node.taken.min(size);
        self.room = room.map(|room| room - growth);
        Ok(got)
    }

    /// Gives back the room beyond `size` bytes.
    pub(super) fn give_room(&mut self, id: NodeId, size: u64) -> Answer<()> {
        let node = self.node(id)?;
        let back = node.taken.saturating_sub(size);
        node.taken -= back;
        self.room = self.room.map(|room| room + back);
        Ok(())
    }

    pub(super) fn stat(&self, id: NodeId) -> Answer<Stat> {
        let node = self.nodes.get(&id).ok_or(libc::ENOENT)?;
        let (shape, size) = match &node.target {
            Some(target) => (0o120_000, target.len()),
            None if node.folder => (0o040_000, 0),
            None => (0o100_000, node.live().len()),
        };
        Ok(Stat {
            size: size as u64,
            mode: shape | node.mode,
            modified_ns: node.modified_ns,
            accessed_ns: node.accessed_ns.unwrap_or(node.modified_ns),
            device: 1,
            inode: id + 1,
            links: u64::from(node.links),
            user: 0,
            group: 0,
        })
    }

    /// Makes the folder of that path, and those above it, durable at once.
    pub(super) fn put_folder(&mut self, path: &[u8]) -> NodeId {
        let mut at = ROOT;
        let mut way = Vec::new();
        for component in super::names::components(path) {
            way.push(b'/');
            way.extend_from_slice(component);
            let key = (at, component.to_vec());
            at = match self.names.get(&key) {
                Some(node) => node,
                None => {
                    let node = self.make_node(true, way.clone(), 0o755);
                    self.put_name(key, node);
                    node
                }
            };
        }
        at
    }

    /// Gives a node a name, durable at once.
    pub(super) fn put_name(&mut self, key: Key, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.links += 1;
        }
        self.names.put(key, id);
    }
}
