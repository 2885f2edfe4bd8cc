//! Random programs of every public call on the queues that close and can be watched, checked against oracles; bad use.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

#[path = "queue_programs/bad_use.rs"]
mod bad_use;
#[path = "queue_programs/buffered.rs"]
mod buffered;
#[path = "queue_programs/gate.rs"]
mod gate;
#[path = "queue_programs/narrow.rs"]
mod narrow;
#[path = "queue_programs/ring.rs"]
mod ring;
#[path = "queue_programs/stream.rs"]
mod stream;
#[path = "queue_programs/watch.rs"]
mod watch;
