/*
 * ev_spin_lock.h: a lock for a few instructions at a time.
 *
 * Who finds it held spins, then yields, then naps, up to 1.6 milliseconds at a time: a holder that lost its processor comes
 * back sooner if nobody burns it. Do not hold the lock over a call that can wait; there is no order among those who wait.
 * A thread that locks what it holds waits for ever.
 *
 * A NULL lock: the call does nothing and sets errno to EINVAL, so nothing is locked. Otherwise errno is left alone.
 */
#ifndef EFIO_DS_EV_SPIN_LOCK_H
#define EFIO_DS_EV_SPIN_LOCK_H

#include <stdlib.h>
#include <stdbool.h>
#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

struct spin_lock;
typedef struct spin_lock spin_lock_s_type;
typedef struct spin_lock *spin_lock_p_type;

/* A new lock that nobody holds. */
spin_lock_p_type create_spin_lock(void);

/* Ends a lock that nobody uses any more. */
void destroy_spin_lock(spin_lock_p_type lock);

/* Waits until this thread holds the lock. */
void ev_spin_lock(spin_lock_p_type lock);

/* 1: this thread holds the lock now, 0: somebody holds it. Never waits. */
int ev_spin_try_lock(spin_lock_p_type lock);

/* Gives back the lock, which this thread holds. */
void ev_spin_unlock(spin_lock_p_type lock);

#ifdef __cplusplus
}
#endif

#endif
