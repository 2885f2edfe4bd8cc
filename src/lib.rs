//! efio: files that behave like sockets, for event-driven programs.

mod page;
pub mod queue;
pub mod sync;
mod table;

#[cfg(all(test, efio_loom))]
#[path = "../loom-tests/mod.rs"]
mod loom_tests;
