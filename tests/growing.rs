//! The end of a file that grows by another's hand: it is told as of the call that tells it, also where nothing can be
//! looked up without waiting.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::SeekFrom;

use efio::sim::{Sim, SimOptions};
use efio::{Efio, Events, Fd, OpenOptions, Readiness};
use support::{run, simulated};

/// A file that is open for reading, on a disk of which nothing is ever in memory.
fn opened(bytes: &[u8]) -> (Sim, Efio, Fd) {
    opened_in(simulated(), bytes)
}

/// The same where all is in memory, but for what hangs.
fn opened_warm(bytes: &[u8]) -> (Sim, Efio, Fd) {
    let sim = Sim::with_options(7, SimOptions { nowait_per_mille: 1000, ..SimOptions::default() });
    let efio = Efio::builder().sim(&sim).build().unwrap();
    opened_in((sim, efio), bytes)
}

fn opened_in((sim, efio): (Sim, Efio), bytes: &[u8]) -> (Sim, Efio, Fd) {
    sim.put("/file", bytes);
    let fd = efio.ef_open("/file", &OpenOptions::new().read(true)).unwrap();
    assert_eq!(news(&efio), [Readiness::OPENED]);
    (sim, efio, fd)
}

/// What all events have brought once nothing is left to do.
fn news(efio: &Efio) -> Vec<Readiness> {
    run(efio);
    let mut events = Events::with_capacity(16);
    efio.events(&mut events).unwrap();
    events.iter().map(|event| event.readiness()).collect()
}

/// A read after the poll that agrees with it; refused, it is told, and made once more.
fn read(efio: &Efio, fd: Fd) -> Vec<u8> {
    let mut into = [0; 100];
    for refusals in 0.. {
        let ready = efio.ef_poll(fd).unwrap().is_readable();
        let answer = efio.ef_read(fd, &mut into);
        assert_eq!(ready, answer.is_ok(), "the poll and {answer:?}");
        match answer {
            Ok(count) => return into[..count].to_vec(),
            Err(error) => assert!(error.is_would_block(), "{error}"),
        }
        assert_eq!(news(efio), [Readiness::READABLE]);
        assert!(refusals < 2, "a read is refused again and again");
    }
    unreachable!()
}

/// As `read`, by a lend.
fn lend(efio: &Efio, fd: Fd) -> Vec<u8> {
    for refusals in 0.. {
        match efio.ef_lend_read(fd) {
            Ok(lent) => {
                let bytes = lent.bytes().to_vec();
                lent.consume(bytes.len());
                return bytes;
            }
            Err(error) => assert!(error.is_would_block(), "{error}"),
        }
        assert_eq!(news(efio), [Readiness::READABLE]);
        assert!(refusals < 2, "a lend is refused again and again");
    }
    unreachable!()
}

#[test]
fn an_end_that_was_read_ahead_is_asked_for_once_more() {
    for way in [read, lend] {
        let (sim, efio, fd) = opened(b"abc");
        assert_eq!(way(&efio, fd), b"abc");
        // The end lies behind these bytes.
        sim.put("/file", b"abcdef");
        assert_eq!(way(&efio, fd), b"def");
        assert_eq!(way(&efio, fd), b"");
        sim.put("/file", b"abcdefgh");
        assert_eq!(way(&efio, fd), b"gh");
        assert_eq!(way(&efio, fd), b"");
        assert_eq!(way(&efio, fd), b"");
    }
}

#[test]
fn an_end_that_was_asked_for_is_told_without_a_second_question() {
    let (_sim, efio, fd) = opened(b"");
    for _ in 0..3 {
        assert!(efio.ef_read(fd, &mut [0; 10]).unwrap_err().is_would_block());
        assert_eq!(news(&efio), [Readiness::READABLE]);
        assert!(efio.ef_poll(fd).unwrap().is_readable());
        assert_eq!(efio.ef_read(fd, &mut [0; 10]).unwrap(), 0);
        assert!(!efio.ef_poll(fd).unwrap().is_readable(), "the next read asks again");
    }
}

#[test]
fn an_answer_that_waited_is_not_told_once_the_page_cache_has_more() {
    let (sim, efio, fd) = opened_warm(b"");
    let mut into = [0; 10];
    for (before, after) in [("", "abc"), ("abc", "abcdef")] {
        for by_offset in [false, true] {
            sim.put("/file", before.as_bytes());
            let read = |into: &mut [u8]| match by_offset {
                true => efio.ef_read_at(fd, into, before.len() as u64),
                false => efio.ef_read(fd, into),
            };
            efio.ef_seek(fd, SeekFrom::Start(before.len() as u64)).unwrap();
            sim.hang("/file");
            assert!(read(&mut into).unwrap_err().is_would_block());
            sim.release("/file");
            assert_eq!(news(&efio), [Readiness::READABLE]);
            sim.put("/file", after.as_bytes());
            assert!(efio.ef_poll(fd).unwrap().is_readable());
            assert_eq!(read(&mut into).unwrap(), 3);
            assert_eq!(into[..3], after.as_bytes()[before.len()..]);
        }
    }
}

#[test]
fn an_end_met_by_offset_before_the_file_was_extended_is_not_told_after_it() {
    for seed in 0..200 {
        let sim = Sim::with_options(seed, SimOptions { nowait_per_mille: 0, ..SimOptions::default() });
        let efio = Efio::builder().sim(&sim).build().unwrap();
        sim.put("/file", b"");
        let fd = efio.ef_open("/file", &OpenOptions::new().read(true).write(true)).unwrap();
        news(&efio);
        efio.ef_preallocate(fd, 0, 4096, false).unwrap();
        let mut into = [1; 100];
        assert!(efio.ef_read_at(fd, &mut into, 0).unwrap_err().is_would_block());
        news(&efio);
        let mut answer = efio.ef_read_at(fd, &mut into, 0);
        while answer.as_ref().is_err_and(|error| error.is_would_block()) {
            news(&efio);
            answer = efio.ef_read_at(fd, &mut into, 0);
        }
        assert_eq!((answer.unwrap(), into), (100, [0; 100]), "seed {seed}");
    }
}

#[test]
fn an_end_met_by_offset_is_looked_up_by_one_try_that_brings_the_bytes() {
    let mut grown = 0;
    for seed in 0..100 {
        let sim = Sim::with_options(seed, SimOptions { nowait_per_mille: 500, ..SimOptions::default() });
        let efio = Efio::builder().sim(&sim).build().unwrap();
        sim.put("/file", b"");
        let fd = efio.ef_open("/file", &OpenOptions::new().read(true)).unwrap();
        news(&efio);
        let mut into = [0; 4];
        if efio.ef_read_at(fd, &mut into, 0).is_ok() {
            continue;
        }
        news(&efio);
        sim.put("/file", b"more");
        // Nothing is asked for anew: the try has the bytes, or the end stands that was met for this caller.
        match efio.ef_read_at(fd, &mut into, 0).unwrap() {
            0 => {}
            bytes => {
                assert_eq!(&into[..bytes], &b"more"[..bytes], "seed {seed}");
                grown += 1;
            }
        }
    }
    assert!(grown > 0, "no try found bytes");
}
