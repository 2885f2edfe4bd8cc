/* whole.c: efio.h: options of an open; files that appear whole; what went wrong, in words; the log function. */
#include "case.h"
#include <dirent.h>
#include <efio.h>

static struct ef_open_options atomic_options(void)
{
    struct ef_open_options options;
    ef_options_init(&options, sizeof options);
    options.flags = O_WRONLY | O_CREAT;
    options.atomic = 1;
    return options;
}

static int open_with(const char *path, const struct ef_open_options *options)
{
    int fd = (int)GOOD(ef_open_with(NULL, path, options));
    UNTIL(ef_open_status(fd) == fd);
    return fd;
}

static int entries(void)
{
    int count = 0;
    DIR *folder = opendir(".");
    for (struct dirent *entry; (entry = readdir(folder));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(folder);
    return count;
}

CASE(an_atomic_file_appears_whole_with_its_close)
{
    struct ef_open_options options = atomic_options();
    char *wanted = made(1, 3 << 20);
    options.write_limit = 8 << 20;
    int fd = open_with("file", &options);
    written(fd, wanted, 3 << 20);
    GOOD(ef_sync(fd));
    struct ef_progress progress = {.size = sizeof progress};
    UNTIL(ef_progress(fd, &progress) == 0 && progress.durable == 3 << 20);
    EQUAL(size_of("file"), -1);
    closed(fd);
    holds("file", wanted, 3 << 20);
    EQUAL(entries(), 1);
}

CASE(an_atomic_file_replaces_what_is_there_in_one_step)
{
    struct ef_open_options options = atomic_options();
    put("file", "old", 3);
    int fd = open_with("file", &options);
    written(fd, "new one", 7);
    holds("file", "old", 3);
    EQUAL(GOOD(ef_close_immediate(fd)), 0);
    holds("file", "new one", 7);
    EQUAL(entries(), 1);
}

CASE(ef_abort_leaves_nothing_of_an_atomic_file)
{
    struct ef_open_options options = atomic_options();
    put("other", "x", 1);
    int fd = open_with("file", &options);
    written(fd, "hello", 5);
    GOOD(ef_sync(fd));
    EQUAL(GOOD(ef_abort(fd)), 0);
    UNTIL(ef_close_status(fd) != -1 || errno != EAGAIN);
    EQUAL(size_of("file"), -1);
    EQUAL(entries(), 1);
}

CASE(an_atomic_file_with_o_excl_fails_where_something_is)
{
    struct ef_open_options options = atomic_options();
    options.flags |= O_EXCL;
    int fd = open_with("file", &options);
    written(fd, "hello", 5);
    put("file", "first", 5);
    FAILS(ef_close_immediate(fd), EEXIST);
    holds("file", "first", 5);
    EQUAL(entries(), 1);
}

CASE(an_atomic_file_that_nobody_closes_leaves_nothing_at_the_end)
{
    pid_t child = fork();
    if (child == 0) {
        struct ef_open_options options = atomic_options();
        written(open_with("file", &options), "hello", 5);
        exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    EQUAL(entries(), 0);
}

CASE(options_that_make_no_sense_are_einval)
{
    struct ef_open_options options = atomic_options();
    options.flags = O_RDONLY;
    FAILS(ef_open_with(NULL, "file", &options), EINVAL);
    options.flags = O_WRONLY | O_CREAT | O_APPEND;
    FAILS(ef_open_with(NULL, "file", &options), EINVAL);
    options = atomic_options();
    FAILS(ef_open_with(NULL, NULL, &options), EINVAL);
    FAILS(ef_open_with(NULL, "", &options), EINVAL);
    options.durability = 17;
    FAILS(ef_open_with(NULL, "file", &options), EINVAL);
    options = atomic_options();
    options.on_full = -1;
    FAILS(ef_open_with(NULL, "file", &options), EINVAL);
    options = atomic_options();
    options.order = 5;
    FAILS(ef_open_with(NULL, "file", &options), EINVAL);
    options = atomic_options();
    options.io_mode = 2;
    FAILS(ef_open_with(NULL, "file", &options), ENOTSUP);
    EQUAL(entries(), 0);
}

CASE(the_mode_of_the_options_is_less_the_umask)
{
    struct ef_open_options options;
    struct stat data;
    umask(022);
    ef_options_init(&options, sizeof options);
    options.flags = O_WRONLY | O_CREAT;
    closed(open_with("default", &options));
    CHECK(stat("default", &data) == 0);
    EQUAL(data.st_mode & 07777, 0644);
    options.mode = 0600;
    closed(open_with("own", &options));
    CHECK(stat("own", &data) == 0);
    EQUAL(data.st_mode & 07777, 0600);
}

CASE(the_order_of_each_thread_is_kept_where_that_was_asked)
{
    struct ef_open_options options;
    ef_options_init(&options, sizeof options);
    options.flags = O_WRONLY | O_CREAT;
    options.order = EF_ORDER_THREAD;
    int fd = open_with("file", &options);
    char *wanted = made(1, 100000);
    for (int i = 0; i < 1000; i++) {
        while (GOOD(ef_write(fd, wanted + 100 * i, 100)) == 0)
            sched_yield();
    }
    closed(fd);
    holds("file", wanted, 100000);
}

CASE(a_flush_interval_of_its_own)
{
    struct ef_instance_options limits;
    ef_options_init(&limits, sizeof limits);
    limits.flush_interval = 3600 * 1000000ull;
    EQUAL(GOOD(ef_init_with(&limits)), 0);
    struct ef_open_options options;
    ef_options_init(&options, sizeof options);
    options.flags = O_WRONLY | O_CREAT;
    options.flush_interval = 10000;
    int fd = open_with("file", &options);
    written(fd, "hello", 5);
    UNTIL(size_of("file") == 5);
    int late = opened("late", O_WRONLY | O_CREAT);
    written(late, "hello", 5);
    rest(100);
    EQUAL(size_of("late"), 0);
    closed(fd);
    closed(late);
}

/* ---- In words -------------------------------------------------------------------------------------------------- */

CASE(nothing_has_failed_is_enodata)
{
    struct ef_error error;
    memset(&error, 0, sizeof error);
    error.size = sizeof error;
    CHECK(strcmp(ef_error_message(), "") == 0);
    FAILS(ef_last_error(&error), ENODATA);
}

CASE(the_last_failure_is_told_in_words)
{
    struct ef_error error;
    memset(&error, 0, sizeof error);
    error.size = sizeof error;
    int fd = (int)GOOD(ef_open("no such file", O_RDONLY));
    UNTIL(ef_open_status(fd) == -1 && errno != EAGAIN);
    EQUAL(GOOD(ef_last_error(&error)), 0);
    EQUAL(error.error, ENOENT);
    EQUAL(error.fd, fd);
    CHECK(strcmp(error.operation, "open") == 0);
    CHECK(strstr(error.message, "no such file") && strcmp(error.message, ef_error_message()) == 0);
    FAILS(ef_read(77, &error, 1), EBADF);
    EQUAL(GOOD(ef_last_error(&error)), 0);
    EQUAL(error.error, EBADF);
    EQUAL(error.fd, 77);
}

CASE(eagain_is_no_failure)
{
    struct ef_error error;
    memset(&error, 0, sizeof error);
    error.size = sizeof error;
    CHECK(mkfifo("pipe", 0600) == 0);
    int fd = opened("pipe", O_RDONLY);
    char byte;
    FAILS(ef_read(99, &byte, 1), EBADF);
    FAILS(ef_read(fd, &byte, 1), EAGAIN);
    EQUAL(GOOD(ef_last_error(&error)), 0);
    EQUAL(error.error, EBADF);
    EQUAL(error.fd, 99);
}

static void *nothing_here(void *data)
{
    struct ef_error error;
    memset(&error, 0, sizeof error);
    error.size = sizeof error;
    FAILS(ef_last_error(&error), ENODATA);
    FAILS(ef_close(55), EBADF);
    EQUAL(GOOD(ef_last_error(&error)), 0);
    EQUAL(error.fd, 55);
    return data;
}

CASE(each_thread_has_a_last_failure_of_its_own)
{
    struct ef_error error;
    pthread_t thread;
    memset(&error, 0, sizeof error);
    error.size = sizeof error;
    FAILS(ef_close(44), EBADF);
    CHECK(pthread_create(&thread, NULL, nothing_here, NULL) == 0);
    pthread_join(thread, NULL);
    EQUAL(GOOD(ef_last_error(&error)), 0);
    EQUAL(error.fd, 44);
}

static int errors, lines;
static char first_error[1000];

static void logs(int level, const char *message, void *data)
{
    CHECK(data == first_error && message && !strchr(message, '\n'));
    __atomic_fetch_add(&lines, 1, __ATOMIC_SEQ_CST);
    if (level == EF_LOG_ERROR) {
        if (__atomic_fetch_add(&errors, 1, __ATOMIC_SEQ_CST) == 0)
            snprintf(first_error, sizeof first_error, "%s", message);
    }
}

CASE(the_log_function_hears_of_files_that_lose_bytes)
{
    if (access("/dev/full", W_OK) != 0)
        skip("there is no /dev/full that this user may write");
    ef_set_log_func(logs, first_error);
    int fd = opened("/dev/full", O_WRONLY);
    written(fd, "hello", 5);
    EQUAL(close_error(fd), ENOSPC);
    UNTIL(__atomic_load_n(&errors, __ATOMIC_SEQ_CST) > 0);
    ef_set_log_func(NULL, NULL);
    CHECK(strstr(first_error, "/dev/full"));
    int all = __atomic_load_n(&lines, __ATOMIC_SEQ_CST);
    fd = opened("/dev/full", O_WRONLY);
    written(fd, "hello", 5);
    EQUAL(close_error(fd), ENOSPC);
    rest(30);
    EQUAL(__atomic_load_n(&lines, __ATOMIC_SEQ_CST), all);
}

static void logs_and_calls(int level, const char *message, void *data)
{
    (void)level, (void)message, (void)data;
    ef_poll(0);
    ef_open_status(0);
    __atomic_fetch_add(&lines, 1, __ATOMIC_SEQ_CST);
}

CASE(a_log_function_may_make_calls_and_take_itself_away)
{
    ef_set_log_func(logs_and_calls, NULL);
    for (int i = 0; i < 50; i++) {
        int fd = opened("file", O_RDWR | O_CREAT);
        written(fd, "hello", 5);
        closed(fd);
    }
    CHECK(__atomic_load_n(&lines, __ATOMIC_SEQ_CST) >= 50);
    ef_set_log_func(NULL, NULL);
}
