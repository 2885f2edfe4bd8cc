/*
 * Each thread puts an item in and takes one out, over and over, as callers that use a queue as a pool do. What was put in is
 * what came out. This is the use on which the original aborted. Arguments: threads, pairs of each thread.
 */
#include "ev_paqueue.h"
#include "ev_piqueue.h"
#include "ev_pqueue.h"
#include "ev_queue.h"
#include "ev_stack.h"
#include "check.h"

struct part {
    long number;
    uintptr_t in, out;
};

static ev_queue_type queue;
static ev_pqueue_type pqueue;
static ev_piqueue_type piqueue;
static ev_paqueue_type paqueue;
static ev_stack_type stack;
static long pairs;

static void *work(void *argument)
{
    struct part *part = argument;
    for (long nth = 0; nth < pairs; nth++) {
        void *item = (void *)(uintptr_t)(part->number * pairs + nth + 1);
        part->in += 5 * (uintptr_t)item;
        enqueue(queue, item);
        enqueue_ev_pqueue(pqueue, item);
        enqueue_ev_piqueue(piqueue, item);
        enqueue_evpaq(paqueue, item);
        push(stack, item);
        part->out += (uintptr_t)dequeue(queue) + (uintptr_t)dequeue_ev_pqueue(pqueue) +
                     (uintptr_t)dequeue_ev_piqueue(piqueue) + (uintptr_t)dequeue_evpaq(paqueue) + (uintptr_t)pop(stack);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct part parts[THREADS_MAX];
    long threads = ARGUMENT(1, 4);
    uintptr_t in = 0, out = 0, item;

    pairs = ARGUMENT(2, 50000);
    queue = create_ev_queue();
    pqueue = create_ev_pqueue(4);
    piqueue = create_ev_piqueue(4);
    paqueue = create_evpaq(4);
    stack = create_ev_stack();
    memset(parts, 0, sizeof parts);
    for (long nth = 0; nth < threads; nth++) parts[nth].number = nth;

    RUN_THREADS(threads, work, parts);

    for (long nth = 0; nth < threads; nth++) in += parts[nth].in, out += parts[nth].out;
    /* A pop that met another thread's half made push may have found nothing: then the item is still there. */
    while ((item = (uintptr_t)dequeue(queue)) != 0) out += item;
    while ((item = (uintptr_t)dequeue_ev_pqueue(pqueue)) != 0) out += item;
    while ((item = (uintptr_t)dequeue_ev_piqueue(piqueue)) != 0) out += item;
    while ((item = (uintptr_t)dequeue_evpaq(paqueue)) != 0) out += item;
    while ((item = (uintptr_t)pop(stack)) != 0) out += item;
    CHECK(in == out);
    wf_destroy_ev_queue(queue);
    wf_destroy_ev_pqueue(&pqueue);
    destroy_ev_piqueue(&piqueue);
    wf_destroy_evpaq(&paqueue);
    destroy_ev_stack(stack);
    return 0;
}
