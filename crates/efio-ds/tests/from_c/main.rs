//! The library as C and C++ programs meet it: its headers, what they promise, and what memory it leaves behind.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod headers;
mod memory;
mod programs;
mod toolchain;
