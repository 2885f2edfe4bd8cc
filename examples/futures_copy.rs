//! Copies a file with the traits of futures-io, on the smallest of executors.

use std::error::Error;

use efio::{Efio, OpenOptions, TaskFile};
use futures_util::io::copy_buf;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    std::fs::write(&from, vec![7; 3_000_000])?;
    let efio = Efio::new()?;
    let copied = futures_executor::block_on(async {
        let source = TaskFile::open(&efio, &from, &OpenOptions::new().read(true)).await?;
        let mut target = TaskFile::open(&efio, &to, &OpenOptions::new().write(true).create(true)).await?;
        let copied = copy_buf(source, &mut target).await?;
        // Writes what is left, closes, and tells the first error.
        target.close().await?;
        std::io::Result::Ok(copied)
    })?;
    assert_eq!(std::fs::read(&to)?, std::fs::read(&from)?);
    println!("{copied} bytes copied");
    Ok(())
}
