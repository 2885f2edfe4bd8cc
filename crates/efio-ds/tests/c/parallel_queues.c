/* What ev_pqueue.h, ev_piqueue.h and ev_paqueue.h say, in one thread. */
#include "ev_paqueue.h"
#include "ev_piqueue.h"
#include "ev_pqueue.h"
#include "check.h"

static int seen;
static int list_max;

static void show(void *item)
{
    CHECK(item != NULL);
    seen++;
}

static void show_with_list(int list, void *item)
{
    show(item);
    if (list > list_max) list_max = list;
}

static void pqueue(void)
{
    ev_pqueue_type queue = create_ev_pqueue(4), none = NULL;

    QUIETLY(dequeue_ev_pqueue(queue) == NULL && ev_pqueue_peek(queue) == 0);
    for (uintptr_t number = 1; number <= 100; number++) enqueue_ev_pqueue(queue, (void *)number);
    CHECK(ev_pqueue_peek(queue) == 1);
    seen = list_max = 0;
    debug_ev_pqueue(queue, show_with_list);
    CHECK(seen == 100 && list_max == 3);
    for (uintptr_t number = 1; number <= 100; number++) CHECK(dequeue_ev_pqueue(queue) == (void *)number);
    CHECK(dequeue_ev_pqueue(queue) == NULL);
    enqueue_ev_pqueue(queue, malloc(3));
    QUIETLY((destroy_ev_pqueue(&queue), queue == NULL));

    queue = create_ev_pqueue(0);
    enqueue_ev_pqueue(queue, &queue);
    wf_destroy_ev_pqueue(&queue);
    CHECK(queue == NULL);
    queue = create_ev_pqueue(128);
    CHECK(queue != NULL);
    REFUSED(EINVAL, create_ev_pqueue(129) == NULL);
    REFUSED(EINVAL, (enqueue_ev_pqueue(NULL, &queue), 1));
    REFUSED(EINVAL, dequeue_ev_pqueue(NULL) == NULL);
    REFUSED(EINVAL, ev_pqueue_peek(NULL) == 0);
    REFUSED(EINVAL, (destroy_ev_pqueue(NULL), 1));
    REFUSED(EINVAL, (destroy_ev_pqueue(&none), 1));
    REFUSED(EINVAL, (wf_destroy_ev_pqueue(NULL), 1));
    REFUSED(EINVAL, (debug_ev_pqueue(NULL, show_with_list), 1));
    REFUSED(EINVAL, (debug_ev_pqueue(queue, NULL), 1));
    destroy_ev_pqueue(&queue);
}

static void piqueue(void)
{
    ev_piqueue_type queue = create_ev_piqueue(5), other = create_ev_piqueue(1), none = NULL;
    int payload;

    QUIETLY(dequeue_ev_piqueue(queue) == NULL && ev_piqueue_peek(queue) == 0);
    /* One thread: its order. Two queues know nothing of each other. */
    for (uintptr_t number = 1; number <= 100; number++) {
        enqueue_ev_piqueue(queue, (void *)number);
        enqueue_ev_piqueue(other, (void *)(number + 1000));
    }
    CHECK(ev_piqueue_peek(queue) == 1);
    seen = 0;
    debug_ev_piqueue(queue, show);
    CHECK(seen == 100);
    for (uintptr_t number = 1; number <= 100; number++) {
        CHECK(dequeue_ev_piqueue(queue) == (void *)number);
        CHECK(dequeue_ev_piqueue(other) == (void *)(number + 1000));
    }
    CHECK(dequeue_ev_piqueue(queue) == NULL);
    /* What is left is not freed: this would abort. */
    enqueue_ev_piqueue(queue, &payload);
    QUIETLY((destroy_ev_piqueue(&queue), queue == NULL));
    destroy_ev_piqueue(&other);
    REFUSED(EINVAL, (enqueue_ev_piqueue(NULL, &queue), 1));
    REFUSED(EINVAL, dequeue_ev_piqueue(NULL) == NULL);
    REFUSED(EINVAL, ev_piqueue_peek(NULL) == 0);
    REFUSED(EINVAL, (destroy_ev_piqueue(NULL), 1));
    REFUSED(EINVAL, (destroy_ev_piqueue(&none), 1));
    REFUSED(EINVAL, (debug_ev_piqueue(NULL, show), 1));
    queue = create_ev_piqueue(-3);
    REFUSED(EINVAL, (debug_ev_piqueue(queue, NULL), 1));
    destroy_ev_piqueue(&queue);
}

static void paqueue(void)
{
    ev_paqueue_type queue = create_evpaq(8), none = NULL;

    QUIETLY(dequeue_evpaq(queue) == NULL && peek_evpaq(queue) == 0);
    for (uintptr_t number = 1; number <= 100; number++) enqueue_evpaq(queue, (void *)number);
    CHECK(peek_evpaq(queue) == 1);
    seen = 0;
    debug_paq(queue, show_with_list);
    CHECK(seen == 100);
    for (uintptr_t number = 1; number <= 100; number++) CHECK(dequeue_evpaq(queue) == (void *)number);
    CHECK(dequeue_evpaq(queue) == NULL);
    enqueue_evpaq(queue, malloc(3));
    QUIETLY((destroy_evpaq(&queue), queue == NULL));
    queue = create_evpaq(100000);
    enqueue_evpaq(queue, &queue);
    QUIETLY((wf_destroy_evpaq(&queue), queue == NULL));
    REFUSED(EINVAL, (enqueue_evpaq(NULL, &queue), 1));
    REFUSED(EINVAL, dequeue_evpaq(NULL) == NULL);
    REFUSED(EINVAL, peek_evpaq(NULL) == 0);
    REFUSED(EINVAL, (destroy_evpaq(NULL), 1));
    REFUSED(EINVAL, (wf_destroy_evpaq(&none), 1));
    REFUSED(EINVAL, (debug_paq(NULL, show_with_list), 1));
}

int main(void)
{
    pqueue();
    piqueue();
    paqueue();
    return 0;
}
