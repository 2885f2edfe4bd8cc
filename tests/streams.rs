//! The streams of `queue`: what is written arrives, framed or not; ends, errors and limits are as they are documented.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use efio::queue::buffered::{self, Block, Framing, Http, Layout, Plain};
use efio::queue::chunked::{self, BeyondEnd, Buffer, State};
use efio::queue::{PopError, PushError, spsc};
use proptest::prelude::*;
use std::io::{self, BufRead, ErrorKind, Read, Write};

proptest! {
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
fn a_narrowed_buffer_is_given_back_as_its_part() {
    let whole = b"abcdef";
    for (range, part) in
        [(0..6, &b"abcdef"[..]), (0..4, b"abcd"), (2..6, b"cdef"), (2..4, b"cd"), (3..3, b"")]
    {
        let given = [
            Buffer::from(whole.to_vec()),
            Buffer::from(Box::<[u8]>::from(&whole[..])),
            Buffer::from(&whole[..]),
            Buffer::from_owner(*whole),
        ];
        for mut buffer in given {
            assert!(buffer.narrow(range.clone()));
            assert_eq!(&*buffer, part);
            assert_eq!(buffer.into_vec(), part);
        }
    }
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
