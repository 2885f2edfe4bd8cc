/*
 * ev_stack.h: a stack of addresses that any thread pushes to and any thread pops from, last in, first out.
 *
 * No call waits for another thread. The stack holds up to 2,147,483,616 items and keeps the memory of the most that were
 * in it at a time until it is destroyed.
 *
 * pop() answers NULL for "nothing there", so an item that is NULL cannot be told from that: push none.
 *
 * A NULL stack: the call does nothing, answers as for an empty stack, and sets errno to EINVAL. Otherwise, but for push(),
 * errno is left alone. If memory runs out in a push, the process ends.
 */
#ifndef EFIO_DS_EV_STACK_H
#define EFIO_DS_EV_STACK_H

#ifdef __cplusplus
extern "C" {
#endif

struct ev_stack;
typedef struct ev_stack *ev_stack_type;

/* A new, empty stack. */
ev_stack_type create_ev_stack(void);

/* Puts an item on top. A stack that is full takes nothing, and sets errno to ENOMEM. */
void push(ev_stack_type stack, void *item);

/* Takes the top item off. NULL: nothing is there. */
void *pop(ev_stack_type stack);

/* Ends a stack that no other thread uses. The items that are left stay yours: none is freed. */
void destroy_ev_stack(ev_stack_type stack);

#ifdef __cplusplus
}
#endif

#endif
