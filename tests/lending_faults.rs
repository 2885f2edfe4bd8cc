//! Lent pages of a file whose disk refuses, fails or hangs, or that is cut meanwhile: on the simulated disk.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use efio::sim::{FaultRule, Sim, SimOptions};
use efio::{Durability, Efio, ErrorKind, Events, Fd, OpenOptions, Operation, Readiness};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn module(limit: usize) -> (Sim, Efio, Fd) {
    let options = SimOptions { short_count_per_mille: 0, interrupt_per_mille: 0, ..SimOptions::default() };
    let sim = Sim::with_options(1, options);
    let efio = Efio::builder().sim(&sim).file_memory_limit(limit).build().unwrap();
    let fd = efio.ef_open("/file", &OpenOptions::new().read(true).write(true).create(true)).unwrap();
    while efio.ef_open_status(fd).is_err() {
        assert!(efio.step());
    }
    (sim, efio, fd)
}

fn put(efio: &Efio, fd: Fd, bytes: &[u8]) -> efio::Result<()> {
    let mut lend = efio.ef_lend_write(fd, bytes.len())?;
    lend.zeroed(bytes.len()).copy_from_slice(bytes);
    lend.commit(bytes.len())
}

fn rest(efio: &Efio) {
    while efio.step() {}
}

fn events(efio: &Efio, fd: Fd) -> Readiness {
    let mut events = Events::with_capacity(64);
    efio.events(&mut events).unwrap();
    let of_file = events.iter().filter(|event| event.fd() == fd);
    of_file.fold(Readiness::NONE, |all, event| all | event.readiness())
}

#[test]
fn a_stalled_file_lends_up_to_its_limit_and_takes_every_byte_when_there_is_room() {
    let (sim, efio, fd) = module(64 << 10);
    sim.fail(FaultRule::new(Operation::Write, ENOSPC));
    let mut taken = Vec::new();
    for round in 0..=255 {
        match put(&efio, fd, &[round; 1000]) {
            Ok(()) => taken.extend([round; 1000]),
            Err(error) => {
                assert!(error.is_would_block(), "{error}");
                break;
            }
        }
        (0..3).for_each(|_| {
            let _ = efio.step();
        });
    }
    assert!(!taken.is_empty() && taken.len() <= 64 << 10, "{} bytes within a limit of 64 KiB", taken.len());
    assert!(events(&efio, fd).is_stalled());
    sim.heal();
    rest(&efio);
    let after = events(&efio, fd);
    assert!(after.is_resumed() && after.is_writable(), "{after:?}");
    put(&efio, fd, b"and on").unwrap();
    taken.extend(b"and on");
    efio.ef_close(fd).unwrap();
    rest(&efio);
    assert!(sim.read("/file").unwrap() == taken);
}

#[test]
fn a_file_that_fails_while_lent_takes_nothing_back() {
    let (sim, efio, fd) = module(1 << 20);
    put(&efio, fd, b"good").unwrap();
    efio.ef_sync(fd).unwrap();
    rest(&efio);
    let mut lend = efio.ef_lend_write(fd, 100).unwrap();
    lend.zeroed(100).fill(b'!');
    sim.fail(FaultRule::new(Operation::Sync, EIO));
    efio.ef_sync(fd).unwrap();
    assert!(efio.ef_write(fd, b"refused").is_err_and(|error| error.is_would_block()));
    rest(&efio);
    let told = events(&efio, fd);
    assert!(told.is_error() && told.is_writable(), "who was refused by the lend is told: {told:?}");
    let refused = lend.commit(100).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(EIO), "the first error says why");
    assert_eq!(efio.ef_lend_write(fd, 1).unwrap_err().raw_os_error(), Some(EIO));
    efio.ef_close(fd).unwrap();
    rest(&efio);
    assert!(events(&efio, fd).is_closed());
    assert_eq!(sim.read("/file").unwrap(), b"good");
    assert_eq!(sim.open_handles(), 0);
}

#[test]
fn a_truncate_meets_what_was_accepted_before_it_and_not_what_a_lend_brings_later() {
    let (sim, efio, fd) = module(1 << 20);
    put(&efio, fd, b"0123456789").unwrap();
    let mut lend = efio.ef_lend_write(fd, 5).unwrap();
    efio.ef_truncate(fd, 4).unwrap();
    rest(&efio);
    assert!(events(&efio, fd).is_done(), "a lend holds up no request");
    assert_eq!(sim.read("/file").unwrap(), b"0123");
    lend.zeroed(5).copy_from_slice(b"after");
    lend.commit(5).unwrap();
    efio.ef_close(fd).unwrap();
    rest(&efio);
    assert_eq!(sim.read("/file").unwrap(), b"0123\0\0\0\0\0\0after");
}

#[test]
fn a_sync_and_the_timer_go_on_beside_a_lend() {
    let (sim, efio, fd) = module(1 << 20);
    put(&efio, fd, b"by the timer").unwrap();
    let lend = efio.ef_lend_write(fd, 1).unwrap();
    rest(&efio);
    assert_eq!(sim.read("/file").unwrap(), b"by the timer");
    drop(lend);
    put(&efio, fd, b", by a sync").unwrap();
    let lend = efio.ef_lend_write(fd, 1).unwrap();
    efio.ef_sync(fd).unwrap();
    rest(&efio);
    assert!(events(&efio, fd).is_synced());
    assert_eq!(efio.ef_progress(fd).unwrap().durable, 23);
    drop(lend);
    // One offset for both sides: a read is refused while the end is lent, and told.
    let lend = efio.ef_lend_write(fd, 1).unwrap();
    assert_eq!(efio.ef_read(fd, &mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(!events(&efio, fd).is_readable(), "told before the end of the lend");
    drop(lend);
    assert!(events(&efio, fd).is_readable());
    efio.ef_close(fd).unwrap();
    rest(&efio);
    assert_eq!(sim.read("/file").unwrap(), b"by the timer, by a sync");
}

#[test]
fn idle_files_hold_no_page_whatever_was_lent() {
    for durability in [Durability::None, Durability::EveryWrite] {
        let sim = Sim::new(1);
        let efio = Efio::builder().sim(&sim).memory_limit(8 << 20).build().unwrap();
        let options = OpenOptions::new().write(true).create(true).durability(durability);
        let files: Vec<Fd> =
            (0..40).map(|number| efio.ef_open(format!("/{number}"), &options).unwrap()).collect();
        let last = efio.ef_open("/last", &options).unwrap();
        rest(&efio);
        for fd in &files {
            while let Err(error) = efio.ef_lend_write(*fd, 60_000).map(drop) {
                assert!(error.is_would_block() && efio.step(), "{error}");
            }
        }
        rest(&efio);
        sim.hang("/last");
        let mut taken = 0;
        while let Ok(bytes) = efio.ef_write(last, &[7; 4096]) {
            taken += bytes;
            while efio.turn() {}
        }
        assert!(taken > 13 << 19, "{taken} bytes are left of 8 MiB");
        sim.release("/last");
        rest(&efio);
        assert_eq!(sim.read("/last").unwrap().len(), taken);
        assert!(files.iter().all(|fd| efio.ef_progress(*fd).unwrap().accepted == 0));
    }
}
