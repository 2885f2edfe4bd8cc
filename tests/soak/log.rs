//! The log of a soak: three threads append records to one file; at each rest it is closed, read and checked, and begun anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use efio::{Efio, Event, Fd, OpenOptions};

/// Threads that write.
const WRITERS: u64 = 3;
/// Bytes of a record.
const RECORD: usize = 64;
/// Records of a thread from one rest to the next: all of them stay below the limit of file sizes that comes and goes.
const RECORDS: u64 = 1_200;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    token: u64,
    fd: Option<Fd>,
    writers: Vec<JoinHandle<u64>>,
    stop: Arc<AtomicBool>,
    /// Writable events so far, which writers that were refused look at.
    called: Arc<AtomicU64>,
    written: Vec<u64>,
}

fn record(writer: u64, number: u64) -> [u8; RECORD] {
    let mut record = [b'.'; RECORD];
    let text = format!("{writer} {number} {}", writer.wrapping_mul(31) ^ number);
    record[..text.len()].copy_from_slice(text.as_bytes());
    record[RECORD - 1] = b'\n';
    record
}

impl Log {
    pub(crate) fn new(folder: &Path, token: u64) -> Self {
        Self {
            path: folder.join("log"),
            token,
            fd: None,
            writers: Vec::new(),
            stop: Arc::default(),
            called: Arc::default(),
            written: Vec::new(),
        }
    }

    /// Opens the log, if it is closed, and has threads write to it.
    pub(crate) fn write(&mut self, efio: &Efio) {
        if self.fd.is_some() {
            return;
        }
        let options = OpenOptions::new().append(true).create(true).token(self.token);
        let fd = efio.ef_open(&self.path, &options).unwrap();
        self.fd = Some(fd);
        self.stop.store(false, Ordering::SeqCst);
        self.writers = (0..WRITERS)
            .map(|writer| {
                let (efio, stop, called) = (efio.clone(), self.stop.clone(), self.called.clone());
                std::thread::spawn(move || append(&efio, fd, writer, &stop, &called))
            })
            .collect();
    }

    pub(crate) fn news(&mut self, _: &Efio, event: &Event) {
        self.called.fetch_add(1, Ordering::SeqCst);
        if !event.readiness().is_closed() {
            return;
        }
        self.fd = None;
        let bytes: u64 = self.written.iter().map(|records| records * RECORD as u64).sum();
        let (progress, lost) = (event.progress(), event.bytes_lost());
        assert_eq!((progress.accepted, progress.written, lost), (bytes, bytes, 0), "{event:?}");
        assert!(event.error().is_none(), "{event:?}");
    }

    /// Ends the threads and closes the file.
    pub(crate) fn close(&mut self, efio: &Efio) {
        self.stop.store(true, Ordering::SeqCst);
        self.written = self.writers.drain(..).map(|writer| writer.join().unwrap()).collect();
        if let Some(fd) = self.fd {
            efio.ef_close(fd).unwrap();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.fd.is_none()
    }

    /// Every record is there once, whole, and after its writer's earlier ones.
    pub(crate) fn check(&mut self) {
        let Ok(all) = std::fs::read(&self.path) else { return };
        let mut next = vec![0; WRITERS as usize];
        for line in all.chunks(RECORD) {
            let writer = u64::from(line[0] - b'0');
            let number = &mut next[writer as usize];
            assert!(line == record(writer, *number), "record {number} of {writer}: {line:?}");
            *number += 1;
        }
        assert_eq!(next, self.written, "records accepted and records found");
        std::fs::remove_file(&self.path).unwrap();
    }
}

/// Appends records until it is to stop; how many there are.
fn append(efio: &Efio, fd: Fd, writer: u64, stop: &AtomicBool, called: &AtomicU64) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) && number < RECORDS {
        let before = called.load(Ordering::SeqCst);
        match efio.ef_write(fd, &record(writer, number)) {
            Ok(bytes) => {
                assert_eq!(bytes, RECORD, "a record taken in part");
                number += 1;
                std::thread::sleep(Duration::from_millis(number % 4));
            }
            Err(error) => {
                assert!(error.is_would_block(), "{error}");
                while called.load(Ordering::SeqCst) == before && !stop.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }
    number
}
