//! `libefio_ds`: queues, a stack, locks and byte streams for C and C++, under the names of the original efio.
//!
//! There is nothing here for Rust programs: they have [`efio::queue`] and [`efio::sync`], which all of this stands on.
//! The interface is the headers in `include/`; `README.md` says how to build and link, and `tests/from_c/headers.rs` holds the
//! headers, the exported symbols and the list of them (`symbols.txt`) against each other.
//!
//! | header | what | stands on |
//! | --- | --- | --- |
//! | `ev_queue.h` | many to many, first in first out, no bound | [`Unbounded`](efio::queue::Unbounded) |
//! | `ev_pqueue.h` | the same promise | [`Unbounded`](efio::queue::Unbounded) |
//! | `ev_piqueue.h`, `ev_paqueue.h` | several lists; of each thread first in first out | [`Unbounded`](efio::queue::Unbounded), one for each list |
//! | `ev_stack.h` | last in first out | [`Stack`](efio::queue::Stack) |
//! | `ev_spin_lock.h` | a lock for a few instructions | [`RawSpin`](efio::sync::RawSpin) |
//! | `ev_mcs_lock.h` | a lock in the order of asking, in one word | [`Backoff`](efio::sync::Backoff), [`Parker`](efio::sync::Parker) |
//! | `ev_rwlock.h`, `ev_rwlock_struct.h` | many readers or one writer, in two integers | [`RawSpinRw`](efio::sync::RawSpinRw) |
//! | `efio_ds_stream.h` | a stream of bytes made of buffers given away | [`Unbounded`](efio::queue::Unbounded), [`SpinLock`](efio::sync::SpinLock) |
//! | `memory_buffer_list.h`, `chunked_memory_stream.h`, `ev_buffered_stream.h` | C++ classes over that | |
//!
//! Rules at the border, kept by `border.rs`: a NULL handle makes a call do nothing, answer as for an empty or free one, and
//! set `errno` to `EINVAL`; a panic never reaches C; `errno` is untouched where nothing went wrong.

mod border;
mod lanes;
mod mcs;
mod paqueue;
mod piqueue;
mod pqueue;
mod queue;
mod rwlock;
mod spin;
mod stack;
mod stream;
