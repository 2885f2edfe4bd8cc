/*
 * ev_rwlock_struct.h: the lock of ev_rwlock.h as a struct, for locks in static memory or within structs of yours.
 *
 * A struct of zeroes is a lock that nobody holds, so static ones need no call:
 *
 *     static struct ev_rwlock_s lock;
 *     ev_rwlock_rdlock(&lock);
 *
 * Both integers belong to the calls of ev_rwlock.h: do not store to them while somebody uses the lock.
 */
#ifndef EFIO_DS_EV_RWLOCK_STRUCT_H
#define EFIO_DS_EV_RWLOCK_STRUCT_H

#include "efio_ds_atomics.h"

struct ev_rwlock_s {
    atomic_int rd_lock;
    atomic_int wr_lock;
};

/* Makes `l`, a struct and not a pointer to one, a lock that nobody holds. */
#define EV_RW_LOCK_S_INIT(l)          \
    {                                 \
        atomic_store(&(l).rd_lock, 0); \
        atomic_store(&(l).wr_lock, 0); \
    }

#endif
