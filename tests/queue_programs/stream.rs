//! Random programs on two streams, of every public call: the bytes are those of a vector, each answer the one it must be.

use super::narrow::Narrow;
use super::watch::Watch;
use efio::queue::PushError;
use efio::queue::chunked::{self, BeyondEnd, Buffer, State};
use proptest::prelude::*;
use std::io::{self, BufRead, ErrorKind, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Who gives the bytes of a push.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    Vec,
    Slice,
    Static,
    Other,
}

/// One call on a stream of up to `LIMIT` bytes.
#[derive(Clone, Debug)]
pub enum Call {
    Push(Owner, Vec<u8>, Range<usize>),
    PushWait(Vec<u8>),
    Fill(Vec<u8>, usize),
    FillFails,
    ArmWriter(usize),
    End,
    Fail(bool),
    DropWriter,
    Read(usize),
    FillBuf,
    Copy(usize, usize),
    Erase(usize),
    Consume(usize),
    Pop,
    Walk,
    Drain(usize, bool),
    Wait,
    ArmReader,
    DropReader,
    Transfer,
    TransferBack,
}

pub const LIMIT: usize = 300;
static LETTERS: [u8; 120] = [b'x'; 120];

pub fn call() -> impl Strategy<Value = Call> {
    // A few are larger than the limit, and pass alone.
    let bytes = || {
        prop_oneof![
            9 => prop::collection::vec(any::<u8>(), 0..120),
            1 => prop::collection::vec(any::<u8>(), 250..400),
        ]
    };
    let owner = prop_oneof![Just(Owner::Vec), Just(Owner::Slice), Just(Owner::Static), Just(Owner::Other)];
    let push = (owner, bytes(), any::<bool>(), 0..60_usize, 0..130_usize);
    let calls = prop_oneof![
        push.prop_map(|(owner, bytes, whole, start, end)| {
            let end = if whole { bytes.len() } else { end };
            Call::Push(owner, bytes, if whole { 0..end } else { start..end })
        }),
        bytes().prop_map(Call::PushWait),
        (bytes(), 1..100_usize).prop_map(|(bytes, most)| Call::Fill(bytes, most)),
        Just(Call::FillFails),
        (0..150_usize).prop_map(Call::ArmWriter),
        (0..150_usize).prop_map(Call::Read),
        Just(Call::FillBuf),
        (0..320_usize, 0..150_usize).prop_map(|(offset, count)| Call::Copy(offset, count)),
        (0..200_usize).prop_map(Call::Erase),
        (0..400_usize).prop_map(Call::Consume),
        Just(Call::Pop),
        Just(Call::Walk),
        (0..100_usize, any::<bool>()).prop_map(|(room, vectored)| Call::Drain(room, vectored)),
        Just(Call::Wait),
        Just(Call::ArmReader),
        Just(Call::Transfer),
        Just(Call::TransferBack),
    ];
    let ends = prop_oneof![
        Just(Call::End),
        any::<bool>().prop_map(Call::Fail),
        Just(Call::DropWriter),
        Just(Call::DropReader)
    ];
    prop_oneof![60 => calls, 1 => ends]
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Ended,
    Errno(i32),
    Kind(ErrorKind),
}

/// A stream, a vector that must hold the same bytes, and both signals.
pub struct Pair {
    writer: Option<chunked::Writer>,
    reader: Option<chunked::Reader>,
    oracle: Vec<u8>,
    ending: Option<Ending>,
    bytes: Watch,
    room: Watch,
    owners: Arc<()>,
}

impl Pair {
    pub fn new() -> Self {
        let (bytes, room) = (Watch::default(), Watch::default());
        let (writer, reader) = chunked::stream_with_signals(LIMIT, bytes.signal(), room.signal());
        let (writer, reader) = (Some(writer), Some(reader));
        Self { writer, reader, oracle: Vec::new(), ending: None, bytes, room, owners: Arc::default() }
    }

    /// What a push of so many bytes must answer.
    fn admits(&self, bytes: usize) -> Result<(), PushError<()>> {
        if self.ending.is_some() || self.reader.is_none() {
            Err(PushError::Closed(()))
        } else if !self.oracle.is_empty() && self.oracle.len() + bytes > LIMIT.max(self.oracle.len()) {
            Err(PushError::Full(()))
        } else {
            Ok(())
        }
    }

    fn pushed(
        &mut self,
        bytes: &[u8],
        expected: Result<(), PushError<()>>,
        answer: Result<(), PushError<Buffer>>,
    ) {
        match (expected, answer) {
            (Ok(()), Ok(())) => self.oracle.extend(bytes),
            (Err(expected), Err(answer)) => {
                assert_eq!(answer.is_full(), expected.is_full());
                assert_eq!(answer.into_inner().into_vec(), bytes, "the buffer comes back");
            }
            (expected, answer) => panic!("{answer:?} instead of {expected:?}"),
        }
    }

    fn buffer(&self, owner: Owner, bytes: &[u8]) -> Buffer {
        struct Lent(Vec<u8>, #[allow(dead_code, reason = "counts itself")] Arc<()>);
        impl AsRef<[u8]> for Lent {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        match owner {
            Owner::Vec => bytes.to_vec().into(),
            Owner::Slice => Box::<[u8]>::from(bytes).into(),
            Owner::Static => LETTERS[..bytes.len().min(LETTERS.len())].into(),
            #[cfg(feature = "bytes")]
            Owner::Other if bytes.len() % 2 == 0 => bytes::Bytes::copy_from_slice(bytes).into(),
            Owner::Other => Buffer::from_owner(Lent(bytes.to_vec(), self.owners.clone())),
        }
    }

    fn write(&mut self, call: Call) {
        let Some(mut writer) = self.writer.take() else { return };
        match call {
            Call::Push(owner, bytes, range) => {
                let mut buffer = self.buffer(owner, &bytes);
                let whole = buffer.to_vec();
                let fits = range.start <= range.end && range.end <= whole.len();
                assert_eq!(buffer.narrow(range.clone()), fits);
                let bytes = if fits { &whole[range] } else { &whole };
                assert_eq!((&*buffer, buffer.as_ref()), (bytes, bytes));
                let expected = self.admits(bytes.len());
                self.pushed(bytes, expected, writer.push(buffer));
            }
            Call::PushWait(bytes) => {
                let expected = self.admits(bytes.len());
                self.pushed(&bytes, expected, writer.push_wait(bytes.clone(), Some(Duration::ZERO)));
            }
            Call::Fill(bytes, most) => self.fill(&mut writer, &bytes, most),
            Call::FillFails => {
                let answer = writer.fill_from(&mut Narrow::new(0), 9);
                let expected = self.admits(1).map_or_else(refused, |()| ErrorKind::TimedOut);
                assert_eq!(answer.unwrap_err().kind(), expected);
            }
            Call::ArmWriter(bytes) => {
                self.room.arm();
                assert_eq!(writer.arm(bytes), self.admits(bytes).is_err_and(|refused| refused.is_full()));
            }
            Call::End => {
                assert_eq!(writer.end(), self.ending.is_none());
                self.ending = self.ending.or(Some(Ending::Ended));
            }
            Call::Fail(errno) => {
                let (error, ending) = match errno {
                    true => (io::Error::from_raw_os_error(28), Ending::Errno(28)),
                    false => (ErrorKind::TimedOut.into(), Ending::Kind(ErrorKind::TimedOut)),
                };
                assert_eq!(writer.fail(&error), self.ending.is_none());
                self.ending = self.ending.or(Some(ending));
            }
            Call::DropWriter => {
                self.ending = self.ending.or(Some(Ending::Kind(ErrorKind::UnexpectedEof)));
                return drop(writer);
            }
            _ => {}
        }
        self.writer = Some(writer);
    }

    fn fill(&mut self, writer: &mut chunked::Writer, source: &[u8], most: usize) {
        let room = LIMIT.saturating_sub(self.oracle.len()).max(1);
        let expected = self.admits(1).map(|()| source.len().min(most).min(room)).map_err(refused);
        assert_eq!(writer.fill_from(&mut &source[..], most).map_err(|error| error.kind()), expected);
        self.oracle.extend(&source[..expected.unwrap_or(0)]);
    }

    /// What a look at the first bytes must answer: how many of `most`, or the error.
    fn expected(&self, most: usize) -> Result<usize, (ErrorKind, Option<i32>)> {
        match self.ending {
            _ if !self.oracle.is_empty() || most == 0 => Ok(most.min(self.oracle.len())),
            None => Err((ErrorKind::WouldBlock, None)),
            Some(Ending::Ended) => Ok(0),
            Some(Ending::Kind(kind)) => Err((kind, None)),
            Some(Ending::Errno(errno)) => Err((io::Error::from_raw_os_error(errno).kind(), Some(errno))),
        }
    }

    fn look(&mut self, call: Call) {
        let Some(mut reader) = self.reader.take() else { return };
        match call {
            Call::Read(most) => {
                let mut target = vec![0; most];
                let answer = reader.read(&mut target).map_err(|error| (error.kind(), error.raw_os_error()));
                assert_eq!(answer, self.expected(most));
                let count = answer.unwrap_or(0);
                assert_eq!(target[..count], *self.oracle.drain(..count).collect::<Vec<_>>());
            }
            Call::FillBuf => {
                let expected = self.expected(1);
                match reader.fill_buf() {
                    Ok(bytes) => {
                        assert_eq!(Ok(usize::from(!bytes.is_empty())), expected);
                        assert!(self.oracle.starts_with(bytes));
                    }
                    Err(error) => assert_eq!(Err((error.kind(), error.raw_os_error())), expected),
                }
            }
            Call::Copy(offset, most) => {
                let mut target = vec![0; most];
                let count = reader.copy(offset, &mut target);
                let rest = self.oracle.get(offset..).unwrap_or_default();
                assert_eq!(target[..count], rest[..most.min(rest.len())]);
            }
            Call::Erase(count) => match reader.erase(count) {
                Ok(()) => drop(self.oracle.drain(..count)),
                Err(BeyondEnd { len }) => assert!(len == self.oracle.len() && count > len),
            },
            Call::Consume(count) => {
                let there = reader.len();
                reader.consume(count);
                self.oracle.drain(..count.min(there));
            }
            Call::Pop => match reader.pop() {
                Some(buffer) => {
                    let expected: Vec<u8> = self.oracle.drain(..buffer.len()).collect();
                    assert!(!buffer.is_empty());
                    assert_eq!(buffer.into_vec(), expected);
                }
                None => assert!(self.oracle.is_empty()),
            },
            Call::Walk => {
                let chunks: Vec<&[u8]> = reader.chunks().collect();
                assert!(chunks.iter().all(|chunk| !chunk.is_empty()));
                assert_eq!(chunks.concat(), self.oracle);
            }
            Call::Drain(room, vectored) => self.drain(&mut reader, room, vectored),
            Call::Wait => {
                let news = !self.oracle.is_empty() || self.ending.is_some();
                assert_eq!(reader.wait(Some(Duration::ZERO)), news);
            }
            Call::ArmReader => {
                self.bytes.arm();
                assert_eq!(reader.arm(), self.oracle.is_empty() && self.ending.is_none());
            }
            Call::DropReader => return drop(reader),
            _ => {}
        }
        self.reader = Some(reader);
    }

    fn drain(&mut self, reader: &mut chunked::Reader, room: usize, vectored: bool) {
        let mut target = Narrow::new(room);
        let drained = match vectored {
            false => reader.drain_into(&mut target),
            true => reader.drain_vectored(&mut target),
        };
        let expected = room.min(self.oracle.len());
        match drained {
            Ok(count) => assert_eq!(count, expected),
            Err(error) => assert!(error.kind() == ErrorKind::WouldBlock && room == 0),
        }
        assert_eq!(target.taken, self.oracle.drain(..expected).collect::<Vec<_>>());
    }

    /// One call, which may do nothing because that end is gone.
    pub fn call(&mut self, call: Call) {
        let before = (self.oracle.len(), self.ending, self.reader.is_some());
        match call {
            Call::Push(..) | Call::PushWait(_) | Call::Fill(..) | Call::FillFails | Call::ArmWriter(_) => {
                self.write(call)
            }
            Call::End | Call::Fail(_) | Call::DropWriter => self.write(call),
            call => self.look(call),
        }
        self.check(before);
    }

    /// Whoever asked was told of what changed since `before`, and both ends know what is there.
    fn check(&mut self, before: (usize, Option<Ending>, bool)) {
        let (len, ending, open) = before;
        self.bytes.check(self.oracle.len() > len || self.ending != ending);
        self.room.check(self.oracle.len() < len || self.reader.is_some() != open);
        let (len, closed) = (self.oracle.len(), self.ending.is_some() || self.reader.is_none());
        if let Some(writer) = &self.writer {
            assert_eq!((writer.len(), writer.is_empty(), writer.is_closed()), (len, len == 0, closed));
            assert_eq!((writer.limit(), writer.room()), (LIMIT, LIMIT.saturating_sub(len)));
        }
        if let Some(reader) = &mut self.reader {
            assert_eq!((reader.len(), reader.is_empty()), (len, len == 0));
            let state = match self.ending {
                None => State::Open,
                Some(Ending::Ended) => State::Ended,
                Some(_) => State::Failed,
            };
            assert_eq!(reader.state(), state);
        }
    }

    /// What is left is read, up to the end or the error. The owners of both streams are given back, to be counted.
    pub fn finish(mut self) -> Arc<()> {
        self.call(Call::End);
        if let Some(reader) = &mut self.reader {
            let mut rest = Vec::new();
            let end = reader.read_to_end(&mut rest);
            assert_eq!((rest, end.is_ok()), (self.oracle, self.ending == Some(Ending::Ended)));
        }
        self.owners
    }
}

/// The refusal of a push in the terms of `io`.
fn refused(error: PushError<()>) -> ErrorKind {
    if error.is_full() { ErrorKind::WouldBlock } else { ErrorKind::BrokenPipe }
}

/// All that is in one stream goes to the end of the other, or stays.
pub fn transfer(from: &mut Pair, to: &mut Pair) {
    let (Some(reader), Some(writer)) = (&mut from.reader, &mut to.writer) else { return };
    let answer = reader.transfer(writer);
    let before = [&*from, &*to].map(|pair| (pair.oracle.len(), pair.ending, pair.reader.is_some()));
    match to.admits(from.oracle.len()) {
        Ok(()) => {
            assert_eq!(answer, Ok(from.oracle.len()));
            to.oracle.append(&mut from.oracle);
        }
        Err(refused) => assert_eq!(answer, Err(refused)),
    }
    from.check(before[0]);
    to.check(before[1]);
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
        // A buffer may have gone over: both streams are gone before the owners are counted.
        let owners = [first.finish(), second.finish()];
        prop_assert!(owners.iter().all(|owners| Arc::strong_count(owners) == 1), "a buffer is left");
    }
}

#[test]
fn transfers_back_and_forth_do_not_nest() {
    let (mut left, mut right) = (Pair::new(), Pair::new());
    left.call(Call::PushWait(b"ping".to_vec()));
    for _ in 0..100_000 {
        transfer(&mut left, &mut right);
        transfer(&mut right, &mut left);
    }
    left.call(Call::Walk);
}
