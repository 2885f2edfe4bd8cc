//! Copies files in tasks of tokio: no event loop of efio's, and no thread of tokio's waits for a disk.

use std::error::Error;

use efio::{Efio, OpenOptions, TaskFile};
use tokio::io::{AsyncWriteExt, copy_buf};

const FILES: usize = 8;

async fn copy(efio: Efio, from: std::path::PathBuf, to: std::path::PathBuf) -> std::io::Result<u64> {
    let mut source = TaskFile::open(&efio, from, &OpenOptions::new().read(true)).await?;
    let mut target = TaskFile::open(&efio, to, &OpenOptions::new().write(true).create(true)).await?;
    let bytes = copy_buf(&mut source, &mut target).await?;
    // Writes what is left, closes, and tells the first error.
    target.shutdown().await?;
    source.close().await?;
    Ok(bytes)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let efio = Efio::new()?;
    let mut tasks = Vec::new();
    for number in 0..FILES {
        let (from, to) =
            (folder.path().join(format!("{number}.from")), folder.path().join(format!("{number}.to")));
        std::fs::write(&from, vec![number as u8; 1_000_000 + number])?;
        tasks.push(tokio::spawn(copy(efio.clone(), from, to)));
    }
    let mut copied = 0;
    for task in tasks {
        copied += task.await??;
    }
    for number in 0..FILES {
        let copy = std::fs::read(folder.path().join(format!("{number}.to")))?;
        assert_eq!(copy, vec![number as u8; 1_000_000 + number]);
    }
    println!("{FILES} files copied, {copied} bytes");
    Ok(())
}
