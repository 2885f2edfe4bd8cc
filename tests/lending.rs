//! Lent pages: what was put there and committed is in the file, in order, and nothing else ever is.
#![allow(unsafe_code, reason = "forks, and fills room by its address")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{IoSlice, Read, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use efio::{Efio, ErrorKind, Events, Fd, OpenOptions, ReadLend, Readiness};
use support::{Loop, child, noise, wait_until};

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
    all: Loop,
}

fn place() -> Place {
    place_with(Efio::new().unwrap())
}

fn place_with(efio: Efio) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    Place { _folder: folder, path, all: Loop::new(efio) }
}

fn writing() -> OpenOptions {
    OpenOptions::new().write(true).create(true)
}

fn reading() -> OpenOptions {
    OpenOptions::new().read(true)
}

/// Commits bytes through a lend of their length.
fn put(efio: &Efio, fd: Fd, bytes: &[u8]) -> efio::Result<()> {
    let mut lend = efio.ef_lend_write(fd, bytes.len())?;
    lend.zeroed(bytes.len()).copy_from_slice(bytes);
    lend.commit(bytes.len())
}

fn kind<T>(answer: efio::Result<T>) -> Option<ErrorKind> {
    answer.err().map(|error| error.kind())
}

/// The bytes of a window, or its end, when they are there.
fn window<'a>(all: &mut Loop, efio: &'a Efio, fd: Fd) -> ReadLend<'a> {
    loop {
        match efio.ef_lend_read(fd) {
            Ok(lend) => return lend,
            Err(error) => {
                assert!(error.is_would_block(), "{error}");
                all.until(fd, Readiness::READABLE);
            }
        }
    }
}

/// How many writable events there are now.
fn writable(efio: &Efio, fd: Fd) -> usize {
    let mut events = Events::with_capacity(64);
    efio.events(&mut events).unwrap();
    events.iter().filter(|event| event.fd() == fd && event.readiness().is_writable()).count()
}

#[test]
fn three_megabytes_go_from_socket_to_file_and_from_file_to_socket_without_a_buffer() {
    let mut place = place();
    let bytes = noise(1, 3_000_000);
    let efio = place.all.efio.clone();
    let (mut near, far) = UnixStream::pair().unwrap();
    let fd = place.all.open(&place.path, &writing()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| near.write_all(&bytes).unwrap());
        let mut left = bytes.len();
        while left > 0 {
            match efio.ef_lend_write(fd, 16 << 10) {
                Ok(mut lend) => {
                    assert!(lend.capacity() >= 16 << 10 && lend.spare_len() == lend.capacity());
                    let received = lend.receive(&far, left).unwrap();
                    assert_eq!(lend.filled(), &bytes[bytes.len() - left..][..received]);
                    lend.commit(received).unwrap();
                    left -= received;
                }
                Err(error) => {
                    assert!(error.is_would_block(), "{error}");
                    place.all.until(fd, Readiness::WRITABLE);
                }
            }
        }
    });
    assert!(place.all.close(fd).error().is_none());
    assert!(std::fs::read(&place.path).unwrap() == bytes);

    let fd = place.all.open(&place.path, &reading()).unwrap();
    let mut back = Vec::new();
    let mut most = 0;
    loop {
        match efio.ef_lend_read(fd) {
            Ok(lend) if lend.is_empty() => break,
            Ok(lend) => {
                let slices: Vec<IoSlice<'_>> = lend.pieces().map(IoSlice::new).collect();
                most = most.max(slices.len());
                assert_eq!(lend.len(), slices.iter().map(|slice| slice.len()).sum::<usize>());
                let sent = back.write_vectored(&slices).unwrap();
                // Half of it, so that the next lend begins within a page.
                let half = sent.div_ceil(2);
                assert_eq!(lend.consume(half), half);
                back.truncate(back.len() - (sent - half));
            }
            Err(error) => {
                assert!(error.is_would_block(), "{error}");
                place.all.until(fd, Readiness::READABLE);
                // The window fills up, so that there is more than one piece to see.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    assert!(back == bytes);
    assert!(most > 1, "several pages in one call");
}

#[test]
fn an_owned_file_lends_its_page_and_its_window() {
    let mut place = place();
    let bytes = noise(2, 300_000);
    let mut file = place.all.efio.open(&place.path, &writing()).unwrap();
    place.all.until(file.fd(), Readiness::OPENED);
    let mut source = &bytes[..];
    while !source.is_empty() {
        file.blocking().write_all(&source[..1]).unwrap();
        source = &source[1..];
        let mut lend = match file.lend_write(100) {
            Ok(lend) => lend,
            Err(error) => {
                assert!(error.is_would_block(), "{error}");
                std::thread::yield_now();
                continue;
            }
        };
        let taken = lend.read_from(&mut source, 5000).unwrap();
        lend.commit(taken).unwrap();
        drop(file.lend_write(1).unwrap());
    }
    file.blocking().close().unwrap();
    assert!(std::fs::read(&place.path).unwrap() == bytes);

    let mut file = place.all.efio.open(&place.path, &reading()).unwrap();
    let mut back = Vec::new();
    loop {
        let found = match file.lend_read() {
            Ok(lend) => {
                let part = lend.bytes().len().min(7000);
                back.extend_from_slice(&lend.bytes()[..part]);
                lend.consume(part)
            }
            Err(error) => {
                assert!(error.is_would_block(), "{error}");
                std::thread::yield_now();
                continue;
            }
        };
        if found == 0 {
            break;
        }
        let mut few = [0; 10];
        let read = file.blocking().read(&mut few).unwrap();
        back.extend_from_slice(&few[..read]);
    }
    assert!(back == bytes);
    file.blocking().close().unwrap();
}

#[test]
fn what_is_not_committed_is_not_in_the_file() {
    let mut place = place();
    let fd = place.all.open(&place.path, &writing()).unwrap();
    let efio = place.all.efio.clone();
    put(&efio, fd, b"one").unwrap();
    let mut lend = efio.ef_lend_write(fd, 100).unwrap();
    lend.zeroed(50).fill(b'x');
    drop(lend);
    put(&efio, fd, b"").unwrap();
    efio.ef_lend_write(fd, 1).unwrap().commit(0).unwrap();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let mut lend = efio.ef_lend_write(fd, 100).unwrap();
        lend.zeroed(50).fill(b'y');
        std::panic::resume_unwind(Box::new("on its way"));
    }));
    assert!(unwound.is_err());
    let mut lend = efio.ef_lend_write(fd, 100).unwrap();
    lend.zeroed(10);
    assert_eq!(kind(lend.commit(11)), Some(ErrorKind::InvalidInput), "more than was put there");
    let mut lend = efio.ef_lend_write(fd, 3).unwrap();
    lend.spare()[..3].iter_mut().zip(b"two").for_each(|(place, byte)| {
        place.write(*byte);
    });
    // SAFETY: three bytes were written.
    unsafe { lend.assume_filled(3) };
    lend.commit(3).unwrap();
    assert_eq!(efio.ef_write(fd, b"three"), Ok(5));
    assert_eq!(efio.ef_progress(fd).unwrap().accepted, 11);
    assert!(place.all.close(fd).error().is_none());
    assert_eq!(std::fs::read(&place.path).unwrap(), b"onetwothree");
    let too_much = kind(efio.ef_lend_write(fd, 1 << 20));
    assert_eq!(too_much, Some(ErrorKind::InvalidInput));
}

#[test]
fn room_never_shows_what_another_file_left_in_the_page() {
    let mut place = place_with(Efio::builder().memory_limit(4 << 20).build().unwrap());
    let secret = noise(3, 8 << 20);
    let fd = place.all.open(&place.path, &writing()).unwrap();
    place.all.write(fd, &secret).unwrap();
    assert!(place.all.close(fd).error().is_none());
    let fd = place.all.open(&place.path, &writing().truncate(true)).unwrap();
    let efio = place.all.efio.clone();
    let mut dirty = 0;
    for _ in 0..100 {
        let Ok(mut lend) = efio.ef_lend_write(fd, 4096) else {
            place.all.until(fd, Readiness::WRITABLE);
            continue;
        };
        // SAFETY: pages are initialised; the test alone looks at what was left there.
        let left = unsafe { std::slice::from_raw_parts(lend.spare().as_ptr().cast::<u8>(), 4096) };
        dirty += usize::from(left.iter().any(|byte| *byte != 0));
        assert!(lend.filled().is_empty());
        struct Idle;
        impl Read for Idle {
            fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
                assert!(into.iter().all(|byte| *byte == 0), "a reader was shown another file's bytes");
                Ok(into.len())
            }
        }
        let half = lend.capacity() / 2;
        assert_eq!(lend.read_from(&mut Idle, half).unwrap(), half);
        assert!(lend.zeroed(usize::MAX).iter().all(|byte| *byte == 0));
        lend.commit(4096).unwrap();
    }
    assert!(dirty > 0, "no page was used twice, so nothing was tried");
    assert!(place.all.close(fd).error().is_none());
    assert!(std::fs::read(&place.path).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn a_lend_closes_the_append_end_to_others_who_are_told_once_at_its_end() {
    let mut place = place();
    let fd = place.all.open(&place.path, &writing()).unwrap();
    let efio = place.all.efio.clone();
    assert_eq!(efio.ef_write(fd, b"before "), Ok(7));
    let mut lend = efio.ef_lend_write(fd, 10).unwrap();
    for _ in 0..3 {
        assert_eq!(kind(efio.ef_write(fd, b"between")), Some(ErrorKind::WouldBlock));
        assert_eq!(kind(efio.ef_seek(fd, SeekFrom::Start(9))), Some(ErrorKind::WouldBlock));
        assert_eq!(kind(efio.ef_lend_write(fd, 1)), Some(ErrorKind::WouldBlock));
        assert_eq!(kind(efio.ef_write_at(fd, b"at", 0)), Some(ErrorKind::WouldBlock));
        assert!(!efio.ef_poll(fd).unwrap().is_writable());
        assert_eq!(writable(&efio, fd), 0, "told before its end");
    }
    assert_eq!(kind(efio.from_fd(fd)), Some(ErrorKind::Busy));
    // What was accepted before gets its promises.
    place.all.sync(fd).unwrap();
    assert_eq!(std::fs::read(&place.path).unwrap(), b"before ");
    assert_eq!(writable(&efio, fd), 0, "told before its end");
    lend.zeroed(4).copy_from_slice(b"lent");
    lend.commit(4).unwrap();
    assert_eq!(writable(&efio, fd), 1, "one event at its end");
    assert_eq!(efio.ef_write(fd, b" behind"), Ok(7));
    assert!(place.all.close(fd).error().is_none());
    assert_eq!(std::fs::read(&place.path).unwrap(), b"before lent behind");
}

#[test]
fn two_threads_write_and_lend_and_no_piece_is_torn() {
    let mut place = place();
    let fd = place.all.open(&place.path, &OpenOptions::new().append(true).create(true)).unwrap();
    let efio = &place.all.efio;
    let pieces = 3000;
    let until_taken = |mut call: Box<dyn FnMut() -> efio::Result<()>>| {
        while let Err(error) = call() {
            assert!(error.is_would_block(), "{error}");
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..pieces {
                until_taken(Box::new(|| efio.ef_write(fd, &[b'w'; 100]).map(drop)));
            }
        });
        for _ in 0..pieces {
            until_taken(Box::new(|| put(efio, fd, &[b'l'; 100])));
        }
    });
    assert!(place.all.close(fd).error().is_none());
    let bytes = std::fs::read(&place.path).unwrap();
    assert_eq!(bytes.len(), 200 * pieces);
    let whole = |piece: &[u8]| piece.iter().all(|byte| *byte == piece[0]);
    assert!(bytes.chunks(100).all(whole), "a piece is torn");
    assert_eq!(bytes.iter().filter(|byte| **byte == b'l').count(), 100 * pieces);
}

#[test]
fn a_close_or_an_abort_ends_after_the_lend_and_takes_none_of_it() {
    for abort in [false, true] {
        let mut place = place();
        let fd = place.all.open(&place.path, &writing()).unwrap();
        let efio = place.all.efio.clone();
        assert_eq!(efio.ef_write(fd, b"accepted"), Ok(8));
        let mut lend = efio.ef_lend_write(fd, 10).unwrap();
        lend.zeroed(10).fill(b'!');
        if abort { efio.ef_abort(fd) } else { efio.ef_close(fd) }.unwrap();
        assert_eq!(kind(efio.ef_close_status(fd)), Some(ErrorKind::WouldBlock));
        if !abort {
            wait_until("the accepted bytes are written", || {
                std::fs::read(&place.path).is_ok_and(|bytes| bytes == b"accepted")
            });
        }
        assert_eq!(kind(lend.commit(10)), Some(ErrorKind::Stale), "a closed file takes nothing");
        assert_eq!(kind(efio.ef_write(fd, b"late")), Some(ErrorKind::Stale));
        assert_eq!(place.all.until(fd, Readiness::CLOSED).fd(), fd);
        let bytes = std::fs::read(&place.path).unwrap();
        assert!(bytes == b"accepted" || abort && bytes.is_empty(), "{bytes:?}");
    }
}

#[test]
fn a_reader_of_a_window_is_alone_until_its_lend_ends() {
    let mut place = place();
    let bytes = noise(4, 200_000);
    std::fs::write(&place.path, &bytes).unwrap();
    let fd = place.all.open(&place.path, &reading().write(true)).unwrap();
    let efio = place.all.efio.clone();
    let lend = window(&mut place.all, &efio, fd);
    assert_eq!(kind(efio.ef_read(fd, &mut [0; 10])), Some(ErrorKind::WouldBlock));
    assert_eq!(kind(efio.ef_seek(fd, SeekFrom::Start(9))), Some(ErrorKind::WouldBlock));
    assert_eq!(kind(efio.ef_write(fd, b"one offset for both")), Some(ErrorKind::WouldBlock));
    assert_eq!(kind(efio.from_fd(fd)), Some(ErrorKind::Busy));
    efio.ef_truncate(fd, 1000).unwrap();
    place.all.until(fd, Readiness::DONE);
    assert!(bytes.starts_with(lend.bytes()), "lent bytes stay as they were read");
    assert_eq!(lend.consume(100), 100);
    place.all.until(fd, Readiness::READABLE);
    let mut back = Vec::new();
    while back.len() < 900 {
        let mut part = [0; 1000];
        let read = place.all.read_some(fd, &mut part).unwrap();
        assert!(read > 0, "the file ends too early");
        back.extend_from_slice(&part[..read]);
    }
    assert!(back == bytes[100..1000], "the cut is seen, behind what was consumed");
    let lend = window(&mut place.all, &efio, fd);
    assert!(lend.is_empty() && lend.bytes().is_empty(), "the end lends nothing");
    efio.ef_close(fd).unwrap();
    place.all.gather(Duration::from_millis(20));
    assert_eq!(kind(efio.ef_close_status(fd)), Some(ErrorKind::WouldBlock), "closed under its reader");
    drop(lend);
    place.all.until(fd, Readiness::CLOSED);
}

#[test]
fn who_may_not_write_or_read_is_lent_nothing() {
    let mut place = place();
    std::fs::write(&place.path, b"bytes").unwrap();
    let fd = place.all.open(&place.path, &reading()).unwrap();
    let efio = place.all.efio.clone();
    assert_eq!(kind(efio.ef_lend_write(fd, 1)), Some(ErrorKind::NotPermitted));
    let mut file = efio.from_fd(fd).unwrap();
    assert_eq!(kind(file.lend_write(1)), Some(ErrorKind::NotPermitted));
    assert_eq!(kind(efio.ef_lend_read(fd)), Some(ErrorKind::Busy));
    let fd = file.into_fd();
    place.all.close(fd);
    assert_eq!(kind(efio.ef_lend_write(fd, 1)), Some(ErrorKind::Stale));
    assert_eq!(kind(efio.ef_lend_read(fd)), Some(ErrorKind::Stale));
    let fd = place.all.open(&place.path, &writing()).unwrap();
    assert_eq!(kind(efio.ef_lend_read(fd)), Some(ErrorKind::NotPermitted));
    place.all.close(fd);
}

#[test]
fn the_end_of_the_module_comes_while_pages_are_lent() {
    let lost = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let told = lost.clone();
    let count = move |loss: &efio::Loss| {
        told.fetch_add(loss.bytes as usize, std::sync::atomic::Ordering::Relaxed);
    };
    let mut place = place_with(Efio::builder().on_loss(count).build().unwrap());
    let fd = place.all.open(&place.path, &writing()).unwrap();
    let efio = place.all.efio.clone();
    assert_eq!(efio.ef_write(fd, b"accepted"), Ok(8));
    let mut lend = efio.ef_lend_write(fd, 10).unwrap();
    lend.zeroed(10).fill(b'!');
    let ended = efio.shutdown(Duration::from_millis(300));
    assert_eq!(kind(ended), Some(ErrorKind::TimedOut), "a lent page keeps its file from ending");
    assert!(matches!(kind(lend.commit(10)), Some(ErrorKind::Shutdown | ErrorKind::Stale)));
    assert_eq!(std::fs::read(&place.path).unwrap(), b"accepted");
    assert_eq!(lost.load(std::sync::atomic::Ordering::Relaxed), 0, "nothing accepted was lost");
    // The drop of the lend has brought the close to its end.
    assert_eq!(efio.ef_close_status(fd), Ok(()));
}

const CHILD: &str = "EFIO_LENDING_CHILD";

/// The child: forks with lent pages. Its own child may do nothing with them, and must end well.
fn fork_with_lent_pages(path: &str) {
    let mut all = Loop::new(Efio::new().unwrap());
    let fd = all.open(path, &reading().write(true).create(true)).unwrap();
    let efio = all.efio.clone();
    put(&efio, fd, b"once").unwrap();
    let mut lend = efio.ef_lend_write(fd, 10).unwrap();
    lend.zeroed(10).fill(b'!');
    // SAFETY: the forked process makes no call but those under test, and ends by _exit.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        let refused = kind(lend.commit(10)) == Some(ErrorKind::Forked)
            && kind(efio.ef_lend_write(fd, 1)) == Some(ErrorKind::Forked)
            && kind(efio.ef_lend_read(fd)) == Some(ErrorKind::Forked);
        // SAFETY: ends the forked process.
        unsafe { libc::_exit(i32::from(!refused)) };
    }
    let mut status = 0;
    // SAFETY: waits for the process made above.
    assert_eq!(unsafe { libc::waitpid(forked, &raw mut status, 0) }, forked);
    assert_eq!(status, 0, "the fork could use what was lent");
    lend.commit(2).unwrap();
    assert!(all.close(fd).error().is_none());
}

#[test]
fn a_fork_can_do_nothing_with_what_is_lent() {
    if let Ok(path) = std::env::var(CHILD) {
        return fork_with_lent_pages(&path);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let name = "a_fork_can_do_nothing_with_what_is_lent";
    let output = child(name, CHILD, path.to_str().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(&path).unwrap(), b"once!!");
}

#[test]
fn room_given_out_uninitialised_is_not_shown_or_taken_before_it_was_filled_again() {
    let mut place = place();
    let fd = place.all.open(&place.path, &writing()).unwrap();
    let mut lend = place.all.efio.ef_lend_write(fd, 8).unwrap();
    lend.zeroed(8).fill(b'!');
    // Safe code may leave anything behind in this, or nothing at all.
    lend.spare()[..8].fill(std::mem::MaybeUninit::uninit());
    assert_eq!(lend.zeroed(8), [0; 8]);
    lend.spare();
    assert_eq!(kind(lend.commit(8)), Some(ErrorKind::InvalidInput));
}
