/* failing.c: what the disk refuses is told, late but surely, and ends no process. */
#include "case.h"
#include <efio.h>

static char bytes[10000];

static int full(void)
{
    if (access("/dev/full", W_OK) != 0)
        skip("there is no /dev/full that this user may write");
    return opened("/dev/full", O_WRONLY);
}

CASE(a_full_disk_is_told_by_the_close)
{
    int fd = full();
    written(fd, bytes, sizeof bytes);
    EQUAL(close_error(fd), ENOSPC);
    for (int i = 0; i < 3; i++)
        FAILS(ef_close_status(fd), ENOSPC);
}

CASE(a_full_disk_is_told_by_ef_close_immediate)
{
    int fd = full();
    written(fd, bytes, sizeof bytes);
    FAILS(ef_close_immediate(fd), ENOSPC);
    FAILS(ef_close_status(fd), ENOSPC);
}

CASE(a_full_disk_is_told_by_each_later_write_and_sync_and_once_more_by_the_close)
{
    int fd = full();
    written(fd, bytes, sizeof bytes);
    UNTIL(ef_sync(fd) == -1); /* at once, if the disk has refused a full page meanwhile */
    EQUAL(errno, ENOSPC);
    for (int i = 0; i < 5; i++) {
        FAILS(ef_write(fd, bytes, 1), ENOSPC);
        FAILS(ef_sync(fd), ENOSPC);
    }
    EQUAL(close_error(fd), ENOSPC);
}

CASE(a_full_disk_is_told_without_being_asked_for_a_sync)
{
    int fd = full();
    written(fd, bytes, 10);
    UNTIL(ef_write(fd, bytes, 10) == -1);
    EQUAL(errno, ENOSPC);
    FAILS(ef_close_immediate(fd), ENOSPC);
}

static void limit_files(rlim_t size)
{
    struct rlimit limit = {size, RLIM_INFINITY};
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = size;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

CASE(a_file_that_grows_beyond_its_limit_is_efbig_and_no_signal)
{
    char *wanted = made(1, 300000);
    limit_files(100000);
    int fd = opened("file", O_WRONLY | O_CREAT);
    written(fd, wanted, 300000);
    EQUAL(close_error(fd), EFBIG);
    EQUAL(size_of("file"), 100000);
    holds("file", wanted, 100000);
}

CASE(efbig_is_told_by_each_later_call)
{
    limit_files(1000);
    int fd = opened("file", O_WRONLY | O_CREAT | O_APPEND);
    written(fd, bytes, 900);
    GOOD(ef_sync(fd));
    UNTIL(size_of("file") == 900);
    written(fd, bytes, 900);
    GOOD(ef_sync(fd));
    UNTIL(ef_write(fd, bytes, 1) == -1);
    EQUAL(errno, EFBIG);
    FAILS(ef_sync(fd), EFBIG);
    FAILS(ef_close_immediate(fd), EFBIG);
}

CASE(a_pipe_whose_reader_left_is_epipe_and_no_signal)
{
    int end = fifo_reader("pipe"), fd = opened("pipe", O_WRONLY);
    written(fd, bytes, 100);
    GOOD(ef_sync(fd));
    UNTIL(read(end, bytes, 100) == 100);
    close(end);
    written(fd, bytes, 100);
    UNTIL(ef_write(fd, bytes, 100) == -1);
    EQUAL(errno, EPIPE);
    EQUAL(close_error(fd), EPIPE);
}

CASE(an_error_of_one_file_leaves_the_others_alone)
{
    int bad = full(), good = opened("file", O_WRONLY | O_CREAT);
    for (int i = 0; i < 100; i++) {
        ef_write(bad, bytes, 100);
        written(good, bytes, 100);
        GOOD(ef_sync(good));
        ef_sync(bad);
    }
    EQUAL(close_error(bad), ENOSPC);
    closed(good);
    EQUAL(size_of("file"), 10000);
}

CASE(a_failed_handle_is_reused_without_its_error)
{
    int fd = full();
    written(fd, bytes, 100);
    FAILS(ef_close_immediate(fd), ENOSPC);
    for (int i = 0; i < 5000; i++) {
        int next = opened("file", O_WRONLY | O_CREAT);
        written(next, bytes, 1);
        GOOD(ef_close_immediate(next));
        if (next == fd)
            return;
    }
    fail_at(__FILE__, __LINE__, "handle %d is not given out again", fd);
}

CASE(the_callback_tells_the_close_of_a_failed_file_too)
{
    ef_set_cb_func(note, NULL);
    int fd = full();
    written(fd, bytes, 100);
    GOOD(ef_close(fd));
    until_heard(fd, FILE_OPER_CLOSE, 1);
    FAILS(ef_close_status(fd), ENOSPC);
    order_is_right();
}

CASE(bytes_that_were_lost_are_counted_in_the_event)
{
    struct ef_open_options options;
    struct ef_event event;
    ef_options_init(&options, sizeof options);
    options.flags = O_WRONLY;
    full();
    ef_instance *instance = ef_instance_new(NULL);
    CHECK(instance);
    int fd = (int)GOOD(ef_open_with(instance, "/dev/full", &options));
    UNTIL(ef_open_status(fd) == fd);
    written(fd, bytes, 1234);
    GOOD(ef_close(fd));
    do {
        EQUAL(ef_wait(instance, &event, sizeof event, 1, PATIENCE), 1);
        EQUAL(event.fd, fd);
    } while (!(event.what & EF_CLOSED));
    EQUAL(event.error, ENOSPC);
    EQUAL(event.lost, 1234);
    EQUAL(event.accepted, 1234);
    EQUAL(event.written, 0);
}
