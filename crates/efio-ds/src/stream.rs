//! `efio_ds_stream.h`: a stream of bytes, made of buffers that one thread gives away and another reads.
//!
//! ```text
//!  push, add ──► arriving ──(under the lock, at the next look)──► head ─► node ─► … ─► tail ──► read, erase, pop
//! ```
//!
//! The producers only push to a lock-free queue, and never wait. Whoever looks at the list and finds it at its end moves what
//! has arrived behind it; so nodes can be walked by several threads, as long as none of them takes nodes out.
//!
//! Invariant: `head`, `tail` and the links are changed under the lock, by stores with Release that a walk loads with
//! Acquire. A node belongs to the list from the push until it is taken out, then to who took it out. Nodes and buffers are
//! malloc(3)'s, so that C++ may delete a node that it took out.

#![allow(unsafe_code, reason = "nodes are shared with C and C++ by pointer")]

mod bytes;
mod calls;

use efio::queue::Unbounded;
use efio::sync::{AtomicPtr, Ordering, SpinGuard, SpinLock};
use std::ffi::c_void;
use std::ptr;

/// `struct efio_ds_node`: a buffer in a stream.
#[repr(C)]
struct Node {
    next: AtomicPtr<Node>,
    buffer: *mut c_void,
    size: usize,
    /// How many bytes at the front are used up.
    position: usize,
}

impl Node {
    /// A node of its own for a buffer; null: malloc(3) has no memory.
    fn new(buffer: *mut c_void, size: usize) -> *mut Self {
        // SAFETY: malloc takes any size.
        let node: *mut Self = unsafe { libc::malloc(size_of::<Self>()) }.cast();
        if !node.is_null() {
            let value = Self { next: AtomicPtr::new(ptr::null_mut()), buffer, size, position: 0 };
            // SAFETY: malloc gave room for it, aligned for any type of C.
            unsafe { node.write(value) };
        }
        node
    }

    fn rest(&self) -> &[u8] {
        let length = self.size.saturating_sub(self.position);
        if self.buffer.is_null() || length == 0 {
            return &[];
        }
        // SAFETY: the header asks for a buffer of `size` bytes.
        unsafe { std::slice::from_raw_parts(self.buffer.cast::<u8>().add(self.position), length) }
    }

    /// Frees a node and its buffer.
    ///
    /// # Safety
    ///
    /// The node is the caller's alone, the buffer NULL or from malloc(3).
    unsafe fn free(node: *mut Self) {
        // SAFETY: the caller promises it.
        unsafe {
            libc::free((*node).buffer);
            libc::free(node.cast());
        }
    }
}

/// The address of a node on its way.
struct Arriving(*mut Node);

// SAFETY: the node belongs to the list, which belongs to no thread.
unsafe impl Send for Arriving {}

/// `efio_ds_stream`.
struct Stream {
    arriving: Unbounded<Arriving>,
    /// The right to change the list.
    changes: SpinLock<()>,
    head: AtomicPtr<Node>,
    tail: AtomicPtr<Node>,
}

impl Stream {
    fn new() -> Self {
        Self {
            arriving: Unbounded::new(),
            changes: SpinLock::new(()),
            head: AtomicPtr::new(ptr::null_mut()),
            tail: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Gives a node to the list.
    fn add(&self, node: *mut Node) {
        self.arriving.push(Arriving(node));
    }

    /// Moves what has arrived behind the last node.
    fn gather(&self) {
        if !self.arriving.is_empty() {
            self.gather_under(&self.changes.lock());
        }
    }

    fn gather_under(&self, _right: &SpinGuard<'_, ()>) {
        while let Some(Arriving(node)) = self.arriving.pop() {
            // ORDER: Relaxed; changed under the lock only.
            let last = self.tail.load(Ordering::Relaxed);
            // SAFETY: the last node is the list's, and nobody takes it out without the lock.
            let link = unsafe { last.as_ref() }.map_or(&self.head, |last| &last.next);
            // ORDER: Release, both, pair with the Acquire loads in `first`, `after` and `last`: the node is written.
            link.store(node, Ordering::Release);
            self.tail.store(node, Ordering::Release);
        }
    }

    /// Follows a link, and looks for what has arrived if it leads nowhere.
    fn follow(&self, link: &AtomicPtr<Node>) -> *mut Node {
        // ORDER: Acquire, both, pair with the Release stores in `gather_under`.
        let node = link.load(Ordering::Acquire);
        if !node.is_null() {
            return node;
        }
        self.gather();
        link.load(Ordering::Acquire)
    }

    fn first(&self) -> *mut Node {
        self.follow(&self.head)
    }

    /// The node behind `node`.
    ///
    /// # Safety
    ///
    /// The node is in this list.
    unsafe fn after(&self, node: *const Node) -> *mut Node {
        // SAFETY: the caller promises it.
        self.follow(unsafe { &(*node).next })
    }

    fn last(&self) -> *mut Node {
        self.gather();
        // ORDER: Acquire pairs with the Release store in `gather_under`.
        self.tail.load(Ordering::Acquire)
    }

    /// Takes the first node out; it is the caller's now.
    fn pop(&self) -> *mut Node {
        let right = self.changes.lock();
        self.gather_under(&right);
        // ORDER: Relaxed, all three; changed under the lock only.
        let node = self.head.load(Ordering::Relaxed);
        if !node.is_null() {
            // SAFETY: the node is the list's until it is taken out here.
            let next = unsafe { (*node).next.swap(ptr::null_mut(), Ordering::Relaxed) };
            if next.is_null() {
                self.tail.store(ptr::null_mut(), Ordering::Relaxed);
            }
            // ORDER: Release, as in `gather_under`.
            self.head.store(next, Ordering::Release);
        }
        node
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        loop {
            let node = self.pop();
            if node.is_null() {
                return;
            }
            // SAFETY: the node was taken out, so it is ours.
            unsafe { Node::free(node) };
        }
    }
}
