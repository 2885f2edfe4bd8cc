//! Files in tasks of tokio: the traits as tokio's own functions use them, cancellation, errors, many at once.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::SeekFrom;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use efio::{Efio, ErrorKind, Events, OnFull, OpenOptions, TaskFile};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

fn reading() -> OpenOptions {
    OpenOptions::new().read(true)
}

fn writing() -> OpenOptions {
    OpenOptions::new().write(true).create(true)
}

#[tokio::test]
async fn a_copy_by_tokio_is_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let bytes = support::noise(3, 5_000_000);
    std::fs::write(&from, &bytes).unwrap();
    let efio = Efio::new().unwrap();
    let mut source = TaskFile::open(&efio, &from, &reading()).await.unwrap();
    let mut target = TaskFile::open(&efio, &to, &writing()).await.unwrap();
    assert_eq!(tokio::io::copy(&mut source, &mut target).await.unwrap(), bytes.len() as u64);
    target.flush().await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), bytes, "a flush is done when every byte is in the file");
    target.shutdown().await.unwrap();
    target.shutdown().await.unwrap();
    assert!(target.write_all(b"late").await.is_err());
    // By lines, and from anywhere.
    std::fs::write(&from, b"one\ntwo\nthree\n").unwrap();
    let mut source = TaskFile::open(&efio, &from, &reading()).await.unwrap();
    let mut line = String::new();
    source.read_line(&mut line).await.unwrap();
    assert_eq!(line, "one\n");
    assert_eq!(source.seek(SeekFrom::End(-6)).await.unwrap(), 8);
    assert_eq!(source.stream_position().await.unwrap(), 8);
    let mut rest = String::new();
    source.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "three\n");
    // Nothing of all this was left to an event loop.
    drop((source, target));
    let mut events = Events::with_capacity(8);
    efio.events(&mut events).unwrap();
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn no_inbox_hears_of_a_file_s_open_and_end_however_often_it_is_drained() {
    let folder = tempfile::tempdir().unwrap();
    let efio = Efio::builder().files_limit(8).build().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let drain = scope.spawn(|| {
            let (mut events, mut heard) = (Events::with_capacity(8), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                efio.events(&mut events).unwrap();
                heard.extend(events.iter().map(|event| event.readiness()));
            }
            heard
        });
        let tasks = async {
            for number in 0..1000 {
                let path = folder.path().join((number % 3).to_string());
                let mut file = TaskFile::open(&efio, &path, &writing()).await?;
                file.write_all(b"bytes").await?;
                file.close().await?;
                let missing = TaskFile::open(&efio, folder.path().join("missing"), &reading()).await;
                missing.map(drop).or_else(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
            }
            Ok::<(), std::io::Error>(())
        };
        let done = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(tasks);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(drain.join().unwrap(), []);
        done.unwrap();
    });
}

#[tokio::test]
async fn a_read_that_is_cancelled_loses_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let bytes = support::noise(5, 3_000_000);
    std::fs::write(&path, &bytes).unwrap();
    // What is not written yet would stay in the kernel's cache.
    std::fs::File::open(&path).unwrap().sync_all().unwrap();
    let efio = Efio::new().unwrap();
    let mut file = TaskFile::open(&efio, &path, &reading()).await.unwrap();
    let (mut seen, mut cancelled, mut buffer) = (Vec::new(), 0, vec![0; 10_000]);
    loop {
        // The kernel's cache is emptied, so that reads are refused and wait for the engine.
        let cold = std::fs::File::open(&path).unwrap();
        nix::fcntl::posix_fadvise(&cold, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        let read = tokio::select! {
            biased;
            read = file.read(&mut buffer) => Some(read.unwrap()),
            () = std::future::ready(()) => None,
        };
        match read {
            Some(0) => break,
            Some(count) => seen.extend_from_slice(&buffer[..count]),
            None => cancelled += 1,
        }
        tokio::task::yield_now().await;
    }
    assert!(cancelled > 0, "no read was cancelled");
    assert!(seen == bytes, "{} bytes of {} after {cancelled} cancelled reads", seen.len(), bytes.len());
}

#[tokio::test]
async fn a_full_disk_is_told_by_the_shutdown_and_by_a_sync() {
    let folder = tempfile::tempdir().unwrap();
    let Some(limited) = limited_folder(folder.path()) else {
        return support::skip("no file system of a limited size can be mounted");
    };
    let efio = Efio::new().unwrap();
    for syncs in [false, true] {
        let path = limited.0.join(format!("file-{syncs}"));
        let mut file = TaskFile::open(&efio, path, &writing().on_full(OnFull::Fail)).await.unwrap();
        let written = file.write_all(&support::noise(7, 4 << 20)).await;
        let error = match (written, syncs) {
            (Err(error), _) => error,
            (Ok(()), true) => file.sync().await.unwrap_err(),
            (Ok(()), false) => file.shutdown().await.unwrap_err(),
        };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
        if !syncs {
            drop(file);
            continue;
        }
        let error = file.shutdown().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    }
}

/// A file system of 1 MiB, unmounted when this is dropped.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn limited_folder(within: &std::path::Path) -> Option<Mounted> {
    let target = within.join("small");
    std::fs::create_dir(&target).ok()?;
    let mut command = std::process::Command::new("mount");
    command.args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&target).stderr(std::process::Stdio::null());
    command.status().ok()?.success().then_some(Mounted(target))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_files_in_tasks_at_once_are_all_written_and_durable_when_they_say_so() {
    const FILES: u64 = 200;
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let efio = Efio::builder().memory_limit(16 << 20).build().unwrap();
    let mut tasks = Vec::new();
    for number in 0..FILES {
        let (efio, folder) = (efio.clone(), Arc::clone(&folder));
        tasks.push(tokio::spawn(async move {
            let path = folder.path().join(number.to_string());
            let bytes = support::noise(number, 300_000);
            let mut file = TaskFile::open(&efio, &path, &writing()).await.unwrap();
            file.write_all(&bytes).await.unwrap();
            if number % 4 == 0 {
                file.sync().await.unwrap();
                assert_eq!(file.progress().unwrap().durable, bytes.len() as u64);
            }
            file.shutdown().await.unwrap();
            let mut back = Vec::new();
            let mut file = TaskFile::open(&efio, &path, &reading()).await.unwrap();
            file.read_to_end(&mut back).await.unwrap();
            assert!(back == bytes, "file {number}");
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn an_open_that_fails_says_why() {
    let efio = Efio::new().unwrap();
    let error = TaskFile::open(&efio, "/no/such/file", &reading()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn files_whose_tasks_are_dropped_are_closed_and_keep_no_place() {
    let folder = tempfile::tempdir().unwrap();
    let lost = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lost);
    let efio = Efio::builder()
        .files_limit(64)
        .on_loss(move |loss| told.lock().unwrap().push(loss.to_string()))
        .build()
        .unwrap();
    for number in 0..500 {
        let path = folder.path().join((number % 20).to_string());
        // Places come back as the closes end; an open that finds none tries again.
        let mut file = loop {
            match TaskFile::open(&efio, &path, &writing()).await {
                Ok(file) => break file,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        file.write_all(b"some bytes").await.unwrap();
        // A sync and a close that nobody waits for any more.
        if number % 3 == 1 {
            let mut sync = pin!(file.sync());
            let _ = futures_util::FutureExt::now_or_never(sync.as_mut());
        } else if number % 3 == 2 {
            let mut close = pin!(file.shutdown());
            let _ = futures_util::FutureExt::now_or_never(close.as_mut());
        }
    }
    drop(efio);
    for number in 0..20 {
        assert_eq!(std::fs::read(folder.path().join(number.to_string())).unwrap(), b"some bytes");
    }
    assert_eq!(*lost.lock().unwrap(), [""; 0]);
}

#[tokio::test]
async fn files_whose_tasks_are_gone_do_not_keep_the_table_full() {
    const FILES: usize = 64;
    let folder = tempfile::tempdir().unwrap();
    let efio = Efio::builder().files_limit(FILES as u32).build().unwrap();
    let mut files = Vec::new();
    for number in 0..FILES {
        let path = folder.path().join(number.to_string());
        files.push(TaskFile::open(&efio, &path, &writing()).await.unwrap());
    }
    let path = folder.path().join("another");
    let full = efio.ef_open(&path, &writing()).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::TableFull);
    drop(files);
    support::wait_until("a place", || efio.ef_stat(&path).is_ok());
    support::wait_until("another place", || efio.ef_open(&path, &writing()).is_ok());
}
