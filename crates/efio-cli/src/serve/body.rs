//! A request's body: where its data lie among the bytes received, and where it ends.

use crate::serve::chunked::{Decoder, Next};
use crate::serve::request::Framing;
use crate::serve::respond::Refusal;

/// The place in a body.
#[derive(Debug)]
pub enum Body {
    /// So many bytes are left.
    Length(u64),
    /// Until the last chunk.
    Chunked(Decoder),
}

impl Body {
    /// The start of a body; `None` where a request has none.
    pub fn new(framing: Framing) -> Option<Self> {
        match framing {
            Framing::None => None,
            Framing::Length(length) => Some(Self::Length(length)),
            Framing::Chunked => Some(Self::Chunked(Decoder::default())),
        }
    }

    /// What comes next in `bytes`; data only counts as taken by [`took`](Self::took).
    ///
    /// # Errors
    /// As [`Decoder::next`].
    pub fn next(&mut self, bytes: &[u8]) -> Result<Next, Refusal> {
        match self {
            Self::Length(0) => Ok(Next::End { skip: 0 }),
            Self::Length(_) if bytes.is_empty() => Ok(Next::More { skip: 0 }),
            Self::Length(left) => {
                let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                Ok(Next::Data { skip: 0, len })
            }
            Self::Chunked(decoder) => decoder.next(bytes),
        }
    }

    /// Bytes still to come that are data for certain: they may be received to where they belong.
    pub fn ahead(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(decoder) => decoder.ahead(),
        }
    }

    /// `count` bytes of the data shown were taken.
    pub fn took(&mut self, count: usize) {
        match self {
            Self::Length(left) => *left = left.saturating_sub(count as u64),
            Self::Chunked(decoder) => decoder.took(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_known_length_ends_there() {
        let mut body = Body::new(Framing::Length(5)).expect("a body");
        assert_eq!(body.next(b""), Ok(Next::More { skip: 0 }));
        assert_eq!(body.next(b"abc"), Ok(Next::Data { skip: 0, len: 3 }));
        body.took(2);
        assert_eq!(body.ahead(), 3);
        assert_eq!(body.next(b"cdeGET"), Ok(Next::Data { skip: 0, len: 3 }));
        body.took(3);
        assert_eq!(body.next(b"GET"), Ok(Next::End { skip: 0 }));
        assert!(Body::new(Framing::None).is_none());
    }
}
