//! The streams of `queue` against a `Vec<u8>`: whatever is pushed, written, erased and moved, the bytes are those of the vector.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use efio::queue::buffered::{self, Block, Framing, Http, Layout, Plain};
use efio::queue::chunked::{self, BeyondEnd, Buffer, State};
use efio::queue::{PopError, PushError, spsc};
use proptest::prelude::*;
use std::io::{self, BufRead, ErrorKind, Read, Write};

/// One call on a stream of up to `LIMIT` bytes.
#[derive(Clone, Debug)]
enum Call {
    PushVec(Vec<u8>),
    PushSlice(Vec<u8>),
    PushOwner(Vec<u8>),
    Fill(Vec<u8>, usize),
    Read(usize),
    Copy(usize, usize),
    Erase(usize),
    Consume(usize),
    Pop,
    Walk,
    Drain(usize, bool),
    Transfer,
    TransferBack,
}

const LIMIT: usize = 300;

fn call() -> impl Strategy<Value = Call> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..120);
    prop_oneof![
        bytes().prop_map(Call::PushVec),
        bytes().prop_map(Call::PushSlice),
        bytes().prop_map(Call::PushOwner),
        (bytes(), 1..100_usize).prop_map(|(bytes, most)| Call::Fill(bytes, most)),
        (0..150_usize).prop_map(Call::Read),
        (0..320_usize, 0..150_usize).prop_map(|(offset, count)| Call::Copy(offset, count)),
        (0..200_usize).prop_map(Call::Erase),
        (0..400_usize).prop_map(Call::Consume),
        Just(Call::Pop),
        Just(Call::Walk),
        (0..100_usize, any::<bool>()).prop_map(|(room, vectored)| Call::Drain(room, vectored)),
        Just(Call::Transfer),
        Just(Call::TransferBack),
    ]
}

/// A writer that takes `room` bytes, seven at a time, then would block.
struct Narrow {
    room: usize,
    taken: Vec<u8>,
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room).min(7);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= count;
        self.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream, and a vector that must hold the same bytes.
struct Pair {
    writer: chunked::Writer,
    reader: chunked::Reader,
    oracle: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let (writer, reader) = chunked::stream(LIMIT);
        Self { writer, reader, oracle: Vec::new() }
    }

    fn fits(&self, bytes: usize) -> bool {
        self.oracle.is_empty() || self.oracle.len() + bytes <= LIMIT
    }

    fn push(&mut self, buffer: Buffer) {
        let bytes = buffer.to_vec();
        match self.writer.push(buffer) {
            Ok(()) => {
                assert!(self.fits(bytes.len()));
                self.oracle.extend(bytes);
            }
            Err(refused) => {
                assert!(refused.is_full() && !self.fits(bytes.len()));
                assert_eq!(&*refused.into_inner(), bytes, "the buffer comes back");
            }
        }
    }

    fn fill(&mut self, source: &[u8], most: usize) {
        match self.writer.fill_from(&mut &source[..], most) {
            Ok(count) => {
                let room = LIMIT.saturating_sub(self.oracle.len()).max(1);
                assert_eq!(count, source.len().min(most).min(room));
                self.oracle.extend(&source[..count]);
            }
            Err(error) => assert!(error.kind() == ErrorKind::WouldBlock && !self.fits(1)),
        }
    }

    fn read(&mut self, most: usize) {
        let mut target = vec![0; most];
        match self.reader.read(&mut target) {
            Ok(count) => {
                assert_eq!(count, most.min(self.oracle.len()));
                let expected: Vec<u8> = self.oracle.drain(..count).collect();
                assert_eq!(target[..count], expected);
            }
            Err(error) => assert!(error.kind() == ErrorKind::WouldBlock && self.oracle.is_empty()),
        }
    }

    fn copy(&mut self, offset: usize, most: usize) {
        let mut target = vec![0; most];
        let count = self.reader.copy(offset, &mut target);
        let rest = self.oracle.get(offset..).unwrap_or_default();
        assert_eq!(target[..count], rest[..most.min(rest.len())]);
    }

    fn drain(&mut self, room: usize, vectored: bool) {
        let mut target = Narrow { room, taken: Vec::new() };
        let drained = match vectored {
            false => self.reader.drain_into(&mut target),
            true => self.reader.drain_vectored(&mut target),
        };
        let expected = room.min(self.oracle.len());
        match drained {
            Ok(count) => assert_eq!(count, expected),
            Err(error) => assert!(error.kind() == ErrorKind::WouldBlock && room == 0),
        }
        assert_eq!(target.taken, self.oracle.drain(..expected).collect::<Vec<_>>());
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::PushVec(bytes) => self.push(bytes.into()),
            Call::PushSlice(bytes) => self.push(bytes.into_boxed_slice().into()),
            Call::PushOwner(bytes) => self.push(Buffer::from_owner(bytes)),
            Call::Fill(bytes, most) => self.fill(&bytes, most),
            Call::Read(most) => self.read(most),
            Call::Copy(offset, most) => self.copy(offset, most),
            Call::Erase(count) => match self.reader.erase(count) {
                Ok(()) => drop(self.oracle.drain(..count)),
                Err(BeyondEnd { len }) => assert!(len == self.oracle.len() && count > len),
            },
            Call::Consume(count) => {
                let there = self.reader.len();
                self.reader.consume(count);
                self.oracle.drain(..count.min(there));
            }
            Call::Pop => match self.reader.pop() {
                Some(buffer) => {
                    let expected: Vec<u8> = self.oracle.drain(..buffer.len()).collect();
                    assert!(!buffer.is_empty());
                    assert_eq!(buffer.into_vec(), expected);
                }
                None => assert!(self.oracle.is_empty()),
            },
            Call::Walk => {
                let chunks: Vec<&[u8]> = self.reader.chunks().collect();
                assert!(chunks.iter().all(|chunk| !chunk.is_empty()));
                assert_eq!(chunks.concat(), self.oracle);
            }
            Call::Drain(room, vectored) => self.drain(room, vectored),
            Call::Transfer | Call::TransferBack => {}
        }
        assert_eq!(self.writer.len(), self.oracle.len());
        assert_eq!(self.reader.len(), self.oracle.len());
        assert_eq!(self.writer.room(), LIMIT.saturating_sub(self.oracle.len()));
    }
}

fn transfer(from: &mut Pair, to: &mut Pair) {
    match from.reader.transfer(&mut to.writer) {
        Ok(count) => {
            assert_eq!(count, from.oracle.len());
            to.oracle.append(&mut from.oracle);
        }
        Err(refused) => assert!(refused.is_full() && !to.fits(from.oracle.len())),
    }
}

proptest! {
    #[test]
    fn a_stream_is_its_bytes(calls in prop::collection::vec((any::<bool>(), call()), 1..80)) {
        let (mut first, mut second) = (Pair::new(), Pair::new());
        for (which, call) in calls {
            match call {
                Call::Transfer => transfer(&mut first, &mut second),
                Call::TransferBack => transfer(&mut second, &mut first),
                call => if which { &mut first } else { &mut second }.call(call),
            }
        }
        for mut pair in [first, second] {
            prop_assert!(pair.writer.end());
            let mut rest = Vec::new();
            pair.reader.read_to_end(&mut rest).unwrap();
            prop_assert_eq!(rest, pair.oracle);
        }
    }

    #[test]
    fn what_is_written_is_read_whatever_the_blocks(
        pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), any::<bool>()), 0..30),
        block in 0..40_usize,
        limit in 1..200_usize,
    ) {
        let (stream, mut reader) = chunked::stream(limit);
        let mut writer = buffered::Writer::new(stream, Layout { block, ..Layout::default() }, Plain);
        let (mut oracle, mut seen) = (Vec::new(), Vec::new());
        for (bytes, flush) in pieces {
            let mut left = &bytes[..];
            while !left.is_empty() {
                match writer.write(left) {
                    Ok(count) => left = &left[count..],
                    Err(error) => {
                        prop_assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        prop_assert!(reader.drain_into(&mut seen).unwrap() != 0, "refused an empty stream");
                    }
                }
            }
            oracle.extend(bytes);
            if flush && writer.flush().is_err() {
                reader.drain_into(&mut seen).unwrap();
            }
        }
        while writer.finish().is_err() {
            reader.drain_into(&mut seen).unwrap();
        }
        reader.read_to_end(&mut seen).unwrap();
        prop_assert_eq!(seen, oracle);
    }

    #[test]
    fn a_framed_body_is_unframed_to_what_was_written(
        pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), any::<bool>()), 0..30),
        block in 1..400_usize,
    ) {
        let (stream, mut reader) = chunked::stream(1 << 20);
        let layout = Http::layout(Layout { block, ..Layout::default() });
        let mut writer = buffered::Writer::new(stream, layout, Http);
        let mut oracle = Vec::new();
        for (bytes, flush) in pieces {
            writer.write_all(&bytes).unwrap();
            oracle.extend(bytes);
            if flush {
                writer.flush().unwrap();
            }
        }
        writer.finish().unwrap();
        let mut body: Vec<u8> = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let length = usize::from_str_radix(line.trim_end_matches("\r\n"), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk).unwrap();
            prop_assert_eq!(&chunk[length..], b"\r\n");
            body.extend(&chunk[..length]);
            if length == 0 {
                break;
            }
        }
        prop_assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        prop_assert_eq!(body, oracle);
    }

    #[test]
    fn slices_of_a_ring_are_its_values(
        capacity in 0..9_usize,
        steps in prop::collection::vec((any::<bool>(), 0..7_usize), 0..60),
    ) {
        let (mut producer, mut consumer) = spsc::channel(capacity);
        let (mut oracle, mut next) = (std::collections::VecDeque::new(), 0_u32);
        for (push, count) in steps {
            if push {
                let values: Vec<u32> = (next..).take(count).collect();
                let pushed = producer.push_slice(&values);
                prop_assert_eq!(pushed, count.min(capacity.max(1) - oracle.len()));
                oracle.extend(&values[..pushed]);
                next += count as u32;
            } else {
                let slots = consumer.read_slots();
                let (first, second) = slots.as_slices();
                prop_assert_eq!([first, second].concat(), oracle.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(slots.consume(count), count.min(oracle.len()));
                oracle.drain(..count.min(oracle.len()));
            }
            prop_assert_eq!(consumer.len(), oracle.len());
        }
    }
}

#[test]
fn a_pushed_buffer_is_not_copied() {
    let (mut writer, mut reader) = chunked::stream(1 << 20);
    let buffer = vec![7_u8; 4096];
    let address = buffer.as_ptr();
    assert!(writer.push(buffer).is_ok());
    assert_eq!(reader.chunks().next().unwrap().as_ptr(), address);
    let (mut other, mut far) = chunked::stream(1 << 20);
    assert_eq!(reader.transfer(&mut other), Ok(4096));
    let buffer = far.pop().unwrap().into_vec();
    assert_eq!(buffer.as_ptr(), address);
}

#[test]
fn an_error_is_met_behind_the_last_byte_and_each_time_again() {
    let (mut writer, mut reader) = chunked::stream(100);
    assert!(writer.push(b"abc".to_vec()).is_ok());
    assert!(writer.fail(&io::Error::from_raw_os_error(28)));
    assert!(!writer.end() && !writer.fail(&ErrorKind::Other.into()), "it has ended once");
    assert!(writer.push(b"d".to_vec()).is_err_and(|refused| refused.is_closed()));
    assert_eq!(reader.state(), State::Failed);
    let mut text = [0; 8];
    assert_eq!(reader.read(&mut text).unwrap(), 3);
    for _ in 0..2 {
        assert_eq!(reader.read(&mut text).unwrap_err().raw_os_error(), Some(28));
    }
}

#[test]
fn a_writer_that_goes_without_an_end_has_cut_the_stream_off() {
    let (writer, mut reader) = chunked::stream(100);
    assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(writer);
    assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let (mut stream, mut reader) = chunked::stream(100);
    assert!(stream.end());
    drop(stream);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_reader_that_goes_refuses_every_buffer() {
    let (mut writer, reader) = chunked::stream(0);
    assert_eq!(writer.limit(), 1, "no room is room for one");
    assert!(writer.push(vec![0; 9]).is_ok(), "alone it passes");
    assert!(matches!(writer.push(vec![1]), Err(PushError::Full(_))));
    drop(reader);
    assert!(matches!(writer.push(vec![1]), Err(PushError::Closed(_))));
    assert!(matches!(writer.push_wait(vec![1], None), Err(PushError::Closed(_))));
    assert_eq!(writer.fill_from(&mut &b"x"[..], 9).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn an_erase_beyond_the_end_erases_nothing() {
    let (mut writer, mut reader) = chunked::stream(100);
    assert!(writer.push(vec![1, 2, 3]).is_ok());
    assert_eq!(reader.erase(4), Err(BeyondEnd { len: 3 }));
    assert_eq!(reader.len(), 3);
    assert_eq!(reader.copy(3, &mut [0; 4]), 0, "a look beyond the end finds nothing");
    assert_eq!(reader.erase(3), Ok(()));
}

#[test]
fn a_writer_stops_at_its_maximum() {
    let layout = Layout { block: 4, max_len: 6, ..Layout::default() };
    let (stream, mut reader) = chunked::stream(100);
    let mut writer = buffered::Writer::new(stream, layout, Plain);
    assert_eq!(writer.write_all(b"abcdefg").unwrap_err().kind(), ErrorKind::FileTooLarge);
    writer.finish().unwrap();
    writer.finish().unwrap();
    assert_eq!(writer.write(b"h").unwrap_err().kind(), ErrorKind::BrokenPipe);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "abcdef");
}

#[test]
fn a_frame_larger_than_its_room_is_refused() {
    struct Greedy;
    impl Framing for Greedy {
        fn frame(&mut self, block: &mut Block) {
            assert!(!block.put_before(b"abc") && block.put_before(b"b") && block.put_before(b"a"));
            assert!(!block.put_after(b"xy") && block.put_after(b"x") && !block.put_after(b"y"));
            assert_eq!(block.content(), b"-");
        }
    }
    let layout = Layout { before: 2, after: 1, ..Layout::default() };
    let mut stream = buffered::Buffered::new(100, layout, Greedy);
    stream.write_all(b"-").unwrap();
    stream.flush().unwrap();
    assert_eq!(stream.fill_buf().unwrap(), b"ab-x");
}

#[test]
fn transfers_back_and_forth_do_not_nest() {
    let (mut left, mut right) = (Pair::new(), Pair::new());
    left.push(b"ping".to_vec().into());
    for _ in 0..100_000 {
        transfer(&mut left, &mut right);
        transfer(&mut right, &mut left);
    }
    left.call(Call::Walk);
}

#[test]
fn bytes_cross_threads_under_back_pressure() {
    let (mut writer, mut reader) = chunked::stream(1000);
    let total: usize = std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..2_000_u32 {
                let byte = number.to_le_bytes()[0];
                assert!(writer.push_wait(vec![byte; 1 + number as usize % 97], None).is_ok());
            }
            assert!(writer.end());
        });
        let (mut number, mut total) = (0_u32, 0);
        while reader.wait(None) {
            let Some(chunk) = reader.pop() else {
                if reader.state() != State::Open && reader.is_empty() {
                    break;
                }
                continue;
            };
            assert!(chunk.iter().all(|byte| *byte == number.to_le_bytes()[0]));
            total += chunk.len();
            number += 1;
        }
        total
    });
    assert_eq!(total, (0..2_000).map(|number| 1 + number % 97).sum::<usize>());
}

#[test]
fn a_closed_ring_answers_each_call() {
    let (mut producer, mut consumer) = spsc::channel(0);
    assert_eq!((producer.capacity(), producer.push(1)), (1, Ok(())));
    assert!(producer.close() && !producer.close());
    assert!(matches!(producer.push(2), Err(PushError::Closed(2))));
    assert_eq!(producer.push_all(&mut (2..4)), 0);
    assert!(producer.write_slots().is_empty());
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Err(PopError::Closed)));
    assert_eq!(consumer.pop_wait(None), Err(PopError::Closed));
    assert!(!consumer.arm() && !producer.arm(), "no signal will come");
}
