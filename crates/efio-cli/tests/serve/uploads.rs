//! Uploads: whole or not at all.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufReader, Write};
use std::net::Shutdown;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::client::{Curl, exchange, read_response};
use crate::support::{Server, noise};

const FILES: usize = 1000;

fn size(number: usize) -> usize {
    match number % 100 {
        0 => 0,
        1 => 1,
        2 => 3_000_000,
        3 => 65_536,
        _ => (number * 7919) % 150_000,
    }
}

/// Runs curl over a list of transfers, 64 at a time; gives the statuses.
fn in_parallel(curl: &Curl, folder: &Path, config: &str) -> Vec<String> {
    let path = folder.join("config");
    fs::write(&path, config).expect("a file");
    let output = curl
        .command()
        .args([
            "--parallel",
            "--parallel-immediate",
            "--parallel-max",
            "64",
            "-w",
            "%{http_code}\n",
            "--config",
        ])
        .arg(path)
        .output()
        .expect("curl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_thousand_uploads_at_64_in_parallel_come_back_as_they_went() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&["--memory", "32M", "--tick-report"]);
    let folder = tempfile::tempdir().expect("a folder");
    let (mut there, mut back) = (String::new(), String::new());
    for number in 0..FILES {
        let path = folder.path().join(format!("f{number}"));
        fs::write(&path, noise(number as u64, size(number))).expect("a file");
        let url = server.url(&format!("f{number}"));
        writeln!(there, "url = \"{url}\"\nupload-file = \"{}\"", path.display()).expect("text");
        writeln!(back, "url = \"{url}\"\noutput = \"{}.back\"", path.display()).expect("text");
    }
    assert_eq!(in_parallel(&curl, folder.path(), &there), vec!["201"; FILES]);
    assert_eq!(in_parallel(&curl, folder.path(), &back), vec!["200"; FILES]);
    assert_eq!(server.names().len(), FILES, "nothing else is left");
    for number in 0..FILES {
        let sent = noise(number as u64, size(number));
        assert!(
            fs::read(server.root.join(format!("f{number}"))).expect("stored") == sent,
            "f{number} differs"
        );
        let back = fs::read(folder.path().join(format!("f{number}.back")));
        assert!(back.expect("it came back") == sent, "f{number} came back otherwise");
    }
    let ended = server.stop();
    assert_eq!(
        (ended.total("requests"), ended.total("stored")),
        (2 * FILES as u64, FILES as u64),
        "{ended:?}"
    );
    assert_eq!(
        (ended.total("aborted"), ended.total("refused"), ended.total("failed")),
        (0, 0, 0),
        "{ended:?}"
    );
    let bytes: u64 = (0..FILES).map(|number| size(number) as u64).sum();
    assert!(ended.total("received") > bytes && ended.total("sent") > bytes, "{ended:?}");
    let (p50, p99, worst) = (ended.total("p50"), ended.total("p99"), ended.total("worst"));
    assert!(ended.total("ticks") > 10 && p50 <= p99 && p99 <= worst, "{ended:?}");
}

#[test]
fn every_way_to_send_a_body_stores_the_same() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("body");
    let bytes = noise(1, 1_234_567);
    fs::write(&path, &bytes).expect("a file");
    let path = path.to_str().expect("text");
    let data = format!("@{path}");
    let chunked = "Transfer-Encoding: chunked";
    for (name, arguments) in [
        ("put", &["-T", path][..]),
        ("post", &["--data-binary", &data]),
        ("chunked", &["-T", path, "-H", chunked]),
        ("plain", &["-T", path, "-H", "Expect:"]),
        ("expect", &["-T", path, "-H", "Expect: 100-continue"]),
        ("chunked-expect", &["-T", path, "-H", chunked, "-H", "Expect: 100-continue"]),
        ("old", &["-0", "-T", path]),
        ("a%20name%2525", &["-T", path]),
        ("sub/deep", &["-T", path]),
    ] {
        fs::create_dir_all(server.root.join("sub")).expect("a folder");
        assert_eq!(curl.status(&[arguments, &[&server.url(name)]].concat()), 201, "{name}");
        let stored = server.root.join(name.replace("%20", " ").replace("%25", "%"));
        assert!(fs::read(stored).expect("stored") == bytes, "{name}");
    }
    let mut child =
        curl.command().args(["-T", "-", &server.url("stdin")]).stdin(Stdio::piped()).spawn().expect("curl");
    child.stdin.take().expect("a pipe").write_all(&bytes).expect("sent");
    assert!(child.wait().expect("curl ends").success());
    assert!(fs::read(server.root.join("stdin")).expect("stored") == bytes);
    server.stop();
}

#[test]
fn synced_uploads_are_stored_too() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&["--sync", "close"]);
    let source = server.put("source", &noise(5, 300_000));
    assert_eq!(curl.status(&["-T", source.to_str().expect("text"), &server.url("a")]), 201);
    assert_eq!(fs::read(server.root.join("a")).expect("stored"), noise(5, 300_000));
    server.stop();
}

#[test]
fn an_upload_replaces_in_one_step_and_only_if_wanted() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&[]);
    let url = server.url("a");
    assert_eq!(curl.status(&["-X", "PUT", "-d", "one", &url]), 201);
    assert_eq!(curl.status(&["-X", "PUT", "-d", "two", &url]), 204);
    assert_eq!(curl.status(&["-X", "PUT", "-d", "three", "-H", "If-None-Match: *", &url]), 412);
    assert_eq!(fs::read(server.root.join("a")).expect("stored"), b"two");
    assert_eq!(curl.status(&["-X", "PUT", "-d", "new", "-H", "If-None-Match: *", &server.url("b")]), 201);
    assert_eq!(curl.status(&["-X", "PUT", "-d", "", &server.url("empty")]), 201);
    assert_eq!(fs::read(server.root.join("empty")).expect("stored"), b"");
    assert_eq!(server.names(), ["a", "b", "empty"]);
    server.stop();
}

#[test]
fn where_nothing_can_be_stored_the_answer_says_so() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&[]);
    fs::create_dir(server.root.join("folder")).expect("a folder");
    server.put("file", b"x");
    for (name, status) in [("none/a", 404), ("file/a", 404), ("folder", 409), ("folder/", 405), ("", 405)] {
        let response = curl.get(&["-X", "POST", "-d", "x", &server.url(name)]);
        assert_eq!(response.status, status, "{name}");
        assert_eq!(response.header("allow").is_some(), status == 405, "{name}");
    }
    assert_eq!(exchange(&server, b"PUT /a HTTP/1.1\r\nHost: x\r\n\r\n"), [411]);
    assert_eq!(server.names(), ["file", "folder"]);
    server.stop();
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let server = Server::start(&[]);
    server.put("kept", b"old");
    for framing in ["Content-Length: 10000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n989680\r\n"] {
        for name in ["new", "kept"] {
            for sent in [0, 1, 1_000_000, 9_999_999] {
                let mut socket = server.connect();
                write!(socket, "PUT /{name} HTTP/1.1\r\nHost: x\r\n{framing}").expect("sent");
                socket.write_all(&noise(3, sent)).expect("sent");
                if sent == 1 {
                    // Half closed is closed: the body cannot be complete any more.
                    socket.shutdown(Shutdown::Write).expect("closed");
                    assert!(read_response(&mut BufReader::new(&socket), true).is_none());
                }
            }
        }
    }
    server.holds(&["kept"]);
    assert_eq!(fs::read(server.root.join("kept")).expect("kept"), b"old");
    let ended = server.stop();
    assert_eq!((ended.total("stored"), ended.total("requests")), (0, 16), "{ended:?}");
}

#[test]
fn a_file_has_no_name_until_it_is_complete() {
    let server = Server::start(&[]);
    let mut socket = server.connect();
    let bytes = noise(4, 3_000_000);
    write!(socket, "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", bytes.len()).expect("sent");
    socket.write_all(&bytes[..2_000_000]).expect("sent");
    thread::sleep(Duration::from_millis(200));
    assert!(!server.root.join("a").exists());
    socket.write_all(&bytes[2_000_000..]).expect("sent");
    assert_eq!(read_response(&mut BufReader::new(socket), true).expect("an answer").status, 201);
    assert!(fs::read(server.root.join("a")).expect("stored") == bytes);
    server.stop();
}

#[test]
fn a_slow_client_holds_up_nobody() {
    let Some(curl) = Curl::find() else { return };
    let server = Server::start(&[]);
    let mut slow = server.connect();
    let body = noise(6, 40);
    write!(slow, "PUT /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n").expect("sent");
    for (number, byte) in body.iter().enumerate() {
        slow.write_all(&[*byte]).expect("sent");
        let url = server.url(&format!("quick{}", number % 4));
        assert!(matches!(curl.status(&["-X", "PUT", "-d", "quick", &url]), 201 | 204));
    }
    assert_eq!(read_response(&mut BufReader::new(slow), true).expect("an answer").status, 201);
    assert_eq!(fs::read(server.root.join("slow")).expect("stored"), body);
    server.stop();
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    let server = Server::start(&[]);
    let bytes = noise(8, 20_000_000);
    server.put("a", &bytes);
    let mut socket = server.connect();
    write!(socket, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    thread::sleep(Duration::from_millis(300));
    let response = read_response(&mut BufReader::new(socket), true).expect("an answer");
    assert!(response.body == bytes);
    server.stop();
}

/// A file system of 8 MiB that goes with the value; `None`, and a word why, where it cannot be had.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("mount");
        let mounted = command.args(["-t", "tmpfs", "-o", "size=8m", "efio-test"]).arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: a small file system cannot be mounted here");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let Some(curl) = Curl::find() else { return };
    let Some(disk) = SmallDisk::mount() else { return };
    let server = Server::start_at(disk.0.path(), &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("big");
    fs::write(&path, noise(9, 30_000_000)).expect("a file");
    let path = path.to_str().expect("text");
    for arguments in
        [&["-T", path][..], &["-T", path, "-H", "Expect:"], &["-T", path, "-H", "Transfer-Encoding: chunked"]]
    {
        assert_eq!(curl.status(&[arguments, &[&server.url("big")]].concat()), 507, "{arguments:?}");
        server.holds(&[]);
    }
    fs::write(folder.path().join("fits"), noise(10, 4_000_000)).expect("a file");
    let fits = folder.path().join("fits");
    assert_eq!(curl.status(&["-T", fits.to_str().expect("text"), &server.url("fits")]), 201);
    assert!(fs::read(server.root.join("fits")).expect("stored") == noise(10, 4_000_000));
    let ended = server.stop();
    assert_eq!(ended.total("failed"), 3, "{ended:?}");
}
