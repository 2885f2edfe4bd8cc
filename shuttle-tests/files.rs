//! Whole-module scenarios: writers, readers, closes, the timer, the waiters and the workers, all at once.
//!
//! What each is about stands in its name. A twin is the same scenario with one fault of the module's surroundings
//! (see `module::Fault`) or of the caller, on which it must fail.

use std::io::SeekFrom;
use std::time::Duration;

use crate::config::{Limits, OpenOptions};
use crate::error::ErrorKind;
use crate::event::Readiness;
use crate::fd::Fd;
use crate::file::write::Caller;
use crate::page::Class;
use crate::sync::{Arc, AtomicUsize, Ordering, thread};

use super::module::{Fault, Module, Seen, Waiter, limits};
use super::{catch, explore, join_all};

fn new_file() -> OpenOptions {
    OpenOptions::new().write(true).create(true)
}

/// Writes `count` pieces of `len` bytes with numbers of their own, waiting for room; how many were taken.
fn write_pieces(module: &Module, fd: Fd, waiter: &Waiter, number: usize, count: usize, len: usize) -> usize {
    for piece in 0..count {
        loop {
            match module.commons().write(fd, &vec![(number * 16 + piece) as u8; len]) {
                Ok(taken) => break assert_eq!(taken, len, "a piece taken in part"),
                Err(error) if error.is_would_block() => waiter.wait(),
                Err(_) => return piece,
            }
        }
    }
    count
}

/// Checks that a file is made of whole pieces, each writer's in order; how many there are of each.
fn pieces(bytes: &[u8], writers: usize, len: usize) -> Vec<usize> {
    let mut next = vec![0; writers];
    assert_eq!(bytes.len() % len, 0, "a part of a piece");
    for piece in bytes.chunks(len) {
        let writer = usize::from(piece[0]) / 16;
        assert!(piece.iter().all(|byte| *byte == (writer * 16 + next[writer]) as u8), "a piece out of order");
        next[writer] += 1;
    }
    next
}

/// Three writers in one file; a sync and, once it is done, a close, while they write and the timer flushes.
fn writers_sync_close(fault: Fault) {
    let module = Module::new(limits(4, 1), fault);
    let mut seen = Seen::default();
    let fd = module.open("/file", &new_file()).unwrap();
    let waiters: Vec<_> = (0..3).map(|_| Waiter::new()).collect();
    let writers: Vec<_> = (0..3)
        .map(|number| {
            let (module, waiter) = (module.clone(), waiters[number].clone());
            thread::spawn(move || write_pieces(&module, fd, &waiter, number, 3, 1500))
        })
        .collect();
    module.run_loop(&waiters, &mut seen, |seen| seen.count(fd, Readiness::OPENED) > 0);
    module.commons().sync(fd).unwrap();
    module.run_loop(&waiters, &mut seen, |seen| seen.count(fd, Readiness::SYNCED) > 0);
    module.close(fd);
    module.run_loop(&waiters, &mut seen, |seen| seen.count(fd, Readiness::CLOSED) > 0);
    let taken = join_all(writers);
    let bytes = module.sim.read("/file").unwrap_or_default();
    assert_eq!(pieces(&bytes, 3, 1500), taken, "what was accepted is not what was written");
    module.finish();
}

#[test]
fn writers_a_timer_a_sync_and_a_close_lose_nothing() {
    explore(|| writers_sync_close(Fault::None));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_whose_worker_sleeps_without_another_look() {
    catch(|| writers_sync_close(Fault::WorkerSleepsBlind));
}

/// The byte at an offset of the file that is read.
fn byte_at(offset: usize) -> u8 {
    (offset / 1000) as u8
}

/// Reads from `offset` until `end`, or until the file is closed; false: it was closed.
fn read_on(module: &Module, fd: Fd, waiter: &Waiter, mut offset: usize, end: usize) -> bool {
    let mut into = vec![255; 7000];
    while offset < end {
        let most = (end - offset).min(into.len());
        let nowait =
            |handle, offset, into: &mut [u8]| module.engine.platform.read_nowait(handle, offset, into);
        match module.commons().read(fd, &mut into[..most], &nowait) {
            Ok(bytes) => {
                assert!(bytes > 0, "the end came early");
                let right = into[..bytes].iter().zip(offset..).all(|(byte, at)| *byte == byte_at(at));
                assert!(right, "bytes of another place");
                offset += bytes;
            }
            Err(error) if error.is_would_block() => waiter.wait(),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Stale), "{error}");
                return false;
            }
        }
    }
    true
}

/// A reader that goes on, back and to the end, against fills; `closes`: another closes the file meanwhile.
fn reader_seeks(closes: bool, fault: Fault) {
    let end = 5 * Class::Large.bytes() + 700;
    let module = Module::new(limits(12, 1), fault);
    module.sim.put("/file", &(0..end).map(byte_at).collect::<Vec<_>>());
    let mut seen = Seen::default();
    let fd = module.open("/file", &OpenOptions::new().read(true)).unwrap();
    module.until(fd, Readiness::OPENED, &mut seen);
    let waiter = Waiter::new();
    let ended = Arc::new(AtomicUsize::new(0));
    let reader = {
        let (module, waiter, ended) = (module.clone(), waiter.clone(), ended.clone());
        thread::spawn(move || {
            let seek = |to: u64| module.commons().seek(fd, SeekFrom::Start(to), Caller::Descriptor).is_ok();
            let whole = read_on(&module, fd, &waiter, 0, 9_000)
                && seek(50_000)
                && read_on(&module, fd, &waiter, 50_000, 60_000)
                && seek(2_000)
                && read_on(&module, fd, &waiter, 2_000, end);
            ended.fetch_add(1, Ordering::SeqCst);
            module.call_loop();
            whole
        })
    };
    if !closes {
        module.run_loop(&[waiter.clone()], &mut seen, |_| ended.load(Ordering::SeqCst) > 0);
    }
    module.close(fd);
    module.run_loop(&[waiter], &mut seen, |seen| seen.count(fd, Readiness::CLOSED) > 0);
    let whole = reader.join().unwrap();
    assert!(whole || closes, "a file that nobody closed");
    assert_eq!(seen.count(fd, Readiness::CLOSED), 1, "two closed events");
    module.finish();
}

#[test]
fn a_reader_that_seeks_against_fills_gets_the_bytes_of_each_place() {
    explore(|| reader_seeks(false, Fault::None));
}

#[test]
fn a_close_against_a_reader_that_seeks_and_its_fills_ends_both() {
    explore(|| reader_seeks(true, Fault::None));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_whose_loop_forgets_news_that_come_early() {
    catch(|| reader_seeks(false, Fault::LoopForgets));
}

/// More files than there are pages: each writer waits for room of its file or of the pool.
fn waiters_for_room(fault: Fault) {
    const FILES: usize = 5;
    let small = Limits { file_memory: 2 * Class::Small.bytes(), ..limits(1, FILES as u32) };
    let module = Module::new(small, fault);
    let mut seen = Seen::default();
    let fds: Vec<Fd> =
        (0..FILES).map(|number| module.open(&format!("/{number}"), &new_file()).unwrap()).collect();
    module.run_loop(&[], &mut seen, |seen| seen.all(Readiness::OPENED) == FILES);
    let waiters: Vec<_> = (0..FILES).map(|_| Waiter::new()).collect();
    let ended = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..FILES)
        .map(|number| {
            let (module, waiter, ended) = (module.clone(), waiters[number].clone(), ended.clone());
            let fd = fds[number];
            thread::spawn(move || {
                let taken = write_pieces(&module, fd, &waiter, number, 2, 2500);
                ended.fetch_add(1, Ordering::SeqCst);
                module.call_loop();
                taken
            })
        })
        .collect();
    module.run_loop(&waiters, &mut seen, |_| ended.load(Ordering::SeqCst) == FILES);
    fds.iter().for_each(|fd| module.close(*fd));
    module.run_loop(&waiters, &mut seen, |seen| seen.all(Readiness::CLOSED) == FILES);
    assert_eq!(join_all(writers), [2; FILES]);
    for number in 0..FILES {
        let bytes = module.sim.read(format!("/{number}")).unwrap_or_default();
        assert_eq!(pieces(&bytes, FILES, 2500)[number], 2, "bytes were lost");
    }
    module.finish();
}

#[test]
fn writers_that_wait_for_pages_and_for_their_files_limit_all_come_through() {
    explore(|| waiters_for_room(Fault::None));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_in_which_no_timer_gives_half_full_pages_to_those_who_wait() {
    catch(|| waiters_for_room(Fault::NoTimer));
}

/// Two callers that open, write, sync and close files, while workers come and go.
fn lanes_and_retirement(fault: Fault) {
    let many = Limits { threads: 4, thread_idle: Duration::from_millis(1), ..limits(4, 4) };
    let module = Module::new(many, fault);
    let callers: Vec<_> = (0..2)
        .map(|number| {
            let module = module.clone();
            thread::spawn(move || {
                for round in 0..2 {
                    let fd = module.open(&format!("/{number}-{round}"), &new_file()).unwrap();
                    // Not open yet, or open: a sync and a close come after it in either case.
                    let _ = module.commons().write(fd, &[7; 100]);
                    let _ = module.commons().sync(fd);
                    module.close(fd);
                }
            })
        })
        .collect();
    let mut seen = Seen::default();
    module.run_loop(&[], &mut seen, |seen| seen.all(Readiness::CLOSED) == 4);
    join_all(callers);
    assert_eq!(seen.all(Readiness::CLOSED), 4, "a file was closed twice");
    module.finish();
}

#[test]
fn every_file_is_closed_while_workers_come_and_go() {
    explore(|| lanes_and_retirement(Fault::None));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_whose_worker_goes_without_another_look() {
    catch(|| lanes_and_retirement(Fault::WorkerGoesBlind));
}

/// A caller with a handle that grows old, while others open and close files in the same place of the table.
fn stale_handles(by_index: bool) {
    let module = Module::new(limits(4, 1), Fault::None);
    let mut seen = Seen::default();
    let first = module.open("/first", &new_file()).unwrap();
    module.until(first, Readiness::OPENED, &mut seen);
    let late = {
        let module = module.clone();
        thread::spawn(move || {
            let mut taken = 0;
            for _ in 0..12 {
                let now = module.commons().table.get(first.index()).map_or(first, |slot| slot.fd());
                let fd = if by_index { now } else { first };
                taken += module.commons().write(fd, &[1; 700]).unwrap_or(0);
            }
            taken
        })
    };
    module.close(first);
    module.until(first, Readiness::CLOSED, &mut seen);
    let second = module.open("/second", &new_file()).unwrap();
    module.until(second, Readiness::OPENED, &mut seen);
    assert_eq!(module.commons().write(second, &[2; 900]).unwrap(), 900);
    let taken = late.join().unwrap();
    module.close(second);
    module.until(second, Readiness::CLOSED, &mut seen);
    let second = module.sim.read("/second").unwrap_or_default();
    assert!(second == [2; 900], "a write of the last file is in the next one");
    assert_eq!(module.sim.read("/first").unwrap_or_default().len(), taken, "bytes were lost");
    module.finish();
}

#[test]
fn an_old_handle_never_reaches_the_next_file_of_its_place() {
    explore(|| stale_handles(false));
}

#[test]
#[should_panic(expected = "a write of the last file is in the next one")]
fn twin_that_trusts_the_index_alone() {
    catch(|| stale_handles(true));
}
