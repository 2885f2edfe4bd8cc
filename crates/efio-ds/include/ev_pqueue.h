/*
 * ev_pqueue.h: a queue of addresses for many threads on both sides, first in, first out over all of them.
 *
 * It has no bound but memory, and no call waits for another thread. It keeps the same promises as ev_queue.h; the number
 * of lists that it is made with is accepted for the sake of programs that give one.
 *
 * dequeue_ev_pqueue() answers NULL for "nothing there", so an item that is NULL cannot be told from that: put none in.
 *
 * A NULL queue: the call does nothing, answers as for an empty queue, and sets errno to EINVAL. Otherwise errno is left
 * alone. If memory runs out while something is put in, the process ends.
 */
#ifndef EFIO_DS_EV_PQUEUE_H
#define EFIO_DS_EV_PQUEUE_H

#ifdef __cplusplus
extern "C" {
#endif

struct ev_pqueue_s;
typedef struct ev_pqueue_s *ev_pqueue_type;

/* Shows one item, with a number below that of the lists. It must not throw an exception of C++. */
typedef void (*print_pqnode_func_type)(int list, void *item);

/* A new, empty queue of so many lists: at most 128 (more: NULL with EINVAL); below 1 is taken as 1. */
ev_pqueue_type create_ev_pqueue(int lists);

/* Puts an item in at the end. */
void enqueue_ev_pqueue(ev_pqueue_type queue, void *item);

/* Takes the oldest item out. NULL: nothing is there. */
void *dequeue_ev_pqueue(ev_pqueue_type queue);

/* 1: something is in the queue, 0: nothing is. Another thread may change that before you have read it. */
int ev_pqueue_peek(struct ev_pqueue_s *queue);

/* Ends the queue, which no other thread uses, frees each item that is left with free(3), and sets *queue to NULL. */
void destroy_ev_pqueue(ev_pqueue_type *queue);

/* As destroy_ev_pqueue(), but the items that are left stay yours. */
void wf_destroy_ev_pqueue(ev_pqueue_type *queue);

/*
 * Calls print for each item, oldest first, without taking it out. If other threads use the queue meanwhile, nothing is lost,
 * but items may change places. Does nothing, with EINVAL, if print is NULL.
 */
void debug_ev_pqueue(ev_pqueue_type queue, print_pqnode_func_type print);

#ifdef __cplusplus
}
#endif

#endif
