/* What efio_ds_stream.h says: in one thread, then with one thread that pushes and one that reads. */
#include "efio_ds_stream.h"
#include "check.h"
#include <sched.h>

static efio_ds_stream *stream;
static long pieces;

static void *copied(const char *text, size_t size) { return memcpy(malloc(size), text, size); }

/* 01, 23, 45, 67 */
static void fill(efio_ds_stream *target)
{
    for (const char *text = "01234567"; *text; text += 2) CHECK(efio_ds_stream_push(target, copied(text, 2), 2) == 2);
}

static void one_thread(void)
{
    char bytes[16] = {0};
    efio_ds_stream *other = efio_ds_stream_create();
    efio_ds_node *node;

    stream = efio_ds_stream_create();
    QUIETLY(efio_ds_stream_first(stream) == NULL && efio_ds_stream_last(stream) == NULL);
    QUIETLY(efio_ds_stream_pop(stream) == NULL && efio_ds_stream_read(stream, bytes, 4) == 0);
    QUIETLY(efio_ds_stream_erase(stream, 4) == 0 && efio_ds_stream_copy(stream, 0, bytes, 4) == 0);
    QUIETLY((fill(stream), 1));

    /* A copy erases nothing, and begins anywhere. */
    QUIETLY(efio_ds_stream_copy(stream, 0, bytes, 3) == 3 && memcmp(bytes, "012", 3) == 0);
    CHECK(efio_ds_stream_copy(stream, 1, bytes, 1) == 1 && bytes[0] == '1');
    CHECK(efio_ds_stream_copy(stream, 3, bytes, 9) == 5 && memcmp(bytes, "34567", 5) == 0);
    CHECK(efio_ds_stream_copy(stream, 8, bytes, 1) == 0 && efio_ds_stream_copy(stream, 99, bytes, 1) == 0);
    CHECK(efio_ds_stream_copy(stream, (size_t)-1, bytes, 1) == 0 && efio_ds_stream_copy(stream, 0, NULL, 0) == 0);
    /* An erase ends within a buffer; a read goes over several. */
    QUIETLY(efio_ds_stream_erase(stream, 3) == 3);
    CHECK(efio_ds_stream_read(stream, bytes, 3) == 3 && memcmp(bytes, "345", 3) == 0);
    CHECK(efio_ds_stream_erase(stream, 99) == 2 && efio_ds_stream_first(stream) == NULL);

    /* Nodes are walked where they lie. */
    fill(stream);
    node = efio_ds_stream_first(stream);
    CHECK(efio_ds_node_length(node) == 2 && memcmp(efio_ds_node_data(node), "01", 2) == 0);
    CHECK(efio_ds_node_skip(node, 1) == 1 && efio_ds_node_length(node) == 1);
    CHECK(*(char *)efio_ds_node_data(node) == '1');
    node = efio_ds_stream_next(stream, node);
    CHECK(node == efio_ds_node_next(efio_ds_stream_first(stream)) && memcmp(efio_ds_node_data(node), "23", 2) == 0);
    node = efio_ds_stream_last(stream);
    CHECK(efio_ds_stream_next(stream, node) == NULL && memcmp(efio_ds_node_data(node), "67", 2) == 0);
    /* What arrives later is behind a node that was the last. */
    CHECK(efio_ds_stream_push(stream, copied("89", 2), 2) == 2);
    node = efio_ds_stream_next(stream, node);
    CHECK(memcmp(efio_ds_node_data(node), "89", 2) == 0);
    node = efio_ds_stream_pop(stream);
    CHECK(efio_ds_node_next(node) == NULL && efio_ds_node_skip(node, 9) == 1 && efio_ds_node_data(node) == NULL);
    efio_ds_node_free(node);

    /* A transfer moves all. */
    fill(other);
    CHECK(efio_ds_stream_transfer(stream, other) == 8 && efio_ds_stream_first(stream) == NULL);
    CHECK(efio_ds_stream_read(other, bytes, 16) == 16 && memcmp(bytes, "0123456723456789", 16) == 0);
    REFUSED(EINVAL, efio_ds_stream_transfer(other, other) == 0);

    /* An empty buffer is freed by a push, and kept by an add. */
    QUIETLY(efio_ds_stream_push(stream, malloc(5), 0) == 0 && efio_ds_stream_first(stream) == NULL);
    QUIETLY(efio_ds_stream_push(stream, NULL, 0) == 0);
    CHECK(efio_ds_stream_add(stream, malloc(5), 0) == 0 && efio_ds_stream_first(stream) != NULL);
    CHECK(efio_ds_stream_push(stream, copied("a", 1), 1) == 1);
    CHECK(efio_ds_stream_copy(stream, 0, bytes, 1) == 1 && bytes[0] == 'a');
    CHECK(efio_ds_stream_read(stream, bytes, 9) == 1 && efio_ds_stream_first(stream) == NULL);

    REFUSED(EINVAL, efio_ds_stream_push(stream, NULL, 1) == 0);
    REFUSED(EINVAL, efio_ds_stream_push(NULL, bytes, 1) == 0);
    REFUSED(EINVAL, efio_ds_stream_push(NULL, bytes, 0) == 0);
    REFUSED(EINVAL, efio_ds_stream_push(stream, bytes, (size_t)-1) == 0);
    REFUSED(EINVAL, efio_ds_stream_add(NULL, bytes, 1) == -1);
    REFUSED(EINVAL, efio_ds_stream_copy(stream, 0, NULL, 1) == -1);
    REFUSED(EINVAL, efio_ds_stream_copy(NULL, 0, bytes, 1) == -1);
    REFUSED(EINVAL, efio_ds_stream_read(stream, NULL, 1) == -1);
    REFUSED(EINVAL, efio_ds_stream_read(NULL, bytes, 1) == -1);
    REFUSED(EINVAL, efio_ds_stream_erase(NULL, 1) == 0);
    REFUSED(EINVAL, efio_ds_stream_transfer(stream, NULL) == 0);
    REFUSED(EINVAL, efio_ds_stream_first(NULL) == NULL);
    REFUSED(EINVAL, efio_ds_stream_next(stream, NULL) == NULL);
    REFUSED(EINVAL, efio_ds_stream_last(NULL) == NULL);
    REFUSED(EINVAL, efio_ds_stream_pop(NULL) == NULL);
    REFUSED(EINVAL, efio_ds_node_next(NULL) == NULL);
    REFUSED(EINVAL, (efio_ds_node_set_next(NULL, NULL), 1));
    REFUSED(EINVAL, efio_ds_node_data(NULL) == NULL);
    REFUSED(EINVAL, efio_ds_node_length(NULL) == 0);
    REFUSED(EINVAL, efio_ds_node_skip(NULL, 1) == 0);
    REFUSED(EINVAL, (efio_ds_node_free(NULL), 1));
    REFUSED(EINVAL, (efio_ds_stream_destroy(NULL), 1));

    /* What is left is freed with the stream. */
    fill(stream);
    QUIETLY((efio_ds_stream_destroy(stream), 1));
    efio_ds_stream_destroy(other);
}

/* Byte n of the whole is n modulo 251; piece n has n % 1000 + 1 bytes. */
static void *producer(void *argument)
{
    size_t place = 0;
    (void)argument;
    for (long nth = 0; nth < pieces; nth++) {
        size_t size = (size_t)(nth % 1000 + 1);
        unsigned char *buffer = malloc(size);
        for (size_t byte = 0; byte < size; byte++) buffer[byte] = (unsigned char)((place + byte) % 251);
        CHECK(efio_ds_stream_push(stream, buffer, size) == size);
        place += size;
    }
    return NULL;
}

static void *consumer(void *argument)
{
    unsigned char bytes[700];
    size_t place = 0, all = 0;
    (void)argument;
    for (long nth = 0; nth < pieces; nth++) all += (size_t)(nth % 1000 + 1);
    for (long turn = 0; place < all; turn++) {
        ssize_t count = efio_ds_stream_copy(stream, 0, bytes, sizeof bytes);
        CHECK(count >= 0);
        for (ssize_t byte = 0; byte < count; byte++) CHECK(bytes[byte] == (place + (size_t)byte) % 251);
        if (turn % 2)
            CHECK(efio_ds_stream_erase(stream, (size_t)count) == (size_t)count);
        else
            CHECK(efio_ds_stream_read(stream, bytes, (size_t)count) == count);
        place += (size_t)count;
        if (count == 0) sched_yield();
    }
    CHECK(place == all && efio_ds_stream_first(stream) == NULL);
    return NULL;
}

static void *either(void *argument)
{
    return *(int *)argument ? producer(NULL) : consumer(NULL);
}

/* What has arrived may be walked by several threads at a time. */
static void *walker(void *argument)
{
    (void)argument;
    for (int time = 0; time < 20; time++) {
        long seen = 0;
        for (efio_ds_node *node = efio_ds_stream_first(stream); node; node = efio_ds_stream_next(stream, node)) seen++;
        CHECK(seen == 1000);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int roles[4] = {0, 1, 2, 3};

    pieces = ARGUMENT(1, 5000);
    one_thread();
    stream = efio_ds_stream_create();
    RUN_THREADS(2, either, roles);
    for (int nth = 0; nth < 1000; nth++) efio_ds_stream_push(stream, copied("x", 1), 1);
    RUN_THREADS(4, walker, roles);
    efio_ds_stream_destroy(stream);
    return 0;
}
