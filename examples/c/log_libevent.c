/*
 * log_libevent.c: appends what comes in at its standard input to a file, in a libevent loop that never waits for the disk.
 *
 *     server | log_libevent FILE
 *
 * Lines are in the file a second later at most, and on the disk. A disk that is full or slow makes the pipe wait, and
 * loses nothing meanwhile. SIGHUP after a rename begins a new file under the name; the end of the input, SIGINT and
 * SIGTERM write what is left and end. What was lost in the end is told, with exit code 1.
 */
#include <efio.h>
#include <event2/event.h>
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

static struct event_base *base;
static struct event *news, *input, *signals[3];

static void watch_input(int on)
{
    if (on != reads && (on ? event_add(input, NULL) : event_del(input)) != 0) {
        fprintf(stderr, "the standard input cannot be watched\n");
        failed = 1;
        finish();
        return;
    }
    reads = on;
}

static void end_loop(void)
{
    event_base_loopbreak(base);
}

static void on_news(evutil_socket_t notify, short what, void *data)
{
    (void)notify, (void)what, (void)data;
    take_events();
}

static void on_input(evutil_socket_t from, short what, void *data)
{
    (void)from, (void)what, (void)data;
    take_input();
}

static void on_signal(evutil_socket_t number, short what, void *data)
{
    (void)what, (void)data;
    take_signal((int)number);
}

/* Runs until the log is closed; -1 if the loop fails. */
static int run(int notify)
{
    const int numbers[3] = {SIGHUP, SIGINT, SIGTERM};
    int good = (base = event_base_new()) != NULL;
    for (int i = 0; i < 3 && good; i++)
        good = (signals[i] = evsignal_new(base, numbers[i], on_signal, NULL)) && event_add(signals[i], NULL) == 0;
    good = good && (input = event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, NULL));
    good = good && (news = event_new(base, notify, EV_READ | EV_PERSIST, on_news, NULL));
    if (!good || event_add(news, NULL) != 0) {
        fprintf(stderr, "libevent does not start\n");
        return -1;
    }
    event_base_dispatch(base);
    for (int i = 0; i < 3; i++)
        event_free(signals[i]);
    event_free(input);
    event_free(news);
    event_base_free(base);
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
