/* opening.c: ef_init, ef_open, ef_open_status. */
#include "case.h"
#include <efio.h>
#include <grp.h>
#include <sys/statfs.h>

CASE(a_path_that_is_null_is_einval)
{
    FAILS(ef_open(NULL, O_RDONLY), EINVAL);
}

CASE(an_empty_path_is_einval)
{
    FAILS(ef_open("", O_RDONLY), EINVAL);
}

CASE(o_append_and_nothing_else_is_einval)
{
    FAILS(ef_open("file", O_APPEND), EINVAL);
}

CASE(an_access_mode_that_is_none_is_einval)
{
    FAILS(ef_open("file", O_ACCMODE), EINVAL);
}

CASE(handles_are_numbers_from_0_on)
{
    put("file", "x", 1);
    EQUAL(GOOD(ef_open("file", O_RDONLY)), 0);
    EQUAL(GOOD(ef_open("file", O_RDONLY)), 1);
    EQUAL(GOOD(ef_open("file", O_RDONLY)), 2);
}

CASE(every_set_of_flags_opens)
{
    int sets[] = {
        O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_CLOEXEC, O_RDONLY | O_NOATIME, O_WRONLY | O_TRUNC, O_WRONLY | O_APPEND,
        O_RDWR | O_APPEND, O_WRONLY | O_CREAT, O_RDWR | O_TRUNC | O_CREAT, O_RDWR | O_CREAT, O_RDWR | O_APPEND | O_CREAT,
        O_TRUNC | O_APPEND | O_WRONLY | O_CREAT, O_WRONLY | O_SYNC, O_WRONLY | O_DSYNC, O_RDONLY | O_NOFOLLOW,
        O_RDONLY | O_NONBLOCK, O_RDONLY | O_NOCTTY, O_RDONLY | O_DIRECT, O_RDWR | O_DIRECT, O_RDONLY | O_CREAT,
        O_RDONLY | O_APPEND | O_CREAT,
    };
    put("file", "x", 1);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        int fd = opened("file", sets[i]);
        closed(fd);
    }
}

CASE(the_status_of_an_open_file_is_its_handle_however_often_it_is_asked)
{
    put("file", "x", 1);
    int fd = opened("file", O_RDONLY);
    for (int i = 0; i < 1000; i++)
        EQUAL(GOOD(ef_open_status(fd)), fd);
}

CASE(the_status_of_a_failed_open_is_the_errno_of_open)
{
    put("file", "x", 1);
    CHECK(mkdir("folder", 0755) == 0 && symlink("loop", "loop") == 0);
    char longest[5000];
    memset(longest, 'n', sizeof longest);
    longest[300] = 0;
    EQUAL(open_error("missing", O_RDONLY), ENOENT);
    EQUAL(open_error("missing/file", O_WRONLY | O_CREAT), ENOENT);
    EQUAL(open_error("file/file", O_RDONLY), ENOTDIR);
    EQUAL(open_error("folder", O_WRONLY), EISDIR);
    EQUAL(open_error("loop", O_RDONLY), ELOOP);
    EQUAL(open_error("file", O_WRONLY | O_CREAT | O_EXCL), EEXIST);
    EQUAL(open_error(longest, O_RDONLY), ENAMETOOLONG);
}

CASE(a_folder_is_refused_with_eisdir)
{
    CHECK(mkdir("folder", 0755) == 0);
    EQUAL(open_error("folder", O_RDONLY), EISDIR);
    EQUAL(open_error("folder", O_RDWR), EISDIR);
}

CASE(a_file_that_may_not_be_read_is_eacces)
{
    put("file", "x", 1);
    CHECK(chmod("file", 0) == 0);
    if (getuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
        skip("this user may not become another");
    EQUAL(open_error("file", O_RDONLY), EACCES);
}

CASE(a_failed_open_tells_the_same_again_until_its_number_is_reused)
{
    int fd = (int)GOOD(ef_open("missing", O_RDONLY));
    UNTIL(ef_open_status(fd) == -1 && errno != EAGAIN);
    for (int i = 0; i < 10; i++)
        FAILS(ef_open_status(fd), ENOENT);
}

CASE(a_failed_open_that_was_asked_about_frees_its_handle)
{
    for (int i = 0; i < 5000; i++) {
        int fd = (int)GOOD(ef_open("missing", O_RDONLY));
        if (fd > 200)
            fail_at(__FILE__, __LINE__, "handle %d after %d failed opens, each asked about", fd, i);
        while (ef_open_status(fd) == -1 && errno == EAGAIN)
            sched_yield();
        EQUAL(errno, ENOENT);
    }
}

CASE(a_failed_open_that_is_closed_unasked_says_ebadf_and_is_free)
{
    ef_set_cb_func(note, NULL);
    int fd = (int)GOOD(ef_open("missing", O_RDONLY));
    until_heard(fd, FILE_OPER_OPEN, 1);
    FAILS(ef_close(fd), EBADF);
    /* If it is free, numbers do not rise. */
    for (int i = 0; i < 2000; i++) {
        int next = (int)GOOD(ef_open("missing", O_RDONLY));
        while (ef_poll(next) == 0)
            sched_yield();
        CHECK(next < 200);
        FAILS(ef_close(next), EBADF);
    }
}

CASE(o_creat_takes_a_mode_less_the_umask)
{
    struct stat data;
    umask(027);
    closed(opened("one", O_WRONLY | O_CREAT));
    CHECK(stat("one", &data) == 0);
    EQUAL(data.st_mode & 07777, 0640);
    int fd = ef_open("two", O_RDWR | O_CREAT | O_EXCL, 0700);
    UNTIL(ef_open_status(fd) == fd);
    CHECK(stat("two", &data) == 0);
    EQUAL(data.st_mode & 07777, 0700);
    closed(fd);
}

CASE(o_trunc_empties_the_file)
{
    put_pattern("file", 1, 100000);
    int fd = opened("file", O_WRONLY | O_TRUNC);
    EQUAL(size_of("file"), 0);
    written(fd, "abc", 3);
    closed(fd);
    holds("file", "abc", 3);
}

CASE(o_trunc_empties_a_file_that_is_only_read)
{
    put_pattern("file", 1, 100000);
    int fd = opened("file", O_RDONLY | O_TRUNC);
    EQUAL(size_of("file"), 0);
    put("file", "abc", 3);
    char got[10];
    EQUAL(read_some(fd, got, sizeof got), 3);
    FAILS(ef_write(fd, got, 3), EBADF);
    closed(fd);
    EQUAL(open_error("missing", O_RDONLY | O_TRUNC), ENOENT);
}

CASE(the_path_is_copied_and_may_be_any_bytes)
{
    char path[] = "\xff\xfe name\n\x80";
    put("\xff\xfe name\n\x80", "hello", 5);
    int fd = (int)GOOD(ef_open(path, O_RDONLY));
    memset(path, 'x', sizeof path - 1);
    UNTIL(ef_open_status(fd) == fd);
    char bytes[16];
    EQUAL(read_all(fd, bytes, sizeof bytes), 5);
    CHECK(memcmp(bytes, "hello", 5) == 0);
}

CASE(o_cloexec_is_always_on)
{
    put_pattern("file", 1, 10);
    opened("file", O_RDWR);
    char here[4096], link[64], target[4096];
    CHECK(realpath("file", here));
    int found = 0;
    for (int i = 0; i < 1024; i++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", i);
        ssize_t n = readlink(link, target, sizeof target - 1);
        if (n < 0)
            continue;
        target[n] = 0;
        if (strcmp(target, here) == 0) {
            CHECK(fcntl(i, F_GETFD) & FD_CLOEXEC);
            found++;
        }
    }
    CHECK(found > 0);
}

CASE(an_open_that_waits_holds_up_no_other)
{
    char path[32];
    int waiting[100];
    put_pattern("file", 1, 1000);
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "pipe%d", i);
        CHECK(mkfifo(path, 0600) == 0);
        waiting[i] = (int)GOOD(ef_open(path, O_WRONLY));
    }
    int fd = opened("file", O_RDONLY);
    char bytes[1001];
    EQUAL(read_all(fd, bytes, sizeof bytes), 1000);
    closed(fd);
    for (int i = 0; i < 100; i++) {
        FAILS(ef_open_status(waiting[i]), EAGAIN);
        snprintf(path, sizeof path, "pipe%d", i);
        CHECK(open(path, O_RDONLY | O_NONBLOCK) >= 0);
    }
    for (int i = 0; i < 100; i++)
        UNTIL(ef_open_status(waiting[i]) == waiting[i]);
}

CASE(a_pipe_without_a_reader_is_enxio_with_o_nonblock)
{
    CHECK(mkfifo("pipe", 0600) == 0);
    EQUAL(open_error("pipe", O_WRONLY | O_NONBLOCK), ENXIO);
}

static void *init(void *data)
{
    ef_init();
    return data;
}

CASE(ef_init_may_be_called_again_and_by_many_threads)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, init, NULL) == 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    put("file", "x", 1);
    int fd = opened("file", O_RDONLY);
    ef_init();
    EQUAL(GOOD(ef_open_status(fd)), fd);
    closed(fd);
}

CASE(ef_init_is_not_needed)
{
    int fd = opened("file", O_WRONLY | O_CREAT);
    written(fd, "abc", 3);
    closed(fd);
    holds("file", "abc", 3);
}

CASE(o_dsync_sends_each_write_to_the_disk_at_once)
{
    struct ef_instance_options limits;
    ef_options_init(&limits, sizeof limits);
    limits.flush_interval = 3600 * 1000000ull;
    EQUAL(GOOD(ef_init_with(&limits)), 0);
    int flags[] = {O_DSYNC, O_SYNC};
    for (int i = 0; i < 2; i++) {
        int fd = opened("file", O_WRONLY | O_CREAT | O_TRUNC | flags[i]);
        written(fd, "abc", 3);
        UNTIL(size_of("file") == 3);
        closed(fd);
    }
}

CASE(o_tmpfile_makes_a_file_without_a_name)
{
    int probe = open(".", O_TMPFILE | O_RDWR, 0600);
    if (probe < 0)
        skip("this file system has no O_TMPFILE");
    close(probe);
    int fd = opened(".", O_TMPFILE | O_RDWR);
    written(fd, "abc", 3);
    closed(fd);
}

CASE(emfile_of_the_kernel_is_told_by_the_status_and_passes)
{
    put("file", "x", 1);
    int first = opened("file", O_RDONLY);
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    int taken[1024], n = 0;
    limit.rlim_cur = 256;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    while (n < 1024 && (taken[n] = dup(0)) >= 0)
        n++;
    EQUAL(errno, EMFILE);
    EQUAL(open_error("file", O_RDONLY), EMFILE);
    while (n > 0)
        close(taken[--n]);
    closed(opened("file", O_RDONLY));
    closed(first);
}

CASE(emfile_when_no_handle_is_left)
{
    struct ef_instance_options limits;
    ef_options_init(&limits, sizeof limits);
    limits.files_limit = 8;
    EQUAL(GOOD(ef_init_with(&limits)), 0);
    put("file", "x", 1);
    int fds[8];
    for (int i = 0; i < 8; i++)
        fds[i] = opened("file", O_RDONLY);
    FAILS(ef_open("file", O_RDONLY), EMFILE);
    closed(fds[3]);
    int fd = (int)GOOD(ef_open("file", O_RDONLY));
    UNTIL(ef_open_status(fd) == fd);
    FAILS(ef_open("file", O_RDONLY), EMFILE);
}

CASE(a_file_whose_name_goes_away_stays_open)
{
    put("file", "hello", 5);
    int fd = opened("file", O_RDWR);
    CHECK(unlink("file") == 0);
    char bytes[16];
    EQUAL(read_all(fd, bytes, 5), 5);
    written(fd, "more", 4);
    closed(fd);
}

CASE(a_relative_path_is_that_of_the_folder_at_the_time_of_the_call)
{
    CHECK(mkfifo("pipe", 0600) == 0 && mkdir("folder", 0700) == 0);
    int file = ef_open("file", O_WRONLY | O_CREAT, 0600), pipe = ef_open("pipe", O_WRONLY);
    CHECK(chdir("folder") == 0);
    rest(20);
    CHECK(open("../pipe", O_RDONLY | O_NONBLOCK) >= 0);
    UNTIL(ef_open_status(pipe) != -1 || errno != EAGAIN);
    EQUAL(GOOD(ef_open_status(pipe)), pipe);
    UNTIL(ef_open_status(file) == file);
    CHECK(size_of("../file") == 0 && size_of("file") == -1);
}
