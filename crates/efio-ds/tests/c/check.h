/* What every program here uses: CHECK, threads, and how much to do. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(claim)                                                                                \
    do {                                                                                            \
        if (!(claim)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__, #claim, errno);    \
            exit(1);                                                                                \
        }                                                                                           \
    } while (0)

/* The call sets errno to this reason, and to nothing else before. */
#define REFUSED(reason, claim) \
    do {                       \
        errno = 0;             \
        CHECK(claim);          \
        CHECK(errno == (reason)); \
    } while (0)

/* The claim, and errno as it was. */
#define QUIETLY(claim)         \
    do {                       \
        errno = EDOM;          \
        CHECK(claim);          \
        CHECK(errno == EDOM);  \
    } while (0)

/* The first argument as a number, or what is given here. */
#define ARGUMENT(position, otherwise) (argc > (position) ? atol(argv[position]) : (otherwise))

enum { THREADS_MAX = 16 };

/* Runs `body` in `count` threads, each with its element of `arguments`, and waits for all. */
#define RUN_THREADS(count, body, arguments)                                                        \
    do {                                                                                           \
        pthread_t ids[THREADS_MAX];                                                            \
        for (long nth = 0; nth < (count); nth++)                                                   \
            CHECK(pthread_create(&ids[nth], NULL, (body), &(arguments)[nth]) == 0);            \
        for (long nth = 0; nth < (count); nth++)                                                   \
            CHECK(pthread_join(ids[nth], NULL) == 0);                                          \
    } while (0)

#endif
