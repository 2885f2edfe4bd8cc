//! Lend: from a socket into a file and from a file to a socket, through a buffer of the program's and by lent memory.
//!
//! A lend spares the loop one copy each way. A pair of stream sockets carries the bytes; another thread is the client. What the
//! loop's thread costs for each GiB is the figure that the lend is for; the other one has the client and the engine in it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Instant;

use efio::{Efio, Fd, OpenOptions};

use crate::board::{Board, Measure, Verdict, median};
use crate::ours::Ours;
use crate::process::{self, Folder};
use crate::{Effort, Outcome};

/// Bytes of one read(2) or write(2) on the socket, as in `efio serve`.
const PIECE: usize = 64 << 10;
const GIB: f64 = (1 << 30) as f64;

const MEASURES: &[Measure] = &[median("loop CPU s/GiB"), median("all CPU s/GiB"), median("GB/s")];

/// One way to move bytes: what it is called, its variant with lent memory, and what moves them.
type Way = (&'static str, fn(&mut Ours, Fd, UnixStream, u64) -> Outcome<()>);

const RECEIVE: &str = "receive, by a buffer";
const RECEIVE_LENT: &str = "receive, lent";
const SEND: &str = "send, by a buffer";
const SEND_LENT: &str = "send, lent";

const RECEIVES: [Way; 2] = [(RECEIVE, receive), (RECEIVE_LENT, receive_lent)];
const SENDS: [Way; 2] = [(SEND, send), (SEND_LENT, send_lent)];

fn receive(ours: &mut Ours, fd: Fd, mut socket: UnixStream, bytes: u64) -> Outcome<()> {
    let (mut piece, mut left) = (vec![0; PIECE], bytes);
    while left > 0 {
        let read = socket.read(&mut piece)?;
        if read == 0 {
            return Err("the client ends too early".into());
        }
        let mut rest = &piece[..read];
        while !rest.is_empty() {
            match ours.efio.ef_write(fd, rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) if error.is_would_block() => {
                    ours.until(|event| event.readiness().is_writable())?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        left -= read as u64;
    }
    Ok(())
}

fn receive_lent(ours: &mut Ours, fd: Fd, socket: UnixStream, bytes: u64) -> Outcome<()> {
    let mut left = bytes;
    while left > 0 {
        match ours.efio.ef_lend_write(fd, 4096) {
            Ok(mut lend) => {
                let read = lend.receive(&socket, PIECE)?;
                if read == 0 {
                    return Err("the client ends too early".into());
                }
                lend.commit(read)?;
                left -= read as u64;
                continue;
            }
            Err(error) if error.is_would_block() => {}
            Err(error) => return Err(error.into()),
        }
        ours.until(|event| event.readiness().is_writable())?;
    }
    Ok(())
}

fn send(ours: &mut Ours, fd: Fd, mut socket: UnixStream, bytes: u64) -> Outcome<()> {
    let (mut piece, mut left) = (vec![0; PIECE], bytes);
    while left > 0 {
        match ours.efio.ef_read(fd, &mut piece) {
            Ok(0) => return Err("the file ends too early".into()),
            Ok(read) => {
                socket.write_all(&piece[..read])?;
                left -= read as u64;
            }
            Err(error) if error.is_would_block() => ours.until(|event| event.readiness().is_readable())?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn send_lent(ours: &mut Ours, fd: Fd, mut socket: UnixStream, bytes: u64) -> Outcome<()> {
    let mut left = bytes;
    while left > 0 {
        match ours.efio.ef_lend_read(fd) {
            Ok(lend) if lend.is_empty() => return Err("the file ends too early".into()),
            Ok(lend) => {
                let ready = lend.bytes();
                let sent = socket.write(&ready[..ready.len().min(PIECE)])?;
                left -= lend.consume(sent) as u64;
                continue;
            }
            Err(error) if error.is_would_block() => {}
            Err(error) => return Err(error.into()),
        }
        ours.until(|event| event.readiness().is_readable())?;
    }
    Ok(())
}

/// The client's half: `bytes` bytes are sent, or taken and thrown away.
fn client(mut socket: UnixStream, bytes: u64, sends: bool) -> io::Result<()> {
    let (mut piece, mut left) = (vec![b'l'; PIECE], bytes);
    while left > 0 {
        let step = left.min(PIECE as u64) as usize;
        if sends {
            socket.write_all(&piece[..step])?;
            left -= step as u64;
        } else {
            let read = socket.read(&mut piece[..step])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= read as u64;
        }
    }
    Ok(())
}

fn round(board: &mut Board, (name, move_all): Way, path: &Path, bytes: u64, sends: bool) -> Outcome<()> {
    let mut ours = Ours::new(Efio::builder())?;
    let options = OpenOptions::new();
    let options = if sends { options.write(true).create(true).truncate(true) } else { options.read(true) };
    let fd = ours.open(path, &options)?;
    let (near, far) = UnixStream::pair()?;
    let other = thread::spawn(move || client(far, bytes, sends));
    let (before, mine, begin) = (process::usage(), process::thread_ns(), Instant::now());
    move_all(&mut ours, fd, near, bytes)?;
    let (mine, seconds) = (process::thread_ns() - mine, begin.elapsed().as_secs_f64());
    other.join().map_err(|_| "the client panicked")??;
    ours.efio.ef_close(fd)?;
    ours.until(|event| event.readiness().is_closed())?;
    let all = process::usage().cpu_s - before.cpu_s;
    board.add(name, "loop CPU s/GiB", mine as f64 / 1e9 * GIB / bytes as f64);
    board.add(name, "all CPU s/GiB", all * GIB / bytes as f64);
    board.add(name, "GB/s", bytes as f64 / seconds / 1e9);
    if sends {
        let whole = std::fs::read(path)?;
        if whole.len() as u64 != bytes || whole.iter().any(|byte| *byte != b'l') {
            return Err("the file is not what was sent".into());
        }
    }
    Ok(())
}

/// Runs the workload.
pub fn run(folder: &Folder, effort: Effort) -> Outcome<Vec<Verdict>> {
    let mut board = Board::new("lend: a file and a socket, through a buffer and by lent memory", MEASURES);
    let path = folder.file("lend");
    let bytes = effort.of(1 << 30, 256 << 20);
    for _ in 0..effort.rounds {
        RECEIVES.into_iter().try_for_each(|way| round(&mut board, way, &path, bytes, true))?;
        SENDS.into_iter().try_for_each(|way| round(&mut board, way, &path, bytes, false))?;
    }
    std::fs::remove_file(&path)?;
    board.print();
    Ok(vec![
        board.at_most("lend, receive", "loop CPU s/GiB", RECEIVE_LENT, RECEIVE, 1.0),
        board.at_most("lend, send", "loop CPU s/GiB", SEND_LENT, SEND, 1.0),
    ])
}
