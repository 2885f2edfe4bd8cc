//! The end: running requests may finish, what cannot leaves nothing.

use std::fs;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::read_response;
use crate::support::{PATIENCE, Server, noise};

/// Begins an upload of 4 MB and sends half of it.
fn half_an_upload(server: &Server) -> BufReader<TcpStream> {
    let mut reader = BufReader::new(server.connect());
    let socket = reader.get_mut();
    write!(socket, "PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4000000\r\n\r\n")
        .expect("sent");
    assert_eq!(read_response(&mut reader, false).expect("an answer").status, 100);
    reader.get_mut().write_all(&noise(1, 4_000_000)[..2_000_000]).expect("sent");
    reader
}

/// Waits for the end of a connection; one that was never accepted ends with a reset.
fn is_let_go(socket: &mut TcpStream) -> bool {
    match socket.read(&mut [0; 10]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_running_upload_may_finish() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start_at(folder.path(), &["--grace", "20"]);
        let mut reader = half_an_upload(&server);
        let mut idle = server.connect();
        server.signal(signal);
        assert!(is_let_go(&mut idle), "who is not served is let go");
        reader.get_mut().write_all(&noise(1, 4_000_000)[2_000_000..]).expect("sent");
        let response = read_response(&mut reader, true).expect("an answer");
        assert_eq!((response.status, response.header("connection")), (201, Some("close")));
        drop(reader);
        let ended = server.wait();
        assert_eq!((ended.code, ended.total("stored"), ended.total("aborted")), (Some(0), 1, 0), "{ended:?}");
        assert!(fs::read(folder.path().join("a")).expect("stored") == noise(1, 4_000_000));
    }
}

#[test]
fn an_upload_that_does_not_finish_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_at(folder.path(), &["--grace", "0.2"]);
    server.put("kept", b"old");
    let mut reader = half_an_upload(&server);
    thread::sleep(Duration::from_millis(50));
    server.signal(Signal::SIGTERM);
    let ended = server.wait();
    assert_eq!((ended.code, ended.total("stored"), ended.total("aborted")), (Some(0), 0, 1), "{ended:?}");
    assert!(read_response(&mut reader, true).is_none());
    let names: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["kept"]);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Server::start(&["--grace", "1000"]);
    let _reader = half_an_upload(&server);
    let mut idle = server.connect();
    server.signal(Signal::SIGTERM);
    assert!(is_let_go(&mut idle));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, Some(128 + Signal::SIGTERM as i32));
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let taken = Server::start(&[]);
    let root = taken.root.to_str().expect("text");
    for arguments in [
        &["--root", "/no/such/folder", "--bind", "127.0.0.1:0"][..],
        &["--root", root, "--bind", &taken.address.to_string()],
        &["--root", root, "--bind", "127.0.0.1:0", "--memory", "1M"],
        &["--root", root, "--bind", "127.0.0.1:0", "--header-limit", "10"],
    ] {
        let (code, words) = ends(arguments);
        assert!(code == Some(1) && words.starts_with("efio: "), "{arguments:?}: {code:?} {words}");
    }
    let (code, words) = ends(&["--no-such-option"]);
    assert!(code == Some(2) && words.contains("Usage"), "{words}");
    taken.stop();
}

/// Runs a server that must end by itself; its exit code and its words.
fn ends(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_efio"));
    let mut child = command.arg("serve").args(arguments).stderr(Stdio::piped()).spawn().expect("it runs");
    let start = Instant::now();
    while child.try_wait().expect("a status").is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().expect("it is there");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("it ended");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
