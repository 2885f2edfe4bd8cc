//! Client: transfers on connections of their own, small requests one after the other, and a process that keeps the disk busy.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::histogram::Histogram;

const PIECE: usize = 256 << 10;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// PUT.
    Upload,
    /// GET.
    Download,
}

/// Moves `each` bytes on each of `clients` connections; gives the seconds until the last answer.
pub fn transfer(way: Transfer, address: SocketAddr, clients: usize, each: u64) -> Outcome<f64> {
    let begin = Instant::now();
    thread::scope(|scope| {
        let running: Vec<_> =
            (0..clients).map(|number| scope.spawn(move || one(way, address, number, each))).collect();
        running.into_iter().try_for_each(|client| client.join().map_err(|_| "a client panicked")?)
    })?;
    Ok(begin.elapsed().as_secs_f64())
}

fn one(way: Transfer, address: SocketAddr, number: usize, bytes: u64) -> Outcome<()> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let mut piece: Vec<u8> = (0..PIECE).map(|place| (place * 7 + number) as u8).collect();
    if way == Transfer::Upload {
        write!(socket, "PUT /{number} HTTP/1.1\r\nHost: bench\r\nContent-Length: {bytes}\r\n\r\n")?;
        let mut left = bytes;
        while left > 0 {
            let step = left.min(PIECE as u64);
            socket.write_all(&piece[..step as usize])?;
            left -= step;
        }
        let (head, _) = answer(&mut socket)?;
        return accept(&head);
    }
    write!(socket, "GET /{number} HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let (head, body) = answer(&mut socket)?;
    accept(&head)?;
    let mut left = bytes - body as u64;
    while left > 0 {
        let read = socket.read(&mut piece)?;
        if read == 0 {
            return Err("a download ends too early".into());
        }
        left -= read as u64;
    }
    Ok(())
}

/// The head of an answer, and how many bytes of its body came with it.
fn answer(socket: &mut TcpStream) -> io::Result<(String, usize)> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            return Ok((head, bytes.len() - end - 4));
        }
        match socket.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&part[..read]),
        }
    }
}

fn accept(head: &str) -> Outcome<()> {
    if head.starts_with("HTTP/1.1 2") { Ok(()) } else { Err(format!("answered: {head}").into()) }
}

/// Uploads on each of `clients` connections, `each` bytes at a time, again and again until `time` is over; gives the bytes
/// and the seconds until the last answer.
pub fn keep_uploading(address: SocketAddr, clients: usize, each: u64, time: Duration) -> Outcome<(u64, f64)> {
    let begin = Instant::now();
    let upload = |number| -> Outcome<u64> {
        crate::process::give_way();
        let mut bytes = 0;
        while begin.elapsed() < time {
            one(Transfer::Upload, address, number, each)?;
            bytes += each;
        }
        Ok(bytes)
    };
    let bytes = thread::scope(|scope| {
        let upload = &upload;
        let running: Vec<_> = (0..clients).map(|number| scope.spawn(move || upload(number))).collect();
        running
            .into_iter()
            .try_fold(0, |sum, client| Outcome::Ok(sum + client.join().map_err(|_| "a client panicked")??))
    })?;
    Ok((bytes, begin.elapsed().as_secs_f64()))
}

/// Requests that come first and are not counted.
const WARM_UP: usize = 100;

/// HEAD of `target`, one a millisecond, until it is `over`: how long each took, in nanoseconds.
pub fn small_requests(
    address: SocketAddr,
    target: &str,
    status: &str,
    over: &AtomicBool,
) -> Outcome<Histogram> {
    crate::process::go_first();
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let request = format!("HEAD {target} HTTP/1.1\r\nHost: bench\r\n\r\n");
    let mut taken = Histogram::default();
    let mut count = 0;
    // ORDER: Relaxed: only says when to stop.
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        socket.write_all(request.as_bytes())?;
        let (head, _) = answer(&mut socket)?;
        if !head.starts_with(&format!("HTTP/1.1 {status}")) {
            return Err(format!("answered: {head}").into());
        }
        count += 1;
        if count > WARM_UP {
            taken.add(begin.elapsed().as_nanos() as u64);
        }
        thread::sleep(Duration::from_millis(1).saturating_sub(begin.elapsed()));
    }
    Ok(taken)
}

/// Another process writes so many MiB and makes them durable, again and again, until it is `over`.
pub fn busy_disk(path: &Path, mib: usize, over: &AtomicBool) -> Outcome<()> {
    // ORDER: Relaxed: as above.
    while !over.load(Ordering::Relaxed) {
        let status = Command::new("dd")
            .arg("if=/dev/zero")
            .arg(format!("of={}", path.display()))
            .args(["bs=1M", &format!("count={mib}"), "conv=fsync"])
            .stderr(Stdio::null())
            .status()?;
        if !status.success() {
            return Err("dd fails".into());
        }
    }
    std::fs::remove_file(path)?;
    Ok(())
}
