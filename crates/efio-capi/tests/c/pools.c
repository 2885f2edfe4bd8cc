/* pools.c: thread_pool.h, and ef_set_thrpool. */
#include "case.h"

static int count;

static void counts(void *data)
{
    (void)data;
    __atomic_fetch_add(&count, 1, __ATOMIC_SEQ_CST);
}

CASE(a_pool_of_no_threads_is_einval)
{
    int numbers[] = {0, -1, -1000000};
    for (int i = 0; i < 3; i++) {
        errno = UNTOUCHED;
        CHECK(create_thread_pool(numbers[i]) == NULL);
        EQUAL(errno, EINVAL);
    }
}

CASE(a_pool_runs_all_its_tasks_before_it_is_destroyed)
{
    int numbers[] = {1, 2, 64, 1000};
    for (int i = 0; i < 4; i++) {
        errno = UNTOUCHED;
        thread_pool_type pool = create_thread_pool(numbers[i]);
        CHECK(pool && errno == UNTOUCHED);
        count = 0;
        for (int j = 0; j < 20000; j++)
            enqueue_task(pool, counts, NULL);
        EQUAL(errno, UNTOUCHED);
        EQUAL(GOOD(destroy_thread_pool(pool)), 0);
        EQUAL(count, 20000);
    }
}

static int next = 0;

static void in_order(void *data)
{
    if ((int)(intptr_t)data == next)
        next++;
}

CASE(tasks_begin_in_order)
{
    thread_pool_type pool = create_thread_pool(1);
    for (int i = 0; i < 10000; i++)
        enqueue_task(pool, in_order, (void *)(intptr_t)i);
    EQUAL(GOOD(destroy_thread_pool(pool)), 0);
    EQUAL(next, 10000);
}

static pthread_t worker;

static void *answers(void *data)
{
    worker = pthread_self();
    return (char *)data + 1;
}

static void takes(void *result, void *reference)
{
    CHECK(pthread_equal(worker, pthread_self()));
    *(void **)reference = result;
    counts(NULL);
}

CASE(the_result_of_a_function_goes_to_its_notice_in_the_same_thread)
{
    thread_pool_type pool = create_thread_pool(1);
    char bytes[2];
    void *result = NULL;
    enqueue_task_function(pool, answers, bytes, &result, takes);
    UNTIL(__atomic_load_n(&count, __ATOMIC_SEQ_CST) == 1);
    CHECK(result == bytes + 1);
    enqueue_task_function(pool, answers, bytes, NULL, NULL);
    EQUAL(GOOD(destroy_thread_pool(pool)), 0);
}

CASE(the_number_of_finished_tasks_is_told)
{
    thread_pool_type pool = create_thread_pool(3);
    EQUAL(GOOD(thrpool_get_task_count(pool)), 0);
    for (int i = 0; i < 100; i++)
        enqueue_task(pool, counts, NULL);
    UNTIL(thrpool_get_task_count(pool) == 100);
    EQUAL(GOOD(destroy_thread_pool(pool)), 0);
    FAILS(thrpool_get_task_count(NULL), EINVAL);
    FAILS(thrpool_get_task_count(pool), EINVAL);
}

CASE(what_is_no_pool_is_einval)
{
    static char nothing[4096];
    FAILS(destroy_thread_pool(NULL), EINVAL);
    FAILS(destroy_thread_pool((thread_pool_type)nothing), EINVAL);
    FAILS(destroy_thread_pool((thread_pool_type)8), EINVAL);
    FAILS(thrpool_get_task_count((thread_pool_type)nothing), EINVAL);
    thread_pool_type pool = create_thread_pool(1);
    EQUAL(GOOD(destroy_thread_pool(pool)), 0);
    FAILS(destroy_thread_pool(pool), EINVAL);
}

CASE(a_task_for_no_pool_or_of_no_function_is_left_alone)
{
    thread_pool_type pool = create_thread_pool(1);
    errno = UNTOUCHED;
    enqueue_task(NULL, counts, NULL);
    EQUAL(errno, EINVAL);
    errno = UNTOUCHED;
    enqueue_task(pool, NULL, NULL);
    EQUAL(errno, EINVAL);
    errno = UNTOUCHED;
    enqueue_task_function(pool, NULL, NULL, NULL, NULL);
    EQUAL(errno, EINVAL);
    EQUAL(GOOD(destroy_thread_pool(pool)), 0);
    errno = UNTOUCHED;
    enqueue_task(pool, counts, NULL);
    EQUAL(errno, EINVAL);
    EQUAL(count, 0);
}

static void destroys(void *pool)
{
    CHECK(destroy_thread_pool(pool) == 0);
    counts(NULL);
}

CASE(a_task_may_destroy_its_own_pool)
{
    for (int i = 1; i <= 20; i++) {
        thread_pool_type pool = create_thread_pool(1 + i % 3);
        enqueue_task(pool, destroys, pool);
        UNTIL(__atomic_load_n(&count, __ATOMIC_SEQ_CST) == i);
    }
}

static void more(void *pool)
{
    if (__atomic_fetch_add(&count, 1, __ATOMIC_SEQ_CST) < 1000)
        enqueue_task(pool, more, pool);
}

CASE(a_task_may_hand_over_tasks)
{
    thread_pool_type pool = create_thread_pool(2);
    enqueue_task(pool, more, pool);
    UNTIL(__atomic_load_n(&count, __ATOMIC_SEQ_CST) == 1001);
    EQUAL(GOOD(destroy_thread_pool(pool)), 0);
}

static void *hands_over(void *pool)
{
    for (int i = 0; i < 20000; i++)
        enqueue_task(pool, counts, NULL);
    return NULL;
}

CASE(many_threads_hand_over_to_many)
{
    thread_pool_type pool = create_thread_pool(4);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, hands_over, pool) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    EQUAL(GOOD(destroy_thread_pool(pool)), 0);
    EQUAL(count, 80000);
}

static int blocked;

static void looks_at_signals(void *data)
{
    (void)data;
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    blocked = sigismember(&set, SIGTERM) && sigismember(&set, SIGUSR1) && sigismember(&set, SIGINT);
    counts(NULL);
}

CASE(signals_are_blocked_in_the_threads_of_a_pool)
{
    thread_pool_type pool = create_thread_pool(1);
    enqueue_task(pool, looks_at_signals, NULL);
    EQUAL(GOOD(destroy_thread_pool(pool)), 0);
    CHECK(count == 1 && blocked);
}

/* ---- Callbacks on a pool --------------------------------------------------------------------------------------- */

static pthread_t of_pool, of_callback;

static void is_of_pool(void *data)
{
    (void)data;
    of_pool = pthread_self();
    counts(NULL);
}

static void is_of_callback(int fd, int oper, void *data)
{
    of_callback = pthread_self();
    note(fd, oper, data);
}

static thread_pool_type known_pool(void)
{
    count = 0;
    thread_pool_type pool = create_thread_pool(1);
    enqueue_task(pool, is_of_pool, NULL);
    UNTIL(__atomic_load_n(&count, __ATOMIC_SEQ_CST) == 1);
    return pool;
}

static int called_on_pool(void)
{
    put("file", "x", 1);
    int fd = opened("file", O_RDONLY);
    int closes = heard(fd, FILE_OPER_CLOSE);
    GOOD(ef_close_immediate(fd));
    until_heard(fd, FILE_OPER_CLOSE, closes + 1);
    return pthread_equal(of_pool, of_callback);
}

CASE(callbacks_run_on_the_pool_that_was_set_before_ef_init)
{
    ef_set_thrpool(known_pool());
    ef_init();
    ef_set_cb_func(is_of_callback, NULL);
    CHECK(called_on_pool());
}

CASE(callbacks_run_on_the_pool_that_was_set_after_ef_init_until_it_is_taken_away)
{
    ef_init();
    ef_set_cb_func(is_of_callback, NULL);
    thread_pool_type pool = known_pool();
    CHECK(!called_on_pool());
    ef_set_thrpool(pool);
    CHECK(called_on_pool());
    ef_set_thrpool(NULL);
    CHECK(!called_on_pool());
    EQUAL(GOOD(destroy_thread_pool(pool)), 0);
}

CASE(of_several_pools_the_last_holds)
{
    ef_set_cb_func(is_of_callback, NULL);
    thread_pool_type one = known_pool();
    pthread_t of_one = of_pool;
    thread_pool_type two = known_pool();
    ef_set_thrpool(one);
    ef_set_thrpool(two);
    CHECK(called_on_pool());
    ef_set_thrpool(one);
    CHECK(!called_on_pool() && pthread_equal(of_callback, of_one));
}

CASE(callbacks_go_on_when_their_pool_is_destroyed)
{
    ef_set_cb_func(is_of_callback, NULL);
    for (int i = 0; i < 20; i++) {
        thread_pool_type pool = known_pool();
        ef_set_thrpool(pool);
        put("file", "x", 1);
        int fd = opened("file", O_RDONLY);
        int closes = heard(fd, FILE_OPER_CLOSE);
        GOOD(ef_close(fd));
        EQUAL(GOOD(destroy_thread_pool(pool)), 0);
        until_heard(fd, FILE_OPER_CLOSE, closes + 1);
        CHECK(!called_on_pool());
    }
}

CASE(a_pool_that_is_none_is_left_alone)
{
    ef_set_thrpool((thread_pool_type)8);
    ef_set_cb_func(note, NULL);
    put("file", "x", 1);
    int fd = opened("file", O_RDONLY);
    until_heard(fd, FILE_OPER_OPEN, 1);
}
