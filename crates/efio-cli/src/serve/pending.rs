//! Bytes that wait: received and not yet used, or to be sent and not yet taken.

/// A buffer over this size is given back when it is empty, so that an idle connection holds next to nothing.
const KEEP_MAX: usize = 4096;

/// A queue of bytes. Whoever appends keeps it within bounds.
#[derive(Debug, Default)]
pub struct Pending {
    bytes: Vec<u8>,
    start: usize,
}

impl Pending {
    /// The bytes, oldest first.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// No byte waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds bytes behind the others.
    pub fn append(&mut self, more: &[u8]) {
        if self.start > 0 && self.bytes.len() + more.len() > self.bytes.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(more);
    }

    /// The oldest `count` bytes are done with.
    pub fn consume(&mut self, count: usize) {
        self.start += count.min(self.len());
        if self.start == self.bytes.len() {
            self.clear();
        }
    }

    /// All bytes are done with.
    pub fn clear(&mut self) {
        self.start = 0;
        if self.bytes.capacity() > KEEP_MAX {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let mut pending = Pending::default();
        pending.append(b"hello ");
        pending.append(b"world");
        pending.consume(4);
        assert_eq!(pending.as_slice(), b"o world");
        pending.append(&[b'!'; 100]);
        assert_eq!(&pending.as_slice()[..8], b"o world!");
        pending.consume(1000);
        assert!(pending.is_empty());
    }

    #[test]
    fn an_empty_buffer_holds_little() {
        let mut pending = Pending::default();
        pending.append(&[0; 100_000]);
        pending.consume(100_000);
        assert_eq!(pending.bytes.capacity(), 0);
    }
}
