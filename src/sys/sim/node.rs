//! One file of the simulated disk: what is written, what is durable, and what lies between.
//!
//! ```text
//!   durable ──replay of pending──► what a cut may leave (any prefix of pending, the last one torn)
//!   live    = durable + pending + what a failed sync lost from memory's view of the disk, but not from memory
//! ```
//!
//! A failed sync does as Linux does: the pages are marked clean, so the bytes can still be read and no later sync
//! writes them; only the changes of size, which the file system's journal carries, stay to come.

use super::random::Random;

/// The number of a node; the root folder is 0.
pub(super) type NodeId = u64;

/// Something done to a file that is not durable yet.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Box<[u8]> },
    Size(usize),
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => overwrite(contents, *offset, bytes),
            Self::Size(size) => contents.resize(*size, 0),
        }
    }
}

fn overwrite(contents: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[offset..end].copy_from_slice(bytes);
}

/// A file or a folder.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) folder: bool,
    /// What it says, if it is a symbolic link.
    pub(super) target: Option<Vec<u8>>,
    /// The name by which faults and hangs find it: the last one it had, or is to have.
    pub(super) path: Vec<u8>,
    /// Permission bits.
    pub(super) mode: u32,
    /// Names that it has now.
    pub(super) links: u32,
    /// Handles that are open.
    pub(super) handles: u32,
    /// Nanoseconds since 1970.
    pub(super) modified_ns: i128,
    /// `None`: as `modified_ns`.
    pub(super) accessed_ns: Option<i128>,
    /// Bytes of the disk's room that it takes up.
    pub(super) taken: u64,
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Node {
    pub(super) fn new(folder: bool, path: Vec<u8>, mode: u32) -> Self {
        Self {
            folder,
            target: None,
            path,
            mode,
            links: 0,
            handles: 0,
            modified_ns: 0,
            accessed_ns: None,
            taken: 0,
            live: Vec::new(),
            durable: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// What every process can read.
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn write(&mut self, offset: usize, bytes: Vec<u8>) {
        overwrite(&mut self.live, offset, &bytes);
        self.pending.push(Change::Write { offset, bytes: bytes.into() });
    }

    pub(super) fn resize(&mut self, size: usize) {
        self.live.resize(size, 0);
        self.pending.push(Change::Size(size));
    }

    /// Sets the contents, durable at once.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.live = bytes.to_vec();
        self.durable = bytes.to_vec();
        self.pending.clear();
    }

    /// Makes durable what is pending.
    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync failed: the bytes that were to be written stay in memory and never become durable.
    pub(super) fn lose(&mut self) {
        self.pending.retain(|change| matches!(change, Change::Size(_)));
    }

    /// Memory forgets what it need not keep; what a failed sync lost is seen to be lost.
    pub(super) fn drop_cache(&mut self) {
        self.live.clone_from(&self.durable);
        for change in &self.pending {
            change.apply(&mut self.live);
        }
    }

    /// What the disk may hold after a power cut now.
    pub(super) fn cut(&self, random: &mut Random) -> Vec<u8> {
        let mut contents = self.durable.clone();
        let whole = random.below(self.pending.len() as u64 + 1) as usize;
        for change in &self.pending[..whole] {
            change.apply(&mut contents);
        }
        if let Some(Change::Write { offset, bytes }) = self.pending.get(whole) {
            let torn = random.below(bytes.len() as u64) as usize;
            if torn > 0 {
                overwrite(&mut contents, *offset, &bytes[..torn]);
            }
        }
        contents
    }
}
