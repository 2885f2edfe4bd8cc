/* processes.c: fork, exit, and what an end leaves. */
#include "case.h"
#include <efio.h>

static int status_of(pid_t child)
{
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    return status;
}

CASE(a_child_may_not_use_its_parents_handles)
{
    char bytes[10];
    int fd = opened("file", O_RDWR | O_CREAT);
    written(fd, "hello", 5);
    pid_t child = fork();
    if (child == 0) {
        FAILS(ef_write(fd, "x", 1), EBADF);
        FAILS(ef_read(fd, bytes, 1), EBADF);
        FAILS(ef_file_ready_for_read(fd), EBADF);
        FAILS(ef_open_status(fd), EBADF);
        FAILS(ef_poll(fd), EBADF);
        FAILS(ef_sync(fd), EBADF);
        FAILS(ef_close(fd), EBADF);
        FAILS(ef_close_status(fd), EBADF);
        FAILS(ef_close_immediate(fd), EBADF);
        exit(0);
    }
    EQUAL(status_of(child), 0);
    written(fd, " world", 6);
    closed(fd);
    holds("file", "hello world", 11);
}

CASE(a_child_that_exits_writes_nothing_of_its_parents)
{
    struct ef_instance_options options;
    ef_options_init(&options, sizeof options);
    options.flush_interval = 3600 * 1000000ull;
    EQUAL(GOOD(ef_init_with(&options)), 0);
    int fd = opened("file", O_WRONLY | O_CREAT | O_APPEND);
    written(fd, "hello", 5);
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (child == 0)
            exit(0);
        EQUAL(status_of(child), 0);
    }
    EQUAL(size_of("file"), 0);
    closed(fd);
    holds("file", "hello", 5);
}

CASE(a_child_opens_files_of_its_own)
{
    ef_set_cb_func(note, NULL);
    int fd = opened("parent", O_WRONLY | O_CREAT);
    written(fd, "parent", 6);
    pid_t child = fork();
    if (child == 0) {
        int told = heard_in_all();
        int own = opened("child", O_WRONLY | O_CREAT);
        written(own, "child", 5);
        closed(own);
        EQUAL(heard_in_all(), told); /* the callback has to be set again */
        ef_set_cb_func(note, NULL);
        ef_init();
        own = opened("child", O_WRONLY | O_APPEND);
        int closes = heard(own, FILE_OPER_CLOSE);
        written(own, " again", 6);
        GOOD(ef_close(own));
        until_heard(own, FILE_OPER_CLOSE, closes + 1);
        exit(0);
    }
    EQUAL(status_of(child), 0);
    holds("child", "child again", 11);
    written(fd, " too", 4);
    closed(fd);
    holds("parent", "parent too", 10);
}

CASE(a_child_of_a_child_opens_files_of_its_own)
{
    closed(opened("file", O_WRONLY | O_CREAT));
    pid_t child = fork();
    if (child == 0) {
        closed(opened("file", O_WRONLY | O_CREAT));
        pid_t grandchild = fork();
        if (grandchild == 0) {
            int fd = opened("file", O_WRONLY | O_CREAT);
            written(fd, "hello", 5);
            exit(0);
        }
        exit(status_of(grandchild) == 0 ? 0 : 1);
    }
    EQUAL(status_of(child), 0);
    holds("file", "hello", 5);
}

CASE(children_forked_while_files_are_busy_do_no_harm)
{
    char *wanted = made(1, 20 << 20);
    int fd = opened("file", O_WRONLY | O_CREAT);
    for (int i = 0; i < 20; i++) {
        written(fd, wanted + ((size_t)i << 20), 1 << 20);
        pid_t child = fork();
        if (child == 0) {
            FAILS(ef_write(fd, "x", 1), EBADF);
            exit(0);
        }
        EQUAL(status_of(child), 0);
    }
    closed(fd);
    holds("file", wanted, 20 << 20);
}

CASE(exit_writes_what_is_left)
{
    char *wanted = made(1, 30 << 20);
    pid_t child = fork();
    if (child == 0) {
        int fd = opened("file", O_WRONLY | O_CREAT);
        written(fd, wanted, 30 << 20);
        fd = opened("log", O_WRONLY | O_CREAT | O_APPEND);
        written(fd, "last words", 10);
        exit(0);
    }
    EQUAL(status_of(child), 0);
    holds("file", wanted, 30 << 20);
    holds("log", "last words", 10);
}

CASE(exit_finishes_a_close_that_has_begun)
{
    char *wanted = made(1, 10 << 20);
    pid_t child = fork();
    if (child == 0) {
        int fd = opened("file", O_WRONLY | O_CREAT);
        written(fd, wanted, 10 << 20);
        GOOD(ef_close(fd));
        exit(0);
    }
    EQUAL(status_of(child), 0);
    holds("file", wanted, 10 << 20);
}

CASE(exit_waits_no_longer_than_its_deadline)
{
    int end = fifo_reader("pipe");
    pid_t child = fork();
    if (child == 0) {
        static char much[1 << 20];
        struct ef_instance_options options;
        ef_options_init(&options, sizeof options);
        options.shutdown_deadline = 200000;
        GOOD(ef_init_with(&options));
        written(opened("pipe", O_WRONLY), much, sizeof much);
        exit(3);
    }
    int status = status_of(child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    close(end);
}

static void exits(int fd, int oper, void *data)
{
    (void)oper, (void)data;
    ef_write(fd, "hello", 5);
    exit(4);
}

CASE(exit_from_inside_a_callback_ends)
{
    pid_t child = fork();
    if (child == 0) {
        ef_set_cb_func(exits, NULL);
        ef_open("file", O_WRONLY | O_CREAT, 0644);
        for (;;)
            pause();
    }
    int status = status_of(child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 4);
    holds("file", "hello", 5);
}

static void after_main(void)
{
    int fd = ef_open("late", O_WRONLY | O_CREAT, 0644);
    if (fd >= 0)
        ef_write(fd, "x", 1);
    ef_poll(fd);
    ef_close(fd);
    ef_close_status(fd);
}

CASE(calls_in_exit_handlers_do_no_harm)
{
    pid_t child = fork();
    if (child == 0) {
        atexit(after_main);
        written(opened("file", O_WRONLY | O_CREAT), "hello", 5);
        atexit(after_main);
        exit(5);
    }
    int status = status_of(child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5);
    holds("file", "hello", 5);
}

static void *goes_on(void *data)
{
    int fd = *(int *)data;
    while (ef_write(fd, "0123456789", 10) != -2)
        ;
    return NULL;
}

CASE(exit_while_other_threads_write_ends_with_whole_calls)
{
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (child == 0) {
            static int fd;
            pthread_t thread;
            fd = opened("file", O_WRONLY | O_CREAT | O_TRUNC);
            CHECK(pthread_create(&thread, NULL, goes_on, &fd) == 0);
            rest(30);
            exit(0);
        }
        EQUAL(status_of(child), 0);
        size_t size;
        char *bytes = get("file", &size);
        CHECK(size > 0 && size % 10 == 0);
        for (size_t at = 0; at < size; at++)
            EQUAL(bytes[at], '0' + (char)(at % 10));
        free(bytes);
    }
}

CASE(a_killed_process_leaves_a_beginning_of_what_it_wrote)
{
    char *wanted = made(1, 4 << 20);
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (child == 0) {
            int fd = opened("file", O_WRONLY | O_CREAT | O_TRUNC);
            for (size_t at = 0; at < 4 << 20; at += 4096)
                written(fd, wanted + at, 4096);
            for (;;)
                pause();
        }
        rest(10 + 20 * i);
        kill(child, SIGKILL);
        status_of(child);
        int64_t size = size_of("file");
        CHECK(size <= 4 << 20);
        if (size > 0)
            holds("file", wanted, (size_t)size);
    }
}

CASE(a_killed_process_leaves_no_part_of_an_atomic_file)
{
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (child == 0) {
            struct ef_open_options options;
            ef_options_init(&options, sizeof options);
            options.flags = O_WRONLY | O_CREAT;
            options.atomic = 1;
            int fd = ef_open_with(NULL, "file", &options);
            UNTIL(ef_open_status(fd) == fd);
            written(fd, "hello", 5);
            GOOD(ef_sync(fd));
            for (;;)
                pause();
        }
        rest(20 + 20 * i);
        kill(child, SIGKILL);
        status_of(child);
        EQUAL(size_of("file"), -1);
    }
}

CASE(threads_of_the_library_take_no_signals)
{
    static char much[1 << 20];
    ef_set_cb_func(note, NULL);
    int fd = opened("file", O_WRONLY | O_CREAT);
    written(fd, much, sizeof much);
    sigset_t set;
    sigfillset(&set);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        kill(getpid(), SIGUSR1); /* would end the process, if a thread took it */
        kill(getpid(), SIGTERM);
        kill(getpid(), SIGINT);
        rest(1);
    }
    closed(fd);
    EQUAL(size_of("file"), sizeof much);
}

CASE(addresses_of_the_parent_name_nothing_of_its_child)
{
    thread_pool_type pool = create_thread_pool(1);
    ef_instance *instance = ef_instance_new(NULL);
    CHECK(pool && instance);
    pid_t child = fork();
    if (child == 0) {
        thread_pool_type own = create_thread_pool(1);
        ef_instance *mine = ef_instance_new(NULL);
        CHECK(own && own != pool && mine && mine != instance);
        FAILS(destroy_thread_pool(pool), EINVAL);
        FAILS(ef_instance_free(instance, 0), EINVAL);
        EQUAL(GOOD(destroy_thread_pool(own)), 0);
        EQUAL(GOOD(ef_instance_free(mine, 1000000)), 0);
        _exit(0);
    }
    EQUAL(status_of(child), 0);
    EQUAL(GOOD(destroy_thread_pool(pool)), 0);
    EQUAL(GOOD(ef_instance_free(instance, 1000000)), 0);
}

CASE(the_end_waits_for_all_instances_no_longer_than_for_one)
{
    pid_t child = fork();
    if (child == 0) {
        struct ef_instance_options options;
        struct ef_open_options open;
        ef_options_init(&options, sizeof options);
        options.shutdown_deadline = 1000000;
        ef_options_init(&open, sizeof open);
        open.flags = O_WRONLY;
        for (int i = 0; i < 30; i++) {
            char name[20];
            snprintf(name, sizeof name, "pipe%d", i);
            int end = fifo_reader(name);
            fcntl(end, F_SETPIPE_SZ, 4096);
            ef_instance *instance = ef_instance_new(&options);
            int fd = (int)GOOD(ef_open_with(instance, name, &open));
            UNTIL(ef_open_status(fd) == fd);
            static char much[100000];
            written(fd, much, sizeof much);
        }
        alarm(15); /* one after the other they take 30 */
        exit(3);
    }
    int status = status_of(child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}
