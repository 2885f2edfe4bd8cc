/*
 * efio.h: what ef_io.h does not have: limits, instances, events for any loop, durability, files that appear whole.
 *
 * The calls of ef_io.h work on the handles that this header makes too, and these calls on those of ef_open. Numbers
 * of handles are given out in one row for all instances. Unless said otherwise a call returns 0 or more when it
 * succeeds and leaves errno alone, and -1 with errno when it fails; ef_error_message says more.
 *
 * Structs begin with their size, so that they can grow: set it by ef_options_init, or by hand. A field that is 0 has
 * its default. A struct that is larger than the library knows is taken if what it does not know is 0, else E2BIG.
 *
 * Times are in microseconds, sizes and offsets in bytes.
 */
#ifndef EFIO_H_INCLUDED
#define EFIO_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

#include <ef_io.h>

#define EFIO_VERSION_MAJOR 0
#define EFIO_VERSION_MINOR 1
#define EFIO_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that runs, such as "0.1.0". */
const char *ef_version(void);

/* Fills a struct of this header with zeros and writes its size into its first field. */
void ef_options_init(void *options, size_t size);

/* ---- Instances ------------------------------------------------------------------------------------------------- */

/*
 * A module of its own: its own memory, threads and limits, and one list of events. NULL stands for the one of
 * ef_io.h, which is started where it is not running. A pointer that is no instance, or one no more, is answered with
 * EINVAL.
 */
typedef struct ef_instance ef_instance;

/* The limits of an instance. 0: the default. */
struct ef_instance_options {
    size_t size;                /* sizeof(struct ef_instance_options) */
    uint64_t memory_limit;      /* bytes of pages; 256 MiB; at least 4 MiB */
    uint64_t file_memory_limit; /* bytes of pages of what one file has not written yet; 64 MiB; at least 64 KiB */
    uint64_t write_limit;       /* see ef_set_write_limit */
    uint64_t read_ahead;        /* bytes read ahead for one file; 4 MiB; 1 to 4 MiB */
    uint64_t flush_interval;    /* the longest that a byte stays in memory; 1,000,000 */
    uint64_t close_deadline;    /* how long a close goes on while no byte is taken; 2,000,000 */
    uint64_t shutdown_deadline; /* how long exit() waits for what is left; 5,000,000 */
    uint32_t files_limit;       /* open files; 1,048,576 */
    uint32_t threads_limit;     /* threads that do disk work, as many as are needed; 1 to 64; 64 */
};

/*
 * As ef_init, with limits. -1: EBUSY when the library runs already; EINVAL for limits out of their ranges; ENOMEM,
 * EAGAIN.
 */
int ef_init_with(const struct ef_instance_options *options);

/*
 * Makes an instance; options may be NULL. Its files have no callbacks: their news comes by ef_events. Returns NULL
 * with errno: as ef_init_with, and ENFILE when there are 254.
 */
ef_instance *ef_instance_new(const struct ef_instance_options *options);

/*
 * Ends an instance as ef_shutdown does and frees it. Its handles are free too. Other threads that are inside a call
 * with one of them leave first. -1: EINVAL for NULL; ETIMEDOUT and EIO as ef_shutdown, and the instance is gone all
 * the same; EDEADLK inside a log function.
 */
int ef_instance_free(ef_instance *instance, uint64_t deadline);

/*
 * Writes, closes and ends everything, within the deadline. Later opens say ESHUTDOWN, and other calls with a handle of
 * the instance EBADF; status calls go on telling what became of each file. After ef_shutdown(NULL, …) an ef_init starts
 * anew, at most 254 times in a process, and each time keeps some MiB until the process ends. Returns 0; -1: ETIMEDOUT
 * when something was left at the deadline; EIO when bytes of a file could not be written; EDEADLK inside a callback or a
 * log function; ESHUTDOWN when it was shut down before. What was never started has nothing to end: 0. Callbacks that
 * are due are made first; one that does not return is not waited for beyond the deadline.
 */
int ef_shutdown(ef_instance *instance, uint64_t deadline);

/*
 * The most bytes that one file may have taken and not written; beyond it ef_write returns 0. Pages hold the first of
 * them (file_memory_limit), memory from malloc the rest. Holds for files that are open already, too. By default 1 GiB
 * for files of ef_open. For those of ef_open_with it is 0 unless set here or in the options: pages only, so that
 * ef_write returns 0 when there are none free, and EF_WRITABLE follows; a call of more than 1 MiB may be taken in part.
 */
int ef_set_write_limit(ef_instance *instance, uint64_t bytes);

/* ---- Opening --------------------------------------------------------------------------------------------------- */

/* When bytes, and the name of the file, are made to survive a loss of power without being asked. */
#define EF_DURABILITY_NONE 0     /* by ef_sync only */
#define EF_DURABILITY_INTERVAL 1 /* after each flush of the interval */
#define EF_DURABILITY_CLOSE 2    /* before the close is done */
#define EF_DURABILITY_WRITE 3    /* with each write (O_DSYNC); writes that come meanwhile share the next */

/* What a full disk does to a file. */
#define EF_FULL_FAIL 0  /* writes and syncs return the error from then on; what was taken is lost and told */
#define EF_FULL_RETRY 1 /* the bytes are kept and tried again until there is room, or the close deadline */

/* In which order the writes of several threads come in the file. */
#define EF_ORDER_ONE 0    /* one order for all threads */
#define EF_ORDER_THREAD 1 /* one for each thread, which is faster; for O_WRONLY files, without offsets */

/* How bytes go to the disk. */
#define EF_MODE_BUFFERED 0 /* through the page cache */
#define EF_MODE_UNCACHED 1 /* the same, and what the file itself brought into it is dropped, at the latest by ef_close */

struct ef_open_options {
    size_t size;             /* sizeof(struct ef_open_options) */
    int flags;               /* as of open(2); see ef_open */
    unsigned mode;           /* of a new file, less the umask; 0: 0666 */
    int atomic;              /* 1: the file appears under its name, whole, with ef_close; see ef_abort */
    int durability;          /* EF_DURABILITY_… */
    int on_full;             /* EF_FULL_… */
    int order;               /* EF_ORDER_… */
    int io_mode;             /* EF_MODE_…; others: ENOTSUP */
    int retain;              /* 1: written bytes are kept until they are durable, for ef_recover */
    uint64_t flush_interval; /* that of the instance */
    uint64_t memory_limit;   /* bytes of pages; that of the instance; at least 4 KiB */
    uint64_t write_limit;    /* see ef_set_write_limit; that of the instance */
    void *data;              /* comes with every event of the file */
};

/*
 * Begins to open a file and returns its handle at once. EF_OPENED follows, and the callback, if the instance is that
 * of ef_io.h. With atomic the flags have O_WRONLY or O_RDWR, and O_CREAT: the file has no name until ef_close gives
 * it that of path, in one step, replacing what is there (with O_EXCL it fails where something is by then). If the
 * program ends before, nothing is left. -1: as ef_open; EINVAL also for options that make no sense together.
 */
int ef_open_with(ef_instance *instance, const char *path, const struct ef_open_options *options);

/* Drops what is not written, closes, and removes an atomic file that has no name yet. Else as ef_close. */
int ef_abort(int fd);

/* ---- Events ---------------------------------------------------------------------------------------------------- */

#define EF_OPENED 0x001u   /* the open is done, well or not */
#define EF_READABLE 0x002u /* a read that was refused is worth trying again */
#define EF_WRITABLE 0x004u /* a write that was refused is worth trying again */
#define EF_SYNCED 0x008u   /* a sync is done */
#define EF_DONE 0x010u     /* ef_truncate, ef_preallocate, ef_reopen, ef_recover or ef_seek from the end is done */
#define EF_STALLED 0x020u  /* the disk takes no bytes for now; they are kept and tried again */
#define EF_RESUMED 0x040u  /* it takes them again */
#define EF_ERROR 0x080u    /* something failed: see error */
#define EF_CLOSED 0x100u   /* the file is closed; the last event of this handle */

struct ef_event {
    int fd;
    unsigned what;      /* EF_… */
    int error;          /* errno with EF_ERROR, and with EF_CLOSED if bytes did not reach the file; else 0 */
    int reserved;
    void *data;         /* of ef_open_options */
    uint64_t lost;      /* with EF_CLOSED: bytes taken that never reached the file */
    uint64_t accepted;  /* bytes taken, written and made durable since the open, when the event was taken */
    uint64_t written;
    uint64_t durable;
};

/*
 * A descriptor that is readable while there are events: watch it for reading in epoll, libev, libuv, libevent, level-
 * or edge-triggered, and call ef_events when it is. Do not read from it and do not close it. It is always the same
 * one. For the instance of ef_io.h events are kept from the first call of this function on, beside the callbacks.
 */
int ef_notify_fd(ef_instance *instance);

/*
 * Takes up to max events and returns how many; never waits. What is left makes the descriptor readable again. Events
 * of one file that nobody has taken become one. size_of_event is sizeof(struct ef_event). Events act like edges: go
 * on until the call that was refused says EAGAIN (or ef_write 0) again. Surplus ones happen, lost ones do not.
 * EF_CLOSED is the last answer of a handle, and makes it free: who has that answer already, by ef_close_status,
 * ef_close_immediate or a failed ef_open_status, gets no event of it.
 */
int ef_events(ef_instance *instance, struct ef_event *events, size_t size_of_event, int max);

/* As ef_events, after waiting for the first one: timeout in milliseconds, -1: without end. For threads with no loop. */
int ef_wait(ef_instance *instance, struct ef_event *events, size_t size_of_event, int max, int timeout);

/* ---- One file -------------------------------------------------------------------------------------------------- */

struct ef_progress {
    size_t size;       /* sizeof(struct ef_progress) */
    uint64_t accepted; /* taken by ef_write since the open */
    uint64_t written;  /* in the file: every process can read them, and they survive the end of this one */
    uint64_t durable;  /* made safe by a sync: they survive a loss of power */
    uint64_t end;      /* the size of the file as last seen, bytes taken included */
};

/* How far the bytes of a file have got. None of the first three goes back. */
int ef_progress(int fd, struct ef_progress *progress);

/*
 * Moves the offset; whence as of lseek(2). Returns the new one. -1: EAGAIN where it has to wait for the size or for
 * writes, and EF_DONE and a READ callback follow; EINVAL for an offset below 0; ESPIPE for a pipe.
 */
int64_t ef_seek(int fd, int64_t offset, int whence);

/* Reads at an offset and moves none. Else as ef_read; what was taken by earlier writes is seen. ESPIPE for a pipe. */
ssize_t ef_read_at(int fd, void *buf, size_t nbyte, uint64_t offset);

/*
 * Writes at an offset and moves none, after everything taken before. Returns how many bytes were taken, at most 1
 * MiB; 0 when there is no room, and EF_WRITABLE follows. EINVAL for a file opened with O_APPEND; ESPIPE for a pipe.
 * Written at once; ef_progress and ef_sync tell of it as of other writes.
 */
ssize_t ef_write_at(int fd, const void *buf, size_t nbyte, uint64_t offset);

/* Cuts or extends the file, after what was taken before. EF_DONE follows. EAGAIN while another such request runs. */
int ef_truncate(int fd, uint64_t size);

/* Reserves room on the disk; with keep_size the file's size stays. EF_DONE follows. EAGAIN as ef_truncate. */
int ef_preallocate(int fd, uint64_t offset, uint64_t bytes, int keep_size);

/*
 * For logs that are rotated: what was taken before goes to the old file, what comes later to the one that path names,
 * which is made if it does not exist. For O_APPEND files. EF_DONE follows, with EF_ERROR if the old file goes on
 * instead.
 */
int ef_reopen(int fd, const char *path);

/*
 * Heals a file whose sync has failed, by writing once more what was retained. EF_DONE follows, with EF_RESUMED or
 * EF_ERROR. EINVAL for a file that has not failed.
 */
int ef_recover(int fd);

/* ---- What went wrong ------------------------------------------------------------------------------------------- */

struct ef_error {
    size_t size;           /* sizeof(struct ef_error) */
    int error;             /* errno */
    int fd;                /* the handle, or -1 */
    int64_t offset;        /* in the file, or -1 */
    const char *operation; /* "open", "write", …: what was refused by the disk, else the call without its ef_ */
    const char *message;   /* all of it in words, with the path where it is known */
};

/*
 * The last failure of a call of this thread, EAGAIN aside. The strings stay until the next failure of this thread.
 * Returns 0; -1 with ENODATA when nothing has failed.
 */
int ef_last_error(struct ef_error *error);

/* The message of that failure; "" when nothing has failed. */
const char *ef_error_message(void);

#define EF_LOG_ERROR 3   /* the levels of syslog(3) */
#define EF_LOG_WARNING 4
#define EF_LOG_INFO 6
#define EF_LOG_DEBUG 7

/* message: one line without its end, for the time of the call. */
typedef void (*ef_log_func)(int level, const char *message, void *data);

/*
 * Sets a function that hears of files that open (DEBUG), stall and resume (WARNING), fail or lose bytes (ERROR), of
 * all instances. NULL: none. It is called by whatever thread meets the news, several at a time; it may make calls of
 * this library that do not wait. After ef_set_log_func(NULL, NULL) has returned none runs, unless it was called from
 * inside one.
 */
void ef_set_log_func(ef_log_func function, void *data);

#ifdef __cplusplus
}
#endif

#endif
