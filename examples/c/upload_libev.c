/*
 * upload_libev.c: a server that takes files in by HTTP, in one libev loop that never waits for a disk.
 *
 *     upload_libev FOLDER [PORT]
 *     curl -T FILE http://127.0.0.1:PORT/NAME
 *
 * A file appears under its name when it is complete and on the disk: then the client hears 201. A client that goes away
 * leaves nothing; a full disk is 507. While a file takes no more bytes its client waits, and nobody else.
 *
 * An example, not a server for the open internet: PUT with a Content-Length, names without folders, no passwords.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <efio.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* One connection: one request. It lives until its socket and its file are both over. */
struct client {
    ev_io input;          /* the socket, watched while bytes are wanted */
    int socket;           /* -1: closed */
    int fd;               /* the file, or -1 */
    int opened, finished; /* whether the file is open; whether all of it came */
    uint64_t wanted;      /* bytes of the file still to come */
    size_t filled, taken; /* bytes in the buffer, and how many of them are dealt with */
    char buffer[65536];
};

static const char *folder;
static struct ev_loop *loop;

static void free_if_over(struct client *client)
{
    if (client->socket < 0 && client->fd < 0)
        free(client);
}

static void hang_up(struct client *client)
{
    if (client->socket >= 0) {
        ev_io_stop(loop, &client->input);
        close(client->socket);
        client->socket = -1;
    }
    /* EF_CLOSED follows, unless there is nothing left to close. */
    if (client->fd >= 0 && ef_abort(client->fd) != 0 && errno != EBUSY)
        client->fd = -1;
    free_if_over(client);
}

/* Answers and hangs up. An answer is short: a socket that does not take it is not worth waiting for. */
static void answer(struct client *client, const char *status)
{
    char text[256];
    int size = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status);
    if (send(client->socket, text, (size_t)size, MSG_NOSIGNAL) == size) {
        shutdown(client->socket, SHUT_WR);
        /* What the client has sent and nobody read would make the kernel take the answer back. */
        while (recv(client->socket, client->buffer, sizeof client->buffer, MSG_DONTWAIT) > 0)
            ;
    }
    hang_up(client);
}

static const char *status_of(int error)
{
    return error == ENOSPC || error == EDQUOT ? "507 Insufficient Storage" : "500 Internal Server Error";
}

/* ---- The body -------------------------------------------------------------------------------------------------- */

/* Hands the file what is in the buffer. Returns 0 when no more is to be read for now. */
static int hand_over(struct client *client)
{
    while (client->wanted > 0 && client->taken < client->filled) {
        size_t size = client->filled - client->taken;
        if (size > client->wanted)
            size = (size_t)client->wanted;
        ssize_t n = ef_write(client->fd, client->buffer + client->taken, size);
        if (n < 0) {
            answer(client, status_of(errno));
            return 0;
        }
        if (n == 0) {
            ev_io_stop(loop, &client->input); /* until EF_WRITABLE */
            return 0;
        }
        client->taken += (size_t)n;
        client->wanted -= (size_t)n;
    }
    if (client->wanted > 0)
        return 1;
    ev_io_stop(loop, &client->input);
    client->finished = 1;
    if (ef_close(client->fd) != 0) /* publishes it; EF_CLOSED follows */
        answer(client, status_of(errno));
    return 0;
}

static void take_body(struct client *client)
{
    if (!hand_over(client))
        return;
    /* At most some buffers at a time, so that one fast client leaves room for others. */
    for (int i = 0; i < 16; i++) {
        ssize_t n = recv(client->socket, client->buffer, sizeof client->buffer, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            break;
        if (n <= 0) {
            hang_up(client);
            return;
        }
        client->filled = (size_t)n;
        client->taken = 0;
        if (!hand_over(client))
            return;
    }
    ev_io_start(loop, &client->input);
}

/* ---- The head -------------------------------------------------------------------------------------------------- */

/* The value of a header's line, or NULL. The head ends with an empty line and a 0. */
static const char *header(const char *head, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':')
            return line + 3 + length + strspn(line + 3 + length, " \t");
    }
    return NULL;
}

/* Begins the upload that the head asks for. */
static void begin(struct client *client, char *head)
{
    char name[256], path[4096];
    const char *length = header(head, "Content-Length"), *expect = header(head, "Expect");
    if (strncmp(head, "PUT ", 4) != 0) {
        answer(client, "405 Method Not Allowed");
        return;
    }
    if (sscanf(head, "PUT /%255[-_.A-Za-z0-9] HTTP/1.", name) != 1 || name[0] == '.' ||
        strncmp(head + 5 + strlen(name), " HTTP/1.", 8) != 0) {
        answer(client, "400 Bad Request");
        return;
    }
    char *end = NULL;
    errno = 0;
    if (length && *length >= '0' && *length <= '9')
        client->wanted = strtoull(length, &end, 10);
    if (!end || *end != '\r' || errno != 0 || header(head, "Transfer-Encoding")) {
        answer(client, "411 Length Required");
        return;
    }
    struct ef_open_options options;
    ef_options_init(&options, sizeof options);
    options.flags = O_WRONLY | O_CREAT;
    options.atomic = 1;
    options.durability = EF_DURABILITY_CLOSE;
    options.on_full = EF_FULL_FAIL;
    options.data = client;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    client->fd = ef_open_with(NULL, path, &options);
    if (client->fd < 0) {
        answer(client, "503 Service Unavailable");
        return;
    }
    if (expect && strncasecmp(expect, "100-continue", 12) == 0) {
        const char *go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        if (send(client->socket, go_on, strlen(go_on), MSG_NOSIGNAL) != (ssize_t)strlen(go_on)) {
            hang_up(client);
            return;
        }
    }
    ev_io_stop(loop, &client->input); /* until EF_OPENED */
}

static void take_head(struct client *client)
{
    size_t room = 8192 - client->filled;
    ssize_t n = recv(client->socket, client->buffer + client->filled, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        hang_up(client);
        return;
    }
    client->filled += (size_t)n;
    char *end = memmem(client->buffer, client->filled, "\r\n\r\n", 4);
    if (!end && client->filled == 8192) {
        answer(client, "431 Request Header Fields Too Large");
    } else if (end) {
        char head[8192 + 1];
        size_t size = (size_t)(end - client->buffer) + 4;
        memcpy(head, client->buffer, size);
        head[size] = 0;
        client->taken = size;
        begin(client, head);
    }
}

/* ---- The loop -------------------------------------------------------------------------------------------------- */

static void on_input(struct ev_loop *of, ev_io *watcher, int revents)
{
    struct client *client = watcher->data;
    (void)of, (void)revents;
    if (client->opened)
        take_body(client);
    else
        take_head(client);
}

static void look_at(struct client *client, const struct ef_event *event)
{
    if (event->fd != client->fd)
        return;
    if (event->what & EF_OPENED) {
        if (ef_open_status(client->fd) == client->fd) {
            client->opened = 1;
        } else if (errno != EBADF) { /* EBADF: hang_up has closed it meanwhile */
            client->fd = -1;
            if (client->socket >= 0)
                answer(client, status_of(errno));
            else
                free_if_over(client);
            return;
        }
    }
    if (event->what & EF_CLOSED) {
        int closed = ef_close_status(client->fd), error = errno;
        client->fd = -1;
        if (client->socket >= 0)
            answer(client, closed == 0 && client->finished ? "201 Created" : status_of(error));
        else
            free_if_over(client);
    } else if (event->what & (EF_OPENED | EF_WRITABLE) && client->socket >= 0 && !client->finished) {
        take_body(client);
    }
}

static void on_news(struct ev_loop *of, ev_io *watcher, int revents)
{
    struct ef_event events[64];
    int n;
    (void)of, (void)watcher, (void)revents;
    while ((n = ef_events(NULL, events, sizeof *events, 64)) > 0) {
        for (int i = 0; i < n; i++)
            look_at(events[i].data, &events[i]);
    }
}

static void on_accept(struct ev_loop *of, ev_io *watcher, int revents)
{
    (void)of, (void)revents;
    int socket = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket < 0)
        return;
    struct client *client = calloc(1, sizeof *client);
    if (!client) {
        close(socket);
        return;
    }
    client->socket = socket;
    client->fd = -1;
    ev_io_init(&client->input, on_input, socket, EV_READ);
    client->input.data = client;
    ev_io_start(loop, &client->input);
}

static void on_signal(struct ev_loop *of, ev_signal *watcher, int revents)
{
    (void)watcher, (void)revents;
    ev_break(of, EVBREAK_ALL);
}

static int listen_at(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof address;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 128) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        return -1;
    printf("http://127.0.0.1:%d/\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s FOLDER [PORT]\n", argv[0]);
        return 2;
    }
    folder = argv[1];
    int notify = ef_notify_fd(NULL); /* from here on events are kept for us */
    if (notify < 0) {
        fprintf(stderr, "efio: %s\n", ef_error_message());
        return 1;
    }
    int listener = listen_at(argc > 2 ? atoi(argv[2]) : 0);
    if (listener < 0 || !(loop = ev_default_loop(0))) {
        perror("listen");
        return 1;
    }
    ev_io news, connections;
    ev_signal signals[2];
    ev_io_init(&news, on_news, notify, EV_READ);
    ev_io_start(loop, &news);
    ev_io_init(&connections, on_accept, listener, EV_READ);
    ev_io_start(loop, &connections);
    ev_signal_init(&signals[0], on_signal, SIGINT);
    ev_signal_init(&signals[1], on_signal, SIGTERM);
    for (int i = 0; i < 2; i++)
        ev_signal_start(loop, &signals[i]);
    ev_run(loop, 0);
    /* Uploads that are not complete leave nothing. */
    if (ef_shutdown(NULL, 5000000) != 0)
        fprintf(stderr, "efio: %s\n", ef_error_message());
    return 0;
}
