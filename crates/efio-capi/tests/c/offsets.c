/* offsets.c: efio.h: seek, reads and writes by offset, truncate, preallocate, reopen, progress. */
#include "case.h"
#include <efio.h>
#include <sys/stat.h>

static char bytes[100000];

static ssize_t read_at(int fd, void *buffer, size_t size, uint64_t offset)
{
    int64_t limit = now() + PATIENCE;
    for (;;) {
        ssize_t n = ef_read_at(fd, buffer, size, offset);
        if (n >= 0 || errno != EAGAIN)
            return n;
        CHECK(now() < limit);
        rest(1);
    }
}

static int64_t seek(int fd, int64_t offset, int whence)
{
    int64_t limit = now() + PATIENCE;
    for (;;) {
        int64_t at = ef_seek(fd, offset, whence);
        if (at >= 0 || errno != EAGAIN)
            return at;
        CHECK(now() < limit);
        rest(1);
    }
}

CASE(ef_seek_moves_the_offset_of_reads_and_writes)
{
    char *wanted = made(1, 5000000);
    put("file", wanted, 5000000);
    int fd = opened("file", O_RDWR);
    EQUAL(seek(fd, 4000000, SEEK_SET), 4000000);
    EQUAL(read_all(fd, bytes, 1000), 1000);
    CHECK(memcmp(bytes, wanted + 4000000, 1000) == 0);
    EQUAL(seek(fd, -500, SEEK_CUR), 4000500);
    EQUAL(read_all(fd, bytes, 10), 10);
    CHECK(memcmp(bytes, wanted + 4000500, 10) == 0);
    EQUAL(seek(fd, -10, SEEK_END), 4999990);
    EQUAL(read_all(fd, bytes, 100), 10);
    CHECK(memcmp(bytes, wanted + 4999990, 10) == 0);
    EQUAL(seek(fd, 100, SEEK_SET), 100);
    written(fd, "hello", 5);
    EQUAL(seek(fd, 0, SEEK_CUR), 105);
    closed(fd);
    memcpy(wanted + 100, "hello", 5);
    holds("file", wanted, 5000000);
}

CASE(ef_seek_beyond_the_end_makes_a_hole)
{
    int fd = opened("file", O_RDWR | O_CREAT);
    EQUAL(seek(fd, 10000, SEEK_SET), 10000);
    written(fd, "x", 1);
    closed(fd);
    EQUAL(size_of("file"), 10001);
}

CASE(ef_seek_refuses_what_lseek_refuses)
{
    put("file", "hello", 5);
    int fd = opened("file", O_RDWR);
    FAILS(seek(fd, -1, SEEK_SET), EINVAL);
    FAILS(seek(fd, -1, SEEK_CUR), EINVAL);
    FAILS(seek(fd, -6, SEEK_END), EINVAL);
    FAILS(seek(fd, 0, 99), EINVAL);
    FAILS(seek(fd, 0, -1), EINVAL);
    EQUAL(read_all(fd, bytes, 100), 5);
    CHECK(mkfifo("pipe", 0600) == 0);
    int pipe = opened("pipe", O_RDONLY);
    FAILS(seek(pipe, 0, SEEK_SET), ESPIPE);
    FAILS(seek(pipe, 0, SEEK_CUR), ESPIPE);
}

CASE(reads_and_writes_beyond_4_gib)
{
    int fd = opened("file", O_RDWR | O_CREAT);
    int64_t far = 5ll << 30;
    EQUAL(seek(fd, far, SEEK_SET), far);
    written(fd, "hello", 5);
    GOOD(ef_sync(fd));
    EQUAL(seek(fd, far, SEEK_SET), far);
    EQUAL(read_all(fd, bytes, 100), 5);
    CHECK(memcmp(bytes, "hello", 5) == 0);
    EQUAL(read_at(fd, bytes, 3, (uint64_t)far + 2), 3);
    CHECK(memcmp(bytes, "llo", 3) == 0);
    closed(fd);
    EQUAL(size_of("file"), far + 5);
}

CASE(ef_read_at_reads_any_place_and_moves_no_offset)
{
    char *wanted = made(1, 5000000);
    put("file", wanted, 5000000);
    forget_cache("file");
    int fd = opened("file", O_RDONLY);
    unsigned state = 1;
    for (int i = 0; i < 200; i++) {
        state = state * 1103515245 + 12345;
        uint64_t at = state % 5000000;
        ssize_t n = read_at(fd, bytes, 777, at);
        CHECK(n > 0 && n <= 777 && at + (uint64_t)n <= 5000000);
        CHECK(memcmp(bytes, wanted + at, (size_t)n) == 0);
    }
    EQUAL(read_at(fd, bytes, 10, 5000000), 0);
    EQUAL(read_at(fd, bytes, 10, 1ull << 40), 0);
    EQUAL(read_all(fd, bytes, 100), 100);
    CHECK(memcmp(bytes, wanted, 100) == 0);
}

CASE(ef_write_at_writes_any_place_and_moves_no_offset)
{
    char *wanted = made(1, 3000000);
    put("file", wanted, 3000000);
    int fd = opened("file", O_RDWR);
    unsigned state = 1;
    for (int i = 0; i < 200; i++) {
        state = state * 1103515245 + 12345;
        uint64_t at = state % 2999000;
        pattern(state, bytes, 777);
        int64_t n = 0, limit = now() + PATIENCE;
        while ((n = GOOD(ef_write_at(fd, bytes, 777, at))) == 0)
            CHECK(now() < limit);
        EQUAL(n, 777);
        memcpy(wanted + at, bytes, 777);
        if (i % 10 == 0) {
            EQUAL(read_at(fd, bytes, 777, at), 777);
            CHECK(memcmp(bytes, wanted + at, 777) == 0);
        }
    }
    EQUAL(seek(fd, 0, SEEK_CUR), 0);
    closed(fd);
    holds("file", wanted, 3000000);
}

CASE(ef_write_at_is_refused_for_append_files_and_pipes)
{
    int fd = opened("file", O_RDWR | O_CREAT | O_APPEND);
    FAILS(ef_write_at(fd, "x", 1, 0), EINVAL);
    fifo_reader("pipe");
    int pipe = opened("pipe", O_WRONLY);
    FAILS(ef_write_at(pipe, "x", 1, 0), ESPIPE);
    CHECK(mkfifo("other", 0600) == 0);
    FAILS(ef_read_at(opened("other", O_RDONLY), bytes, 1, 0), ESPIPE);
}

CASE(every_refused_read_by_offset_is_followed_by_a_read_callback)
{
    ef_set_cb_func(note, NULL);
    char *wanted = made(1, 8 << 20);
    put("file", wanted, 8 << 20);
    forget_cache("file");
    int fd = opened("file", O_RDONLY);
    for (int i = 0; i < 100; i++) {
        uint64_t at = (uint64_t)(i * 7919 % 100) * 80000;
        for (;;) {
            int before = heard(fd, FILE_OPER_READ);
            ssize_t n = ef_read_at(fd, bytes, 1000, at);
            if (n > 0) {
                CHECK(memcmp(bytes, wanted + at, (size_t)n) == 0);
                break;
            }
            EQUAL(n, -1);
            EQUAL(errno, EAGAIN);
            until_heard(fd, FILE_OPER_READ, before + 1);
        }
    }
}

CASE(ef_truncate_cuts_and_extends_after_what_was_written)
{
    int fd = opened("file", O_RDWR | O_CREAT);
    memset(bytes, 'a', sizeof bytes);
    written(fd, bytes, 10000);
    EQUAL(GOOD(ef_truncate(fd, 5000)), 0);
    UNTIL(size_of("file") == 5000);
    UNTIL(ef_truncate(fd, 7000) == 0);
    UNTIL(size_of("file") == 7000);
    closed(fd);
    size_t size;
    char *there = get("file", &size);
    EQUAL(size, 7000);
    for (size_t i = 0; i < size; i++)
        EQUAL(there[i], i < 5000 ? 'a' : 0);
}

CASE(ef_truncate_of_a_read_only_file_is_refused)
{
    put("file", "hello", 5);
    int fd = opened("file", O_RDONLY);
    EQUAL(ef_truncate(fd, 0), -1);
    CHECK(errno == EBADF || errno == EINVAL);
    closed(fd);
    EQUAL(size_of("file"), 5);
}

static int64_t room_of(const char *path)
{
    struct stat data;
    CHECK(stat(path, &data) == 0);
    return (int64_t)data.st_blocks * 512;
}

CASE(ef_preallocate_reserves_room_and_keeps_the_size_where_asked)
{
    int probe = open("probe", O_RDWR | O_CREAT, 0600);
    if (posix_fallocate(probe, 0, 1 << 20) != 0 || room_of("probe") < 1 << 20)
        skip("this file system does not reserve room");
    int fd = opened("file", O_WRONLY | O_CREAT);
    EQUAL(GOOD(ef_preallocate(fd, 0, 1 << 20, 1)), 0);
    UNTIL(room_of("file") >= 1 << 20);
    EQUAL(size_of("file"), 0);
    UNTIL(ef_preallocate(fd, 0, 2 << 20, 0) == 0);
    UNTIL(size_of("file") == 2 << 20);
    written(fd, "hello", 5);
    closed(fd);
    EQUAL(size_of("file"), 2 << 20);
}

CASE(ef_reopen_rotates_a_log_without_losing_a_line)
{
    int fd = opened("log", O_WRONLY | O_APPEND | O_CREAT);
    written(fd, "one\n", 4);
    GOOD(ef_sync(fd));
    UNTIL(size_of("log") == 4);
    written(fd, "two\n", 4);
    CHECK(rename("log", "log.1") == 0);
    EQUAL(GOOD(ef_reopen(fd, "log")), 0);
    written(fd, "three\n", 6);
    closed(fd);
    holds("log.1", "one\ntwo\n", 8);
    holds("log", "three\n", 6);
}

CASE(ef_recover_of_a_file_that_has_not_failed_is_einval)
{
    int fd = opened("file", O_WRONLY | O_CREAT);
    FAILS(ef_recover(fd), EINVAL);
    written(fd, "x", 1);
    closed(fd);
}

CASE(progress_never_goes_back_and_durable_is_not_above_written_nor_that_above_accepted)
{
    int fd = opened("file", O_WRONLY | O_CREAT);
    struct ef_progress last = {.size = sizeof last}, next = last;
    for (int i = 0; i < 2000; i++) {
        written(fd, bytes, 1000);
        if (i % 100 == 0)
            GOOD(ef_sync(fd));
        EQUAL(GOOD(ef_progress(fd, &next)), 0);
        CHECK(next.accepted >= next.written && next.written >= next.durable);
        CHECK(next.written >= last.written && next.durable >= last.durable);
        EQUAL(next.accepted, 1000 * (i + 1));
        EQUAL(next.end, 1000 * (i + 1));
        last = next;
    }
    GOOD(ef_sync(fd));
    UNTIL(ef_progress(fd, &next) == 0 && next.durable == 2000000);
    EQUAL(next.written, 2000000);
}

CASE(the_durability_of_a_file_is_kept_without_being_asked)
{
    for (int mode = EF_DURABILITY_INTERVAL; mode <= EF_DURABILITY_WRITE; mode++) {
        struct ef_open_options options;
        ef_options_init(&options, sizeof options);
        options.flags = O_WRONLY | O_CREAT;
        options.durability = mode;
        options.flush_interval = 20000;
        int fd = (int)GOOD(ef_open_with(NULL, "file", &options));
        UNTIL(ef_open_status(fd) == fd);
        written(fd, "hello", 5);
        struct ef_progress progress = {.size = sizeof progress};
        if (mode != EF_DURABILITY_CLOSE)
            UNTIL(ef_progress(fd, &progress) == 0 && progress.durable == 5);
        closed(fd);
    }
}

CASE(a_seek_that_succeeds_tells_of_the_read_that_was_refused_before_it)
{
    ef_set_cb_func(note, NULL);
    int fd = opened("file", O_RDWR | O_APPEND | O_CREAT);
    for (int i = 0; i < 200; i++) {
        written(fd, bytes, sizeof bytes);
        char byte;
        int before = heard(fd, FILE_OPER_READ);
        if (ef_read(fd, &byte, 1) == -1) {
            EQUAL(errno, EAGAIN);
            ef_seek(fd, 0, SEEK_SET);
            until_heard(fd, FILE_OPER_READ, before + 1);
        }
        UNTIL(ef_seek(fd, 0, SEEK_SET) == 0);
        EQUAL(read_some(fd, &byte, 1), 1);
    }
}
