//! Serve: uploads to a server and downloads from it; its processor time for each GiB, and how long its loop stalls.
//!
//! The server is a process of its own: `efio serve`, nginx with its WebDAV PUT and one worker, and a server on `tokio::fs`
//! with one loop. Processor time is that of the process, all its threads, without its clients.
//!
//! Stalls are seen by small requests, one a millisecond, beside uploads, while another process keeps the disk busy with
//! fsync: a *ping*, which each server's loop answers by itself without a look at any file, takes as long as the loop
//! stalls; a *HEAD* asks for a file's size and so shows the disk's own delay too. Both are measured on the disk of
//! `EFIO_BENCH_DIR` and on a slow one ([`slow`]). A max is the median of the rounds' worst.

mod client;
mod peer;
pub mod plain;
mod slow;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::board::{Board, Measure, Verdict, median};
use crate::process::Folder;
use crate::{Effort, Outcome};

use client::{Transfer, busy_disk, keep_uploading, small_requests, transfer};
use peer::{Kind, Server};
use slow::SlowDisk;

/// Connections at a time.
const CLIENTS: usize = 16;
const GIB: f64 = (1 << 30) as f64;

const COSTS: &[Measure] =
    &[median("up CPU s/GiB"), median("up GB/s"), median("down CPU s/GiB"), median("down GB/s")];

const STALLS: &[Measure] = &[
    median("ping p99 ms"),
    median("ping p99.9 ms"),
    median("ping max ms"),
    median("HEAD p99 ms"),
    median("HEAD p99.9 ms"),
    median("HEAD max ms"),
    median("upload MB/s"),
];

/// One server in one round: uploads, then downloads.
fn costs(board: &mut Board, kind: &Kind, folder: &Path, bytes: u64) -> Outcome<()> {
    let server = Server::start(kind, folder)?;
    let each = bytes / CLIENTS as u64;
    let total = (each * CLIENTS as u64) as f64;
    for (way, cpu, pace) in
        [(Transfer::Upload, "up CPU s/GiB", "up GB/s"), (Transfer::Download, "down CPU s/GiB", "down GB/s")]
    {
        let before = server.cpu_s()?;
        let seconds = transfer(way, server.address(), CLIENTS, each)?;
        board.add(kind.name, cpu, (server.cpu_s()? - before) * GIB / total);
        board.add(kind.name, pace, total / seconds / 1e9);
    }
    server.check(CLIENTS, each)
}

/// What keeps a disk busy, and for how long.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// Bytes of each upload.
    each: u64,
    /// MiB that the other process makes durable at a time.
    busy_mib: usize,
    time: Duration,
}

/// One server in one round: small requests beside uploads on a busy disk.
fn stalls(board: &mut Board, kind: &Kind, folder: &Path, load: Load) -> Outcome<()> {
    let server = Server::start(kind, folder)?;
    let address = server.address();
    let over = &AtomicBool::new(false);
    let (ping, head, (bytes, seconds)) = thread::scope(|scope| -> Outcome<_> {
        let busy = scope.spawn(|| busy_disk(&folder.join("busy"), load.busy_mib, over));
        let ping = scope.spawn(|| small_requests(address, kind.ping.0, kind.ping.1, over));
        let head = scope.spawn(|| small_requests(address, "/small", "200", over));
        thread::sleep(Duration::from_millis(300));
        let moved = keep_uploading(address, CLIENTS, load.each, load.time);
        // ORDER: Relaxed: only says when to stop.
        over.store(true, Ordering::Relaxed);
        busy.join().map_err(|_| "the busy disk panicked")??;
        let ping = ping.join().map_err(|_| "the pings panicked")??;
        let head = head.join().map_err(|_| "the small requests panicked")??;
        Ok((ping, head, moved?))
    })?;
    for (taken, columns) in [
        (&ping, ["ping p99 ms", "ping p99.9 ms", "ping max ms"]),
        (&head, ["HEAD p99 ms", "HEAD p99.9 ms", "HEAD max ms"]),
    ] {
        board.add(kind.name, columns[0], taken.quantile(0.99) as f64 / 1e6);
        board.add(kind.name, columns[1], taken.quantile(0.999) as f64 / 1e6);
        board.add(kind.name, columns[2], taken.longest() as f64 / 1e6);
    }
    board.add(kind.name, "upload MB/s", bytes as f64 / seconds / 1e6);
    Ok(())
}

/// Runs the workload.
pub fn run(folder: &Folder, effort: Effort) -> Outcome<Vec<Verdict>> {
    let mut cost = Board::new("serve: 16 uploads, then 16 downloads", COSTS);
    let mut fast = Board::new("serve: stalls beside 16 uploads while dd keeps the disk busy", STALLS);
    let mut slow =
        Board::new("serve: the same on a disk of 40 MiB/s, 32 MiB of which may wait in memory", STALLS);
    let kinds = peer::found();
    let ours = peer::EFIO;
    if !kinds.iter().any(|kind| kind.name == ours) {
        println!("skipped: serve: no `efio` beside this program or under EFIO_BENCH_EFIO");
        return Ok(Vec::new());
    }
    let disk = SlowDisk::start(folder)
        .inspect_err(|reason| println!("skipped: serve: no slow disk here: {reason}"))
        .ok();
    let bytes = effort.of(1 << 30, 256 << 20);
    let time = Duration::from_secs(effort.of(5, 2));
    for _ in 0..effort.rounds {
        for kind in &kinds {
            let here = &folder.file("");
            costs(&mut cost, kind, here, bytes)?;
            stalls(&mut fast, kind, here, Load { each: bytes / CLIENTS as u64, busy_mib: 64, time })?;
            if let Some(disk) = &disk {
                stalls(&mut slow, kind, disk.folder(), Load { each: 4 << 20, busy_mib: 8, time })?;
                disk.settle()?;
            }
        }
    }
    [&cost, &fast].into_iter().chain(disk.is_some().then_some(&slow)).for_each(Board::print_markdown);
    let peers = || kinds.iter().filter(|kind| kind.name != ours).map(|kind| kind.name);
    let mut verdicts: Vec<_> =
        peers().map(|peer| cost.at_most("serve", "up CPU s/GiB", ours, peer, 1.0)).collect();
    verdicts.extend(peers().map(|peer| fast.at_most("serve, busy disk", "ping max ms", ours, peer, 0.1)));
    if disk.is_some() {
        verdicts.extend(peers().map(|peer| slow.at_most("serve, slow disk", "ping max ms", ours, peer, 0.1)));
    }
    Ok(verdicts)
}
