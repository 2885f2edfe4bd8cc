//! The streams: every byte arrives once and in order, the end is behind the last, a refused writer is told of room.

#![allow(unsafe_code, reason = "the twins share cells")]

use crate::queue::buffered::{self, Layout, Plain};
use crate::queue::chunked::{self, State};
use crate::sync::{Arc, AtomicUsize, Ordering, UnsafeCell, model, thread};
use Ordering::{AcqRel, Acquire, Release};
use std::io::{BufRead, ErrorKind, Read, Write};

#[test]
fn bytes_arrive_in_order_and_the_end_behind_them() {
    model(|| {
        let (mut writer, mut reader) = chunked::stream(16);
        let thread = thread::spawn(move || {
            assert!(writer.push(vec![0]).is_ok() && writer.push(vec![1]).is_ok());
            assert!(writer.end());
        });
        let mut seen = Vec::new();
        loop {
            let mut byte = [9];
            match reader.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => seen.push(byte[0]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    reader.wait(None);
                }
            }
        }
        assert_eq!(seen, [0, 1]);
        thread.join().unwrap();
    });
}

#[test]
fn a_failure_is_read_only_when_it_is_written() {
    model(|| {
        let (mut writer, mut reader) = chunked::stream(16);
        let thread = thread::spawn(move || assert!(writer.fail(&std::io::Error::from_raw_os_error(28))));
        match reader.fill_buf().map_err(|error| (error.kind(), error.raw_os_error())) {
            Ok(bytes) => unreachable!("nothing was pushed: {bytes:?}"),
            Err((kind, None)) => assert_eq!(kind, ErrorKind::WouldBlock),
            Err((_, errno)) => assert_eq!(errno, Some(28)),
        }
        thread.join().unwrap();
        assert_eq!(reader.state(), State::Failed);
    });
}

#[test]
fn a_writer_that_waits_for_room_is_woken_by_the_erase() {
    model(|| {
        let (mut writer, mut reader) = chunked::stream(1);
        assert!(writer.push(vec![0]).is_ok());
        let thread = thread::spawn(move || {
            assert!(writer.push_wait(vec![1], None).is_ok());
            assert!(writer.end());
        });
        assert_eq!(reader.erase(1), Ok(()));
        assert!(reader.wait(None));
        thread.join().unwrap();
        assert_eq!(reader.pop().map(|chunk| chunk[0]), Some(1));
    });
}

#[test]
fn a_transfer_beside_a_push_moves_what_it_counts() {
    model(|| {
        let (mut writer, mut reader) = chunked::stream(16);
        let (mut onward, mut far) = chunked::stream(16);
        assert!(writer.push(vec![0]).is_ok());
        let thread = thread::spawn(move || assert!(writer.push(vec![1]).is_ok()));
        let moved = reader.transfer(&mut onward);
        let there: Vec<u8> = far.chunks().flatten().copied().collect();
        assert!(moved == Ok(there.len()) && [0, 1].starts_with(&there) && !there.is_empty());
        thread.join().unwrap();
        assert_eq!(far.len() + reader.len(), 2);
    });
}

/// A node by its number, and the one it stands on; what is in the mailbox is the newest, as number plus one.
struct Mailbox {
    newest: AtomicUsize,
    nodes: [UnsafeCell<usize>; 2],
}

// SAFETY: loom checks every access.
unsafe impl Sync for Mailbox {}

/// The pusher writes the node before it shows it, or after.
fn mailbox(write_first: bool) {
    let shared =
        Arc::new(Mailbox { newest: AtomicUsize::new(0), nodes: [UnsafeCell::new(0), UnsafeCell::new(0)] });
    let pusher = shared.clone();
    let pusher = thread::spawn(move || {
        for number in 0..2 {
            // SAFETY: loom checks that nobody else is here.
            let write = |below: usize| pusher.nodes[number].with_mut(|node| unsafe { *node = below });
            let mut before = pusher.newest.load(Acquire);
            loop {
                if write_first {
                    write(before);
                }
                match pusher.newest.compare_exchange(before, number + 1, Release, Acquire) {
                    Ok(_) => break,
                    Err(now) => before = now,
                }
            }
            if !write_first {
                write(before);
            }
        }
    });
    let mut newest = shared.newest.swap(0, AcqRel);
    let mut count = 0;
    while newest != 0 {
        // SAFETY: as above.
        newest = shared.nodes[newest - 1].with(|node| unsafe { *node });
        count += 1;
    }
    assert!(count <= 2);
    pusher.join().unwrap();
}

#[test]
fn a_node_is_shown_when_it_is_written() {
    model(|| mailbox(true));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_that_shows_a_node_before_it_is_written() {
    model(|| mailbox(false));
}

/// A buffered writer of blocks of one byte over a stream of one byte, beside a reader. A block that the stream refuses is
/// kept for the next try, or forgotten.
fn blocks(keep: bool) {
    let (stream, mut reader) = chunked::stream(1);
    let layout = Layout { block: 1, ..Layout::default() };
    let writer = thread::spawn(move || {
        if keep {
            let mut writer = buffered::Writer::new(stream, layout, Plain);
            assert_eq!(writer.write(&[0]).ok(), Some(1));
            // The second block is taken in any case: it goes to the stream, or waits.
            assert_eq!(writer.write(&[1]).ok(), Some(1));
            while let Err(error) = writer.finish() {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                thread::yield_now();
            }
        } else {
            let mut stream = stream;
            for byte in [0, 1] {
                let _forgotten = stream.push(vec![byte]);
            }
            assert!(stream.end());
        }
    });
    let mut seen = Vec::new();
    while reader.wait(None) {
        match reader.pop() {
            Some(chunk) => seen.extend_from_slice(&chunk),
            None if reader.state() == State::Ended && reader.is_empty() => break,
            None => {}
        }
    }
    writer.join().unwrap();
    assert_eq!(seen, [0, 1], "written and lost");
}

#[test]
fn a_block_that_was_refused_is_not_lost() {
    model(|| blocks(true));
}

#[test]
#[should_panic(expected = "written and lost")]
fn twin_that_forgets_a_block_that_was_refused() {
    model(|| blocks(false));
}
