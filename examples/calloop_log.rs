//! A log in a loop of calloop: the inbox is a source like any other.

use std::error::Error;
use std::io::Error as IoError;

use calloop::generic::Generic;
use calloop::{EventLoop, Interest, Mode, PostAction};
use efio::{Efio, Events, OpenOptions, Wake};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("service.log");
    let efio = Efio::new()?;
    let inbox = efio.new_inbox(Wake::descriptor())?;
    let mut event_loop: EventLoop<'_, bool> = EventLoop::try_new()?;
    let log = efio.ef_open(&path, &OpenOptions::new().append(true).create(true).inbox(&inbox))?;

    let (handle, mut events) = (efio.clone(), Events::with_capacity(64));
    // Readable while there is news; the drain takes the mark away.
    let source = Generic::new(inbox, Interest::READ, Mode::Level);
    event_loop.handle().insert_source(source, move |_, inbox, closed| {
        inbox.events(&mut events).map_err(IoError::from)?;
        for event in &events {
            if event.readiness().is_closed() {
                *closed = true;
            } else if event.readiness().is_opened() {
                handle.ef_write(log, b"a line from the loop\n").map_err(IoError::from)?;
                handle.ef_close(log).map_err(IoError::from)?;
            }
        }
        Ok(PostAction::Continue)
    })?;
    let mut closed = false;
    while !closed {
        event_loop.dispatch(None, &mut closed)?;
    }
    assert_eq!(std::fs::read(&path)?, b"a line from the loop\n");
    println!("the line is in the file");
    Ok(())
}
