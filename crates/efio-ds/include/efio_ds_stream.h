/*
 * efio_ds_stream.h: a stream of bytes in memory, made of buffers that are given away and never copied on their way.
 *
 * One thread pushes buffers, another reads them, as from a socket to the worker that parses what came. Any number of
 * threads may push. Of the other calls, those that take nothing out (copy, first, next, last, and the looks at a node) may
 * be made by several threads at a time, as long as no thread makes one of those that do (read, erase, pop, transfer), which
 * are for one thread at a time. The pushing side never waits; the others may spin for the few instructions of one another.
 *
 * Buffers come from malloc(3): a stream frees them with free(3) when their bytes are used up. memory_buffer_list.h,
 * chunked_memory_stream.h and ev_buffered_stream.h are C++ classes over these calls.
 *
 * A NULL stream or node: the call does nothing, answers as for an empty one or with its failure, and sets errno to EINVAL.
 * Otherwise errno is left alone. If memory runs out while something is pushed, the process may end.
 */
#ifndef EFIO_DS_STREAM_H
#define EFIO_DS_STREAM_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct efio_ds_stream;
typedef struct efio_ds_stream efio_ds_stream;

/* A buffer in a stream. Its fields belong to the calls below; it is laid out here only so that C++ can derive from it. */
struct efio_ds_node {
    void *next;
    void *buffer;
    size_t size;
    size_t position;
};
typedef struct efio_ds_node efio_ds_node;

/* A new, empty stream. */
efio_ds_stream *efio_ds_stream_create(void);

/* Ends a stream that no other thread uses, and frees the buffers that are left. */
void efio_ds_stream_destroy(efio_ds_stream *stream);

/*
 * Gives a buffer of malloc(3) with `size` bytes in it to the stream, and returns that number. An empty buffer is freed at
 * once, and 0 returned. 0 with EINVAL (a NULL buffer or stream, an impossible size) or ENOMEM: the buffer stays yours.
 */
size_t efio_ds_stream_push(efio_ds_stream *stream, void *buffer, size_t size);

/* As a push, for lists of buffers: keeps an empty buffer too. 0, or -1 with EINVAL or ENOMEM: the buffer stays yours. */
int efio_ds_stream_add(efio_ds_stream *stream, void *buffer, size_t size);

/*
 * Copies up to `length` bytes, from `start` bytes behind the first on, and returns how many: fewer if the stream ends before,
 * 0 if it ends at or before `start`. Nothing is erased. -1 with EINVAL: the stream or the target is NULL.
 */
ssize_t efio_ds_stream_copy(efio_ds_stream *stream, size_t start, void *target, size_t length);

/* Copies up to `length` bytes from the front, erases them, and returns how many. -1 with EINVAL as for a copy. */
ssize_t efio_ds_stream_read(efio_ds_stream *stream, void *target, size_t length);

/* Erases up to `count` bytes from the front and returns how many. Buffers that are used up are freed. */
size_t efio_ds_stream_erase(efio_ds_stream *stream, size_t count);

/* Moves all that has arrived to the end of another stream, buffer by buffer without a copy, and returns the bytes moved. */
size_t efio_ds_stream_transfer(efio_ds_stream *stream, efio_ds_stream *to);

/* The first buffer; NULL: nothing has arrived. A node stays where it is until its bytes are taken out. */
efio_ds_node *efio_ds_stream_first(efio_ds_stream *stream);

/* The buffer behind that of a node of this stream; NULL: none has arrived. */
efio_ds_node *efio_ds_stream_next(efio_ds_stream *stream, efio_ds_node *node);

/* The last buffer that has arrived; NULL: none. */
efio_ds_node *efio_ds_stream_last(efio_ds_stream *stream);

/* Takes the first buffer out; NULL: nothing has arrived. The node is yours now: see efio_ds_node_free(). */
efio_ds_node *efio_ds_stream_pop(efio_ds_stream *stream);

/* The node behind a node as far as a call on the stream has seen it, NULL for the last one. */
efio_ds_node *efio_ds_node_next(const efio_ds_node *node);

/* Links a node that is in no stream to another. */
void efio_ds_node_set_next(efio_ds_node *node, efio_ds_node *next);

/* The bytes of a node that are not used up; NULL: there are none. */
void *efio_ds_node_data(const efio_ds_node *node);

/* How many bytes of a node are not used up. */
size_t efio_ds_node_length(const efio_ds_node *node);

/* Uses up to `count` bytes of a node and returns how many. The node stays, also when it is empty. */
size_t efio_ds_node_skip(efio_ds_node *node, size_t count);

/* Frees a node that was taken out, and its buffer. */
void efio_ds_node_free(efio_ds_node *node);

#ifdef __cplusplus
}
#endif

#endif
