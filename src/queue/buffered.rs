//! `Write` over a chunked stream: bytes are collected in a put area, which is handed over whole, framed in place.
//!
//! ```text
//!  ┌─ before ─┬────────── block ──────────┬─ after ─┐
//!  │     "7\r\n"  payload …               "\r\n"    │       one vector: no byte moves when it is framed
//!  └──────────┴───────────────────────────┴─────────┘
//! ```
//!
//! A block is what has been written when the area is full, or at a flush. Before it goes to the stream, a [`Framing`] may
//! put bytes into the room reserved on both sides of it. The reading end is the stream's own
//! [`Reader`], which is `Read` and `BufRead`; [`Buffered`] is both ends in one value.

use super::chunked::{self, Buffer, Reader, refusal};
use std::fmt;
use std::io::{self, BufRead, Read, Write};

/// How a put area is laid out, in bytes.
///
/// ```
/// use efio::queue::buffered::Layout;
///
/// let layout = Layout { block: 16 << 10, max_len: 1 << 20, ..Layout::default() };
/// assert_eq!((layout.before, layout.after), (0, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The most content of one block; 0 means 1.
    pub block: usize,
    /// Room kept before each block.
    pub before: usize,
    /// Room kept after each block.
    pub after: usize,
    /// The most content of all blocks together.
    pub max_len: u64,
}

impl Default for Layout {
    /// Blocks of 4 KiB, no room around them, no limit.
    fn default() -> Self {
        Self { block: 4 << 10, before: 0, after: 0, max_len: u64::MAX }
    }
}

/// A block on its way to the stream: the content, and what of the room around it is not used yet.
pub struct Block {
    area: Vec<u8>,
    start: usize,
    content: usize,
    end: usize,
    limit: usize,
}

impl Block {
    /// What was written.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.area[self.content..self.end]
    }

    /// Puts `bytes` before everything that is there. False: the room before is too small; nothing changed.
    #[must_use = "false: the room is too small"]
    pub fn put_before(&mut self, bytes: &[u8]) -> bool {
        let Some(start) = self.start.checked_sub(bytes.len()) else { return false };
        self.area[start..self.start].copy_from_slice(bytes);
        self.start = start;
        true
    }

    /// Puts `bytes` after everything that is there. False: the room after is too small; nothing changed.
    #[must_use = "false: the room is too small"]
    pub fn put_after(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.limit - self.area.len() {
            return false;
        }
        self.area.extend_from_slice(bytes);
        true
    }

    fn into_buffer(self) -> Buffer {
        let (start, end) = (self.start, self.area.len());
        let mut buffer = Buffer::from(self.area);
        let narrowed = buffer.narrow(start..end);
        debug_assert!(narrowed, "a block lies within its area");
        buffer
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Block({} bytes)", self.content().len())
    }
}

/// What is put around each block, and behind the last.
pub trait Framing {
    /// Frames one block, whose content is not empty. It uses the room of the [`Layout`] that it asks for.
    fn frame(&mut self, block: &mut Block);

    /// What comes behind the last block, before the end of the stream.
    fn trailer(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

/// No frame: the stream is the bytes that were written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Framing for Plain {
    fn frame(&mut self, _block: &mut Block) {}
}

/// The chunked transfer coding of HTTP/1.1 (RFC 9112, section 7.1): the length in hexadecimal, the block, a line end.
///
/// ```
/// use efio::queue::buffered::{Http, Layout, Writer};
/// use efio::queue::chunked;
/// use std::io::{Read, Write};
///
/// let (stream, mut reader) = chunked::stream(1 << 20);
/// let mut body = Writer::new(stream, Http::layout(Layout::default()), Http);
/// body.write_all(b"Wikipedia in\r\n\r\nchunks.")?;
/// body.finish()?;
/// let mut sent = String::new();
/// reader.read_to_string(&mut sent)?;
/// assert_eq!(sent, "17\r\nWikipedia in\r\n\r\nchunks.\r\n0\r\n\r\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Http;

impl Http {
    /// `layout` with the room that this framing uses.
    #[must_use]
    pub fn layout(layout: Layout) -> Layout {
        Layout { before: 18, after: 2, ..layout }
    }
}

impl Framing for Http {
    fn frame(&mut self, block: &mut Block) {
        let length = format!("{:x}\r\n", block.content().len());
        let framed = block.put_before(length.as_bytes()) && block.put_after(b"\r\n");
        debug_assert!(framed, "the layout of this framing has room for it");
    }

    fn trailer(&mut self) -> Vec<u8> {
        b"0\r\n\r\n".to_vec()
    }
}

/// Where [`Writer::finish`] has got to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Open,
    /// Nothing more is written, and the last block waits.
    Last,
    /// The trailer is made, and waits like a block.
    Trailer,
    Done,
}

/// [`Write`] over the writing end of a chunked stream.
///
/// Like a socket that does not block: a write takes what fits, and answers `WouldBlock` when the put area and the stream
/// are full; see [`Writer::arm`] for the event. A writer that is dropped without [`Writer::finish`] cuts the
/// stream off, which its reader is told; what was not flushed is lost.
pub struct Writer<F = Plain> {
    stream: chunked::Writer,
    layout: Layout,
    framing: F,
    /// Empty room, then content. Not allocated while nothing is written.
    area: Vec<u8>,
    /// A framed block that the stream had no room for.
    waiting: Option<Buffer>,
    taken: u64,
    ending: Ending,
}

impl<F: Framing> Writer<F> {
    /// A writer to `stream`, with blocks laid out by `layout` and framed by `framing`.
    pub fn new(stream: chunked::Writer, layout: Layout, framing: F) -> Self {
        let layout = Layout { block: layout.block.max(1), ..layout };
        Self { stream, layout, framing, area: Vec::new(), waiting: None, taken: 0, ending: Ending::Open }
    }

    /// Flushes, adds the trailer of the framing, and ends the stream. Again after that it changes nothing.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the stream has no room: call it again; from then on writes are refused. `BrokenPipe` if
    /// the reader is gone.
    pub fn finish(&mut self) -> io::Result<()> {
        if self.ending == Ending::Open {
            self.ending = Ending::Last;
        }
        if self.ending == Ending::Last {
            self.flush()?;
            let trailer = self.framing.trailer();
            self.waiting = Some(trailer.into());
            self.ending = Ending::Trailer;
        }
        if self.ending == Ending::Trailer {
            self.send_waiting()?;
            self.stream.end();
            self.ending = Ending::Done;
        }
        Ok(())
    }

    /// The content written so far, in bytes.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.taken
    }

    /// The stream below: to look at its room, to end it with an error.
    pub fn stream_mut(&mut self) -> &mut chunked::Writer {
        &mut self.stream
    }

    /// Asks for one signal when the reader has erased something. False: what was refused has an answer now, other than
    /// `WouldBlock`.
    #[must_use = "false: write, flush or finish now"]
    pub fn arm(&mut self) -> bool {
        let bytes = self.waiting.as_ref().map_or(0, |block| block.len());
        self.stream.arm(bytes)
    }

    /// The content in the put area.
    fn collected(&self) -> usize {
        self.area.len().saturating_sub(self.layout.before)
    }

    fn send_waiting(&mut self) -> io::Result<()> {
        let Some(buffer) = self.waiting.take() else { return Ok(()) };
        self.stream.push(buffer).map_err(|refused| {
            let error = refusal(&refused);
            // Kept also where there will never be room: no later call may say that all is well.
            self.waiting = Some(refused.into_inner());
            error
        })
    }

    /// Frames the put area and hands it over.
    fn send_area(&mut self) -> io::Result<()> {
        self.send_waiting()?;
        if self.collected() == 0 {
            return Ok(());
        }
        let (before, after) = (self.layout.before, self.layout.after);
        let area = std::mem::take(&mut self.area);
        let end = area.len();
        let mut block = Block { area, start: before, content: before, end, limit: end.saturating_add(after) };
        self.framing.frame(&mut block);
        self.waiting = Some(block.into_buffer());
        self.send_waiting()
    }
}

impl<F: Framing> Write for Writer<F> {
    /// # Errors
    ///
    /// `WouldBlock` if nothing fits; `FileTooLarge` at the limit of the layout; `BrokenPipe` after the end.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.ending != Ending::Open || self.stream.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let left = usize::try_from(self.layout.max_len - self.taken).unwrap_or(usize::MAX);
        if left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if self.collected() == self.layout.block {
            self.send_area()?;
        }
        if self.area.is_empty() {
            self.area.reserve_exact(self.layout.before + self.layout.block + self.layout.after);
            self.area.resize(self.layout.before, 0);
        }
        let count = bytes.len().min(self.layout.block - self.collected()).min(left);
        self.area.extend_from_slice(&bytes[..count]);
        self.taken += count as u64;
        if self.collected() == self.layout.block {
            match self.send_area() {
                // The block waits, framed; the next write or flush meets the refusal again.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(count)
    }

    /// Hands over what was written, as a block of its own.
    fn flush(&mut self) -> io::Result<()> {
        self.send_area()
    }
}

impl<F> fmt::Debug for Writer<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Writer").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// Both ends of a stream in one value: what is written and flushed can be read.
///
/// ```
/// use efio::queue::buffered::{Buffered, Layout, Plain};
/// use std::io::{BufRead, Write};
///
/// let mut stream = Buffered::new(1 << 20, Layout::default(), Plain);
/// stream.write_all(b"one\ntwo\n")?;
/// stream.flush()?;
/// let mut line = String::new();
/// stream.read_line(&mut line)?;
/// assert_eq!(line, "one\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Buffered<F = Plain> {
    writer: Writer<F>,
    reader: Reader,
}

impl<F: Framing> Buffered<F> {
    /// A stream that holds up to `limit` bytes.
    pub fn new(limit: usize, layout: Layout, framing: F) -> Self {
        let (stream, reader) = chunked::stream(limit);
        Self { writer: Writer::new(stream, layout, framing), reader }
    }

    /// The two ends.
    pub fn split(self) -> (Writer<F>, Reader) {
        (self.writer, self.reader)
    }

    /// The end that writes.
    pub fn writer_mut(&mut self) -> &mut Writer<F> {
        &mut self.writer
    }

    /// The end that reads.
    pub fn reader_mut(&mut self) -> &mut Reader {
        &mut self.reader
    }
}

impl<F: Framing> Write for Buffered<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl<F> Read for Buffered<F> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.reader.read(target)
    }
}

impl<F> BufRead for Buffered<F> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.reader.consume(count);
    }
}
