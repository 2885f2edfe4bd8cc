//! Saves many files at a time, each all or nothing, in a program that has no loop of its own: `efio.wait`.

use std::error::Error;

use efio::{Answer, Durability, Efio, Events, OpenOptions};

const FILES: u64 = 32;

/// What file `number` is to hold.
fn contents(number: u64) -> String {
    format!("report {number}\n").repeat(100)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let efio = Efio::new()?;
    let mut events = Events::with_capacity(64);

    // Every open is under way at once; none has been waited for.
    for number in 0..FILES {
        let options = OpenOptions::new()
            .write(true)
            .create(true)
            .atomic(true)
            .durability(Durability::OnClose)
            .token(number);
        efio.ef_open(folder.path().join(format!("report-{number}")), &options)?;
    }

    let mut closed = 0;
    while closed < FILES {
        efio.wait(&mut events, None)?;
        for event in &events {
            if let Some(error) = event.error() {
                return Err(error.clone().into());
            }
            if event.readiness().is_closed() {
                // Bytes and name of this one are safe now, by the durability that it was opened with.
                closed += 1;
            } else if event.readiness().is_opened() {
                let text = contents(event.token());
                // Short enough to be taken whole; it cannot be refused, as there is memory for much more.
                assert_eq!(efio.ef_write(event.fd(), text.as_bytes())?, text.len());
                efio.ef_close(event.fd())?;
            }
        }
    }
    for number in 0..FILES {
        assert_eq!(
            std::fs::read_to_string(folder.path().join(format!("report-{number}")))?,
            contents(number)
        );
    }

    // Questions about names are queued too, and have their answer after an event.
    let op = efio.ef_stat(folder.path().join("report-0"))?;
    let metadata = loop {
        match efio.take(op) {
            Err(error) if error.is_would_block() => efio.wait(&mut events, None).map(drop)?,
            Ok(Answer::Metadata(metadata)) => break metadata,
            answer => return Err(format!("no answer to a stat: {answer:?}").into()),
        }
    };
    assert_eq!(metadata.len(), contents(0).len() as u64);
    println!("{closed} files saved, the first has {} bytes", metadata.len());
    Ok(())
}
