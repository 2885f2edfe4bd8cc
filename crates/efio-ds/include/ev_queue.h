/*
 * ev_queue.h: a queue of addresses that any thread fills and any thread empties, first in, first out.
 *
 * It has no bound but memory; every call returns without waiting for another thread. What one thread puts in comes out in
 * that thread's order, and what was put in before something else began to be put in comes out before it.
 *
 * The queue does not look at the items. NULL may be put in like any other item, but dequeue() answers NULL for "nothing
 * there" too: ev_queue_take() tells the two apart.
 *
 * A NULL queue: the call does nothing, answers as for an empty queue, and sets errno to EINVAL. Otherwise errno is left
 * alone. If memory runs out while something is put in, the process ends.
 */
#ifndef EFIO_DS_EV_QUEUE_H
#define EFIO_DS_EV_QUEUE_H

#ifdef __cplusplus
extern "C" {
#endif

struct ev_queue_s;
typedef struct ev_queue_s *ev_queue_type;

/* Shows one item. It must not throw an exception of C++. */
typedef void (*print_qnode_func_type)(void *item);

/* A new, empty queue. */
ev_queue_type create_ev_queue(void);

/* Puts an item in at the end. */
void enqueue(ev_queue_type queue, void *item);

/* Takes the oldest item out. NULL: nothing is there (or the item is NULL). */
void *dequeue(ev_queue_type queue);

/*
 * Takes the oldest item out into *item; NULL there: nothing was in the queue (or the item is NULL). Returns 0, or -1 with
 * EINVAL if an argument is NULL. It never waits, so it never has to answer -1 for "others were at work here".
 */
int try_dequeue(ev_queue_type queue, void **item);

/* As try_dequeue(), but returns 1 with an item in *item, 0 if nothing was there, -1 with EINVAL if an argument is NULL. */
int ev_queue_take(ev_queue_type queue, void **item);

/* 1: something is in the queue, 0: nothing is. Another thread may change that before you have read it. */
int peek(struct ev_queue_s *queue);

/* 1: nothing is in the queue, 0: something is. */
int queue_empty(struct ev_queue_s *queue);

/* Ends a queue that no other thread uses, and frees each item that is left with free(3). */
void destroy_ev_queue(ev_queue_type queue);

/* Ends a queue that no other thread uses. The items that are left stay yours. */
void wf_destroy_ev_queue(ev_queue_type queue);

/*
 * Calls print for each item, oldest first, without taking it out. If other threads use the queue meanwhile, nothing is lost,
 * but items may change places. Does nothing, with EINVAL, if print is NULL.
 */
void debug_queue(ev_queue_type queue, print_qnode_func_type print);

#ifdef __cplusplus
}
#endif

#endif
