/* events.c: efio.h: the descriptor to poll, ef_events, ef_wait. */
#include "case.h"
#include <efio.h>
#include <sys/epoll.h>

static ef_instance *instance;

static int begun(const char *path, int flags, void *data)
{
    struct ef_open_options options;
    if (!instance)
        CHECK((instance = ef_instance_new(NULL)));
    ef_options_init(&options, sizeof options);
    options.flags = flags;
    options.data = data;
    return (int)GOOD(ef_open_with(instance, path, &options));
}

/* Waits for an event of the handle with one of these, and puts it into *found. */
static void until_event(int fd, unsigned what, struct ef_event *found)
{
    int64_t limit = now() + PATIENCE;
    for (;;) {
        int n = ef_wait(instance, found, sizeof *found, 1, 1000);
        CHECK(n >= 0 && n <= 1 && now() < limit);
        if (n == 1 && found->fd == fd && found->what & what)
            return;
    }
}

CASE(an_open_a_sync_and_a_close_are_told_with_the_data_of_the_file)
{
    struct ef_event event;
    int mark, fd = begun("file", O_WRONLY | O_CREAT, &mark);
    until_event(fd, EF_OPENED, &event);
    CHECK(event.data == &mark && event.error == 0);
    written(fd, "hello", 5);
    GOOD(ef_sync(fd));
    until_event(fd, EF_SYNCED, &event);
    CHECK(event.data == &mark && event.error == 0);
    EQUAL(event.accepted, 5);
    EQUAL(event.durable, 5);
    GOOD(ef_close(fd));
    until_event(fd, EF_CLOSED, &event);
    CHECK(event.data == &mark && event.error == 0 && event.lost == 0);
    EQUAL(event.written, 5);
    EQUAL(GOOD(ef_close_status(fd)), 0);
    EQUAL(GOOD(ef_wait(instance, &event, sizeof event, 1, 50)), 0);
}

CASE(a_failed_open_is_told_with_its_error)
{
    struct ef_event event;
    int fd = begun("missing", O_RDONLY, NULL);
    until_event(fd, EF_OPENED, &event);
    CHECK(event.what & EF_ERROR);
    EQUAL(event.error, ENOENT);
    FAILS(ef_open_status(fd), ENOENT);
}

static int readable(int notify, int timeout)
{
    struct pollfd one = {.fd = notify, .events = POLLIN};
    int n = poll(&one, 1, timeout);
    CHECK(n >= 0);
    return n == 1 && one.revents == POLLIN;
}

CASE(the_descriptor_is_readable_while_there_are_events)
{
    struct ef_event event;
    int fd = begun("file", O_WRONLY | O_CREAT, NULL);
    int notify = (int)GOOD(ef_notify_fd(instance));
    for (int i = 0; i < 100; i++) {
        CHECK(readable(notify, PATIENCE));
        CHECK(readable(notify, 0));
        until_event(fd, EF_OPENED | EF_SYNCED, &event);
        while (ef_events(instance, &event, sizeof event, 1) > 0)
            ;
        CHECK(!readable(notify, 0));
        written(fd, "x", 1);
        GOOD(ef_sync(fd));
        EQUAL(GOOD(ef_notify_fd(instance)), notify);
    }
}

CASE(epoll_hears_of_each_event_by_edges)
{
    struct ef_event event;
    int fd = begun("file", O_WRONLY | O_CREAT, NULL), notify = (int)GOOD(ef_notify_fd(instance));
    int epoll = epoll_create1(0);
    struct epoll_event wanted = {.events = EPOLLIN | EPOLLET, .data = {.fd = notify}}, got;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, notify, &wanted) == 0);
    for (int i = 0; i < 200; i++) {
        unsigned what = i == 0 ? EF_OPENED : EF_SYNCED;
        for (int seen = 0; !seen;) {
            EQUAL(epoll_wait(epoll, &got, 1, PATIENCE), 1);
            while (GOOD(ef_events(instance, &event, sizeof event, 1)) == 1)
                seen |= event.fd == fd && event.what & what;
        }
        written(fd, "x", 1);
        GOOD(ef_sync(fd));
    }
}

CASE(what_a_call_leaves_makes_the_descriptor_readable_again)
{
    struct ef_event event;
    int fds[30], seen = 0;
    for (int i = 0; i < 30; i++)
        fds[i] = begun("file", O_RDWR | O_CREAT, &fds[i]);
    for (int i = 0; i < 30; i++)
        UNTIL(ef_open_status(fds[i]) == fds[i]);
    int notify = (int)GOOD(ef_notify_fd(instance)), epoll = epoll_create1(0);
    struct epoll_event wanted = {.events = EPOLLIN | EPOLLET, .data = {.fd = notify}}, got;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, notify, &wanted) == 0);
    while (seen < 30) {
        EQUAL(epoll_wait(epoll, &got, 1, PATIENCE), 1);
        int n = (int)GOOD(ef_events(instance, &event, sizeof event, 1));
        CHECK(n <= 1);
        if (n == 1 && event.what & EF_OPENED) {
            CHECK(event.data == &fds[event.fd - fds[0]] || event.fd == *(int *)event.data);
            seen++;
        }
    }
}

CASE(no_events_are_0_and_nothing_waits)
{
    struct ef_event events[4];
    CHECK((instance = ef_instance_new(NULL)));
    for (int i = 0; i < 10; i++) {
        EQUAL(GOOD(ef_events(instance, events, sizeof *events, 4)), 0);
        EQUAL(GOOD(ef_wait(instance, events, sizeof *events, 4, 0)), 0);
    }
    EQUAL(GOOD(ef_wait(instance, events, sizeof *events, 4, 20)), 0);
    CHECK(!readable((int)GOOD(ef_notify_fd(instance)), 0));
}

static void *opens_later(void *data)
{
    rest(50);
    begun("file", O_WRONLY | O_CREAT, data);
    return NULL;
}

CASE(ef_wait_without_end_is_woken_by_an_event)
{
    struct ef_event event;
    pthread_t thread;
    CHECK((instance = ef_instance_new(NULL)));
    CHECK(pthread_create(&thread, NULL, opens_later, &event) == 0);
    EQUAL(GOOD(ef_wait(instance, &event, sizeof event, 1, -1)), 1);
    CHECK(event.what & EF_OPENED && event.data == &event);
    pthread_join(thread, NULL);
}

static void *waits(void *unused)
{
    struct ef_event event;
    int n = ef_wait(instance, &event, sizeof event, 1, -1);
    CHECK(n == 0 || (n == -1 && errno == EINVAL));
    return unused;
}

CASE(ef_wait_without_end_returns_when_the_instance_is_freed)
{
    pthread_t threads[4];
    CHECK((instance = ef_instance_new(NULL)));
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, waits, NULL) == 0);
    rest(50);
    EQUAL(GOOD(ef_instance_free(instance, 1000000)), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

CASE(a_write_limit_below_the_pages_holds_and_each_refusal_is_followed_by_writable)
{
    static const char record[5000];
    struct ef_event event;
    struct ef_progress progress = {.size = sizeof progress};
    int fd = begun("file", O_WRONLY | O_CREAT, NULL);
    until_event(fd, EF_OPENED, &event);
    written(fd, record, 1);
    GOOD(ef_set_write_limit(instance, 50000));
    for (int refused = 0; refused < 20;) {
        int64_t n = GOOD(ef_write(fd, record, sizeof record));
        GOOD(ef_progress(fd, &progress));
        CHECK(progress.accepted - progress.written <= 50000);
        if (n > 0)
            continue;
        refused++;
        until_event(fd, EF_WRITABLE, &event);
        CHECK(!(event.what & EF_SYNCED));
    }
    GOOD(ef_set_write_limit(instance, 0));
    written(fd, record, sizeof record);
}

CASE(wrong_arguments_of_ef_events_are_einval)
{
    struct ef_event event;
    CHECK((instance = ef_instance_new(NULL)));
    FAILS(ef_events(instance, NULL, sizeof event, 1), EINVAL);
    FAILS(ef_events(instance, &event, sizeof event, 0), EINVAL);
    FAILS(ef_events(instance, &event, sizeof event, -1), EINVAL);
    FAILS(ef_events(instance, &event, 0, 1), EINVAL);
    FAILS(ef_wait(instance, NULL, sizeof event, 1, 0), EINVAL);
}

CASE(a_pipe_that_was_refused_is_told_to_be_readable)
{
    struct ef_event event;
    char bytes[10];
    CHECK(mkfifo("pipe", 0600) == 0);
    int fd = begun("pipe", O_RDONLY, NULL);
    UNTIL(ef_open_status(fd) == fd);
    FAILS(ef_read(fd, bytes, 10), EAGAIN);
    int end = open("pipe", O_WRONLY);
    for (int i = 0; i < 50; i++) {
        CHECK(write(end, "x", 1) == 1);
        ssize_t n;
        while ((n = ef_read(fd, bytes, 10)) == -1) {
            EQUAL(errno, EAGAIN);
            until_event(fd, EF_READABLE, &event);
        }
        EQUAL(n, 1);
        FAILS(ef_read(fd, bytes, 10), EAGAIN);
    }
}

CASE(a_cold_file_is_read_by_events_alone)
{
    struct ef_event event;
    char *wanted = made(1, 10 << 20), *got = malloc((10 << 20) + 65536);
    put("file", wanted, 10 << 20);
    forget_cache("file");
    int fd = begun("file", O_RDONLY, NULL);
    until_event(fd, EF_OPENED, &event);
    size_t all = 0;
    for (;;) {
        ssize_t n = ef_read(fd, got + all, 65536);
        if (n == 0)
            break;
        if (n > 0) {
            all += (size_t)n;
        } else {
            EQUAL(errno, EAGAIN);
            until_event(fd, EF_READABLE, &event);
        }
    }
    EQUAL(all, 10 << 20);
    CHECK(memcmp(got, wanted, all) == 0);
}

CASE(events_of_the_instance_of_ef_io_are_kept_beside_its_callbacks)
{
    struct ef_event event;
    ef_set_cb_func(note, NULL);
    int notify = (int)GOOD(ef_notify_fd(NULL));
    int fd = (int)GOOD(ef_open("file", O_WRONLY | O_CREAT, 0644));
    CHECK(readable(notify, PATIENCE));
    until_event(fd, EF_OPENED, &event);
    until_heard(fd, FILE_OPER_OPEN, 1);
    GOOD(ef_close(fd));
    until_event(fd, EF_CLOSED, &event);
    until_heard(fd, FILE_OPER_CLOSE, 1);
    EQUAL(GOOD(ef_close_status(fd)), 0);
    order_is_right();
}

CASE(the_closed_event_is_the_last)
{
    struct ef_event event;
    put_pattern("file", 1, 1 << 20);
    char bytes[100];
    for (int i = 0; i < 50; i++) {
        forget_cache("file");
        int fd = begun("file", O_RDWR, NULL);
        UNTIL(ef_open_status(fd) == fd);
        ssize_t n = ef_read(fd, bytes, sizeof bytes);
        CHECK(n > 0 || errno == EAGAIN);
        written(fd, bytes, sizeof bytes);
        GOOD(ef_sync(fd));
        GOOD(ef_close(fd));
        until_event(fd, EF_CLOSED, &event);
        EQUAL(GOOD(ef_wait(instance, &event, sizeof event, 1, 2)), 0);
        EQUAL(GOOD(ef_close_status(fd)), 0);
    }
}

CASE(an_event_is_taken_once)
{
    struct ef_event events[8];
    int opens = 0, closes = 0;
    for (int i = 0; i < 200; i++) {
        int fd = begun("file", O_RDWR | O_CREAT, NULL);
        UNTIL(ef_open_status(fd) == fd);
        GOOD(ef_close(fd));
        for (int over = 0; !over;) {
            int n = ef_wait(instance, events, sizeof *events, 8, PATIENCE);
            CHECK(n > 0);
            for (int j = 0; j < n; j++) {
                EQUAL(events[j].fd, fd);
                opens += (events[j].what & EF_OPENED) != 0;
                over |= (events[j].what & EF_CLOSED) != 0;
            }
        }
        closes++;
        EQUAL(GOOD(ef_close_status(fd)), 0);
    }
    CHECK(opens <= 200 && closes == 200);
    EQUAL(GOOD(ef_wait(instance, events, sizeof *events, 8, 20)), 0);
}

static void ask(int level, const char *line, void *data)
{
    struct ef_event event;
    if (level == 3 && line)
        *(int *)data = ef_events(instance, &event, sizeof event, 1);
}

static void leave(int level, const char *line, void *data)
{
    (void)data;
    if (level == 3 && line)
        exit(7);
}

CASE(the_log_function_may_ask_for_events)
{
    struct ef_event event;
    int asked = -1;
    ef_set_log_func(ask, &asked);
    begun("missing", O_RDONLY, NULL);
    UNTIL(ef_events(instance, &event, sizeof event, 1) == 1 || asked == 1);
    ef_set_log_func(NULL, NULL);
}

CASE(the_log_function_may_end_the_process)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(PATIENCE / 1000);
        ef_set_log_func(leave, NULL);
        int fd = ef_open("missing", O_RDONLY);
        for (;;)
            ef_open_status(fd);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    EQUAL(WEXITSTATUS(status), 7);
}
