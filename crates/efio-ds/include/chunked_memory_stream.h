/*
 * chunked_memory_stream.h: a stream of bytes in memory, made of buffers that are given away (C++11).
 *
 * A thin class over efio_ds_stream.h, which says which threads may do what: one thread pushes what came from a socket, say,
 * and another reads it where it lies.
 */
#ifndef EFIO_DS_CHUNKED_MEMORY_STREAM_H
#define EFIO_DS_CHUNKED_MEMORY_STREAM_H

#include <sys/types.h>
#include "memory_buffer_list.h"

class chunked_memory_stream {
public:
    chunked_memory_stream() : _stream(efio_ds_stream_create()) {}

    ~chunked_memory_stream() { efio_ds_stream_destroy(_stream); }

    /*
     * Gives a buffer of malloc(3) with so many bytes to the stream, which frees it, and returns the number of bytes. A buffer
     * of 0 bytes is freed at once. 0 with errno EINVAL or ENOMEM: the buffer stays yours.
     */
    size_t push(void *buffer, size_t bytes) { return efio_ds_stream_push(_stream, buffer, bytes); }

    /*
     * Copies up to so many bytes, from start_pos bytes behind the first on, and erases nothing. Returns how many; 0 if the
     * stream ends at or before start_pos; -1 with EINVAL if buffer is NULL.
     */
    ssize_t copy(size_t start_pos, void *buffer, size_t bytes)
    {
        return efio_ds_stream_copy(_stream, start_pos, buffer, bytes);
    }

    /* Copies up to so many bytes from the front and erases them. Returns how many; (size_t)-1 with EINVAL if buffer is NULL. */
    size_t read(void *buffer, size_t bytes)
    {
        return static_cast<size_t>(efio_ds_stream_read(_stream, buffer, bytes));
    }

    /* Erases up to so many bytes from the front and returns how many. */
    size_t erase(size_t bytes) { return efio_ds_stream_erase(_stream, bytes); }

    /* Moves all that has arrived to the end of another stream, without a copy, and returns the bytes moved. */
    size_t transfer(chunked_memory_stream *to) { return efio_ds_stream_transfer(_stream, to ? to->_stream : 0); }

    /* The bytes of the first buffer where they lie, until they are read or erased; 0 if nothing has arrived. */
    void *get_buffer() { return get_buffer(get_next(0)); }

    size_t get_buffer_len() { return get_buffer_len(get_next(0)); }

    /* The bytes of the buffer of a node; 0 for a node that is 0. */
    void *get_buffer(void *node) { return node ? efio_ds_node_data(static_cast<efio_ds_node *>(node)) : 0; }

    size_t get_buffer_len(void *node) { return node ? efio_ds_node_length(static_cast<efio_ds_node *>(node)) : 0; }

    /* The node behind one of this stream, the first one for 0; 0 if none has arrived. */
    void *get_next(void *node)
    {
        return node ? efio_ds_stream_next(_stream, static_cast<efio_ds_node *>(node)) : efio_ds_stream_first(_stream);
    }

private:
    chunked_memory_stream(const chunked_memory_stream &) = delete;
    chunked_memory_stream &operator=(const chunked_memory_stream &) = delete;

    efio_ds_stream *_stream;
};

#endif
