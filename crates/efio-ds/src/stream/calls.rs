//! The calls of `efio_ds_stream.h`.

#![allow(unsafe_code, reason = "called from C, with pointers")]

use super::{Node, Stream};
use crate::border::{give_up, handle, refuse, with};
use efio::sync::Ordering;
use nix::errno::Errno;
use std::ffi::{c_int, c_void};
use std::ptr;

/// The longest object there can be.
const LENGTH_MAX: usize = isize::MAX as usize;

/// The room that C gave; `None`: that cannot be.
///
/// # Safety
///
/// `target` is NULL or points to `length` bytes that are written once.
unsafe fn room<'a>(target: *mut c_void, length: usize) -> Option<&'a mut [u8]> {
    if length == 0 {
        return Some(&mut []);
    }
    if target.is_null() || length > LENGTH_MAX {
        return refuse(Errno::EINVAL, None);
    }
    // SAFETY: the caller promises it.
    Some(unsafe { std::slice::from_raw_parts_mut(target.cast(), length) })
}

#[unsafe(no_mangle)]
extern "C" fn efio_ds_stream_create() -> *mut Stream {
    handle(Stream::new)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_stream_destroy(stream: *mut Stream) {
    // SAFETY: the header asks for a handle of `efio_ds_stream_create` or NULL that nobody else uses.
    unsafe { give_up(stream, |_| ()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_stream_add(stream: *mut Stream, buffer: *mut c_void, size: usize) -> c_int {
    if size > LENGTH_MAX || (buffer.is_null() && size != 0) {
        return refuse(Errno::EINVAL, -1);
    }
    let add = |stream: &Stream| {
        let node = Node::new(buffer, size);
        if node.is_null() {
            return refuse(Errno::ENOMEM, -1);
        }
        stream.add(node);
        0
    };
    // SAFETY: the header asks for a handle of `efio_ds_stream_create` or NULL.
    unsafe { with(stream, -1, add) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_stream_push(stream: *mut Stream, buffer: *mut c_void, size: usize) -> usize {
    if size == 0 && !stream.is_null() {
        // SAFETY: the header says that the buffer is the stream's from now on, and from malloc(3) or NULL.
        unsafe { libc::free(buffer) };
        return 0;
    }
    // SAFETY: the header asks for the same.
    match unsafe { efio_ds_stream_add(stream, buffer, size) } {
        0 => size,
        _ => 0,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_stream_copy(
    stream: *mut Stream,
    start: usize,
    target: *mut c_void,
    length: usize,
) -> isize {
    // SAFETY: the header asks for room for `length` bytes, or NULL.
    let Some(room) = (unsafe { room(target, length) }) else { return -1 };
    // SAFETY: the header asks for a handle of `efio_ds_stream_create` or NULL. The count is at most `LENGTH_MAX`.
    unsafe { with(stream, -1, |stream| stream.copy(start, room) as isize) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_stream_read(stream: *mut Stream, target: *mut c_void, length: usize) -> isize {
    // SAFETY: as for `efio_ds_stream_copy`.
    let Some(room) = (unsafe { room(target, length) }) else { return -1 };
    // SAFETY: as for `efio_ds_stream_copy`.
    unsafe { with(stream, -1, |stream| stream.read(room) as isize) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_stream_erase(stream: *mut Stream, count: usize) -> usize {
    // SAFETY: as for `efio_ds_stream_copy`.
    unsafe { with(stream, 0, |stream| stream.erase(count)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_stream_transfer(stream: *mut Stream, to: *mut Stream) -> usize {
    if ptr::eq(stream, to) {
        return refuse(Errno::EINVAL, 0);
    }
    // SAFETY: as for `efio_ds_stream_copy`, both.
    unsafe { with(to, 0, |to| with(stream, 0, |stream| stream.transfer(to))) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_stream_first(stream: *mut Stream) -> *mut Node {
    // SAFETY: as for `efio_ds_stream_copy`.
    unsafe { with(stream, ptr::null_mut(), Stream::first) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_stream_next(stream: *mut Stream, node: *mut Node) -> *mut Node {
    if node.is_null() {
        return refuse(Errno::EINVAL, ptr::null_mut());
    }
    // SAFETY: as for `efio_ds_stream_copy`; the header asks for a node of this stream.
    unsafe { with(stream, ptr::null_mut(), |stream| stream.after(node)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_stream_last(stream: *mut Stream) -> *mut Node {
    // SAFETY: as for `efio_ds_stream_copy`.
    unsafe { with(stream, ptr::null_mut(), Stream::last) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_stream_pop(stream: *mut Stream) -> *mut Node {
    // SAFETY: as for `efio_ds_stream_copy`.
    unsafe { with(stream, ptr::null_mut(), Stream::pop) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_node_next(node: *const Node) -> *mut Node {
    // SAFETY: the header asks for a node or NULL.
    // ORDER: Acquire pairs with the Release stores in `Stream::gather_under`.
    unsafe { with(node.cast_mut(), ptr::null_mut(), |node| node.next.load(Ordering::Acquire)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_node_set_next(node: *mut Node, next: *mut Node) {
    // SAFETY: the header asks for a node or NULL, and for one that is in no stream.
    // ORDER: Release pairs with the Acquire load above.
    unsafe { with(node, (), |node| node.next.store(next, Ordering::Release)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_node_data(node: *const Node) -> *mut c_void {
    let data = |node: &Node| {
        let bytes = node.rest();
        if bytes.is_empty() { ptr::null_mut() } else { bytes.as_ptr().cast_mut().cast() }
    };
    // SAFETY: the header asks for a node or NULL.
    unsafe { with(node.cast_mut(), ptr::null_mut(), data) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_node_length(node: *const Node) -> usize {
    // SAFETY: the header asks for a node or NULL.
    unsafe { with(node.cast_mut(), 0, |node| node.rest().len()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_node_skip(node: *mut Node, count: usize) -> usize {
    // SAFETY: the header asks for a node or NULL, and that nobody else uses it meanwhile.
    let Some(node) = (unsafe { node.as_mut() }) else { return refuse(Errno::EINVAL, 0) };
    let count = count.min(node.rest().len());
    node.position += count;
    count
}

#[unsafe(no_mangle)]
unsafe extern "C" fn efio_ds_node_free(node: *mut Node) {
    if node.is_null() {
        return refuse(Errno::EINVAL, ());
    }
    // SAFETY: the header asks for a node that was taken out and is the caller's.
    unsafe { Node::free(node) };
}
