//! Loom models of the hand-overs: each over all its interleavings, and a broken twin beside it.
//!
//! A twin is the same scenario with one step left out or two exchanged; loom must find the run in
//! which it fails, or the model proves nothing. Twins live here, never in the code they imitate.

mod by_offset;
mod cell;
mod channels;
mod close;
mod counter;
mod ending;
mod event_count;
mod fence;
mod lending;
mod life;
mod mail;
mod mcs_lock;
mod module;
mod news;
mod opener;
mod page;
mod parker;
mod pending;
mod pool;
mod reading;
mod ready_list;
mod rebind;
mod rw_lock;
mod seats;
mod seq_lock;
mod shared_queues;
mod sleeper;
mod spin_lock;
mod spsc;
mod stack;
mod streams;
mod stripe;
mod table;
mod tasks;
mod ticket_lock;
mod timer;
mod values;
mod wake;
