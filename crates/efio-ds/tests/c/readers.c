/* Readers share the lock; a writer that waits keeps new readers out, and gets in when the old ones have left. */
#include "ev_rwlock.h"
#include "ev_rwlock_struct.h"
#include "check.h"
#include <time.h>

static struct ev_rwlock_s lock;
static pthread_barrier_t inside;
static atomic_int order, writer_at, reader_at;

static void a_while(void)
{
    struct timespec millisecond = {0, 1000000};
    nanosleep(&millisecond, NULL);
}

static void *reader(void *argument)
{
    (void)argument;
    CHECK(ev_rwlock_rdlock(&lock) == 0);
    /* Passed only if both readers are inside at a time. */
    pthread_barrier_wait(&inside);
    CHECK(ev_rwlock_rdunlock(&lock) == 0);
    return NULL;
}

static void *writer(void *argument)
{
    (void)argument;
    CHECK(ev_rwlock_wrlock(&lock) == 0);
    atomic_store(&writer_at, atomic_fetch_add(&order, 1) + 1);
    CHECK(ev_rwlock_wrunlock(&lock) == 0);
    return NULL;
}

static void *late_reader(void *argument)
{
    (void)argument;
    CHECK(ev_rwlock_rdlock(&lock) == 0);
    atomic_store(&reader_at, atomic_fetch_add(&order, 1) + 1);
    CHECK(ev_rwlock_rdunlock(&lock) == 0);
    return NULL;
}

int main(void)
{
    int none[2];
    pthread_t write, read;
    int before;

    CHECK(pthread_barrier_init(&inside, NULL, 2) == 0);
    RUN_THREADS(2, reader, none);
    pthread_barrier_destroy(&inside);

    CHECK(ev_rwlock_rdlock(&lock) == 0);
    before = atomic_load(&lock.rd_lock);
    CHECK(pthread_create(&write, NULL, writer, NULL) == 0);
    /* The word changes when the writer has come. */
    while (atomic_load(&lock.rd_lock) == before) a_while();
    CHECK(pthread_create(&read, NULL, late_reader, NULL) == 0);
    for (int nth = 0; nth < 50; nth++) a_while();
    CHECK(atomic_load(&order) == 0);
    CHECK(ev_rwlock_rdunlock(&lock) == 0);
    CHECK(pthread_join(write, NULL) == 0 && pthread_join(read, NULL) == 0);
    CHECK(atomic_load(&writer_at) == 1 && atomic_load(&reader_at) == 2);
    return 0;
}
