//! The figures of a running server: who may see them, and that they are true.

use std::io::Write;

use crate::client::{read_response, statuses};
use crate::support::Server;

fn ask(server: &Server, request: &str) -> (u16, String) {
    let mut socket = server.connect();
    socket.write_all(request.as_bytes()).unwrap();
    let response = read_response(&mut std::io::BufReader::new(socket), true).unwrap();
    (response.status, String::from_utf8(response.body).unwrap())
}

/// The number behind a name in JSON.
fn figure(json: &str, name: &str) -> u64 {
    let rest = json.split(&format!("\"{name}\": ")).nth(1).unwrap_or_else(|| panic!("no {name} in {json}"));
    rest.split([',', '\n', ' ']).next().unwrap().parse().unwrap()
}

const STATS: &str = "GET /-/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[test]
fn figures_are_shown_on_a_loopback_address_and_are_true() {
    let server = Server::start(&[]);
    let mut socket = server.connect();
    socket
        .write_all(b"PUT /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nbytes")
        .unwrap();
    assert_eq!(statuses(socket), [201]);
    let (status, json) = ask(&server, STATS);
    assert_eq!(status, 200);
    assert_eq!(
        (figure(&json, "stored"), figure(&json, "bytes_accepted"), figure(&json, "bytes_written")),
        (1, 5, 5)
    );
    assert_eq!(
        (figure(&json, "files_opened"), figure(&json, "files_open"), figure(&json, "stalls")),
        (1, 0, 0)
    );
    assert!(json.starts_with('{') && json.ends_with("}\n") && json.matches('{').count() == 3, "{json}");
    let ended = server.stop();
    assert_eq!((ended.total("bytes_accepted"), ended.total("files_closed")), (5, 1));
}

#[test]
fn figures_that_are_not_to_be_shown_are_a_name_like_any_other() {
    let server = Server::start(&["--stats", "off"]);
    assert_eq!(ask(&server, STATS).0, 404);
    std::fs::create_dir(server.root.join("-")).unwrap();
    server.put("-/stats", b"a file");
    assert_eq!(ask(&server, STATS), (200, "a file".to_owned()));
}
