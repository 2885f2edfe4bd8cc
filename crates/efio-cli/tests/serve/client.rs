//! Clients: curl, and the least that reads a response from a bare socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::support::Server;

/// curl, if there is one.
pub struct Curl;

impl Curl {
    /// Says so where there is none.
    pub fn find() -> Option<Self> {
        let found =
            Command::new("curl").arg("--version").output().is_ok_and(|output| output.status.success());
        if !found {
            println!("skipped: curl is not installed");
        }
        found.then_some(Self)
    }

    /// A curl without its user's settings, that gives up after a while.
    pub fn command(&self) -> Command {
        let mut command = Command::new("curl");
        command.args(["-q", "-sS", "--noproxy", "*", "--max-time", "50"]).stdin(Stdio::null());
        command
    }

    /// Runs curl and gives its exit code and the response, with its last head.
    pub fn run(&self, arguments: &[&str]) -> (i32, Response) {
        let output = self.command().arg("-i").args(arguments).output().expect("curl runs");
        let mut reader = BufReader::new(&output.stdout[..]);
        let mut response = Response::default();
        while let Some(head) = read_head(&mut reader) {
            response = head;
            if response.status != 100 {
                break;
            }
        }
        reader.read_to_end(&mut response.body).expect("a body");
        (output.status.code().unwrap_or(-1), response)
    }

    /// Runs curl; it must get a response.
    pub fn get(&self, arguments: &[&str]) -> Response {
        let (code, response) = self.run(arguments);
        assert_eq!(code, 0, "curl {arguments:?} got {response:?}");
        response
    }

    /// Runs curl; only the status counts.
    pub fn status(&self, arguments: &[&str]) -> u16 {
        self.run(arguments).1.status
    }
}

/// A response.
#[derive(Debug, Default)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

fn read_head(reader: &mut impl BufRead) -> Option<Response> {
    let mut head = String::new();
    loop {
        let from = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head[from..].trim_end().is_empty() {
            break;
        }
    }
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, head, body: Vec::new() })
}

/// Reads one response; `None` when the connection ended before one.
pub fn read_response(reader: &mut impl BufRead, has_body: bool) -> Option<Response> {
    let mut response = read_head(reader)?;
    let length = response.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    response.body = vec![0; if has_body { length } else { 0 }];
    reader.read_exact(&mut response.body).ok()?;
    Some(response)
}

/// Sends bytes over a connection of their own and gives the statuses of all answers until the server closes.
pub fn exchange(server: &Server, bytes: &[u8]) -> Vec<u16> {
    let mut socket = server.connect();
    // The server may close before it has read all of it.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(std::net::Shutdown::Write);
    statuses(socket)
}

/// The statuses of all answers until the server closes.
pub fn statuses(socket: TcpStream) -> Vec<u16> {
    let mut reader = BufReader::new(socket);
    std::iter::from_fn(|| read_response(&mut reader, true)).map(|response| response.status).collect()
}
