/*
 * case.h: what the conformance programs are made of.
 *
 * A program holds cases, each named by the statement that it proves. `program --list` prints the names, `program NAME`
 * runs one, in the working directory, which is empty and the case's own. It ends with 0, with 77 after a line
 * `skipped: reason`, or with 1 after a line that says which check did not hold.
 */
#ifndef CASE_H_INCLUDED
#define CASE_H_INCLUDED

#include <ef_io.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct one_case {
    const char *name;
    void (*run)(void);
    struct one_case *next;
};

void add_case(struct one_case *one);

#define CASE(name)                                                                                                     \
    static void name(void);                                                                                            \
    __attribute__((constructor)) static void add_##name(void)                                                          \
    {                                                                                                                  \
        static struct one_case one = {#name, name, NULL};                                                              \
        add_case(&one);                                                                                                \
    }                                                                                                                  \
    static void name(void)

/* Longer than anything here takes, in milliseconds: only a case that fails waits so long. */
#define PATIENCE 20000

/* No errno at all: where a call succeeds it has to be found again. */
#define UNTOUCHED 7777

void fail_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));
void skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
int64_t checked(const char *file, int line, const char *text, int64_t got);
int64_t returned(const char *file, int line, const char *text, int64_t got, int error, int expected);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail_at(__FILE__, __LINE__, "not so: %s (errno %d)", #condition, errno);                                   \
    } while (0)

#define EQUAL(left, right)                                                                                             \
    do {                                                                                                               \
        int64_t left_ = (int64_t)(left), right_ = (int64_t)(right);                                                    \
        if (left_ != right_)                                                                                           \
            fail_at(__FILE__, __LINE__, "%s is %lld, not %lld (errno %d)", #left, (long long)left_,                    \
                    (long long)right_, errno);                                                                         \
    } while (0)

/* The value of a call that succeeds (0 or more) and leaves errno alone. */
#define GOOD(call) (errno = UNTOUCHED, checked(__FILE__, __LINE__, #call, (int64_t)(call)))

/* The call fails with this errno. */
#define FAILS(call, expected)                                                                                          \
    do {                                                                                                               \
        errno = UNTOUCHED;                                                                                             \
        int64_t got_ = (int64_t)(call);                                                                                \
        returned(__FILE__, __LINE__, #call, got_, errno, expected);                                                    \
    } while (0)

/* ---- Time and waiting ------------------------------------------------------------------------------------------ */

int64_t now(void); /* milliseconds */
void rest(int milliseconds);

/* Waits until the condition holds. */
#define UNTIL(condition)                                                                                               \
    do {                                                                                                               \
        int64_t end_ = now() + PATIENCE;                                                                               \
        while (!(condition)) {                                                                                         \
            if (now() > end_)                                                                                          \
                fail_at(__FILE__, __LINE__, "waited in vain for: %s (errno %d)", #condition, errno);                   \
            rest(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* ---- The callback that notes what it hears --------------------------------------------------------------------- */

void note(int fd, int oper, void *data); /* fits ef_set_cb_func */
int heard(int fd, int oper);             /* how often */
int heard_in_all(void);
void until_heard(int fd, int oper, int times);
void order_is_right(void);    /* for each handle in use once: OPEN, READ…, CLOSE; opers 0, 1, 2 only */

/* ---- Files by plain system calls ------------------------------------------------------------------------------- */

void pattern(unsigned seed, void *buffer, size_t size); /* bytes that look like nothing in particular */
char *made(unsigned seed, size_t size);                 /* the same, from malloc */
void put(const char *path, const void *bytes, size_t size);
void put_pattern(const char *path, unsigned seed, size_t size);
char *get(const char *path, size_t *size);
int64_t size_of(const char *path); /* -1: not there */
void holds(const char *path, const void *bytes, size_t size);
void forget_cache(const char *path); /* so that the next read has to ask the disk */
int fifo_reader(const char *path);   /* a pipe made, its reading end opened, which does not wait */

/* ---- Files by efio --------------------------------------------------------------------------------------------- */

int opened(const char *path, int flags); /* waits until it is open; mode 0644 */
int open_error(const char *path, int flags);
ssize_t read_some(int fd, void *buffer, size_t size); /* waits where it says EAGAIN */
size_t read_all(int fd, void *buffer, size_t size);   /* to the end of the file */
int read_error(int fd);
void written(int fd, const void *bytes, size_t size); /* each call takes all */
void closed(int fd);                                  /* ef_close, waits for 0 */
int close_error(int fd);                              /* the errno of the close */

#endif
