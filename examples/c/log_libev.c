/*
 * log_libev.c: appends what comes in at its standard input to a file, in a libev loop that never waits for the disk.
 *
 *     server | log_libev FILE
 *
 * Lines are in the file a second later at most, and on the disk. A disk that is full or slow makes the pipe wait, and
 * loses nothing meanwhile. SIGHUP after a rename begins a new file under the name; the end of the input, SIGINT and
 * SIGTERM write what is left and end. What was lost in the end is told, with exit code 1.
 */
#include <efio.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

static const char *path;
static int fd = -1;             /* the log */
static int is_open, closing, failed;
static int reads;               /* whether the loop watches the input */
static size_t filled, taken;    /* bytes in the buffer, and how many of them the log has taken */
static char buffer[65536];

/* The parts of the loop: begin and stop watching the input, and end. */
static void watch_input(int on);
static void end_loop(void);

static void fails(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", path, what, ef_error_message());
    failed = 1;
}

/* The end of the input, or a signal: EF_CLOSED follows. */
static void finish(void)
{
    if (closing)
        return;
    closing = 1;
    watch_input(0);
    if (ef_close(fd) != 0) {
        fails("close");
        end_loop();
    }
}

/* Hands over what is in the buffer. Returns 0 where the log has no room: EF_WRITABLE follows. */
static int hand_over(void)
{
    while (taken < filled) {
        ssize_t n = ef_write(fd, buffer + taken, filled - taken);
        if (n == 0)
            return 0;
        if (n < 0) {
            fails("write");
            finish();
            return 0;
        }
        taken += (size_t)n;
    }
    return 1;
}

/* Reads the input until it has nothing more or the log has no room. */
static void take_input(void)
{
    while (!closing) {
        if (!hand_over()) {
            if (!closing)
                watch_input(0);
            return;
        }
        ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            watch_input(1);
            return;
        }
        if (n < 0) {
            perror("standard input");
            failed = 1;
        }
        if (n <= 0) {
            finish();
            return;
        }
        filled = (size_t)n;
        taken = 0;
    }
}

static void take_signal(int number)
{
    if (number != SIGHUP)
        finish();
    else if (is_open && !closing && ef_reopen(fd, path) != 0)
        fails("reopen");
}

static void take_events(void)
{
    struct ef_event events[8];
    int n;
    while ((n = ef_events(NULL, events, sizeof *events, 8)) > 0) {
        for (int i = 0; i < n; i++) {
            unsigned what = events[i].what;
            if (what & EF_OPENED && ef_open_status(fd) < 0) {
                fails("open");
                end_loop();
                return;
            }
            if (what & EF_OPENED)
                is_open = 1;
            if (what & EF_STALLED)
                fprintf(stderr, "%s: the disk takes nothing: waiting\n", path);
            if (what & EF_RESUMED)
                fprintf(stderr, "%s: the disk takes bytes again\n", path);
            if (what & EF_DONE && what & EF_ERROR)
                fprintf(stderr, "%s: no new file: the old one goes on\n", path);
            if (what & EF_CLOSED) {
                if (ef_close_status(events[i].fd) != 0) {
                    fails("close");
                    fprintf(stderr, "%s: %llu bytes are lost\n", path, (unsigned long long)events[i].lost);
                }
                end_loop();
                return;
            }
            if (what & (EF_OPENED | EF_WRITABLE) && !closing)
                take_input();
        }
    }
    if (n < 0) {
        fails("events");
        end_loop();
    }
}

static struct ev_loop *loop;
static ev_io news, input;
static ev_signal signals[3];

static void watch_input(int on)
{
    if (on && !reads)
        ev_io_start(loop, &input);
    if (!on && reads)
        ev_io_stop(loop, &input);
    reads = on;
}

static void end_loop(void)
{
    ev_break(loop, EVBREAK_ALL);
}

static void on_news(struct ev_loop *of, ev_io *watcher, int revents)
{
    (void)of, (void)watcher, (void)revents;
    take_events();
}

static void on_input(struct ev_loop *of, ev_io *watcher, int revents)
{
    (void)of, (void)watcher, (void)revents;
    take_input();
}

static void on_signal(struct ev_loop *of, ev_signal *watcher, int revents)
{
    (void)of, (void)revents;
    take_signal(watcher->signum);
}

/* Runs until the log is closed; -1 if the loop fails. */
static int run(int notify)
{
    const int numbers[3] = {SIGHUP, SIGINT, SIGTERM};
    if (!(loop = ev_default_loop(0))) {
        fprintf(stderr, "libev does not start\n");
        return -1;
    }
    for (int i = 0; i < 3; i++) {
        ev_signal_init(&signals[i], on_signal, numbers[i]);
        ev_signal_start(loop, &signals[i]);
    }
    ev_io_init(&input, on_input, STDIN_FILENO, EV_READ);
    ev_io_init(&news, on_news, notify, EV_READ);
    ev_io_start(loop, &news);
    ev_run(loop, 0);
    return 0;
}

int main(int argc, char **argv)
{
    struct ef_open_options options;
    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    path = argv[1];
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    ef_options_init(&options, sizeof options);
    options.flags = O_WRONLY | O_APPEND | O_CREAT;
    options.durability = EF_DURABILITY_INTERVAL;
    options.on_full = EF_FULL_RETRY;
    int notify = ef_notify_fd(NULL); /* from here on events are kept for us */
    if (notify >= 0)
        fd = ef_open_with(NULL, path, &options);
    if (fd < 0) {
        fails("open");
        return 1;
    }
    if (run(notify) != 0)
        failed = 1;
    if (ef_shutdown(NULL, 5000000) != 0 && !failed)
        fails("shutdown");
    return failed;
}
