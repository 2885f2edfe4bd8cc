//! Bad use has one documented answer in every queue: no capacity, a second close, a push behind it, more than there is.

#![allow(unsafe_code, reason = "a commit promises that the places are written")]

use efio::queue::buffered::{Layout, Plain, Writer};
use efio::queue::chunked::{self, BeyondEnd, Buffer};
use efio::queue::{
    Gate, IndexList, IndexStack, Lanes, Levels, Mpmc, PopError, PushError, Shared, Stack, Tickets, Unbounded,
    mpsc, spsc,
};
use efio::sync::AtomicU32;
use std::fmt::Debug;
use std::io::{BufRead, ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A gate before a queue that was asked for no place: it has one, and closes once.
fn no_place<Q: Shared<Item: Copy + PartialEq + Debug>>(queue: Q, value: Q::Item, bounded: bool) {
    let gate = Gate::new(queue);
    assert_eq!(gate.pop(), Err(PopError::Empty));
    assert_eq!(gate.push(value), Ok(()));
    if bounded {
        assert_eq!(gate.push(value), Err(PushError::Full(value)));
    }
    assert_eq!((gate.close(), gate.close()), (true, false));
    assert_eq!(gate.push(value), Err(PushError::Closed(value)));
    assert_eq!(gate.push_wait(value, None), Err(PushError::Closed(value)));
    assert_eq!(gate.push_all(&mut [value].into_iter()), Err(PushError::Closed(value)));
    assert_eq!(
        (gate.pop(), gate.pop(), gate.pop_wait(None)),
        (Ok(value), Err(PopError::Closed), Err(PopError::Closed))
    );
}

#[test]
fn a_shared_queue_without_a_place_has_one_and_closes_once() {
    no_place(Mpmc::new(0), 'a', true);
    no_place(Tickets::new(0, 0), 'a', true);
    no_place(Lanes::new(0, 0), 'a', true);
    no_place(Levels::new(0, 0), (0, 'a'), true);
    no_place(Stack::bounded(0), 'a', true);
    no_place(Unbounded::new(), 'a', false);
}

#[test]
fn a_channel_closes_once_and_gives_back_what_comes_after() {
    let (sender, mut receiver) = mpsc::channel();
    assert_eq!(sender.push('a'), Ok(()));
    assert_eq!((receiver.close(), receiver.close()), (true, false));
    assert_eq!((sender.push('b'), sender.push_all(vec!['c'])), (Err(PushError::Closed('b')), vec!['c']));
    assert_eq!((receiver.pop(), receiver.pop()), (Ok('a'), Err(PopError::Closed)));
    assert_eq!(receiver.pop_wait(None), Err(PopError::Closed));
}

#[test]
fn a_ring_without_a_place_has_one_and_lends_no_more() {
    let (mut producer, mut consumer) = spsc::channel(0);
    let slots = producer.write_slots();
    // SAFETY: it panics before it believes that two places are written.
    assert!(catch_unwind(AssertUnwindSafe(|| unsafe { slots.commit(2) })).is_err());
    assert_eq!((producer.capacity(), producer.push('a')), (1, Ok(())));
    assert_eq!((producer.close(), producer.close()), (true, false));
    assert_eq!(producer.push('b'), Err(PushError::Closed('b')));
    assert_eq!(consumer.read_slots().consume(9), 1, "all that there are");
    assert_eq!((consumer.close(), consumer.close()), (true, false));
    assert_eq!((consumer.pop(), consumer.pop_wait(None)), (Err(PopError::Closed), Err(PopError::Closed)));
}

#[test]
fn a_stream_without_room_takes_a_buffer_at_a_time_and_ends_once() {
    let (mut writer, mut reader) = chunked::stream(0);
    assert_eq!((writer.limit(), writer.push(vec![1; 9])), (1, Ok(())));
    assert!(writer.push(vec![2]).is_err_and(|refused| refused.is_full()));
    assert_eq!((writer.end(), writer.end(), writer.fail(&ErrorKind::Other.into())), (true, false, false));
    assert!(writer.push(vec![3]).is_err_and(|refused| refused.is_closed()));
    assert_eq!((reader.erase(10), reader.len()), (Err(BeyondEnd { len: 9 }), 9));
    assert_eq!(reader.copy(10, &mut [0; 4]), 0);
    reader.consume(usize::MAX);
    assert!(reader.is_empty() && reader.pop().is_none(), "all that there were");
}

#[test]
fn a_buffer_is_not_narrowed_to_what_it_has_not() {
    let mut buffer = Buffer::from(vec![1, 2, 3]);
    #[allow(clippy::reversed_empty_ranges, reason = "that is the bad use")]
    let backwards = 2..1;
    assert!(!buffer.narrow(0..4) && !buffer.narrow(backwards) && !buffer.narrow(usize::MAX..usize::MAX));
    assert!(buffer.narrow(3..3) && buffer.is_empty());
}

#[test]
fn a_writer_without_a_block_has_one_of_a_byte_and_finishes_once() {
    let (stream, mut reader) = chunked::stream(9);
    let layout = Layout { block: 0, max_len: 2, ..Layout::default() };
    let mut writer = Writer::new(stream, layout, Plain);
    assert!(
        writer.write(b"abc").is_ok_and(|count| count == 1)
            && writer.write(b"bc").is_ok_and(|count| count == 1)
    );
    assert_eq!(writer.write(b"c").map_err(|error| error.kind()), Err(ErrorKind::FileTooLarge));
    assert!(writer.finish().is_ok() && writer.finish().is_ok());
    assert_eq!(writer.write(b"c").map_err(|error| error.kind()), Err(ErrorKind::BrokenPipe));
    assert!(reader.chunks().eq([b"a", b"b"]));
}

#[test]
fn an_index_without_a_link_panics_and_is_in_no_queue() {
    let links = [AtomicU32::new(0), AtomicU32::new(0)];
    let (list, stack) = (IndexList::new(), IndexStack::new());
    for beyond in [2, u32::MAX - 1, u32::MAX] {
        assert!(catch_unwind(AssertUnwindSafe(|| list.push(&links[..], beyond))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| stack.push(&links[..], beyond))).is_err());
        assert!(list.is_empty() && stack.is_empty());
    }
}
