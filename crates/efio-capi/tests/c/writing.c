/* writing.c: ef_write: what reaches the file, and what does not change. */
#include "case.h"
#include <efio.h>

CASE(any_size_is_taken_whole_and_reaches_the_file)
{
    size_t sizes[] = {1, 100, 4096, 65535, 65536, 65537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 20 << 20, 100 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *bytes = made((unsigned)i, sizes[i]);
        int fd = opened("file", O_WRONLY | O_CREAT | O_TRUNC);
        written(fd, bytes, sizes[i]);
        closed(fd);
        holds("file", bytes, sizes[i]);
        free(bytes);
    }
}

CASE(two_hundred_mebibytes_in_small_calls_are_all_taken)
{
    size_t size = 200 << 20;
    char *bytes = made(1, size);
    int fd = opened("file", O_WRONLY | O_CREAT);
    for (size_t done = 0; done < size; done += 51200)
        written(fd, bytes + done, size - done < 51200 ? size - done : 51200);
    closed(fd);
    holds("file", bytes, size);
    CHECK(unlink("file") == 0);
}

CASE(the_buffer_may_be_reused_at_once)
{
    int fd = opened("file", O_WRONLY | O_CREAT);
    char line[120], *wanted = malloc(120 * 20000);
    for (int i = 0; i < 20000; i++) {
        pattern((unsigned)i, line, sizeof line);
        memcpy(wanted + 120 * i, line, sizeof line);
        written(fd, line, sizeof line);
        memset(line, 0, sizeof line);
    }
    closed(fd);
    holds("file", wanted, 120 * 20000);
}

CASE(only_the_written_bytes_of_a_file_change)
{
    char *wanted = made(1, 50000);
    put("file", wanted, 50000);
    int fd = opened("file", O_WRONLY | O_CREAT);
    written(fd, "0123456789", 10);
    closed(fd);
    memcpy(wanted, "0123456789", 10);
    holds("file", wanted, 50000);
    fd = opened("file", O_RDWR);
    char skipped[30000];
    EQUAL(read_all(fd, skipped, sizeof skipped), sizeof skipped);
    written(fd, "abcdef", 6);
    closed(fd);
    memcpy(wanted + 30000, "abcdef", 6);
    holds("file", wanted, 50000);
}

CASE(a_file_of_an_odd_length_is_appended_to)
{
    size_t sizes[] = {1, 10, 511, 4095, 4097, 1048577, 5352871};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *wanted = made(2, sizes[i] + 2000000);
        put("file", wanted, sizes[i]);
        int fd = opened("file", O_WRONLY | O_APPEND);
        for (size_t done = 0; done < 2000000; done += 1000)
            written(fd, wanted + sizes[i] + done, 1000);
        closed(fd);
        holds("file", wanted, sizes[i] + 2000000);
        free(wanted);
    }
}

/* Lines `NAME NUMBER …`, 50 bytes each. */
static void line_of(char *line, char name, int number)
{
    memset(line, '.', 50);
    int n = snprintf(line, 50, "%c %06d", name, number);
    line[n] = ' ';
    line[49] = '\n';
}

static void lines_are_whole(const char *path, const char *names, int each)
{
    size_t size;
    char *bytes = get(path, &size), wanted[50];
    int next[256] = {0};
    EQUAL(size, 50 * each * strlen(names));
    for (size_t at = 0; at < size; at += 50) {
        int name = (unsigned char)bytes[at];
        CHECK(strchr(names, name) && name);
        line_of(wanted, (char)name, next[name]++);
        CHECK(memcmp(bytes + at, wanted, 50) == 0);
    }
    for (; *names; names++)
        EQUAL(next[(unsigned char)*names], each);
}

CASE(two_handles_append_to_one_file_and_no_line_is_lost)
{
    int one = opened("file", O_WRONLY | O_APPEND | O_CREAT), two = opened("file", O_WRONLY | O_APPEND);
    char line[50];
    for (int i = 0; i < 20000; i++) {
        line_of(line, 'A', i);
        written(one, line, 50);
        line_of(line, 'B', i);
        written(two, line, 50);
        if (i % 1000 == 0)
            GOOD(ef_sync(i % 2000 ? one : two));
    }
    closed(one);
    closed(two);
    lines_are_whole("file", "AB", 20000);
}

CASE(another_process_appends_to_the_same_file_and_no_line_is_lost)
{
    put("file", "", 0);
    pid_t child = fork();
    char line[50];
    if (child == 0) {
        int file = open("file", O_WRONLY | O_APPEND);
        for (int i = 0; i < 20000; i++) {
            line_of(line, 'C', i);
            if (write(file, line, 50) != 50)
                _exit(1);
        }
        _exit(0);
    }
    int fd = opened("file", O_WRONLY | O_APPEND);
    for (int i = 0; i < 20000; i++) {
        line_of(line, 'A', i);
        written(fd, line, 50);
        if (i % 1000 == 0)
            GOOD(ef_sync(fd));
    }
    closed(fd);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    lines_are_whole("file", "AC", 20000);
}

CASE(two_processes_of_this_library_append_to_one_file)
{
    put("file", "", 0);
    pid_t child = fork();
    char line[50], name = child == 0 ? 'C' : 'A';
    int fd = opened("file", O_WRONLY | O_APPEND);
    for (int i = 0; i < 20000; i++) {
        line_of(line, name, i);
        written(fd, line, 50);
    }
    closed(fd);
    if (child == 0)
        _exit(0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    lines_are_whole("file", "AC", 20000);
}

CASE(what_is_written_is_in_the_file_after_a_while_without_being_asked_for)
{
    int fd = opened("file", O_WRONLY | O_CREAT);
    written(fd, "hello", 5);
    UNTIL(size_of("file") == 5);
    written(fd, " again", 6);
    UNTIL(size_of("file") == 11);
    holds("file", "hello again", 11);
    EQUAL(GOOD(ef_open_status(fd)), fd);
}

static volatile int stop;

static void *watches(void *data)
{
    int64_t *longest = data;
    while (!stop) {
        int64_t size = size_of("file");
        if (size > *longest)
            *longest = size;
    }
    return NULL;
}

CASE(a_file_is_never_longer_than_what_was_written_to_it)
{
    int64_t longest = 0;
    int fd = opened("file", O_WRONLY | O_CREAT);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, watches, &longest) == 0);
    char bytes[60];
    memset(bytes, 'x', sizeof bytes);
    for (int i = 0; i < 200; i++) {
        written(fd, bytes, sizeof bytes);
        if (i % 10 == 0)
            GOOD(ef_sync(fd));
        rest(1);
    }
    closed(fd);
    stop = 1;
    pthread_join(thread, NULL);
    CHECK(longest <= 200 * 60);
    EQUAL(size_of("file"), 200 * 60);
}

struct writer {
    int fd, number, count;
    size_t size;
};

static void *writes_records(void *data)
{
    struct writer *writer = data;
    char *record = malloc(writer->size);
    for (int i = 0; i < writer->count; i++) {
        memset(record, 'a' + writer->number, writer->size);
        record[0] = '<';
        record[writer->size - 1] = '>';
        written(writer->fd, record, writer->size);
    }
    free(record);
    return NULL;
}

static void records_stay_whole(size_t size, int count, int flags)
{
    int fd = opened("file", O_WRONLY | O_CREAT | O_TRUNC | flags);
    struct writer writers[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        writers[i] = (struct writer){fd, i, count, size};
        CHECK(pthread_create(&threads[i], NULL, writes_records, &writers[i]) == 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    closed(fd);
    size_t all;
    int counts[4] = {0};
    char *bytes = get("file", &all);
    EQUAL(all, 4 * (size_t)count * size);
    for (size_t at = 0; at < all; at += size) {
        int who = bytes[at + 1] - 'a';
        CHECK(who >= 0 && who < 4 && bytes[at] == '<' && bytes[at + size - 1] == '>');
        for (size_t i = 1; i < size - 1; i++)
            EQUAL(bytes[at + i], 'a' + who);
        counts[who]++;
    }
    for (int i = 0; i < 4; i++)
        EQUAL(counts[i], count);
    free(bytes);
}

CASE(the_bytes_of_calls_from_several_threads_are_never_mixed)
{
    records_stay_whole(100, 20000, 0);
    records_stay_whole(3001, 2000, O_APPEND);
    records_stay_whole(65537, 100, 0);
    records_stay_whole(1 << 20, 20, 0);
}

CASE(o_sync_writes_reach_the_file_in_order)
{
    int fd = opened("file", O_WRONLY | O_CREAT | O_SYNC);
    char *wanted = made(1, 50000);
    for (int i = 0; i < 500; i++)
        written(fd, wanted + 100 * i, 100);
    closed(fd);
    holds("file", wanted, 50000);
}

CASE(a_pipe_takes_what_is_written_in_order)
{
    int end = fifo_reader("pipe"), fd = opened("pipe", O_WRONLY);
    char *wanted = made(4, 500000), bytes[7000];
    for (int i = 0; i < 500; i++)
        written(fd, wanted + 1000 * i, 1000);
    GOOD(ef_close(fd));
    size_t got = 0;
    int64_t limit = now() + PATIENCE;
    while (got < 500000 && now() < limit) {
        ssize_t n = read(end, bytes, sizeof bytes);
        if (n > 0) {
            CHECK(memcmp(bytes, wanted + got, (size_t)n) == 0);
            got += (size_t)n;
        } else {
            rest(1);
        }
    }
    EQUAL(got, 500000);
    UNTIL(ef_close_status(fd) == 0);
}

CASE(a_terminal_less_device_takes_what_is_written)
{
    int fd = opened("/dev/null", O_WRONLY);
    char *bytes = made(1, 3 << 20);
    written(fd, bytes, 3 << 20);
    GOOD(ef_sync(fd));
    closed(fd);
}

CASE(ef_sync_writes_at_once)
{
    struct ef_instance_options options;
    ef_options_init(&options, sizeof options);
    options.flush_interval = 3600 * 1000000ull;
    EQUAL(GOOD(ef_init_with(&options)), 0);
    int fd = opened("file", O_WRONLY | O_CREAT);
    for (int i = 1; i <= 5; i++) {
        written(fd, "hello", 5);
        EQUAL(GOOD(ef_sync(fd)), 0);
        UNTIL(size_of("file") == 5 * i);
    }
}

CASE(ef_sync_with_nothing_to_do_is_0)
{
    int fd = opened("file", O_RDWR | O_CREAT);
    for (int i = 0; i < 5; i++)
        EQUAL(GOOD(ef_sync(fd)), 0);
    written(fd, "hello", 5);
    UNTIL(size_of("file") == 5);
    for (int i = 0; i < 5; i++)
        EQUAL(GOOD(ef_sync(fd)), 0);
    closed(fd);
}

CASE(ef_sync_makes_what_was_written_durable)
{
    int fd = opened("file", O_WRONLY | O_CREAT);
    struct ef_progress progress = {.size = sizeof progress};
    for (int i = 1; i <= 5; i++) {
        written(fd, "hello", 5);
        GOOD(ef_sync(fd));
        UNTIL(ef_progress(fd, &progress) == 0 && progress.durable == 5u * (unsigned)i);
    }
}
