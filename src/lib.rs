//! efio: files that behave like sockets, for event-driven programs.
//!
//! An event loop never waits for a socket, but it does wait for a file. efio gives it files whose calls return at once:
//! from memory where they can, with `WouldBlock` where they cannot, and an event when it is worth trying again. What is
//! written is copied into a page; background threads carry it to the disk when the page is full or a timer says so.
//!
//! # A file in a mio loop
//!
//! ```
//! use efio::{Efio, Events, OpenOptions};
//! use mio::{Interest, Poll, Token};
//!
//! let path = std::env::temp_dir().join(format!("efio-lib-{}", std::process::id()));
//! let mut poll = Poll::new()?;
//! let efio = Efio::new()?;
//! poll.registry().register(&mut efio.inbox(), Token(0), Interest::READABLE)?;
//!
//! let log = efio.ef_open(&path, &OpenOptions::new().append(true).create(true).token(7))?;
//! let (mut ready, mut events) = (mio::Events::with_capacity(64), Events::with_capacity(64));
//! 'run: loop {
//!     poll.poll(&mut ready, None)?;
//!     efio.events(&mut events)?;
//!     for event in &events {
//!         if event.readiness().is_closed() {
//!             assert!(event.error().is_none());
//!             break 'run;
//!         } else if event.readiness().is_opened() {
//!             efio.ef_write(log, b"never waits for the disk\n")?;
//!             efio.ef_close(log)?;
//!         }
//!     }
//! }
//! # assert_eq!(std::fs::read(&path)?.len(), 25);
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Readiness
//!
//! Events are edge-like, as in mio. After every `WouldBlock` an event follows: [`Readiness::READABLE`] for a read,
//! [`Readiness::WRITABLE`] for a write. Act until `WouldBlock`; spurious events happen, lost ones do not. After the
//! closed event of a handle no other follows.
//!
//! # What is promised about bytes
//!
//! | word | meaning | survives |
//! | --- | --- | --- |
//! | accepted | `ef_write` has returned: the bytes are in a page of efio | |
//! | written | the bytes are in the file, and every process can read them | the death of this process |
//! | durable | a sync made the bytes safe, and the file's name with them | a loss of power |
//!
//! [`Efio::ef_progress`] tells each, in bytes since the open; none goes back. Bytes of one file reach it in the order in
//! which they were accepted, so after a crash the file holds a prefix of them. [`Durability`] says which syncs a file
//! makes by itself; [`OpenOptions::atomic`] lets it appear under its name complete or not at all.
//!
//! # What happens to errors
//!
//! None is lost. A write that the disk refuses *for now* (no room, no memory, an I/O error that may pass) stalls the file:
//! its bytes are kept and tried again, and [`Readiness::STALLED`] tells why. Any other error *poisons* it: the first one
//! is answered by every later write and sync, and comes with the closed event, which also counts the bytes lost. A sync
//! that failed is never followed by one that succeeds. What is lost at the end of the module goes to
//! [`Builder::on_loss`].
//!
//! # Bounds
//!
//! Memory, files, threads and the size of each piece of work have a bound, a default and a stated behaviour at the bound:
//! see [`Builder`]. A call that meets one answers `WouldBlock` (or, for an open, [`ErrorKind::TableFull`]); it never waits.
//!
//! # Four ways to use it
//!
//! | | who calls | what waits |
//! | --- | --- | --- |
//! | [`Fd`] and the `ef_*` calls of [`Efio`] | any thread | your loop, in its poll |
//! | [`File`]: `Read`, `Write`, `BufRead`, `Seek` | its owner | your loop, in its poll |
//! | [`File::blocking`], [`Efio::wait`] | a program without a loop | the call |
//! | [`TaskFile`], [`Efio::poll_ready`] | a task of any executor | the task |
//!
//! # Features
//!
//! | none by default | adds |
//! | --- | --- |
//! | `sim` | a simulated disk with a virtual clock, seeded faults and power cuts, for tests of programs that keep their files with efio |
//! | `tokio` | tokio's `AsyncRead`, `AsyncWrite`, `AsyncBufRead` and `AsyncSeek` for [`TaskFile`] |
//! | `futures` | those of futures-io for [`TaskFile`] |
//! | `bytes` | `Bytes` as a buffer of the chunked streams of [`queue`] |
//! | `lock_api` | the traits of `lock_api` for the locks of [`sync`] |
//! | `metrics` | [`Efio::stats`] published through the `metrics` facade |
//! | `log`, `tracing` | a line or an event when a file is opened, stalls, resumes, fails or is closed |
//! | `zerocopy` | a lock of [`sync`] for small values that are read without writing |

pub(crate) mod builder;
mod config;
mod dir;
mod efio;
mod engine;
mod error;
mod event;
mod fd;
mod file;
mod handle;
mod inbox;
mod job;
mod loop_signal;
mod news;
mod page;
pub mod pool;
pub mod queue;
mod ready;
mod stats;
pub mod sync;
mod sys;
mod table;
mod task_file;

pub use builder::Builder;
pub use config::{CacheMode, Durability, LockKind, OnFull, OpenOptions, Order};
pub use dir::{Answer, Dir, DirEntry, Entries, EntryIter, FileKind, Metadata, Op, PathCall, is_hidden_name};
pub use efio::Efio;
pub use engine::ending::Loss;
pub use engine::notify::Wake;
pub use error::{Error, ErrorKind, Operation, Result};
pub use event::{Event, Events, Interest, Progress, Readiness};
pub use fd::Fd;
pub use handle::{Blocking, File, ReadLend, WriteLend};
pub use inbox::Inbox;
pub use loop_signal::LoopSignal;
pub use ready::Ready;
pub use stats::{FigureKind, Info, Stats};
#[cfg(feature = "sim")]
pub use sys::sim;
pub use task_file::TaskFile;

#[cfg(all(test, efio_loom, not(efio_shuttle)))]
#[path = "../loom-tests/mod.rs"]
mod loom_tests;

#[cfg(all(test, efio_shuttle))]
#[path = "../shuttle-tests/mod.rs"]
mod shuttle_tests;

/// The examples of the README, kept compiling.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
