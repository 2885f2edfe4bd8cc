//! The C library `efio`: files that behave like sockets, for event loops in C and C++. See `include/ef_io.h`.
//!
//! ```text
//!   exports     ef_io  pool  instances  files  errors      arguments are checked, no panic leaves
//!   calls       open  read  write  close                   a handle's desk decides; reads and writes mostly pass it by
//!   news        instance  meet  news  dispatcher  calls    efio's events become callbacks and events of C
//!   values      world  cells  numbers  desk  stream        what is known of handles, and which are free
//! ```

mod bell;
mod calls;
mod cells;
mod close;
mod desk;
mod device;
mod dispatcher;
pub mod ef_io;
pub mod errors;
mod failure;
pub mod files;
mod instance;
pub mod instances;
mod meet;
mod news;
mod numbers;
mod open;
pub mod pool;
mod read;
mod stream;
mod world;
mod write;
