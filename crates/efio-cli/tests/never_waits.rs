//! The loop's thread never waits for a disk: the command under a supervisor that kills at the first such call.
//!
//! The filter is put on before the command begins, so all its threads inherit it; only the first thread, which is the
//! loop, is judged: that of the server from the moment at which it has said where it listens, that of the copier from
//! the first time it waits for events. See the supervisor for what may pass.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "puts the filter on between fork and exec, and hands its listener over")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../../tests/support/seccomp.rs"]
mod seccomp;

use std::ffi::{CStr, CString};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seccomp::{Call, FREE, LOOP};

/// Longer than anything here takes; only a test that fails ever waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Room for one descriptor beside a message, as the kernel aligns it.
#[repr(C, align(8))]
struct Beside([u8; 32]);

fn message(byte: &mut libc::iovec, beside: &mut Beside) -> libc::msghdr {
    // SAFETY: all zero is a message with nothing in it.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = byte;
    message.msg_iovlen = 1;
    message.msg_control = beside.0.as_mut_ptr().cast();
    // SAFETY: takes a number only.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(4) } as usize;
    message
}

/// Sends a descriptor; between fork and exec, so nothing here allocates.
fn send(socket: RawFd, descriptor: RawFd) -> std::io::Result<()> {
    let (mut text, mut beside) = ([b'x'], Beside([0; 32]));
    let mut byte = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: 1 };
    let message = message(&mut byte, &mut beside);
    // SAFETY: the message points to buffers that live through the call and have room for one descriptor.
    let sent = unsafe {
        let head = libc::CMSG_FIRSTHDR(&message);
        (*head).cmsg_level = libc::SOL_SOCKET;
        (*head).cmsg_type = libc::SCM_RIGHTS;
        (*head).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(head).cast::<i32>().write_unaligned(descriptor);
        libc::sendmsg(socket, &raw const message, 0)
    };
    if sent == 1 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// The descriptor that the other end sent; `None` when it closed instead.
fn receive(socket: &UnixStream) -> Option<OwnedFd> {
    let (mut text, mut beside) = ([0], Beside([0; 32]));
    let mut byte = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: 1 };
    let mut message = message(&mut byte, &mut beside);
    // SAFETY: the message points to buffers that live through the call; a header is read only if the kernel left one.
    unsafe {
        let got = libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
        let head = libc::CMSG_FIRSTHDR(&message);
        if got != 1 || head.is_null() {
            return None;
        }
        Some(OwnedFd::from_raw_fd(libc::CMSG_DATA(head).cast::<i32>().read_unaligned()))
    }
}

/// What is seen of a command's first thread.
#[derive(Clone)]
struct Watch {
    section: Arc<AtomicU32>,
    caught: Arc<Mutex<Vec<String>>>,
    /// Calls of the loop's thread that were judged.
    judged: Arc<AtomicU32>,
    /// Names opened beneath a folder, by any thread.
    opens: Arc<AtomicU32>,
}

impl Watch {
    /// Starts the command; from the first call that `begins` knows its first thread is a loop. `Err`: the kernel does not
    /// offer this here.
    fn start(mut command: Command, begins: fn(&Call) -> bool) -> Result<(Child, Self), std::io::Error> {
        let (ours, theirs) = UnixStream::pair()?;
        let watch = Self {
            section: Arc::new(AtomicU32::new(FREE)),
            caught: Arc::new(Mutex::new(Vec::new())),
            judged: Arc::new(AtomicU32::new(0)),
            opens: Arc::new(AtomicU32::new(0)),
        };
        let Self { section: seen, caught: told, judged: counted, opens } = watch.clone();
        std::thread::spawn(move || {
            let Some(listener) = receive(&ours) else { return };
            let loop_thread = AtomicU32::new(0);
            let section_of = |thread: u32, call: &Call| {
                let opened = libc::c_long::from(call.number) == libc::SYS_openat2;
                opens.fetch_add(u32::from(opened), Ordering::SeqCst);
                // The first call of all is the exec of the first thread.
                let _ = loop_thread.compare_exchange(0, thread, Ordering::SeqCst, Ordering::SeqCst);
                if loop_thread.load(Ordering::SeqCst) != thread {
                    return FREE;
                }
                if begins(call) {
                    seen.store(LOOP, Ordering::SeqCst);
                }
                let section = seen.load(Ordering::SeqCst);
                counted.fetch_add(u32::from(section == LOOP), Ordering::SeqCst);
                section
            };
            seccomp::supervise(&listener, section_of, |name, call| {
                told.lock().unwrap().push(format!("{name} ({call:?})"));
                // SAFETY: takes numbers only; the process was made to be killed here.
                unsafe { libc::kill(loop_thread.load(Ordering::SeqCst) as i32, libc::SIGKILL) };
            });
        });
        let socket = theirs.as_raw_fd();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // SAFETY: the closure makes system calls only.
        unsafe {
            command.pre_exec(move || {
                let listener = seccomp::install()?;
                send(socket, listener.as_raw_fd())
            });
        }
        let spawned = command.spawn();
        drop(theirs);
        Ok((spawned?, watch))
    }

    /// Calls that were caught.
    fn caught(&self) -> Vec<String> {
        self.caught.lock().unwrap().clone()
    }
}

/// A server whose first thread is watched.
struct Watched {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
    watch: Watch,
}

impl Watched {
    /// `Err`: the kernel does not offer this here.
    fn start(root: &Path) -> Result<Self, std::io::Error> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_efio"));
        command.args(["serve", "-v", "--bind", "127.0.0.1:0", "--root"]).arg(root);
        let (mut child, watch) = Watch::start(command, |_| false)?;
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (mut first, mut second) = (String::new(), String::new());
        stdout.read_line(&mut first)?;
        stdout.read_line(&mut second)?;
        let address = first.split("http://").nth(1).unwrap().trim().trim_end_matches('/').parse().unwrap();
        Ok(Self { child, stdout, address, watch })
    }

    /// Sends a request and gives the whole answer.
    fn ask(&self, head: &str, body: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let sent = socket.write_all(request.as_bytes()).and_then(|()| socket.write_all(body));
        let mut answer = Vec::new();
        let got = socket.read_to_end(&mut answer);
        let caught = self.watch.caught();
        assert!(caught.is_empty(), "in {head}: {caught:?}");
        sent.unwrap();
        got.unwrap();
        answer
    }

    fn status(&self, head: &str, body: &[u8]) -> String {
        String::from_utf8_lossy(self.ask(head, body).split(|byte| *byte == b' ').nth(1).unwrap()).into_owned()
    }

    /// Asks it to end, unwatched from then on, and gives its exit code.
    fn stop(mut self) -> Option<i32> {
        self.watch.section.store(FREE, Ordering::SeqCst);
        // SAFETY: takes numbers only.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut rest = String::new();
                self.stdout.read_to_string(&mut rest).unwrap();
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_servers_loop_makes_no_call_that_waits_for_a_disk() {
    let folder = tempfile::tempdir().unwrap();
    let server = match Watched::start(folder.path()) {
        Ok(server) => server,
        Err(error) => return println!("skipped: seccomp user notification is refused here: {error}"),
    };
    std::fs::write(folder.path().join("there"), vec![b'a'; 300_000]).unwrap();
    server.watch.section.store(LOOP, Ordering::SeqCst);
    let large = vec![b'b'; 5 << 20];
    assert_eq!(server.status("PUT /large", &large), "201");
    assert_eq!(server.status("PUT /large", b"again"), "204");
    assert_eq!(server.status("PUT /large", &large), "204");
    assert!(server.ask("GET /large", b"").ends_with(&large));
    assert!(server.ask("GET /there", b"").ends_with(&[b'a'; 300_000]));
    assert_eq!(server.status("HEAD /there", b""), "200");
    assert_eq!(server.status("GET /there HTTP/1.1\r\nRange: bytes=5-9\r\nX: ", b""), "206");
    assert_eq!(server.status("GET /missing", b""), "404");
    assert_eq!(server.status("PUT /../out", b"x").as_bytes()[0], b'4');
    assert_eq!(server.status("DELETE /there", b""), "204");
    let mut aborted = TcpStream::connect(server.address).unwrap();
    aborted.write_all(b"PUT /aborted HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhalf").unwrap();
    drop(aborted);
    assert_eq!(server.status("PUT /last", b"last"), "201");
    assert!(server.watch.caught().is_empty());
    assert!(server.watch.judged.load(Ordering::SeqCst) > 100, "the watch was not on");
    assert_eq!(server.stop(), Some(0));
    assert_eq!(std::fs::read(folder.path().join("large")).unwrap(), large);
    assert!(!folder.path().join("aborted").exists());
}

/// Copies with this command's first thread watched from its first wait for events on; `None`: it cannot be watched here.
fn copies(folder: &Path, arguments: &[&str], code: i32) -> Option<Watch> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_efio"));
    command.arg("cp").args(arguments).current_dir(folder);
    let waits = |call: &Call| {
        let number = libc::c_long::from(call.number);
        #[cfg(target_arch = "x86_64")]
        let old = number == libc::SYS_epoll_wait;
        #[cfg(not(target_arch = "x86_64"))]
        let old = false;
        old || number == libc::SYS_epoll_pwait
    };
    let (child, watch) = match Watch::start(command, waits) {
        Ok(started) => started,
        Err(error) => {
            println!("skipped: seccomp user notification is refused here: {error}");
            return None;
        }
    };
    let ended = child.wait_with_output().unwrap();
    assert_eq!(watch.caught(), Vec::<String>::new(), "{arguments:?}");
    assert_eq!(ended.status.code(), Some(code), "{arguments:?}");
    assert!(watch.judged.load(Ordering::SeqCst) > 20, "the watch was not on");
    Some(watch)
}

#[test]
fn the_copiers_loop_makes_no_call_that_waits_for_a_disk() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    std::fs::create_dir_all(path("from/deep")).unwrap();
    let mut inner = path("from/deep");
    for _ in 0..40 {
        inner.push("d");
        std::fs::create_dir(&inner).unwrap();
    }
    std::fs::write(inner.join("last"), "last").unwrap();
    for number in 0..60 {
        std::fs::create_dir(path(&format!("from/{number}"))).unwrap();
        std::fs::write(path(&format!("from/{number}/file")), vec![b'a'; number * 9000]).unwrap();
        std::os::unix::fs::symlink("file", path(&format!("from/{number}/link"))).unwrap();
    }
    std::fs::write(path("large"), vec![b'b'; 5 << 20]).unwrap();
    if copies(place.path(), &["-r", "--sync", "from", "large", "to/."], 1).is_none() {
        return;
    }
    std::fs::create_dir(path("to")).unwrap();
    copies(place.path(), &["-r", "--sync", "from", "large", "to"], 0);
    assert_eq!(std::fs::read(path("to/from/59/file")).unwrap(), vec![b'a'; 59 * 9000]);
    assert_eq!(std::fs::read(path("to/large")).unwrap(), vec![b'b'; 5 << 20]);
    copies(place.path(), &["-r", "--force", "from/.", "to/from"], 0);
    copies(place.path(), &["-r", "from", "none", "to/large", "large", "to"], 1);
    copies(place.path(), &["-r", "from", "from/0/new"], 1);
    assert!(path("to/from").join(inner.strip_prefix(path("from")).unwrap()).join("last").exists());
}

/// The folder at the end of a way of folders of this name, made or found; no path is as long as that way.
fn descend(top: &Path, name: &CStr, depth: u32, makes: bool) -> OwnedFd {
    let mut at: OwnedFd = std::fs::File::open(top).unwrap().into();
    for level in 0..depth {
        // SAFETY: the name ends with a zero byte; what is opened belongs to nobody else.
        at = unsafe {
            assert!(!makes || libc::mkdirat(at.as_raw_fd(), name.as_ptr(), 0o755) == 0, "level {level}");
            let inner = libc::openat(at.as_raw_fd(), name.as_ptr(), libc::O_DIRECTORY | libc::O_CLOEXEC);
            assert!(inner >= 0, "level {level} is not there");
            OwnedFd::from_raw_fd(inner)
        };
    }
    at
}

#[test]
fn the_way_up_a_deep_tree_opens_few_folders_again() {
    const DEPTH: u32 = 600;
    let place = tempfile::tempdir().unwrap();
    let name = CString::new([b'n'; 200]).unwrap();
    std::fs::create_dir(place.path().join("from")).unwrap();
    let inner = descend(&place.path().join("from"), &name, DEPTH, true);
    let file = |folder: &OwnedFd| PathBuf::from(format!("/proc/self/fd/{}/file", folder.as_raw_fd()));
    std::fs::write(file(&inner), "bytes").unwrap();
    let watch = copies(place.path(), &["-r", "from", "to"], 0);
    if watch.is_some() {
        let copied = descend(&place.path().join("to"), &name, DEPTH, false);
        assert_eq!(std::fs::read(file(&copied)).unwrap(), b"bytes");
    }
    // The standard library would hold a descriptor for each level.
    assert!(Command::new("rm").arg("-rf").arg(place.path()).status().unwrap().success());
    let opens = watch.map_or(0, |watch| watch.opens.load(Ordering::SeqCst));
    assert!(opens < 20 * DEPTH, "{opens} names were opened for {DEPTH} folders and their copies");
}
