//! The listening socket: who comes in, and when the door stays shut.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

/// How long to wait when the system has no descriptor or memory for another socket.
const PAUSE: Duration = Duration::from_millis(100);

/// The listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    ready: bool,
    paused_until: Option<Instant>,
}

impl Listener {
    /// Listens on the first address that works of those the name stands for.
    ///
    /// # Errors
    /// The last one of the system's own.
    pub fn bind(address: &str) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name stands for no address");
        for address in address.to_socket_addrs()? {
            match TcpListener::bind(address) {
                Ok(socket) => return Ok(Self { socket, ready: true, paused_until: None }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's own.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Has the poll watch it.
    ///
    /// # Errors
    /// The system's own.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    /// The poll has news of it.
    pub fn on_edge(&mut self) {
        self.ready = true;
    }

    /// When accepting is worth a try; `None`: not before an edge.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.ready.then(|| self.paused_until.unwrap_or(now))
    }

    /// The next client that waits.
    pub fn accept(&mut self, now: Instant) -> Option<TcpStream> {
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        while self.ready {
            match self.socket.accept() {
                Ok((socket, _)) => return Some(socket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
                Err(error) if is_of_one_client(&error) => {}
                Err(_) => {
                    self.paused_until = Some(now + PAUSE);
                    return None;
                }
            }
        }
        None
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
