//! A list of buffers as one row of bytes: copied, read, erased, moved on.
//!
//! All of it but the copy takes nodes out, and is for one thread at a time.

#![allow(unsafe_code, reason = "nodes are reached by pointer")]

use super::{Node, Stream};

impl Stream {
    /// Copies bytes from `offset` on, and says how many: fewer than asked for if they end before.
    pub(super) fn copy(&self, mut offset: usize, target: &mut [u8]) -> usize {
        let (mut copied, mut node) = (0, self.first());
        // SAFETY: the node is in the list, and the header asks that nobody takes nodes out meanwhile.
        while let Some(here) = unsafe { node.as_ref() } {
            let bytes = here.rest();
            if let Some(bytes) = bytes.get(offset..) {
                let count = bytes.len().min(target.len() - copied);
                target[copied..copied + count].copy_from_slice(&bytes[..count]);
                copied += count;
            }
            offset = offset.saturating_sub(bytes.len());
            if copied == target.len() {
                break;
            }
            // SAFETY: as above.
            node = unsafe { self.after(node) };
        }
        copied
    }

    /// Copies bytes from the front and erases them.
    pub(super) fn read(&self, target: &mut [u8]) -> usize {
        let mut read = 0;
        self.take(target.len(), |bytes| {
            target[read..read + bytes.len()].copy_from_slice(bytes);
            read += bytes.len();
        });
        read
    }

    /// Erases up to `count` bytes from the front, and says how many.
    pub(super) fn erase(&self, count: usize) -> usize {
        let mut erased = 0;
        self.take(count, |bytes| erased += bytes.len());
        erased
    }

    /// Shows up to `count` bytes from the front to `show`, piece by piece, and erases them.
    fn take(&self, mut count: usize, mut show: impl FnMut(&[u8])) {
        while count != 0 {
            let node = self.first();
            // SAFETY: the node is in the list, and the header asks that nobody else takes nodes out or reads meanwhile.
            let Some(here) = (unsafe { node.as_mut() }) else { return };
            let bytes = here.rest();
            let some = bytes.len().min(count);
            show(&bytes[..some]);
            let all = some == bytes.len();
            count -= some;
            here.position += some;
            if all {
                let node = self.pop();
                // SAFETY: it is the first node, which is ours now.
                unsafe { Node::free(node) };
            }
        }
    }

    /// Moves all nodes to the end of another stream, and says how many bytes that is.
    pub(super) fn transfer(&self, to: &Self) -> usize {
        let mut moved = 0;
        loop {
            let node = self.pop();
            // SAFETY: the node was taken out, so it is ours.
            let Some(here) = (unsafe { node.as_ref() }) else { return moved };
            moved += here.rest().len();
            to.add(node);
        }
    }
}
