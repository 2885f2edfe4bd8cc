//! `efio serve`: an upload and download server on one thread that never waits for a disk.
//!
//! ```text
//!        ┌────────────────── one mio poll ──────────────────┐
//!  sockets ──► Connection ──► Upload / Download ──► ef_write, ef_read ──► pages ──► engine threads ──► disk
//!        └──── inbox of efio, signals, listener, tick ◄─────┘                            events ◄──┘
//! ```
//!
//! Each turn of the loop: the news of the poll put connections on the work list; the list is worked off for a moment,
//! a few pieces for each connection; then the deadlines. Nothing here opens, reads, writes, closes or looks up a
//! file but through efio.

mod body;
mod chunked;
mod connection;
mod date;
mod deadlines;
mod download;
mod exchange;
mod listen;
mod name;
mod pending;
mod places;
mod range;
mod removal;
mod request;
mod respond;
mod server;
mod service;
mod tick;
mod totals;
mod upload;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use efio::{CacheMode, Durability, Efio};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cli::{Serve, StatsChoice, SyncChoice};
use crate::serve::server::Server;
use crate::serve::service::{Service, Settings};
use crate::{Failure, failure, say, say_error};

/// How long the engine may take to close what is open at the end.
const ENGINE_END: Duration = Duration::from_secs(5);

/// Serves until a signal says to stop.
///
/// # Errors
/// When the server cannot start, or its loop cannot go on.
pub fn run(options: &Serve) -> Result<ExitCode, Failure> {
    let mut server = Server::start(options, service(options)?)?;
    let address = server.address()?;
    server.show_stats(match options.stats {
        StatsChoice::Off => false,
        StatsChoice::Loopback => address.ip().is_loopback(),
        StatsChoice::On => true,
    });
    say(&format!("efio serves {} on http://{address}/", options.root.display()));
    say(&format!("try: curl -T FILE http://{address}/NAME"));
    let ran = server.run();
    let efio = server.end();
    let ended = efio.shutdown(ENGINE_END);
    server.say_totals();
    say(&format!("engine: {}", efio.stats()));
    ran?;
    if let Err(error) = ended {
        say_error(&format!("efio: {error}"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn service(options: &Serve) -> Result<Service, Failure> {
    let header_limit = usize::try_from(options.header_limit).unwrap_or(usize::MAX);
    if !(1024..=1 << 20).contains(&header_limit) {
        return Err("--header-limit is not between 1K and 1M".into());
    }
    raise_descriptor_limit();
    let memory = usize::try_from(options.memory).map_err(|error| failure("--memory", error))?;
    let on_loss = |loss: &efio::Loss| say_error(&format!("efio: {loss}"));
    let efio = Efio::builder().memory_limit(memory).on_loss(on_loss).build()?;
    let root = efio.dir(&options.root).map_err(|error| failure("the root", error))?;
    let settings = Settings {
        max_size: options.max_size.unwrap_or(u64::MAX),
        header_limit,
        idle_timeout: options.idle_timeout,
        read_only: options.read_only,
        verbose: options.verbose,
        stats: false,
        cache: if options.uncached { CacheMode::Uncached } else { CacheMode::Buffered },
        durability: match options.sync {
            SyncChoice::None => Durability::None,
            SyncChoice::Close => Durability::OnClose,
        },
    };
    Ok(Service::new(efio, root, settings))
}

/// A connection may need two descriptors, and the usual limit of 1,024 is only the one that a process starts with.
fn raise_descriptor_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Refused: then fewer clients at a time, each answered 503 where it matters.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
