//! The chunks of a reader: a chain of nodes, to which another chain is joined in one step.

#![allow(unsafe_code, reason = "the last node is reached by a pointer")]

use super::Buffer;
use std::ptr;

/// What a writer sends: a chunk, or the chunks of another stream at once.
pub(super) enum Load {
    Chunk(Buffer),
    Rest(List),
}

/// One load on its way. In a mailbox `next` is the one before it, in a list the one after it.
pub(super) struct Node {
    pub(super) next: *mut Node,
    pub(super) load: Load,
}

/// Chunks in order. Every node holds a chunk, none an empty one. The nodes are this list's alone.
pub(super) struct List {
    first: *mut Node,
    last: *mut Node,
    bytes: usize,
}

// SAFETY: the nodes belong to the list, and what is in them can be sent.
unsafe impl Send for List {}

impl List {
    pub(super) const fn new() -> Self {
        Self { first: ptr::null_mut(), last: ptr::null_mut(), bytes: 0 }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts the load of `node` at the end, and frees the node of a rest.
    pub(super) fn push(&mut self, mut node: Box<Node>) {
        let bytes = match node.load {
            Load::Rest(rest) => return self.join(rest),
            Load::Chunk(ref chunk) => chunk.len(),
        };
        node.next = ptr::null_mut();
        let node = Box::into_raw(node);
        self.join(Self { first: node, last: node, bytes });
    }

    /// Puts all of `rest` at the end, in one step.
    pub(super) fn join(&mut self, mut rest: Self) {
        let (first, last) = (std::mem::replace(&mut rest.first, ptr::null_mut()), rest.last);
        if first.is_null() {
            return;
        }
        if self.first.is_null() {
            self.first = first;
        } else {
            // SAFETY: the list is not empty, so `last` is its last node, which is this list's alone.
            unsafe { (*self.last).next = first };
        }
        self.last = last;
        self.bytes += rest.bytes;
    }

    /// Takes the first chunk out.
    pub(super) fn pop(&mut self) -> Option<Buffer> {
        if self.first.is_null() {
            return None;
        }
        // SAFETY: the nodes come from `Box::into_raw` and are this list's alone.
        let node = unsafe { Box::from_raw(self.first) };
        self.first = node.next;
        match node.load {
            Load::Chunk(chunk) => {
                self.bytes -= chunk.len();
                Some(chunk)
            }
            Load::Rest(_) => None,
        }
    }

    /// Forgets the first `count` bytes, of which there must be that many.
    pub(super) fn erase(&mut self, mut count: usize) {
        while count != 0 {
            // SAFETY: the first node, if there is one, is this list's alone.
            let Some(Node { load: Load::Chunk(chunk), .. }) = (unsafe { self.first.as_mut() }) else {
                return;
            };
            let here = chunk.len();
            if count < here {
                chunk.advance(count);
                self.bytes -= count;
                return;
            }
            count -= here;
            drop(self.pop());
        }
    }

    pub(super) fn chunks(&self) -> Chunks<'_> {
        // SAFETY: the nodes live and stay as they are while the list is borrowed.
        Chunks { next: unsafe { self.first.as_ref() } }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

/// The chunks of a stream where they lie: see [`Reader::chunks`](super::Reader::chunks).
#[derive(Clone)]
pub struct Chunks<'a> {
    next: Option<&'a Node>,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let node = self.next?;
        // SAFETY: as in `List::chunks`: the list is borrowed for `'a`.
        self.next = unsafe { node.next.as_ref() };
        match &node.load {
            Load::Chunk(chunk) => Some(chunk),
            Load::Rest(_) => None,
        }
    }
}

impl std::fmt::Debug for Chunks<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.clone().map(<[u8]>::len)).finish()
    }
}
