//! The chunked transfer coding (RFC 9112, 7.1), decoded strictly: anything doubtful is an error.
//!
//! ```text
//!            ;            CR LF
//!  Size ──────► Extension ──────► Data ─► DataCr ─► DataLf ─► Size
//!    │ CR                     │ size 0
//!    └──────► SizeLf ─────────┴─────► Trailer … empty line ─► Ended
//! ```
//!
//! Framing bytes are eaten as they come, so that nothing of them waits in a buffer; data bytes are shown and only
//! leave when the caller says how many it took.

use crate::serve::respond::Refusal;

/// The longest line that gives a chunk's size, with its extensions, in bytes.
const LINE_MAX: usize = 1024;
/// The most bytes of trailers, all lines together.
const TRAILERS_MAX: usize = 8192;

/// What comes next in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// After `skip` bytes of framing there are `len` bytes of data, at least one.
    Data {
        /// Framing before the data.
        skip: usize,
        /// Data at hand.
        len: usize,
    },
    /// All `skip` bytes were framing; more is needed.
    More {
        /// Framing eaten.
        skip: usize,
    },
    /// The body ended after `skip` bytes of framing.
    End {
        /// Framing eaten.
        skip: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { value: u64, digits: u32 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Ended,
}

/// The place in a chunked body.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of the size line, or of all trailers, so far.
    line: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Size { value: 0, digits: 0 }, line: 0 }
    }
}

impl Decoder {
    /// Eats framing and shows the data after it.
    ///
    /// # Errors
    /// 400 when the body is not well formed, 431 when its framing is too long.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Next, Refusal> {
        let mut skip = 0;
        loop {
            match self.state {
                State::Data { left } if skip < bytes.len() => {
                    let at_hand = bytes.len() - skip;
                    let len = usize::try_from(left).map_or(at_hand, |left| left.min(at_hand));
                    return Ok(Next::Data { skip, len });
                }
                State::Ended => return Ok(Next::End { skip }),
                _ => {}
            }
            let Some(&byte) = bytes.get(skip) else { return Ok(Next::More { skip }) };
            skip += 1;
            self.eat(byte)?;
        }
    }

    /// Bytes that are data before any framing comes again.
    pub fn ahead(&self) -> u64 {
        if let State::Data { left } = self.state { left } else { 0 }
    }

    /// `count` bytes of the data shown were taken.
    pub fn took(&mut self, count: usize) {
        if let State::Data { left } = self.state {
            let left = left.saturating_sub(count as u64);
            self.state = if left == 0 { State::DataCr } else { State::Data { left } };
        }
    }

    fn eat(&mut self, byte: u8) -> Result<(), Refusal> {
        const BAD: Refusal = Refusal::new(400, "the chunked body is not well formed");
        self.line += 1;
        let limit = match self.state {
            State::TrailerStart | State::Trailer | State::TrailerLf | State::EndLf => TRAILERS_MAX,
            _ => LINE_MAX,
        };
        if self.line > limit {
            return Err(Refusal::new(431, "the framing of the chunked body is too long"));
        }
        self.state = match (self.state, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).ok_or(BAD)?;
                if digits == 16 {
                    return Err(BAD);
                }
                State::Size { value: (value << 4) | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { value, digits: 1.. }, b';') => State::Extension { size: value },
            (State::Size { value, digits: 1.. }, b'\r') => State::SizeLf { size: value },
            (State::Extension { size }, b'\r') => State::SizeLf { size },
            (State::Extension { size }, b'\t' | b' '..=b'~' | 0x80..) => State::Extension { size },
            (State::SizeLf { size: 0 }, b'\n') => self.line_ends(State::TrailerStart),
            (State::SizeLf { size }, b'\n') => self.line_ends(State::Data { left: size }),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => self.line_ends(State::Size { value: 0, digits: 0 }),
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::Trailer, b'\t' | b' '..=b'~' | 0x80..) => State::Trailer,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Ended,
            _ => return Err(BAD),
        };
        Ok(())
    }

    fn line_ends(&mut self, next: State) -> State {
        self.line = 0;
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes in pieces of `step` bytes, taking at most `gulp` at a time; gives the data and what follows the body.
    fn decode(body: &[u8], step: usize, gulp: usize) -> Result<(Vec<u8>, Vec<u8>), u16> {
        let mut decoder = Decoder::default();
        let (mut data, mut held, mut rest) = (Vec::new(), Vec::new(), body);
        loop {
            match decoder.next(&held).map_err(|refusal| refusal.status.0)? {
                Next::Data { skip, len } => {
                    let len = len.min(gulp);
                    data.extend_from_slice(&held[skip..skip + len]);
                    decoder.took(len);
                    held.drain(..skip + len);
                }
                Next::More { skip } => {
                    held.drain(..skip);
                    if rest.is_empty() {
                        return Err(0);
                    }
                    let (piece, after) = rest.split_at(step.min(rest.len()));
                    held.extend_from_slice(piece);
                    rest = after;
                }
                Next::End { skip } => {
                    held.drain(..skip);
                    held.extend_from_slice(rest);
                    return Ok((data, held));
                }
            }
        }
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let body = b"5\r\nhello\r\n6;name=\"v\"\r\n world\r\n0A\r\n0123456789\r\n000\r\nTrailer: x\r\nOther: y\r\n\r\nGET /";
        for step in 1..body.len() {
            for gulp in [1, 3, 1000] {
                let decoded = decode(body, step, gulp);
                assert_eq!(
                    decoded,
                    Ok((b"hello world0123456789".to_vec(), b"GET /".to_vec())),
                    "{step} {gulp}"
                );
            }
        }
        assert_eq!(decode(b"0\r\n\r\n", 1, 1), Ok((Vec::new(), Vec::new())));
    }

    #[test]
    fn doubtful_framing_is_refused() {
        for body in [
            &b"\r\n"[..],
            b"g\r\n",
            b"-1\r\n",
            b"+1\r\na\r\n",
            b"0x5\r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"5\nhello\r\n",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\rX",
            b"5;a\nb\r\n",
            b"5;a\0\r\n",
            b"00000000000000005\r\n",
            b"FFFFFFFFFFFFFFFFF\r\n",
            b"0\r\nA\n\r\n",
            b"0\r\n\rX",
        ] {
            assert_eq!(decode(body, 1000, 1000), Err(400), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn framing_has_its_limits() {
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(2000));
        assert_eq!(decode(long.as_bytes(), 100, 100), Err(431));
        let trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(2000));
        assert_eq!(decode(trailers.as_bytes(), 100, 100), Err(431));
        assert_eq!(decode(b"FFFFFFFFFFFFFFFF\r\nabc", 100, 100), Err(0), "the largest size is a size");
    }
}
