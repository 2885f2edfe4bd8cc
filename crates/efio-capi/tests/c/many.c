/* many.c: many files in one thread, in several, and at the same time. */
#include "case.h"

/* What one thread does with its share: each file copied to a twin, piece by piece, all of them in turn. */
struct share {
    int first, count;
    size_t size;
};

static void name_of(char *name, const char *kind, int number)
{
    snprintf(name, 32, "%s%d", kind, number);
}

static void *copies(void *data)
{
    struct share *share = data;
    int count = share->count, left = count;
    int *from = calloc((size_t)count, sizeof *from), *to = calloc((size_t)count, sizeof *to);
    char *over = calloc((size_t)count, 1), *bytes = malloc(50000), name[32];
    for (int i = 0; i < count; i++) {
        name_of(name, "file", share->first + i);
        CHECK((from[i] = ef_open(name, O_RDONLY)) >= 0);
        name_of(name, "copy", share->first + i);
        CHECK((to[i] = ef_open(name, O_WRONLY | O_APPEND | O_CREAT, 0644)) >= 0);
    }
    for (int i = 0; i < count; i++) {
        UNTIL(ef_open_status(from[i]) == from[i]);
        UNTIL(ef_open_status(to[i]) == to[i]);
    }
    int64_t limit = now() + PATIENCE;
    while (left > 0) {
        CHECK(now() < limit);
        int waits = 0;
        for (int i = 0; i < count; i++) {
            if (over[i])
                continue;
            ssize_t n = ef_read(from[i], bytes, 50000);
            if (n > 0) {
                CHECK(ef_write(to[i], bytes, (size_t)n) == n);
            } else if (n == 0) {
                CHECK(ef_close(from[i]) == 0 && ef_close(to[i]) == 0);
                over[i] = 1;
                left--;
            } else {
                CHECK(errno == EAGAIN);
                waits++;
            }
        }
        if (left && waits == left)
            rest(1);
    }
    for (int i = 0; i < count; i++) {
        UNTIL(ef_close_status(from[i]) == 0);
        UNTIL(ef_close_status(to[i]) == 0);
    }
    free(from), free(to), free(over), free(bytes);
    return NULL;
}

static void copied(int threads, int each, size_t size)
{
    char name[32];
    struct share shares[8];
    pthread_t ids[8];
    for (int i = 0; i < threads * each; i++) {
        name_of(name, "file", i);
        put_pattern(name, (unsigned)i, size);
    }
    for (int i = 0; i < threads; i++) {
        shares[i] = (struct share){i * each, each, size};
        CHECK(pthread_create(&ids[i], NULL, copies, &shares[i]) == 0);
    }
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    for (int i = 0; i < threads * each; i++) {
        char *wanted = made((unsigned)i, size);
        name_of(name, "copy", i);
        holds(name, wanted, size);
        free(wanted);
    }
}

CASE(fifty_files_are_copied_by_one_thread)
{
    copied(1, 50, 1352871);
}

CASE(four_threads_copy_ten_files_each)
{
    copied(4, 10, 1352871);
}

CASE(a_large_file_is_copied)
{
    copied(1, 1, 40 << 20);
}

CASE(eight_threads_copy_a_hundred_small_files_each)
{
    copied(8, 100, 3000);
}

static void open_together(int count)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max < (rlim_t)count + 100 || setrlimit(RLIMIT_NOFILE, &limit) != 0)
        skip("at most %ld files may be open here", (long)limit.rlim_max);
    int *fds = calloc((size_t)count, sizeof *fds);
    char name[32], bytes[64], *used = calloc((size_t)count + 1, 1);
    ef_set_cb_func(note, NULL);
    for (int i = 0; i < count; i++) {
        name_of(name, "file", i);
        fds[i] = (int)GOOD(ef_open(name, O_RDWR | O_CREAT, 0644));
        CHECK(fds[i] < count && !used[fds[i]]);
        used[fds[i]] = 1;
    }
    for (int i = 0; i < count; i++)
        UNTIL(ef_open_status(fds[i]) == fds[i]);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < count; i++) {
            int size = snprintf(bytes, sizeof bytes, "%d %d\n", i, round);
            written(fds[i], bytes, (size_t)size);
        }
    }
    for (int i = 0; i < count; i++)
        GOOD(ef_close(fds[i]));
    for (int i = 0; i < count; i++)
        UNTIL(ef_close_status(fds[i]) == 0);
    for (int i = 0; i < count; i++) {
        char wanted[256];
        int size = snprintf(wanted, sizeof wanted, "%d 0\n%d 1\n%d 2\n", i, i, i);
        name_of(name, "file", i);
        holds(name, wanted, (size_t)size);
    }
    UNTIL(heard_in_all() == 2 * count);
}

CASE(two_hundred_files_are_open)
{
    open_together(200);
}

CASE(two_thousand_files_are_open)
{
    open_together(2000);
}

/* For the checkers of memory: valgrind and AddressSanitizer. Every kind of end, with bytes and without. */
CASE(ten_thousand_cycles)
{
    const char *text = getenv("EFIO_CYCLES");
    int cycles = text ? atoi(text) : 10000;
    char bytes[500];
    pattern(1, bytes, sizeof bytes);
    put_pattern("file", 1, 5000);
    ef_set_cb_func(note, NULL);
    for (int i = 0; i < cycles; i++) {
        int fd;
        switch (i % 5) {
        case 0: /* read a little, close, ask */
            fd = opened("file", O_RDONLY);
            CHECK(read_some(fd, bytes, sizeof bytes) > 0);
            closed(fd);
            break;
        case 1: /* write, wait for the close */
            fd = opened("copy", O_WRONLY | O_CREAT | O_TRUNC);
            written(fd, bytes, sizeof bytes);
            GOOD(ef_close_immediate(fd));
            break;
        case 2: /* close at once, nobody asks */
            fd = (int)GOOD(ef_open("file", O_RDWR));
            GOOD(ef_close(fd));
            break;
        case 3: /* an open that fails */
            EQUAL(open_error("missing", O_RDONLY), ENOENT);
            break;
        default: /* a read that nobody collects */
            fd = opened("file", O_RDONLY);
            ef_file_ready_for_read(fd);
            GOOD(ef_close(fd));
        }
    }
    ef_unset_cb_func();
}
