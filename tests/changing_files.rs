//! Files that others change meanwhile: they grow, shrink and vanish under a reader, are rotated under a writer.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use efio::{Efio, Fd, OpenOptions, Readiness};
use support::{Loop, child, noise, wait_until};

const WRITER: &str = "EFIO_CHANGING_FILES_WRITER";

fn module() -> Loop {
    Loop::new(Efio::builder().flush_interval(Duration::from_millis(2)).build().unwrap())
}

fn reading(all: &mut Loop, path: &Path) -> Fd {
    all.open(path, &OpenOptions::new().read(true)).unwrap()
}

fn appending() -> OpenOptions {
    OpenOptions::new().append(true).create(true)
}

#[test]
fn a_file_that_grows_under_a_reader_is_read_to_its_last_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("growing");
    let bytes = noise(1, 4_000_000);
    let mut file = std::fs::File::create(&path).unwrap();
    let mut all = module();
    let fd = reading(&mut all, &path);
    let mut found = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| bytes.chunks(37_000).for_each(|piece| file.write_all(piece).unwrap()));
        wait_until("the whole file", || {
            found.extend(all.read(fd).unwrap());
            found.len() >= bytes.len()
        });
    });
    assert!(found == bytes);
}

/// The bytes that a lend shows, taken by it; none at the end.
fn lend(all: &mut Loop, fd: Fd) -> Vec<u8> {
    loop {
        match all.efio.ef_lend_read(fd) {
            Ok(lent) => {
                let bytes = lent.pieces().flatten().copied().collect();
                lent.consume(usize::MAX);
                return bytes;
            }
            Err(error) => assert!(error.is_would_block(), "{error}"),
        }
        all.until(fd, Readiness::READABLE);
    }
}

fn grow(path: &Path, bytes: &[u8]) {
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn an_end_that_nobody_was_told_is_none_once_the_file_has_grown() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = module();
    let path = folder.path().join("written just now");
    std::fs::write(&path, b"bytes").unwrap();
    let fd = reading(&mut all, &path);
    if all.efio.ef_read(fd, &mut [0; 5]).is_err() {
        return support::skip("nothing is read without waiting on this file system");
    }
    for (name, first) in [("empty", ""), ("short", "abc")] {
        let path = folder.path().join(name);
        std::fs::write(&path, first).unwrap();
        let fd = reading(&mut all, &path);
        // A lend has the file read ahead, and its end with it.
        if first.is_empty() {
            assert!(all.efio.ef_lend_read(fd).unwrap_err().is_would_block());
            all.until(fd, Readiness::READABLE);
        } else {
            assert_eq!(lend(&mut all, fd), first.as_bytes());
        }
        assert!(all.efio.ef_poll(fd).unwrap().is_readable(), "the end can be told");
        grow(&path, b"def");
        let mut few = [0; 10];
        let count = all.read_some(fd, &mut few).unwrap();
        assert_eq!(&few[..count], b"def");
        // The same for a lend, and for the last byte.
        for byte in b"gh" {
            assert_eq!(lend(&mut all, fd), []);
            assert!(all.efio.ef_lend_read(fd).unwrap_err().is_would_block(), "asks again");
            all.until(fd, Readiness::READABLE);
            grow(&path, &[*byte]);
            assert_eq!(lend(&mut all, fd), [*byte]);
            grow(&path, b"!");
            assert_eq!(lend(&mut all, fd), b"!");
        }
        assert_eq!(all.read_some(fd, &mut few).unwrap(), 0);
        assert!(all.close(fd).error().is_none());
    }
}

#[test]
fn the_owner_of_a_file_is_not_told_an_old_end_either() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, b"abc").unwrap();
    let efio = Efio::new().unwrap();
    let mut file = efio.open(&path, &OpenOptions::new().read(true)).unwrap();
    let mut next = move || loop {
        match file.fill_buf() {
            Ok(bytes) => {
                let found = bytes.to_vec();
                file.consume(found.len());
                return found;
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
        }
        std::thread::sleep(Duration::from_micros(100));
    };
    assert_eq!(next(), b"abc");
    grow(&path, b"def");
    assert_eq!(next(), b"def");
    assert_eq!(next(), b"");
}

#[test]
fn a_file_that_shrinks_under_a_reader_ends_early_and_gives_no_byte_that_was_not_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shrinking");
    let bytes = noise(2, 16 << 20);
    let mut all = module();
    for kept in [0, 1, 1 << 20, (3 << 20) + 17] {
        std::fs::write(&path, &bytes).unwrap();
        let fd = reading(&mut all, &path);
        let mut start = vec![0; 1 << 20];
        let first = all.read_some(fd, &mut start).unwrap();
        assert!(start[..first] == bytes[..first]);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(kept).unwrap();
        let rest = all.read(fd).unwrap();
        assert!(rest == bytes[first..first + rest.len()]);
        assert!(first + rest.len() < bytes.len(), "the end was not seen");
        assert!((first + rest.len()) as u64 >= kept);
        assert!(all.close(fd).error().is_none());
    }
}

#[test]
fn a_file_unlinked_under_a_reader_and_a_writer_keeps_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("unlinked");
    let bytes = noise(3, 6_000_000);
    std::fs::write(&path, &bytes).unwrap();
    let mut all = module();
    let fd = reading(&mut all, &path);
    let writer = all.open(&path, &OpenOptions::new().append(true)).unwrap();
    std::fs::remove_file(&path).unwrap();
    all.write(writer, b"one more").unwrap();
    all.sync(writer).unwrap();
    let found = all.read(fd).unwrap();
    assert!(found[..bytes.len()] == bytes[..] && &found[bytes.len()..] == b"one more");
    assert!(all.close(writer).error().is_none());
    assert!(!path.exists(), "nothing makes the name again");
}

/// A record that carries its writer, its number, and a body that follows from both.
fn record(writer: usize, number: usize) -> Vec<u8> {
    let size = if number % 40 == 0 { 30_000 } else { 5 + number * 7 % 200 };
    let mut record = format!("{writer} {number} ").into_bytes();
    record.extend(noise((writer * 1_000_000 + number) as u64, size).iter().map(|byte| b'a' + byte % 26));
    record.push(b'\n');
    record
}

/// The numbers found, by writer; every record must be whole.
fn records(found: &[u8]) -> BTreeMap<usize, Vec<usize>> {
    let mut seen: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for line in found.split_inclusive(|byte| *byte == b'\n') {
        let start = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
        let mut words = start.split(' ').map(str::parse::<usize>);
        let (Some(Ok(writer)), Some(Ok(number))) = (words.next(), words.next()) else {
            panic!("a torn record: {start:?}")
        };
        assert!(line == record(writer, number), "a torn record of {writer}, number {number}");
        seen.entry(writer).or_default().push(number);
    }
    seen
}

#[test]
fn a_log_that_is_renamed_goes_on_where_it_is_and_its_successor_begins_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut all = module();
    let mut fd = all.open(&path, &appending()).unwrap();
    for rotation in 0..5 {
        for number in rotation * 1000..rotation * 1000 + 700 {
            all.write(fd, &record(0, number)).unwrap();
        }
        std::fs::rename(&path, folder.path().join(format!("log.{rotation}"))).unwrap();
        for number in rotation * 1000 + 700..(rotation + 1) * 1000 {
            all.write(fd, &record(0, number)).unwrap();
        }
        let next = all.open(&path, &appending()).unwrap();
        assert!(all.close(fd).error().is_none());
        fd = next;
    }
    for rotation in 0..5 {
        let found = std::fs::read(folder.path().join(format!("log.{rotation}"))).unwrap();
        assert_eq!(records(&found)[&0], (rotation * 1000..(rotation + 1) * 1000).collect::<Vec<_>>());
    }
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn a_log_that_is_copied_and_truncated_has_no_hole_and_no_torn_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut all = module();
    let fd = all.open(&path, &appending()).unwrap();
    let mut copies = Vec::new();
    for number in 0..20_000 {
        all.write(fd, &record(0, number)).unwrap();
        if number % 3000 == 2999 {
            copies.push(std::fs::read(&path).unwrap());
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        }
    }
    assert!(all.close(fd).error().is_none());
    copies.push(std::fs::read(&path).unwrap());
    let last = copies.pop().unwrap();
    let mut seen = Vec::new();
    for copy in copies {
        // The copy may have been made while a write was under way; what is whole in it is in order.
        let whole = copy.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        seen.extend(records(&copy[..whole]).remove(&0).unwrap_or_default());
    }
    seen.extend(records(&last).remove(&0).unwrap_or_default());
    assert!(seen.is_sorted_by(|before, after| before < after), "a line came twice or out of order");
    assert_eq!(seen.last(), Some(&19_999));
}

const RECORDS: usize = 4_000;

/// The child: one process that appends, two of its threads at a time.
fn append_from_two_threads(place: &str) {
    let (process, path) = place.split_once(' ').unwrap();
    let process: usize = process.parse().unwrap();
    let all = module();
    let fd = Loop::new(all.efio.clone()).open(path, &appending()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let efio = all.efio.clone();
            scope.spawn(move || {
                for number in 0..RECORDS {
                    let record = record(process * 2 + thread, number);
                    while let Err(error) = efio.ef_write(fd, &record) {
                        assert!(error.is_would_block(), "{error}");
                        std::thread::sleep(Duration::from_micros(100));
                    }
                }
            });
        }
    });
    all.efio.ef_close_immediate(fd).unwrap();
}

/// Two processes that append to one file, started by `start`; the file afterwards.
fn two_processes(test: &str, start: impl Fn(usize, Command) -> Child) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared");
    let writers: Vec<Child> = (0..2)
        .map(|process| start(process, child(test, WRITER, &format!("{process} {}", path.display()))))
        .collect();
    for writer in writers {
        let output = writer.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::read(&path).unwrap()
}

fn piped(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn all_is_there(found: &[u8]) {
    let seen = records(found);
    assert_eq!(seen.len(), 4);
    assert!(
        seen.values().all(|numbers| *numbers == (0..RECORDS).collect::<Vec<_>>()),
        "lost or out of order"
    );
}

#[test]
fn records_of_two_processes_with_four_writers_are_whole_and_in_each_ones_order() {
    if let Ok(place) = std::env::var(WRITER) {
        return append_from_two_threads(&place);
    }
    let name = "records_of_two_processes_with_four_writers_are_whole_and_in_each_ones_order";
    all_is_there(&two_processes(name, |_, command| piped(command)));
}

#[test]
fn records_are_whole_when_one_of_two_processes_has_a_slow_disk_and_much_queued() {
    if let Ok(place) = std::env::var(WRITER) {
        return append_from_two_threads(&place);
    }
    let name = "records_are_whole_when_one_of_two_processes_has_a_slow_disk_and_much_queued";
    let strace = |command: &Command| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=writev"]);
        strace
            .args(["-e", "inject=writev:delay_enter=60000"])
            .arg(command.get_program())
            .args(command.get_args());
        strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        // In a build with AddressSanitizer: what looks for leaks at the end wants to trace the process itself.
        strace.env("ASAN_OPTIONS", "detect_leaks=0");
        strace
    };
    let probe = strace(&Command::new("true")).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return support::skip("strace cannot delay calls here");
    }
    let start = |process, command: Command| piped(if process == 0 { strace(&command) } else { command });
    all_is_there(&two_processes(name, start));
}
