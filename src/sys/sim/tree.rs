//! The whole tree of a simulated disk: folders and symbolic links beside the files of an image.

use std::collections::BTreeMap;
use std::path::Path;

use super::names::{Key, normal, paths};
use super::node::NodeId;
use super::random::Random;
use super::{Sim, State};

/// What a name of the simulated disk stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// A folder.
    Folder,
    /// A file, and its contents. One with several names is there under each.
    File(Vec<u8>),
    /// A symbolic link, and what it says.
    Link(Vec<u8>),
}

/// All names of a disk: whole paths, beginning with `/`.
pub type Tree = BTreeMap<Vec<u8>, Entry>;

impl Sim {
    /// As [`Sim::live`], with folders and symbolic links.
    ///
    /// ```
    /// use efio::sim::{Entry, Sim};
    ///
    /// let sim = Sim::new(1);
    /// sim.put("/a/file", b"bytes");
    /// sim.put_link("/a/link", "file");
    /// let tree = sim.live_tree();
    /// assert_eq!(tree[&b"/a"[..]], Entry::Folder);
    /// assert_eq!(tree[&b"/a/link"[..]], Entry::Link(b"file".to_vec()));
    /// assert_eq!(sim.power_cut_tree(7), tree);
    /// ```
    #[must_use]
    pub fn live_tree(&self) -> Tree {
        let state = self.lock();
        state.tree(state.names.live(), |id| state.live_bytes(id))
    }

    /// As [`Sim::power_cut`] with the same seed, with folders and symbolic links.
    #[must_use]
    pub fn power_cut_tree(&self, seed: u64) -> Tree {
        let mut random = Random::new(seed);
        let state = self.lock();
        let names = state.names.cut(&mut random);
        let contents: BTreeMap<NodeId, Vec<u8>> =
            state.nodes.iter().map(|(id, node)| (*id, node.cut(&mut random))).collect();
        state.tree(&names, |id| contents.get(&id).cloned().unwrap_or_default())
    }

    /// Puts a symbolic link on the disk, and the folders it needs, durable at once; what has the name goes.
    pub fn put_link(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) {
        let whole = normal(path.as_ref().as_os_str().as_encoded_bytes());
        let Some(slash) = whole.iter().rposition(|&byte| byte == b'/') else { return };
        let mut state = self.lock();
        let folder = state.put_folder(&whole[..slash]);
        let key = (folder, whole[slash + 1..].to_vec());
        let replaced = state.names.get(&key);
        let id = state.make_node(false, whole, 0o777);
        if let Some(node) = state.nodes.get_mut(&id) {
            node.target = Some(target.as_ref().as_os_str().as_encoded_bytes().to_vec());
        }
        state.put_name(key, id);
        if let Some(replaced) = replaced {
            state.unlinked(replaced);
        }
    }
}

impl State {
    fn tree(&self, names: &BTreeMap<Key, NodeId>, contents: impl Fn(NodeId) -> Vec<u8>) -> Tree {
        let entry = |id: NodeId| match self.nodes.get(&id) {
            Some(node) if node.folder => Entry::Folder,
            Some(node) => match &node.target {
                Some(target) => Entry::Link(target.clone()),
                None => Entry::File(contents(id)),
            },
            None => Entry::File(Vec::new()),
        };
        paths(names).into_iter().map(|(path, id)| (path, entry(id))).collect()
    }
}
