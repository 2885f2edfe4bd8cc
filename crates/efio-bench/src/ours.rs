//! Ours: a module of efio and its events, for drivers without a loop.

use std::io;
use std::path::Path;

use efio::{Builder, Efio, Event, Events, Fd, OpenOptions};

/// A module whose events are taken while its driver waits.
#[derive(Debug)]
pub struct Ours {
    /// The module.
    pub efio: Efio,
    events: Events,
}

impl Ours {
    /// A module with these limits.
    pub fn new(builder: Builder) -> io::Result<Self> {
        Ok(Self { efio: builder.build()?, events: Events::with_capacity(256) })
    }

    /// Takes events until one is as wanted; an event with an error ends the run.
    pub fn until(&mut self, mut wanted: impl FnMut(&Event) -> bool) -> io::Result<()> {
        loop {
            self.efio.wait(&mut self.events, None)?;
            if let Some(error) = self.events.iter().find_map(Event::error) {
                return Err(error.clone().into());
            }
            // Every event of the drain is shown, though one is enough.
            if self.events.iter().filter(|event| wanted(event)).count() > 0 {
                return Ok(());
            }
        }
    }

    /// Opens a file and waits for it.
    pub fn open(&mut self, path: &Path, options: &OpenOptions) -> io::Result<Fd> {
        let fd = self.efio.ef_open(path, options)?;
        self.until(|event| event.fd() == fd && event.readiness().is_opened())?;
        Ok(fd)
    }
}
