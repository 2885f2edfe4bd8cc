/*
 * copy_epoll.c: copies a file in an epoll loop that never waits for a disk.
 *
 *     copy_epoll FROM TO
 *
 * The copy appears under its name when it is complete and on the disk, and not before; if anything fails nothing of it
 * is left. Whatever else the loop has to do goes on meanwhile.
 */
#include <efio.h>
#include <sys/epoll.h>
#include <stdio.h>

/* One copy: at most one buffer of bytes is on its way. */
struct copy {
    int from, to;         /* handles, or -1 when they are over */
    int opened;           /* how many of the two are open */
    int over;             /* all bytes are handed over: what is left are the closes */
    int failed;
    size_t filled, taken; /* bytes in the buffer, and how many of them the new file has taken */
    char buffer[65536];
};

/* Tells what went wrong, and begins to close what is still open. */
static void fails(struct copy *copy, const char *what)
{
    if (!copy->failed)
        fprintf(stderr, "%s: %s\n", what, ef_error_message());
    copy->failed = 1;
    /* EBUSY: it is being closed already. Whatever else is refused has no end to wait for. */
    if (copy->from >= 0 && ef_close(copy->from) != 0 && errno != EBUSY)
        copy->from = -1;
    if (copy->to >= 0 && ef_abort(copy->to) != 0 && errno != EBUSY)
        copy->to = -1;
}

static int open_file(struct copy *copy, const char *path, int flags, int atomic)
{
    struct ef_open_options options;
    ef_options_init(&options, sizeof options);
    options.flags = flags;
    options.atomic = atomic;
    options.durability = atomic ? EF_DURABILITY_CLOSE : EF_DURABILITY_NONE;
    options.data = copy;
    return ef_open_with(NULL, path, &options);
}

/* Moves bytes until a call would wait; an event follows then. */
static void go_on(struct copy *copy)
{
    for (;;) {
        if (copy->taken == copy->filled) {
            ssize_t n = ef_read(copy->from, copy->buffer, sizeof copy->buffer);
            if (n < 0 && errno == EAGAIN)
                return;
            if (n < 0) {
                fails(copy, "read");
                return;
            }
            if (n == 0) {
                copy->over = 1;
                if (ef_close(copy->from) != 0 || ef_close(copy->to) != 0)
                    fails(copy, "close");
                return;
            }
            copy->filled = (size_t)n;
            copy->taken = 0;
        }
        ssize_t n = ef_write(copy->to, copy->buffer + copy->taken, copy->filled - copy->taken);
        if (n == 0)
            return;
        if (n < 0) {
            fails(copy, "write");
            return;
        }
        copy->taken += (size_t)n;
    }
}

static void look_at(struct copy *copy, const struct ef_event *event)
{
    int *fd = event->fd == copy->from ? &copy->from : &copy->to;
    if (event->fd != *fd)
        return;
    if (event->what & EF_OPENED) {
        if (ef_open_status(*fd) == *fd) {
            copy->opened++;
        } else if (errno != EBADF) { /* EBADF: fails() has closed it meanwhile */
            *fd = -1;
            fails(copy, "open");
        }
    }
    if (event->what & EF_CLOSED) {
        int closed = ef_close_status(*fd);
        *fd = -1;
        if (closed != 0)
            fails(copy, "close");
    } else if (copy->opened == 2 && !copy->over && !copy->failed) {
        go_on(copy);
    }
}

/* Takes the news of the files. Returns 0 when the copy is over. */
static int take_events(struct copy *copy)
{
    struct ef_event events[32];
    int n;
    while ((n = ef_events(NULL, events, sizeof *events, 32)) > 0) {
        for (int i = 0; i < n; i++)
            look_at(events[i].data, &events[i]);
    }
    if (n < 0)
        fails(copy, "events");
    return n == 0 && (copy->from >= 0 || copy->to >= 0);
}

/* Runs until the copy is over; -1 if the loop fails. */
static int run(struct copy *copy, int notify)
{
    struct epoll_event wanted = {.events = EPOLLIN}, ready;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, notify, &wanted) != 0)
        return -1;
    while (copy->from >= 0 || copy->to >= 0) {
        if (epoll_wait(epoll, &ready, 1, -1) < 0 && errno != EINTR)
            return -1;
        if (!take_events(copy))
            break;
    }
    close(epoll);
    return 0;
}

int main(int argc, char **argv)
{
    static struct copy copy = {.from = -1, .to = -1};
    if (argc != 3) {
        fprintf(stderr, "usage: %s FROM TO\n", argv[0]);
        return 2;
    }
    int notify = ef_notify_fd(NULL); /* from here on events are kept for us */
    if (notify < 0) {
        fprintf(stderr, "efio: %s\n", ef_error_message());
        return 1;
    }
    copy.from = open_file(&copy, argv[1], O_RDONLY, 0);
    if (copy.from >= 0)
        copy.to = open_file(&copy, argv[2], O_WRONLY | O_CREAT, 1);
    if (copy.to < 0)
        fails(&copy, "open");
    if (run(&copy, notify) != 0) {
        perror("epoll");
        return 1;
    }
    if (ef_shutdown(NULL, 5000000) != 0 && !copy.failed)
        fails(&copy, "shutdown");
    return copy.failed;
}
