//! What no honest client sends: garbage, names that lead out, requests within requests.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use crate::client::{Curl, exchange, statuses};
use crate::support::{Server, noise};

#[test]
fn garbage_is_refused_and_harms_nobody() {
    let server = Server::start(&["--max-size", "1K"]);
    server.put("a", b"x");
    let long_target = [b"GET /", &b"a".repeat(20_000)[..], b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    let long_header = [b"GET /a HTTP/1.1\r\nHost: x\r\nA: ", &b"a".repeat(20_000)[..], b"\r\n\r\n"].concat();
    let many_headers = [b"GET /a HTTP/1.1\r\nHost: x\r\n", &b"A: b\r\n".repeat(100)[..], b"\r\n"].concat();
    let noise = noise(1, 5000);
    let table: &[(&[u8], &[u16])] = &[
        (b"", &[]),
        (b"\r\n\r\n\r\n", &[]),
        (b"G", &[]),
        (b"GARBAGE\r\n\r\n", &[400]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[400]),
        (&noise, &[400]),
        (b"GET /a HTTP/1.1\r\n\r\n", &[400]),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", &[400]),
        (b"GET /a HTTP/3.0\r\nHost: x\r\n\r\n", &[505]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[505]),
        (b"GET a HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        (b"get /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &[405]),
        (b"BREW /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &[405]),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &[405]),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n", &[400]),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", &[400]),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", &[400]),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
        (b"PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", &[400]),
        (b"PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", &[400]),
        (b"PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n", &[400]),
        (b"PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n", &[413]),
        (b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", &[501]),
        (b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", &[400]),
        (b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n", &[400]),
        (b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n", &[400]),
        (b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n", &[400]),
        (b"PUT /b HTTP/1.1\r\nHost: x\r\nExpect: more\r\nContent-Length: 1\r\n\r\nx", &[417]),
        (&long_target, &[414]),
        (&long_header, &[431]),
        (&many_headers, &[431]),
    ];
    for (bytes, expected) in table {
        let start = &bytes[..bytes.len().min(120)];
        assert_eq!(exchange(&server, bytes), *expected, "{}", start.escape_ascii());
    }
    server.holds(&["a"]);
    assert_eq!(exchange(&server, b"GET /a HTTP/1.0\r\n\r\n"), [200]);
    server.stop();
}

#[test]
fn a_request_cannot_hide_in_another() {
    let server = Server::start(&[]);
    server.put("a", b"x");
    let hidden = b"DELETE /a HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 0\r\nContent-Length: 31",
        "Content-Length: 31\r\nContent-Length: 0",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: \x0bchunked",
        "Content-Length: 0, 31",
    ] {
        let request =
            [format!("PUT /b HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n0\r\n\r\n").as_bytes(), hidden].concat();
        let answers = exchange(&server, &request);
        assert!(matches!(answers[..], [400 | 501]), "{head}: {answers:?}");
    }
    // The same bytes as data are data.
    let request = [&b"PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 31\r\n\r\n"[..], &hidden[..]].concat();
    assert_eq!(hidden.len(), 31);
    assert_eq!(exchange(&server, &request), [201]);
    assert_eq!(server.names(), ["a", "b"]);
    server.stop();
}

#[test]
fn no_name_leads_out_of_the_root() {
    let Some(curl) = Curl::find() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("sub")).expect("folders");
    fs::write(folder.path().join("secret"), "secret").expect("a file");
    fs::create_dir(folder.path().join("outside")).expect("a folder");
    fs::write(folder.path().join("outside/secret"), "secret").expect("a file");
    symlink("../secret", root.join("link")).expect("a link");
    symlink(folder.path().join("secret"), root.join("absolute")).expect("a link");
    symlink("../outside", root.join("door")).expect("a link");
    symlink("link2", root.join("link2")).expect("a link");
    fs::write(root.join(".efio-hidden"), "hidden").expect("a file");
    let server = Server::start_at(&root, &[]);
    let before = server.names();
    let secret = folder.path().join("secret").display().to_string();
    let absolute = format!("/{secret}");
    for name in [
        "../secret",
        "../../secret",
        "sub/../../secret",
        "sub/../sub",
        "./a",
        "sub/./a",
        "..",
        ".",
        "sub/..",
        "%2e%2e/secret",
        "%2E%2E%2Fsecret",
        "..%2fsecret",
        "sub%2fa",
        "%2e",
        ".%2e/secret",
        "%252e%252e/secret",
        "%c0%ae%c0%ae/secret",
        "/secret",
        "//secret",
        &absolute,
        &secret[1..],
        "%2fetc%2fpasswd",
        "link",
        "absolute",
        "door/secret",
        "door/new",
        "link2",
        ".efio-hidden",
        ".efio-new",
        "sub/.efio-new",
        "%2eefio-hidden",
        "a%00b",
        "a%",
        "a%zz",
        "..;/secret",
        "..\\..\\secret/x",
    ] {
        let url = server.url(name);
        for method in ["GET", "PUT", "DELETE"] {
            let body: &[&str] = if method == "PUT" { &["-d", "evil"] } else { &[] };
            let response = curl.get(&[&["--path-as-is", "-X", method, &url], body].concat());
            assert!(matches!(response.status, 400 | 403 | 404 | 409), "{method} {name}: {}", response.status);
            assert!(
                !response.body.windows(6).any(|window| window == b"secret" || window == b"hidden"),
                "{method} {name}"
            );
        }
    }
    assert_eq!(server.names(), before);
    assert_eq!(fs::read(folder.path().join("secret")).expect("kept"), b"secret");
    assert_eq!(fs::read_dir(folder.path().join("outside")).expect("kept").count(), 1);
    assert_eq!(fs::read(root.join(".efio-hidden")).expect("kept"), b"hidden");
    server.stop();
}

#[test]
fn odd_names_that_stay_inside_are_names() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&[]);
    for (name, stored) in [
        ("...", "..."),
        ("a..b", "a..b"),
        ("..%252fa", "..%2fa"),
        ("%252e%252e", "%2e%2e"),
        ("back%5cslash", "back\\slash"),
        (".efio", ".efio"),
        ("caf%C3%A9", "caf\u{e9}"),
        ("query?x=/../y", "query"),
        (&"n".repeat(255), &"n".repeat(255)),
    ] {
        assert_eq!(curl.status(&["--path-as-is", "-X", "PUT", "-d", "x", &server.url(name)]), 201, "{name}");
        assert_eq!(fs::read(server.root.join(stored)).expect("stored"), b"x", "{name}");
    }
    server.stop();
}

#[test]
fn requests_may_come_in_any_pieces() {
    let server = Server::start(&[]);
    let all = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\
        GET /a HTTP/1.1\r\nHost: x\r\n\r\n\
        PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n\
        HEAD /b HTTP/1.1\r\nHost: x\r\n\r\n\
        \r\nDELETE /a HTTP/1.1\r\nHost: x\r\n\r\n\
        GET /a HTTP/1.1\r\nHost: x\r\n\r\n\
        GET http://elsewhere/b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n\
        DELETE /b HTTP/1.1\r\nHost: x\r\n\r\n";
    for step in [all.len(), 1, 7, 50] {
        let mut socket = server.connect();
        socket.set_nodelay(true).expect("an option");
        for piece in all.chunks(step) {
            socket.write_all(piece).expect("sent");
            if step > 1 {
                thread::sleep(Duration::from_millis(2));
            }
        }
        let mut reader = std::io::BufReader::new(socket);
        let mut answers = Vec::new();
        for has_body in [true, true, true, false, true, true, true] {
            let response = crate::client::read_response(&mut reader, has_body).expect("an answer");
            answers.push((response.status, response.body));
        }
        let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
        let second = if step == all.len() { 201 } else { 204 };
        assert_eq!(statuses, [201, 200, second, 200, 204, 404, 200], "in pieces of {step}");
        assert_eq!((&answers[1].1[..], &answers[6].1[..]), (&b"hello"[..], &b"abcde"[..]));
        assert!(crate::client::read_response(&mut reader, true).is_none(), "closed means closed");
    }
    server.holds(&["b"]);
    server.stop();
}

#[test]
fn a_hundred_silent_clients_are_no_burden() {
    let server = Server::start(&[]);
    server.put("a", b"x");
    let silent: Vec<_> = (0..100).map(|_| server.connect()).collect();
    let mut half = server.connect();
    half.write_all(b"GET /a HT").expect("sent");
    assert_eq!(exchange(&server, b"GET /a HTTP/1.0\r\n\r\n"), [200]);
    half.write_all(b"TP/1.0\r\n\r\n").expect("sent");
    assert_eq!(statuses(half), [200]);
    drop(silent);
    server.stop();
}
