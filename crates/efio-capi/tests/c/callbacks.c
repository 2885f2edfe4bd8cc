/* callbacks.c: the function of ef_set_cb_func: when, how often, with what, and when no more. */
#include "case.h"
#include <efio.h>

CASE(one_open_and_one_close_each_in_order)
{
    ef_set_cb_func(note, NULL);
    put_pattern("file", 1, 100000);
    int fds[20];
    char bytes[1000];
    for (int i = 0; i < 20; i++)
        fds[i] = opened("file", i % 2 ? O_RDONLY : O_RDWR);
    for (int i = 0; i < 20; i++) {
        CHECK(read_some(fds[i], bytes, sizeof bytes) > 0);
        if (i % 2 == 0)
            written(fds[i], "x", 1);
    }
    for (int i = 0; i < 20; i++)
        GOOD(ef_close(fds[i]));
    for (int i = 0; i < 20; i++)
        until_heard(fds[i], FILE_OPER_CLOSE, 1);
    rest(30);
    for (int i = 0; i < 20; i++) {
        EQUAL(heard(fds[i], FILE_OPER_OPEN), 1);
        EQUAL(heard(fds[i], FILE_OPER_CLOSE), 1);
    }
    order_is_right();
}

CASE(a_failed_open_tells_open_once_and_no_close)
{
    ef_set_cb_func(note, NULL);
    int fd = (int)GOOD(ef_open("missing", O_RDONLY));
    until_heard(fd, FILE_OPER_OPEN, 1);
    FAILS(ef_open_status(fd), ENOENT);
    rest(30);
    EQUAL(heard(fd, FILE_OPER_OPEN), 1);
    EQUAL(heard_in_all(), 1);
}

CASE(reading_ahead_and_writing_are_never_told)
{
    ef_set_cb_func(note, NULL);
    put_pattern("file", 1, 20 << 20);
    forget_cache("file");
    int fd = opened("file", O_RDWR);
    char *bytes = malloc(20 << 20);
    EQUAL(read_all(fd, bytes, 20 << 20), 20 << 20);
    written(fd, bytes, 20 << 20);
    GOOD(ef_sync(fd));
    GOOD(ef_close(fd));
    until_heard(fd, FILE_OPER_CLOSE, 1);
    EQUAL(heard(fd, FILE_OPER_READAHEAD), 0);
    EQUAL(heard(fd, FILE_OPER_WRITE), 0);
    order_is_right();
}

static int inside, overlaps, calls;

static void alone(int fd, int oper, void *data)
{
    (void)fd, (void)oper, (void)data;
    if (__atomic_fetch_add(&inside, 1, __ATOMIC_SEQ_CST) != 0)
        __atomic_fetch_add(&overlaps, 1, __ATOMIC_SEQ_CST);
    sched_yield();
    __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_sub(&inside, 1, __ATOMIC_SEQ_CST);
}

static void many_closed(int rounds)
{
    put("file", "x", 1);
    for (int i = 0; i < rounds; i++) {
        int fds[20];
        for (int j = 0; j < 20; j++)
            fds[j] = (int)GOOD(ef_open("file", O_RDONLY));
        for (int j = 0; j < 20; j++)
            GOOD(ef_close(fds[j]));
        for (int j = 0; j < 20; j++)
            UNTIL(ef_close_status(fds[j]) == 0);
    }
}

CASE(callbacks_come_one_at_a_time)
{
    ef_set_cb_func(alone, NULL);
    many_closed(50);
    UNTIL(__atomic_load_n(&calls, __ATOMIC_SEQ_CST) >= 1000);
    EQUAL(overlaps, 0);
}

CASE(callbacks_come_one_at_a_time_on_a_pool_too)
{
    thread_pool_type pool = create_thread_pool(4);
    CHECK(pool);
    ef_set_thrpool(pool);
    ef_set_cb_func(alone, NULL);
    many_closed(50);
    UNTIL(__atomic_load_n(&calls, __ATOMIC_SEQ_CST) >= 1000);
    EQUAL(overlaps, 0);
}

struct pair {
    int calls, wrong;
};

static struct pair first, second;

static void as_first(int fd, int oper, void *data)
{
    (void)fd, (void)oper;
    __atomic_fetch_add(&first.calls, 1, __ATOMIC_SEQ_CST);
    if (data != &first)
        __atomic_fetch_add(&first.wrong, 1, __ATOMIC_SEQ_CST);
}

static void as_second(int fd, int oper, void *data)
{
    (void)fd, (void)oper;
    __atomic_fetch_add(&second.calls, 1, __ATOMIC_SEQ_CST);
    if (data != &second)
        __atomic_fetch_add(&second.wrong, 1, __ATOMIC_SEQ_CST);
}

static int enough;

static void *swaps(void *data)
{
    while (!__atomic_load_n(&enough, __ATOMIC_SEQ_CST)) {
        ef_set_cb_func(as_first, &first);
        ef_set_cb_func(as_second, &second);
    }
    return data;
}

CASE(function_and_data_change_in_one_step)
{
    pthread_t thread;
    ef_set_cb_func(as_first, &first);
    CHECK(pthread_create(&thread, NULL, swaps, NULL) == 0);
    for (int i = 0; i < 20 || ((!first.calls || !second.calls) && i < 2000); i++)
        many_closed(5);
    __atomic_store_n(&enough, 1, __ATOMIC_SEQ_CST);
    pthread_join(thread, NULL);
    CHECK(first.calls > 0 && second.calls > 0);
    EQUAL(first.wrong, 0);
    EQUAL(second.wrong, 0);
}

CASE(the_data_may_be_any_pointer)
{
    ef_set_cb_func(as_first, NULL);
    put("file", "x", 1);
    closed(opened("file", O_RDONLY));
    UNTIL(__atomic_load_n(&first.wrong, __ATOMIC_SEQ_CST) == 2);
}

static int began, ended;

static void slow(int fd, int oper, void *data)
{
    (void)fd, (void)oper, (void)data;
    __atomic_fetch_add(&began, 1, __ATOMIC_SEQ_CST);
    rest(50);
    __atomic_fetch_add(&ended, 1, __ATOMIC_SEQ_CST);
}

static void unset_while_one_runs(void)
{
    put("file", "x", 1);
    for (int i = 0; i < 5; i++) {
        int before = __atomic_load_n(&began, __ATOMIC_SEQ_CST);
        ef_set_cb_func(slow, NULL);
        int fds[5];
        for (int j = 0; j < 5; j++)
            fds[j] = opened("file", O_RDONLY);
        UNTIL(__atomic_load_n(&began, __ATOMIC_SEQ_CST) > before);
        ef_unset_cb_func();
        int all = __atomic_load_n(&ended, __ATOMIC_SEQ_CST);
        EQUAL(__atomic_load_n(&began, __ATOMIC_SEQ_CST), all);
        for (int j = 0; j < 5; j++)
            closed(fds[j]);
        rest(60);
        EQUAL(__atomic_load_n(&began, __ATOMIC_SEQ_CST), all);
    }
}

CASE(after_ef_unset_cb_func_none_runs_and_none_begins)
{
    unset_while_one_runs();
}

CASE(after_ef_unset_cb_func_none_runs_on_a_pool_either)
{
    ef_set_thrpool(create_thread_pool(2));
    unset_while_one_runs();
}

CASE(after_ef_unset_cb_func_the_data_may_be_freed)
{
    put("file", "x", 1);
    for (int i = 0; i < 200; i++) {
        struct pair *data = malloc(sizeof *data);
        ef_set_cb_func(as_first, data);
        int fd = (int)GOOD(ef_open("file", O_RDONLY));
        if (i % 2)
            UNTIL(ef_open_status(fd) == fd);
        ef_unset_cb_func();
        memset(data, 0xff, sizeof *data);
        free(data);
        GOOD(ef_close_immediate(fd));
    }
}

static void unsets(int fd, int oper, void *data)
{
    ef_unset_cb_func();
    note(fd, oper, data);
}

CASE(ef_unset_cb_func_from_inside_a_callback_does_not_wait_for_itself)
{
    ef_set_cb_func(unsets, NULL);
    put("file", "x", 1);
    int fd = opened("file", O_RDONLY);
    until_heard(fd, FILE_OPER_OPEN, 1);
    closed(fd);
    rest(30);
    EQUAL(heard_in_all(), 1);
}

static void hands_over(int fd, int oper, void *data)
{
    (void)fd, (void)oper, (void)data;
    __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);
    ef_set_cb_func(note, NULL);
}

CASE(another_function_is_set_from_inside_a_callback)
{
    ef_set_cb_func(hands_over, NULL);
    put("file", "x", 1);
    int fd = opened("file", O_RDONLY);
    UNTIL(__atomic_load_n(&calls, __ATOMIC_SEQ_CST) == 1);
    GOOD(ef_close(fd));
    until_heard(fd, FILE_OPER_CLOSE, 1);
    EQUAL(__atomic_load_n(&calls, __ATOMIC_SEQ_CST), 1);
}

CASE(a_null_function_is_none)
{
    ef_set_cb_func(note, NULL);
    ef_set_cb_func(NULL, &first);
    put("file", "x", 1);
    closed(opened("file", O_RDONLY));
    rest(30);
    EQUAL(heard_in_all(), 0);
}

CASE(what_was_done_while_there_was_none_is_not_told_later)
{
    put("file", "x", 1);
    int fd = opened("file", O_RDONLY);
    rest(30);
    ef_set_cb_func(note, NULL);
    rest(30);
    EQUAL(heard_in_all(), 0);
    closed(fd);
    until_heard(fd, FILE_OPER_CLOSE, 1);
    EQUAL(heard_in_all(), 1);
}

static int status[3] = {-2, -2, -2}, status_errno[3];

/* The questions that callers of old ask in their callbacks. */
static void asks(int fd, int oper, void *data)
{
    errno = UNTOUCHED;
    status[oper] = oper == FILE_OPER_OPEN   ? ef_open_status(fd)
                   : oper == FILE_OPER_READ ? (int)ef_file_ready_for_read(fd)
                                            : ef_close_status(fd);
    status_errno[oper] = errno;
    note(fd, oper, data);
}

CASE(a_status_call_in_the_callback_is_answered_by_what_it_tells_of)
{
    ef_set_cb_func(asks, NULL);
    put_pattern("file", 1, 4 << 20);
    char bytes[100];
    for (int i = 0; i < 30; i++) {
        forget_cache("file");
        int opens = heard_in_all(), fd = (int)GOOD(ef_open("file", O_RDONLY));
        UNTIL(heard_in_all() > opens);
        int reads = heard(fd, FILE_OPER_READ), closes = heard(fd, FILE_OPER_CLOSE);
        UNTIL(ef_open_status(fd) == fd);
        ssize_t n = ef_read(fd, bytes, sizeof bytes);
        if (n == -1) {
            EQUAL(errno, EAGAIN);
            until_heard(fd, FILE_OPER_READ, reads + 1);
            EQUAL(status[FILE_OPER_READ], 1);
        }
        GOOD(ef_close(fd));
        until_heard(fd, FILE_OPER_CLOSE, closes + 1);
        EQUAL(status[FILE_OPER_OPEN], fd);
        EQUAL(status[FILE_OPER_CLOSE], 0);
        EQUAL(status_errno[FILE_OPER_CLOSE], UNTOUCHED);
    }
    GOOD(ef_open("missing", O_RDONLY));
    UNTIL(status[FILE_OPER_OPEN] == -1);
    EQUAL(status_errno[FILE_OPER_OPEN], ENOENT);
}

/* A copy that is made by its callbacks alone. */
struct copy {
    int from, to;
    size_t all;
    int done;
};

static void copies(int fd, int oper, void *data)
{
    struct copy *copy = data;
    char bytes[30000];
    if (oper == FILE_OPER_CLOSE) {
        if (fd == copy->to) {
            CHECK(ef_close_status(fd) == 0);
            __atomic_store_n(&copy->done, 1, __ATOMIC_SEQ_CST);
        }
        return;
    }
    if (oper == FILE_OPER_OPEN && fd == copy->from) {
        CHECK(ef_open_status(fd) == fd);
        copy->to = ef_open("copy", O_WRONLY | O_CREAT, 0644);
        CHECK(copy->to >= 0);
        return;
    }
    if (oper == FILE_OPER_OPEN)
        CHECK(ef_open_status(fd) == fd);
    for (;;) {
        ssize_t n = ef_read(copy->from, bytes, sizeof bytes);
        if (n < 0) {
            CHECK(errno == EAGAIN);
            return;
        }
        if (n == 0)
            break;
        CHECK(ef_write(copy->to, bytes, (size_t)n) == n);
        copy->all += (size_t)n;
    }
    CHECK(ef_close(copy->from) == 0 && ef_close(copy->to) == 0);
}

static void copied_by_callbacks(void)
{
    char *wanted = made(1, 10 << 20);
    put("file", wanted, 10 << 20);
    forget_cache("file");
    static struct copy copy = {-1, -1, 0, 0};
    copy.from = 0; /* the first handle of a process: the callback may come before ef_open returns */
    ef_set_cb_func(copies, &copy);
    EQUAL(GOOD(ef_open("file", O_RDONLY)), 0);
    UNTIL(__atomic_load_n(&copy.done, __ATOMIC_SEQ_CST));
    EQUAL(copy.all, 10 << 20);
    holds("copy", wanted, 10 << 20);
    free(wanted);
}

CASE(a_callback_may_make_every_call)
{
    copied_by_callbacks();
}

CASE(a_callback_on_a_pool_may_make_every_call)
{
    ef_set_thrpool(create_thread_pool(1));
    copied_by_callbacks();
}

static void closes_at_once(int fd, int oper, void *data)
{
    if (oper == FILE_OPER_OPEN) {
        CHECK(ef_open_status(fd) == fd);
        CHECK(ef_write(fd, "hello", 5) == 5);
        CHECK(ef_close_immediate(fd) == 0);
        CHECK(ef_close_status(fd) == 0);
    }
    note(fd, oper, data);
}

CASE(ef_close_immediate_from_inside_a_callback_does_not_wait_for_itself)
{
    ef_set_cb_func(closes_at_once, NULL);
    int fd = (int)GOOD(ef_open("file", O_WRONLY | O_CREAT, 0644));
    until_heard(fd, FILE_OPER_CLOSE, 1);
    holds("file", "hello", 5);
    order_is_right();
}

static void reopens(int fd, int oper, void *data)
{
    if (oper == FILE_OPER_CLOSE) {
        CHECK(ef_close_status(fd) == 0);
        int next = ef_open("file", O_RDONLY);
        CHECK(next >= 0 && next != fd);
        *(int *)data = next;
    }
    note(fd, oper, NULL);
}

CASE(a_number_is_not_reused_before_its_last_callback_has_returned)
{
    static int next = -1;
    put("file", "x", 1);
    ef_set_cb_func(reopens, &next);
    for (int i = 0; i < 100; i++) {
        int fd = opened("file", O_RDONLY);
        int closes = heard(fd, FILE_OPER_CLOSE);
        next = -1;
        GOOD(ef_close(fd));
        until_heard(fd, FILE_OPER_CLOSE, closes + 1);
        CHECK(next >= 0);
        ef_unset_cb_func();
        UNTIL(ef_open_status(next) == next);
        GOOD(ef_close_immediate(next));
        ef_set_cb_func(reopens, &next);
    }
}
