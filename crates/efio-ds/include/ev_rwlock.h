/*
 * ev_rwlock.h: many readers or one writer.
 *
 * A writer that waits stops new readers, so writers do not starve; readers may, under writers that never cease. Who waits
 * spins, then yields, then naps, up to 1.6 milliseconds at a time: do not hold the lock over calls that can wait. A thread
 * that holds it must not wait for it again, not even to read twice: a writer that comes between makes it wait for itself.
 *
 * All calls but init and destroy return 0, or -1 with errno: EINVAL if the lock is NULL; EPERM for an unlock of what nobody
 * holds (the lock is left as it is; it is told where it can be seen, so do not count on it). On success errno is left alone.
 */
#ifndef EFIO_DS_EV_RWLOCK_H
#define EFIO_DS_EV_RWLOCK_H

#include <stdlib.h>
#include <stdbool.h>
#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ev_rwlock_s;
typedef struct ev_rwlock_s *ev_rwlock_type;

/* A new lock that nobody holds. NULL with ENOMEM if there is no memory. */
ev_rwlock_type ev_rwlock_init(void);

/* Ends a lock of ev_rwlock_init() that nobody uses any more. Not for a struct of yours: that needs no end. */
void ev_rwlock_destroy(ev_rwlock_type lock);

/* Waits until this thread may read. */
int ev_rwlock_rdlock(ev_rwlock_type lock);

/* Ends a right to read. */
int ev_rwlock_rdunlock(ev_rwlock_type lock);

/* Waits until this thread may write, alone. */
int ev_rwlock_wrlock(ev_rwlock_type lock);

/* Ends the right to write. */
int ev_rwlock_wrunlock(ev_rwlock_type lock);

#ifdef __cplusplus
}
#endif

#endif
