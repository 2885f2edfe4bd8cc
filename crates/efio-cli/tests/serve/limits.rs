//! Limits: of size, of time, of connections, of memory.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::time::{Duration, Instant};

use crate::client::{Curl, exchange, read_response, statuses};
use crate::support::{PATIENCE, Server, noise};

#[test]
fn larger_than_allowed_is_refused_early() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&["--max-size", "100K"]);
    let folder = tempfile::tempdir().expect("a folder");
    let fits = folder.path().join("fits");
    let more = folder.path().join("more");
    fs::write(&fits, noise(1, 102_400)).expect("a file");
    fs::write(&more, noise(1, 102_401)).expect("a file");
    let (fits, more) = (fits.to_str().expect("text"), more.to_str().expect("text"));
    let chunked = ["-H", "Transfer-Encoding: chunked"];
    for (path, status) in [(fits, 201), (more, 413)] {
        assert_eq!(curl.status(&["-T", path, &server.url(&format!("{status}-length"))]), status);
        let url = server.url(&format!("{status}-chunked"));
        assert_eq!(curl.status(&[&["-T", path, &url], &chunked[..]].concat()), status);
    }
    let big = folder.path().join("big");
    fs::write(&big, noise(2, 50_000_000)).expect("a file");
    for arguments in [&["-H", "Expect:"][..], &chunked] {
        let url = server.url("big");
        let arguments = [&["-T", big.to_str().expect("text"), &url], arguments].concat();
        assert_eq!(curl.status(&arguments), 413, "a client that sends on still sees the answer");
    }
    server.holds(&["201-chunked", "201-length"]);
    server.stop();
}

#[test]
fn nobody_is_asked_to_send_what_will_be_refused() {
    let server = Server::start(&["--max-size", "10"]);
    for (head, status) in [
        ("PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n", 413),
        ("PUT /none/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", 404),
        ("PUT /../a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", 400),
    ] {
        let mut socket = server.connect();
        socket.write_all(head.as_bytes()).expect("sent");
        let response = read_response(&mut BufReader::new(socket), true).expect("an answer");
        assert_eq!((response.status, response.header("connection")), (status, Some("close")), "{head}");
    }
    let mut socket = BufReader::new(server.connect());
    write!(
        socket.get_mut(),
        "PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    )
    .expect("sent");
    assert_eq!(read_response(&mut socket, false).expect("an answer").status, 100);
    socket.get_mut().write_all(b"hello").expect("sent");
    assert_eq!(read_response(&mut socket, true).expect("an answer").status, 201);
    server.stop();
}

#[test]
fn a_client_that_is_too_slow_is_given_up() {
    let server = Server::start(&["--idle-timeout", "0.3"]);
    for (sent, expected) in [
        (&b""[..], &[][..]),
        (b"GET /a HTT", &[408]),
        (b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello", &[408]),
        (b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", &[408]),
        (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", &[404]),
    ] {
        let mut socket = server.connect();
        socket.write_all(sent).expect("sent");
        assert_eq!(statuses(socket), expected, "{}", sent.escape_ascii());
    }
    server.holds(&[]);
    server.stop();
}

#[test]
fn a_head_has_no_more_time_when_it_drips() {
    let server = Server::start(&["--idle-timeout", "0.5"]);
    let mut socket = server.connect();
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let start = Instant::now();
    let mut answer = Vec::new();
    let mut piece = [0; 1000];
    write!(socket, "GET /a HTTP/1.1\r\nHost: x\r\nA: ").expect("sent");
    while start.elapsed() < PATIENCE {
        let _ = socket.write_all(b"a");
        match socket.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    server.stop();
}

#[test]
fn a_client_too_many_is_told_so() {
    let server = Server::start(&["--max-connections", "2"]);
    server.put("a", b"x");
    let mut held: Vec<_> = (0..2).map(|_| BufReader::new(server.connect())).collect();
    for reader in &mut held {
        write!(reader.get_mut(), "GET /a HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        assert_eq!(read_response(reader, true).expect("an answer").status, 200);
    }
    for _ in 0..5 {
        assert_eq!(exchange(&server, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), [503]);
    }
    for reader in &mut held {
        write!(reader.get_mut(), "GET /a HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        assert_eq!(read_response(reader, true).expect("an answer").status, 200);
    }
    drop(held);
    let start = Instant::now();
    while exchange(&server, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n") != [200] {
        assert!(start.elapsed() < PATIENCE, "there is no room after others left");
    }
    server.stop();
}

#[test]
fn little_memory_only_makes_uploads_wait() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&["--memory", "4M"]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("body");
    let bytes = noise(3, 20_000_000);
    fs::write(&path, &bytes).expect("a file");
    let children: Vec<_> = (0..8)
        .map(|number| {
            curl.command().arg("-T").arg(&path).arg(server.url(&format!("f{number}"))).spawn().expect("curl")
        })
        .collect();
    for (number, mut child) in children.into_iter().enumerate() {
        assert!(child.wait().expect("curl ends").success());
        assert!(fs::read(server.root.join(format!("f{number}"))).expect("stored") == bytes, "f{number}");
    }
    let ended = server.stop();
    assert_eq!(ended.total("stored"), 8, "{ended:?}");
}
