/*
 * Many threads fill and empty one queue: nothing is lost, nothing comes twice, and each consumer meets the items of a
 * producer in that producer's order. Arguments: the queue, the threads of each side, the items of each producer.
 */
#include "ev_paqueue.h"
#include "ev_piqueue.h"
#include "ev_pqueue.h"
#include "ev_queue.h"
#include "ev_stack.h"
#include "check.h"
#include <sched.h>

static ev_queue_type queue;
static ev_pqueue_type pqueue;
static ev_piqueue_type piqueue;
static ev_paqueue_type paqueue;
static ev_stack_type stack;

static void put_queue(void *item) { enqueue(queue, item); }
static void *get_queue(void) { return dequeue(queue); }
static void put_pqueue(void *item) { enqueue_ev_pqueue(pqueue, item); }
static void *get_pqueue(void) { return dequeue_ev_pqueue(pqueue); }
static void put_piqueue(void *item) { enqueue_ev_piqueue(piqueue, item); }
static void *get_piqueue(void) { return dequeue_ev_piqueue(piqueue); }
static void put_paqueue(void *item) { enqueue_evpaq(paqueue, item); }
static void *get_paqueue(void) { return dequeue_evpaq(paqueue); }
static void put_stack(void *item) { push(stack, item); }
static void *get_stack(void) { return pop(stack); }

static void *get_trying(void)
{
    void *item;
    CHECK(try_dequeue(queue, &item) == 0);
    return item;
}

static const struct kind {
    const char *name;
    void (*put)(void *);
    void *(*get)(void);
    int ordered;
} kinds[] = {
    {"queue", put_queue, get_queue, 1},         {"trying", put_queue, get_trying, 1},
    {"pqueue", put_pqueue, get_pqueue, 1},      {"piqueue", put_piqueue, get_piqueue, 1},
    {"paqueue", put_paqueue, get_paqueue, 1},   {"stack", put_stack, get_stack, 0},
};

static const struct kind *kind;
static long producers, items;
/* How often each item came out; each consumer has its own, so they are added up at the end. */
static unsigned char *came[THREADS_MAX];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long left;

struct role {
    long number;
};

static void *produce(void *argument)
{
    long number = ((struct role *)argument)->number;
    for (long nth = 0; nth < items; nth++) kind->put((void *)(uintptr_t)(number * items + nth + 1));
    return NULL;
}

static void *consume(void *argument)
{
    long number = ((struct role *)argument)->number;
    long next[THREADS_MAX] = {0};
    long taken = 0;

    for (;;) {
        uintptr_t item = (uintptr_t)kind->get();
        if (item == 0) {
            long rest;
            pthread_mutex_lock(&mutex);
            left -= taken;
            taken = 0;
            rest = left;
            pthread_mutex_unlock(&mutex);
            if (rest == 0) return NULL;
            sched_yield();
            continue;
        }
        item--;
        CHECK(item < (uintptr_t)(producers * items));
        came[number][item]++;
        taken++;
        if (kind->ordered) {
            long producer = (long)item / items, nth = (long)item % items;
            CHECK(nth >= next[producer]);
            next[producer] = nth + 1;
        }
    }
}

static void *work(void *argument)
{
    struct role *role = argument;
    return role->number < producers ? produce(role) : (role->number -= producers, consume(role));
}

int main(int argc, char **argv)
{
    struct role roles[THREADS_MAX];

    for (size_t nth = 0; nth < sizeof kinds / sizeof kinds[0]; nth++)
        if (argc > 1 && strcmp(argv[1], kinds[nth].name) == 0) kind = &kinds[nth];
    CHECK(kind != NULL);
    producers = ARGUMENT(2, 2);
    items = ARGUMENT(3, 100000);
    left = producers * items;
    queue = create_ev_queue();
    pqueue = create_ev_pqueue(4);
    piqueue = create_ev_piqueue(4);
    paqueue = create_evpaq(4);
    stack = create_ev_stack();
    for (long nth = 0; nth < producers; nth++) CHECK((came[nth] = calloc((size_t)left, 1)) != NULL);
    for (long nth = 0; nth < 2 * producers; nth++) roles[nth].number = nth;

    RUN_THREADS(2 * producers, work, roles);

    for (long item = 0; item < producers * items; item++) {
        int times = 0;
        for (long nth = 0; nth < producers; nth++) times += came[nth][item];
        CHECK(times == 1);
    }
    CHECK(kind->get() == NULL);
    for (long nth = 0; nth < producers; nth++) free(came[nth]);
    destroy_ev_queue(queue);
    destroy_ev_pqueue(&pqueue);
    destroy_ev_piqueue(&piqueue);
    destroy_evpaq(&paqueue);
    destroy_ev_stack(stack);
    return 0;
}
