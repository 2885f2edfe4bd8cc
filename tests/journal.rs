//! Journal: what is told of a file's life through `log`, and that a hostile name stays on its line.
#![cfg(feature = "log")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::sync::Mutex;
use std::time::Duration;

use efio::{Efio, Events, OpenOptions};

struct Keeper;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Keeper {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "efio"
    }
    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
        }
    }
    fn flush(&self) {}
}

#[test]
fn a_files_life_is_told_and_its_name_cannot_write_lines() {
    log::set_logger(&Keeper).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let folder = tempfile::tempdir().unwrap();
    let efio = Efio::new().unwrap();
    let mut events = Events::with_capacity(8);
    let options = OpenOptions::new().append(true).create(true).token(77);
    let fd = efio.ef_open(folder.path().join("a\nWARN forged \x1b[31m"), &options).unwrap();
    let missing = efio.ef_open(folder.path().join("none/b"), &OpenOptions::new().read(true)).unwrap();
    while efio.ef_open_status(fd).is_err() {
        efio.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
    }
    efio.ef_write(fd, b"many writes\n").unwrap();
    efio.ef_write(fd, b"no line\n").unwrap();
    efio.ef_close_immediate(fd).unwrap();
    while efio.ef_open_status(missing).is_err_and(|error| error.is_would_block()) {
        efio.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
    }
    efio.shutdown(Duration::from_secs(5)).unwrap();
    let lines = LINES.lock().unwrap();
    // With its own feature `log`, the crate tracing hands on what efio tells *it*, with the handle as a field.
    let told_by_efio = |line: &&String| !line.contains(" fd=");
    let about = |name: &str| -> Vec<&String> {
        lines.iter().filter(told_by_efio).filter(|line| line.contains(name)).collect()
    };
    let told = about("forged");
    assert_eq!(told.len(), 2, "{lines:?}");
    assert!(told[0].starts_with("DEBUG opened ") && told[1].starts_with("DEBUG closed "), "{told:?}");
    assert!(told.iter().all(|line| line.contains("token=77") && !line.contains(['\n', '\x1b'])), "{told:?}");
    let failed = about("none/b");
    assert!(failed[0].starts_with("WARN not opened ") && failed[0].contains("No such file"), "{failed:?}");
}
