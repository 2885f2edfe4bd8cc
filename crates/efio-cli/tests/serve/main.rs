//! `efio serve` as its users meet it: the real binary, driven by curl and by bare sockets.
//!
//! Each test starts a server of its own on a free port, with a folder of its own that goes when the test ends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests, helpers included")]

mod client;
mod downloads;
mod hostile;
mod limits;
mod shutdown;
mod stats;
mod support;
mod uploads;
