//! A log beside a poller of the polling crate: the inbox is registered by its descriptor.
#![allow(unsafe_code, reason = "the poller takes descriptors whose owner promises to remove them")]

use std::error::Error;

use efio::{Efio, Events, OpenOptions, Wake};
use polling::{Event, PollMode, Poller};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("service.log");
    let efio = Efio::new()?;
    let inbox = efio.new_inbox(Wake::descriptor())?;
    let poller = Poller::new()?;
    // SAFETY: the inbox outlives its registration, which is deleted below.
    unsafe { poller.add_with_mode(&inbox, Event::readable(0), PollMode::Level)? };
    let log = efio.ef_open(&path, &OpenOptions::new().append(true).create(true).inbox(&inbox))?;

    let (mut ready, mut events) = (polling::Events::new(), Events::with_capacity(64));
    'run: loop {
        ready.clear();
        poller.wait(&mut ready, None)?;
        inbox.events(&mut events)?;
        for event in &events {
            if event.readiness().is_closed() {
                break 'run;
            } else if event.readiness().is_opened() {
                efio.ef_write(log, b"a line beside the poller\n")?;
                efio.ef_close(log)?;
            }
        }
    }
    poller.delete(&inbox)?;
    assert_eq!(std::fs::read(&path)?, b"a line beside the poller\n");
    println!("the line is in the file");
    Ok(())
}
