/*
 * ev_include.h: what programs written for the original expect to be included by ef_io.h.
 *
 * Nothing here aborts behind your back or prints to the standard output. The macros are defined only where the
 * program has none of its own.
 */
#ifndef EV_INCLUDE_H_INCLUDED
#define EV_INCLUDE_H_INCLUDED

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

/* Tells where and why on the standard error, then abort(). For programs that use it; the library never does. */
#ifndef EV_ABORT
#define EV_ABORT(...)                                                                                                  \
    do {                                                                                                               \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                                                \
        fprintf(stderr, __VA_ARGS__);                                                                                  \
        fprintf(stderr, "\n");                                                                                         \
        abort();                                                                                                       \
    } while (0)
#endif

#ifndef EV_DBG
#define EV_DBG()                                                                                                       \
    do {                                                                                                               \
    } while (0)
#endif

#ifndef EV_DBGP
#define EV_DBGP(...)                                                                                                   \
    do {                                                                                                               \
    } while (0)
#endif

/* Lets another thread run. */
#ifndef EV_YIELD
#define EV_YIELD() ((void)sched_yield())
#endif

#endif
