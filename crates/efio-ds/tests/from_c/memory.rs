//! The same programs under valgrind: no bad access, and no byte that is not given back.

use crate::toolchain::check_memory;

#[test]
fn the_queues_give_back_what_they_took() {
    check_memory("queue.c", &[]);
    check_memory("parallel_queues.c", &[]);
    check_memory("stack.c", &["2000"]);
}

#[test]
fn the_queues_give_back_what_they_took_also_between_threads() {
    check_memory("pairs.c", &["2", "300"]);
    check_memory("queue_threads.c", &["queue", "2", "300"]);
}

#[test]
fn the_locks_give_back_what_they_took() {
    check_memory("locks.c", &[]);
    check_memory("lock_threads.c", &["2", "300"]);
}

#[test]
fn the_streams_give_back_what_they_took() {
    check_memory("stream.c", &["200"]);
    check_memory("classes.cpp", &["500"]);
}

#[test]
fn the_buffered_stream_gives_back_what_it_took() {
    check_memory("buffered.cpp", &[]);
    check_memory("http.cpp", &[]);
}
