/*
 * ev_piqueue.h: several lists as one queue of addresses, so that threads seldom meet.
 *
 * What one thread puts in comes out in that thread's order; between threads there is no order. The queue has no bound but
 * memory, and no call waits for another thread.
 *
 * dequeue_ev_piqueue() answers NULL for "nothing there", so an item that is NULL cannot be told from that: put none in.
 *
 * A NULL queue: the call does nothing, answers as for an empty queue, and sets errno to EINVAL. Otherwise errno is left
 * alone. If memory runs out while something is put in, the process ends.
 */
#ifndef EFIO_DS_EV_PIQUEUE_H
#define EFIO_DS_EV_PIQUEUE_H

#ifdef __cplusplus
extern "C" {
#endif

struct ev_piqueue_s;
typedef struct ev_piqueue_s *ev_piqueue_type;

/* Shows one item. It must not throw an exception of C++. */
typedef void (*print_piqnode_func_type)(void *item);

/* A new, empty queue of so many lists, rounded up to a power of two: at least 1, and never more than 1024. */
ev_piqueue_type create_ev_piqueue(int lists);

/* Puts an item in, behind all that this thread has put in before. */
void enqueue_ev_piqueue(ev_piqueue_type queue, void *item);

/* Takes an item out, the oldest of its list. NULL: each list was empty when it was looked at. */
void *dequeue_ev_piqueue(ev_piqueue_type queue);

/* 1: something is in the queue, 0: nothing is. Another thread may change that before you have read it. */
int ev_piqueue_peek(struct ev_piqueue_s *queue);

/* Ends the queue, which no other thread uses, and sets *queue to NULL. The items that are left stay yours: none is freed. */
void destroy_ev_piqueue(ev_piqueue_type *queue);

/*
 * Calls print for each item, list by list, without taking it out. If other threads use the queue meanwhile, nothing is lost,
 * but items may change places. Does nothing, with EINVAL, if print is NULL.
 */
void debug_ev_piqueue(ev_piqueue_type queue, print_piqnode_func_type print);

#ifdef __cplusplus
}
#endif

#endif
