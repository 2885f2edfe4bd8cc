//! A file whose disk refuses bytes for a while: what it takes to give it up, on the simulated disk.
#![cfg(feature = "sim")]

use efio::sim::{FaultRule, Sim, SimOptions};
use efio::{Efio, Events, OpenOptions, Operation};

/// Writes a line to a disk whose first writes fail with these errnos, and tells whether it arrived.
fn arrives(errnos: &[i32]) -> efio::Result<bool> {
    let sim = Sim::with_options(
        1,
        SimOptions { short_count_per_mille: 0, interrupt_per_mille: 0, ..SimOptions::default() },
    );
    for (calls, errno) in errnos.iter().enumerate() {
        sim.fail(FaultRule::new(Operation::Write, *errno).after(calls as u64).times(1));
    }
    let efio = Efio::builder().sim(&sim).build()?;
    let fd = efio.ef_open("/log", &OpenOptions::new().write(true).create(true))?;
    let mut events = Events::with_capacity(8);
    while efio.ef_open_status(fd).is_err() {
        efio.wait(&mut events, None)?;
    }
    efio.ef_write(fd, b"a line\n")?;
    // The clock is moved by whoever waits, so the retries take no time.
    while efio.step() {}
    Ok(sim.read("/log").as_deref() == Some(b"a line\n"))
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[test]
fn the_fifth_io_error_in_a_row_gives_a_file_up_and_a_full_disk_never_does() -> efio::Result<()> {
    assert!(arrives(&[EIO; 4])?);
    assert!(!arrives(&[EIO; 5])?);
    assert!(arrives(&[ENOSPC; 20])?);
    let mut mixed = vec![ENOSPC; 20];
    mixed.extend([EIO; 4]);
    assert!(arrives(&mixed)?, "a long full disk does not make one bad moment fatal");
    mixed.push(EIO);
    assert!(!arrives(&mixed)?);
    Ok(())
}

#[test]
fn a_file_that_was_given_up_is_read_by_offset_as_far_as_it_was_written_and_no_further() -> efio::Result<()> {
    const EFBIG: i32 = 27;
    // Nothing is ever in memory, so each read has a job of its own.
    let cold = SimOptions {
        short_count_per_mille: 0,
        interrupt_per_mille: 0,
        nowait_per_mille: 0,
        ..SimOptions::default()
    };
    let sim = Sim::with_options(1, cold);
    let efio = Efio::builder().sim(&sim).build()?;
    let fd = efio.ef_open("/file", &OpenOptions::new().read(true).write(true).create(true))?;
    while efio.ef_open_status(fd).is_err() {
        assert!(efio.step());
    }
    efio.ef_write(fd, b"written")?;
    while efio.step() {}
    sim.fail(FaultRule::new(Operation::Write, EFBIG));
    efio.ef_write(fd, b"lost")?;
    while efio.step() {}
    let read_at = |offset: u64| {
        let mut into = [0; 7];
        for _ in 0..10 {
            match efio.ef_read_at(fd, &mut into, offset) {
                Err(error) if error.is_would_block() => while efio.step() {},
                answer => return answer.map(|bytes| into[..bytes].to_vec()),
            }
        }
        panic!("a read at {offset} is told to come back for ever");
    };
    assert_eq!(read_at(0)?, b"written");
    assert_eq!(
        read_at(1).map_err(|error| error.raw_os_error()),
        Err(Some(EFBIG)),
        "it reaches into what was lost"
    );
    assert_eq!(read_at(100)?, b"", "behind the end");
    Ok(())
}
