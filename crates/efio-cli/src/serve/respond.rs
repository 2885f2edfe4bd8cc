//! Answers: status, head and short texts, as bytes for the wire.

use std::fmt::Write;
use std::time::SystemTime;

use efio::{Error, ErrorKind};

use crate::serve::date;

/// A status code of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

impl Status {
    /// The words that follow the number.
    pub fn phrase(self) -> &'static str {
        match self.0 {
            200 => "OK",
            201 => "Created",
            204 => "No Content",
            206 => "Partial Content",
            304 => "Not Modified",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            409 => "Conflict",
            411 => "Length Required",
            412 => "Precondition Failed",
            413 => "Content Too Large",
            414 => "URI Too Long",
            416 => "Range Not Satisfiable",
            417 => "Expectation Failed",
            431 => "Request Header Fields Too Large",
            500 => "Internal Server Error",
            501 => "Not Implemented",
            503 => "Service Unavailable",
            505 => "HTTP Version Not Supported",
            507 => "Insufficient Storage",
            _ => "Unknown",
        }
    }
}

/// A request that is not fulfilled: the status, and why in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code for programs.
    pub status: Status,
    /// The reason for people.
    pub reason: &'static str,
}

impl Refusal {
    /// A refusal by its code and reason.
    pub const fn new(status: u16, reason: &'static str) -> Self {
        Self { status: Status(status), reason }
    }

    /// What the client is told of an error of efio: what is the client's to know, and no paths.
    pub fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::TableFull | ErrorKind::WouldBlock => Self::new(503, "too many files are open"),
            ErrorKind::NotRegular => Self::new(409, "the name is taken by something that is not a file"),
            ErrorKind::Shutdown => Self::new(503, "the server is shutting down"),
            _ => error.raw_os_error().map_or(Self::new(500, "the file system failed"), Self::of_errno),
        }
    }

    fn of_errno(errno: i32) -> Self {
        match errno {
            libc::ENOSPC => Self::new(507, "the disk is full"),
            libc::EDQUOT => Self::new(507, "the quota is used up"),
            libc::ENOENT | libc::ENOTDIR => Self::new(404, "no such file or folder"),
            libc::ELOOP | libc::EXDEV => Self::new(404, "the name leads through a link"),
            libc::EACCES | libc::EPERM => Self::new(403, "the server may not do this"),
            libc::EROFS => Self::new(403, "the file system is read-only"),
            libc::EISDIR | libc::ENOTEMPTY => Self::new(409, "the name is taken by a folder"),
            libc::EEXIST => Self::new(412, "the file exists"),
            libc::EFBIG => Self::new(413, "larger than the file system allows"),
            libc::ENAMETOOLONG => Self::new(414, "the name is too long"),
            libc::EMFILE | libc::ENFILE | libc::ENOMEM => Self::new(503, "too many files are open"),
            _ => Self::new(500, "the file system failed"),
        }
    }
}

/// What follows the head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing, and the status says so (204, 304).
    None,
    /// A short text.
    Text(String),
    /// So many bytes of a file, sent after the head.
    Stream(u64),
}

/// A response before it is bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The code.
    pub status: Status,
    /// Further header lines, each ended by CR LF.
    pub fields: String,
    /// What follows the head.
    pub payload: Payload,
}

impl Response {
    /// A response without a body.
    pub fn bare(status: u16) -> Self {
        let payload = if matches!(status, 204 | 304) { Payload::None } else { Payload::Text(String::new()) };
        Self { status: Status(status), fields: String::new(), payload }
    }

    /// A response that a file's bytes follow.
    pub fn stream(status: u16, length: u64) -> Self {
        Self { status: Status(status), fields: String::new(), payload: Payload::Stream(length) }
    }

    /// A short answer of JSON that nobody keeps.
    pub fn json(text: String) -> Self {
        let fields = "Content-Type: application/json\r\nCache-Control: no-store\r\n".to_owned();
        Self { status: Status(200), fields, payload: Payload::Text(text) }
    }

    /// The same with one header line more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.fields, "{name}: {value}\r\n");
        self
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        let Refusal { status, reason } = refusal;
        let text = format!("{} {}: {reason}\n", status.0, status.phrase());
        Self { status, fields: "Content-Type: text/plain\r\n".to_owned(), payload: Payload::Text(text) }
    }
}

/// What a response says about the connection and the hour.
#[derive(Debug)]
pub struct Setting<'a> {
    /// The connection stays open after it.
    pub keep_alive: bool,
    /// The answer to HEAD: the body is described but not sent.
    pub head_only: bool,
    /// The hour, as a header has it.
    pub date: &'a str,
}

/// The bytes of a response, up to where a stream begins.
pub fn encode(response: &Response, setting: &Setting<'_>) -> Vec<u8> {
    let mut text = String::with_capacity(256);
    let Status(code) = response.status;
    // Writing to a String cannot fail.
    let _ = write!(text, "HTTP/1.1 {code} {}\r\nDate: {}\r\n", response.status.phrase(), setting.date);
    match &response.payload {
        Payload::None => {}
        Payload::Text(body) => {
            let _ = write!(text, "Content-Length: {}\r\n", body.len());
        }
        Payload::Stream(length) => {
            let _ = write!(text, "Content-Length: {length}\r\n");
        }
    }
    if !setting.keep_alive {
        text.push_str("Connection: close\r\n");
    }
    text.push_str(&response.fields);
    text.push_str("\r\n");
    if let (Payload::Text(body), false) = (&response.payload, setting.head_only) {
        text.push_str(body);
    }
    text.into_bytes()
}

/// The hour as a header has it, written anew once a second.
#[derive(Debug, Default)]
pub struct Clock {
    second: u64,
    text: String,
}

impl Clock {
    /// The hour `now`.
    pub fn text(&mut self, now: SystemTime) -> &str {
        let second = date::seconds(now);
        if self.second != second || self.text.is_empty() {
            self.second = second;
            self.text = date::format(now);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: &Response, keep_alive: bool, head_only: bool) -> String {
        let setting = Setting { keep_alive, head_only, date: "now" };
        String::from_utf8(encode(response, &setting)).expect("ASCII")
    }

    #[test]
    fn a_refusal_says_why() {
        let response = Response::from(Refusal::new(404, "no such file")).with("X-A", 1);
        assert_eq!(
            text(&response, true, false),
            "HTTP/1.1 404 Not Found\r\nDate: now\r\nContent-Length: 28\r\nContent-Type: text/plain\r\nX-A: 1\r\n\r\n\
             404 Not Found: no such file\n"
        );
        assert!(
            text(&response, false, true)
                .ends_with("Connection: close\r\nContent-Type: text/plain\r\nX-A: 1\r\n\r\n")
        );
    }

    #[test]
    fn no_content_has_no_length() {
        assert_eq!(text(&Response::bare(204), true, false), "HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n");
        assert_eq!(
            text(&Response::bare(201), true, false),
            "HTTP/1.1 201 Created\r\nDate: now\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn every_status_in_use_has_its_words() {
        for code in [
            200, 201, 204, 206, 304, 400, 403, 404, 405, 408, 409, 411, 412, 413, 414, 416, 417, 431, 500,
            501, 503, 505, 507,
        ] {
            assert_ne!(Status(code).phrase(), "Unknown", "{code}");
        }
    }

    #[test]
    fn a_full_disk_is_507() {
        assert_eq!(Refusal::of_errno(libc::ENOSPC).status, Status(507));
        assert_eq!(Refusal::of_errno(libc::EDQUOT).status, Status(507));
        assert_eq!(Refusal::of_errno(libc::EIO).status, Status(500));
    }
}
