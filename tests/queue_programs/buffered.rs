//! Random programs on a buffered writer, of every public call: what was accepted arrives, framed, up to an end or an error.

use super::narrow::Narrow;
use super::watch::Watch;
use efio::queue::buffered::{Block, Buffered, Framing, Layout, Writer};
use efio::queue::chunked::{self, Reader};
use proptest::prelude::*;
use std::io::{BufRead, ErrorKind, Read, Write};

const LIMIT: usize = 120;

/// `<block>` for each block, `!` behind the last.
struct Brackets;

impl Framing for Brackets {
    fn frame(&mut self, block: &mut Block) {
        assert!(!block.content().is_empty() && block.put_before(b"<") && block.put_after(b">"));
        assert!(!block.put_before(b"<") && !block.put_after(b">"), "the room is used up");
    }

    fn trailer(&mut self) -> Vec<u8> {
        b"!".to_vec()
    }
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Write(usize),
    Flush,
    Finish,
    Fail,
    End,
    Arm,
    Drain(usize),
    Read(usize),
    Consume(usize),
}

fn call() -> impl Strategy<Value = Call> {
    let calls = prop_oneof![
        4 => (0..60_usize).prop_map(Call::Write),
        1 => Just(Call::Flush),
        1 => Just(Call::Arm),
        1 => (0..100_usize).prop_map(Call::Drain),
        1 => (0..100_usize).prop_map(Call::Read),
        1 => (0..100_usize).prop_map(Call::Consume),
    ];
    prop_oneof![30 => calls, 1 => prop_oneof![4 => Just(Call::Finish), 1 => Just(Call::Fail), 1 => Just(Call::End)]]
}

/// A writer, what it accepted and what came out.
struct Program {
    writer: Writer<Brackets>,
    reader: Reader,
    layout: Layout,
    accepted: Vec<u8>,
    seen: Vec<u8>,
    /// `finish` was called, and has said that it is done.
    finishing: bool,
    finished: bool,
    /// The stream below was ended, or has failed.
    closed: bool,
    room: Watch,
}

impl Program {
    fn new(layout: Layout) -> Self {
        let room = Watch::default();
        let (stream, reader) = chunked::stream_with_signals(LIMIT, || (), room.signal());
        let writer = Writer::new(stream, layout, Brackets);
        let (accepted, seen) = (Vec::new(), Vec::new());
        Self {
            writer,
            reader,
            layout,
            accepted,
            seen,
            finishing: false,
            finished: false,
            closed: false,
            room,
        }
    }

    fn write(&mut self, count: usize) {
        let letters: Vec<u8> = (0..count).map(|at| b'a' + (self.accepted.len() + at) as u8 % 26).collect();
        let left = self.layout.max_len as usize - self.accepted.len();
        let full = !self.reader.is_empty();
        match self.writer.write(&letters).map_err(|error| error.kind()) {
            Ok(written) => {
                assert!(!self.finishing && !self.closed && written <= count.min(left));
                assert!(written != 0 || count == 0);
                self.accepted.extend(&letters[..written]);
            }
            Err(ErrorKind::BrokenPipe) => assert!(self.finishing || self.closed),
            Err(ErrorKind::FileTooLarge) => assert_eq!(left, 0),
            Err(kind) => assert!(kind == ErrorKind::WouldBlock && full, "refused by an empty stream: {kind}"),
        }
    }

    /// The answer of a flush or of the finish.
    fn settled(&mut self, answer: std::io::Result<()>) -> bool {
        match answer.map_err(|error| error.kind()) {
            Ok(()) => return true,
            Err(ErrorKind::BrokenPipe) => assert!(self.closed),
            Err(kind) => assert!(kind == ErrorKind::WouldBlock && !self.reader.is_empty()),
        }
        false
    }

    fn finish(&mut self) {
        let answer = self.writer.finish();
        self.finishing = true;
        if self.settled(answer) {
            assert!(self.finished || !self.closed, "done, in a stream that has failed");
            assert!(self.writer.finish().is_ok(), "again it changes nothing");
            (self.finished, self.closed) = (true, true);
        }
        let refused = self.writer.write(b"x").map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::BrokenPipe), "a finish that began takes no more");
    }

    fn call(&mut self, call: Call) {
        let len = self.reader.len();
        match call {
            Call::Write(count) => self.write(count),
            Call::Flush => {
                let answer = self.writer.flush();
                self.settled(answer);
            }
            Call::Finish => self.finish(),
            Call::Fail => self.closed |= self.writer.stream_mut().fail(&ErrorKind::TimedOut.into()),
            Call::End => self.closed |= self.writer.stream_mut().end(),
            Call::Arm => {
                self.room.arm();
                assert!(!self.writer.arm() || len != 0 && !self.closed);
            }
            Call::Drain(room) => {
                let mut target = Narrow::new(room);
                assert!(self.reader.drain_into(&mut target).is_ok() || room == 0);
                self.seen.extend(target.taken);
            }
            Call::Read(most) => {
                let mut target = vec![0; most];
                let count = self.reader.read(&mut target).unwrap_or(0);
                self.seen.extend(&target[..count]);
            }
            Call::Consume(most) => {
                let there = self.reader.fill_buf().unwrap_or_default();
                let count = there.len().min(most);
                self.seen.extend(&there[..count]);
                self.reader.consume(count);
            }
        }
        self.room.check(self.reader.len() < len);
        assert_eq!(self.writer.written(), self.accepted.len() as u64);
        assert!(
            self.writer.stream_mut().limit() == LIMIT && self.writer.stream_mut().len() == self.reader.len()
        );
    }
}

/// What came out, without its frames; whether the trailer is behind it.
fn unframed(seen: &[u8], block: usize) -> (Vec<u8>, bool) {
    let (body, whole) = match seen.split_last() {
        Some((b'!', body)) => (body, true),
        _ => (seen, false),
    };
    let blocks = body.split_inclusive(|byte| *byte == b'>').map(|frame| match frame {
        [b'<', content @ .., b'>'] => {
            assert!((1..=block.max(1)).contains(&content.len()));
            content
        }
        torn => panic!("not a frame: {torn:?}"),
    });
    (blocks.collect::<Vec<_>>().concat(), whole)
}

proptest! {
    #[test]
    fn what_a_writer_accepts_arrives_up_to_its_end(
        block in 0..50_usize,
        max_len in prop_oneof![3 => Just(100_000_u64), 1 => 0..200_u64],
        calls in prop::collection::vec(call(), 1..80),
        both in any::<bool>(),
    ) {
        let mut program = Program::new(Layout { block, before: 1, after: 1, max_len });
        for call in calls {
            program.call(call);
        }
        if both {
            while !program.closed {
                program.call(Call::Finish);
                program.call(Call::Drain(usize::MAX));
            }
        }
        let Program { writer, mut reader, accepted, mut seen, finished, closed, .. } = program;
        drop(writer);
        let end = reader.read_to_end(&mut seen);
        let (content, whole) = unframed(&seen, block);
        prop_assert!(accepted.starts_with(&content));
        prop_assert!(!finished || whole && content == accepted && end.is_ok(), "a part was lost");
        prop_assert!(closed || end.is_err(), "a writer that went without an end has ended");
    }
}

#[test]
fn both_ends_in_one_value_can_be_had_apart() {
    let mut stream = Buffered::new(LIMIT, Layout { before: 1, after: 1, ..Layout::default() }, Brackets);
    assert!(stream.write_all(b"ab").is_ok() && stream.writer_mut().flush().is_ok());
    let mut target = [0; 2];
    assert!(stream.read_exact(&mut target).is_ok() && stream.fill_buf().is_ok_and(|rest| rest == b"b>"));
    stream.consume(1);
    assert_eq!((&target, stream.reader_mut().len()), (b"<a", 1));
    let (mut writer, mut reader) = stream.split();
    assert!(writer.write_all(b"c").is_ok() && writer.finish().is_ok());
    let mut rest = String::new();
    assert!(reader.read_to_string(&mut rest).is_ok());
    assert_eq!(rest, "><c>!");
}
