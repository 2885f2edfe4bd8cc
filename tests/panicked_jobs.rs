//! Jobs that panic: the file is poisoned, and who waits for it is told; what was read or written before stays.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use efio::sim::{FaultRule, Sim};
use efio::{Efio, ErrorKind, Events, Fd, OpenOptions, Operation, Readiness};
use support::{run, simulated};

fn opened() -> (Sim, Efio, Fd) {
    let (sim, efio) = simulated();
    sim.put("/file", b"some bytes");
    let fd = efio.ef_open("/file", &OpenOptions::new().read(true)).unwrap();
    assert_eq!(news(&efio), Readiness::OPENED);
    (sim, efio, fd)
}

/// What all events have brought once nothing is left to do.
fn news(efio: &Efio) -> Readiness {
    run(efio);
    let mut events = Events::with_capacity(16);
    efio.events(&mut events).unwrap();
    events.iter().fold(Readiness::NONE, |all, event| all | event.readiness())
}

#[test]
fn a_read_that_panicked_is_made_anew_and_the_second_by_offset_fails() {
    for by_offset in [false, true] {
        let (sim, efio, fd) = opened();
        let read = |into: &mut [u8]| match by_offset {
            true => efio.ef_read_at(fd, into, 5),
            false => efio.ef_read(fd, into),
        };
        let mut into = [0; 5];
        // The second time the file has failed before.
        for time in 0..2 {
            sim.fail(FaultRule::new(Operation::Read, FaultRule::PANIC).times(1));
            assert!(read(&mut into).unwrap_err().is_would_block());
            let heard = news(&efio);
            assert!(heard.is_readable(), "time {time}: {heard:?}");
            assert_eq!(heard.is_error(), time == 0);
        }
        if by_offset {
            assert_eq!(read(&mut into).unwrap_err().raw_os_error(), Some(5), "it would be read for ever");
        }
        assert!(read(&mut into).unwrap_err().is_would_block());
        assert!(news(&efio).is_readable());
        assert_eq!(read(&mut into).unwrap(), 5);
        assert_eq!(&into, if by_offset { b"bytes" } else { b"some " });
        assert_eq!(efio.ef_close_immediate(fd).unwrap_err().kind(), ErrorKind::Panicked);
    }
}
