/*
 * memory_buffer_list.h: a list of buffers that one thread adds to and another takes from (C++11).
 *
 * A thin class over efio_ds_stream.h, which says which threads may do what. Buffers come from malloc(3) and belong to the
 * list, then to the node that was taken out of it, which frees its buffer when it is deleted.
 */
#ifndef EFIO_DS_MEMORY_BUFFER_LIST_H
#define EFIO_DS_MEMORY_BUFFER_LIST_H

#ifndef __cplusplus
#error "memory_buffer_list.h is for C++; efio_ds_stream.h has the same for C"
#endif

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <sys/types.h>
#include "efio_ds_stream.h"

class memory_buffer_list {
public:
    /* A buffer of a list. It is memory of malloc(3), so that the library and `delete` free the same thing. */
    class node : public efio_ds_node {
    public:
        node() : efio_ds_node() {}

        ~node() { std::free(buffer); }

        /* Puts a buffer of malloc(3) in place of the one that is there, which is not freed. */
        void set_buffer(void *new_buffer, size_t new_size)
        {
            buffer = new_buffer;
            size = new_size;
            position = 0;
        }

        void set_next(node *next_node) { efio_ds_node_set_next(this, next_node); }

        /* The node behind this one, as far as a call on the list has seen it. */
        node *get_next() { return static_cast<node *>(efio_ds_node_next(this)); }

        /* The bytes that are not used up; 0 if there are none. */
        void *get_buffer() { return efio_ds_node_data(this); }

        size_t get_buffer_len() { return efio_ds_node_length(this); }

        /* Uses up bytes at the front: all if there are fewer. */
        void shift_buffer_position(size_t bytes) { efio_ds_node_skip(this, bytes); }

        static void *operator new(size_t bytes)
        {
            void *memory = std::malloc(bytes);
            if (!memory) throw std::bad_alloc();
            return memory;
        }

        static void operator delete(void *memory) { std::free(memory); }

    private:
        node(const node &) = delete;
        node &operator=(const node &) = delete;
    };

    memory_buffer_list() : _stream(efio_ds_stream_create()) {}

    ~memory_buffer_list() { efio_ds_stream_destroy(_stream); }

    /* The first node, 0 if there is none; it stays in the list. */
    node *get_head() { return static_cast<node *>(efio_ds_stream_first(_stream)); }

    /* The node behind one of this list, 0 if none has arrived. */
    node *get_next(node *ptr) { return static_cast<node *>(efio_ds_stream_next(_stream, ptr)); }

    /* The last node that has arrived, 0 if there is none. */
    node *get_tail() { return static_cast<node *>(efio_ds_stream_last(_stream)); }

    /*
     * Gives a buffer of malloc(3) to the list, as a node behind the others. A NULL buffer with a size is not taken, and
     * errno is EINVAL.
     */
    void add_node(void *buffer, size_t size) { efio_ds_stream_add(_stream, buffer, size); }

    /* Takes the first node out, 0 if there is none. Delete it when you are done. */
    node *pop_head() { return static_cast<node *>(efio_ds_stream_pop(_stream)); }

private:
    memory_buffer_list(const memory_buffer_list &) = delete;
    memory_buffer_list &operator=(const memory_buffer_list &) = delete;

    efio_ds_stream *_stream;
};

static_assert(sizeof(memory_buffer_list::node) == sizeof(efio_ds_node), "a node is what the library takes it for");

#endif
