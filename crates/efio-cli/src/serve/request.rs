//! The head of a request: parsed by httparse, then held against the rules that keep requests apart.
//!
//! Where a body begins and ends must never be a matter of opinion: a length and a transfer coding together, two
//! lengths that differ, a coding that is not known, are all refused.

use httparse::{Header, Status as Parse};

use crate::serve::respond::Refusal;

/// The most header lines of one request.
const HEADERS_MAX: usize = 64;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Send a file.
    Get,
    /// Say what GET would send.
    Head,
    /// Store a file; PUT and POST do the same here.
    Put,
    /// Remove a file.
    Delete,
    /// Anything else.
    Other,
}

/// How the end of the body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// By the last chunk.
    Chunked,
}

/// A request without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What is asked for.
    pub method: Method,
    /// The method's own word, for the log.
    pub word: String,
    /// The target as it was sent.
    pub target: String,
    /// How the body ends.
    pub framing: Framing,
    /// The connection may serve another request.
    pub keep_alive: bool,
    /// The client waits for 100 before it sends the body.
    pub expects_continue: bool,
    /// The header Range.
    pub range: Option<String>,
    /// The header If-Range.
    pub if_range: Option<String>,
    /// The header If-None-Match.
    pub if_none_match: Option<String>,
}

/// Reads a head from the start of `bytes`: the head and its length, or `None` while it is not complete.
///
/// # Errors
/// 400 for garbage and doubtful framing, 414 and 431 past `limit` bytes, 417, 501, 505; after each of these the
/// connection cannot go on, for where the next request begins is not known.
pub fn parse(bytes: &[u8], limit: usize) -> Result<Option<(Head, usize)>, Refusal> {
    let within = &bytes[..bytes.len().min(limit)];
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(within) {
        Ok(Parse::Complete(used)) => interpret(&request).map(|head| Some((head, used))),
        Ok(Parse::Partial) if bytes.len() < limit => Ok(None),
        Ok(Parse::Partial) if request.version.is_none() => {
            Err(Refusal::new(414, "the request line is too long"))
        }
        Ok(Parse::Partial) => Err(Refusal::new(431, "the head of the request is too long")),
        Err(httparse::Error::TooManyHeaders) => Err(Refusal::new(431, "more than 64 header lines")),
        Err(httparse::Error::Version) if is_of_another_version(within) => {
            Err(Refusal::new(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"))
        }
        Err(_) => Err(Refusal::new(400, "the request is not well formed")),
    }
}

/// True when the first line is that of a request but for its version.
fn is_of_another_version(bytes: &[u8]) -> bool {
    let line =
        bytes.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let mut words = line.split(|byte| *byte == b' ');
    matches!(
        (words.next(), words.next(), words.next(), words.next()),
        (Some(_), Some(_), Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', ..]), None)
    )
}

fn interpret(request: &httparse::Request<'_, '_>) -> Result<Head, Refusal> {
    let word = request.method.unwrap_or_default();
    let modern = request.version == Some(1);
    let headers = &*request.headers;
    let hosts = values(headers, "host").count();
    if hosts > 1 || (modern && hosts == 0) {
        return Err(Refusal::new(400, "a request names one host"));
    }
    let method = match word {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "PUT" | "POST" => Method::Put,
        "DELETE" => Method::Delete,
        _ => Method::Other,
    };
    Ok(Head {
        method,
        word: word.to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        framing: framing(headers, modern)?,
        keep_alive: modern && !says(headers, "connection", "close"),
        expects_continue: expects_continue(headers)? && modern,
        range: only(headers, "range"),
        if_range: only(headers, "if-range"),
        if_none_match: only(headers, "if-none-match"),
    })
}

fn framing(headers: &[Header<'_>], modern: bool) -> Result<Framing, Refusal> {
    let mut lengths = values(headers, "content-length");
    let mut codings = values(headers, "transfer-encoding");
    if let Some(coding) = codings.next() {
        if lengths.next().is_some() {
            return Err(Refusal::new(400, "both a length and a transfer encoding"));
        }
        if !modern {
            return Err(Refusal::new(400, "a transfer encoding in HTTP/1.0"));
        }
        if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::new(501, "no transfer encoding but chunked is known"));
        }
        return Ok(Framing::Chunked);
    }
    let Some(first) = lengths.next() else { return Ok(Framing::None) };
    if lengths.any(|other| other != first) {
        return Err(Refusal::new(400, "two lengths that differ"));
    }
    let digits = first.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(first).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    number.map(Framing::Length).ok_or(Refusal::new(400, "the length is not a number"))
}

fn expects_continue(headers: &[Header<'_>]) -> Result<bool, Refusal> {
    let mut expects = false;
    for value in values(headers, "expect") {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::new(417, "only 100-continue can be expected"));
        }
        expects = true;
    }
    Ok(expects)
}

fn values<'a>(headers: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

/// True when one of the comma-separated words of a header is `word`.
fn says(headers: &[Header<'_>], name: &str, word: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// The text of a header that is there once; there twice, it is as good as not there.
fn only(headers: &[Header<'_>], name: &str) -> Option<String> {
    let mut found = values(headers, name);
    let first = found.next()?;
    if found.next().is_some() {
        return None;
    }
    std::str::from_utf8(first).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &str) -> Result<Head, u16> {
        let text = format!("{lines}\r\n\r\n");
        match parse(text.as_bytes(), 16384) {
            Ok(Some((head, used))) => {
                assert_eq!(used, text.len());
                Ok(head)
            }
            Ok(None) => Err(0),
            Err(refusal) => Err(refusal.status.0),
        }
    }

    #[test]
    fn heads_are_understood() {
        let put =
            head("PUT /a HTTP/1.1\r\nhost: x\r\nContent-Length: 12\r\nEXPECT: 100-Continue").expect("a head");
        assert_eq!((put.method, put.framing), (Method::Put, Framing::Length(12)));
        assert!(put.keep_alive && put.expects_continue);
        let get =
            head("GET /a HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nConnection: foo, Close").expect("a head");
        assert_eq!(
            (get.method, get.framing, get.range.as_deref()),
            (Method::Get, Framing::None, Some("bytes=0-1"))
        );
        assert!(!get.keep_alive);
        let old = head("GET /a HTTP/1.0").expect("a head");
        assert!(!old.keep_alive);
        let chunked = head("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked").expect("a head");
        assert_eq!(chunked.framing, Framing::Chunked);
        let twice =
            head("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5").expect("a head");
        assert_eq!(twice.framing, Framing::Length(5));
    }

    #[test]
    fn doubtful_heads_are_refused() {
        for (lines, status) in [
            ("\u{1}", 400),
            ("GET", 400),
            ("GET /a", 400),
            ("GET /a HTTP/2.0", 505),
            ("GET /a HTTP/1.1", 400),
            ("GET /a HTTP/1.1\r\nHost: x\r\nHost: y", 400),
            ("GET /a b HTTP/1.1\r\nHost: x", 400),
            ("GET /a HTTP/1.1\r\nHost: x\r\nBad Name: y", 400),
            ("GET /a HTTP/1.1\r\nHost: x\r\nName : y", 400),
            ("GET /a HTTP/1.1\r\nHost: x\r\n folded", 400),
            ("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", 400),
            ("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2", 400),
            ("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1", 400),
            ("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: +1", 400),
            ("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: -1", 400),
            ("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1", 400),
            ("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length:", 400),
            ("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999", 400),
            ("PUT /a HTTP/1.0\r\nTransfer-Encoding: chunked", 400),
            ("PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked", 501),
            ("PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 501),
            ("PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked", 501),
            ("PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 200-ok", 417),
        ] {
            assert_eq!(head(lines), Err(status), "{lines}");
        }
    }

    #[test]
    fn heads_have_their_limits() {
        let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(2000));
        assert_eq!(parse(line.as_bytes(), 1024).map_err(|refusal| refusal.status.0), Err(414));
        let header = format!("GET / HTTP/1.1\r\nHost: {}\r\n", "a".repeat(2000));
        assert_eq!(parse(header.as_bytes(), 1024).map_err(|refusal| refusal.status.0), Err(431));
        let many = "GET / HTTP/1.1\r\n".to_owned() + &"A: b\r\n".repeat(65) + "\r\n";
        assert_eq!(parse(many.as_bytes(), 16384).map_err(|refusal| refusal.status.0), Err(431));
        assert_eq!(parse(b"GET / HT", 1024), Ok(None));
        let next = b"GET / HTTP/1.0\r\n\r\nGET /b";
        assert_eq!(parse(next, 1024).map(|found| found.map(|(_, used)| used)), Ok(Some(18)));
    }
}
