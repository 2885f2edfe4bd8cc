//! A writer killed at any moment leaves a prefix of what it wrote, and in it all that was durable.
//!
//! The child writes a stream that everyone can compute, and says on its standard error what it is about to write and
//! what a sync has vouched for. `EFIO_KILL_CYCLES` sets how often it is killed (200 unless set).
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use efio::{Durability, Efio, OpenOptions, Readiness};
use support::{Loop, child, noise};

const PLACE: &str = "EFIO_KILL_PLACE";
const CYCLES: &str = "EFIO_KILL_CYCLES";

/// Line `number` of the stream: mostly short, now and then larger than a small page.
fn line(number: u64) -> Vec<u8> {
    let size = match number % 50 {
        7 => 5_000,
        8 => 60_000,
        rest => 20 + rest as usize * 3,
    };
    let mut line = format!("{number} ").into_bytes();
    line.extend(noise(number, size).iter().map(|byte| b'a' + byte % 26));
    line.push(b'\n');
    line
}

/// The ways of writing that are killed in turn.
fn options(way: u64) -> OpenOptions {
    let options = OpenOptions::new().flush_interval(Duration::from_millis(3));
    match way % 4 {
        0 => options.append(true).create(true),
        1 => options.write(true).create(true),
        2 => options.append(true).create(true).durability(Durability::EveryWrite),
        _ => options.append(true).create(true).durability(Durability::Interval).memory_limit(1 << 18),
    }
}

fn say(words: String) {
    // In one piece, so that a kill leaves whole lines or the beginning of the last one.
    std::io::stderr().write_all(words.as_bytes()).unwrap();
}

/// The child: writes until it is killed.
fn write_for_ever(place: &str) {
    let (way, path) = place.split_once(' ').unwrap();
    let mut all = Loop::new(Efio::new().unwrap());
    let fd = all.open(path, &options(way.parse().unwrap())).unwrap();
    let (mut bytes, mut syncing) = (0, false);
    for number in 0.. {
        let line = line(number);
        bytes += line.len() as u64;
        if number % 10 == 0 {
            let ahead: u64 = (number + 1..number + 10).map(|number| self::line(number).len() as u64).sum();
            say(format!("writing {}\n", bytes + ahead));
        }
        all.write(fd, &line).unwrap();
        if !syncing && number % 25 == 0 {
            all.efio.ef_sync(fd).unwrap();
            syncing = true;
        }
        all.gather(Duration::ZERO);
        if let Some(event) = all.look_for(fd, Readiness::SYNCED) {
            assert!(event.error().is_none());
            say(format!("durable {}\n", event.progress().durable));
            syncing = false;
        }
    }
}

/// What the child said last, of each kind.
fn last(said: &str, kind: &str) -> u64 {
    let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let number = whole.lines().rev().find_map(|line| line.strip_prefix(kind)?.trim().parse().ok());
    number.unwrap_or(0)
}

/// The first `len` bytes of the stream.
fn stream(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 70_000);
    for number in 0.. {
        if bytes.len() >= len {
            break;
        }
        bytes.extend(line(number));
    }
    bytes.truncate(len);
    bytes
}

/// Kills one child; gives how many bytes it left and how many of them it had called durable.
fn kill_one(cycle: u64, path: &Path) -> (usize, u64) {
    let place = format!("{cycle} {}", path.display());
    let mut command = child("a_killed_writer_leaves_a_prefix_with_all_that_was_durable", PLACE, &place);
    let mut writer = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(writer.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    std::thread::sleep(Duration::from_micros(u64::from(noise(cycle, 2)[1]) * 80));
    writer.kill().unwrap();
    writer.wait().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    let found = std::fs::read(path).unwrap();
    let (writing, durable) = (last(&said, "writing"), last(&said, "durable"));
    assert!(found.len() as u64 <= writing, "cycle {cycle}: {} bytes of {writing}", found.len());
    assert!(found.len() as u64 >= durable, "cycle {cycle}: {} bytes, {durable} were durable", found.len());
    assert!(found == stream(found.len()), "cycle {cycle}: no prefix of what was accepted");
    (found.len(), durable)
}

#[test]
fn a_killed_writer_leaves_a_prefix_with_all_that_was_durable() {
    if let Ok(place) = std::env::var(PLACE) {
        return write_for_ever(&place);
    }
    let cycles = std::env::var(CYCLES).map_or(200, |cycles| cycles.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (mut left, mut durable) = (0, 0);
    for cycle in 0..cycles {
        let path = folder.path().join(cycle.to_string());
        let (bytes, vouched) = kill_one(cycle, &path);
        left += bytes;
        durable += vouched;
        std::fs::remove_file(&path).unwrap();
    }
    assert!(cycles < 20 || left > 0 && durable > 0, "the writers were killed before they wrote anything");
}
