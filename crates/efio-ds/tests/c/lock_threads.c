/*
 * Many threads add to plain numbers under each lock: no addition is lost, and no reader sees half of one.
 * Arguments: threads, additions of each.
 */
#include "ev_mcs_lock.h"
#include "ev_rwlock.h"
#include "ev_rwlock_struct.h"
#include "ev_spin_lock.h"
#include "check.h"
#include <sched.h>

static spin_lock_p_type spin;
static ev_mcs_lock_type queue_lock;
static struct ev_rwlock_s rwlock;
static long additions;
static volatile long under_spin, under_try, under_queue, under_write[2];

/* Adds one in two steps, and lets others run between them now and then: if two are inside, an addition is lost. */
static void add(volatile long *number, long nth)
{
    long was = *number;
    if (nth % 32 == 0) sched_yield();
    *number = was + 1;
}

static void *work(void *argument)
{
    (void)argument;
    for (long nth = 0; nth < additions; nth++) {
        void *ticket;

        ev_spin_lock(spin);
        add(&under_spin, nth);
        ev_spin_unlock(spin);

        while (!ev_spin_try_lock(spin)) sched_yield();
        add(&under_try, nth);
        ev_spin_unlock(spin);

        ticket = mcs_get_access(&queue_lock);
        add(&under_queue, nth);
        CHECK(mcs_relinquish(&queue_lock, ticket) == 0);

        if (nth % 4 == 0) {
            CHECK(ev_rwlock_wrlock(&rwlock) == 0);
            add(&under_write[0], nth);
            add(&under_write[1], nth);
            CHECK(ev_rwlock_wrunlock(&rwlock) == 0);
        } else {
            CHECK(ev_rwlock_rdlock(&rwlock) == 0);
            CHECK(under_write[0] == under_write[1]);
            CHECK(ev_rwlock_rdunlock(&rwlock) == 0);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    long threads = ARGUMENT(1, 4), all;
    int none[THREADS_MAX];

    additions = ARGUMENT(2, 20000);
    spin = create_spin_lock();
    RUN_THREADS(threads, work, none);
    all = threads * additions;
    CHECK(under_spin == all && under_try == all && under_queue == all);
    CHECK(under_write[0] == threads * ((additions + 3) / 4) && under_write[1] == under_write[0]);
    CHECK(atomic_load(&queue_lock) == 0 && atomic_load(&rwlock.rd_lock) == 0 && atomic_load(&rwlock.wr_lock) == 0);
    destroy_spin_lock(spin);
    return 0;
}
