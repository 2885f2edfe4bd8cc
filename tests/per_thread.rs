//! Files whose threads have an order each: lines are whole, each thread's are in order, and none is lost or held back.
#![allow(clippy::unwrap_used, reason = "a test fails where it stands, also in a function that several share")]

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use efio::{Durability, Efio, ErrorKind, Fd, OpenOptions, Order, Readiness};
use support::{Loop, PATIENCE, wait_until};

fn options() -> OpenOptions {
    OpenOptions::new().append(true).create(true).order(Order::PerThread)
}

/// Line `number` of `writer`: its length and its bytes follow from the two.
fn line(writer: u64, number: u64) -> Vec<u8> {
    let mut line = format!("{writer} {number} ").into_bytes();
    let padding = (writer * 7 + number * 13) % 200;
    line.resize(line.len() + padding as usize, b'a' + (number % 26) as u8);
    line.push(b'\n');
    line
}

/// Writes a line by this thread, trying again while there is no room.
fn write(efio: &Efio, fd: Fd, writer: u64, number: u64) {
    let (line, start) = (line(writer, number), Instant::now());
    loop {
        match efio.ef_write(fd, &line) {
            Ok(taken) => return assert_eq!(taken, line.len(), "a line is taken whole"),
            Err(error) => assert!(error.is_would_block(), "{error}"),
        }
        assert!(start.elapsed() < PATIENCE, "there is no room for line {number} of {writer}");
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// How many lines of each writer the file holds; they must be whole and in order.
fn lines_of(bytes: &[u8]) -> HashMap<u64, u64> {
    let mut next = HashMap::new();
    for whole in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(whole);
        let mut words = text.split(' ');
        let mut word = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (Some(writer), Some(number)) = (word(), word()) else { panic!("a line is torn: {text:?}") };
        assert_eq!(whole, line(writer, number), "a line is torn: {text:?}");
        let next = next.entry(writer).or_insert(0);
        assert_eq!(number, *next, "writer {writer} is out of order");
        *next += 1;
    }
    next
}

fn lines_in(path: &Path) -> HashMap<u64, u64> {
    lines_of(&std::fs::read(path).unwrap())
}

/// Threads that come and go write flat out, while the file is synced and looked at.
fn storm(options: &OpenOptions, threads: u64, lines: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let efio = Efio::builder().flush_interval(Duration::from_millis(1)).build().unwrap();
    let mut news = Loop::new(efio.clone());
    let fd = news.open(&path, options).unwrap();
    let running = AtomicU64::new(threads);
    std::thread::scope(|scope| {
        for writer in 0..threads {
            let (efio, running) = (&efio, &running);
            scope.spawn(move || {
                (0..lines).for_each(|number| write(efio, fd, writer, number));
                // Its number, and the page it leaves behind, go to the next one.
                std::thread::scope(|inner| {
                    let next = writer + threads;
                    inner.spawn(move || (0..lines).for_each(|number| write(efio, fd, next, number)));
                });
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let mut last = efio.ef_progress(fd).unwrap();
        while running.load(Ordering::SeqCst) > 0 {
            news.sync(fd).unwrap();
            let now = efio.ef_progress(fd).unwrap();
            assert!(now.accepted >= now.written && now.written >= now.durable, "{now:?}");
            assert!(now.accepted >= last.accepted && now.written >= last.written, "{last:?} {now:?}");
            last = now;
        }
    });
    let closed = news.close(fd);
    assert!(closed.error().is_none() && closed.bytes_lost() == 0, "{closed:?}");
    let found = lines_in(&path);
    assert!(
        (0..2 * threads).all(|writer| found.get(&writer) == Some(&lines)),
        "lines are missing: {found:?}"
    );
}

#[test]
fn each_threads_lines_are_whole_and_in_order_and_none_is_lost() {
    storm(&options(), 6, 10_000);
    storm(&options().durability(Durability::EveryWrite), 3, 300);
    let plain = OpenOptions::new().write(true).create(true).order(Order::PerThread);
    storm(&plain, 4, 10_000);
}

#[test]
fn a_file_with_little_memory_serves_all_its_threads() {
    storm(&options().memory_limit(4 << 10), 4, 1_000);
    storm(&options().memory_limit(128 << 10), 8, 5_000);
}

#[test]
fn threads_beyond_those_with_a_page_of_their_own_write_too() {
    storm(&options(), 80, 200);
}

/// Lets the writers end also if the test fails.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_sync_covers_what_every_thread_had_written_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut news = Loop::new(Efio::new().unwrap());
    let efio = news.efio.clone();
    let fd = news.open(&path, &options()).unwrap();
    let (stop, written) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 4]);
    std::thread::scope(|scope| {
        let _stop = StopAtTheEnd(&stop);
        for writer in 0..4 {
            let (efio, stop, written) = (&efio, &stop, &written);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) || number == 10_000 {
                        break;
                    }
                    write(efio, fd, writer, number);
                    written[writer as usize].store(number + 1, Ordering::SeqCst);
                    if number % 16 == 0 {
                        std::thread::sleep(Duration::from_micros(500));
                    }
                }
            });
        }
        for _ in 0..20 {
            let before: Vec<u64> = written.iter().map(|count| count.load(Ordering::SeqCst)).collect();
            news.sync(fd).unwrap();
            let found = lines_in(&path);
            for (writer, count) in before.iter().enumerate() {
                let found = found.get(&(writer as u64)).copied().unwrap_or(0);
                assert!(
                    found >= *count,
                    "{count} lines of {writer} were written before the sync, {found} are there"
                );
            }
        }
    });
    efio.ef_close_immediate(fd).unwrap();
}

#[test]
fn what_a_thread_leaves_behind_is_written_by_the_timer_and_its_page_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    // 4 MiB are 1,024 of the smallest pages.
    let builder = Efio::builder().memory_limit(4 << 20).flush_interval(Duration::from_millis(10));
    let mut news = Loop::new(builder.build().unwrap());
    let efio = news.efio.clone();
    for file in 0..400 {
        let path = folder.path().join(file.to_string());
        let fd = news.open(&path, &options()).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let efio = &efio;
                scope.spawn(move || write(efio, fd, writer, 0));
            }
        });
        // This one stays, and writes no more.
        write(&efio, fd, 4, 0);
        if file % 50 == 0 {
            wait_until("all to be written", || {
                let progress = efio.ef_progress(fd).unwrap();
                progress.written == progress.accepted
            });
            assert_eq!(lines_in(&path).len(), 5);
        }
    }
}

#[test]
fn a_truncate_comes_behind_what_was_written_before_it_and_ahead_of_what_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut news = Loop::new(Efio::new().unwrap());
    let efio = news.efio.clone();
    let fd = news.open(&path, &options()).unwrap();
    for _ in 0..20 {
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..4)
                .map(|writer| {
                    let efio = &efio;
                    scope.spawn(move || (0..100).for_each(|number| write(efio, fd, writer, number)))
                })
                .collect();
            others.into_iter().for_each(|thread| thread.join().unwrap());
            (0..100).for_each(|number| write(&efio, fd, 0, number));
            efio.ef_truncate(fd, 0).unwrap();
            (0..1000).for_each(|number| write(&efio, fd, 9, number));
        });
        assert!(news.until(fd, Readiness::DONE).error().is_none());
        news.sync(fd).unwrap();
        assert_eq!(lines_in(&path), HashMap::from([(9, 1000)]));
        efio.ef_truncate(fd, 0).unwrap();
        assert!(news.until(fd, Readiness::DONE).error().is_none());
    }
    efio.ef_close_immediate(fd).unwrap();
}

#[test]
fn an_aborted_file_counts_every_byte_as_written_or_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut news = Loop::new(Efio::new().unwrap());
    let efio = news.efio.clone();
    let fd = news.open(folder.path().join("log"), &options()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let efio = &efio;
            scope.spawn(move || (0..1000).for_each(|number| write(efio, fd, writer, number)));
        }
    });
    let accepted = efio.ef_progress(fd).unwrap().accepted;
    efio.ef_abort(fd).unwrap();
    let closed = news.until(fd, Readiness::CLOSED);
    let written = std::fs::read(folder.path().join("log")).unwrap();
    assert_eq!(written.len() as u64 + closed.bytes_lost(), accepted);
    lines_of(&written);
}

#[test]
fn an_owning_file_and_its_handle_keep_the_order_of_their_thread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut news = Loop::new(Efio::new().unwrap());
    let efio = news.efio.clone();
    let fd = news.open(&path, &options()).unwrap();
    (0..100).for_each(|number| write(&efio, fd, 1, number));
    let mut file = efio.from_fd(fd).unwrap();
    assert_eq!(efio.ef_write(fd, b"x").unwrap_err().kind(), ErrorKind::Busy);
    (100..200).for_each(|number| assert!(file.append(&line(1, number)).is_ok()));
    assert_eq!(efio.ef_write(fd, b"x").unwrap_err().kind(), ErrorKind::Busy);
    let fd = file.into_fd();
    (200..300).for_each(|number| write(&efio, fd, 1, number));
    efio.ef_close_immediate(fd).unwrap();
    assert_eq!(lines_in(&path), HashMap::from([(1, 300)]));
}

#[test]
fn what_has_no_meaning_without_one_order_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut news = Loop::new(Efio::new().unwrap());
    let reading = options().read(true);
    let error = news.efio.ef_open(folder.path().join("a"), &reading).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let plain = OpenOptions::new().write(true).create(true).order(Order::PerThread);
    let fd = news.open(folder.path().join("b"), &plain).unwrap();
    let error = news.efio.ef_seek(fd, std::io::SeekFrom::Start(7)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(news.efio.ef_write_at(fd, b"x", 3).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(news.efio.ef_lend_write(fd, 1).err().map(|error| error.kind()), Some(ErrorKind::InvalidInput));
    news.efio.ef_write(fd, b"twelve ").unwrap();
    let slices = [std::io::IoSlice::new(b"by"), std::io::IoSlice::new(b"tes")];
    assert_eq!(news.efio.ef_writev(fd, &slices).unwrap(), 5);
    assert_eq!(news.efio.ef_seek(fd, std::io::SeekFrom::Current(0)).unwrap(), 12);
    news.efio.ef_close_immediate(fd).unwrap();
    assert_eq!(std::fs::read(folder.path().join("b")).unwrap(), b"twelve bytes");
}
