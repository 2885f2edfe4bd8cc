/* What the headers of the locks say of one thread, and of NULL. */
#include "ev_mcs_lock.h"
#include "ev_rwlock.h"
#include "ev_rwlock_struct.h"
#include "ev_spin_lock.h"
#include "check.h"

static ev_mcs_lock_type queue_lock;
static struct ev_rwlock_s static_lock;

int main(void)
{
    spin_lock_p_type spin = create_spin_lock();
    ev_rwlock_type rwlock = ev_rwlock_init();
    void *ticket;

    QUIETLY(ev_spin_try_lock(spin) == 1);
    QUIETLY(ev_spin_try_lock(spin) == 0);
    QUIETLY((ev_spin_unlock(spin), ev_spin_lock(spin), ev_spin_try_lock(spin) == 0));
    QUIETLY((ev_spin_unlock(spin), ev_spin_try_lock(spin) == 1));
    QUIETLY((ev_spin_unlock(spin), destroy_spin_lock(spin), 1));
    REFUSED(EINVAL, ev_spin_try_lock(NULL) == 0);
    REFUSED(EINVAL, (ev_spin_lock(NULL), 1));
    REFUSED(EINVAL, (ev_spin_unlock(NULL), 1));
    REFUSED(EINVAL, (destroy_spin_lock(NULL), 1));

    /* Zeroes are a free lock; so is what mcs_init leaves. */
    for (int time = 0; time < 3; time++) {
        QUIETLY((ticket = mcs_get_access(&queue_lock)) != NULL);
        QUIETLY(mcs_relinquish(&queue_lock, ticket) == 0);
    }
    CHECK(atomic_load(&queue_lock) == 0);
    mcs_init(&queue_lock);
    ticket = mcs_get_access(&queue_lock);
    REFUSED(EINVAL, mcs_relinquish(NULL, ticket) == -1);
    REFUSED(EINVAL, mcs_relinquish(&queue_lock, NULL) == -1);
    CHECK(mcs_relinquish(&queue_lock, ticket) == 0);
    REFUSED(EINVAL, mcs_get_access(NULL) == NULL);
    REFUSED(EINVAL, (mcs_init(NULL), 1));

    QUIETLY(ev_rwlock_rdlock(rwlock) == 0 && ev_rwlock_rdlock(rwlock) == 0);
    REFUSED(EPERM, ev_rwlock_wrunlock(rwlock) == -1);
    QUIETLY(ev_rwlock_rdunlock(rwlock) == 0 && ev_rwlock_rdunlock(rwlock) == 0);
    REFUSED(EPERM, ev_rwlock_rdunlock(rwlock) == -1);
    QUIETLY(ev_rwlock_wrlock(rwlock) == 0);
    REFUSED(EPERM, ev_rwlock_rdunlock(rwlock) == -1);
    QUIETLY(ev_rwlock_wrunlock(rwlock) == 0);
    QUIETLY(ev_rwlock_wrlock(rwlock) == 0 && ev_rwlock_wrunlock(rwlock) == 0);
    QUIETLY(ev_rwlock_rdlock(rwlock) == 0 && ev_rwlock_rdunlock(rwlock) == 0);
    QUIETLY((ev_rwlock_destroy(rwlock), 1));
    REFUSED(EINVAL, ev_rwlock_rdlock(NULL) == -1);
    REFUSED(EINVAL, ev_rwlock_wrlock(NULL) == -1);
    REFUSED(EINVAL, ev_rwlock_rdunlock(NULL) == -1);
    REFUSED(EINVAL, ev_rwlock_wrunlock(NULL) == -1);
    REFUSED(EINVAL, (ev_rwlock_destroy(NULL), 1));

    /* A static struct needs no call; the macro makes any struct a free lock. */
    CHECK(sizeof static_lock == 2 * sizeof(int));
    QUIETLY(ev_rwlock_wrlock(&static_lock) == 0 && ev_rwlock_wrunlock(&static_lock) == 0);
    QUIETLY(ev_rwlock_rdlock(&static_lock) == 0 && ev_rwlock_rdunlock(&static_lock) == 0);
    CHECK(atomic_load(&static_lock.rd_lock) == 0 && atomic_load(&static_lock.wr_lock) == 0);
    memset(&static_lock, 0x55, sizeof static_lock);
    EV_RW_LOCK_S_INIT(static_lock)
    CHECK(ev_rwlock_wrlock(&static_lock) == 0 && ev_rwlock_wrunlock(&static_lock) == 0);
    return 0;
}
