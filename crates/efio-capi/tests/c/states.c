/* states.c: every function in every state of a handle. */
#include "case.h"
#include <efio.h>
#include <limits.h>

static char bytes[4096];

/* What each call says to a number that is no handle of an open file. */
static void refused(int fd)
{
    FAILS(ef_read(fd, bytes, 10), EBADF);
    FAILS(ef_file_ready_for_read(fd), EBADF);
    FAILS(ef_write(fd, bytes, 10), EBADF);
    FAILS(ef_sync(fd), EBADF);
}

static void extensions_refused(int fd)
{
    FAILS(ef_seek(fd, 0, SEEK_SET), EBADF);
    FAILS(ef_read_at(fd, bytes, 10, 0), EBADF);
    FAILS(ef_write_at(fd, bytes, 10, 0), EBADF);
    FAILS(ef_truncate(fd, 0), EBADF);
    FAILS(ef_preallocate(fd, 0, 10, 1), EBADF);
    FAILS(ef_reopen(fd, "other"), EBADF);
    FAILS(ef_recover(fd), EBADF);
}

static const int wrong[] = {0, 1, 127, 128, 4096, 1 << 20, (1 << 20) + 1, 1 << 24, INT_MAX - 1, INT_MAX,
                            -1, -2, -128, -4096, INT_MIN, INT_MIN + 1};

static void all_refused(int fd)
{
    refused(fd);
    FAILS(ef_open_status(fd), EBADF);
    FAILS(ef_poll(fd), EBADF);
    FAILS(ef_close(fd), EBADF);
    FAILS(ef_close_immediate(fd), EBADF);
    FAILS(ef_close_status(fd), EBADF);
    struct ef_progress progress = {.size = sizeof progress};
    FAILS(ef_progress(fd, &progress), EBADF);
    FAILS(ef_abort(fd), EBADF);
    extensions_refused(fd);
}

CASE(any_int_that_never_was_a_handle_is_ebadf)
{
    put("file", "x", 1);
    int first = opened("file", O_RDONLY); /* 0 */
    for (size_t i = 1; i < sizeof wrong / sizeof *wrong; i++)
        all_refused(wrong[i]);
    all_refused(first + 1);
}

CASE(before_anything_was_started_every_handle_is_ebadf)
{
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        all_refused(wrong[i]);
}

CASE(callbacks_may_be_set_and_unset_before_anything_was_started)
{
    ef_unset_cb_func();
    ef_set_cb_func(NULL, NULL);
    ef_set_cb_func(note, NULL);
    ef_set_thrpool(NULL);
    put("file", "x", 1);
    int fd = opened("file", O_RDONLY);
    until_heard(fd, FILE_OPER_OPEN, 1);
}

/* A pipe that nobody reads: its open for writing waits. */
static int opening(const char *path)
{
    CHECK(mkfifo(path, 0600) == 0);
    return (int)GOOD(ef_open(path, O_WRONLY));
}

CASE(while_it_opens_a_handle_can_be_asked_and_closed_and_nothing_else)
{
    int fd = opening("pipe");
    for (int i = 0; i < 3; i++) {
        FAILS(ef_open_status(fd), EAGAIN);
        FAILS(ef_read(fd, bytes, 10), EBADF);
        FAILS(ef_file_ready_for_read(fd), EBADF);
        FAILS(ef_write(fd, bytes, 10), EBADF);
        FAILS(ef_sync(fd), EBADF);
        EQUAL(GOOD(ef_poll(fd)), 0);
        FAILS(ef_close_status(fd), EINVAL);
        rest(20);
    }
    int end = open("pipe", O_RDONLY | O_NONBLOCK);
    UNTIL(ef_open_status(fd) == fd);
    written(fd, "hello", 5);
    EQUAL(GOOD(ef_sync(fd)), 0);
    UNTIL(read(end, bytes, 10) == 5);
}

CASE(a_file_for_reading_is_not_written)
{
    put_pattern("file", 1, 100);
    int fd = opened("file", O_RDONLY);
    FAILS(ef_write(fd, "x", 1), EBADF);
    FAILS(ef_write_at(fd, "x", 1, 0), EBADF);
    EQUAL(ef_poll(fd) & 1, 0);
    EQUAL(read_all(fd, bytes, sizeof bytes), 100);
    FAILS(ef_write(fd, "x", 1), EBADF);
    closed(fd);
    EQUAL(size_of("file"), 100);
}

CASE(a_file_for_writing_is_not_read_at_its_end_either)
{
    int fd = opened("file", O_WRONLY | O_CREAT);
    for (int i = 0; i < 2; i++) {
        FAILS(ef_read(fd, bytes, 10), EBADF);
        FAILS(ef_file_ready_for_read(fd), EBADF);
        FAILS(ef_read_at(fd, bytes, 10, 0), EBADF);
        EQUAL(GOOD(ef_poll(fd)), 1);
        written(fd, "hello", 5);
    }
    closed(fd);
    fd = opened("file", O_WRONLY | O_APPEND);
    FAILS(ef_read(fd, bytes, 10), EBADF);
}

CASE(an_open_file_says_einval_to_ef_close_status)
{
    put("file", "x", 1);
    int fd = opened("file", O_RDWR);
    for (int i = 0; i < 3; i++)
        FAILS(ef_close_status(fd), EINVAL);
    EQUAL(GOOD(ef_open_status(fd)), fd);
}

CASE(a_failed_open_says_ebadf_to_all_but_its_status)
{
    ef_set_cb_func(note, NULL);
    int fd = (int)GOOD(ef_open("missing", O_RDWR));
    until_heard(fd, FILE_OPER_OPEN, 1);
    refused(fd);
    FAILS(ef_poll(fd), EBADF);
    FAILS(ef_open_status(fd), ENOENT);
    refused(fd);
    FAILS(ef_close(fd), EBADF);
    FAILS(ef_close_immediate(fd), EBADF);
    FAILS(ef_open_status(fd), ENOENT);
}

/* A handle whose close hangs: bytes for a pipe that is full. */
static int closing(int *end)
{
    *end = fifo_reader("pipe");
    int fd = opened("pipe", O_WRONLY);
    static char much[1 << 20];
    written(fd, much, sizeof much);
    EQUAL(GOOD(ef_close(fd)), 0);
    return fd;
}

static void *let_go(void *data)
{
    int end = *(int *)data;
    static char much[1 << 16];
    size_t all = 0;
    int64_t last = now() + PATIENCE;
    while (all < 1 << 20 && now() < last) {
        ssize_t n = read(end, much, sizeof much);
        if (n > 0)
            all += (size_t)n;
        else
            rest(1);
    }
    EQUAL(all, 1 << 20);
    return NULL;
}

CASE(while_it_closes_only_the_close_can_be_asked_about)
{
    int end, fd = closing(&end);
    for (int i = 0; i < 3; i++) {
        refused(fd);
        FAILS(ef_poll(fd), EBADF);
        FAILS(ef_open_status(fd), EBADF);
        FAILS(ef_close(fd), EBUSY);
        FAILS(ef_abort(fd), EBUSY);
        FAILS(ef_close_status(fd), EAGAIN);
        rest(20);
    }
    extensions_refused(fd);
    let_go(&end);
    UNTIL(ef_close_status(fd) == 0);
}

CASE(ef_close_immediate_waits_for_a_close_that_has_begun)
{
    int end, fd = closing(&end);
    FAILS(ef_close_status(fd), EAGAIN);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, let_go, &end) == 0);
    EQUAL(GOOD(ef_close_immediate(fd)), 0);
    EQUAL(GOOD(ef_close_status(fd)), 0);
    pthread_join(thread, NULL);
}

CASE(after_its_close_a_handle_tells_how_it_went_and_says_ebadf_to_all_else)
{
    put("file", "x", 1);
    int fd = opened("file", O_RDWR);
    ef_set_cb_func(note, NULL);
    EQUAL(GOOD(ef_close(fd)), 0);
    until_heard(fd, FILE_OPER_CLOSE, 1);
    for (int told = 0; told < 3; told++) {
        refused(fd);
        extensions_refused(fd);
        FAILS(ef_poll(fd), EBADF);
        FAILS(ef_open_status(fd), EBADF);
        EQUAL(GOOD(ef_close_status(fd)), 0);
    }
    FAILS(ef_close(fd), EBADF);
    FAILS(ef_abort(fd), EBADF);
    FAILS(ef_close_immediate(fd), EBADF);
    EQUAL(GOOD(ef_close_status(fd)), 0);
}

CASE(after_ef_close_immediate_the_close_can_still_be_asked_about)
{
    put("file", "x", 1);
    int fd = opened("file", O_RDONLY);
    EQUAL(GOOD(ef_close_immediate(fd)), 0);
    for (int i = 0; i < 3; i++)
        EQUAL(GOOD(ef_close_status(fd)), 0);
    refused(fd);
    FAILS(ef_close(fd), EBADF);
    FAILS(ef_close_immediate(fd), EBADF);
}

CASE(a_null_buffer_is_einval)
{
    put_pattern("file", 1, 100);
    int fd = opened("file", O_RDWR);
    FAILS(ef_read(fd, NULL, 10), EINVAL);
    FAILS(ef_write(fd, NULL, 10), EINVAL);
    FAILS(ef_read_at(fd, NULL, 10, 0), EINVAL);
    FAILS(ef_write_at(fd, NULL, 10, 0), EINVAL);
    FAILS(ef_progress(fd, NULL), EINVAL);
    FAILS(ef_reopen(fd, NULL), EINVAL);
    FAILS(ef_open_with(NULL, "file", NULL), EINVAL);
    FAILS(ef_last_error(NULL), EINVAL);
    EQUAL(read_all(fd, bytes, sizeof bytes), 100);
}

CASE(a_length_of_0_is_einval)
{
    put_pattern("file", 1, 100);
    int fd = opened("file", O_RDWR);
    FAILS(ef_read(fd, bytes, 0), EINVAL);
    FAILS(ef_write(fd, bytes, 0), EINVAL);
    EQUAL(read_all(fd, bytes, sizeof bytes), 100);
    FAILS(ef_read(fd, bytes, 0), EINVAL);
}

CASE(a_length_above_ssize_max_is_einval)
{
    put_pattern("file", 1, 100);
    int fd = opened("file", O_RDWR);
    FAILS(ef_read(fd, bytes, (size_t)SSIZE_MAX + 1), EINVAL);
    FAILS(ef_read(fd, bytes, SIZE_MAX), EINVAL);
    FAILS(ef_write(fd, bytes, (size_t)SSIZE_MAX + 1), EINVAL);
    FAILS(ef_write(fd, bytes, SIZE_MAX), EINVAL);
    EQUAL(read_all(fd, bytes, sizeof bytes), 100);
}

CASE(success_leaves_errno_alone_in_every_call)
{
    put_pattern("file", 1, 3000);
    ef_set_cb_func(note, NULL);
    errno = UNTOUCHED;
    ef_init();
    ef_set_cb_func(note, NULL);
    ef_set_thrpool(NULL);
    EQUAL(errno, UNTOUCHED);
    int fd = (int)GOOD(ef_open("file", O_RDWR));
    until_heard(fd, FILE_OPER_OPEN, 1);
    GOOD(ef_open_status(fd));
    UNTIL(ef_file_ready_for_read(fd) == 1);
    EQUAL(GOOD(ef_file_ready_for_read(fd)), 1);
    EQUAL(GOOD(ef_poll(fd)), 3);
    GOOD(ef_read(fd, bytes, 10));
    GOOD(ef_write(fd, bytes, 10));
    GOOD(ef_sync(fd));
    EQUAL(GOOD(ef_seek(fd, 5, SEEK_SET)), 5);
    struct ef_progress progress = {.size = sizeof progress};
    GOOD(ef_progress(fd, &progress));
    GOOD(ef_close(fd));
    until_heard(fd, FILE_OPER_CLOSE, 1);
    GOOD(ef_close_status(fd));
    fd = opened("file", O_RDONLY);
    GOOD(ef_close_immediate(fd));
    errno = UNTOUCHED;
    ef_unset_cb_func();
    EQUAL(errno, UNTOUCHED);
}

static void *refused_in_a_thread(void *data)
{
    all_refused(9999);
    return data;
}

CASE(errno_is_each_threads_own)
{
    errno = UNTOUCHED;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, refused_in_a_thread, NULL) == 0);
    pthread_join(thread, NULL);
    EQUAL(errno, UNTOUCHED);
}
