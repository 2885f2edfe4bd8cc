//! A target that takes little at a time, and a source that fails.

use std::io::{self, ErrorKind, Read, Write};

/// Takes `room` bytes, seven at a time, now and then interrupted, then would block. A read fails.
pub struct Narrow {
    room: usize,
    calls: usize,
    pub taken: Vec<u8>,
}

impl Narrow {
    pub const fn new(room: usize) -> Self {
        Self { room, calls: 0, taken: Vec::new() }
    }
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls % 3 == 0 {
            return Err(ErrorKind::Interrupted.into());
        }
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

impl Read for Narrow {
    fn read(&mut self, _target: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::TimedOut.into())
    }
}
