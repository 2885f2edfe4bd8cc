//! What is no regular file: pipes, devices, files of /proc, unnamed files.
#![allow(unsafe_code, reason = "calls C functions")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use efio_capi::ef_io;
use support::{begin, close, errno, open, read, read_all, settle, try_read, until, write};

fn pipe(folder: &Path) -> PathBuf {
    let path = folder.join("pipe");
    // SAFETY: a path with its NUL byte.
    assert_eq!(unsafe { libc::mkfifo(support::name(&path).as_ptr(), 0o600) }, 0);
    path
}

#[test]
fn a_pipe_is_read_from_its_writer_to_its_end() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = pipe(folder.path());
    let handle = open(&path, libc::O_RDONLY).unwrap();
    assert_eq!(try_read(handle, &mut [0; 10]), Err(libc::EAGAIN), "nobody writes yet: that is not the end");
    assert_eq!(ef_io::ef_poll(handle), 0);
    assert_eq!(errno(ef_io::ef_close_status(handle)), Err(libc::EINVAL));
    let mut writer = File::options().write(true).open(&path).unwrap();
    writer.write_all(b"first ").unwrap();
    let mut piece = [0; 100];
    assert_eq!(read(handle, &mut piece), Ok(6));
    assert_eq!(&piece[..6], b"first ");
    let rest = vec![b'r'; 300_000];
    let sender = std::thread::spawn(move || writer.write_all(&rest));
    assert_eq!(read_all(handle).unwrap().len(), 300_000);
    sender.join().unwrap().unwrap();
    assert_eq!(errno(ef_io::ef_file_ready_for_read(handle) as i64), Ok(0));
    assert_eq!(ef_io::ef_poll(handle), 2);
    File::options().write(true).open(&path).unwrap().write_all(b"again").unwrap();
    until("the next writer", || read(handle, &mut piece) == Ok(5));
    assert_eq!(&piece[..5], b"again");
    close(handle).unwrap();
}

#[test]
fn a_pipe_that_nobody_reads_waits_to_be_open_and_holds_up_no_other_file() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = pipe(folder.path());
    let writing = begin(&path, libc::O_WRONLY).unwrap();
    let abandoned = begin(&path, libc::O_WRONLY).unwrap();
    let at_once = begin(&path, libc::O_WRONLY | libc::O_NONBLOCK).unwrap();
    assert_eq!(settle(|| errno(ef_io::ef_open_status(at_once))), Err(libc::ENXIO));
    let file = open(&folder.path().join("file"), libc::O_WRONLY | libc::O_CREAT).unwrap();
    close(file).unwrap();
    assert_eq!(errno(ef_io::ef_open_status(writing)), Err(libc::EAGAIN));
    assert_eq!(ef_io::ef_poll(writing), 0);
    close(abandoned).unwrap();
    let mut reader = File::open(&path).unwrap();
    assert_eq!(settle(|| errno(ef_io::ef_open_status(writing))), Ok(writing));
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    assert_eq!(write(writing, &bytes), Ok(bytes.len()), "more than a pipe holds");
    assert_eq!(ef_io::ef_close(writing), 0);
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert!(all == bytes);
    assert_eq!(settle(|| errno(ef_io::ef_close_status(writing))), Ok(0));
}

#[test]
fn a_reader_that_goes_away_is_an_error_and_kills_nobody() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let path = pipe(folder.path());
    let handle = begin(&path, libc::O_WRONLY).unwrap();
    let reader = File::open(&path).unwrap();
    settle(|| errno(ef_io::ef_open_status(handle))).unwrap();
    drop(reader);
    until("the error", || write(handle, b"x") == Err(libc::EPIPE));
    assert_eq!(close(handle), Err(libc::EPIPE));
}

#[test]
fn the_full_device_says_so_and_the_others_do_what_they_do() {
    let _turn = support::turn();
    let full = open(Path::new("/dev/full"), libc::O_WRONLY).unwrap();
    let first = write(full, b"no room");
    assert!(matches!(first, Ok(7) | Err(libc::ENOSPC)), "{first:?}");
    until("the error", || write(full, b"no room") == Err(libc::ENOSPC));
    assert_eq!(errno(ef_io::ef_sync(full)), Err(libc::ENOSPC));
    assert_eq!(ef_io::ef_close(full), 0);
    assert_eq!(settle(|| errno(ef_io::ef_close_status(full))), Err(libc::ENOSPC));

    let null = open(Path::new("/dev/null"), libc::O_RDWR).unwrap();
    assert_eq!(write(null, b"gone"), Ok(4));
    assert_eq!(read(null, &mut [0; 4]), Ok(0));
    close(null).unwrap();
    let zero = open(Path::new("/dev/zero"), libc::O_RDONLY).unwrap();
    let mut bytes = [7; 1000];
    let count = read(zero, &mut bytes).unwrap();
    assert!(count > 0 && bytes[..count].iter().all(|byte| *byte == 0));
    assert_eq!(write(zero, b"x"), Err(libc::EBADF), "not opened for that");
    close(zero).unwrap();
}

#[test]
fn files_without_a_size_are_read() {
    let _turn = support::turn();
    for name in ["/proc/self/status", "/proc/version"] {
        let handle = open(Path::new(name), libc::O_RDONLY).unwrap();
        let text = read_all(handle).unwrap();
        assert!(text.len() > 20, "{name}");
        close(handle).unwrap();
    }
    let version = open(Path::new("/proc/version"), libc::O_RDONLY).unwrap();
    assert_eq!(read_all(version).unwrap(), fs::read("/proc/version").unwrap());
    close(version).unwrap();
}

#[test]
fn a_file_without_a_name_is_a_file() {
    let _turn = support::turn();
    let folder = tempfile::tempdir().unwrap();
    let handle = match open(folder.path(), libc::O_RDWR | libc::O_TMPFILE) {
        Err(libc::EOPNOTSUPP) => return println!("skipped: the file system has no unnamed files"),
        handle => handle.unwrap(),
    };
    write(handle, b"nameless").unwrap();
    assert_eq!(read(handle, &mut [0; 8]), Ok(0));
    assert_eq!(efio_capi::files::ef_seek(handle, 0, libc::SEEK_SET), 0);
    let mut bytes = [0; 8];
    assert_eq!((read(handle, &mut bytes), &bytes), (Ok(8), b"nameless"));
    close(handle).unwrap();
}
