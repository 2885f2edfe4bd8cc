/* What ev_queue.h says, statement by statement, in one thread. */
#include "ev_queue.h"
#include "check.h"

static int seen;
static char last[16];

static void count(void *item)
{
    seen++;
    strncpy(last, item, sizeof last - 1);
}

int main(void)
{
    ev_queue_type queue = create_ev_queue();
    char *a = strcpy(malloc(8), "a"), *b = strcpy(malloc(8), "b"), *c = strcpy(malloc(8), "c");
    void *item = &queue;

    CHECK(queue != NULL);
    QUIETLY(dequeue(queue) == NULL && peek(queue) == 0 && queue_empty(queue) == 1);
    QUIETLY(try_dequeue(queue, &item) == 0 && item == NULL);
    item = &queue;
    QUIETLY(ev_queue_take(queue, &item) == 0 && item == NULL);

    QUIETLY((enqueue(queue, a), enqueue(queue, b), enqueue(queue, c), 1));
    QUIETLY(peek(queue) == 1 && queue_empty(queue) == 0);
    debug_queue(queue, count);
    CHECK(seen == 3 && strcmp(last, "c") == 0);
    CHECK(dequeue(queue) == a);
    CHECK(try_dequeue(queue, &item) == 0 && item == b);
    CHECK(ev_queue_take(queue, &item) == 1 && item == c);
    CHECK(queue_empty(queue) == 1);

    /* NULL is an item like any other, and told apart by take. */
    enqueue(queue, NULL);
    CHECK(peek(queue) == 1);
    item = &queue;
    CHECK(ev_queue_take(queue, &item) == 1 && item == NULL);
    CHECK(ev_queue_take(queue, &item) == 0);

    /* More than one block of the queue, and the order stays. */
    for (uintptr_t number = 1; number <= 1000; number++) enqueue(queue, (void *)number);
    for (uintptr_t number = 1; number <= 1000; number++) CHECK(dequeue(queue) == (void *)number);
    CHECK(dequeue(queue) == NULL);

    /* One destroy frees what is left (also behind a NULL), the other does not. */
    enqueue(queue, a);
    enqueue(queue, NULL);
    enqueue(queue, b);
    QUIETLY((destroy_ev_queue(queue), 1));
    queue = create_ev_queue();
    enqueue(queue, c);
    QUIETLY((wf_destroy_ev_queue(queue), 1));
    CHECK(strcmp(c, "c") == 0);
    free(c);

    REFUSED(EINVAL, (enqueue(NULL, &queue), 1));
    REFUSED(EINVAL, dequeue(NULL) == NULL);
    REFUSED(EINVAL, try_dequeue(NULL, &item) == -1 && item == NULL);
    REFUSED(EINVAL, ev_queue_take(NULL, &item) == -1);
    REFUSED(EINVAL, peek(NULL) == 0);
    REFUSED(EINVAL, queue_empty(NULL) == 1);
    REFUSED(EINVAL, (destroy_ev_queue(NULL), 1));
    REFUSED(EINVAL, (wf_destroy_ev_queue(NULL), 1));
    REFUSED(EINVAL, (debug_queue(NULL, count), 1));
    queue = create_ev_queue();
    enqueue(queue, &seen);
    REFUSED(EINVAL, try_dequeue(queue, NULL) == -1);
    REFUSED(EINVAL, ev_queue_take(queue, NULL) == -1);
    REFUSED(EINVAL, (debug_queue(queue, NULL), 1));
    CHECK(dequeue(queue) == &seen);
    destroy_ev_queue(queue);
    return 0;
}
