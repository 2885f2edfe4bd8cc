//! Copies a file through efio in one mio loop, which never waits for a disk.
//!
//! Read until `WouldBlock`, write until `WouldBlock`, sleep in the poll until an event says that one of the two is worth
//! trying again. The copy appears under its name when it is complete, and not before.

use std::error::Error;
use std::io::ErrorKind::Interrupted;

use efio::{Efio, Events, Fd, OpenOptions};
use mio::{Interest, Poll, Token};

/// One copy under way.
struct Copy {
    source: Fd,
    target: Fd,
    buffer: Vec<u8>,
    /// Bytes read into the buffer, and how many of them the target has taken.
    filled: usize,
    taken: usize,
}

impl Copy {
    /// Goes on until one side refuses. `Ok` is the end of the source.
    fn pump(&mut self, efio: &Efio) -> efio::Result<()> {
        loop {
            if self.taken == self.filled {
                self.filled = efio.ef_read(self.source, &mut self.buffer)?;
                self.taken = 0;
                if self.filled == 0 {
                    return Ok(());
                }
            }
            self.taken += efio.ef_write(self.target, &self.buffer[self.taken..self.filled])?;
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let contents: Vec<u8> = (0..20_000_000_u32).map(|n| (n / 251) as u8).collect();
    std::fs::write(&from, &contents)?;

    let mut poll = Poll::new()?;
    let efio = Efio::new()?;
    // The one source of this loop. A real one has its sockets here too.
    poll.registry().register(&mut efio.inbox(), Token(0), Interest::READABLE)?;

    let new = OpenOptions::new().write(true).create_new(true).atomic(true);
    let mut copy = Copy {
        source: efio.ef_open(&from, &OpenOptions::new().read(true))?,
        target: efio.ef_open(&to, &new)?,
        buffer: vec![0; 64 * 1024],
        filled: 0,
        taken: 0,
    };

    let (mut ready, mut events) = (mio::Events::with_capacity(16), Events::with_capacity(16));
    let (mut copied, mut closed, mut wakes) = (false, 0, 0);
    while closed < 2 {
        match poll.poll(&mut ready, None) {
            Err(error) if error.kind() == Interrupted => continue,
            answer => answer?,
        }
        wakes += 1;
        efio.events(&mut events)?;
        for event in &events {
            if let Some(error) = event.error() {
                return Err(error.clone().into());
            }
            closed += u32::from(event.readiness().is_closed());
        }
        if copied {
            continue;
        }
        match copy.pump(&efio) {
            // Neither side is ready: an event of it will come.
            Err(error) if error.is_would_block() => {}
            answer => {
                answer?;
                copied = true;
                assert!(!to.exists(), "an atomic file has no name before its close");
                efio.ef_close(copy.source)?;
                efio.ef_close(copy.target)?;
            }
        }
    }
    assert!(std::fs::read(&to)? == contents, "the copy is the original");
    println!("{} bytes copied; the loop woke {wakes} times and never waited for the disk", contents.len());
    Ok(())
}
