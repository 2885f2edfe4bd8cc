//! What is opened, what is refused, and that refusing harms nothing.
#![allow(unsafe_code, reason = "looks at descriptors by their number")]

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use std::os::fd::BorrowedFd;

use super::*;
use crate::sys::open;

fn refused(bench: &Bench, work: OpenWork, errno: i32, note: &str) {
    let fault = bench.open(work).unwrap_err();
    assert_eq!((fault.errno, fault.note), (errno, note));
}

/// The flags of an open file, as the kernel has them.
fn flags(opened: &Opened) -> OFlag {
    // SAFETY: the descriptor is open until the end of the test.
    let descriptor = unsafe { BorrowedFd::borrow_raw(opened.handle.0) };
    OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL).unwrap())
}

#[test]
fn a_pipe_is_refused_without_hanging_on_it() {
    let bench = Bench::new();
    nix::unistd::mkfifo(&bench.path("pipe"), Mode::from_bits_truncate(0o600)).unwrap();
    let name = || bench.name("pipe");
    refused(&bench, reading(name()), libc::ENXIO, open::PIPE_NOTE);
    refused(&bench, creating(name()), libc::ENXIO, open::PIPE_NOTE);
    let writing = OpenWork { read: false, write: true, ..reading(name()) };
    refused(&bench, writing, libc::ENXIO, open::PIPE_NOTE);
    refused(&bench, staging(name()), libc::ENXIO, open::PIPE_NOTE);
}

#[test]
fn a_pipe_that_is_looked_at_first_is_not_touched() {
    let bench = Bench::new();
    let path = bench.path("pipe");
    nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
    std::thread::scope(|scope| {
        // Waits for a reader, and would take the refused open for one.
        let writer =
            scope.spawn(|| std::io::Write::write(&mut fs::File::options().write(true).open(&path)?, b"x"));
        std::thread::sleep(std::time::Duration::from_millis(50));
        refused(
            &bench,
            OpenWork { look_first: true, ..reading(bench.name("pipe")) },
            libc::ENXIO,
            open::PIPE_NOTE,
        );
        // Time to go wrong in: who was let go writes to nobody.
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!writer.is_finished(), "the writer was let go");
        assert_eq!(fs::read(&path).unwrap(), b"x");
        assert_eq!(writer.join().unwrap().unwrap(), 1);
    });
    let missing = OpenWork { look_first: true, ..creating(bench.name("new")) };
    let opened = bench.open(missing).unwrap();
    bench.close(opened);
    assert_eq!(bench.names(), ["new", "pipe"]);
}

#[test]
fn a_folder_is_refused_with_its_own_reason() {
    let bench = Bench::new();
    fs::create_dir(bench.path("folder")).unwrap();
    for work in [reading, creating, staging] {
        refused(&bench, work(bench.name("folder")), libc::EISDIR, open::FOLDER_NOTE);
    }
    assert_eq!(bench.names(), ["folder"]);
}

#[test]
fn devices_and_sockets_are_refused() {
    let bench = Bench::new();
    let device = plain(Path::new("/dev/null"));
    refused(&bench, reading(device.clone()), libc::EINVAL, open::CHARACTER_NOTE);
    refused(&bench, OpenWork { truncate: true, ..creating(device) }, libc::EINVAL, open::CHARACTER_NOTE);
    let _listener = UnixListener::bind(bench.path("socket")).unwrap();
    refused(&bench, creating(bench.name("socket")), libc::ENXIO, open::SOCKET_NOTE);
}

#[test]
fn a_block_device_is_opened_by_option_only() {
    let bench = Bench::new();
    let disks = fs::read_dir("/dev").unwrap().map(|entry| entry.unwrap().path());
    let block = disks.filter(|path| fs::metadata(path).is_ok_and(|m| m.file_type().is_block_device()));
    let readable = block.filter(|path| fs::File::open(path).is_ok()).collect::<Vec<_>>();
    let Some(path) = readable.first() else {
        println!("SKIPPED: no block device that may be read");
        return;
    };
    refused(&bench, reading(plain(path)), libc::EINVAL, open::BLOCK_NOTE);
    let opened = bench.open(OpenWork { block_device: true, ..reading(plain(path)) }).unwrap();
    let sectors =
        fs::read_to_string(Path::new("/sys/class/block").join(path.file_name().unwrap()).join("size"));
    if let Ok(sectors) = sectors {
        assert_eq!(opened.size, sectors.trim().parse::<u64>().unwrap() * 512);
    }
    bench.close(opened);
}

#[test]
fn a_missing_file_is_just_missing() {
    let bench = Bench::new();
    let fault = bench.open(reading(bench.name("missing"))).unwrap_err();
    assert_eq!((fault.errno, fault.note), (libc::ENOENT, ""));
}

#[test]
fn an_open_file_blocks_again_and_keeps_its_flags() {
    let bench = Bench::new();
    let custom_flags = libc::O_NOATIME | libc::O_TRUNC | libc::O_NONBLOCK | libc::O_WRONLY | libc::O_PATH;
    fs::write(bench.path("log"), "old").unwrap();
    let work = OpenWork { append: true, data_sync: true, custom_flags, ..creating(bench.name("log")) };
    let opened = bench.open(work).unwrap();
    let flags = flags(&opened);
    assert!(flags.contains(OFlag::O_APPEND | OFlag::O_DSYNC | OFlag::O_NOATIME | OFlag::O_RDWR));
    assert!(!flags.intersects(OFlag::O_NONBLOCK | OFlag::O_PATH));
    // SAFETY: the descriptor is open until the end of the test.
    let descriptor = unsafe { BorrowedFd::borrow_raw(opened.handle.0) };
    assert_eq!(fcntl(descriptor, FcntlArg::F_GETFD).unwrap(), libc::FD_CLOEXEC);
    assert_eq!(opened.size, 3, "custom flags do not truncate");
    bench.close(opened);
}

#[test]
fn truncating_empties_an_existing_file() {
    let bench = Bench::new();
    fs::write(bench.path("old"), "old bytes").unwrap();
    let opened = bench.open(OpenWork { truncate: true, ..creating(bench.name("old")) }).unwrap();
    assert_eq!(opened.size, 0);
    assert_eq!(fs::read(bench.path("old")).unwrap(), b"");
    bench.close(opened);
}

#[test]
fn a_created_file_has_the_mode_asked_for_less_the_mask() {
    let bench = Bench::new();
    bench.close(bench.open(OpenWork { mode: 0o666, ..creating(bench.name("new")) }).unwrap());
    let mode = fs::metadata(bench.path("new")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o666 & !bench.disk.mask());
}

#[test]
fn create_new_refuses_what_is_there() {
    let bench = Bench::new();
    fs::write(bench.path("there"), "").unwrap();
    for atomic in [false, true] {
        let work = OpenWork { create_new: true, atomic, ..creating(bench.name("there")) };
        assert_eq!(bench.open(work).unwrap_err().errno, libc::EEXIST);
    }
}

#[test]
fn a_file_without_a_size_is_read_to_its_end_all_the_same() {
    let bench = Bench::new();
    let opened = bench.open(reading(plain(Path::new("/proc/self/status")))).unwrap();
    assert_eq!(opened.size, 0);
    let (bytes, end, fault) = fill(&bench.disk, opened.handle, 0, 65536);
    assert!(bytes.starts_with(b"Name:") && end && fault.is_none());
    bench.close(opened);
}

#[test]
fn reading_without_waiting_finds_what_is_in_memory() {
    let bench = Bench::new();
    fs::write(bench.path("hot"), "hot bytes").unwrap();
    let opened = bench.open(reading(bench.name("hot"))).unwrap();
    let platform = crate::sys::Platform::Os;
    let mut memory = [0; 64];
    if opened.nowait {
        match platform.read_nowait(opened.handle, 4, &mut memory) {
            Ok(count) => assert_eq!(&memory[..count], b"bytes"),
            Err(libc::EAGAIN | libc::EOPNOTSUPP) => println!("SKIPPED: not in memory, or not known here"),
            Err(errno) => panic!("errno {errno}"),
        }
    }
    bench.close(opened);
    let proc = bench.open(reading(plain(Path::new("/proc/self/status")))).unwrap();
    assert!(platform.read_nowait(proc.handle, 0, &mut memory).is_err_and(|errno| errno != libc::EBADF));
    bench.close(proc);
}
