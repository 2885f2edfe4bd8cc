//! Serve: uploads to a server and downloads from it; its processor time for each GiB, and how long small requests wait.
//!
//! The server is a process of its own: `efio serve`, nginx with its WebDAV PUT and one worker, and a server on `tokio::fs`
//! with one loop. Processor time is that of the process, all its threads, without its clients. Small requests (HEAD, one a
//! millisecond, on a connection of their own) run beside uploads while another process keeps the disk busy with fsync.

mod client;
mod peer;
pub mod plain;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::board::{Board, Measure, Verdict, least, median};
use crate::process::Folder;
use crate::{Effort, Outcome};

use client::{Transfer, busy_disk, small_requests, transfer};
use peer::{Kind, Server};

/// Connections at a time.
const CLIENTS: usize = 16;
const GIB: f64 = (1 << 30) as f64;

const MEASURES: &[Measure] = &[
    median("up CPU s/GiB"),
    median("up GB/s"),
    median("down CPU s/GiB"),
    median("down GB/s"),
    median("HEAD p99 us"),
    median("HEAD p99.9 us"),
    least("HEAD max us"),
];

/// One server in one round: uploads, downloads, then small requests beside uploads on a busy disk.
fn round(board: &mut Board, kind: &Kind, folder: &Folder, bytes: u64) -> Outcome<()> {
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
    server.check(CLIENTS, each)?;
    let over = AtomicBool::new(false);
    let late = thread::scope(|scope| -> Outcome<_> {
        let busy = scope.spawn(|| busy_disk(&folder.file("busy"), &over));
        let small = scope.spawn(|| small_requests(server.address(), &over));
        let moved = transfer(Transfer::Upload, server.address(), CLIENTS, each);
        // ORDER: Relaxed: only says when to stop.
        over.store(true, Ordering::Relaxed);
        busy.join().map_err(|_| "the busy disk panicked")??;
        let late = small.join().map_err(|_| "the small requests panicked")??;
        moved.map(|_| late)
    })?;
    board.add(kind.name, "HEAD p99 us", late.quantile(0.99) as f64 / 1e3);
    board.add(kind.name, "HEAD p99.9 us", late.quantile(0.999) as f64 / 1e3);
    board.add(kind.name, "HEAD max us", late.longest() as f64 / 1e3);
    Ok(())
}

/// Runs the workload.
pub fn run(folder: &Folder, effort: Effort) -> Outcome<Vec<Verdict>> {
    let mut board =
        Board::new("serve: 16 uploads, 16 downloads, and HEAD beside uploads on a busy disk", MEASURES);
    let kinds = peer::found();
    let ours = peer::EFIO;
    if !kinds.iter().any(|kind| kind.name == ours) {
        println!("skipped: serve: no `efio` beside this program or under EFIO_BENCH_EFIO");
        return Ok(Vec::new());
    }
    let bytes = effort.of(1 << 30, 256 << 20);
    for _ in 0..effort.rounds {
        for kind in &kinds {
            round(&mut board, kind, folder, bytes)?;
        }
    }
    board.print();
    let peers = kinds.iter().filter(|kind| kind.name != ours);
    Ok(peers
        .flat_map(|peer| {
            [
                board.at_most("serve", "up CPU s/GiB", ours, peer.name, 1.0),
                board.at_most("serve", "HEAD max us", ours, peer.name, 0.1),
            ]
        })
        .collect())
}
