//! Paths on the simulated disk: from component to component, through symbolic links or not.

use std::collections::VecDeque;

use super::names::{Key, ROOT};
use super::node::NodeId;
use super::state::State;
use crate::sys::call::Answer;

/// Links that one path may lead through; more are taken for a ring.
const LINKS_MAX: u32 = 40;

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// None: one on the way is `ELOOP`; the last component may be one, and is found itself.
    Refuse,
    /// Those on the way; the last component is found itself.
    Way,
    /// All.
    All,
}

/// Where a path leads.
#[derive(Debug)]
pub(super) struct Found {
    /// The name; `None` where the path ends in no name, as `/` and `..` do.
    pub(super) key: Option<Key>,
    /// What has the name now.
    pub(super) node: Option<NodeId>,
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

impl State {
    /// Walks along a path that begins at `base`, or at the root.
    pub(super) fn walk(&self, base: NodeId, path: &[u8], links: Links) -> Answer<Found> {
        if path.is_empty() {
            return Err(libc::ENOENT);
        }
        let start = if path.starts_with(b"/") { ROOT } else { base };
        let mut way = vec![start];
        let mut left: VecDeque<Vec<u8>> = parts(path).map(<[u8]>::to_vec).collect();
        let mut followed = 0;
        while let Some(part) = left.pop_front() {
            let here = way.last().copied().unwrap_or(ROOT);
            if !self.nodes.contains_key(&here) {
                return Err(libc::ENOENT);
            }
            if !self.is_folder(here) {
                return Err(libc::ENOTDIR);
            }
            if part == b".." {
                way.truncate(way.len().saturating_sub(1).max(1));
                continue;
            }
            let key = (here, part);
            let node = self.names.get(&key);
            let is_last = left.is_empty();
            match node.and_then(|id| self.target_of(id)) {
                Some(_) if is_last && links != Links::All => return Ok(Found { key: Some(key), node }),
                Some(_) if links == Links::Refuse => return Err(libc::ELOOP),
                Some(target) => {
                    followed += 1;
                    if followed > LINKS_MAX {
                        return Err(libc::ELOOP);
                    }
                    if target.starts_with(b"/") {
                        way = vec![ROOT];
                    }
                    parts(target).rev().for_each(|part| left.push_front(part.to_vec()));
                }
                None if is_last => return Ok(Found { key: Some(key), node }),
                None => way.push(node.ok_or(libc::ENOENT)?),
            }
        }
        Ok(Found { key: None, node: way.last().copied() })
    }

    /// The folder and name for a path, the name itself if it is a link; the folder is one.
    pub(super) fn resolve(&self, folder: NodeId, path: &[u8]) -> Answer<Key> {
        self.walk(folder, path, Links::Way)?.key.ok_or(libc::EISDIR)
    }

    /// The node that a path leads to, the root too.
    pub(super) fn find(&self, folder: NodeId, path: &[u8]) -> Answer<NodeId> {
        self.walk(folder, path, Links::All)?.node.ok_or(libc::ENOENT)
    }

    /// True when the folder `inner` is `outer`, or lies in it.
    pub(super) fn leads_into(&self, outer: NodeId, inner: NodeId) -> bool {
        let mut found = vec![outer];
        while let Some(id) = found.pop() {
            if id == inner {
                return true;
            }
            let inside =
                self.names.live().range((id, Vec::new())..).take_while(|((parent, _), _)| *parent == id);
            found.extend(inside.map(|(_, node)| *node));
        }
        false
    }

    /// What a symbolic link says; `None` for what is none.
    pub(super) fn target_of(&self, id: NodeId) -> Option<&[u8]> {
        self.nodes.get(&id)?.target.as_deref()
    }
}
