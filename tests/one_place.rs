//! One place: an owned file has one place to read from, whichever call looks at it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, ErrorKind, Read, Seek, SeekFrom, Write};

use efio::{Efio, File, OpenOptions};

mod support;

use support::{Loop, noise};

const BYTES: usize = 5 << 20;

/// Reads exactly these many bytes in pieces of 100.
fn read_pieces(file: &mut File, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    let mut at = 0;
    while at < bytes {
        let end = bytes.min(at + 100);
        at += file.blocking().read(&mut read[at..end]).unwrap();
    }
    read
}

fn seek(file: &mut File, to: SeekFrom) -> u64 {
    loop {
        match file.seek(to) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            answer => return answer.unwrap(),
        }
    }
}

fn fill(file: &mut File) -> Vec<u8> {
    loop {
        match file.fill_buf() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            answer => return answer.unwrap().to_vec(),
        }
    }
}

#[test]
fn reads_seeks_and_loans_of_an_owned_file_go_on_where_the_last_one_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let bytes = noise(1, BYTES);
    std::fs::write(&path, &bytes).unwrap();
    let efio = Efio::new().unwrap();
    let mut file = efio.open(&path, &OpenOptions::new().read(true)).unwrap();
    let mut at = 0;
    // Across the ends of pages of every size, by all the calls in turn.
    for step in [100, 1000, 4096, 70_000, 1_100_000, 150_000, 1_300_000] {
        assert_eq!(read_pieces(&mut file, step), bytes[at..at + step]);
        at += step;
        assert_eq!(seek(&mut file, SeekFrom::Current(0)), at as u64);
        let lent = fill(&mut file);
        assert_eq!(lent[..], bytes[at..at + lent.len()]);
        let used = lent.len().min(37);
        file.consume(used);
        at += used;
        assert_eq!(read_pieces(&mut file, 250), bytes[at..at + 250]);
        at += 200;
        assert_eq!(seek(&mut file, SeekFrom::Current(-50)), at as u64);
    }
    assert_eq!(read_pieces(&mut file, 300), bytes[at..at + 300]);
    at += 300;
    // The handle goes on from there.
    let fd = file.into_fd();
    let mut news = Loop::new(efio.clone());
    let rest = news.read(fd).unwrap();
    assert!(rest == bytes[at..], "{} bytes, wanted {}", rest.len(), BYTES - at);
}

#[test]
fn a_write_between_reads_goes_to_the_place_of_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut bytes = noise(2, 1 << 20);
    std::fs::write(&path, &bytes).unwrap();
    let efio = Efio::new().unwrap();
    let mut file = efio.open(&path, &OpenOptions::new().read(true).write(true)).unwrap();
    let mut at = 0;
    for round in 0..20 {
        let step = 1000 + round * 517;
        assert_eq!(read_pieces(&mut file, step), bytes[at..at + step]);
        at += step;
        file.blocking().write_all(b"written").unwrap();
        bytes[at..at + 7].copy_from_slice(b"written");
        at += 7;
    }
    file.blocking().close().unwrap();
    assert!(std::fs::read(&path).unwrap() == bytes);
}
