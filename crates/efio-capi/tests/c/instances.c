/* instances.c: efio.h: versions and structs, instances, limits, shutdown. */
#include "case.h"
#include <efio.h>

static char much[1 << 20];

CASE(the_version_is_that_of_the_header)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "%d.%d.%d", EFIO_VERSION_MAJOR, EFIO_VERSION_MINOR, EFIO_VERSION_PATCH);
    CHECK(strcmp(ef_version(), wanted) == 0);
}

CASE(ef_options_init_zeroes_and_writes_the_size)
{
    struct ef_open_options options;
    memset(&options, 0xff, sizeof options);
    ef_options_init(&options, sizeof options);
    EQUAL(options.size, sizeof options);
    const char *bytes = (const char *)&options;
    for (size_t i = sizeof options.size; i < sizeof options; i++)
        EQUAL(bytes[i], 0);
}

struct future {
    struct ef_instance_options known;
    uint64_t unknown[4];
};

CASE(a_larger_struct_is_taken_if_what_is_unknown_is_0)
{
    struct future future;
    ef_options_init(&future, sizeof future);
    ef_instance *instance = ef_instance_new(&future.known);
    CHECK(instance);
    EQUAL(GOOD(ef_instance_free(instance, 1000000)), 0);
    future.unknown[2] = 1;
    errno = UNTOUCHED;
    CHECK(!ef_instance_new(&future.known));
    EQUAL(errno, E2BIG);
}

CASE(a_smaller_struct_of_an_older_program_is_taken)
{
    struct ef_instance_options options;
    memset(&options, 0xff, sizeof options);
    ef_options_init(&options, offsetof(struct ef_instance_options, memory_limit));
    ef_instance *instance = ef_instance_new(&options);
    CHECK(instance);
    EQUAL(GOOD(ef_instance_free(instance, 1000000)), 0);
}

CASE(ef_init_with_is_ebusy_when_the_library_runs)
{
    struct ef_instance_options options;
    ef_options_init(&options, sizeof options);
    EQUAL(GOOD(ef_init_with(&options)), 0);
    FAILS(ef_init_with(&options), EBUSY);
    FAILS(ef_init_with(NULL), EBUSY);
}

CASE(limits_out_of_their_ranges_are_einval)
{
    struct ef_instance_options options;
    for (int i = 0; i < 5; i++) {
        ef_options_init(&options, sizeof options);
        if (i == 0)
            options.memory_limit = 4096;
        if (i == 1)
            options.file_memory_limit = 1000;
        if (i == 2)
            options.read_ahead = (4 << 20) + 1;
        if (i == 3)
            options.threads_limit = 65;
        if (i == 4)
            options.memory_limit = UINT64_MAX;
        errno = UNTOUCHED;
        if (ef_instance_new(&options))
            fail_at(__FILE__, __LINE__, "limits number %d are taken", i);
        EQUAL(errno, EINVAL);
        FAILS(ef_init_with(&options), EINVAL);
    }
    EQUAL(GOOD(ef_init_with(NULL)), 0);
}

CASE(what_is_no_instance_is_einval)
{
    static char nothing[4096];
    ef_instance *wrong[] = {(ef_instance *)nothing, (ef_instance *)8, NULL};
    wrong[2] = ef_instance_new(NULL);
    CHECK(wrong[2]);
    EQUAL(GOOD(ef_instance_free(wrong[2], 1000000)), 0);
    FAILS(ef_instance_free(NULL, 0), EINVAL);
    struct ef_open_options options;
    ef_options_init(&options, sizeof options);
    options.flags = O_RDWR | O_CREAT;
    struct ef_event event;
    for (int i = 0; i < 3; i++) {
        FAILS(ef_instance_free(wrong[i], 0), EINVAL);
        FAILS(ef_shutdown(wrong[i], 0), EINVAL);
        FAILS(ef_notify_fd(wrong[i]), EINVAL);
        FAILS(ef_events(wrong[i], &event, sizeof event, 1), EINVAL);
        FAILS(ef_wait(wrong[i], &event, sizeof event, 1, 0), EINVAL);
        FAILS(ef_set_write_limit(wrong[i], 1), EINVAL);
        FAILS(ef_open_with(wrong[i], "file", &options), EINVAL);
    }
}

CASE(there_are_at_most_254_instances)
{
    ef_instance *instances[255];
    struct ef_instance_options options;
    ef_options_init(&options, sizeof options);
    options.memory_limit = 4 << 20;
    int n = 0;
    errno = UNTOUCHED;
    while (n < 255 && (instances[n] = ef_instance_new(&options)))
        n++;
    if (n < 254 && errno != ENFILE)
        skip("only %d instances, errno %d: the machine has no more threads or memory", n, errno);
    EQUAL(errno, ENFILE);
    EQUAL(n, 254);
    EQUAL(GOOD(ef_instance_free(instances[7], 1000000)), 0);
    CHECK((instances[7] = ef_instance_new(&options)));
    for (int i = 0; i < n; i++)
        EQUAL(GOOD(ef_instance_free(instances[i], 1000000)), 0);
}

static int open_in(ef_instance *instance, const char *path, int flags)
{
    struct ef_open_options options;
    ef_options_init(&options, sizeof options);
    options.flags = flags;
    int fd = (int)GOOD(ef_open_with(instance, path, &options));
    UNTIL(ef_open_status(fd) == fd);
    return fd;
}

CASE(instances_live_side_by_side_and_end_alone)
{
    ef_instance *one = ef_instance_new(NULL), *two = ef_instance_new(NULL);
    CHECK(one && two && one != two);
    int a = open_in(one, "a", O_WRONLY | O_CREAT), b = open_in(two, "b", O_WRONLY | O_CREAT);
    int c = opened("c", O_WRONLY | O_CREAT);
    CHECK(a != b && b != c && a != c);
    written(a, "aaa", 3);
    written(b, "bbb", 3);
    written(c, "ccc", 3);
    EQUAL(GOOD(ef_instance_free(one, 5000000)), 0);
    holds("a", "aaa", 3);
    FAILS(ef_write(a, "x", 1), EBADF);
    written(b, "BBB", 3);
    closed(b);
    holds("b", "bbbBBB", 6);
    EQUAL(GOOD(ef_instance_free(two, 5000000)), 0);
    closed(c);
    holds("c", "ccc", 3);
}

CASE(files_of_an_instance_have_no_callbacks)
{
    ef_set_cb_func(note, NULL);
    ef_instance *instance = ef_instance_new(NULL);
    int fd = open_in(instance, "file", O_WRONLY | O_CREAT);
    closed(fd);
    rest(30);
    EQUAL(heard_in_all(), 0);
}

CASE(the_calls_of_ef_io_work_on_files_of_an_instance)
{
    ef_instance *instance = ef_instance_new(NULL);
    put_pattern("file", 1, 5000);
    int fd = open_in(instance, "file", O_RDWR);
    char bytes[6000], *wanted = made(1, 5000);
    EQUAL(read_all(fd, bytes, sizeof bytes), 5000);
    CHECK(memcmp(bytes, wanted, 5000) == 0);
    written(fd, "more", 4);
    GOOD(ef_sync(fd));
    CHECK(GOOD(ef_poll(fd)) & 1);
    EQUAL(GOOD(ef_close_immediate(fd)), 0);
    EQUAL(size_of("file"), 5004);
}

CASE(ef_shutdown_writes_and_closes_everything)
{
    char *wanted = made(1, 20 << 20);
    int fd = opened("file", O_WRONLY | O_CREAT);
    written(fd, wanted, 20 << 20);
    EQUAL(GOOD(ef_shutdown(NULL, 10000000)), 0);
    holds("file", wanted, 20 << 20);
    EQUAL(GOOD(ef_close_status(fd)), 0);
}

CASE(after_ef_shutdown_opens_say_eshutdown_and_calls_with_its_handles_ebadf_until_ef_init)
{
    put("file", "x", 1);
    int fd = opened("file", O_RDWR);
    EQUAL(GOOD(ef_shutdown(NULL, 1000000)), 0);
    FAILS(ef_open("file", O_RDONLY), ESHUTDOWN);
    FAILS(ef_write(fd, "x", 1), EBADF);
    FAILS(ef_read(fd, much, 1), EBADF);
    FAILS(ef_sync(fd), EBADF);
    EQUAL(GOOD(ef_close_status(fd)), 0);
    ef_init();
    int next = opened("file", O_RDWR);
    written(next, "y", 1);
    closed(next);
    holds("file", "y", 1);
}

CASE(ef_shutdown_can_be_repeated_through_many_starts)
{
    for (int i = 0; i < 20; i++) {
        ef_init();
        int fd = opened("file", O_WRONLY | O_CREAT | O_APPEND);
        written(fd, "x", 1);
        EQUAL(GOOD(ef_shutdown(NULL, 5000000)), 0);
        EQUAL(size_of("file"), i + 1);
    }
}

CASE(ef_shutdown_tells_that_bytes_were_lost)
{
    if (access("/dev/full", W_OK) != 0)
        skip("there is no /dev/full that this user may write");
    int fd = opened("/dev/full", O_WRONLY);
    written(fd, "x", 1);
    FAILS(ef_shutdown(NULL, 5000000), EIO);
    FAILS(ef_close_status(fd), ENOSPC);
}

CASE(ef_shutdown_ends_at_its_deadline)
{
    fifo_reader("pipe");
    int fd = opened("pipe", O_WRONLY);
    written(fd, much, sizeof much);
    FAILS(ef_shutdown(NULL, 200000), ETIMEDOUT);
}

static int result, error;

static void shuts_down(int fd, int oper, void *data)
{
    result = ef_shutdown(NULL, 1000000);
    error = errno;
    note(fd, oper, data);
}

CASE(ef_shutdown_inside_a_callback_is_edeadlk)
{
    ef_set_cb_func(shuts_down, NULL);
    int fd = opened("file", O_WRONLY | O_CREAT);
    until_heard(fd, FILE_OPER_OPEN, 1);
    CHECK(result == -1 && error == EDEADLK);
    closed(fd);
}

CASE(a_write_limit_of_an_instance_holds_for_open_files_too)
{
    fifo_reader("pipe");
    int fd = opened("pipe", O_WRONLY);
    written(fd, much, sizeof much);
    EQUAL(GOOD(ef_set_write_limit(NULL, 1 << 20)), 0);
    int refused = 0;
    for (int i = 0; i < 8 && !refused; i++)
        refused = GOOD(ef_write(fd, much, sizeof much)) == 0;
    CHECK(refused);
    EQUAL(GOOD(ef_set_write_limit(NULL, 1 << 30)), 0);
    written(fd, much, sizeof much);
}

CASE(files_of_ef_open_with_take_pages_only_and_tell_when_there_is_room)
{
    struct ef_instance_options limits;
    ef_options_init(&limits, sizeof limits);
    limits.memory_limit = 8 << 20;
    limits.file_memory_limit = 1 << 20;
    ef_instance *instance = ef_instance_new(&limits);
    int end = fifo_reader("pipe"), fd = open_in(instance, "pipe", O_WRONLY);
    struct ef_event events[8];
    size_t all = 0, got = 0;
    for (;;) {
        ssize_t n = GOOD(ef_write(fd, much, 60000));
        all += (size_t)n;
        if (n == 0)
            break;
        CHECK(all < 4 << 20);
    }
    while (ef_events(instance, events, sizeof *events, 8) > 0)
        ;
    int64_t limit = now() + PATIENCE;
    for (int told = 0; !told;) {
        ssize_t n = read(end, much, sizeof much);
        got += n > 0 ? (size_t)n : 0;
        int count = ef_wait(instance, events, sizeof *events, 8, 1);
        CHECK(count >= 0 && now() < limit);
        for (int i = 0; i < count; i++)
            told |= events[i].fd == fd && events[i].what & EF_WRITABLE;
    }
    CHECK(GOOD(ef_write(fd, much, 1000)) == 1000);
}

CASE(ef_shutdown_of_what_was_never_started_is_0_and_starts_nothing)
{
    EQUAL(GOOD(ef_shutdown(NULL, 1000000)), 0);
    EQUAL(GOOD(ef_init_with(NULL)), 0);
    EQUAL(GOOD(ef_shutdown(NULL, 1000000)), 0);
    FAILS(ef_shutdown(NULL, 1000000), ESHUTDOWN);
}

static int inside, most;

static void slow(int fd, int oper, void *data)
{
    int now_inside = __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    if (now_inside > most)
        most = now_inside;
    rest(20);
    note(fd, oper, data);
    __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
}

CASE(ef_shutdown_returns_after_the_last_callback)
{
    put("file", "x", 1);
    ef_set_cb_func(slow, NULL);
    for (int i = 0; i < 5; i++)
        GOOD(ef_open("file", O_RDONLY));
    GOOD(ef_shutdown(NULL, 20000000));
    int before = heard_in_all();
    CHECK(before >= 10);
    ef_init();
    int fd = opened("file", O_RDONLY);
    until_heard(fd, FILE_OPER_OPEN, 1);
    GOOD(ef_close_immediate(fd));
    GOOD(ef_shutdown(NULL, 20000000));
    EQUAL(most, 1);
}

CASE(files_of_ef_open_with_have_pages_only_unless_a_limit_is_set)
{
    struct ef_instance_options least;
    struct ef_open_options options;
    struct ef_progress progress = {.size = sizeof progress};
    ef_options_init(&least, sizeof least);
    least.file_memory_limit = 65536;
    GOOD(ef_init_with(&least));
    ef_options_init(&options, sizeof options);
    options.flags = O_WRONLY | O_CREAT;
    int pages = (int)GOOD(ef_open_with(NULL, "pages", &options)), plain = opened("plain", O_WRONLY | O_CREAT);
    UNTIL(ef_open_status(pages) == pages);
    for (int i = 0; i < 1000; i++) {
        GOOD(ef_write(pages, much, 20000));
        GOOD(ef_progress(pages, &progress));
        CHECK(progress.accepted - progress.written <= 1 << 20);
        EQUAL(GOOD(ef_write(plain, much, 20000)), 20000);
    }
}
