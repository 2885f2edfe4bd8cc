/* readiness.c: ef_poll and ef_file_ready_for_read tell the truth. */
#include "case.h"
#include <efio.h>
#include <sys/uio.h>

static char bytes[1 << 16];

CASE(ready_says_1_for_data_and_takes_none_of_it)
{
    put("file", "hello", 5);
    int fd = opened("file", O_RDONLY);
    UNTIL(ef_file_ready_for_read(fd) == 1);
    for (int i = 0; i < 10; i++)
        EQUAL(GOOD(ef_file_ready_for_read(fd)), 1);
    EQUAL(GOOD(ef_read(fd, bytes, 2)), 2);
    EQUAL(GOOD(ef_file_ready_for_read(fd)), 1);
    EQUAL(GOOD(ef_read(fd, bytes, 100)), 3);
}

CASE(ready_says_0_at_the_end_of_the_file)
{
    put("file", "hello", 5);
    int fd = opened("file", O_RDONLY);
    EQUAL(read_all(fd, bytes, 100), 5);
    UNTIL(ef_file_ready_for_read(fd) == 0);
    EQUAL(read_some(fd, bytes, 100), 0);
    UNTIL(ef_file_ready_for_read(fd) == 0);
}

CASE(ready_says_0_for_an_empty_file_and_1_when_it_has_grown)
{
    put("file", "", 0);
    int fd = opened("file", O_RDONLY);
    UNTIL(ef_file_ready_for_read(fd) == 0);
    EQUAL(GOOD(ef_file_ready_for_read(fd)), 0);
    EQUAL(GOOD(ef_read(fd, bytes, 100)), 0); /* the end is told once, then the file is asked again */
    put("file", "abc", 3);
    UNTIL(ef_file_ready_for_read(fd) == 1);
    EQUAL(GOOD(ef_read(fd, bytes, 100)), 3);
}

CASE(a_read_after_a_0_of_ready_gives_what_the_file_has_grown_by)
{
    put("file", "", 0);
    int fd = opened("file", O_RDONLY);
    UNTIL(ef_file_ready_for_read(fd) == 0);
    put("file", "abc", 3);
    int other = open("file", O_RDONLY);
    struct iovec into = {bytes, 100};
    if (preadv2(other, &into, 1, 0, RWF_NOWAIT) != 3)
        skip("nothing is read without waiting on this file system");
    EQUAL(GOOD(ef_read(fd, bytes, 100)), 3);
}

CASE(ready_tells_the_error_of_the_read)
{
    int fd = opened("/proc/self/mem", O_RDONLY);
    UNTIL(ef_file_ready_for_read(fd) != -1 || errno != EAGAIN);
    FAILS(ef_file_ready_for_read(fd), EIO);
    EQUAL(read_error(fd), EIO);
}

CASE(after_ready_ef_read_does_not_say_eagain)
{
    put_pattern("file", 1, 8 << 20);
    for (int i = 0; i < 4; i++) {
        forget_cache("file");
        int fd = opened("file", O_RDONLY);
        size_t all = 0;
        for (;;) {
            UNTIL(ef_file_ready_for_read(fd) >= 0);
            int64_t ready = ef_file_ready_for_read(fd);
            ssize_t n = GOOD(ef_read(fd, bytes, sizeof bytes));
            EQUAL(n > 0, ready);
            if (n == 0)
                break;
            all += (size_t)n;
        }
        EQUAL(all, 8 << 20);
        GOOD(ef_close_immediate(fd));
    }
}

CASE(ready_of_an_empty_pipe_is_eagain_and_a_read_callback_follows)
{
    ef_set_cb_func(note, NULL);
    CHECK(mkfifo("pipe", 0600) == 0);
    int fd = opened("pipe", O_RDONLY);
    FAILS(ef_file_ready_for_read(fd), EAGAIN);
    int end = open("pipe", O_WRONLY);
    rest(30);
    FAILS(ef_file_ready_for_read(fd), EAGAIN);
    int before = heard(fd, FILE_OPER_READ);
    CHECK(write(end, "x", 1) == 1);
    until_heard(fd, FILE_OPER_READ, before + 1);
    EQUAL(GOOD(ef_file_ready_for_read(fd)), 1);
    EQUAL(GOOD(ef_read(fd, bytes, 10)), 1);
    close(end);
    UNTIL(ef_file_ready_for_read(fd) == 0);
}

CASE(poll_says_1_for_a_file_open_for_writing)
{
    int fd = opened("file", O_WRONLY | O_CREAT);
    for (int i = 0; i < 10; i++) {
        EQUAL(GOOD(ef_poll(fd)), 1);
        written(fd, "hello", 5);
    }
    closed(fd);
    fd = opened("file", O_WRONLY | O_APPEND);
    EQUAL(GOOD(ef_poll(fd)), 1);
}

CASE(poll_says_2_for_a_read_only_file_with_data)
{
    put_pattern("file", 1, 1000);
    int fd = opened("file", O_RDONLY);
    UNTIL(ef_file_ready_for_read(fd) == 1);
    EQUAL(GOOD(ef_poll(fd)), 2);
    EQUAL(GOOD(ef_read(fd, bytes, 10)), 10);
    EQUAL(GOOD(ef_poll(fd)), 2);
}

CASE(poll_says_3_for_a_file_open_for_both_with_data)
{
    put_pattern("file", 1, 1000);
    int fd = opened("file", O_RDWR);
    UNTIL(ef_file_ready_for_read(fd) == 1);
    EQUAL(GOOD(ef_poll(fd)), 3);
}

CASE(after_a_2_of_poll_ef_read_does_not_say_eagain)
{
    put_pattern("file", 2, 6 << 20);
    int flags[] = {O_RDONLY, O_RDWR};
    for (int i = 0; i < 4; i++) {
        forget_cache("file");
        int fd = opened("file", flags[i % 2]);
        size_t all = 0;
        for (;;) {
            int ready = (int)GOOD(ef_poll(fd));
            ssize_t n = ef_read(fd, bytes, 5000);
            if (n < 0)
                EQUAL(errno, EAGAIN);
            if (n < 0 && ready & 2)
                fail_at(__FILE__, __LINE__, "poll said %d, ef_read says EAGAIN after %zu bytes", ready, all);
            if (n == 0)
                break;
            all += n > 0 ? (size_t)n : 0;
        }
        EQUAL(all, 6 << 20);
        GOOD(ef_close_immediate(fd));
    }
}

CASE(a_2_of_poll_comes_after_the_read_callback)
{
    ef_set_cb_func(note, NULL);
    put_pattern("file", 3, 4 << 20);
    forget_cache("file");
    int fd = opened("file", O_RDONLY);
    for (size_t all = 0;;) {
        int before = heard(fd, FILE_OPER_READ);
        ssize_t n = ef_read(fd, bytes, sizeof bytes);
        if (n == 0)
            break;
        if (n > 0) {
            all += (size_t)n;
            continue;
        }
        EQUAL(errno, EAGAIN);
        until_heard(fd, FILE_OPER_READ, before + 1);
        UNTIL(GOOD(ef_poll(fd)) == 2);
    }
}

CASE(poll_says_2_at_the_end_of_the_file)
{
    put("file", "hello", 5);
    int fd = opened("file", O_RDONLY);
    EQUAL(read_all(fd, bytes, 5), 5);
    UNTIL(ef_file_ready_for_read(fd) == 0);
    EQUAL(GOOD(ef_poll(fd)), 2);
    EQUAL(GOOD(ef_read(fd, bytes, 5)), 0);
}

CASE(poll_says_2_for_a_read_error)
{
    int fd = opened("/proc/self/mem", O_RDONLY);
    UNTIL(ef_file_ready_for_read(fd) == -1 && errno == EIO);
    EQUAL(GOOD(ef_poll(fd)), 2);
    FAILS(ef_read(fd, bytes, 10), EIO);
}

CASE(poll_says_0_for_a_pipe_with_nothing_in_it)
{
    CHECK(mkfifo("pipe", 0600) == 0);
    int fd = opened("pipe", O_RDONLY), end = open("pipe", O_WRONLY);
    CHECK(end >= 0);
    for (int i = 0; i < 5; i++) {
        FAILS(ef_read(fd, bytes, 10), EAGAIN);
        EQUAL(GOOD(ef_poll(fd)), 0);
        rest(10);
    }
    CHECK(write(end, "x", 1) == 1);
    UNTIL(ef_poll(fd) == 2);
    EQUAL(GOOD(ef_read(fd, bytes, 10)), 1);
}

static int limited(uint64_t limit)
{
    struct ef_instance_options options;
    ef_options_init(&options, sizeof options);
    options.write_limit = limit;
    EQUAL(GOOD(ef_init_with(&options)), 0);
    int end = fifo_reader("pipe");
    fcntl(end, F_SETPIPE_SZ, 4096);
    return end;
}

CASE(poll_has_no_1_while_ef_write_would_say_0_and_has_it_again_when_there_is_room)
{
    int end = limited(1 << 20);
    int fd = opened("pipe", O_WRONLY);
    size_t all = 0, got = 0;
    ssize_t n;
    while ((n = ef_write(fd, bytes, sizeof bytes)) != 0) {
        EQUAL(n, sizeof bytes);
        all += (size_t)n;
        CHECK(all < 4 << 20);
    }
    while (GOOD(ef_write(fd, bytes, 1)) == 1) /* there may be room for less */
        all++;
    CHECK(all >= 1 << 20);
    EQUAL(GOOD(ef_poll(fd)), 0);
    while (ef_poll(fd) == 0 && got < all) {
        n = read(end, bytes, sizeof bytes);
        got += n > 0 ? (size_t)n : 0;
    }
    UNTIL(ef_poll(fd) == 1);
    CHECK(GOOD(ef_write(fd, bytes, 1)) == 1);
}

CASE(at_the_write_limit_ef_write_says_0_and_takes_nothing)
{
    int end = limited(1 << 20);
    int fd = opened("pipe", O_WRONLY);
    size_t all = 0, got = 0;
    char record[1000];
    for (int refused = 0; refused < 3;) {
        memset(record, 'a' + (int)(all / 1000 % 26), sizeof record);
        int64_t n = GOOD(ef_write(fd, record, sizeof record));
        CHECK(n == 0 || n == 1000);
        all += (size_t)n;
        refused += n == 0;
        CHECK(all < 4 << 20);
    }
    EQUAL(ef_close(fd), 0);
    int64_t limit = now() + PATIENCE;
    while (got < all && now() < limit) {
        ssize_t n = read(end, bytes, sizeof bytes);
        for (ssize_t i = 0; i < n; i++, got++)
            EQUAL(bytes[i], 'a' + (int)(got / 1000 % 26));
        if (n < 0)
            rest(1);
    }
    EQUAL(got, all);
    UNTIL(read(end, bytes, 1) == 0);
    UNTIL(ef_close_status(fd) == 0);
}

CASE(a_single_call_above_the_whole_limit_is_taken_in_part)
{
    limited(1 << 20);
    int fd = opened("pipe", O_WRONLY);
    char *much = made(1, 5 << 20);
    int64_t n = GOOD(ef_write(fd, much, 5 << 20));
    CHECK(n > 0 && n < 5 << 20);
}

CASE(ready_says_1_when_a_pipe_has_a_writer_again_though_nobody_has_read_the_end)
{
    CHECK(mkfifo("pipe", 0600) == 0);
    int fd = opened("pipe", O_RDONLY), end = open("pipe", O_WRONLY);
    CHECK(write(end, "x", 1) == 1);
    EQUAL(read_some(fd, bytes, 10), 1);
    close(end);
    UNTIL(ef_file_ready_for_read(fd) == 0);
    end = open("pipe", O_WRONLY);
    CHECK(write(end, "y", 1) == 1);
    UNTIL(ef_file_ready_for_read(fd) == 1);
    EQUAL(GOOD(ef_read(fd, bytes, 10)), 1);
}
