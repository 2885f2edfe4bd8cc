//! One client's socket, with what was received ahead of its use and what could not be sent yet.
//!
//! Readiness is edge-like: a flag stays up until the socket itself says `WouldBlock`, so no edge is ever lost,
//! however long the connection waits for its turn.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use efio::{ReadLend, WriteLend};
use mio::net::TcpStream;

use crate::serve::pending::Pending;

/// What came of trying to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing for now.
    Blocked,
    /// The client sends no more, or is gone.
    Ended,
}

/// What came of trying to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing waits any more.
    All,
    /// The socket takes no more for now.
    Blocked,
    /// The client is gone.
    Gone,
}

/// Pieces of a lend that one call sends.
const LENT_PIECES: usize = 4;

/// A client's socket and its buffers.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
    readable: bool,
    writable: bool,
    /// Received and not yet used: at most one piece and one head.
    pub input: Pending,
    /// To be sent: at most one piece and one head.
    pub output: Pending,
    /// Bytes received so far.
    pub received: u64,
    /// Bytes sent so far.
    pub sent: u64,
}

impl Wire {
    /// A socket as it was accepted.
    pub fn new(socket: TcpStream) -> Self {
        // Refused only where the socket is dead already, which the first read tells.
        let _ = socket.set_nodelay(true);
        let (input, output) = (Pending::default(), Pending::default());
        Self { socket, readable: true, writable: true, input, output, received: 0, sent: 0 }
    }

    /// The socket, to register it.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// The poll has news of the socket.
    pub fn on_edge(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// The socket may have something.
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// The socket may take something.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Receives into `into`, once.
    pub fn receive(&mut self, into: &mut [u8]) -> Received {
        self.receive_by(|socket| socket.read(into))
    }

    /// Receives at most `most` bytes into the memory of a file, once.
    pub fn receive_lent(&mut self, into: &mut WriteLend<'_>, most: usize) -> Received {
        self.receive_by(|socket| into.receive(socket, most))
    }

    fn receive_by(&mut self, mut receive: impl FnMut(&mut TcpStream) -> io::Result<usize>) -> Received {
        while self.readable {
            match receive(&mut self.socket) {
                Ok(0) => return Received::Ended,
                Ok(count) => {
                    self.received += count as u64;
                    return Received::Bytes(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(_) => return Received::Ended,
            }
        }
        Received::Blocked
    }

    /// Sends what waits.
    pub fn flush(&mut self) -> Sent {
        self.send(&[])
    }

    /// Sends what waits and then `piece`; what the socket does not take of it waits from now on.
    pub fn send(&mut self, mut piece: &[u8]) -> Sent {
        while self.writable && !(self.output.is_empty() && piece.is_empty()) {
            let slices = [IoSlice::new(self.output.as_slice()), IoSlice::new(piece)];
            match self.socket.write_vectored(&slices) {
                Ok(count) => {
                    self.sent += count as u64;
                    let waited = count.min(self.output.len());
                    self.output.consume(waited);
                    piece = &piece[count - waited..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => return Sent::Gone,
            }
        }
        self.output.append(piece);
        if self.output.is_empty() { Sent::All } else { Sent::Blocked }
    }

    /// Sends what waits and then the first `most` bytes of the lent ones; gives how many of these are sent, which may be none.
    /// `None`: the client is gone.
    pub fn send_lent(&mut self, lent: &ReadLend<'_>, most: usize) -> Option<usize> {
        while self.writable {
            let mut slices = [IoSlice::new(&[]); 1 + LENT_PIECES];
            slices[0] = IoSlice::new(self.output.as_slice());
            let mut room = most;
            for (slice, piece) in slices[1..].iter_mut().zip(lent.pieces()) {
                *slice = IoSlice::new(&piece[..piece.len().min(room)]);
                room -= slice.len();
            }
            match self.socket.write_vectored(&slices) {
                Ok(count) => {
                    self.sent += count as u64;
                    let waited = count.min(self.output.len());
                    self.output.consume(waited);
                    return Some(count - waited);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => return None,
            }
        }
        Some(0)
    }

    /// Tells the client that nothing more follows, and hears it out.
    pub fn end_sending(&mut self) {
        // Refused only when the client is gone already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}
