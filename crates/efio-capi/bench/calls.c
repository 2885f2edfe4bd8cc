/*
 * calls.c: what a call costs beside the system call that it stands for, in one run. Prints one row each:
 *
 *     name   ours   theirs   ratio   target
 *
 * Build and run:
 *     cargo build --release -p efio-capi
 *     cc -O2 -Icrates/efio-capi/include crates/efio-capi/bench/calls.c -Ltarget/release -lefio_capi -o /tmp/calls
 *     LD_LIBRARY_PATH=target/release /tmp/calls [folder]
 */
#define _GNU_SOURCE
#include <efio.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define ROUNDS 5
#define LINES 1000000
#define LINE 120
#define FILE_BYTES (64L << 20)

static char path[4096], other[4096];
static char piece[64 << 10];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(int fine, const char *what) {
    if (!fine) {
        fprintf(stderr, "%s: %s (%s)\n", what, strerror(errno), ef_error_message());
        exit(1);
    }
}

static int opened(const char *name, int flags) {
    int fd = ef_open(name, flags, 0644);
    check(fd >= 0, "ef_open");
    while (ef_open_status(fd) < 0) {
        check(errno == EAGAIN, "ef_open_status");
        sched_yield();
    }
    return fd;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values) {
    qsort(values, ROUNDS, sizeof *values, compare);
    return values[ROUNDS / 2];
}

static void row(const char *name, double ours, double theirs, const char *unit, const char *target) {
    printf("%-34s %10.1f %10.1f %-5s ratio %8.3f   %s\n", name, ours, theirs, unit, ours / theirs, target);
}

/* Nanoseconds a call of 120 bytes to an O_APPEND file; the close is not counted. */
static double write_ours(void) {
    unlink(path);
    int fd = opened(path, O_WRONLY | O_CREAT | O_APPEND);
    double begun = now();
    for (int i = 0; i < LINES; i++) {
        check(ef_write(fd, piece, LINE) == LINE, "ef_write");
    }
    double took = now() - begun;
    check(ef_close_immediate(fd) == 0, "ef_close_immediate");
    return took * 1e9 / LINES;
}

static double write_theirs(void) {
    unlink(other);
    int fd = open(other, O_WRONLY | O_CREAT | O_APPEND, 0644);
    double begun = now();
    for (int i = 0; i < LINES / 5; i++) {
        check(write(fd, piece, LINE) == LINE, "write");
    }
    double took = now() - begun;
    close(fd);
    return took * 1e9 / (LINES / 5);
}

static void forget(const char *name) {
    int fd = open(name, O_RDONLY);
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

/* Nanoseconds a call, reading the whole file; a refused call is tried again at once, as a program without a loop would. */
static double read_ours(size_t bytes, int cold) {
    if (cold) {
        forget(path);
    }
    int fd = opened(path, O_RDONLY);
    long all = 0;
    double begun = now();
    for (;;) {
        ssize_t got = ef_read(fd, piece, bytes);
        if (got < 0) {
            check(errno == EAGAIN, "ef_read");
            if (cold) {
                /* Sleeps until there is news, as a loop would. */
                struct ef_event events[8];
                check(ef_wait(NULL, events, sizeof *events, 8, 1000) >= 0, "ef_wait");
            }
            continue;
        }
        if (got == 0) {
            break;
        }
        all += got;
    }
    double took = now() - begun;
    check(all == FILE_BYTES, "the length");
    check(ef_close_immediate(fd) == 0, "ef_close_immediate");
    return took * 1e9 / ((double)FILE_BYTES / (double)bytes);
}

static double read_theirs(size_t bytes, int cold) {
    if (cold) {
        forget(path);
    }
    int fd = open(path, O_RDONLY);
    long all = 0;
    ssize_t got;
    double begun = now();
    while ((got = read(fd, piece, bytes)) > 0) {
        all += got;
    }
    double took = now() - begun;
    check(all == FILE_BYTES, "the length");
    close(fd);
    return took * 1e9 / ((double)FILE_BYTES / (double)bytes);
}

/* Microseconds to open, read 100 bytes and close. */
static double cycle(void) {
    enum { CYCLES = 2000 };
    double begun = now();
    for (int i = 0; i < CYCLES; i++) {
        int fd = opened(path, O_RDONLY);
        while (ef_read(fd, piece, 100) < 0) {
            check(errno == EAGAIN, "ef_read");
            sched_yield();
        }
        check(ef_close_immediate(fd) == 0, "ef_close_immediate");
    }
    return (now() - begun) * 1e6 / CYCLES;
}

/* Context switches of the whole process in two idle seconds with files open. */
static long idle(void) {
    int reading = opened(path, O_RDONLY), writing = opened(other, O_WRONLY | O_CREAT | O_APPEND);
    check(ef_write(writing, piece, LINE) == LINE, "ef_write");
    struct timespec pause = {3, 0}, watched = {2, 0};
    nanosleep(&pause, NULL);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    nanosleep(&watched, NULL);
    getrusage(RUSAGE_SELF, &after);
    check(ef_close_immediate(reading) == 0 && ef_close_immediate(writing) == 0, "ef_close_immediate");
    /* The watching thread's own sleep is one. */
    return after.ru_nvcsw - before.ru_nvcsw - 1;
}

int main(int count, char **arguments) {
    const char *folder = count > 1 ? arguments[1] : "/tmp";
    snprintf(path, sizeof path, "%s/efio-calls-%d", folder, (int)getpid());
    snprintf(other, sizeof other, "%s/efio-calls-%d.other", folder, (int)getpid());
    memset(piece, 'x', sizeof piece);
    double ours[ROUNDS], theirs[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        ours[i] = write_ours();
        theirs[i] = write_theirs();
    }
    row("ef_write 120 B, write(2)", median(ours), median(theirs), "ns", "<= 40 ns, ratio <= 0.067");

    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    for (long all = 0; all < FILE_BYTES; all += (long)sizeof piece) {
        check(write(fd, piece, sizeof piece) == (ssize_t)sizeof piece, "write");
    }
    close(fd);
    struct {
        const char *name, *target;
        size_t bytes;
        int cold;
    } reads[] = {
        {"ef_read 100 B hot, read(2)", "ratio <= 0.1", 100, 0},
        {"ef_read 64 KiB hot, read(2)", "ratio <= 1.11", 64 << 10, 0},
        {"ef_read 64 KiB cold, read(2)", "ratio <= 1.0", 64 << 10, 1},
    };
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < ROUNDS; i++) {
            ours[i] = read_ours(reads[k].bytes, reads[k].cold);
            theirs[i] = read_theirs(reads[k].bytes, reads[k].cold);
        }
        row(reads[k].name, median(ours), median(theirs), "ns", reads[k].target);
    }
    for (int i = 0; i < ROUNDS; i++) {
        ours[i] = cycle();
        theirs[i] = 2900;
    }
    row("open, read 100 B, close; original", median(ours), median(theirs), "us", "ratio <= 0.05");
    printf("%-34s %10ld context switches in 2 idle seconds   none\n", "idle", idle());
    unlink(path);
    unlink(other);
    return 0;
}
