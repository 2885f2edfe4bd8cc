/*
 * ev_mcs_lock.h: a lock in the order of asking, in one word of yours.
 *
 * Each thread that waits looks at a word of its own, and sleeps when that takes long; the lock goes to it in its turn.
 * So with more threads than processors each step is a change of threads: take ev_spin_lock.h or a mutex where the order
 * does not matter.
 *
 *     static ev_mcs_lock_type lock;              (zeroes are a free lock; or call mcs_init)
 *     void *ticket = mcs_get_access(&lock);
 *     ...
 *     mcs_relinquish(&lock, ticket);
 *
 * The lock itself has nothing to be freed once every ticket is given back. A thread that asks for what it holds waits for
 * ever. A NULL lock or ticket: the call does nothing, fails, and sets errno to EINVAL. Otherwise errno is left alone.
 */
#ifndef EFIO_DS_EV_MCS_LOCK_H
#define EFIO_DS_EV_MCS_LOCK_H

#include <stdlib.h>
#include <stdbool.h>
#include <pthread.h>
#include "efio_ds_atomics.h"

typedef atomic_uintptr_t ev_mcs_lock_type;

#ifdef __cplusplus
extern "C" {
#endif

/* Makes it a lock that nobody holds. */
void mcs_init(ev_mcs_lock_type *lock);

/* Waits until this thread holds the lock, and returns the ticket for giving it back. NULL: the lock is NULL. */
void *mcs_get_access(ev_mcs_lock_type *lock);

/* Gives back the lock, and the ticket, which must be the one of this access. 0, or -1 if an argument is NULL. */
int mcs_relinquish(ev_mcs_lock_type *lock, void *ticket);

#ifdef __cplusplus
}
#endif

#endif
