//! The C examples, built by their own Makefile and run against the real library and the real loops.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

mod built;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The example, built by `make`; None and a reason where something is missing.
fn example(name: &str) -> Option<PathBuf> {
    let header = match name.rsplit('_').next().unwrap() {
        "libev" => "ev.h",
        "libuv" => "uv.h",
        "libevent" => "event2/event.h",
        _ => "sys/epoll.h",
    };
    let Some(compiler) = built::compiler() else {
        built::skip("there is no C compiler");
        return None;
    };
    if !built::has("make") {
        built::skip("make is not installed");
        return None;
    }
    let mut probe = Command::new(&compiler);
    probe
        .args(["-E", "-x", "c", "-include", header, "/dev/null"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !probe.status().unwrap().success() {
        built::skip(format!("{header} is not installed"));
        return None;
    }
    let (folder, library) = (built::workshop("examples"), built::library());
    let _held = built::lock(&folder.join(format!("{name}.lock")));
    let program = folder.join(name);
    let mut make = Command::new("make");
    make.arg("-C").arg(built::package().join("../../examples/c")).arg(&program).arg("CFLAGS=-O1 -g -Werror");
    make.arg(format!("BUILD={}", folder.display()))
        .arg(format!("EFIO_CFLAGS=-I{}", built::include().display()));
    let library = library.display();
    make.arg(format!("EFIO_LIBS=-L{library} -lefio -Wl,-rpath,{library}"));
    let output = make.output().unwrap();
    assert!(output.status.success(), "{name}:\n{}", String::from_utf8_lossy(&output.stderr));
    Some(program)
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn ends(mut child: Child, name: &str) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{name} does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

fn copies(name: &str) {
    let Some(program) = example(name) else { return };
    let place = tempfile::tempdir_in(built::workshop("places")).unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    for size in [0, 1, 65_536, 5_352_871, 40 << 20] {
        let bytes = noise(size);
        fs::write(&from, &bytes).unwrap();
        let ended = built::run(Command::new(&program).args([&from, &to]), PATIENCE);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.said);
        assert!(fs::read(&to).unwrap() == bytes, "{name} of {size} bytes differs");
    }
    let before = fs::read_dir(place.path()).unwrap().count();
    let wrong = [(place.path().join("missing"), to.clone()), (from.clone(), place.path().join("missing/to"))];
    let both = (place.path().join("missing"), place.path().join("missing/to"));
    for (from, to) in wrong.into_iter().chain([both, (place.path().to_path_buf(), place.path().join("new"))])
    {
        let ended = built::run(Command::new(&program).args([&from, &to]), PATIENCE);
        assert_eq!(ended.code, Some(1), "{name}: {}", ended.said);
        assert!(ended.said.contains("open: "), "{name}: {}", ended.said);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), before, "{name} leaves something");
    }
}

/// Starts a log writer with a pipe to its input.
fn log_writer(program: &Path, log: &Path) -> Child {
    Command::new(program).arg(log).stdin(Stdio::piped()).spawn().unwrap()
}

fn logs(name: &str) {
    let Some(program) = example(name) else { return };
    let place = tempfile::tempdir_in(built::workshop("places")).unwrap();
    let (log, old) = (place.path().join("log"), place.path().join("log.1"));
    let lines: String = (0..200_000).map(|number| format!("line {number}\n")).collect();
    let (first, second) = lines.split_at(lines.len() / 2 + 3);

    // Half of it, a rotation, the other half, the end of the input.
    let mut child = log_writer(&program, &log);
    child.stdin.as_mut().unwrap().write_all(first.as_bytes()).unwrap();
    wait_until("the first half", || fs::metadata(&log).is_ok_and(|data| data.len() == first.len() as u64));
    fs::rename(&log, &old).unwrap();
    signal(&child, "-HUP");
    wait_until("a new log", || log.exists());
    child.stdin.as_mut().unwrap().write_all(second.as_bytes()).unwrap();
    drop(child.stdin.take());
    assert_eq!(ends(child, name), Some(0));
    assert_eq!(fs::read_to_string(&old).unwrap() + &fs::read_to_string(&log).unwrap(), lines, "{name}");

    // A signal ends it too, with everything written.
    let mut child = log_writer(&program, &log);
    child.stdin.as_mut().unwrap().write_all(b"once more\n").unwrap();
    wait_until("the last line", || fs::read_to_string(&log).unwrap().ends_with("once more\n"));
    signal(&child, "-TERM");
    assert_eq!(ends(child, name), Some(0));

    // A file that cannot be opened is an error.
    let child = log_writer(&program, &place.path().join("missing/log"));
    assert_eq!(ends(child, name), Some(1));
}

#[test]
fn the_copier_on_epoll_copies() {
    copies("copy_epoll");
}

#[test]
fn the_copier_on_libev_copies() {
    copies("copy_libev");
}

#[test]
fn the_copier_on_libuv_copies() {
    copies("copy_libuv");
}

#[test]
fn the_copier_on_libevent_copies() {
    copies("copy_libevent");
}

#[test]
fn the_log_writer_on_epoll_keeps_every_line() {
    logs("log_epoll");
}

#[test]
fn the_log_writer_on_libev_keeps_every_line() {
    logs("log_libev");
}

#[test]
fn the_log_writer_on_libuv_keeps_every_line() {
    logs("log_libuv");
}

#[test]
fn the_log_writer_on_libevent_keeps_every_line() {
    logs("log_libevent");
}

/// A running upload server, ended with the value.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(program: &Path, folder: &Path) -> Server {
        let mut child = Command::new(program).arg(folder).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Server { child, address: address.trim().to_string() }
    }

    /// curl's upload of `file` as `name`; it writes the status.
    fn upload(&self, file: &Path, name: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-m", "60", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", "-T"])
            .arg(file);
        curl.arg(format!("{}{name}", self.address));
        curl
    }

    fn status(&self, file: &Path, name: &str) -> String {
        let output = self.upload(file, name).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[test]
fn the_upload_server_on_libev_takes_files_from_curl() {
    let Some(program) = example("upload_libev") else { return };
    if !built::has("curl") {
        return built::skip("curl is not installed");
    }
    let place = tempfile::tempdir_in(built::workshop("places")).unwrap();
    let (folder, file, empty) =
        (place.path().join("in"), place.path().join("file"), place.path().join("empty"));
    fs::create_dir(&folder).unwrap();
    let bytes = noise(10 << 20);
    fs::write(&file, &bytes).unwrap();
    fs::write(&empty, b"").unwrap();
    let server = Server::start(&program, &folder);

    assert_eq!(server.status(&file, "one.bin"), "201");
    assert!(fs::read(folder.join("one.bin")).unwrap() == bytes);
    assert_eq!(server.status(&empty, "empty"), "201");
    assert_eq!(fs::read(folder.join("empty")).unwrap(), b"");

    let clients: Vec<Child> = (0..8)
        .map(|number| server.upload(&file, &format!("many{number}")).stdout(Stdio::null()).spawn().unwrap())
        .collect();
    for (number, client) in clients.into_iter().enumerate() {
        assert_eq!(ends(client, "curl"), Some(0));
        assert!(fs::read(folder.join(format!("many{number}"))).unwrap() == bytes, "many{number} differs");
    }

    for name in ["../outside", ".hidden", "a/b", "a%20b"] {
        assert_eq!(server.status(&file, name), "400", "{name}");
    }
    assert!(!place.path().join("outside").exists());

    // A client that goes away in the middle leaves nothing.
    let before = fs::read_dir(&folder).unwrap().count();
    let mut slow =
        server.upload(&file, "torn").args(["--limit-rate", "200k"]).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    slow.kill().unwrap();
    slow.wait().unwrap();
    assert_eq!(server.status(&file, "after"), "201");
    wait_until("nothing of the torn upload", || fs::read_dir(&folder).unwrap().count() == before + 1);
    assert!(!folder.join("torn").exists());

    // SIGTERM ends it well.
    signal(&server.child, "-TERM");
    let mut server = server;
    wait_until("the server's end", || server.child.try_wait().unwrap().is_some());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
