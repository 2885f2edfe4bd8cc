//! An upload server with one mio loop for each core, all on one engine: each loop has an inbox of its own.
//!
//! Without arguments it uploads some files to itself and prints what came of them. A connection sends one file and closes
//! its side; the answer is a line when the file is closed, or why it is not.

use std::collections::HashMap;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use efio::{Efio, Events, Fd, OpenOptions, Wake};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Poll, Token};

const INBOX: Token = Token(0);
const LISTENER: Token = Token(1);
const UPLOADS: usize = 24;
const BYTES: usize = 1_000_000;

/// One connection and its file.
struct Upload {
    stream: TcpStream,
    fd: Fd,
    /// What was read from the socket and not taken by the file yet.
    rest: Vec<u8>,
    ended: bool,
}

/// One loop: its own poll, its own inbox, a listener that all loops share.
struct Server {
    poll: Poll,
    listener: TcpListener,
    /// The module as this loop sees it: what it opens, it hears of.
    efio: Efio,
    uploads: HashMap<usize, Upload>,
    folder: PathBuf,
}

static NUMBER: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

impl Server {
    fn new(efio: &Efio, listener: &std::net::TcpListener, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let poll = Poll::new()?;
        let efio = efio.with_inbox(&efio.new_inbox(Wake::descriptor())?)?;
        poll.registry().register(&mut efio.inbox(), INBOX, Interest::READABLE)?;
        let mut listener = TcpListener::from_std(listener.try_clone()?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { poll, listener, efio, uploads: HashMap::new(), folder: folder.to_path_buf() })
    }

    /// Serves until told to stop; gives how many files came this way.
    fn run(mut self) -> Result<usize, Box<dyn Error>> {
        let (mut ready, mut events) = (mio::Events::with_capacity(64), Events::with_capacity(64));
        let (mut next, mut served) = (2, 0);
        while !STOP.load(Ordering::Relaxed) {
            self.poll.poll(&mut ready, Some(std::time::Duration::from_millis(20)))?;
            for event in &ready {
                match event.token() {
                    LISTENER => self.accept(&mut next)?,
                    INBOX => {}
                    Token(number) => self.go_on(number),
                }
            }
            self.efio.events(&mut events)?;
            for event in &events {
                let number = event.token() as usize;
                if event.readiness().is_closed() {
                    if let Some(mut upload) = self.uploads.remove(&number) {
                        let answer = event.error().map_or("stored\n".into(), |error| format!("{error}\n"));
                        let _ = upload.stream.write_all(answer.as_bytes());
                        served += 1;
                    }
                } else {
                    self.go_on(number);
                }
            }
        }
        Ok(served)
    }

    fn accept(&mut self, next: &mut usize) -> Result<(), Box<dyn Error>> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.poll.registry().register(&mut stream, Token(*next), Interest::READABLE)?;
            let name = format!("upload-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            let options = OpenOptions::new().write(true).create_new(true).atomic(true).token(*next as u64);
            let fd = self.efio.ef_open(self.folder.join(name), &options)?;
            self.uploads.insert(*next, Upload { stream, fd, rest: Vec::new(), ended: false });
            *next += 1;
        }
    }

    /// From the socket to the file, until one of the two would block.
    fn go_on(&mut self, number: usize) {
        let Some(upload) = self.uploads.get_mut(&number).filter(|upload| !upload.ended) else { return };
        let mut buffer = [0; 64 << 10];
        loop {
            while !upload.rest.is_empty() {
                match self.efio.ef_write(upload.fd, &upload.rest) {
                    Ok(bytes) => drop(upload.rest.drain(..bytes)),
                    Err(error) if error.is_would_block() => return,
                    // The closed event says what went wrong.
                    Err(_) => return self.end(number, false),
                }
            }
            match upload.stream.read(&mut buffer) {
                Ok(0) => return self.end(number, true),
                Ok(bytes) => upload.rest.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.end(number, false),
            }
        }
    }

    /// Closes the file, or drops it; the closed event follows.
    fn end(&mut self, number: usize, whole: bool) {
        let Some(upload) = self.uploads.get_mut(&number) else { return };
        upload.ended = true;
        let fd = upload.fd;
        let _ = if whole { self.efio.ef_close(fd) } else { self.efio.ef_abort(fd) };
    }
}

/// Sends one file and waits for the answer.
fn upload(to: SocketAddr, number: usize) -> std::io::Result<String> {
    let mut stream = std::net::TcpStream::connect(to)?;
    stream.write_all(&vec![number as u8; BYTES])?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let efio = Efio::new()?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let loops = std::thread::available_parallelism()?.get().max(2);
    let mut servers = Vec::new();
    for _ in 0..loops {
        servers.push(Server::new(&efio, &listener, folder.path())?);
    }
    let (answers, served) = std::thread::scope(|scope| {
        let servers: Vec<_> = servers
            .into_iter()
            .map(|server| scope.spawn(move || server.run().map_err(|error| error.to_string())))
            .collect();
        let clients: Vec<_> =
            (0..UPLOADS).map(|number| scope.spawn(move || upload(address, number))).collect();
        let answers: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        STOP.store(true, Ordering::Relaxed);
        (answers, servers.into_iter().map(|server| server.join()).collect::<Vec<_>>())
    });
    for answer in answers {
        assert_eq!(answer.map_err(|_| "a client panicked")??, "stored\n");
    }
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path())? {
        let bytes = std::fs::read(entry?.path())?;
        assert!(
            bytes.len() == BYTES && bytes.iter().all(|byte| *byte == bytes[0]),
            "a file is not as it was sent"
        );
        files += 1;
    }
    assert_eq!(files, UPLOADS);
    for (number, served) in served.into_iter().enumerate() {
        println!("loop {number}: {} uploads", served.map_err(|_| "a loop panicked")??);
    }
    println!("{files} files of {BYTES} bytes, all as they were sent");
    Ok(())
}
