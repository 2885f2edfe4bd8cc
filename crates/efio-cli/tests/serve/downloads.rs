//! Downloads: whole files, parts of them, and what is said about them; removal.

use std::fs::{self, OpenOptions};
use std::io::{BufReader, Read, Write};

use crate::client::{Curl, exchange, read_response};
use crate::support::{Server, noise};

#[test]
fn ranges_are_the_bytes_asked_for() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&[]);
    let bytes = noise(1, 1_000_000);
    server.put("a", &bytes);
    let url = server.url("a");
    for (range, from, to) in [
        ("0-0", 0, 1),
        ("0-", 0, 1_000_000),
        ("5-9", 5, 10),
        ("999999-", 999_999, 1_000_000),
        ("-1", 999_999, 1_000_000),
        ("-70000", 930_000, 1_000_000),
        ("65530-65545", 65_530, 65_546),
        ("999990-2000000", 999_990, 1_000_000),
        ("-5000000", 0, 1_000_000),
    ] {
        let response = curl.get(&["-r", range, &url]);
        assert_eq!(response.status, 206, "{range}");
        assert!(response.body == bytes[from..to], "{range}");
        let wanted = format!("bytes {from}-{}/1000000", to - 1);
        assert_eq!(response.header("content-range"), Some(&*wanted), "{range}");
        assert_eq!(response.header("content-length"), Some(&*(to - from).to_string()), "{range}");
    }
    for range in ["1000000-", "-0", "5000000-6000000"] {
        let response = curl.get(&["-r", range, &url]);
        assert_eq!(
            (response.status, response.header("content-range")),
            (416, Some("bytes */1000000")),
            "{range}"
        );
    }
    for header in ["bytes=0-1,5-6", "bytes=9-5", "lines=1-2", "nonsense"] {
        let response = curl.get(&["-H", &format!("Range: {header}"), &url]);
        assert!(response.status == 200 && response.body == bytes, "{header}");
    }
    server.stop();
}

#[test]
fn heads_say_what_a_download_would_bring() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&[]);
    server.put("a", b"hello");
    let url = server.url("a");
    let head = curl.get(&["--head", &url]);
    let get = curl.get(&[&url]);
    for name in ["content-length", "content-type", "last-modified", "etag", "accept-ranges"] {
        assert!(head.header(name).is_some() && head.header(name) == get.header(name), "{name}");
    }
    assert_eq!((head.status, &head.body[..], &get.body[..]), (200, &b""[..], &b"hello"[..]));
    assert_eq!(curl.status(&["--head", &server.url("none")]), 404);
    assert_eq!(curl.status(&[&server.url("none")]), 404);
    fs::create_dir(server.root.join("folder")).expect("a folder");
    for name in ["", "folder", "folder/", "folder/none", "a/b"] {
        assert_eq!(curl.status(&[&server.url(name)]), 404, "{name}");
    }
    server.put("empty", b"");
    let empty = curl.get(&[&server.url("empty")]);
    assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
    assert_eq!(curl.status(&["-r", "0-", &server.url("empty")]), 416);
    server.stop();
}

#[test]
fn validators_tell_versions_apart() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&[]);
    server.put("a", b"version one");
    let url = server.url("a");
    let first = curl.get(&[&url]);
    let tag = first.header("etag").expect("a tag").to_owned();
    let date = first.header("last-modified").expect("a date").to_owned();
    let none_match = format!("If-None-Match: \"x\", {tag}");
    let same = format!("If-Range: {tag}");
    let dated = format!("If-Range: {date}");
    assert_eq!(curl.status(&["-H", &none_match, &url]), 304);
    assert_eq!(curl.get(&["-r", "0-6", "-H", &same, &url]).body, b"version");
    assert_eq!(curl.get(&["-r", "0-6", "-H", &dated, &url]).body, b"version");
    server.put("a", b"version two, longer");
    assert_eq!(curl.status(&["-H", &none_match, &url]), 200);
    let whole = curl.get(&["-r", "0-6", "-H", &same, &url]);
    assert_eq!((whole.status, &whole.body[..]), (200, &b"version two, longer"[..]));
    assert_ne!(whole.header("etag"), Some(&*tag));
    server.stop();
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_the_connection() {
    let server = Server::start(&[]);
    let path = server.put("a", &noise(2, 60_000_000));
    let mut socket = server.connect();
    write!(socket, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut start = [0; 100_000];
    socket.read_exact(&mut start).expect("the start of the file");
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(1000)).expect("cut");
    let mut rest = Vec::new();
    // A reset is as good an end as any.
    let _ = socket.read_to_end(&mut rest);
    assert!(rest.len() < 59_000_000, "{} bytes came of a file that was cut", rest.len());
    let ended = server.stop();
    assert_eq!(ended.total("aborted"), 1, "{ended:?}");
}

#[test]
fn a_file_that_is_removed_while_it_is_sent_arrives_whole() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&[]);
    let bytes = noise(3, 20_000_000);
    let path = server.put("a", &bytes);
    let mut reader = BufReader::new(server.connect());
    write!(reader.get_mut(), "GET /a HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut first = [0; 8];
    reader.read_exact(&mut first).expect("the first bytes");
    fs::remove_file(path).expect("removed");
    let mut rest = std::io::Cursor::new(first).chain(reader);
    assert!(read_response(&mut rest, true).expect("an answer").body == bytes);
    assert_eq!(curl.status(&[&server.url("a")]), 404);
    server.stop();
}

#[test]
fn a_removed_file_is_gone_and_nothing_else_is() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&[]);
    fs::create_dir(server.root.join("folder")).expect("a folder");
    server.put("folder/a", b"x");
    server.put("b", b"y");
    for (name, status) in
        [("folder/a", 204), ("folder/a", 404), ("folder", 409), ("folder/", 405), ("none", 404)]
    {
        assert_eq!(curl.status(&["-X", "DELETE", &server.url(name)]), status, "{name}");
    }
    assert_eq!(server.names(), ["b", "folder"]);
    server.stop();
}

#[test]
fn a_read_only_server_only_reads() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&["--read-only"]);
    server.put("a", b"x");
    assert_eq!(curl.get(&[&server.url("a")]).body, b"x");
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        let response = curl.get(&["-X", method, "-d", "new", &server.url("a")]);
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(fs::read(server.root.join("a")).expect("kept"), b"x");
    server.stop();
}

#[test]
fn requests_share_a_connection() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&["-v"]);
    server.put("a", b"hello");
    let url = server.url("a");
    let verbose =
        curl.command().args(["-v", &url, &url, &server.url("none"), &url]).output().expect("curl runs");
    let log = String::from_utf8_lossy(&verbose.stderr);
    assert_eq!(log.matches("Re-using existing connection").count(), 3, "{log}");
    let many = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500);
    assert_eq!(exchange(&server, &many), [200; 500]);
    let ended = server.stop();
    assert_eq!(ended.stderr.lines().filter(|line| line.starts_with("GET /a 200 5 bytes ")).count(), 503);
    assert_eq!(ended.stderr.lines().filter(|line| line.starts_with("GET /none 404 ")).count(), 1);
}
