/*
 * ef_io.h: files that behave like sockets, for event-driven programs.
 *
 * Every call but ef_close_immediate returns at once: from memory where it can, with EAGAIN where it cannot. What is
 * written is copied into memory and carried to the file by threads of the library. The function given to
 * ef_set_cb_func is called when something that was begun is done.
 *
 * Handles
 *     A file is named by a small number from 0 on, a handle. It is not a descriptor of the kernel. A handle is free
 *     for another file once its close (or its failed open) has been answered by ef_close_status, ef_close_immediate
 *     (or ef_open_status) and its last callback has returned; one that nobody asks about, after 4,096 later ones have
 *     ended, or when there are no other numbers. Until it is reused it gives the same answer again. Up to
 *     1,048,576 handles are in use at a time.
 *
 * errno
 *     Where a call fails it returns -1 and sets errno; where it succeeds it leaves errno as it was. EBADF: the number
 *     is no handle, its file is not open yet or no more, or was not opened for this. Every call with a handle may say
 *     so.
 *
 * Threads
 *     Any thread may make any call at any time. The bytes of writes of up to 1 MiB from several threads to one handle
 *     are never mixed. Two threads that read one handle at the same time are answered one after the other; the second
 *     gets EAGAIN and a READ callback.
 *
 * fork
 *     A child of fork() may not use its parent's handles: each call says EBADF, and nothing of the parent's is
 *     touched. The child may open files of its own: with its first ef_init or ef_open the library starts anew there,
 *     and gives out handles from 0 again, so that a number of the parent's may be a file of the child's from then on.
 *     The addresses of pools and instances are never those of the parent's. Callbacks and the pool of ef_set_thrpool have to be set again. A program that becomes a daemon should do so
 *     before it opens files.
 *
 * The end
 *     exit() and the return from main write and close what is left, for at most 5 seconds. _exit, abort and a deadly
 *     signal lose what is not written yet: at most what the last second brought, unless the disk is slower than you.
 */
#ifndef EF_IO_H_INCLUDED
#define EF_IO_H_INCLUDED

#include <errno.h>
#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <ev_include.h>
#include <thread_pool.h>

/* What a callback tells of. */
#define FILE_OPER_OPEN 0
#define FILE_OPER_READ 1
#define FILE_OPER_CLOSE 2
/* Never told: reading ahead and writing need no answer. */
#define FILE_OPER_READAHEAD 3
#define FILE_OPER_WRITE 4

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A function that is called when something is done.
 *
 * fd: the handle. completed_oper: FILE_OPER_OPEN when an open is done, well or not: ask ef_open_status.
 * FILE_OPER_READ when a read that was refused with EAGAIN is worth trying again: data, the end of the file or an
 * error is there. FILE_OPER_CLOSE when the file is closed: ask ef_close_status. cb_data: as it was given to
 * ef_set_cb_func.
 *
 * It is called by one thread of the library (or of the pool of ef_set_thrpool), one call at a time, without any lock,
 * so it may make every call of this library, and a status call from inside it is answered by what it tells of. For
 * each handle the order is OPEN, READ as often as needed, CLOSE; OPEN and CLOSE come exactly once, for
 * ef_close_immediate too. After each EAGAIN of ef_read or ef_file_ready_for_read at least one READ comes, unless the
 * file is closed before; it may come before the call that was refused has returned, and once too often. A callback
 * that waits holds the others up. It must return: no exception of C++ and no longjmp may leave it.
 */
typedef void (*ef_notification_f_type)(int fd, int completed_oper, void *cb_data);

/*
 * Starts the library in this process: a thread for callbacks and those that do the work. Calling it again, or from
 * several threads, does no harm, and calling it at all is not needed: the first ef_open does the same. If the system
 * refuses the threads or the memory, the next ef_open tries again and says why. ef_init_with of efio.h sets limits.
 */
void ef_init();

/*
 * Sets the function to be called, and the data that it is called with; both change in one step. NULL: none. What was
 * done before, while there was none, is not told later.
 */
void ef_set_cb_func(ef_notification_f_type cb_func, void *cb_data);

/*
 * From here on none is called. When it returns, none is running either, so that cb_data may be freed; only if it is
 * called from inside a callback does that one go on to its end. It waits for a callback that runs: hold no lock that
 * one needs.
 */
void ef_unset_cb_func();

/*
 * Sets a pool of threads (thread_pool.h) to do work of the library, before ef_init or after. NULL: none. The last
 * call holds.
 *
 * What runs on it are the callbacks, as tasks, one at a time. What waits for disks does not: it runs on threads of
 * the library's own, made as they are needed and at most 64, which keep a hung disk from holding up other files; on
 * threads that the program also uses for other things nobody could promise that. The pool stays the caller's. If it
 * is destroyed meanwhile, callbacks run on the library's thread again.
 */
void ef_set_thrpool(thread_pool_type thr_pool);

/*
 * Begins to open a file and returns its handle at once; FILE_OPER_OPEN is told when it is open, or could not be
 * opened.
 *
 * path: relative to the working directory at the time of the open. oflag: the flags of open(2); with O_CREAT (or
 * O_TMPFILE) a mode_t follows. O_CLOEXEC and O_NOCTTY are always on, O_DIRECT is ignored, O_SYNC and O_DSYNC make
 * each write go to the disk at once. O_CREAT and O_TRUNC take place when the file is opened, in the background.
 *
 * Regular files, block devices, and what has no place to read from (pipes, terminals, character devices). A pipe
 * opened for reading says EAGAIN to reads until somebody has opened it for writing; one opened for writing only is
 * open when somebody reads it, or fails with ENXIO if O_NONBLOCK is among the flags. An open that waits holds up no
 * other. A folder is refused with EISDIR.
 *
 * Returns the handle, or -1: EINVAL for a path that is NULL or empty, for oflag O_APPEND and nothing else, and for an
 * access mode that is none; EMFILE when no handle is left; ENOMEM and EAGAIN when the library cannot start; ESHUTDOWN
 * after ef_shutdown. Everything else is told by ef_open_status.
 */
int ef_open(const char *path, int oflag, ...);

/*
 * Returns fd when the file is open, however often it is asked; -1: EAGAIN while it is being opened; the errno of
 * open(2) if it could not be opened, whereby the handle is free; EBADF when it is closed, being closed, or was never
 * opened.
 */
int ef_open_status(int fd);

/*
 * Begins to close the file and returns at once. Everything written goes to the file first; FILE_OPER_CLOSE is told
 * when it is closed. A read or an open that is under way is no hindrance.
 *
 * Returns 0, or -1: EBUSY when it is being closed already; EBADF when it is no open handle. A handle whose open has
 * failed is free after this call, which says EBADF.
 */
int ef_close(int fd);

/*
 * Whether the close is done.
 *
 * Returns 0 when the file is closed and every byte that ef_write took is in it; -1: EAGAIN while it is being closed;
 * EINVAL when no close was begun; EBADF for a number that was never a handle. If bytes did not reach the file, the
 * errno of the first failure, whether another call has told it before or not. The answer makes the handle free, and
 * stays the same until it is reused.
 */
int ef_close_status(int fd);

/*
 * Closes the file and waits until all is written and the file is closed; FILE_OPER_CLOSE is told as well. The handle
 * is free afterwards. Also after ef_close, whose end it then waits for.
 *
 * Returns as ef_close_status; -1 ETIMEDOUT when it takes longer than close_deadline and shutdown_deadline together (7
 * seconds unless set), and then it goes on in the background.
 */
int ef_close_immediate(int fd);

/*
 * Copies up to nbyte bytes from the file's offset into buf, and moves the offset. Any nbyte; less may come at any
 * place.
 *
 * Returns how many; 0 at the end of the file, and more again when it has grown; -1: EAGAIN when nothing is in memory,
 * and a READ callback follows; EINVAL when buf is NULL or nbyte is 0 or more than SSIZE_MAX; or the errno of read(2),
 * as often as the disk says so. Never a byte that is not in the file. What this handle has written before is read.
 */
ssize_t ef_read(int fd, void *buf, size_t nbyte);

/*
 * What ef_read would say, without taking it.
 *
 * Returns 1: data; 0: the end of the file, which holds for a regular file until a read, which tells it too or gives what
 * the file has grown by; -1: EAGAIN when nothing is in memory, and then it is being read, and a READ callback follows;
 * any other errno as of ef_read.
 */
ssize_t ef_file_ready_for_read(int fd);

/*
 * Copies nbyte bytes into memory of the library, which writes them to the file: at the file's offset, which it shares
 * with ef_read; at its end if it was opened with O_APPEND, wherever that is by then. They go out when a page is full,
 * after one second (settable), with ef_sync, or with the close, in the order of the calls.
 *
 * Returns nbyte: all is taken, as long as what this file has taken and not written stays within the write limit (1
 * GiB unless set: efio.h); 0 when it would not, and nothing is taken; less than nbyte for a single call above the
 * whole limit. When there is room again ef_poll says so. -1: EINVAL when buf is NULL or nbyte is 0 or more than
 * SSIZE_MAX; ENOMEM; or the errno of an earlier write that failed, from then on, also when the bytes of that one had
 * been taken.
 */
ssize_t ef_write(int fd, const void *buf, size_t nbyte);

/*
 * What would not be refused now: 1: ef_write; 2: ef_read, which may be for data, the end of the file or an error; 3:
 * both; 0: neither, also while the file is being opened. -1: EBADF when it is no open handle.
 */
int ef_poll(int fd);

/*
 * Has what was written so far go to the disk at once (fdatasync), and returns without waiting for it. ef_progress of
 * efio.h tells when it is there; a failure is told by the next ef_write or ef_sync, and by the close.
 *
 * Returns 0, also when there is nothing to do; -1: the errno of an earlier write or sync that failed.
 */
int ef_sync(int fd);

#ifdef __cplusplus
}
#endif

#endif
