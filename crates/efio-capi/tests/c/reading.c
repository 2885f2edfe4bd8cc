/* reading.c: ef_read: what it gives, when it waits, and what it never gives. */
#include "case.h"
#include <efio.h>

static void same(const char *left, const char *right, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (left[i] != right[i])
            fail_at(__FILE__, __LINE__, "byte %zu of %zu differs", i, size);
    }
}

static void reads_whole(size_t size, size_t piece, int cold)
{
    char *wanted = made((unsigned)size, size), *got = malloc(size + piece);
    put("file", wanted, size);
    if (cold)
        forget_cache("file");
    int fd = opened("file", O_RDONLY);
    size_t done = 0;
    for (;;) {
        ssize_t n = read_some(fd, got + done, piece);
        CHECK(n >= 0 && n <= (ssize_t)piece && done + (size_t)n <= size);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    EQUAL(done, size);
    same(got, wanted, size);
    closed(fd);
    free(wanted);
    free(got);
}

CASE(a_file_of_any_size_is_read_in_pieces_of_any_size)
{
    size_t sizes[] = {0, 1, 11, 4095, 4096, 4097, 65536, 1048575, 1048576, 1048577, 5352871};
    size_t pieces[] = {100, 4096, 65537, 1048577, 8 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t j = 0; j < sizeof pieces / sizeof *pieces; j++)
            reads_whole(sizes[i], pieces[j], 0);
    }
    reads_whole(5000, 1, 0);
}

CASE(a_file_that_is_not_in_the_page_cache_is_read)
{
    reads_whole(5352871, 65536, 1);
    reads_whole(1048577, 100, 1);
    reads_whole(4000, 8 << 20, 1);
}

CASE(the_end_of_the_file_is_0_as_often_as_asked)
{
    put("file", "hello", 5);
    int fd = opened("file", O_RDONLY);
    char bytes[16];
    EQUAL(read_all(fd, bytes, sizeof bytes), 5);
    for (int i = 0; i < 20; i++)
        EQUAL(read_some(fd, bytes, sizeof bytes), 0);
}

CASE(an_empty_file_is_at_its_end)
{
    put("file", "", 0);
    int fd = opened("file", O_RDONLY);
    char bytes[16];
    EQUAL(read_some(fd, bytes, sizeof bytes), 0);
    EQUAL(read_some(fd, bytes, sizeof bytes), 0);
}

CASE(a_file_that_grows_is_read_on)
{
    put("file", "hello", 5);
    int fd = opened("file", O_RDONLY), other = open("file", O_WRONLY | O_APPEND);
    char bytes[16];
    EQUAL(read_all(fd, bytes, sizeof bytes), 5);
    for (int i = 0; i < 50; i++) {
        char more[16];
        int size = snprintf(more, sizeof more, "line %d\n", i);
        CHECK(write(other, more, (size_t)size) == size);
        EQUAL(read_all(fd, bytes, sizeof bytes), size);
        CHECK(memcmp(bytes, more, (size_t)size) == 0);
    }
}

CASE(a_file_that_shrinks_gives_no_byte_that_was_not_in_it)
{
    size_t size = 3 << 20;
    char *wanted = malloc(size), *got = malloc(size);
    memset(wanted, 'a', size);
    for (int i = 0; i < 10; i++) {
        put("file", wanted, size);
        int fd = opened("file", O_RDONLY);
        EQUAL(read_some(fd, got, 100), 100);
        CHECK(truncate("file", 50 + i * 100000) == 0);
        size_t all = 100 + read_all(fd, got + 100, size - 100);
        same(got, wanted, all);
        EQUAL(read_some(fd, got, 100), 0);
        closed(fd);
    }
    free(wanted);
    free(got);
}

CASE(a_file_cut_to_nothing_gives_0)
{
    put_pattern("file", 1, 100000);
    int fd = opened("file", O_RDONLY);
    char bytes[100];
    CHECK(truncate("file", 0) == 0);
    size_t all = 0;
    ssize_t n;
    while ((n = read_some(fd, bytes, sizeof bytes)) > 0)
        all += (size_t)n;
    EQUAL(n, 0);
    CHECK(all <= 100000);
}

CASE(holes_are_read_as_zeros)
{
    put("file", "x", 1);
    CHECK(truncate("file", 3000000) == 0);
    int fd = opened("file", O_RDONLY);
    char *bytes = malloc(3000001);
    EQUAL(read_all(fd, bytes, 3000001), 3000000);
    EQUAL(bytes[0], 'x');
    for (int i = 1; i < 3000000; i++)
        EQUAL(bytes[i], 0);
}

CASE(files_of_proc_with_size_0_are_read)
{
    const char *paths[] = {"/proc/version", "/proc/filesystems", "/proc/self/cmdline"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        size_t size;
        char *wanted = get(paths[i], &size), *got = malloc(size + 100);
        int fd = opened(paths[i], O_RDONLY);
        EQUAL(read_all(fd, got, size + 100), (int64_t)size);
        same(got, wanted, size);
        closed(fd);
    }
}

CASE(devices_are_read)
{
    char bytes[100000];
    memset(bytes, 1, sizeof bytes);
    int fd = opened("/dev/zero", O_RDONLY);
    EQUAL(read_all(fd, bytes, sizeof bytes), sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        EQUAL(bytes[i], 0);
    closed(fd);
    fd = opened("/dev/null", O_RDONLY);
    EQUAL(read_some(fd, bytes, sizeof bytes), 0);
    closed(fd);
}

CASE(a_pipe_gives_what_is_written_into_it_and_then_its_end)
{
    CHECK(mkfifo("pipe", 0600) == 0);
    ef_set_cb_func(note, NULL);
    int fd = opened("pipe", O_RDONLY);
    char bytes[100], *wanted = made(1, 300000), *got = malloc(300001);
    FAILS(ef_read(fd, bytes, sizeof bytes), EAGAIN);
    int end = open("pipe", O_WRONLY);
    CHECK(end >= 0);
    rest(20);
    FAILS(ef_read(fd, bytes, sizeof bytes), EAGAIN);
    CHECK(write(end, "hello", 5) == 5);
    EQUAL(read_some(fd, bytes, sizeof bytes), 5);
    CHECK(memcmp(bytes, "hello", 5) == 0);
    pid_t child = fork();
    if (child == 0) {
        size_t done = 0;
        while (done < 300000) {
            ssize_t n = write(end, wanted + done, 300000 - done);
            if (n <= 0)
                _exit(1);
            done += (size_t)n;
        }
        _exit(0);
    }
    close(end);
    EQUAL(read_all(fd, got, 300001), 300000);
    same(got, wanted, 300000);
    EQUAL(read_some(fd, bytes, sizeof bytes), 0);
    CHECK(waitpid(child, NULL, 0) == child);
    closed(fd);
}

CASE(a_read_error_is_told_as_often_as_the_disk_says_so_and_never_as_data)
{
    int fd = opened("/proc/self/mem", O_RDONLY);
    for (int i = 0; i < 5; i++)
        EQUAL(read_error(fd), EIO);
    closed(fd);
}

CASE(one_offset_for_reading_and_writing)
{
    put("file", "0123456789", 10);
    int fd = opened("file", O_RDWR);
    char bytes[16];
    EQUAL(read_all(fd, bytes, 3), 3);
    written(fd, "abc", 3);
    EQUAL(read_all(fd, bytes, sizeof bytes), 4);
    CHECK(memcmp(bytes, "6789", 4) == 0);
    written(fd, "XY", 2);
    closed(fd);
    holds("file", "012abc6789XY", 12);
}

CASE(what_the_handle_has_written_is_read)
{
    char *wanted = made(9, 3000000), *got = malloc(3000000);
    int fd = opened("file", O_RDWR | O_CREAT);
    written(fd, wanted, 3000000);
    char bytes[4];
    EQUAL(read_some(fd, bytes, 4), 0);
    UNTIL(ef_seek(fd, 0, SEEK_SET) == 0);
    EQUAL(read_all(fd, got, 3000000), 3000000);
    same(got, wanted, 3000000);
    closed(fd);
}

CASE(reads_and_writes_of_a_file_open_for_both_mix_as_in_posix)
{
    put_pattern("file", 3, 200000);
    put_pattern("twin", 3, 200000);
    int fd = opened("file", O_RDWR), twin = open("twin", O_RDWR);
    char one[3000], two[3000];
    unsigned state = 7;
    for (int i = 0; i < 300; i++) {
        state = state * 1103515245 + 12345;
        size_t size = 1 + state / 65536 % 2999;
        if (state / 1024 % 3 == 0) {
            pattern((unsigned)i, one, size);
            written(fd, one, size);
            CHECK(write(twin, one, size) == (ssize_t)size);
        } else {
            size_t n = read_all(fd, one, size);
            EQUAL(n, read(twin, two, size));
            same(one, two, n);
        }
    }
    closed(fd);
    size_t size;
    char *bytes = get("twin", &size);
    holds("file", bytes, size);
}

CASE(append_handles_read_from_the_start_and_write_at_the_end)
{
    put("file", "0123456789", 10);
    int fd = opened("file", O_RDWR | O_APPEND);
    char bytes[32];
    EQUAL(read_all(fd, bytes, 4), 4);
    CHECK(memcmp(bytes, "0123", 4) == 0);
    written(fd, "end", 3);
    closed(fd);
    holds("file", "0123456789end", 13);
}

/* A reader that asks again only when it was called back: one callback that is lost, and it waits for ever. */
static void only_by_callbacks(int fd, size_t size, unsigned seed, int by_ready)
{
    char *wanted = made(seed, size), *got = malloc(size + 65536);
    size_t done = 0;
    for (;;) {
        int before = heard(fd, FILE_OPER_READ);
        if (by_ready) {
            ssize_t ready = ef_file_ready_for_read(fd);
            if (ready == -1) {
                EQUAL(errno, EAGAIN);
                until_heard(fd, FILE_OPER_READ, before + 1);
                continue;
            }
        }
        ssize_t n = ef_read(fd, got + done, 65536);
        if (n == 0)
            break;
        if (n > 0) {
            done += (size_t)n;
            CHECK(done <= size);
            continue;
        }
        EQUAL(errno, EAGAIN);
        CHECK(!by_ready);
        until_heard(fd, FILE_OPER_READ, before + 1);
    }
    EQUAL(done, size);
    same(got, wanted, size);
    free(wanted);
    free(got);
}

CASE(every_eagain_of_ef_read_is_followed_by_a_read_callback)
{
    ef_set_cb_func(note, NULL);
    put_pattern("file", 5, 20 << 20);
    for (int i = 0; i < 3; i++) {
        forget_cache("file");
        int fd = opened("file", O_RDONLY);
        only_by_callbacks(fd, 20 << 20, 5, 0);
        GOOD(ef_close_immediate(fd));
    }
}

CASE(every_eagain_of_ef_file_ready_for_read_is_followed_by_a_read_callback)
{
    ef_set_cb_func(note, NULL);
    put_pattern("file", 6, 20 << 20);
    for (int i = 0; i < 3; i++) {
        forget_cache("file");
        int fd = opened("file", O_RDONLY);
        only_by_callbacks(fd, 20 << 20, 6, 1);
        GOOD(ef_close_immediate(fd));
    }
}

CASE(a_slow_pipe_is_read_by_callbacks_alone)
{
    ef_set_cb_func(note, NULL);
    CHECK(mkfifo("pipe", 0600) == 0);
    int fd = opened("pipe", O_RDONLY);
    char *wanted = made(8, 5000);
    pid_t child = fork();
    if (child == 0) {
        int end = open("pipe", O_WRONLY);
        for (int i = 0; i < 500; i++) {
            if (write(end, wanted + 10 * i, 10) != 10)
                _exit(1);
            if (i % 10 == 0)
                rest(1);
        }
        _exit(0);
    }
    only_by_callbacks(fd, 5000, 8, 0);
    CHECK(waitpid(child, NULL, 0) == child);
}

struct reader {
    int fd;
    size_t all;
    char *seen;
};

static void *read_share(void *data)
{
    struct reader *reader = data;
    unsigned char bytes[4 * 1000];
    for (;;) {
        ssize_t n = ef_read(reader->fd, bytes, sizeof bytes);
        if (n == 0)
            return NULL;
        if (n < 0) {
            CHECK(errno == EAGAIN);
            rest(1);
            continue;
        }
        for (ssize_t i = 0; i + 4 <= n; i += 4) {
            uint32_t number;
            memcpy(&number, bytes + i, 4);
            CHECK(number < 1000000);
            reader->seen[number]++;
        }
        reader->all += (size_t)n;
    }
}

CASE(two_threads_that_read_one_handle_share_its_bytes)
{
    uint32_t *numbers = malloc(4000000);
    for (uint32_t i = 0; i < 1000000; i++)
        numbers[i] = i;
    put("file", numbers, 4000000);
    int fd = opened("file", O_RDONLY);
    struct reader readers[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        readers[i] = (struct reader){fd, 0, calloc(1000000, 1)};
        CHECK(pthread_create(&threads[i], NULL, read_share, &readers[i]) == 0);
    }
    size_t all = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        all += readers[i].all;
    }
    EQUAL(all, 4000000);
    for (int i = 0; i < 1000000; i++)
        EQUAL(readers[0].seen[i] + readers[1].seen[i] + readers[2].seen[i] + readers[3].seen[i], 1);
}
