//! First light: what is written is read back.
use efio::{Efio, Events, OpenOptions};
use std::io::{Read, Write};
use std::time::Duration;

#[test]
fn what_is_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let efio = Efio::new().unwrap();
    let mut file = efio.open(&path, &OpenOptions::new().write(true).create(true)).unwrap();
    let data: Vec<u8> = (0..10_000_000u32).map(|n| (n * 7 >> 3) as u8).collect();
    file.blocking().write_all(&data).unwrap();
    file.blocking().close().unwrap();
    assert!(std::fs::read(&path).unwrap() == data);
    let mut file = efio.open(&path, &OpenOptions::new().read(true)).unwrap();
    let mut back = Vec::new();
    file.blocking().read_to_end(&mut back).unwrap();
    assert!(back == data);
    file.blocking().close().unwrap();
    efio.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn by_descriptor_with_events() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let efio = Efio::new().unwrap();
    let fd = efio.ef_open(&path, &OpenOptions::new().append(true).create(true)).unwrap();
    let mut events = Events::with_capacity(4);
    efio.wait(&mut events, Some(Duration::from_secs(2))).unwrap();
    assert!(events.iter().next().unwrap().readiness().is_opened());
    for n in 0..100000 {
        let line = format!("line {n}\n");
        while let Err(e) = efio.ef_write(fd, line.as_bytes()) {
            assert!(e.is_would_block(), "{e}");
            efio.wait(&mut events, Some(Duration::from_secs(2))).unwrap();
        }
    }
    efio.ef_sync(fd).unwrap();
    efio.wait(&mut events, Some(Duration::from_secs(2))).unwrap();
    println!("{:?} {:?}", events, efio.ef_progress(fd));
    efio.ef_close_immediate(fd).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 100000);
}
