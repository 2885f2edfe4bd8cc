//! A buffer that somebody gave away: its bytes are read where they are, and freed by whoever is done with them.

use std::fmt;
use std::ops::{Deref, Range};

/// Who keeps the bytes.
enum Owner {
    Vec(Vec<u8>),
    Slice(Box<[u8]>),
    Static(&'static [u8]),
    #[cfg(feature = "bytes")]
    Bytes(bytes::Bytes),
    Other(Box<dyn AsRef<[u8]> + Send>),
}

impl Owner {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Vec(bytes) => bytes,
            Self::Slice(bytes) => bytes,
            Self::Static(bytes) => bytes,
            #[cfg(feature = "bytes")]
            Self::Bytes(bytes) => bytes,
            Self::Other(owner) => (**owner).as_ref(),
        }
    }
}

/// Bytes with their owner: made without a copy from a `Vec<u8>`, a `Box<[u8]>`, a `&'static [u8]`, a `Bytes` (feature
/// `bytes`), or by [`Buffer::from_owner`] from anything that lends bytes and can be sent.
///
/// ```
/// use efio::queue::chunked::Buffer;
///
/// let mut buffer = Buffer::from(b"<payload>".to_vec());
/// assert!(buffer.narrow(1..8));
/// assert_eq!(&*buffer, b"payload");
/// assert!(!buffer.narrow(0..8), "it has seven bytes now");
/// ```
pub struct Buffer {
    owner: Owner,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The bytes of `owner`, which is dropped when they have been used. It must lend the same bytes each time; if it
    /// lends fewer later, their use panics.
    pub fn from_owner(owner: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self::new(Owner::Other(Box::new(owner)))
    }

    fn new(owner: Owner) -> Self {
        let end = owner.bytes().len();
        Self { owner, start: 0, end }
    }

    /// Keeps only `range` of the bytes. False: it goes beyond them, and nothing changed.
    #[must_use = "false: the range goes beyond the bytes"]
    pub fn narrow(&mut self, range: Range<usize>) -> bool {
        if range.start > range.end || range.end > self.len() {
            return false;
        }
        (self.start, self.end) = (self.start + range.start, self.start + range.end);
        true
    }

    /// Forgets the first `count` bytes, of which there must be that many.
    pub(super) fn advance(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "an advance within the bytes");
        self.start += count;
    }

    /// The bytes as a vector: the one that was given, if it was given whole, else a copy.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        match self.owner {
            Owner::Vec(mut bytes) if self.start == 0 => {
                bytes.truncate(self.end);
                bytes
            }
            Owner::Slice(bytes) if self.start == 0 && self.end == bytes.len() => bytes.into_vec(),
            owner => owner.bytes()[self.start..self.end].to_vec(),
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner.bytes()[self.start..self.end]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(Owner::Vec(bytes))
    }
}

impl From<Box<[u8]>> for Buffer {
    fn from(bytes: Box<[u8]>) -> Self {
        Self::new(Owner::Slice(bytes))
    }
}

impl From<&'static [u8]> for Buffer {
    fn from(bytes: &'static [u8]) -> Self {
        Self::new(Owner::Static(bytes))
    }
}

#[cfg(feature = "bytes")]
impl From<bytes::Bytes> for Buffer {
    fn from(bytes: bytes::Bytes) -> Self {
        Self::new(Owner::Bytes(bytes))
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Buffer({} bytes)", self.end - self.start)
    }
}
