//! What is written is read back, in order, at the right place, under the right name: the calls on a real disk.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use efio::{Answer, Efio, ErrorKind, OpenOptions, Readiness};
use support::{Loop, noise, wait_until};

struct Place {
    folder: tempfile::TempDir,
    path: PathBuf,
    all: Loop,
}

/// A folder, a name in it, and a module.
fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    Place { folder, path, all: Loop::new(Efio::new().unwrap()) }
}

fn names(place: &Place) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

fn writing() -> OpenOptions {
    OpenOptions::new().write(true).create(true)
}

fn reading() -> OpenOptions {
    OpenOptions::new().read(true)
}

#[test]
fn ten_million_bytes_come_back_through_an_owned_file() {
    let place = place();
    let bytes = noise(1, 10_000_000);
    let efio = &place.all.efio;
    let mut file = efio.open(&place.path, &writing()).unwrap();
    file.blocking().write_all(&bytes).unwrap();
    file.blocking().close().unwrap();
    assert!(std::fs::read(&place.path).unwrap() == bytes);
    let mut file = efio.open(&place.path, &reading()).unwrap();
    let mut back = Vec::new();
    file.blocking().read_to_end(&mut back).unwrap();
    assert!(back == bytes);
    file.blocking().close().unwrap();
    efio.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn bytes_in_calls_of_any_size_come_back_by_descriptor() {
    let mut place = place();
    let bytes = noise(2, 3_000_000);
    let fd = place.all.open(&place.path, &writing()).unwrap();
    let mut rest = &bytes[..];
    for size in [1, 7, 4_095, 4_096, 4_097, 65_536, 65_537, 700_000].into_iter().cycle() {
        let (now, later) = rest.split_at(size.min(rest.len()));
        place.all.write(fd, now).unwrap();
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    let closed = place.all.close(fd);
    assert!(closed.error().is_none() && closed.bytes_lost() == 0, "{closed:?}");
    let fd = place.all.open(&place.path, &reading()).unwrap();
    assert!(place.all.read(fd).unwrap() == bytes);
}

#[test]
fn a_line_is_in_the_file_within_the_flush_interval_without_being_asked_for() {
    let mut place = place();
    let options = OpenOptions::new().append(true).create(true).flush_interval(Duration::from_millis(20));
    let fd = place.all.open(&place.path, &options).unwrap();
    for line in ["one\n", "one\ntwo\n"] {
        place.all.efio.ef_write(fd, &line.as_bytes()[line.len() - 4..]).unwrap();
        wait_until("the line", || std::fs::read(&place.path).unwrap() == line.as_bytes());
    }
}

#[test]
fn the_end_is_a_zero_and_growth_is_seen_by_the_next_call() {
    let mut place = place();
    std::fs::write(&place.path, b"first").unwrap();
    let fd = place.all.open(&place.path, &reading()).unwrap();
    assert_eq!(place.all.read(fd).unwrap(), b"first");
    let mut file = std::fs::OpenOptions::new().append(true).open(&place.path).unwrap();
    file.write_all(b"second").unwrap();
    assert_eq!(place.all.read(fd).unwrap(), b"second");
    assert_eq!(place.all.read(fd).unwrap(), b"");
}

#[test]
fn combinations_that_open2_takes_are_taken_by_option() {
    let mut place = place();
    let made = reading().create(true);
    assert_eq!(place.all.efio.ef_open(&place.path, &made).unwrap_err().kind(), ErrorKind::InvalidInput);
    let fd = place.all.open(&place.path, &made.posix(true)).unwrap();
    assert_eq!(place.all.read(fd).unwrap(), b"", "made, and empty");
    place.all.efio.ef_close_immediate(fd).unwrap();

    std::fs::write(&place.path, b"the last run").unwrap();
    let log = OpenOptions::new().append(true).truncate(true);
    assert_eq!(place.all.efio.ef_open(&place.path, &log).unwrap_err().kind(), ErrorKind::InvalidInput);
    let fd = place.all.open(&place.path, &log.posix(true)).unwrap();
    place.all.efio.ef_write(fd, b"this run").unwrap();
    place.all.efio.ef_close_immediate(fd).unwrap();
    assert_eq!(std::fs::read(&place.path).unwrap(), b"this run");
}

#[test]
fn a_seek_moves_the_one_offset_of_reads_and_writes() {
    let mut place = place();
    std::fs::write(&place.path, b"0123456789").unwrap();
    let fd = place.all.open(&place.path, &OpenOptions::new().read(true).write(true)).unwrap();
    let mut two = [0; 2];
    assert_eq!(place.all.seek(fd, SeekFrom::Start(4)).unwrap(), 4);
    assert_eq!(place.all.read_some(fd, &mut two).unwrap(), 2);
    assert_eq!(&two, b"45");
    assert_eq!(place.all.seek(fd, SeekFrom::Current(0)).unwrap(), 6);
    place.all.write(fd, b"ab").unwrap();
    assert_eq!(place.all.seek(fd, SeekFrom::Current(-1)).unwrap(), 7);
    assert_eq!(place.all.read_some(fd, &mut two).unwrap(), 2, "what is accepted is read, written or not");
    assert_eq!(&two, b"b8");
    assert_eq!(place.all.seek(fd, SeekFrom::End(-3)).unwrap(), 7);
    assert_eq!(place.all.seek(fd, SeekFrom::End(2)).unwrap(), 12);
    place.all.write(fd, b"!").unwrap();
    assert_eq!(
        place.all.efio.ef_seek(fd, SeekFrom::Current(-14)).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert!(place.all.close(fd).error().is_none());
    assert_eq!(std::fs::read(&place.path).unwrap(), b"012345ab89\0\0!");
}

#[test]
fn a_file_opened_to_append_is_written_at_its_end_wherever_it_is_sought() {
    let mut place = place();
    std::fs::write(&place.path, b"old ").unwrap();
    let fd = place.all.open(&place.path, &OpenOptions::new().read(true).append(true)).unwrap();
    place.all.seek(fd, SeekFrom::Start(0)).unwrap();
    place.all.write(fd, b"new").unwrap();
    assert_eq!(place.all.read(fd).unwrap(), b"old new");
    assert!(place.all.close(fd).error().is_none());
    assert_eq!(std::fs::read(&place.path).unwrap(), b"old new");
}

#[test]
fn a_sync_vouches_for_all_that_was_accepted_before_it() {
    let mut place = place();
    let fd = place.all.open(&place.path, &writing()).unwrap();
    place.all.write(fd, &noise(3, 300_000)).unwrap();
    place.all.sync(fd).unwrap();
    let progress = place.all.efio.ef_progress(fd).unwrap();
    assert_eq!((progress.accepted, progress.written, progress.durable), (300_000, 300_000, 300_000));
    assert_eq!(std::fs::metadata(&place.path).unwrap().len(), 300_000);
}

#[test]
fn a_truncate_comes_after_the_writes_before_it_and_before_those_after() {
    let mut place = place();
    let fd = place.all.open(&place.path, &OpenOptions::new().append(true).create(true)).unwrap();
    place.all.write(fd, b"0123456789").unwrap();
    place.all.efio.ef_truncate(fd, 4).unwrap();
    place.all.write(fd, b"after").unwrap();
    assert!(place.all.until(fd, Readiness::DONE).error().is_none());
    assert!(place.all.close(fd).error().is_none());
    assert_eq!(std::fs::read(&place.path).unwrap(), b"0123after");
}

#[test]
fn room_is_reserved_with_the_size_kept_unless_asked() {
    let mut place = place();
    let fd = place.all.open(&place.path, &writing()).unwrap();
    for (keep, size) in [(true, 0), (false, 100_000)] {
        place.all.efio.ef_preallocate(fd, 0, 100_000, keep).unwrap();
        assert!(place.all.until(fd, Readiness::DONE).error().is_none());
        assert_eq!(std::fs::metadata(&place.path).unwrap().len(), size);
    }
}

#[test]
fn an_atomic_file_has_its_name_when_it_is_closed_and_not_before() {
    let mut place = place();
    std::fs::write(&place.path, b"the old one").unwrap();
    let fd = place.all.open(&place.path, &writing().atomic(true)).unwrap();
    place.all.write(fd, b"the new one").unwrap();
    place.all.sync(fd).unwrap();
    assert_eq!(std::fs::read(&place.path).unwrap(), b"the old one");
    assert!(place.all.close(fd).error().is_none());
    assert_eq!(std::fs::read(&place.path).unwrap(), b"the new one");
    assert_eq!(names(&place), ["file"]);
}

#[test]
fn an_atomic_file_that_is_aborted_or_dropped_or_left_open_leaves_nothing() {
    let mut place = place();
    let fd = place.all.open(&place.path, &writing().atomic(true)).unwrap();
    place.all.write(fd, &noise(4, 100_000)).unwrap();
    place.all.efio.ef_abort(fd).unwrap();
    place.all.until(fd, Readiness::CLOSED);
    let mut file = place.all.efio.open(&place.path, &writing().atomic(true)).unwrap();
    let fd = file.fd();
    file.blocking().write_all(&noise(5, 100_000)).unwrap();
    drop(file);
    place.all.until(fd, Readiness::CLOSED);
    let fd = place.all.open(&place.path, &writing().atomic(true)).unwrap();
    place.all.write(fd, b"never closed").unwrap();
    place.all.efio.shutdown(Duration::from_secs(5)).unwrap();
    assert!(names(&place).is_empty(), "{:?}", names(&place));
}

#[test]
fn an_atomic_file_that_must_be_new_does_not_replace_one_that_came_meanwhile() {
    let mut place = place();
    let options = OpenOptions::new().write(true).create_new(true).atomic(true);
    let fd = place.all.open(&place.path, &options).unwrap();
    place.all.write(fd, b"mine").unwrap();
    std::fs::write(&place.path, b"theirs").unwrap();
    let closed = place.all.close(fd);
    assert_eq!(closed.error().unwrap().raw_os_error(), Some(libc::EEXIST));
    assert_eq!(closed.bytes_lost(), 4);
    assert_eq!(std::fs::read(&place.path).unwrap(), b"theirs");
    assert_eq!(names(&place), ["file"]);
}

#[test]
fn an_open_that_fails_says_why_once_and_its_handle_is_stale() {
    let mut place = place();
    let fd = place.all.efio.ef_open(&place.path, &reading()).unwrap();
    let event = place.all.until(fd, Readiness::OPENED);
    assert!(
        event.readiness().contains(Readiness::OPENED | Readiness::ERROR | Readiness::CLOSED),
        "{event:?}"
    );
    let error = event.error().unwrap();
    assert_eq!((error.raw_os_error(), error.path()), (Some(libc::ENOENT), Some(place.path.as_path())));
    assert_eq!(place.all.efio.ef_open_status(fd).unwrap_err().kind(), ErrorKind::Stale);
    assert_eq!(place.all.efio.ef_close(fd).unwrap_err().kind(), ErrorKind::Stale);
    std::fs::write(&place.path, b"").unwrap();
    let error = place.all.open(&place.path, &OpenOptions::new().write(true).create_new(true)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
}

#[test]
fn a_handle_whose_file_is_closed_is_stale_for_every_call() {
    let mut place = place();
    let efio = place.all.efio.clone();
    let fd = place.all.open(&place.path, &OpenOptions::new().read(true).write(true).create(true)).unwrap();
    assert!(place.all.close(fd).error().is_none());
    let next = place.all.open(&place.path, &reading()).unwrap();
    assert_ne!(fd, next);
    let mut byte = [0];
    let kinds = [
        efio.ef_read(fd, &mut byte).map(drop),
        efio.ef_write(fd, &byte).map(drop),
        efio.ef_seek(fd, SeekFrom::Start(0)).map(drop),
        efio.ef_sync(fd),
        efio.ef_poll(fd).map(drop),
        efio.ef_progress(fd).map(drop),
        efio.ef_truncate(fd, 0),
        efio.ef_preallocate(fd, 0, 1, true),
        efio.ef_close(fd),
        efio.ef_close_status(fd),
        efio.ef_close_immediate(fd),
        efio.ef_abort(fd),
        efio.from_fd(fd).map(drop),
    ]
    .map(|answer| answer.map_err(|error| error.kind()));
    assert_eq!(kinds, [Err(ErrorKind::Stale); 13]);
}

#[test]
fn the_answer_of_a_close_is_taken_once_by_event_status_or_waiting() {
    let mut place = place();
    let efio = place.all.efio.clone();
    let fd = place.all.open(&place.path, &writing()).unwrap();
    assert_eq!(efio.ef_close_status(fd).unwrap_err().kind(), ErrorKind::InvalidInput);
    efio.ef_close(fd).unwrap();
    wait_until("the close", || match efio.ef_close_status(fd) {
        Err(error) if error.is_would_block() => false,
        answer => {
            answer.unwrap();
            true
        }
    });
    place.all.gather(Duration::from_millis(20));
    assert!(place.all.look_for(fd, Readiness::CLOSED).is_none(), "the answer was taken");
    let fd = place.all.open(&place.path, &writing()).unwrap();
    place.all.write(fd, b"waited for").unwrap();
    efio.ef_close_immediate(fd).unwrap();
    assert_eq!(std::fs::read(&place.path).unwrap(), b"waited for");
}

#[test]
fn lines_and_seeks_of_an_owned_file_are_those_of_the_file() {
    let place = place();
    std::fs::write(&place.path, b"one\ntwo\nthree\n").unwrap();
    let options = OpenOptions::new().read(true).write(true);
    let mut file = place.all.efio.open(&place.path, &options).unwrap();
    let mut lines = Vec::new();
    while lines.len() < 3 {
        match file.fill_buf() {
            Ok(bytes) => {
                let end = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                lines.push(String::from_utf8_lossy(&bytes[..end]).into_owned());
                file.consume(end);
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    assert_eq!(lines, ["one\n", "two\n", "three\n"]);
    file.blocking().seek(SeekFrom::Start(4)).unwrap();
    file.blocking().write_all(b"TWO").unwrap();
    file.blocking().flush().unwrap();
    assert_eq!(std::fs::read(&place.path).unwrap(), b"one\nTWO\nthree\n");
    let fd = file.into_fd();
    place.all.efio.ef_close_immediate(fd).unwrap();
}

#[test]
fn queued_metadata_calls_bring_one_answer_each() {
    let mut place = place();
    std::fs::write(&place.path, b"12345").unwrap();
    let efio = place.all.efio.clone();
    let other = place.path.with_file_name("other");
    let stat = efio.ef_stat(&place.path).unwrap();
    place.all.until(stat.fd(), Readiness::DONE);
    let Answer::Metadata(metadata) = efio.take(stat).unwrap() else { panic!("no metadata") };
    assert_eq!((metadata.len(), metadata.is_file()), (5, true));
    let rename = efio.ef_rename(&place.path, &other).unwrap();
    place.all.until(rename.fd(), Readiness::DONE);
    efio.take(rename).unwrap();
    assert_eq!(names(&place), ["other"]);
    let unlink = efio.ef_unlink(&other).unwrap();
    place.all.until(unlink.fd(), Readiness::DONE);
    efio.take(unlink).unwrap();
    assert!(names(&place).is_empty());
    let gone = efio.ef_stat(&other).unwrap();
    place.all.until(gone.fd(), Readiness::DONE);
    assert_eq!(efio.take(gone).unwrap_err().raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn the_poll_is_truthful_at_the_end_of_the_file_and_when_there_is_room() {
    let mut place = place();
    std::fs::write(&place.path, b"x").unwrap();
    let fd = place.all.open(&place.path, &OpenOptions::new().read(true).write(true)).unwrap();
    assert_eq!(place.all.read(fd).unwrap(), b"x");
    let ready = place.all.efio.ef_poll(fd).unwrap();
    assert!(ready.contains(Readiness::OPENED | Readiness::WRITABLE), "{ready:?}");
    assert!(!ready.intersects(Readiness::ERROR | Readiness::CLOSED), "{ready:?}");
}
