/* closing.c: ef_close, ef_close_status, ef_close_immediate, and when a number is given out again. */
#include "case.h"
#include <efio.h>

static char much[1 << 20];

/* A handle whose bytes go nowhere as long as nobody reads the pipe. */
static int stuck(int *end)
{
    *end = fifo_reader("pipe");
    int fd = opened("pipe", O_WRONLY);
    written(fd, much, sizeof much);
    return fd;
}

static size_t drained(int end, size_t size)
{
    static char bytes[1 << 16];
    size_t all = 0;
    int64_t limit = now() + PATIENCE;
    while (all < size && now() < limit) {
        ssize_t n = read(end, bytes, sizeof bytes);
        all += n > 0 ? (size_t)n : 0;
    }
    return all;
}

CASE(ef_close_returns_while_bytes_wait_for_the_disk)
{
    int end, fd = stuck(&end);
    EQUAL(GOOD(ef_close(fd)), 0);
    for (int i = 0; i < 5; i++) {
        FAILS(ef_close_status(fd), EAGAIN);
        rest(10);
    }
    EQUAL(drained(end, sizeof much), sizeof much);
    UNTIL(ef_close_status(fd) == 0);
}

CASE(a_second_ef_close_is_ebusy)
{
    int end, fd = stuck(&end);
    EQUAL(GOOD(ef_close(fd)), 0);
    FAILS(ef_close(fd), EBUSY);
    FAILS(ef_close(fd), EBUSY);
    EQUAL(drained(end, sizeof much), sizeof much);
    UNTIL(ef_close_status(fd) == 0);
}

CASE(everything_written_is_in_the_file_when_the_close_is_done)
{
    char *wanted = made(1, 192 << 20);
    int fd = opened("file", O_WRONLY | O_CREAT);
    for (int i = 0; i < 192; i++)
        written(fd, wanted + ((size_t)i << 20), 1 << 20);
    EQUAL(GOOD(ef_close(fd)), 0);
    UNTIL(ef_close_status(fd) == 0);
    holds("file", wanted, 192 << 20);
    CHECK(unlink("file") == 0);
}

CASE(everything_written_is_in_the_file_when_ef_close_immediate_returns)
{
    char *wanted = made(1, 10 << 20);
    for (int i = 0; i < 10; i++) {
        int fd = opened("file", O_WRONLY | O_CREAT | O_TRUNC);
        written(fd, wanted, 10 << 20);
        EQUAL(GOOD(ef_close_immediate(fd)), 0);
        holds("file", wanted, 10 << 20);
    }
}

CASE(a_file_that_is_still_being_opened_can_be_closed)
{
    ef_set_cb_func(note, NULL);
    CHECK(mkfifo("pipe", 0600) == 0);
    int fd = (int)GOOD(ef_open("pipe", O_WRONLY));
    FAILS(ef_open_status(fd), EAGAIN);
    EQUAL(GOOD(ef_close(fd)), 0);
    FAILS(ef_close(fd), EBUSY);
    CHECK(open("pipe", O_RDONLY | O_NONBLOCK) >= 0);
    until_heard(fd, FILE_OPER_CLOSE, 1);
    EQUAL(GOOD(ef_close_status(fd)), 0);
    EQUAL(heard(fd, FILE_OPER_OPEN), 1);
    EQUAL(heard(fd, FILE_OPER_CLOSE), 1);
    order_is_right();
}

CASE(a_file_is_closed_right_after_its_ef_open)
{
    ef_set_cb_func(note, NULL);
    for (int i = 0; i < 300; i++) {
        int fd = (int)GOOD(ef_open("file", O_WRONLY | O_CREAT, 0644));
        int opens = heard(fd, FILE_OPER_OPEN), closes = heard(fd, FILE_OPER_CLOSE);
        EQUAL(GOOD(ef_close(fd)), 0);
        until_heard(fd, FILE_OPER_CLOSE, closes + 1);
        UNTIL(ef_close_status(fd) == 0);
        CHECK(heard(fd, FILE_OPER_CLOSE) == closes + 1 && heard(fd, FILE_OPER_OPEN) <= opens + 1);
    }
    EQUAL(size_of("file"), 0);
}

CASE(a_file_is_closed_with_a_read_under_way_and_no_callback_follows_the_close)
{
    ef_set_cb_func(note, NULL);
    put_pattern("file", 1, 4 << 20);
    char bytes[100];
    for (int i = 0; i < 50; i++) {
        forget_cache("file");
        int fd = (int)GOOD(ef_open("file", O_RDONLY));
        int closes = heard(fd, FILE_OPER_CLOSE);
        UNTIL(ef_open_status(fd) == fd);
        ssize_t n = ef_read(fd, bytes, sizeof bytes);
        CHECK(n > 0 || errno == EAGAIN);
        EQUAL(GOOD(ef_close(fd)), 0);
        until_heard(fd, FILE_OPER_CLOSE, closes + 1);
        int all = heard_in_all();
        rest(2);
        EQUAL(heard_in_all(), all);
        EQUAL(GOOD(ef_close_status(fd)), 0);
    }
}

CASE(a_pipe_that_gives_nothing_is_closed)
{
    CHECK(mkfifo("pipe", 0600) == 0);
    ef_set_cb_func(note, NULL);
    int fd = opened("pipe", O_RDONLY);
    FAILS(ef_read(fd, much, 10), EAGAIN);
    CHECK(open("pipe", O_WRONLY) >= 0);
    FAILS(ef_read(fd, much, 10), EAGAIN);
    EQUAL(GOOD(ef_close(fd)), 0);
    until_heard(fd, FILE_OPER_CLOSE, 1);
    EQUAL(GOOD(ef_close_status(fd)), 0);
    order_is_right();
}

CASE(ef_close_immediate_tells_the_callback_once_as_well)
{
    ef_set_cb_func(note, NULL);
    put("file", "x", 1);
    int fd = opened("file", O_RDWR);
    written(fd, "hello", 5);
    EQUAL(GOOD(ef_close_immediate(fd)), 0);
    until_heard(fd, FILE_OPER_CLOSE, 1);
    rest(30);
    EQUAL(heard(fd, FILE_OPER_OPEN), 1);
    EQUAL(heard(fd, FILE_OPER_CLOSE), 1);
    order_is_right();
}

static int hurry;

/* A reader with a long breath: a page every 20 ms, until it is told to hurry. */
static void *takes_slowly(void *data)
{
    static char bytes[4096];
    size_t all = 0;
    while (all < sizeof much) {
        ssize_t n = read(*(int *)data, bytes, sizeof bytes);
        all += n > 0 ? (size_t)n : 0;
        if (!__atomic_load_n(&hurry, __ATOMIC_SEQ_CST))
            rest(20);
    }
    return NULL;
}

CASE(ef_close_immediate_gives_up_at_its_deadline_and_the_close_goes_on)
{
    struct ef_instance_options options;
    ef_options_init(&options, sizeof options);
    options.close_deadline = 500000;
    options.shutdown_deadline = 10000;
    EQUAL(GOOD(ef_init_with(&options)), 0);
    int end, fd = stuck(&end);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, takes_slowly, &end) == 0);
    FAILS(ef_close_immediate(fd), ETIMEDOUT);
    FAILS(ef_close_status(fd), EAGAIN);
    __atomic_store_n(&hurry, 1, __ATOMIC_SEQ_CST);
    UNTIL(ef_close_status(fd) == 0);
    pthread_join(thread, NULL);
}

CASE(a_pipe_that_takes_nothing_is_given_up_after_the_close_deadline)
{
    struct ef_instance_options options;
    ef_options_init(&options, sizeof options);
    options.close_deadline = 100000;
    EQUAL(GOOD(ef_init_with(&options)), 0);
    int end, fd = stuck(&end);
    EQUAL(close_error(fd), ETIMEDOUT);
    for (int i = 0; i < 3; i++)
        FAILS(ef_close_status(fd), ETIMEDOUT);
}

CASE(ten_thousand_open_close_cycles_use_few_numbers)
{
    put("file", "hello", 5);
    for (int i = 0; i < 10000; i++) {
        int fd = (int)GOOD(ef_open("file", O_RDWR));
        CHECK(fd < 64);
        while (ef_open_status(fd) != fd)
            sched_yield();
        if (i % 2) {
            EQUAL(GOOD(ef_close_immediate(fd)), 0);
        } else {
            EQUAL(GOOD(ef_close(fd)), 0);
            while (ef_close_status(fd) != 0)
                sched_yield();
        }
    }
}

CASE(a_handle_whose_close_nobody_asked_about_answers_after_4000_later_closes)
{
    put("one", "x", 1);
    int fd = opened("one", O_RDWR);
    ef_set_cb_func(note, NULL);
    EQUAL(GOOD(ef_close(fd)), 0);
    until_heard(fd, FILE_OPER_CLOSE, 1);
    for (int i = 0; i < 4000; i++) {
        int next = opened("one", O_RDONLY);
        CHECK(next != fd);
        GOOD(ef_close_immediate(next));
    }
    EQUAL(GOOD(ef_close_status(fd)), 0);
    FAILS(ef_open_status(fd), EBADF);
}

static volatile int closes, last_closed = -1;

static void counts_closes(int fd, int oper, void *data)
{
    (void)data;
    if (oper == FILE_OPER_CLOSE) {
        last_closed = fd;
        __atomic_fetch_add(&closes, 1, __ATOMIC_SEQ_CST);
    }
}

CASE(closes_that_nobody_asks_about_do_not_use_up_the_numbers)
{
    ef_set_cb_func(counts_closes, NULL);
    put("file", "x", 1);
    int highest = 0;
    for (int i = 0; i < 10000; i++) {
        int fd = opened("file", O_RDONLY);
        highest = fd > highest ? fd : highest;
        GOOD(ef_close(fd));
        while (__atomic_load_n(&closes, __ATOMIC_SEQ_CST) <= i)
            sched_yield();
        EQUAL(last_closed, fd);
    }
    CHECK(highest >= 4096 && highest < 4096 + 64);
}

CASE(a_late_status_call_is_never_answered_by_another_file)
{
    if (access("/dev/full", W_OK) != 0)
        skip("there is no /dev/full that this user may write");
    int failed = opened("/dev/full", O_WRONLY);
    written(failed, "x", 1);
    GOOD(ef_close(failed));
    int fds[100];
    for (int i = 0; i < 1000; i++) {
        for (int j = 0; j < 3; j++) {
            fds[j] = opened("file", O_WRONLY | O_CREAT);
            CHECK(fds[j] != failed);
        }
        for (int j = 0; j < 3; j++)
            GOOD(ef_close_immediate(fds[j]));
    }
    FAILS(ef_close_status(failed), ENOSPC);
}

CASE(a_number_is_not_reused_while_its_file_is_open)
{
    static char used[4096];
    put("file", "x", 1);
    for (int i = 0; i < 300; i++) {
        int fd = opened("file", O_RDONLY);
        CHECK(fd < 4096 && !used[fd]);
        if (i % 3 == 0)
            used[fd] = 1;
        else
            closed(fd);
    }
}

struct closer {
    int fd, result, error;
};

static void *closes_it(void *data)
{
    struct closer *closer = data;
    closer->result = ef_close(closer->fd);
    closer->error = errno;
    return NULL;
}

CASE(of_two_threads_that_close_one_handle_one_succeeds)
{
    put("file", "x", 1);
    for (int i = 0; i < 300; i++) {
        int fd = opened("file", O_RDWR);
        written(fd, "y", 1);
        struct closer closers[2] = {{fd, 0, 0}, {fd, 0, 0}};
        pthread_t threads[2];
        for (int j = 0; j < 2; j++)
            CHECK(pthread_create(&threads[j], NULL, closes_it, &closers[j]) == 0);
        for (int j = 0; j < 2; j++)
            pthread_join(threads[j], NULL);
        EQUAL(closers[0].result + closers[1].result, -1);
        int error = closers[closers[1].result == -1].error;
        CHECK(error == EBUSY || error == EBADF);
        UNTIL(ef_close_status(fd) == 0);
    }
}
