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
