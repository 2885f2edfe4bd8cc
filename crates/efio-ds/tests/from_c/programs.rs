//! What the headers promise, asked by C and C++ programs: one process each, which must end well and in time.

use crate::toolchain::check;

#[test]
fn ev_queue_keeps_its_header() {
    check("queue.c", &[]);
}

#[test]
fn the_queues_of_several_lists_keep_their_headers() {
    check("parallel_queues.c", &[]);
}

#[test]
fn ev_stack_keeps_its_header() {
    check("stack.c", &[]);
}

#[test]
fn the_locks_keep_their_headers() {
    check("locks.c", &[]);
}

#[test]
fn readers_share_the_lock_and_a_waiting_writer_comes_before_new_ones() {
    check("readers.c", &[]);
}

#[test]
fn the_stream_keeps_its_header_and_its_bytes_between_threads() {
    check("stream.c", &[]);
}

#[test]
fn the_list_and_the_stream_of_buffers_keep_their_headers_in_cpp() {
    check("classes.cpp", &[]);
}

#[test]
fn the_buffered_stream_is_a_streambuf_for_every_byte() {
    check("buffered.cpp", &[]);
}

#[test]
fn the_chunked_coding_goes_through_the_buffered_stream_and_back() {
    check("http.cpp", &[]);
}

#[test]
fn two_and_two_threads_lose_nothing_and_keep_the_order_of_each_producer() {
    for queue in ["queue", "trying", "pqueue", "piqueue", "paqueue", "stack"] {
        check("queue_threads.c", &[queue, "2", "100000"]);
    }
}

#[test]
fn four_and_four_threads_lose_nothing_and_keep_the_order_of_each_producer() {
    for queue in ["queue", "trying", "pqueue", "piqueue", "paqueue", "stack"] {
        check("queue_threads.c", &[queue, "4", "50000"]);
    }
}

#[test]
fn pairs_of_put_and_take_in_two_threads_lose_nothing() {
    check("pairs.c", &["2", "100000"]);
}

#[test]
fn pairs_of_put_and_take_in_four_threads_lose_nothing() {
    check("pairs.c", &["4", "50000"]);
}

#[test]
fn two_threads_lose_no_addition_under_any_lock() {
    check("lock_threads.c", &["2", "50000"]);
}

#[test]
fn four_threads_lose_no_addition_under_any_lock() {
    check("lock_threads.c", &["4", "20000"]);
}

#[test]
fn eight_threads_lose_no_addition_under_any_lock() {
    check("lock_threads.c", &["8", "3000"]);
}
