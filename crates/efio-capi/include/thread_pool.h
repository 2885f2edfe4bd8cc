/*
 * thread_pool.h: threads that run functions, in the order in which they were handed over.
 *
 * Every function may be called by any thread at any time, also by a task of the pool.
 */
#ifndef THREAD_POOL_H_INCLUDED
#define THREAD_POOL_H_INCLUDED

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct thread_pool_s thread_pool_s_type;
typedef struct thread_pool_s *thread_pool_type;
typedef struct task_s task_s_type;

typedef void (*task_func_type)(void *);
typedef void *task_argument_type;
typedef void *(*task_func_with_return_t)(void *);
typedef void (*notify_task_completion_t)(void *, void *);

/*
 * Makes a pool of num_threads threads, at most 64: a larger number makes 64. All signals are blocked in them.
 *
 * Returns the pool, or NULL with errno: EINVAL for a number below 1, or what the system said when it refused a
 * thread.
 */
thread_pool_s_type *create_thread_pool(int num_threads);

/*
 * Runs every task that was handed over, then ends the threads and frees the pool. Called by a task of this same pool
 * it does not wait for the threads, which end by themselves when all tasks have run.
 *
 * Returns 0, or -1 with errno: EINVAL for NULL and for what is no pool of this process, or is one no more; EBUSY when
 * another thread is destroying it.
 */
int destroy_thread_pool(thread_pool_s_type *pool);

/*
 * Has func(arg) called by a thread of the pool. Tasks begin in the order in which they were handed over. There is no
 * bound on their number but memory.
 *
 * A NULL pool or function, a pool that is being destroyed, and a pool of the parent process are left alone: nothing
 * is called, and errno says why (EINVAL, EBUSY). errno is untouched otherwise.
 */
void enqueue_task(thread_pool_type pool, task_func_type func, task_argument_type arg);

/*
 * As enqueue_task, and then has done(func(arg), ref_data) called by the same thread. done may be NULL.
 */
void enqueue_task_function(thread_pool_type pool, task_func_with_return_t func, task_argument_type arg, void *ref_data,
                           notify_task_completion_t done);

/*
 * How many tasks the pool has finished since it was made; it stays at INT_MAX when it gets there.
 *
 * Returns -1 with errno EINVAL for NULL and for what is no pool.
 */
int thrpool_get_task_count(struct thread_pool_s *pool);

#ifdef __cplusplus
}
#endif

#endif
