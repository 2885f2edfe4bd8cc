//! efio: files that behave like sockets, for event-driven programs.

mod error;
mod fd;
mod job;
mod page;
pub mod queue;
pub mod sync;
mod sys;
mod table;

#[cfg(all(test, efio_loom))]
#[path = "../loom-tests/mod.rs"]
mod loom_tests;
