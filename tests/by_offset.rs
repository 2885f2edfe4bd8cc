//! By offset: what is written at a place is there in the order of acceptance, and a read by offset sees it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{IoSlice, IoSliceMut};

use efio::{Efio, Error, ErrorKind, Fd, OpenOptions, Readiness};
use support::{Loop, noise};

fn stage() -> (Loop, tempfile::TempDir) {
    (Loop::new(Efio::new().unwrap()), tempfile::tempdir().unwrap())
}

/// Writes all of `bytes` at `offset`, waiting for room where there is none.
fn write_at(all: &mut Loop, fd: Fd, mut bytes: &[u8], mut offset: u64) -> Result<(), Error> {
    while !bytes.is_empty() {
        match all.efio.ef_write_at(fd, bytes, offset) {
            Ok(taken) => {
                bytes = &bytes[taken..];
                offset += taken as u64;
            }
            Err(error) if error.is_would_block() => _ = all.until(fd, Readiness::WRITABLE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One read by offset that has an answer.
fn read_at(all: &mut Loop, fd: Fd, into: &mut [u8], offset: u64) -> Result<usize, Error> {
    loop {
        match all.efio.ef_read_at(fd, into, offset) {
            Err(error) if error.is_would_block() => _ = all.until(fd, Readiness::READABLE),
            answer => return answer,
        }
    }
}

#[test]
fn a_header_is_rewritten_behind_the_chunks_that_it_counts() {
    let (mut all, folder) = stage();
    let path = folder.path().join("chunks");
    let fd = all.open(&path, &OpenOptions::new().write(true).create(true)).unwrap();
    let mut expected = vec![0; 16];
    all.write(fd, &expected.clone()).unwrap();
    for round in 1..=50_u64 {
        let chunk = noise(round, 10_000 + round as usize * 97);
        all.write(fd, &chunk).unwrap();
        expected.extend_from_slice(&chunk);
        let header = [round.to_le_bytes(), (expected.len() as u64).to_le_bytes()].concat();
        write_at(&mut all, fd, &header, 0).unwrap();
        expected[..16].copy_from_slice(&header);
    }
    let progress = all.efio.ef_progress(fd).unwrap();
    assert_eq!(progress.accepted, expected.len() as u64 + 50 * 16);
    let closed = all.close(fd);
    assert!(closed.error().is_none() && closed.bytes_lost() == 0, "{closed:?}");
    assert_eq!(closed.progress().written, progress.accepted);
    assert!(std::fs::read(&path).unwrap() == expected);
}

#[test]
fn reads_by_offset_and_in_sequence_see_what_was_accepted_before_them() {
    let (mut all, folder) = stage();
    let path = folder.path().join("file");
    let mut bytes = noise(1, 3 << 20);
    std::fs::write(&path, &bytes).unwrap();
    let fd = all.open(&path, &OpenOptions::new().read(true).write(true)).unwrap();
    // A sequential reader has a window ahead of itself when the bytes change.
    let mut count = 0;
    while count < 5000 {
        let mut piece = [0; 100];
        let got = all.read_some(fd, &mut piece).unwrap();
        assert!(piece[..got] == bytes[count..count + got]);
        count += got;
    }
    write_at(&mut all, fd, b"in the window", 10_000).unwrap();
    bytes[10_000..10_013].copy_from_slice(b"in the window");
    let mut ahead = vec![0; 5013];
    let mut got = 0;
    while got < ahead.len() {
        got += all.read_some(fd, &mut ahead[got..]).unwrap();
    }
    assert!(ahead == bytes[count..count + 5013], "the window shows what was there before");
    count += 5013;
    for round in 0..40_u64 {
        let offset = (round as usize * 77_777) % (bytes.len() - 9000);
        let news = noise(100 + round, 5000);
        write_at(&mut all, fd, &news, offset as u64).unwrap();
        bytes[offset..offset + 5000].copy_from_slice(&news);
        let mut back = vec![0; 9000];
        let begin = offset.saturating_sub(2000);
        let got = read_at(&mut all, fd, &mut back, begin as u64).unwrap();
        assert!(got > 0 && back[..got] == bytes[begin..begin + got], "round {round}: {got} at {begin}");
    }
    // The offset of the sequential reader has not moved, and its window holds nothing of before.
    let rest = all.read(fd).unwrap();
    assert!(rest == bytes[count..], "the sequential reader sees old bytes");
    let mut end = [0; 10];
    assert_eq!(read_at(&mut all, fd, &mut end, bytes.len() as u64 - 4).unwrap(), 4);
    assert_eq!(read_at(&mut all, fd, &mut end, bytes.len() as u64).unwrap(), 0);
    assert_eq!(read_at(&mut all, fd, &mut end, u64::from(u32::MAX)).unwrap(), 0);
    all.close(fd);
}

#[test]
fn a_gap_reads_as_zeros_and_the_offset_of_plain_writes_stays() {
    let (mut all, folder) = stage();
    let path = folder.path().join("gap");
    let options = OpenOptions::new().read(true).write(true).create(true);
    let fd = all.open(&path, &options).unwrap();
    all.write(fd, b"head").unwrap();
    write_at(&mut all, fd, b"far", 100_000).unwrap();
    assert_eq!(all.seek(fd, std::io::SeekFrom::End(0)).unwrap(), 100_003);
    assert_eq!(all.seek(fd, std::io::SeekFrom::Start(4)).unwrap(), 4);
    all.write(fd, b"er").unwrap();
    let mut back = [1; 8];
    assert_eq!(read_at(&mut all, fd, &mut back, 2).unwrap(), 8);
    assert_eq!(&back, b"ader\0\0\0\0");
    all.close(fd);
    let mut expected = b"header".to_vec();
    expected.resize(100_000, 0);
    expected.extend_from_slice(b"far");
    assert!(std::fs::read(&path).unwrap() == expected);
}

#[test]
fn an_append_file_refuses_an_offset_and_so_does_a_file_that_is_read_only() {
    let (mut all, folder) = stage();
    let path = folder.path().join("log");
    let fd = all.open(&path, &OpenOptions::new().append(true).create(true)).unwrap();
    let error = all.efio.ef_write_at(fd, b"x", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("append"), "{error}");
    all.close(fd);
    let fd = all.open(&path, &OpenOptions::new().read(true)).unwrap();
    assert_eq!(all.efio.ef_write_at(fd, b"x", 0).unwrap_err().kind(), ErrorKind::NotPermitted);
    assert_eq!(all.efio.ef_read_at(fd, &mut [0; 2], u64::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
    all.close(fd);
}

#[test]
fn a_flood_by_offset_is_bounded_by_the_files_limit_and_each_refusal_has_its_event() {
    let (mut all, folder) = stage();
    let path = folder.path().join("flood");
    let options = OpenOptions::new().write(true).create(true).memory_limit(64 << 10);
    let fd = all.open(&path, &options).unwrap();
    let mut expected = vec![0; 1 << 20];
    let mut refused = 0;
    for round in 0..2000_u64 {
        let bytes = noise(round, 1 + (round as usize * 37) % 3000);
        let offset = (round as usize * 7919) % (expected.len() - bytes.len());
        while let Err(error) = all.efio.ef_write_at(fd, &bytes, offset as u64) {
            assert!(error.is_would_block(), "{error}");
            refused += 1;
            all.until(fd, Readiness::WRITABLE);
        }
        expected[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }
    let closed = all.close(fd);
    assert!(closed.error().is_none(), "{closed:?}");
    let written = std::fs::read(&path).unwrap();
    assert!(written == expected[..written.len()] && expected[written.len()..].iter().all(|byte| *byte == 0));
    assert!(refused > 0, "2000 writes of a page each never met the limit of 16 pages");
}

#[test]
fn buffers_go_in_and_out_one_behind_the_other() {
    let (mut all, folder) = stage();
    let path = folder.path().join("vectors");
    let fd = all.open(&path, &OpenOptions::new().read(true).write(true).create(true)).unwrap();
    let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two ")];
    assert_eq!(all.efio.ef_writev(fd, &parts).unwrap(), 8);
    assert_eq!(all.efio.ef_writev_at(fd, &parts, 8).unwrap(), 8);
    all.efio.ef_sync(fd).unwrap();
    all.until(fd, Readiness::SYNCED);
    let (mut first, mut second) = ([0; 6], [0; 20]);
    loop {
        let mut into = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        match all.efio.ef_readv_at(fd, &mut into, 2) {
            Ok(14) => break,
            Ok(short) => assert!(short > 0),
            Err(error) if error.is_would_block() => all.gather(std::time::Duration::from_millis(5)),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((&first, &second[..8]), (b"e two ", &b"one two "[..]));
    all.close(fd);
}

#[test]
fn an_owned_file_reads_and_writes_by_offset_between_its_other_calls() {
    let (all, folder) = stage();
    let path = folder.path().join("owned");
    let mut file = all.efio.open(&path, &OpenOptions::new().read(true).write(true).create(true)).unwrap();
    std::io::Write::write_all(&mut file.blocking(), b"0123456789").unwrap();
    assert_eq!(all.efio.ef_write_at(file.fd(), b"x", 0).unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(all.efio.ef_read_at(file.fd(), &mut [0], 0).unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(file.write_at(b"five", 5).unwrap(), 4);
    std::io::Write::write_all(&mut file.blocking(), b"AB").unwrap();
    let mut back = [0; 20];
    let got = loop {
        match file.read_at(&mut back, 3) {
            Err(error) if error.is_would_block() => std::thread::yield_now(),
            answer => break answer.unwrap(),
        }
    };
    assert_eq!(&back[..got], &b"34five9AB"[..got]);
    file.blocking().close().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"01234five9AB");
}
