//! The names of the simulated disk: those that are there, and those that a power cut leaves.
//!
//! Each change of names is atomic (a rename takes one name and gives another) and becomes durable by a sync of a
//! folder it touches. Changes of different names become durable in any order; those of one name in theirs.

use std::collections::{BTreeMap, BTreeSet};

use super::node::NodeId;
use super::random::Random;

/// The root folder.
pub(super) const ROOT: NodeId = 0;

/// A folder and a name in it.
pub(super) type Key = (NodeId, Vec<u8>);

/// Names that change together, and what each stands for afterwards.
pub(super) type NameChange = Vec<(Key, Option<NodeId>)>;

#[derive(Debug, Default)]
pub(super) struct Names {
    live: BTreeMap<Key, NodeId>,
    durable: BTreeMap<Key, NodeId>,
    pending: Vec<NameChange>,
}

fn apply(change: &NameChange, names: &mut BTreeMap<Key, NodeId>) {
    for (key, node) in change {
        match node {
            Some(node) => names.insert(key.clone(), *node),
            None => names.remove(key),
        };
    }
}

impl Names {
    pub(super) fn get(&self, key: &Key) -> Option<NodeId> {
        self.live.get(key).copied()
    }

    /// True if the folder has no name in it.
    pub(super) fn is_empty(&self, folder: NodeId) -> bool {
        self.live.range((folder, Vec::new())..).next().is_none_or(|((parent, _), _)| *parent != folder)
    }

    pub(super) fn change(&mut self, change: NameChange) {
        apply(&change, &mut self.live);
        self.pending.push(change);
    }

    /// Sets a name, durable at once.
    pub(super) fn put(&mut self, key: Key, node: NodeId) {
        self.live.insert(key.clone(), node);
        self.durable.insert(key, node);
    }

    /// Makes the names in `folder` durable.
    pub(super) fn sync(&mut self, folder: NodeId) {
        let wanted: Vec<bool> = self
            .pending
            .iter()
            .map(|change| change.iter().any(|((parent, _), _)| *parent == folder))
            .collect();
        let mut wanted = self.with_earlier(wanted).into_iter();
        let durable = &mut self.durable;
        self.pending.retain(|change| {
            let now = wanted.next().unwrap_or(false);
            if now {
                apply(change, durable);
            }
            !now
        });
    }

    /// Adds to the chosen changes those before them that concern one of their names.
    fn with_earlier(&self, mut chosen: Vec<bool>) -> Vec<bool> {
        let mut keys: BTreeSet<&Key> = BTreeSet::new();
        for (chosen, change) in chosen.iter_mut().zip(&self.pending).rev() {
            *chosen = *chosen || change.iter().any(|(key, _)| keys.contains(key));
            if *chosen {
                keys.extend(change.iter().map(|(key, _)| key));
            }
        }
        chosen
    }

    /// The names that a power cut now may leave.
    pub(super) fn cut(&self, random: &mut Random) -> BTreeMap<Key, NodeId> {
        let chosen = self.with_earlier(self.pending.iter().map(|_| random.chance(500)).collect());
        let mut names = self.durable.clone();
        for (change, _) in self.pending.iter().zip(chosen).filter(|(_, chosen)| *chosen) {
            apply(change, &mut names);
        }
        names
    }

    pub(super) fn live(&self) -> &BTreeMap<Key, NodeId> {
        &self.live
    }

    /// True if a name on the disk, now or after a cut, may stand for this node.
    pub(super) fn mentions(&self, node: NodeId) -> bool {
        self.durable.values().any(|&id| id == node)
            || self.pending.iter().flatten().any(|(_, id)| *id == Some(node))
    }
}

/// The components of a path, without `.` and with `..` taken back.
pub(super) fn components(path: &[u8]) -> Vec<&[u8]> {
    let mut way: Vec<&[u8]> = Vec::new();
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(way.pop()),
            name => way.push(name),
        }
    }
    way
}

/// A path in the one form in which paths are compared: absolute, without `.`, `..` and doubled slashes.
pub(super) fn normal(path: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(path.len() + 1);
    for component in components(path) {
        whole.push(b'/');
        whole.extend_from_slice(component);
    }
    if whole.is_empty() { vec![b'/'] } else { whole }
}

/// The whole paths of all nodes that can be reached from the root; a node with two names is there twice.
pub(super) fn paths(names: &BTreeMap<Key, NodeId>) -> Vec<(Vec<u8>, NodeId)> {
    let mut found = Vec::new();
    let mut folders = vec![(ROOT, Vec::new())];
    while let Some((folder, way)) = folders.pop() {
        let inside = names.range((folder, Vec::new())..).take_while(|((parent, _), _)| *parent == folder);
        for ((_, name), node) in inside {
            let mut path = way.clone();
            path.push(b'/');
            path.extend_from_slice(name);
            found.push((path.clone(), *node));
            folders.push((*node, path));
        }
    }
    found
}
